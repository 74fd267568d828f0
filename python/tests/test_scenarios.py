"""The behaviours that all three languages share, and the player that plays them."""

from __future__ import annotations

import json
from typing import Any

import pytest

import conftest
from a3s_lane import LaneError
from conftest import REPOSITORY
from scenario import play
from scenario_bodies import WRITTEN
from scenario_settings import Table

FILES = sorted((REPOSITORY / "tests" / "scenarios").glob("*.json"))


def scenarios() -> list[Any]:
    return [
        pytest.param(scenario, id=f"{file.stem}:{scenario['name']}")
        for file in FILES
        for scenario in json.loads(file.read_text(encoding="utf-8"))
    ]


def test_there_are_scenarios() -> None:
    assert scenarios()


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("scenario", scenarios())
def test_scenario(scenario: Table, written: str) -> None:
    play(scenario, WRITTEN[written])


RIGHT: Table = {
    "name": "right",
    "about": "What the player accepts.",
    "lanes": [{"id": "high", "priority": 0, "min": 1, "max": 1, "pressure_threshold": 2}],
    "dlq_size": 1,
    "steps": [
        {"submit": {"as": "a", "lane": "high", "script": [[{"return": 1}]]}},
        {"submit": {"as": "b", "lane": "high", "script": [[{"fail": "x"}]]}},
        {"submit": {"as": "x", "lane": "nope", "error": "LANE_NOT_FOUND"}},
        {"drain": {"timeout_ms": 1, "error": "TIMEOUT"}},
        {"start": {}},
        {"await": {"as": "a", "ok": 1}},
        {"await": {"as": "b", "error": "COMMAND_ERROR"}},
        {"echo": {"lane": "high", "type": "t", "payload": {"k": 1}}},
        {"stats": {"total_pending": 0, "dead_letter_count": 1, "lanes": {"high": {"active": 0, "max": 1}}}},
    ],
    "events": {
        "keys": ["queue.command.started", "queue.command.completed", "queue.command.failed", "queue.lane.pressure"],
        "order": [
            "lane.pressure high",
            "started a",
            "completed a",
            "started b",
            "failed b",
            "started t",
            "completed t",
        ],
        "each": {"a": ["started", "completed"]},
        "max_active": {"high": 1},
    },
}

# A command with a handle.
HELD: Table = {"submit": {"as": "a", "lane": "high", "script": [[{"emit": 1}, {"progress": 1}]], "options": {}}}


def joining(name: str = "a", **fields: str) -> Table:
    unique = {"key": "u", "on_conflict": "join"}
    return {"submit": {"as": name, "lane": "high", "options": {"unique": unique}, **fields}}


