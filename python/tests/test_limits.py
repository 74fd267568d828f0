"""`Limiter`, `RateLimit`, `PriorityBoost`, and the settings of `LaneConfig` that go with them."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest

from a3s_lane import CommandHandle, Lane, LaneConfig, Limiter, PriorityBoost, RateLimit, RetryPolicy
from a3s_lane.testing import enqueue_scripted
from conftest import LIMIT_SECS, wait_until

ALL: dict[str, Any] = {
    "max_pending": 7,
    "overflow": "drop_oldest",
    "preemptible": True,
    "grace_secs": 0.5,
    "progress_timeout_secs": 3,
    "max_concurrency_per_key": 2,
    "key_weights": {"gold": 3, "silver": 2},
    "retry_jitter": "equal",
    "rate_limit": RateLimit(5, 1.5),
    "burst": 4,
    "priority_boost": PriorityBoost(60, [(30, 1), (5, 3)]),
    "limiters": ("tokens", "calls"),
}

DEFAULTS: dict[str, Any] = {
    "max_pending": None,
    "overflow": "reject",
    "preemptible": False,
    "grace_secs": 0,
    "progress_timeout_secs": None,
    "max_concurrency_per_key": None,
    "key_weights": {},
    "retry_jitter": "none",
    "rate_limit": None,
    "burst": None,
    "priority_boost": None,
    "limiters": (),
}


def test_settings_are_kept() -> None:
    config = LaneConfig("api", 0, **ALL)
    assert {name: getattr(config, name) for name in ALL} == ALL
    assert {name: getattr(LaneConfig("api", 0), name) for name in ALL} == DEFAULTS


@pytest.mark.parametrize("name", ALL)
def test_each_setting_can_be_changed_and_tells_configurations_apart(name: str) -> None:
    config, plain = LaneConfig("api", 0), LaneConfig("api", 0)
    setattr(config, name, ALL[name])
    assert getattr(config, name) == ALL[name]
    assert config == LaneConfig("api", 0, **{name: ALL[name]})
    assert config != plain
    setattr(config, name, DEFAULTS[name])
    assert config == plain
    assert LaneConfig("api", 0, **{name: DEFAULTS[name]}) == plain


def test_pickle_and_copy_of_all_settings() -> None:
    config = LaneConfig("api", 0, **ALL)
    for twin in (pickle.loads(pickle.dumps(config)), copy.copy(config), copy.deepcopy(config)):
        assert twin == config


def test_collections_are_set_as_a_whole() -> None:
    config = LaneConfig("api", 0, key_weights={"gold": 3}, limiters=(name for name in ["tokens"]))
    assert config.limiters == ("tokens",)
    with pytest.raises(TypeError):
        config.key_weights["gold"] = 4  # type: ignore[index]
    other = LaneConfig("web", 0)
    other.key_weights = config.key_weights
    assert other.key_weights == {"gold": 3}
    other.key_weights = None
    assert other.key_weights == {}


REFUSED: list[tuple[str, Any, type[Exception], str]] = [
    ("max_pending", 0, ValueError, "max_pending must be an int from 1 to 4294967295, got 0"),
    ("max_pending", True, TypeError, "max_pending must be an int from 1 to 4294967295, not bool"),
    ("overflow", "explode", ValueError, "overflow must be one of 'reject', 'wait', 'drop_oldest', got 'explode'"),
    ("overflow", None, TypeError, "overflow must be a str, not NoneType"),
    ("preemptible", 1, TypeError, "preemptible must be a bool, not int"),
    ("grace_secs", -1, ValueError, "grace_secs must be a number of seconds from 0 to 10000000000, got -1"),
    ("grace_secs", None, TypeError, "grace_secs must be a number of seconds from 0 to 10000000000, not NoneType"),
    ("progress_timeout_secs", 0, ValueError, "progress_timeout_secs must be above 0, got 0"),
    ("max_concurrency_per_key", 0, ValueError, "max_concurrency_per_key must be an int from 1 to 4294967295, got 0"),
    ("key_weights", [("a", 1)], TypeError, "key_weights must be a dict of str to int, not list"),
    ("key_weights", {1: 1}, TypeError, "a key of key_weights must be a str, not int"),
    ("key_weights", {"": 1}, ValueError, "a key of key_weights must not be empty"),
    ("key_weights", {"a": 0}, ValueError, "key_weights['a'] must be an int from 1 to 4294967295, got 0"),
    ("retry_jitter", "some", ValueError, "retry_jitter must be one of 'none', 'full', 'equal', got 'some'"),
    ("rate_limit", 5, TypeError, "rate_limit must be a RateLimit or None, not int"),
    ("burst", 0, ValueError, "burst must be an int from 1 to 9007199254740991, got 0"),
    ("priority_boost", 5, TypeError, "priority_boost must be a PriorityBoost or None, not int"),
    ("limiters", "tokens", TypeError, "limiters must be a list of str, not str"),
    ("limiters", None, TypeError, "limiters must be a list of str, not NoneType"),
    ("limiters", [""], ValueError, "limiters[0] must not be empty"),
    ("limiters", ["a", "b", "a"], ValueError, 'limiters[2] must be unique, got "a" again'),
    ("limiters", list("abcde"), ValueError, "limiters must be at most 4 names, got 5"),
    ("limiters", [1], TypeError, "limiters[0] must be a str, not int"),
]


@pytest.mark.parametrize(("field", "value", "error", "text"), REFUSED)
def test_bad_settings_are_refused_by_name(field: str, value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        LaneConfig("api", 0, **{field: value})
    assert str(caught.value) == text
    config = LaneConfig("api", 0, **ALL)
    with pytest.raises(error) as caught:
        setattr(config, field, value)
    assert str(caught.value) == text
    assert config == LaneConfig("api", 0, **ALL), "a refused value must not stick"


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^LaneConfig\(\) got an unexpected keyword argument 'colour'$"):
        LaneConfig("api", 0, colour="red")  # type: ignore[call-arg]


def test_rate_limit() -> None:
    limit = RateLimit(5, 1.5)
    assert (limit.max_commands, limit.window_secs) == (5, 1.5)
    assert repr(limit) == "RateLimit(max_commands=5, window_secs=1.5)"
    assert limit == eval(repr(limit)) and limit != RateLimit(5, 2)
    assert pickle.loads(pickle.dumps(limit)) == limit


def test_priority_boost() -> None:
    boost = PriorityBoost(60, [(5, 3), (30.5, 1)])
    assert (boost.deadline_secs, boost.steps) == (60, ((30.5, 1), (5, 3)))
    assert repr(boost) == "PriorityBoost(deadline_secs=60, steps=((30.5, 1), (5, 3)))"
    assert boost == eval(repr(boost)) and boost != PriorityBoost(60)
    assert pickle.loads(pickle.dumps(boost)) == boost
    assert PriorityBoost(1).steps == ()


def test_limiter() -> None:
    plain = Limiter(90, 60)
    assert (plain.max_commands, plain.window_secs, plain.algorithm) == (90, 60, "token_bucket")
    assert (plain.burst, plain.counting_commands, plain.reserve, plain.urgent_up_to) == (None, False, None, 0)
    assert repr(plain) == "Limiter(max_commands=90, window_secs=60, algorithm='token_bucket')"
    bucket = Limiter(90, 60, burst=10, counting_commands=True, reserve=2, urgent_up_to=1)
    assert (bucket.burst, bucket.counting_commands, bucket.reserve, bucket.urgent_up_to) == (10, True, 2, 1)
    window = Limiter(90, 60, algorithm="sliding_window", reserve=89)
    assert (window.algorithm, window.reserve, window.urgent_up_to) == ("sliding_window", 89, 0)
    for limiter in (plain, bucket, window):
        assert limiter == eval(repr(limiter)) == pickle.loads(pickle.dumps(limiter)) == copy.deepcopy(limiter)
        with pytest.raises(TypeError):
            hash(limiter)
    assert plain != bucket != window


WRONG: list[tuple[Any, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    (RateLimit, (0, 1), {}, ValueError, "max_commands must be an int from 1 to 9007199254740991, got 0"),
    (RateLimit, (1.5, 1), {}, TypeError, "max_commands must be an int from 1 to 9007199254740991, not float"),
    (RateLimit, (1, 0), {}, ValueError, "window_secs must be above 0, got 0"),
    (PriorityBoost, (0,), {}, ValueError, "deadline_secs must be above 0, got 0"),
    (PriorityBoost, (1, 5), {}, TypeError, "steps must be a list of (secs_left, boost), not int"),
    (PriorityBoost, (1, None), {}, TypeError, "steps must be a list of (secs_left, boost), not NoneType"),
    (PriorityBoost, (1, [5]), {}, TypeError, "steps[0] must be a tuple (secs_left, boost), not int"),
    (PriorityBoost, (1, [(0.5, 1), (2, 1)]), {}, ValueError, "steps[1][0] must not be above deadline_secs, got 2 and 1"),
    (PriorityBoost, (1, [(1, 256)]), {}, ValueError, "steps[0][1] must be an int from 0 to 255, got 256"),
    (PriorityBoost, (1, [("1", 1)]), {}, TypeError, "steps[0][0] must be a number of seconds"),
    (Limiter, (0, 1), {}, ValueError, "max_commands must be an int from 1 to 9007199254740991, got 0"),
    (Limiter, (1, -1), {}, ValueError, "window_secs must be a number of seconds from 0 to 10000000000, got -1"),
    (
        Limiter,
        (1, 1),
        {"algorithm": "leaky"},
        ValueError,
        "algorithm must be one of 'token_bucket', 'sliding_window', got 'leaky'",
    ),
    (Limiter, (1, 1), {"burst": 0}, ValueError, "burst must be an int from 1 to 9007199254740991, got 0"),
    (
        Limiter,
        (1, 1),
        {"algorithm": "sliding_window", "burst": 1},
        ValueError,
        "burst needs the algorithm 'token_bucket', got 'sliding_window'",
    ),
    (Limiter, (1, 1), {"counting_commands": 1}, TypeError, "counting_commands must be a bool, not int"),
    (Limiter, (5, 1), {"reserve": 5}, ValueError, "reserve must be below the 5 that are granted at once, got 5"),
    (Limiter, (5, 1), {"burst": 2, "reserve": 3}, ValueError, "reserve must be below the 2 that are granted at once"),
    (Limiter, (5, 1), {"reserve": 1, "urgent_up_to": 256}, ValueError, "urgent_up_to must be an int from 0 to 255"),
    (
        Limiter,
        (5, 1),
        {"urgent_up_to": 1},
        ValueError,
        "urgent_up_to needs a reserve, got urgent_up_to 1 and no reserve",
    ),
]


@pytest.mark.parametrize(("make", "arguments", "keywords", "error", "text"), WRONG)
def test_limits_refuse_by_name(
    make: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        make(*arguments, **keywords)
    assert str(caught.value).startswith(text)


def retry_delays(config: LaneConfig, **options: Any) -> list[float]:
    """In how many seconds ten commands that failed run again."""
    lane = Lane.with_lanes([config])
    lane.start()
    script: list[list[dict[str, object]]] = [[{"fail": "x"}]]
    handles = [enqueue_scripted(lane, "one", "t", script, **options) for _ in range(10)]

    def delay(handle: CommandHandle) -> float:
        explanation = handle.explain()
        assert explanation is not None
        until = datetime.fromisoformat(explanation["reasons"][0]["until"])
        return (until - datetime.now(timezone.utc)).total_seconds()

    wait_until(lambda: all(handle.status == "delayed" for handle in handles))
    return [delay(handle) for handle in handles]


# That ten random delays are all in the last twentieth, or tenth with half of it fixed, never happens.
@pytest.mark.parametrize(
    ("jitter", "low", "some_below"),
    [("none", 100_000 - LIMIT_SECS, 100_001), ("equal", 50_000 - LIMIT_SECS, 95_000), ("full", 0, 95_000)],
)
def test_jitter(jitter: Any, low: float, some_below: float) -> None:
    policy = RetryPolicy.fixed(1, 100_000)
    of_lane = LaneConfig("one", 0, retry_policy=policy, retry_jitter=jitter)
    # The command's own setting wins.
    other = LaneConfig("one", 0, retry_policy=policy, retry_jitter="equal" if jitter == "none" else "none")
    for delays in (retry_delays(of_lane), retry_delays(other, jitter=jitter)):
        assert all(delay >= low for delay in delays)
        assert min(delays) < some_below
