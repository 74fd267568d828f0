"""The behaviours that all three languages share, and the player that plays them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import REPOSITORY
from scenario import Table, play

FILES = sorted((REPOSITORY / "tests" / "scenarios").glob("*.json"))


def scenarios() -> list[Any]:
    return [
        pytest.param(scenario, id=f"{file.stem}:{scenario['name']}")
        for file in FILES
        for scenario in json.loads(file.read_text(encoding="utf-8"))
    ]


def test_there_are_scenarios() -> None:
    assert scenarios()


@pytest.mark.parametrize("scenario", scenarios())
def test_scenario(scenario: Table) -> None:
    play(scenario)


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
}


def test_the_player_plays_a_right_scenario() -> None:
    play(RIGHT)


@pytest.mark.parametrize("wrong", WRONG)
def test_the_player_refuses(wrong: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        play({**RIGHT, **WRONG[wrong]})
