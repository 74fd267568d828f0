"""The end of the use of a storage: another process has the directory at once. And what it says to whoever looks from outside."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from a3s_lane import (
    Inspection,
    Lane,
    LaneConfig,
    LaneInspection,
    QueueError,
    Retention,
    ShutdownInProgressError,
    StorageError,
    WouldBlockError,
    inspect,
    inspect_async,
)
from conftest import LIMIT_SECS, run_python


def one(directory: Path, **settings: Any) -> Lane:
    """One lane that runs one command at a time, stored."""
    return Lane.with_lanes([LaneConfig("one", 0, 0, 1)], storage=directory, **settings)


def seen_by_another_process(directory: Path) -> str:
    """The ids of what another process finds, which opens the directory; or why it cannot."""
    return run_python(f"""
from a3s_lane import Lane, StorageError
try:
    lane = Lane(storage={str(directory)!r})
    print(*(each.command_id for each in lane.unclaimed()))
except StorageError as error:
    print(error)
""").strip()


def test_close_frees_the_directory_for_another_process(tmp_path: Path) -> None:
    lane = one(tmp_path, durability="relaxed")
    handle = lane.enqueue("one", "t", id="a")
    assert "in use by another process" in seen_by_another_process(tmp_path)
    lane.close()
    assert seen_by_another_process(tmp_path) == "a"
    with pytest.raises(QueueError):
        handle.result(LIMIT_SECS)
    lane.close()
    for call in (lane.unclaimed, lane.stats, lane.load_history, lane.dead_letters.list):
        with pytest.raises(StorageError, match="the storage was closed$"):
            call()
    with pytest.raises(ShutdownInProgressError):
        lane.enqueue("one", "t")


def test_close_without_a_storage_ends_the_lanes() -> None:
    lane = Lane()
    lane.start()
    assert lane.submit("query", "t", 1) == 1
    lane.close()
    with pytest.raises(ShutdownInProgressError):
        lane.submit("query", "t")
    assert lane.stats().total_pending == 0


def test_close_stops_what_runs_which_stays_stored_and_counts_no_attempt(tmp_path: Path) -> None:
    lane = one(tmp_path)
    runs = threading.Event()

    @lane.handler("hangs")
    async def hangs(payload: object) -> None:
        runs.set()
        await asyncio.sleep(3600)

    lane.start()
    lane.enqueue("one", "hangs", id="it")
    assert runs.wait(LIMIT_SECS)
    lane.close()
    assert seen_by_another_process(tmp_path) == "it"
    again = one(tmp_path)
    (left,) = again.unclaimed()
    assert (left.attempts, left.crashes) == (0, 0)
    again.close()


def test_close_async(tmp_path: Path) -> None:
    async def main() -> None:
        lane = one(tmp_path)
        refused: list[str] = []

        @lane.handler("t")
        async def t(payload: object) -> object:
            try:
                lane.close()
            except WouldBlockError as error:
                refused.append(str(error))
            return payload

        lane.start()
        assert await lane.submit_async("one", "t", 1) == 1
        assert "close_async" in refused[0]
        await lane.close_async()
        assert seen_by_another_process(tmp_path) == ""
        await lane.close_async()

    asyncio.run(main())


def fails() -> None:
    raise KeyError("in the block")


@pytest.mark.parametrize("end", [None, fails])
def test_the_end_of_a_block_frees_the_directory(tmp_path: Path, end: Callable[[], None] | None) -> None:
    # A reference that stays: nothing here waits for the garbage collector.
    lane = one(tmp_path / "block", results=Retention())

    def block() -> None:
        with lane:
            assert lane.submit("one", "t", 1) == 1
            if end is not None:
                end()

    async def async_block(other: Lane) -> None:
        async with other:
            assert await other.submit_async("one", "t", 1) == 1
            if end is not None:
                end()

    other = one(tmp_path / "async")
    if end is None:
        block()
        asyncio.run(async_block(other))
    else:
        with pytest.raises(KeyError):
            block()
        with pytest.raises(KeyError):
            asyncio.run(async_block(other))
    for name in ("block", "async"):
        assert seen_by_another_process(tmp_path / name) == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_that_lives_on_does_not_keep_the_directory(tmp_path: Path) -> None:
    lane = one(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    try:
        lane.close()
        assert seen_by_another_process(tmp_path) == ""
    finally:
        os.close(writer)
        os.waitpid(child, 0)


def test_inspect(tmp_path: Path) -> None:
    before = datetime.now(timezone.utc)
    lane = Lane.with_lanes(
        [LaneConfig("one", 0, 0, 1), LaneConfig("two", 1)],
        storage=tmp_path / "queue",
        results=Retention(),
        history=Retention(),
    )

    @lane.handler("bad")
    def bad(payload: object) -> None:
        raise ValueError("no")

    runs, go_on = threading.Event(), threading.Event()

    @lane.handler("waits")
    def waits(payload: object) -> None:
        runs.set()
        go_on.wait(LIMIT_SECS)

    lane.start()
    with pytest.raises(Exception, match="no"):
        lane.submit("one", "bad")
    lane.submit("two", "t")
    lane.enqueue("one", "waits")
    assert runs.wait(LIMIT_SECS)
    lane.enqueue("one", "t")
    lane.enqueue("two", "t", delay_secs=3600)
    # While this process uses it.
    found = inspect(tmp_path / "queue")
    assert isinstance(found, Inspection)
    first, second = found.lanes
    assert isinstance(first, LaneInspection)
    assert [(each.lane_id, each.pending) for each in found.lanes] == [("one", 2), ("two", 1)]
    assert before <= first.oldest_created_at <= second.oldest_created_at <= before + timedelta(minutes=5)
    assert (found.directory, found.format) == (str(tmp_path / "queue"), 2)
    assert (found.pending, found.running, found.dead_letters, found.results) == (3, 1, 1, 2)
    assert found.history == 7
    assert found.file_bytes + found.log_bytes > 0
    assert found.problems == []
    assert asyncio.run(inspect_async(str(tmp_path / "queue"))) == found
    go_on.set()
    lane.close()


def test_inspect_says_what_is_wrong(tmp_path: Path) -> None:
    for call in (inspect, lambda directory: asyncio.run(inspect_async(directory))):
        with pytest.raises(StorageError, match="lanes.db"):
            call(tmp_path / "none")
        with pytest.raises(TypeError, match="^directory must be a str or os.PathLike, not int$"):
            call(7)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="^directory must not be empty$"):
            call("")
    assert not (tmp_path / "none").exists(), "it makes none"
    lane = one(tmp_path / "queue")
    for number in range(200):
        lane.enqueue("one", "t", "x" * 100, id=str(number))
    lane.close()
    database = tmp_path / "queue" / "lanes.db"
    content = bytearray(database.read_bytes())
    # The count of free pages, in the header.
    content[39] = 7
    database.write_bytes(content)
    assert inspect(tmp_path / "queue").problems != []
    (tmp_path / "queue" / "lanes.db-wal").write_bytes(b"x" * 32)
    assert "lanes.db-wal is damaged" in inspect(tmp_path / "queue").problems[-1]


def test_inspect_has_the_fields_of_the_command_line(tmp_path: Path) -> None:
    """As far as Python knows them: the names are those of the core, of which the command line prints the JSON."""
    one(tmp_path).close()
    fields = {field: value for field, value in vars(inspect(tmp_path)).items()}
    assert json.loads(json.dumps(fields)) == fields
    assert list(fields) == [
        "directory",
        "format",
        "lanes",
        "pending",
        "running",
        "dead_letters",
        "results",
        "history",
        "file_bytes",
        "log_bytes",
        "problems",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_l20_a_forked_child_opens_only_what_was_closed_when_it_was_forked(tmp_path: Path) -> None:
    # SQLite's memory of an open file is copied, and is wrong as soon as the parent closes the file.
    script = f"""
import os
from a3s_lane import Lane, StorageError

def child_that(check):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        check()
        os._exit(0)
    os.close(reading)
    return child, writing

def refused():
    try:
        Lane(storage={str(tmp_path)!r})
    except StorageError as error:
        assert "when that forked this one" in str(error), error
    else:
        raise AssertionError("was opened")

def opened():
    with Lane(storage={str(tmp_path)!r}) as own:
        assert own.submit("query", "t", 2) == 2

lane = Lane(storage={str(tmp_path)!r})
lane.start()
lane.submit("query", "t", 1)
early = child_that(refused)
lane.close()
late = child_that(opened)
for child, writing in (early, late):
    # Not by closing it: the later child has a copy of the earlier one's.
    os.write(writing, b"x")
    assert os.waitpid(child, 0)[1] == 0
print("end")
"""
    assert run_python(script) == "end\n"
