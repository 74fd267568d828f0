"""What the tests share."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from a3s_lane import Lane, LaneConfig
from loops import LOOPS, Runner

# Long enough for the slowest machine; a test that needs all of it has failed.
LIMIT_SECS = 30.0

REPOSITORY = Path(__file__).parents[2]

# A shell that runs the tests in the background has Ctrl-C ignored, which their processes would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def lane() -> Iterator[Lane]:
    """The default lanes, started."""
    with Lane() as started:
        yield started


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Runner:
    """`asyncio.run` with each kind of loop."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        loop = LOOPS[request.param]()
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(asyncio.wait_for(main, 2 * LIMIT_SECS))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()

    return run


# What a command does in its attempts.
Script = list[list[dict[str, Any]]]


def single(**settings: Any) -> Lane:
    """One lane named ``one`` that runs one command at a time."""
    config = LaneConfig("one", 0, 1, 1)
    for name, value in settings.items():
        setattr(config, name, value)
    return Lane.with_lanes([config])


def wait_until(holds: Callable[[], bool]) -> None:
    """Returns as soon as ``holds()`` is true; fails after a generous limit."""
    deadline = time.monotonic() + LIMIT_SECS
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail("the awaited condition never held")
        time.sleep(0.002)


def run_python(script: str, *, cwd: Path | None = None) -> str:
    """Runs ``script`` in an interpreter of its own and returns what it printed; a hang is a failure."""
    # Python 3.12 warns about `os.fork` in a process with threads, which is what these scripts are about.
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, start_new_session=True
    ) as child:
        try:
            output, errors = child.communicate(timeout=2 * LIMIT_SECS)
        except subprocess.TimeoutExpired:
            # Its children hold the pipes too; each says where its threads are.
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGABRT)
            else:
                child.kill()
            output, errors = child.communicate()
            pytest.fail(f"the script did not end\n{output}\n{errors}")
    assert child.returncode == 0, f"exit code {child.returncode}\n{output}\n{errors}"
    return output
