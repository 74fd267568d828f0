"""What programs run in: servers that fork, loops that run already, interpreters inside of interpreters."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from a3s_lane import Lane, WouldBlockError
from conftest import LIMIT_SECS, run_python, wait_until

# A sub-interpreter does not inherit `sys.path`.
IMPORT = f"""
import sys
sys.path[:] = {sys.path!r}
try:
    import a3s_lane
except ImportError as error:
    if "does not support loading in subinterpreters" not in str(error):
        raise
else:
    raise AssertionError("it was imported")
"""

INTERPRETERS = f"""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def refused(*settings):
    # Before 3.13 an error is raised, since then it is returned.
    answer = interpreters.run_string(interpreters.create(*settings), {IMPORT!r})
    assert answer is None, answer
    print("refused", flush=True)
"""


@pytest.mark.parametrize("before", ["", "import a3s_lane; a3s_lane.Lane()"])
def test_sub_interpreters_are_refused(before: str) -> None:
    # Without a GIL of their own, as those of C programs, and with one.
    kinds = "refused('legacy'); refused()" if sys.version_info >= (3, 13) else "refused()"
    after = "import a3s_lane\nwith a3s_lane.Lane() as lane: print(lane.submit('query', 't', 1))"
    output = run_python(f"{before}\n{INTERPRETERS}\n{kinds}\n{after}").split()
    assert output == ["refused"] * (len(output) - 1) + ["1"]
    assert len(output) >= 2


SERVER = """
import json, os
from a3s_lane import Lane, QueueError

# With preload_app this runs in the parent, whose threads no worker has.
of_parent = Lane()
of_parent.start()
of_parent.submit("query", "t")
own = None

def app(environ, start_response):
    global own
    try:
        of_parent.submit("query", "t")
        refused = "no"
    except QueueError as error:
        refused = str(error)
    if own is None:
        own = Lane()
        own.register_handler("double", lambda payload: 2 * payload)
        own.start()
    body = json.dumps({"refused": refused, "result": own.submit("query", "double", 4)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed")
def test_l20_gunicorn_that_preloads(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    path = tmp_path / "socket"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"unix:{path}", "server:app"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            wait_until(lambda: listens(path) or server.poll() is not None)
            for _ in range(4):
                answer = ask(path)
                assert "created before fork" in answer
                assert '"result": 8' in answer
            server.send_signal(signal.SIGTERM)
            output, _ = server.communicate(timeout=LIMIT_SECS)
        finally:
            server.kill()
    assert server.returncode == 0, output


def listens(path: Path) -> bool:
    """Whether somebody does: a socket has its path before that."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def ask(path: Path) -> str:
    connection = http.client.HTTPConnection("localhost", timeout=LIMIT_SECS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(LIMIT_SECS)
    connection.sock.connect(str(path))
    connection.request("GET", "/")
    body = connection.getresponse().read().decode()
    connection.close()
    return body


def work_of_child(number: int) -> int:
    lane = Lane()

    @lane.handler("double")
    async def double(payload: int) -> int:
        return 2 * payload

    async def main() -> int:
        async with lane:
            doubled: int = await lane.submit_async("query", "double", number)
            return doubled

    return asyncio.run(main())


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_l20_multiprocessing(method: str) -> None:
    with Lane() as lane:
        lane.submit("query", "t")
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map_async(work_of_child, range(6)).get(LIMIT_SECS) == [0, 2, 4, 6, 8, 10]
        assert lane.submit("query", "t", 1) == 1


def test_a_notebook_whose_loop_runs_already() -> None:
    """Each cell is a coroutine of one loop that goes on, and most cells do not await."""
    lane = Lane()

    async def cell_that_defines() -> None:
        lane.start()

        @lane.handler("a")
        async def a(payload: int) -> int:
            await asyncio.sleep(0)
            return payload + 1

        @lane.handler("d")
        def d(payload: int) -> int:
            return payload - 1

    async def cell_that_blocks() -> None:
        # Nothing was awaited so far, so the handlers have a loop of their own.
        assert lane.submit("query", "a", 1) == 2
        assert lane.submit("query", "d", 1) == 0

    async def cell_that_awaits() -> None:
        assert await lane.submit_async("query", "a", 1) == 2
        assert await lane.enqueue("query", "d", 1) == 0

    async def cell_that_ends() -> None:
        lane.shutdown()
        await lane.drain_async(LIMIT_SECS)

    cells = [cell_that_defines, cell_that_blocks, cell_that_awaits, cell_that_blocks, cell_that_awaits, cell_that_ends]
    loop = asyncio.new_event_loop()
    try:
        for cell in cells:
            loop.run_until_complete(cell())
    finally:
        loop.close()


def test_a_notebook_that_awaits_first_must_not_block() -> None:
    lane = Lane()
    lane.start()

    @lane.handler("a")
    async def a(payload: int) -> int:
        await asyncio.sleep(0)
        return payload + 1

    async def cells() -> None:
        # Now the handlers are on the loop of the notebook.
        assert await lane.submit_async("query", "a", 1) == 2
        with pytest.raises(WouldBlockError, match="await lane.submit_async"):
            lane.submit("query", "a", 1)
        lane.shutdown()
        await lane.drain_async(LIMIT_SECS)

    asyncio.run(cells())


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_a_program_on_uvloop() -> None:
    script = """
import asyncio, uvloop
from a3s_lane import Lane

lane = Lane()

@lane.middleware
async def around(payload, ctx, next):
    return [await next(payload)]

@lane.handler("t")
async def handle(payload):
    await asyncio.sleep(0.001)
    return type(asyncio.get_running_loop()).__module__

async def main():
    async with lane:
        print(await lane.submit_async("query", "t"))

loop = uvloop.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""
    assert run_python(script) == "['uvloop']\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_alerts_of_a_parent_are_refused_in_a_child() -> None:
    script = """
import os
from a3s_lane import AlertManager, Lane, QueueError
alerts = AlertManager(queue_depth=(1, 1))
told = []
alerts.add_callback(told.append)
if os.fork() == 0:
    try:
        Lane(alerts=alerts)
    except QueueError as error:
        print("created before fork" in str(error), alerts, flush=True)
    os._exit(0)
print(os.wait()[1])
"""
    assert run_python(script) == "True AlertManager(of another process)\n0\n"
