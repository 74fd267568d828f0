"""Programs with handlers end by themselves and quietly, in any order of things."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import LIMIT_SECS, run_python

START = """
import asyncio, atexit, gc, os, signal, sys, threading, time
from a3s_lane import *

lane = Lane.with_lanes([LaneConfig("one", 0, 1, 4)])
started = threading.Event()

@lane.handler("a")
async def a(payload):
    started.set()
    await asyncio.sleep(payload or 0)
    return payload

@lane.handler("d")
def d(payload):
    started.set()
    time.sleep(payload or 0)
    return payload

@lane.handler("drops")
async def drops(payload):
    global lane
    del lane
    gc.collect()
    await asyncio.sleep(0)
    print("dropped", flush=True)

@lane.handler("drops_d")
def drops_d(payload):
    global lane
    del lane
    gc.collect()
    print("dropped", flush=True)

def both(seconds):
    lane.start()
    handles = [lane.enqueue("one", kind, seconds) for kind in "ad"]
    assert started.wait(30)
    return handles
"""

VARIANTS = {
    "a lane that was never started": "lane.enqueue('one', 'a'); lane.enqueue('one', 'd')",
    "a lane that was never shut down": "lane.start(); [lane.submit('one', kind) for kind in 'ad']",
    "handlers that run": "handles = both(3600)",
    "handlers that run, and no handle": "both(3600)",
    "handlers that run in a lane that is dropped": "handles = both(3600); del lane, a, d, drops, drops_d; gc.collect()",
    "handlers that run after shutdown": "both(3600); lane.shutdown()",
    "handlers that were stopped": "both(3600); lane.shutdown_within(0)",
    "a with block": "with lane: both(0.01)",
    "an async with block": """
async def main():
    async with lane:
        await asyncio.gather(*both(0.01))
asyncio.run(main())""",
    "a loop that is closed before the lane": """
async def main():
    lane.start()
    await lane.submit_async('one', 'a')
    both(3600)
asyncio.run(main())""",
    "a loop that is closed without a word": """
async def main():
    lane.start()
    await lane.submit_async('one', 'a')
    return [lane.enqueue('one', 'a', 0.01) for _ in range(9)]
loop = asyncio.new_event_loop()
handles = loop.run_until_complete(main())
loop.close()""",
    "a loop that is never closed": """
async def main():
    lane.start()
    await lane.submit_async('one', 'a')
    return [lane.enqueue('one', 'a', 0.01) for _ in range(9)]
loop = asyncio.new_event_loop()
handles = loop.run_until_complete(main())""",
    "a lane that is dropped before its loop ends": """
async def main():
    global lane, a, d, drops, drops_d
    lane.start()
    await lane.submit_async('one', 'a')
    handle = lane.enqueue('one', 'a', 3600)
    await asyncio.sleep(0)
    del lane, a, d, drops, drops_d
    gc.collect()
    try:
        await handle
    except QueueError:
        pass
asyncio.run(main())""",
    "an exception in async with": """
async def main():
    async with lane:
        both(3600)
        raise SystemExit(0)
asyncio.run(main())""",
    "a main coroutine that is cancelled": """
async def main():
    async with lane:
        both(0.01)
        await asyncio.sleep(3600)
async def outer():
    task = asyncio.ensure_future(main())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
asyncio.run(outer())""",
    "waits that are never awaited to their end": """
async def main():
    lane.start()
    waits = [asyncio.ensure_future(lane.submit_async('one', 'a', 3600)) for _ in range(9)]
    await asyncio.sleep(0.01)
asyncio.run(main())""",
    "an atexit function that submits": """
atexit.register(lambda: [lane.submit('one', kind) for kind in 'ad'])
lane.start(); lane.submit('one', 'a')""",
    "a handler that calls sys.exit": """
import logging
logging.disable()
lane.register_handler('leaves', lambda payload: sys.exit(3))
lane.start()
try: lane.submit('one', 'leaves')
except CommandError: pass""",
    "a thread that submits for ever": """
lane.start()
def forever():
    while True:
        for kind in 'ad': lane.submit('one', kind)
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)""",
    "a loop in a daemon thread": """
async def main():
    async with lane:
        both(3600)
        await asyncio.sleep(3600)
threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
assert started.wait(30)""",
    "a lane in a module that is cleared late": "both(3600); sys.modules['kept'] = lane",
    "an alert whose callback never returns": """
alerts = AlertManager(queue_depth=(1, 1))
called = threading.Event()
@alerts.add_callback
def stay(alert):
    called.set()
    time.sleep(3600)
watched = Lane(alerts=alerts)
watched.enqueue('query', 't')
assert called.wait(30)""",
    "alerts that come all the time": """
