"""``lane.dead_letters``: in memory and in a storage, called from threads and from an event loop."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from a3s_lane import (
    UNSET,
    CommandContext,
    CommandHandle,
    CommandNotFoundError,
    ConfigError,
    DeadLetter,
    DeadLetters,
    DuplicateError,
    Lane,
    LaneConfig,
    LaneError,
    RetryPolicy,
    Unrecoverable,
    WouldBlockError,
)
from conftest import LIMIT_SECS


@pytest.fixture(params=["memory", "storage"])
def lane(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lane]:
    """Two lanes that keep dead letters, with a handler that fails as its payload says, started."""
    settings: dict[str, Any] = {"dlq_size": 100}
    if request.param == "storage":
        settings = {"storage": tmp_path, "durability": "relaxed"}
    made = Lane.with_lanes([LaneConfig("a", 0, 0, 1), LaneConfig("b", 1, 0, 1)], **settings)

    def work(payload: dict[str, Any], ctx: CommandContext) -> object:
        if payload.get("hopeless"):
            raise Unrecoverable("hopeless")
        if payload.get("fail"):
            raise ValueError(payload["fail"])
        return {"payload": payload, "id": ctx.id, "attempt": ctx.attempt, "metadata": ctx.metadata}

    made.register_handler("x", work)
    made.register_handler("y", work)
    with made:
        yield made


def fail(lane: Lane, lane_id: str, command_type: str, id: str, payload: object = None, **options: Any) -> None:
    handle = lane.enqueue(lane_id, command_type, payload or {"fail": f"{id} failed"}, id=id, **options)
    with pytest.raises(LaneError):
        handle.result(LIMIT_SECS)


def ids(letters: list[DeadLetter]) -> list[str]:
    return [letter.command_id for letter in letters]


def test_each_part_of_a_filter_counts(lane: Lane) -> None:
    fail(lane, "a", "x", "1")
    fail(lane, "b", "y", "2")
    fail(lane, "a", "y", "3", {"hopeless": True})
    letters = lane.dead_letters
    known = letters.list()
    time = known[1].failed_at
    filters: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["1", "2", "3"]),
        ({"ids": ["2", "9"]}, ["2"]),
        ({"ids": ("1", "3"), "limit": 1}, ["1"]),
        ({"ids": []}, []),
        ({"lane_id": "a"}, ["1", "3"]),
        ({"command_type": "y"}, ["2", "3"]),
        ({"code": "UNRECOVERABLE"}, ["3"]),
        ({"since": known[2].failed_at - timedelta(microseconds=1)}, ["3"]),
        ({"until": known[0].failed_at}, []),
        ({"until": known[2].failed_at + timedelta(seconds=1), "since": time - timedelta(days=1)}, ["1", "2", "3"]),
        ({"limit": 2}, ["1", "2"]),
        ({"limit": 0}, []),
        ({"lane_id": "a", "command_type": "y"}, ["3"]),
        (dict.fromkeys(("ids", "lane_id", "command_type", "code", "since", "until", "limit")), ["1", "2", "3"]),
    ]
    for filter, found in filters:
        assert ids(letters.list(**filter)) == found, filter
        assert ids(asyncio.run(listed(letters, filter))) == found, filter
        lines = letters.export(**filter).splitlines()
        assert [json.loads(line)["command_id"] for line in lines] == found, filter
        assert asyncio.run(exported(letters, filter)).splitlines() == lines
    assert letters.discard(code="UNRECOVERABLE") == 1
    assert letters.discard(lane_id="none") == 0
    assert ids(letters.list()) == ["1", "2"]


async def listed(letters: DeadLetters, filter: dict[str, Any]) -> list[DeadLetter]:
    return await letters.list_async(**filter)


async def exported(letters: DeadLetters, filter: dict[str, Any]) -> str:
    return await letters.export_async(**filter)


@pytest.mark.parametrize(
    ("filter", "error", "text"),
    [
        ({"ids": "1"}, TypeError, "ids must be a list of str, not str"),
        ({"lane_id": 1}, TypeError, "lane_id must be a str, not int"),
        ({"since": 5}, TypeError, "since must be a datetime with a time zone, not int"),
        ({"until": datetime(2030, 1, 1)}, ValueError, "until must be a datetime with a time zone, got one without"),
        ({"limit": -1}, ValueError, "limit must be an int from 0 to 4294967295, got -1"),
        ({"colour": "red"}, TypeError, "list() got an unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_filters_are_refused_by_name(filter: dict[str, Any], error: type[Exception], text: str) -> None:
    letters = Lane(dlq_size=1).dead_letters
    with pytest.raises(error) as caught:
        letters.list(**filter)
    assert str(caught.value).startswith(text)
    for call in (letters.retry_all, letters.discard, letters.export):
        with pytest.raises(error):
            call(**filter)


def test_a_letter_tells_all_about_its_command(lane: Lane) -> None:
    before = datetime.now(timezone.utc)
    payload = {"fail": "boom", "n": [1, None, 2**63]}
    fail(
        lane,
        "a",
        "x",
        "job",
        payload,
        priority=-3,
        key="tenant",
        cost=7,
        metadata={"trace": 1},
        retry_policy=RetryPolicy.fixed(1, 0),
    )
    (letter,) = lane.dead_letters.list()
    assert (letter.command_id, letter.command_type, letter.lane_id) == ("job", "x", "a")
    assert (letter.payload, letter.attempts, letter.code) == (payload, 2, "COMMAND_ERROR")
    assert letter.error == "ValueError: boom"
    options = letter.options
    assert (options["priority"], options["key"], options["cost"]) == (-3, "tenant", 7)
    assert options["metadata"] == {"trace": 1}
    assert before <= letter.failed_at <= datetime.now(timezone.utc)
    assert [failure.attempt for failure in letter.failures] == [1, 2]
    for failure in letter.failures:
        assert (failure.error, failure.code) == ("ValueError: boom", "COMMAND_ERROR")
        assert failure.traceback is not None
        assert "in work" in failure.traceback and failure.traceback.endswith("ValueError: boom\n")
        assert failure.started_at is not None and failure.started_at <= failure.failed_at
    assert letter.traceback == letter.failures[-1].traceback
    for twin in (pickle.loads(pickle.dumps(letter)), copy.deepcopy(letter)):
        assert twin == letter
    assert dataclasses.asdict(letter)["failures"][0]["attempt"] == 1


def test_an_absent_payload_is_not_none(lane: Lane) -> None:
    lane.register_handler("none", lambda payload: 1 / 0)
    with pytest.raises(LaneError):
        lane.submit("a", "none", None)
    (letter,) = lane.dead_letters.list()
    assert letter.payload is None
    lines = lane.dead_letters.export()
    assert lane.dead_letters.discard() == 1
    without = json.loads(lines)
    del without["payload"]
    assert lane.dead_letters.import_(json.dumps(without)) == 1
    (letter,) = lane.dead_letters.list()
    assert letter.payload is UNSET
    assert not UNSET and repr(UNSET) == "UNSET"
    for twin in (pickle.loads(pickle.dumps(UNSET)), copy.deepcopy(UNSET)):
        assert twin is UNSET
    with pytest.raises(ConfigError, match="payload"):
        lane.dead_letters.retry(letter.command_id)
    lane.register_handler("none", lambda payload: {"got": payload})
    with pytest.raises(ConfigError, match="payload"):
        lane.dead_letters.retry(letter.command_id, UNSET)
    assert lane.dead_letters.retry(letter.command_id, None).result(LIMIT_SECS) == {"got": None}


def test_retry(lane: Lane) -> None:
    fail(lane, "a", "x", "job", metadata={"trace": 1}, key="k")
    letters = lane.dead_letters
    with pytest.raises(ValueError, match="^payload is of type set"):
        letters.retry("job", {1})
    with pytest.raises(TypeError, match="^command_id must be a str, not int$"):
        letters.retry(1)  # type: ignore[arg-type]
    with pytest.raises(CommandNotFoundError):
        letters.retry("other")

    stream = lane.subscribe_filtered(["queue.dead_letter.retried", "queue.dead_letter.discarded"])
    again = letters.retry("job")
    assert isinstance(again, CommandHandle) and again.id == "job"
    with pytest.raises(LaneError, match="job failed"):
        again.result(LIMIT_SECS)
    done = letters.retry("job", {"n": 1})
    assert done.result(LIMIT_SECS) == {"payload": {"n": 1}, "id": "job", "attempt": 1, "metadata": {"trace": 1}}
    assert letters.list() == []
    fail(lane, "a", "x", "job")
    letters.discard()
    events = [stream.recv(10_000) for _ in range(3)]
    keys = [event.key.rsplit(".", 1)[1] for event in events if event is not None]
    assert keys == ["retried", "retried", "discarded"]
    assert events[0] is not None
    assert events[0].payload == {"lane_id": "a", "command_id": "job", "command_type": "x"}

    fail(lane, "a", "x", "job")
    lane.pause_lane("a")
    lane.enqueue("a", "x", {}, id="job")
    with pytest.raises(DuplicateError):
        letters.retry("job")
    lane.resume_lane("a")


def test_retry_all(lane: Lane) -> None:
    fail(lane, "a", "x", "1")
    fail(lane, "b", "y", "2")
    fail(lane, "a", "x", "3")
    lane.remove_handler("y")
    letters = lane.dead_letters
    lane.register_handler("x", lambda payload: "done")
    (first,) = letters.retry_all(ids=["1"])
    assert isinstance(first[1], CommandHandle)
    assert (first[0], first[1].result(LIMIT_SECS)) == ("1", "done")
    two, three = letters.retry_all()
    assert (two[0], type(two[1])) == ("2", ConfigError)
    assert isinstance(three[1], CommandHandle) and three[1].result(LIMIT_SECS) == "done"
    assert ids(letters.list()) == ["2"]


def test_import_keeps_what_was_exported(lane: Lane) -> None:
    fail(lane, "a", "x", "1")
    fail(lane, "b", "y", "2")
    letters = lane.dead_letters
    known, lines = letters.list(), letters.export()
    assert letters.import_(lines) == 0
    assert letters.discard() == 2
    assert letters.import_(lines) == 2
    assert letters.list() == known
    with pytest.raises(ConfigError, match="2"):
        letters.import_(lines.splitlines()[0] + "\nnothing")
    with pytest.raises(TypeError, match="^lines must be a str, not bytes$"):
        letters.import_(b"")  # type: ignore[arg-type]


def test_on_an_event_loop(tmp_path: Path) -> None:
    async def main() -> None:
        lane = Lane(storage=tmp_path, durability="relaxed")

        @lane.handler("work")
        async def work(payload: object) -> object:
            if payload == "bad":
                raise ValueError("bad")
            return payload

        async with lane:
            letters = lane.dead_letters
            for id in "abc":
                with pytest.raises(LaneError):
                    await lane.submit_async("query", "work", "bad", id=id)
            listed = await letters.list_async()
            assert ids(listed) == ["a", "b", "c"]
            # What waits for the disk alone may also do so here.
            assert letters.list() == listed
            assert lane.stats().dead_letter_count == 3
            # A retry may wait for room.
            with pytest.raises(WouldBlockError, match="await lane.dead_letters.retry_async"):
                letters.retry("a")
            with pytest.raises(WouldBlockError, match="await lane.dead_letters.retry_all_async"):
                letters.retry_all()
            retried = await letters.retry_async("a", "good")
            assert await retried == "good"
            with pytest.raises(LaneError, match="bad"):
                await (await letters.retry_async("b"))
            again = await letters.retry_all_async(ids=["c"])
            assert [id for id, _ in again] == ["c"]
            assert isinstance(again[0][1], CommandHandle)
            with pytest.raises(LaneError, match="bad"):
                await again[0][1]
            with pytest.raises(CommandNotFoundError):
                await letters.retry_async("zz")
            with pytest.raises(TypeError, match=r"^list_async\(\) got an unexpected"):
                await letters.list_async(colour="red")  # type: ignore[call-arg]
            lines = await letters.export_async()
            assert await letters.discard_async() == 2
            assert await letters.import_async(lines) == 2
            assert await letters.discard_async(limit=1) == 1

    asyncio.run(main())


def test_without_a_place_for_letters() -> None:
    letters = Lane().dead_letters
    assert repr(letters) == "DeadLetters(Lane(system, control, query, session, skill, prompt))"
    for call in (letters.list, letters.retry_all, letters.discard, letters.export):
        with pytest.raises(ConfigError, match="none are kept"):
            call()
