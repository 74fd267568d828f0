"""Payloads: what becomes JSON, exactly, and what is refused."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from a3s_lane import CommandContext, Lane, RetryPolicy
from conftest import LIMIT_SECS, single


class Colour(enum.IntEnum):
    RED = 3


class Word(str, enum.Enum):
    HELLO = "hello"


class Point(NamedTuple):
    x: int
    y: int


EXACT: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53 + 1,
    -(2**63),
    2**63 - 1,
    2**63,
    2**64 - 1,
    0.0,
    -0.0,
    0.1,
    1.0,
    1e308,
    5e-324,
    "",
    "plain",
    "nul \0 and 漢字 and 🦀",
    [],
    {},
    [[], {}, None],
    {"": 1, "a b": {"c": [1.5, "x"]}},
]


@pytest.mark.parametrize("payload", EXACT, ids=repr)
def test_round_trip(lane: Lane, payload: Any) -> None:
    result = lane.submit("query", "echo", payload)
    assert repr(result) == repr(payload)


@pytest.mark.parametrize(
    "payload",
    [
        (1, (2, 3)),
        Point(1, 2),
        Colour.RED,
        Word.HELLO,
        OrderedDict(b=1, a=2),
        {1: "int", True: "bool", None: "none", 1.5: "float", 1e22: "big", Colour.RED: "enum"},
        [True, 1, 1.0],
    ],
    ids=repr,
)
def test_other_types_convert_as_json_dumps_does(lane: Lane, payload: Any) -> None:
    assert lane.submit("query", "echo", payload) == json.loads(json.dumps(payload))


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**100])
def test_l29_integers_that_json_cannot_keep_exact_are_refused(lane: Lane, number: int) -> None:
    with pytest.raises(ValueError, match=r"payload.n\[0\] must be an int from -9223372036854775808 to 18446744073709551615"):
        lane.submit("query", "echo", {"n": [number]})


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (math.nan, "payload is nan, which JSON cannot hold"),
        ([1, math.inf], "payload[1] is infinite, which JSON cannot hold"),
        ({"a": {"b": [{1, 2}]}}, "payload.a.b[0] is of type set, which has no JSON form"),
        (b"bytes", "payload is of type bytes, which has no JSON form"),
        (object(), "payload is of type object, which has no JSON form"),
        (Decimal(1), "payload is of type Decimal, which has no JSON form"),
        ({(1, 2): 3}, "payload has a key of type tuple, JSON keys are str"),
        ({math.nan: {"x": object()}}, "payload.nan.x is of type object"),
        ("\ud800", "payload cannot be read: UnicodeEncodeError"),
        ({"\udfff": 1}, "payload cannot be read: UnicodeEncodeError"),
    ],
)
def test_what_is_not_json_is_a_value_error_with_its_place(lane: Lane, payload: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        lane.submit("query", "echo", payload)
    assert text in str(caught.value)
    assert lane.stats().total_active == 0


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_nesting_to_the_limit_is_kept(lane: Lane) -> None:
    assert lane.submit("query", "echo", nested(128)) == nested(128)


@pytest.mark.parametrize("depth", [129, 100_000])
def test_deeper_nesting_is_an_error_and_no_crash(lane: Lane, depth: int) -> None:
    deep = nested(depth)
    with pytest.raises(ValueError, match="payload is nested deeper than 128 levels"):
        lane.submit("query", "echo", deep)
    # Taken apart level by level, because old interpreters recurse when they free it.
    while not isinstance(deep, int):
        deep = deep.pop() if isinstance(deep, list) else deep.popitem()[1]


def test_a_list_that_holds_itself_is_an_error(lane: Lane) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="nested deeper"):
        lane.submit("query", "echo", loop)


def test_the_result_is_a_copy(lane: Lane) -> None:
    payload = {"items": [1]}
    result = lane.submit("query", "echo", payload)
    result["items"].append(2)
    assert payload == {"items": [1]}


def test_each_attempt_has_a_copy_of_what_was_submitted() -> None:
    seen: list[Any] = []
    with single(retry_policy=RetryPolicy.fixed(1, 0)) as lane:

        @lane.handler("t")
        def change(payload: dict[str, list[int]], ctx: CommandContext) -> dict[str, list[int]]:
            seen.append(payload["items"].copy())
            payload["items"].append(ctx.attempt)
            if ctx.attempt == 1:
                raise ValueError
            return payload

        lane.pause_lane("one")
        payload = {"items": [0]}
        handle = change.enqueue("one", payload)
        payload["items"].append(9)
        lane.resume_lane("one")
        result = handle.result(LIMIT_SECS)
    assert seen == [[0], [0]]
    assert result == {"items": [0, 2]} == handle.result()
    assert result is not handle.result()
    assert payload == {"items": [0, 9]}
