"""``Lane(storage=...)``: its options, what a restart brings back, and how a block ends."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import faults
from a3s_lane import (
    CommandContext,
    ConfigError,
    CrashedError,
    HistoryEntry,
    Lane,
    LaneConfig,
    LaneError,
    Retention,
    RetryPolicy,
    StorageError,
    Unclaimed,
    WouldBlockError,
)
from a3s_lane.testing import create_lane
from conftest import LIMIT_SECS, REPOSITORY, run_python, wait_until

TESTS = REPOSITORY / "python" / "tests"


def one(directory: Path, **settings: Any) -> Lane:
    """One lane that runs one command at a time, stored."""
    settings.setdefault("durability", "relaxed")
    return Lane.with_lanes([LaneConfig("one", 0, 0, 1)], storage=directory, **settings)


# Names, bad values, errors, texts.
REFUSED: list[tuple[str, Any, type[Exception], str]] = [
    ("storage", 7, TypeError, "storage must be a str or os.PathLike, not int"),
    ("storage", "", ValueError, "storage must not be empty"),
    ("storage", "a\0b", ValueError, "storage must not contain a null character"),
    ("durability", None, TypeError, "durability must be a str, not NoneType"),
    ("durability", "some", ValueError, "durability must be one of 'full', 'relaxed', got 'some'"),
    ("max_crashes", 0, ValueError, "max_crashes must be an int from 1 to 4294967295, got 0"),
    ("max_crashes", None, TypeError, "max_crashes must be an int from 1 to 4294967295, not NoneType"),
    ("results", 7, TypeError, "results must be a Retention or None, not int"),
    ("history", True, TypeError, "history must be a Retention or None, not bool"),
    ("max_dead_letters", -1, ValueError, "max_dead_letters must be an int from 0 to 4294967295, got -1"),
]


@pytest.mark.parametrize(("name", "value", "error", "text"), REFUSED)
def test_wrong_settings_are_refused_by_name(
    tmp_path: Path, name: str, value: Any, error: type[Exception], text: str
) -> None:
    settings: Any = {"storage": tmp_path / "queue", name: value}
    with pytest.raises(error) as caught:
        Lane(**settings)
    assert str(caught.value) == text
    with pytest.raises(error) as caught:
        Lane.with_lanes([LaneConfig("one", 0)], **settings)
    assert str(caught.value) == text
    assert not (tmp_path / "queue").exists(), "a wrong argument opens nothing"


def test_settings_of_a_storage_need_one() -> None:
    alone: list[dict[str, Any]] = [
        {"durability": "full"},
        {"max_crashes": 3},
        {"results": Retention()},
        {"history": Retention()},
        {"max_dead_letters": 1},
    ]
    for settings in alone:
        (name,) = settings
        with pytest.raises(ValueError, match=f"^{name} must not be given without storage$"):
            Lane(**settings)
        Lane(storage=None, results=None, history=None)


def test_retention() -> None:
    plain = Retention()
    assert (plain.max_age_secs, plain.max_count) == (7 * 24 * 3600, 100_000)
    other = Retention(max_age_secs=None, max_count=0)
    assert repr(other) == "Retention(max_age_secs=None, max_count=0)"
    for twin in (pickle.loads(pickle.dumps(other)), copy.deepcopy(other), eval(repr(other))):
        assert twin == other != plain
    with pytest.raises(ValueError, match="^max_age_secs must be above 0, got 0$"):
        Retention(max_age_secs=0)
    with pytest.raises(ValueError, match="^max_age_secs must be a number of seconds"):
        Retention(max_age_secs=math.nan)
    with pytest.raises(TypeError, match="^max_count must be an int from 0 to 4294967295, not NoneType$"):
        Retention(max_count=None)  # type: ignore[arg-type]


IN_CHILD = """
import os, sys
from pathlib import Path
from a3s_lane import Lane, LaneConfig, Retention, RetryPolicy
directory = Path({directory!r})
"""


def in_child(directory: Path, script: str) -> str:
    return run_python(IN_CHILD.format(directory=str(directory)) + script, cwd=TESTS)


@dataclasses.dataclass
class Letter:
    to: str
    pages: int


@pytest.mark.parametrize("path", [str, Path])
def test_storage_brings_commands_of_an_earlier_process_back(tmp_path: Path, path: Callable[[Path], Any]) -> None:
    directory = tmp_path / "queue"
    script = """
