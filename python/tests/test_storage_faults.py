"""A full disk, calls of the operating system that fail, and torn files, under a process that is killed: errors are clear, nothing that
was acknowledged is lost, and the process goes on when it can."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import faults
import faulty_child
from a3s_lane import Lane, LaneConfig, StorageError, inspect
from conftest import LIMIT_SECS

EIO, ENOSPC = 5, 28

Steps = list[tuple[str, str]]


def run(task: str, directory: Path, *, environment: Mapping[str, str] | None = None, text: str = "") -> tuple[int, str]:
    command = [sys.executable, faulty_child.__file__, task, str(directory)]
    done = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        timeout=4 * LIMIT_SECS,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stdout


def steps(output: str) -> Steps:
    said = [line[1:].split(" ", 1) for line in output.splitlines() if line.startswith("=")]
    return [(step, id) for step, id in said]


def check_after_restart(directory: Path, said: Steps) -> None:
    """All that was acknowledged is there, and what had settled does not run again."""
    acknowledged = {id for step, id in said if step in ("acknowledged", "settled")}
    settled = {id for step, id in said if step == "settled"}
    code, output = run("restart", directory, text=json.dumps(sorted(acknowledged)))
    assert code == 0
    found = json.loads(output)
    assert found["results"] == {id: id for id in acknowledged}, "nothing is lost"
    assert len(found["ran"]) == len(set(found["ran"])), "each runs once"
    ran_before = {id for step, id in said if step == "run"}
    assert not settled.intersection(found["ran"]), "what has settled does not run again"
    assert acknowledged - ran_before <= set(found["ran"]), "what has not run runs now"


def test_a_full_disk(tmp_path: Path) -> None:
    with faults.small_disk(tmp_path / "disk") as disk:
        code, output = run("full", disk / "queue")
        said = steps(output)
        assert code == 7, output
        refusals = [text for step, text in said if step == "refused"]
        assert len(refusals) >= 3
        for text in refusals:
            assert text.startswith("STORAGE_ERROR "), text
            assert "the disk is full" in text or "No space left on device" in text
        check_after_restart(disk / "queue", said)


def keep_one(directory: Path) -> None:
    lane = Lane.with_lanes([LaneConfig("one", 0)], storage=directory)
    lane.enqueue("one", "work", id="kept")
    lane.close()


def test_a_read_only_disk(tmp_path: Path) -> None:
    with faults.small_disk(tmp_path / "disk") as disk:
        keep_one(disk / "queue")
        faults.read_only(disk)
        for place in ("queue", "none"):
            with pytest.raises(StorageError, match=f"{place}.*Read-only file system"):
                Lane(storage=disk / place)
        found = inspect(disk / "queue")
        assert (found.pending, found.problems) == (1, [])


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    keep_one(tmp_path)
    database = tmp_path / "lanes.db"
    content = bytearray(database.read_bytes())
    # Its format.
    content[60:64] = (3).to_bytes(4, "big")
    database.write_bytes(content)
    for use in (lambda: Lane(storage=tmp_path), lambda: inspect(tmp_path)):
        with pytest.raises(StorageError, match="newer version: its format is 3, this one knows 2"):
            use()
    assert database.read_bytes() == content


@pytest.mark.parametrize("errno", [EIO, ENOSPC])
def test_calls_that_fail_for_a_while(tmp_path: Path, errno: int) -> None:
    environment = {
        "LD_PRELOAD": str(faults.library()),
        "FAIL_WHILE": str(tmp_path / "fails"),
        "FAIL_ERRNO": str(errno),
    }
    code, output = run("failing", tmp_path / "queue", environment=environment)
    said = steps(output)
    assert code == 7, output
    refusals = [text for step, text in said if step == "refused"]
    assert len(refusals) == 4, "also a storage that is opened meanwhile"
    for text in refusals:
        assert text.startswith("STORAGE_ERROR "), text
        assert "lanes.db" in text, "it names the file"
    assert not [id for step, id in said if step == "acknowledged" and id.startswith("large")]
    check_after_restart(tmp_path / "queue", said)


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8, 13, 21, 34])
@pytest.mark.parametrize("count", [1, 1_000_000])
def test_a_call_that_fails_anywhere(tmp_path: Path, first: int, count: int) -> None:
    environment = {"LD_PRELOAD": str(faults.library()), "FAIL_AT": str(first), "FAIL_ERRNO": str(EIO), "FAIL_COUNT": str(count)}
    script = """
import os, sys
from a3s_lane import StorageError
from faulty_child import queue, say
from pathlib import Path
try:
    lane = queue(Path(sys.argv[1]), say)
    lane.start()
    for number in range(6):
        id = f"id-{number}"
        try:
            handle = lane.enqueue("one", "work", "x" * 50_000, id=id)
            say("acknowledged", id)
            assert handle.result() == id
        except StorageError as error:
            assert "lanes.db" in str(error) or "running" in str(error), error
            say("refused", id)
except StorageError as error:
    assert "lanes.db" in str(error) or "running" in str(error), error
    say("refused", "all")
os._exit(7)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "queue")]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        timeout=4 * LIMIT_SECS,
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
    )
    assert done.returncode == 7
    said = steps(done.stdout)
    assert said, "it gets on, or says why not"
    # It goes on with the next one, unless all fail.
    assert count > 1 or ("refused", "all") in said or ("acknowledged", "id-5") in said
    acknowledged = {id for step, id in said if step == "acknowledged"}
    code, output = run("restart", tmp_path / "queue", text=json.dumps(sorted(acknowledged)))
    assert code == 0
    assert json.loads(output)["results"] == {id: id for id in acknowledged}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_the_log_of_a_killed_process_that_is_torn(tmp_path: Path) -> None:
    command = [sys.executable, faulty_child.__file__, "acknowledge", str(tmp_path / "queue")]
    lengths: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("="):
                _, id, length = line.split()
                lengths[id] = int(length)
            if len(lengths) == 10:
                break
        child.kill()
        assert child.wait() == -signal.SIGKILL

    log = (tmp_path / "queue" / "lanes.db-wal").read_bytes()
    assert max(lengths.values()) == len(log)

    def found(log: bytes) -> list[str]:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "queue", copy)
        (copy / "lanes.db-wal").write_bytes(log)
        lane = Lane.with_lanes([LaneConfig("one", 0)], storage=copy)
        try:
            return [each.command_id for each in lane.unclaimed()]
        finally:
            lane.close()

    assert found(log) == list(lengths)
    exact = [length + more for length in lengths.values() for more in (-1, 0)]
    for cut in [*range(32, len(log), 4099), *exact]:
        whole = [id for id, length in lengths.items() if length <= cut]
        assert found(log[:cut]) == whole, f"cut at {cut}"
        assert found(log[:cut] + b"\xa5" * 700) == whole, f"cut at {cut}, and garbage"
        if cut < len(log):
            changed = log[:cut] + bytes([log[cut] ^ 0x55]) + log[cut + 1 :]
            assert found(changed) == whole, f"changed at {cut}"
    # Its header: without it all would be gone, silently.
    for place in range(0, 32, 5):
        changed = log[:place] + bytes([log[place] ^ 0x55]) + log[place + 1 :]
        with pytest.raises(StorageError, match="lanes.db-wal is damaged"):
            found(changed)
