"""The options of one command: what `submit`, `enqueue` and `submit_many` take, and what they refuse.

What each option does is in tests/scenarios; here is what only this package has.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import a3s_lane
import test_alerts
import test_events
import test_handlers
import test_metrics
import test_storage
from a3s_lane import (
    CommandHandle,
    Lane,
    LaneConfig,
    Limiter,
    PriorityBoost,
    RateLimit,
    RetryPolicy,
    SubmitOptions,
    Unique,
)
from a3s_lane.testing import enqueue_scripted, submit_many_scripted
from conftest import LIMIT_SECS, REPOSITORY, Script
from scenario_settings import LANE, OPTIONS, Table


@pytest.fixture
def queue() -> Iterator[Lane]:
    """One lane that runs one command at a time, not started."""
    yield Lane.with_lanes([LaneConfig("one", 0, 1, 1)])


# Option, bad value, error, what its text must hold.
REFUSED: list[tuple[str, Any, type[Exception], str]] = [
    ("id", "", ValueError, "id must not be empty"),
    ("id", 7, TypeError, "id must be a str, not int"),
    ("priority", None, TypeError, "priority must be an int from -2147483648 to 2147483647, not NoneType"),
    ("priority", 2**31, ValueError, "priority must be an int from -2147483648 to 2147483647, got 2147483648"),
    ("priority", True, TypeError, "priority must be an int from -2147483648 to 2147483647, not bool"),
    ("delay_secs", -1, ValueError, "delay_secs must be a number of seconds from 0 to 10000000000, got -1"),
    ("delay_secs", math.nan, ValueError, "delay_secs must be a number of seconds"),
    ("run_at", 5, TypeError, "run_at must be a datetime with a time zone, not int"),
    ("run_at", datetime(2030, 1, 1), ValueError, "run_at must be a datetime with a time zone, got one without"),
    ("ttl_secs", 0, ValueError, "ttl_secs must be above 0, got 0"),
    ("timeout_secs", 0, ValueError, "timeout_secs must be above 0, got 0"),
    ("timeout_secs", "1", TypeError, "timeout_secs must be a number of seconds from 0 to 10000000000, not str"),
    ("no_timeout", None, TypeError, "no_timeout must be a bool, not NoneType"),
    ("no_timeout", 1, TypeError, "no_timeout must be a bool, not int"),
    ("progress_timeout_secs", 0.0, ValueError, "progress_timeout_secs must be above 0, got 0.0"),
    ("retry_policy", 3, TypeError, "retry_policy must be a RetryPolicy or None, not int"),
    ("jitter", "some", ValueError, "jitter must be one of 'none', 'full', 'equal', got 'some'"),
    ("jitter", 1, TypeError, "jitter must be a str, not int"),
    ("key", "", ValueError, "key must not be empty"),
    ("unique", "", ValueError, "unique must not be empty"),
    ("unique", 1, TypeError, "unique must be a str or Unique, not int"),
    ("cost", -1, ValueError, "cost must be an int from 0 to 9007199254740991, got -1"),
    ("cost", None, TypeError, "cost must be an int from 0 to 9007199254740991, not NoneType"),
    ("metadata", [1], TypeError, "metadata must be a dict, not list"),
    ("metadata", {"a": {1, 2}}, ValueError, "metadata.a is of type set, which has no JSON form"),
    ("preemptible", 0, TypeError, "preemptible must be a bool, not int"),
]


@pytest.mark.parametrize(("option", "value", "error", "text"), REFUSED)
def test_wrong_options_are_refused_by_name(
    queue: Lane, option: str, value: Any, error: type[Exception], text: str
) -> None:
    options: Any = {option: value}
    for call in (queue.submit, queue.enqueue):
        with pytest.raises(error) as caught:
            call("one", "t", **options)
        assert str(caught.value).startswith(text)
    with pytest.raises(error) as caught:
        queue.submit_many("one", [("t",), ("t", 1, options)])
    assert str(caught.value).startswith("commands[1][2]." + text)
    assert queue.stats().total_pending == 0, "a wrong argument keeps the others out"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"delay_secs": 1, "run_at": datetime.now(timezone.utc)},
            "delay_secs and run_at must not both be given",
        ),
        ({"timeout_secs": 1, "no_timeout": True}, "timeout_secs and no_timeout must not both be given"),
        ({"ttl_secs": 1, "delay_secs": 1.5}, "ttl_secs must be above delay_secs, got 1 and 1.5"),
    ],
)
def test_contradictions_are_refused(queue: Lane, options: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        queue.enqueue("one", "t", **options)
    assert str(caught.value) == text


def test_unknown_options_are_refused(queue: Lane) -> None:
    for call, name in ((queue.submit, "submit()"), (queue.enqueue, "enqueue()")):
        with pytest.raises(TypeError) as caught:
            call("one", "t", colour="red")  # type: ignore[call-arg]
        assert str(caught.value) == f"{name} got an unexpected keyword argument 'colour'"
    with pytest.raises(TypeError, match=r"^enqueue_scripted\(\) got an unexpected keyword argument 'colour'$"):
        enqueue_scripted(queue, "one", "t", [[]], colour="red")  # type: ignore[call-arg]
    wrong: Any = ("t", 1, {"colour": "red"})
    with pytest.raises(TypeError, match=r"^commands\[0\] got an unexpected keyword argument 'colour'$"):
        queue.submit_many("one", [wrong])


def test_none_is_the_default_where_there_is_one(queue: Lane) -> None:
    handle = queue.enqueue(
        "one",
        "t",
        1,
        id=None,
        delay_secs=None,
        run_at=None,
        ttl_secs=None,
        timeout_secs=None,
        progress_timeout_secs=None,
        retry_policy=None,
        jitter=None,
        key=None,
        unique=None,
        metadata=None,
    )
    queue.start()
    assert handle.result(LIMIT_SECS) == 1


def test_run_at(queue: Lane) -> None:
    queue.start()
    later = datetime.now(timezone(timedelta(hours=5))) + timedelta(hours=1)
    waiting = queue.enqueue("one", "later", run_at=later)
    assert waiting.status == "delayed"
    explanation = waiting.explain()
    assert explanation is not None
    (reason,) = explanation["reasons"]
    assert reason["reason"] == "delayed"
    assert abs(datetime.fromisoformat(reason["until"]) - later) < timedelta(seconds=1)
    # What was to run long ago runs now.
    for past in (datetime.now(timezone.utc) - timedelta(days=1), datetime.min.replace(tzinfo=timezone.utc)):
        assert queue.submit("one", "past", 1, run_at=past) == 1


def test_submit_takes_options_too(queue: Lane) -> None:
    with pytest.raises(a3s_lane.NotStartedError):
        queue.submit("one", "t", 1, id="x")
    with queue:
        stream = queue.subscribe_filtered(["queue.command.started"])
        assert queue.submit("one", "t", 1, id="mine") == 1
        event = stream.recv(10_000)
        assert event is not None and isinstance(event.payload, dict)
        assert event.payload["command_id"] == "mine"
        queue.enqueue("one", "t", id="taken", delay_secs=3600)
        with pytest.raises(a3s_lane.DuplicateError, match="taken"):
            queue.submit("one", "t", id="taken")
        with pytest.raises(a3s_lane.ExpiredError):
            queue.pause_lane("one")
            queue.submit("one", "t", ttl_secs=0.01)
        queue.resume_lane("one")
        queue.cancel("taken")


def test_unique_as_text_and_as_rule(queue: Lane) -> None:
    first = queue.enqueue("one", "t", 1, unique="u")
    with pytest.raises(a3s_lane.DuplicateError):
        queue.enqueue("one", "t", 2, unique="u")
    joined = queue.enqueue("one", "t", 2, unique=Unique("u", on_conflict="join"))
    assert joined == first
    newer = queue.enqueue("one", "t", 3, unique=Unique("u", 60, "replace"))
    assert first.status == "cancelled"
    with queue:
        assert newer.result(LIMIT_SECS) == 3
        # The window holds the key.
        with pytest.raises(a3s_lane.DuplicateError):
            queue.submit("one", "t", unique="u")


def test_unique_rules() -> None:
    rule = Unique("u", 1.5, "join")
    assert (rule.key, rule.window_secs, rule.on_conflict) == ("u", 1.5, "join")
    assert repr(rule) == "Unique(key='u', window_secs=1.5, on_conflict='join')"
    assert (Unique("u").window_secs, Unique("u").on_conflict) == (None, "reject")
    for twin in (pickle.loads(pickle.dumps(rule)), copy.deepcopy(rule), eval(repr(rule))):
        assert twin == rule
    assert rule != Unique("u", 1.5)
    with pytest.raises(TypeError):
        hash(rule)
    with pytest.raises(ValueError, match="^key must not be empty$"):
        Unique("")
    with pytest.raises(ValueError, match="^window_secs must be above 0, got 0$"):
        Unique("u", 0)
    with pytest.raises(ValueError, match="^on_conflict must be one of 'reject', 'join', 'replace', got 'x'$"):
        Unique("u", on_conflict="x")  # type: ignore[arg-type]


def test_submit_many_gives_a_handle_or_an_error_for_each() -> None:
    queue = Lane.with_lanes([LaneConfig("one", 0, 1, 1, max_pending=3)])
    answers = queue.submit_many(
        "one", [("a",), ("b", {"x": 1}), ("c", 2, {"id": "c"}), ("d", None, {"id": "c"}), ("e",)]
    )
    kinds = [type(answer) for answer in answers]
    assert kinds == [CommandHandle] * 3 + [a3s_lane.DuplicateError, a3s_lane.LaneFullError]
    queue.start()
    handles = [answer for answer in answers if isinstance(answer, CommandHandle)]
    assert [handle.result(LIMIT_SECS) for handle in handles] == [None, {"x": 1}, 2]
    assert handles[2].id == "c"
    assert queue.submit_many("one", []) == []
    assert [type(answer) for answer in queue.submit_many("nope", [("a",)])] == [a3s_lane.LaneNotFoundError]


@pytest.mark.parametrize(
    ("commands", "error", "text"),
    [
        (3, TypeError, "commands must be a list of tuples, not int"),
        (["t"], TypeError, "commands[0] must be a tuple (command_type, payload, options), not str"),
        ([()], ValueError, "commands[0] must be a tuple (command_type, payload, options) of 1 to 3 members, got 0"),
        ([("t", 1, {}, 4)], ValueError, "commands[0] must be a tuple"),
        ([(1,)], TypeError, "commands[0][0] must be a str, not int"),
        ([("t",), ("t", {"a": math.nan})], ValueError, "commands[1][1].a is nan, which JSON cannot hold"),
        ([("t", 1, None)], TypeError, "commands[0][2] must be a dict, not NoneType"),
    ],
)
def test_submit_many_refuses(queue: Lane, commands: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        queue.submit_many("one", commands)
    assert text in str(caught.value)


def test_submit_many_scripted_refuses_what_is_no_script(queue: Lane) -> None:
    wrong: Any = [("t", [[{"jump": 1}]])]
    with pytest.raises(a3s_lane.ConfigError, match="script must be a list of lists of steps"):
        submit_many_scripted(queue, "one", wrong)


def test_a_cost_that_a_limiter_never_grants_is_refused() -> None:
    config = LaneConfig("one", 0, limiters=["tokens"])
    queue = Lane.with_lanes([config], limiters={"tokens": Limiter(10, 1)})
    with pytest.raises(a3s_lane.ConfigError, match="cost must be at most 10"):
        queue.enqueue("one", "t", cost=11)


def test_a_retry_policy_of_its_own(queue: Lane) -> None:
    script: Script = [[{"fail": "once"}], [{"return": 2}]]
    flaky = enqueue_scripted(queue, "one", "t", script, retry_policy=RetryPolicy.fixed(1, 0))
    with queue:
        assert flaky.result(LIMIT_SECS) == 2


def tables() -> Iterator[tuple[str, Table]]:
    """Every table of settings in the scenarios, and what it sets."""

    def inner(table: Table, *names: str) -> Iterator[tuple[str, Table]]:
        for name in names:
            if table.get(name) is not None:
                yield name, table[name]

    def of_lane(table: Table) -> Iterator[tuple[str, Table]]:
        yield "lane", table
        yield from inner(table, "retry", "rate_limit", "boost")

    def of_options(table: Table) -> Iterator[tuple[str, Table]]:
        yield "options", table
        yield from inner(table, "retry", "unique")

    def of_limiter(table: Table) -> Iterator[tuple[str, Table]]:
        yield "limiter", {**table, **(table.get("reserve") or {})}

    for file in sorted((REPOSITORY / "tests" / "scenarios").glob("*.json")):
        for scenario in json.loads(file.read_text(encoding="utf-8")):
            yield "scenario", scenario
            for lane in scenario.get("lanes") or []:
                yield from of_lane(lane)
            for limiter in (scenario.get("limiters") or {}).values():
                yield from of_limiter(limiter)
            for step in scenario["steps"]:
                if "set_lane" in step:
                    yield from of_lane(step["set_lane"])
                if "set_limiter" in step:
                    yield from of_limiter(step["set_limiter"])
                for command in [step.get("submit"), *step.get("submit_many", {}).get("commands", [])]:
                    if command is not None and command.get("options") is not None:
                        yield from of_options(command["options"])


# What sets things, the tables of scenarios that say what, and the scenarios' name for each argument where it differs.
SETTINGS: list[tuple[Callable[..., Any], str, dict[str, str]]] = [
    (Lane, "scenario", {}),
    (Lane.enqueue, "options", {argument: name for name, (argument, _) in OPTIONS.items()}),
    (LaneConfig, "lane", {"lane_id": "id", **{argument: name for name, (argument, _) in LANE.items()}}),
    (RetryPolicy, "retry", {"initial_delay_secs": "initial_delay_ms", "max_delay_secs": "max_delay_ms"}),
    (RateLimit, "rate_limit", {"window_secs": "window_ms"}),
    (PriorityBoost, "boost", {"deadline_secs": "deadline_ms"}),
    (Limiter, "limiter", {"window_secs": "window_ms", "reserve": "amount"}),
    (Unique, "unique", {"window_secs": "window_ms"}),
]

# What a command is, not how it runs.
NO_OPTIONS = {"self", "lane_id", "command_type", "payload"}

# Options that only Python has, and the tests that fail when they are ignored.
OF_PYTHON = {
    "handler_threads": test_handlers.test_handler_threads_limits_what_runs_at_once,
    "metrics": test_metrics.test_counts_and_times,
    "event_capacity": test_events.test_event_capacity_is_how_far_a_reader_may_fall_behind,
    "alerts": test_alerts.test_a_depth_is_told_when_its_level_rises,
    "storage": test_storage.test_storage_brings_commands_of_an_earlier_process_back,
    "durability": test_storage.test_durability,
    "max_crashes": test_storage.test_max_crashes_a_handler_that_kills_its_process_becomes_a_dead_letter,
    "results": test_storage.test_results_are_found_by_id,
    "history": test_storage.test_history_tells_what_happened,
    "max_dead_letters": test_storage.test_max_dead_letters,
}


@pytest.mark.parametrize(("call", "kind", "names"), SETTINGS)
def test_l21_every_option_is_in_a_scenario(call: Callable[..., Any], kind: str, names: dict[str, str]) -> None:
    if inspect.isclass(call) and sys.version_info < (3, 10):
        pytest.skip("3.9 shows no signature of such classes")
    arguments = set(inspect.signature(call).parameters)
    if call is Lane.enqueue:
        arguments -= NO_OPTIONS
        assert arguments == SubmitOptions.__annotations__.keys()
    used = {name for found, table in tables() if found == kind for name, value in table.items() if value is not None}
    assert {names.get(argument, argument) for argument in arguments - OF_PYTHON.keys()} <= used


def refusal(call: Callable[..., Any]) -> str:
    with pytest.raises(ValueError) as caught:
        call("?")
    return str(caught.value)


@pytest.mark.parametrize(
    ("call", "kind", "name", "default"),
    [
        (lambda word: Lane().enqueue("query", "t", jitter=word), "options", "jitter", None),
        (lambda word: LaneConfig("a", 0, retry_jitter=word), "lane", "retry_jitter", "none"),
        (lambda word: LaneConfig("a", 0, overflow=word), "lane", "overflow", "reject"),
        (lambda word: Limiter(1, 1, algorithm=word), "limiter", "algorithm", "token_bucket"),
        (lambda word: Unique("u", on_conflict=word), "unique", "on_conflict", "reject"),
    ],
)
def test_l21_every_choice_is_in_a_scenario(
    call: Callable[..., Any], kind: str, name: str, default: str | None
) -> None:
    choices = set(re.findall("'(\\w+)'", refusal(call)))
    used = {table.get(name) for found, table in tables() if found == kind}
    assert len(choices) > 1
    assert choices - {default} <= used