alerts = AlertManager(queue_depth=(1, 1), latency_ms=(0, 0))
watched = Lane(alerts=alerts)
alerts.add_callback(lambda alert: watched.stats())
watched.start()
def forever():
    while True: watched.submit('query', 't')
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)""",
    "a lane with work left that is dropped at exit": """
kept = Lane()
kept.enqueue('query', 't')
def end():
    global kept
    del kept
    gc.collect()
atexit.register(end)""",
    "an exception that holds a handler's frame": """
error = None
lane.register_handler('fails', lambda payload: 1 / 0)
lane.start()
try: lane.submit('one', 'fails')
except CommandError as e: error = e""",
}


def run_quietly(script: str) -> str:
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * LIMIT_SECS, check=False)
    # `logging` prints what goes wrong in some of these.
    # The last is what the debug mode of asyncio says on a busy machine.
    known = ("ended with work left", "alerts were lost", "Executing <Handle ")
    errors = [line for line in done.stderr.splitlines() if not any(text in line for text in known)]
    assert (done.returncode, errors) == (0, []), done.stdout
    return done.stdout


def test_the_loop_of_a_lane_that_is_dropped_ends_quietly() -> None:
    """Its thread is at its end when the interpreter is: that it was stopped twice is no error, and it is waited for."""
    script = START + VARIANTS["handlers that run in a lane that is dropped"]
    # Side by side, as this shows where they have to wait for each other.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run_quietly, [script] * 24))



@pytest.mark.parametrize("variant", VARIANTS)
def test_the_process_ends_quietly_with(variant: str) -> None:
    script = f"{START}\n{VARIANTS[variant]}\nprint('end')"
    if "SystemExit" in script:
        script = script.replace("print('end')", "")
        assert run_quietly(script) == ""
    else:
        assert run_quietly(script) == "end\n"


@pytest.mark.parametrize("kind", ["drops", "drops_d"])
def test_a_lane_is_dropped_inside_of_a_handler(kind: str) -> None:
    script = f"""
lane.start()
handle = lane.enqueue('one', {kind!r})
del a, d, drops, drops_d
try: handle.result(30)
except LaneError: pass
print('end')
"""
    lines = run_quietly(START + script).splitlines()
    # A coroutine may be cancelled before its last line.
    assert lines[-1] == "end" and set(lines) <= {"dropped", "end"}


@pytest.mark.skipif(os.name == "nt", reason="os.kill cannot send an interrupt on Windows")
@pytest.mark.parametrize(
    "body",
    [
        "lane.start(); lane.submit('one', 'a', 3600)",
        "lane.start(); lane.submit('one', 'd', 3600)",
        "with lane: lane.submit('one', 'd', 3600)",
        "asyncio.run(main())",
    ],
)
def test_ctrl_c_ends_the_program(body: str) -> None:
    script = f"""
async def main():
    async with lane:
        await lane.submit_async('one', 'a', 3600)

def interrupt():
    assert started.wait(30)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    {body}
except KeyboardInterrupt:
    print('interrupted')
"""
    assert run_quietly(START + script) == "interrupted\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_l20_fork_with_handlers() -> None:
    script = """
def check():
    for call in (
        lambda: lane.submit("one", "a"),
        lambda: lane.register_handler("t", str),
        lambda: lane.remove_handler("a"),
        lambda: asyncio.run(lane.submit_async("one", "a")),
        lambda: asyncio.run(lane.drain_async(1)),
        lambda: asyncio.run(handle_of()),
        handles[0].result,
    ):
        try:
            call()
        except QueueError as error:
            assert "created before fork" in str(error), error
        else:
            raise AssertionError("was not refused")
    fresh = Lane()
    fresh.register_handler("a", a.function)
    fresh.register_handler("d", d.function)
    with fresh:
        assert [fresh.submit("query", kind, 0) for kind in "ad"] == [0, 0]

    async def main():
        own = Lane()
        own.register_handler("a", a.function)
        async with own:
            assert await own.submit_async("query", "a", 0) == 0

    asyncio.run(main())

async def handle_of():
    return await handles[0]

def in_child():
    child = os.fork()
    if child == 0:
        try:
            check()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        # The usual end, with all that the parent has left here.
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0

handles = both(0.3)
in_child()
assert [handle.result(30) for handle in handles] == [0.3, 0.3]
in_child()

# From a coroutine, while its loop runs.
async def main():
    async with Lane() as other:
        other.register_handler("a", a.function)
        await other.submit_async("query", "a", 0)
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert await other.submit_async("query", "a", 0) == 0