from test_storage import Letter
lane = Lane.with_lanes([LaneConfig("one", 0, 0, 1)], storage=directory)
lane.enqueue("one", "post", Letter("Ann", 2), id="first", metadata={"trace": 7})
lane.enqueue("one", "plain", {"n": [1, None, 2**64 - 1]}, id="second", priority=5)
lane.enqueue("one", "post", {"to": "Bob", "pages": 1}, id="third", key="k")
lane.enqueue("one", "plain", "late", id="later", delay_secs=3600)
"""
    assert in_child(directory, script) == ""

    lane = Lane.with_lanes([LaneConfig("one", 0, 0, 1)], storage=path(directory))
    ran: list[object] = []

    @lane.handler("post")
    def post(letter: Letter, ctx: CommandContext) -> int:
        ran.append((ctx.id, letter, ctx.metadata))
        return letter.pages

    @lane.handler("plain")
    async def plain(payload: object) -> object:
        ran.append(payload)
        return payload

    lane.pause_lane("one")
    lane.start()
    handles = [lane.find(id) for id in ("first", "second", "third", "later")]
    assert lane.find("unknown") is None
    first, second, third, later = (handle for handle in handles if handle is not None)
    assert (later.status, first.lane_id) == ("delayed", "one")
    lane.resume_lane("one")
    assert [first.result(LIMIT_SECS), third.result(LIMIT_SECS)] == [2, 1]
    assert second.result(LIMIT_SECS) == {"n": [1, None, 2**64 - 1]}
    assert ran == [
        ("first", Letter("Ann", 2), {"trace": 7}),
        ("third", Letter("Bob", 1), {}),
        {"n": [1, None, 2**64 - 1]},
    ]
    later.cancel()
    lane.shutdown_within(0)


def test_a_payload_that_is_no_json_is_refused_and_not_stored(tmp_path: Path) -> None:
    lane = one(tmp_path)
    with pytest.raises(ValueError, match="^payload.x is of type set"):
        lane.enqueue("one", "t", {"x": {1}})
    assert lane.stats().total_pending == 0


def test_unclaimed_commands_wait_for_their_handler_and_lane(tmp_path: Path) -> None:
    before = Lane.with_lanes([LaneConfig("one", 0), LaneConfig("two", 1)], storage=tmp_path)
    before.enqueue("one", "work", 1, id="a", priority=3)
    before.enqueue("two", "work", 2, id="b", delay_secs=3600)
    submitted = datetime.now(timezone.utc)
    del before

    with one(tmp_path) as lane:
        assert lane.find("a") is None
        a, b = lane.unclaimed()
        assert isinstance(a, Unclaimed)
        assert (a.command_id, a.command_type, a.lane_id, a.attempts, a.crashes) == ("a", "work", "one", 0, 0)
        assert (a.reason, a.options["priority"], a.due_at) == ("no_handler", 3, None)
        assert abs(a.submitted_at - submitted) < timedelta(seconds=60)
        assert (b.reason, b.detail) == ("no_lane", "its lane does not exist")
        assert b.due_at is not None and b.due_at > submitted + timedelta(minutes=30)
        assert asyncio.run(all_unclaimed(lane)) == [a, b]
        lane.register_handler("work", lambda payload: payload * 10)
        wait_until(lambda: [each.command_id for each in lane.unclaimed()] == ["b"])
        lane.set_lane(LaneConfig("two", 1))
        # Between the two places it is in neither.
        wait_until(lambda: lane.find("b") is not None)
        assert lane.unclaimed() == []
        assert lane.cancel("b")
    with Lane() as memory:
        assert memory.unclaimed() == []


async def all_unclaimed(lane: Lane) -> list[Unclaimed]:
    return await lane.unclaimed_async()


def test_results_are_found_by_id(tmp_path: Path) -> None:
    with one(tmp_path / "without") as lane:
        lane.submit("one", "t", 1, id="a")
        wait_until(lambda: lane.find("a") is None)

    def bad(payload: object) -> None:
        raise KeyError("no")

    with one(tmp_path / "with", results=Retention(max_count=2)) as lane:
        lane.register_handler("bad", bad)
        for id in "abc":
            lane.submit("one", "t", {"id": id}, id=id)
        with pytest.raises(LaneError):
            lane.submit("one", "bad", id="d")
        assert lane.find("b") is None, "there are two newer ones"
        found = lane.find("c")
        assert found is not None and found.result() == {"id": "c"}

    async def again() -> None:
        lane = one(tmp_path / "with", results=Retention(max_count=2))
        async with lane:
            found = await lane.find_async("c")
            assert found is not None and await found == {"id": "c"}
            failed = await lane.find_async("d")
            assert failed is not None
            with pytest.raises(LaneError, match="^KeyError: 'no'$") as caught:
                await failed
            assert caught.value.code == "COMMAND_ERROR"
            assert await lane.find_async("b") is None

    asyncio.run(again())

    with one(tmp_path / "short", results=Retention(max_age_secs=0.001)) as lane:
        lane.submit("one", "t", id="a")
        wait_until(lambda: lane.find("a") is None)


def test_history_tells_what_happened(tmp_path: Path) -> None:
    with one(tmp_path / "without") as lane:
        lane.submit("one", "t", 1, id="a")
        assert lane.load_history() == []
    with Lane() as memory, pytest.raises(ConfigError, match="there is no history"):
        memory.load_history()

    async def flaky(payload: object, ctx: CommandContext) -> None:
        if ctx.attempt == 1:
            raise ValueError("once")

    with one(tmp_path / "with", history=Retention()) as lane:
        lane.register_handler("flaky", flaky)
        lane.submit("one", "flaky", id="a", retry_policy=RetryPolicy.fixed(1, 0))
        between = datetime.now(timezone.utc)
        lane.submit("one", "t", id="b")
        entries = lane.load_history()
        assert all(isinstance(entry, HistoryEntry) for entry in entries)
        assert [(entry.command_id, entry.event, entry.attempt) for entry in entries] == [
            ("a", "submitted", None),
            ("a", "retried", 1),
            ("a", "completed", entries[2].attempt),
            ("b", "submitted", None),
            ("b", "completed", entries[4].attempt),
        ]
        assert (entries[1].code, entries[1].error, entries[1].lane_id) == ("COMMAND_ERROR", "ValueError: once", "one")
        assert lane.load_history(command_id="b") == lane.load_history(since=between) == entries[3:]
        assert lane.load_history(after=entries[1].number, limit=2) == entries[2:4]
        assert lane.load_history(lane_id="two") == []
        assert asyncio.run(history_of(lane)) == entries[:1]
        with pytest.raises(TypeError, match=r"^load_history\(\) got an unexpected keyword argument 'x'$"):
            lane.load_history(x=1)  # type: ignore[call-arg]
    with one(tmp_path / "with", history=Retention(max_count=1)) as lane:
        lane.submit("one", "t", id="c")
        assert [entry.command_id for entry in lane.load_history()] == ["c"]


async def history_of(lane: Lane) -> list[HistoryEntry]:
    return await lane.load_history_async(command_id="a", limit=1)


def test_max_dead_letters(tmp_path: Path) -> None:
    def bad(payload: object) -> None:
        raise ValueError("no")

    for most, kept in ((1, ["b"]), (0, [])):
        with one(tmp_path / str(most), max_dead_letters=most) as lane:
            lane.register_handler("bad", bad)
            for id in "ab":
                with pytest.raises(LaneError):
                    lane.submit("one", "bad", id=id)
            assert [letter.command_id for letter in lane.dead_letters.list()] == kept


POISON = """
import signal
lane = Lane.with_lanes([LaneConfig("one", 0, 0, 1)], storage=directory, **{settings})

