"""What makes the storage of a child process fail: a full disk, and calls of the operating system that do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from conftest import REPOSITORY

SOURCE = REPOSITORY / "crates" / "a3s-lane" / "tests" / "storage" / "faults" / "fail_calls.c"

# What no small disk takes, in bytes.
LARGE = 2**26


def skip(why: str) -> NoReturn:
    """A test cannot be made here; where none may be left out, that is a failure."""
    if "A3S_LANE_SKIP_NOTHING" in os.environ:
        pytest.fail(why)
    pytest.skip(why)


def library() -> Path:
    """The library that is preloaded, which the suites of all languages share; compiled when it is older than its source."""
    if not sys.platform.startswith("linux"):
        pytest.skip("calls are made to fail by LD_PRELOAD")
    target = REPOSITORY / "target" / "faults"
    compiled = target / "fail_calls.so"
    if compiled.exists() and compiled.stat().st_mtime > SOURCE.stat().st_mtime:
        return compiled
    target.mkdir(parents=True, exist_ok=True)
    own = target / f"fail_calls.{os.getpid()}.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(own), str(SOURCE), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        skip(f"there is no C compiler: {error}")
    own.replace(compiled)
    return compiled


def fill(file: Path, left: int = 0) -> None:
    """Takes all the space of a small disk but so many bytes."""
    with open(file, "wb", buffering=0) as filler:
        try:
            while filler.tell() < LARGE:
                filler.write(b"\1" * 65536)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        assert filler.tell() < LARGE, "it is no small disk"
        filler.truncate(max(0, filler.tell() - left))


@contextmanager
def small_disk(path: Path, size: str = "1m") -> Iterator[Path]:
    """A file system in memory, by default of a megabyte."""
    path.mkdir()
    by = _mount("-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run([*by, "umount", "-l", str(path)], check=True)


def read_only(disk: Path) -> None:
    """Lets nothing be written to it any more. No file may be open for writing."""
    _mount("-o", "remount,ro", str(disk))


def _mount(*arguments: str) -> list[str]:
    """Returns what runs a program as root, where this process is not root."""
    said = ""
    # It takes root, which a hosted CI has by `sudo`.
    ways: list[list[str]] = [[], ["sudo", "-n"]] if "CI" in os.environ else [[]]
    for by in ways:
        try:
            mounted = subprocess.run([*by, "mount", *arguments], capture_output=True, text=True)
        except OSError as error:
            said = str(error)
        else:
            if mounted.returncode == 0:
                return by
            said = mounted.stderr
    skip(f"a file system cannot be mounted here: {said}")
