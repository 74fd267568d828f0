"""What makes the storage of a child process fail: a full disk, and calls of the operating system that do."""

from __future__ import annotations

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


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of a megabyte in memory."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "tmpfs", str(path)]
    # It takes root, which a hosted CI has by `sudo`.
    for by in [[], ["sudo", "-n"]] if "CI" in os.environ else [[]]:
        try:
            mounted = subprocess.run([*by, *command], capture_output=True, text=True)
            said = mounted.stderr
        except OSError as error:
            said = str(error)
        else:
            if mounted.returncode == 0:
                break
    else:
        skip(f"a file system cannot be mounted here: {said}")
    try:
        yield path
    finally:
        subprocess.run([*by, "umount", "-l", str(path)], check=True)