@lane.handler("poison")
{function} poison(payload):
    print("run", flush=True)
    {end}

if not (directory / "submitted").exists():
    lane.enqueue("one", "poison", {{"of": "mine"}}, id="it")
    (directory / "submitted").touch()
with lane:
    pass
print("end")
"""


@pytest.mark.parametrize("function", ["def", "async def"])
@pytest.mark.parametrize("end", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("most", [None, 1])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_max_crashes_a_handler_that_kills_its_process_becomes_a_dead_letter(
    tmp_path: Path, function: str, end: str, most: int | None
) -> None:
    settings: dict[str, Any] = {"durability": "relaxed"}
    if most is not None:
        settings["max_crashes"] = most
    script = IN_CHILD.format(directory=str(tmp_path)) + POISON.format(settings=settings, function=function, end=end)

    def run() -> tuple[bool, str]:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        return done.returncode == 0, done.stdout

    for _ in range(most or 3):
        assert run() == (False, "run\n")
    assert run() == (True, "end\n")
    with one(tmp_path) as lane:
        (letter,) = lane.dead_letters.list()
        assert (letter.command_id, letter.code, letter.attempts) == ("it", CrashedError.code, most or 3)
        assert letter.payload == {"of": "mine"}
        assert [failure.code for failure in letter.failures][-1] == CrashedError.code


def test_durability(tmp_path: Path) -> None:
    library = faults.library()
    script = """