asyncio.run(main())
lane.shutdown()
lane.drain(30)
print("end")
"""
    assert run_python(START + script) == "end\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("module", ["a3s_lane.errors", "a3s_lane._handlers"])
def test_l20_fork_while_another_thread_imports(module: str) -> None:
    script = f"""
import builtins

@lane.handler("fails")
def fails(payload):
    raise ValueError("bad")

looking, forked = threading.Event(), threading.Event()
parent = os.getpid()
plain_import = builtins.__import__

def slow_import(name, *rest, **others):
    if name == {module!r} and os.getpid() == parent and not looking.is_set():
        looking.set()
        assert forked.wait(30)
    return plain_import(name, *rest, **others)

with lane:
    assert lane.submit("one", "d", 0) == 0
    builtins.__import__ = slow_import
    handle = lane.enqueue("one", "fails")
    assert looking.wait(30)
    child = os.fork()
    if child == 0:
        fresh = Lane()
        fresh.register_handler("fails", fails.function)
        with fresh:
            try:
                fresh.submit("query", "fails")
            except CommandError as error:
                os._exit(0 if str(error) == "ValueError: bad" else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    forked.set()
    try:
        handle.result(30)
    except CommandError:
        print("end")
"""
    assert run_python(START + script) == "end\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("kind", "ad")
def test_l20_fork_while_something_is_used_for_the_first_time(kind: str) -> None:
    # Wherever other threads let go of the GIL, in processes in which nothing of that was used yet.
    script = f"""
import os, signal, sys, time
from a3s_lane import Lane

async def a(payload):
    return payload

def d(payload):
    return payload

def started_lane(kind):
    lane = Lane()
    lane.register_handler(kind, globals()[kind])
    lane.start()
    return lane

def at_once():
    lane = started_lane({kind!r})
    handle = lane.enqueue("query", {kind!r})
    children = []
    while handle.status != "completed" and len(children) < 8:
        time.sleep(0)
        children.append(in_child(use))
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)

def use():
    for kind in "ad":
        assert started_lane(kind).submit("query", kind, 1) == 1

def in_child(main):
    child = os.fork()
    if child == 0:
        # Ends one that hangs.
        signal.alarm({LIMIT_SECS / 2:.0f})
        main()
        os._exit(0)
    return child

sys.setswitchinterval(1e-6)
assert [os.waitpid(in_child(at_once), 0)[1] for _ in range(20)] == [0] * 20
print("end")
"""
    assert run_python(script) == "end\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(
    ("leave", "status"), [("return 1", 0), ("sys.exit()", 0), ("sys.exit(7)", 7), ("sys.exit('why')", 1), ("1 / 0", 1)]
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_l20_a_child_that_comes_back_from_a_handler_ends(kind: str, leave: str, status: int) -> None:
    # What waits in the lane runs in the parent only.
    script = f"""
import os, sys
from a3s_lane import Lane, LaneConfig

lane = Lane.with_lanes([LaneConfig("one", 0, 1, 1)])

@lane.handler("forks")
{kind} forks(payload):
    child = os.fork()
    if child == 0:
        os.write(1, b"child ")
        {leave}
        return 1
    return os.waitpid(child, 0)[1] >> 8

@lane.handler("next")
def following(payload):
    os.write(1, b"next ")
    return "end"

handles = [lane.enqueue("one", "forks"), lane.enqueue("one", "next")]
with lane:
    print(*[handle.result(30) for handle in handles])
"""
    if kind == "async def" and sys.version_info < (3, 12):
        pytest.skip("there a task begins later, in its loop")
    assert run_python(script) == f"child next {status} end\n"


@pytest.mark.parametrize(
    "begin", ["threading.Thread(target=late).start()", "atexit.register(late)", "threading.Thread.start = refuse; late()"]
)
def test_handlers_run_while_the_interpreter_ends(begin: str) -> None:
    # CPython 3.12.0 and 3.12.1 start no thread any more while other threads are waited for; others refuse later, for a moment.
    script = f"""
lane.start()

def refuse(self):
    raise RuntimeError("can't create new thread at interpreter shutdown")

def late():
    if threading.current_thread() is not threading.main_thread():
        threading.main_thread().join()
        time.sleep(0.2)
    handles = [lane.enqueue("one", "d", 0.05) for _ in range(4)]
    assert [handle.result(30) for handle in handles] == [0.05] * 4
    try:
        other = Lane()
        other.register_handler("d", d.function)
    except RuntimeError as error:
        assert "no thread can be started" in str(error), error
    else:
        with other:
            assert other.submit("query", "d", 0) == 0
    lane.shutdown()
    lane.drain(30)
    print("end", flush=True)

{begin}
"""
    assert run_quietly(START + script) == "end\n"