WRONG: dict[str, Table] = {
    "an unknown step": {"steps": [{"dance": {}}]},
    "two steps in one": {"steps": [{"start": {}, "shutdown": {}}]},
    "an unknown field of a step": {"steps": [{"start": {"slowly": True}}]},
    "an unknown field": {"tempo": 1},
    "an unknown field of a lane": {"lanes": [{"id": "high", "priority": 0, "colour": "red"}]},
    "a wrong result": {
        "steps": [{"start": {}}, {"submit": {"as": "a", "lane": "high"}}, {"await": {"as": "a", "ok": 1}}]
    },
    "an error that does not come": {
        "steps": [{"start": {}}, {"submit": {"as": "a", "lane": "high", "error": "TIMEOUT"}}]
    },
    "another error than expected": {"steps": [{"submit": {"as": "a", "lane": "nope", "error": "TIMEOUT"}}]},
    "a missing event": {"events": {"keys": ["queue.command.started"], "order": ["started a"] * 4}},
    "an event too many": {"events": {"keys": ["queue.command.started"], "order": []}},
    "a wrong story of one command": {"events": {"each": {"a": ["started", "failed"]}}},
    "a wrong number at once": {"events": {"max_active": {"high": 2}}},
    "an unknown expectation": {"events": {"least_active": {"high": 1}}},
    "an unknown field of a limiter": {"limiters": {"t": {"max_commands": 1, "window_ms": 1, "leaky": True}}},
    "an unknown option": {"steps": [{"submit": {"as": "a", "lane": "high", "options": {"urgency": 1}}}]},
    "an unknown field of one of many": {"steps": [{"submit_many": {"lane": "high", "commands": [{"as": "a", "x": 1}]}}]},
    "one of many that is not refused": {
        "steps": [{"submit_many": {"lane": "high", "commands": [{"as": "a", "error": "LANE_FULL"}]}}]
    },
    "one of many that is refused": {"steps": [{"submit_many": {"lane": "nope", "commands": [{"as": "a"}]}}]},
    "an id that is shared unasked": {"steps": [joining(), joining("b")]},
    "a join of another command": {"steps": [joining(), joining("b", joins="c")]},
    "a join that does not come": {"steps": [joining("b", joins="a")]},
    "nothing to cancel": {"steps": [HELD, {"cancel": {"as": "a"}}, {"cancel": {"as": "a"}}]},
    "something to cancel": {"steps": [HELD, {"cancel": {"as": "a", "found": False}}]},
    "a wrong count of cancelled commands": {"steps": [HELD, {"cancel": {"lane": "high", "count": 2}}]},
    "a wrong count of a key": {"steps": [HELD, {"cancel": {"key": "k", "count": 1}}]},
    "a cancel by name without a handle": {
        "steps": [{"submit": {"as": "a", "lane": "high"}}, {"cancel": {"as": "a"}}]
    },
    "a set_lane that is accepted": {"steps": [{"set_lane": {"id": "x", "priority": 1, "error": "CONFIG_ERROR"}}]},
    "a remove_lane that is accepted": {"steps": [{"remove_lane": {"id": "high", "error": "QUEUE_ERROR"}}]},
    "a total that is accepted": {"steps": [{"set_max_concurrency": {"total": 9, "error": "CONFIG_ERROR"}}]},
    "a limiter that is accepted": {
        "limiters": {"t": {"max_commands": 1, "window_ms": 1}},
        "steps": [{"set_limiter": {"name": "t", "max_commands": 2, "window_ms": 1, "error": "LIMITER_NOT_FOUND"}}],
    },
    "an unknown limiter": {"steps": [{"set_limiter": {"name": "t", "max_commands": 2, "window_ms": 1}}]},
    "wrong reasons": {"steps": [HELD, {"explain": {"as": "a", "reasons": ["lane_full"]}}]},
    "an explanation after all": {"steps": [HELD, {"explain": {"as": "a", "none": True}}]},
    "a wrong field of a reason": {
        "steps": [HELD, {"explain": {"as": "a", "reasons": [{"reason": "not_started", "commands": 1}]}}]
    },
    "a wrong snapshot": {"steps": [HELD, {"snapshot": {"pending": 2}}]},
    "an unknown field of a snapshot": {"steps": [{"snapshot": {"colour": "red"}}]},
    "a snapshot of fewer lanes": {"steps": [{"snapshot": {"lanes": []}}]},
    "a submission after all": {"steps": [HELD, {"submitted": {"lane": "high", "type": "a", "found": False}}]},
    "no submission": {"steps": [{"submitted": {"lane": "high", "type": "a"}}]},
    "a wrong payload": {"steps": [HELD, {"submitted": {"lane": "high", "type": "a", "payload": 1}}]},
    "an unknown clock": {"clock": "sundial"},
    "a real clock that is moved": {"steps": [{"advance_ms": 1}]},
    "a wrong number of commands left": {
        "steps": [{"start": {}}, {"pause": {"lane": "high"}}, HELD, {"drain_now": {"left": 0}}]
    },
    "a status that is not there yet": {"steps": [HELD, {"start": {}}, {"status": {"as": "a", "is": "failed", "now": True}}]},
    "a wrong status": {"steps": [HELD, {"status": {"as": "a", "is": "running"}}]},
    "wrong chunks": {"steps": [{"start": {}}, HELD, {"chunks": {"as": "a", "are": [2]}}]},
    "wrong progress": {"steps": [{"start": {}}, HELD, {"progress": {"as": "a", "is": 2}}]},
    "a clean end after all": {"steps": [HELD, {"shutdown_within": {"timeout_ms": 0}}]},
    "a stop after all": {"steps": [HELD, {"shutdown_within": {"timeout_ms": 0, "pending": ["a"], "stopped": ["a"]}}]},
}


def test_the_player_plays_a_right_scenario() -> None:
    play(RIGHT)


@pytest.mark.parametrize("wrong", WRONG)
def test_the_player_refuses(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What does not come need not be awaited for long.
    monkeypatch.setattr(conftest, "LIMIT_SECS", 0.2)
    with pytest.raises((AssertionError, LaneError, pytest.fail.Exception)):
        play({**RIGHT, **WRONG[wrong]})