import os, sys
from a3s_lane import Lane
lane = Lane(storage=sys.argv[1], **eval(sys.argv[2]))
def syncs():
    return open(os.environ["SYNC_LOG"]).read().count("lanes.db")
before = syncs()
for number in range(20):
    lane.enqueue("query", "t", number)
one_by_one = syncs()
lane.submit_many("query", [("t", number) for number in range(20)])
print(one_by_one - before, syncs() - one_by_one)
"""

    def count(settings: dict[str, str]) -> str:
        directory = tmp_path / str(settings)
        command = [sys.executable, "-c", script, str(directory), repr(settings)]
        environment = {**os.environ, "LD_PRELOAD": str(library), "SYNC_LOG": f"{directory}.syncs"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert count({}) == "20 1\n"
    assert count({"durability": "full"}) == "20 1\n"
    assert count({"durability": "relaxed"}) == "0 0\n"


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StorageError, match="file"):
        Lane(storage=file)
    (tmp_path / "lanes.db").write_text("no database" * 100)
    with pytest.raises(StorageError, match="lanes.db"):
        Lane(storage=tmp_path)


def test_another_process_is_refused(tmp_path: Path) -> None:
    lane = one(tmp_path)
    script = """
from a3s_lane import StorageError
try:
    Lane(storage=directory)
except StorageError as error:
    print(error.code)
"""
    assert in_child(tmp_path, script) == "STORAGE_ERROR\n"
    del lane


def test_of_two_lanes_on_one_directory_one_starts(tmp_path: Path) -> None:
    first, second = one(tmp_path), one(tmp_path)
    second.register_handler("t", lambda payload: payload)
    with first:
        with pytest.raises(StorageError):
            second.start()
        with pytest.raises(StorageError):
            second.__enter__()
        with pytest.raises(StorageError):
            asyncio.run(enter(second))
        assert first.submit("one", "t", 1) == 1
    with second:
        assert second.submit("one", "t", 2) == 2


async def enter(lane: Lane) -> None:
    async with lane:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_l20_a_forked_child_cannot_use_the_storage_of_its_parent(tmp_path: Path) -> None:
    script = """
from a3s_lane import QueueError, StorageError
lane = Lane(storage=directory, dlq_size=1)
lane.start()
lane.submit("query", "t", 1)
letters = lane.dead_letters

def refused(call, kind=QueueError):
    try:
        call()
    except kind:
        return
    os._exit(1)

child = os.fork()
if child == 0:
    refused(lambda: lane.enqueue("query", "t"))
    refused(lambda: lane.find("x"))
    refused(lane.unclaimed)
    refused(lane.load_history)
    refused(letters.list)
    refused(letters.discard)
    refused(lambda: letters.retry("x"))
    refused(lambda: lane.dead_letters.list())
    refused(lambda: Lane(storage=directory), StorageError)
    del lane, letters
    with Lane(storage=directory / "own") as own:
        own.submit("query", "t", 2)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
lane.submit("query", "t", 3)
with lane:
    pass
print("done")
"""
    assert in_child(tmp_path, script) == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_l20_fork_while_a_storage_is_busy(tmp_path: Path) -> None:
    script = """
import itertools, signal, threading
sys.setswitchinterval(1e-5)
lane = Lane(storage=directory, durability="relaxed")
lane.start()
numbers = itertools.count()
ended = threading.Event()

def submit():
    while not ended.is_set():
        lane.enqueue("query", "t", id=f"n{next(numbers)}").result(30)

threads = [threading.Thread(target=submit) for _ in range(3)]
for thread in threads:
    thread.start()
statuses = []
for n in range(60):
    child = os.fork()
    if child == 0:
        # Ends one that hangs.
        signal.alarm(15)
        with Lane(storage=directory / f"own{n}") as own:
            own.submit("query", "t", 2)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
ended.set()
for thread in threads:
    thread.join()
lane.close()
assert statuses == [0] * 60, statuses
print("done")
"""
    assert in_child(tmp_path, script) == "done\n"


# What runs when the block ends, and how it ends.
LEAVE = """
import asyncio, signal, threading, time
lane = Lane.with_lanes([LaneConfig("one", 0, 0, 2)], storage=directory, history=Retention())
running = threading.Event()

@lane.handler("thread")
def thread(payload, ctx):
    running.set()
    while not ctx.cancelled:
        time.sleep(0.001)
    raise ValueError("stopped")

@lane.handler("coroutine")
async def coroutine(payload):
    running.set()
    await asyncio.sleep(3600)

def interrupt():
    while not lane.snapshot()["shutting_down"]:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

async def leave():
    async with lane:
        if not await lane.find_async("it"):
            await lane.enqueue_async("one", {kind!r}, id="it")
        while not running.is_set():
            await asyncio.sleep(0.001)
        {end}

try:
    if {is_async}:
        asyncio.run(leave())
    else:
        with lane:
            if not lane.find("it"):
                lane.enqueue("one", {kind!r}, id="it")
            running.wait()
            {end}
except (KeyError, KeyboardInterrupt):
    print("left")
"""


INTERRUPT = "threading.Thread(target=interrupt).start()"


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("end", ['raise KeyError("leave")', INTERRUPT])
def test_no_attempt_counts_as_a_crash_after_a_block(tmp_path: Path, kind: str, is_async: bool, end: str) -> None:
    if end == INTERRUPT and sys.platform == "win32":
        pytest.skip("there are no signals here")
    if end == INTERRUPT and is_async and sys.version_info < (3, 11):
        pytest.skip("there `asyncio.run` cancels all tasks at once after an interrupt, those of handlers too")
    for _ in range(4):
        script = LEAVE.format(kind=kind, is_async=is_async, end=end)
        assert in_child(tmp_path, script) == "left\n"
    with Lane.with_lanes([LaneConfig("one", 0)], storage=tmp_path, history=Retention()) as lane:
        (left,) = lane.unclaimed()
        assert (left.command_id, left.attempts, left.crashes) == ("it", 0, 0)
        assert {entry.event for entry in lane.load_history()} == {"submitted", "requeued"}
        assert lane.dead_letters.list() == []


def test_what_is_over_is_not_run_again(tmp_path: Path) -> None:
    ran: list[int] = []
    for _ in range(2):
        with one(tmp_path) as lane:
            lane.register_handler("t", ran.append)
            if not ran:
                for number in range(3):
                    lane.enqueue("one", "t", number)
    assert ran == [0, 1, 2]


def test_submissions_on_the_event_loop_of_the_handlers(tmp_path: Path) -> None:
    full = LaneConfig("full", 0, 0, 1, max_pending=1, overflow="wait")

    async def main() -> None:
        lane = Lane.with_lanes([LaneConfig("one", 0), full], storage=tmp_path, durability="relaxed")

        @lane.handler("t")
        async def t(payload: int, ctx: CommandContext) -> int:
            if payload == 3:
                # There is no other way to hand in a child and go on.
                ctx.enqueue_child("one", "t", 4, id="child")
            return payload

        async with lane:
            handles = [lane.enqueue("one", "t", 1), *lane.submit_many("one", [("t", 2), ("t", 3)])]
            assert [await handle for handle in handles if not isinstance(handle, LaneError)] == [1, 2, 3]
            # Where it waits for a handler it could wait for ever.
            for call in (lambda: lane.enqueue("full", "t", 1), lambda: lane.submit_many("full", [("t", 1)])):
                with pytest.raises(WouldBlockError, match="enqueue_async"):
                    call()
            assert lane.unclaimed() == []
            assert await (await lane.enqueue_async("full", "t", 5)) == 5
            lane.set_lane(LaneConfig("full", 0))
            assert await lane.enqueue("full", "t", 6) == 6
            lane.set_lane(full)
            with pytest.raises(WouldBlockError):
                lane.enqueue("full", "t", 1)
            assert lane.stats().total_pending == 0

    asyncio.run(main())
    # What was refused was not stored.
    with Lane.with_lanes([LaneConfig("one", 0), full], storage=tmp_path) as lane:
        assert lane.unclaimed() == []


def test_an_inline_lane_is_stored_too(tmp_path: Path) -> None:
    async def main() -> None:
        lane = create_lane(inline=True, storage=tmp_path, durability="relaxed", results=Retention())

        @lane.handler("t")
        async def t(payload: int) -> int:
            return payload

        async with lane:
            with pytest.raises(WouldBlockError):
                lane.enqueue("query", "t", 1)
            handle = await lane.enqueue_async("query", "t", 2, id="it")
            assert handle.status == "completed"
            assert await lane.find_async("it") is not None

    asyncio.run(main())
