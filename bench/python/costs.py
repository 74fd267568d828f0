"""What one call into the native half costs, and what one pending command holds.

Each sample of memory has a process of its own, which keeps what a program would keep of each command: the task, the future or the
handle. Nothing runs there: the lane is paused, the pool has no workers, the one thread of the executor waits. Figures are medians
over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from a3s_lane import Lane, LaneConfig
from a3s_lane.testing import ManualClock
from handlers import PriorityPool, no_op, no_op_async

Submit = Callable[[int], Any]


def lane() -> Lane:
    made = Lane.with_lanes([LaneConfig("p0", 0, max_concurrency=10)])
    made.register_handler("no-op", no_op_async)
    made.start()
    return made


def paused() -> Lane:
    made = lane()
    made.pause_lane("p0")
    return made


def all_of(submit: Submit) -> Callable[[int], Any]:
    return lambda count: [submit(number) for number in range(count)]


async def submit_async() -> Callable[[int], Any]:
    waiting = paused()
    return all_of(lambda number: asyncio.ensure_future(waiting.submit_async("p0", "no-op", number)))


async def enqueue() -> Callable[[int], Any]:
    waiting = paused()
    return all_of(lambda number: waiting.enqueue("p0", "no-op", number))


async def submit_many() -> Callable[[int], Any]:
    waiting = paused()
    return lambda count: waiting.submit_many("p0", [("no-op", number) for number in range(count)])


async def pool_submit() -> Callable[[int], Any]:
    pool = PriorityPool()
    return all_of(lambda number: asyncio.ensure_future(pool.submit(number)))


async def pool_enqueue() -> Callable[[int], Any]:
    return all_of(PriorityPool().enqueue)


async def executor() -> Callable[[int], Any]:
    threads = ThreadPoolExecutor(1)
    threads.submit(threading.Event().wait)
    return all_of(lambda number: threads.submit(no_op, number))


PENDING = {
    "a3s-lane, submit_async": submit_async,
    "a3s-lane, enqueue": enqueue,
    "a3s-lane, submit_many": submit_many,
    "PriorityQueue pool, submit": pool_submit,
    "PriorityQueue pool, enqueue": pool_enqueue,
    "ThreadPoolExecutor": executor,
}


def resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def hold(contender: str, field: str, count: int) -> float:
    """Bytes for each of so many pending commands."""
    submit = await PENDING[contender]()
    # Grows pools, and imports what is imported late.
    kept = [submit(1000)]
    measure = resident
    if field == "heap":
        tracemalloc.start()
        measure = lambda: tracemalloc.get_traced_memory()[0]  # noqa: E731
    # A turn, in which the tasks begin to wait.
    await asyncio.sleep(0)
    gc.collect()
    before = measure()
    kept.append(submit(count))
    await asyncio.sleep(0)
    gc.collect()
    return (measure() - before) / count


def memory(field: str) -> dict[str, Callable[[int], float]]:
    def sample(contender: str) -> Callable[[int], float]:
        def measure(count: int) -> float:
            command = [sys.executable, __file__, "--pending", contender, field, str(count)]
            return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

        return measure

    return {contender: sample(contender) for contender in PENDING}


def spent(count: int, call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count * 1e6


def crossings() -> dict[str, Callable[[int], float]]:
    lanes = lane()
    clock = ManualClock()
    ended = lanes.enqueue("p0", "echo", None)
    ended.result()
    threads = ThreadPoolExecutor(1)
    return {
        "a3s-lane": lambda count: spent(count, lambda: ended.cancel()),
        "a call with a number": lambda count: spent(count, lambda: clock.elapsed_secs),
        "a3s-lane, submit of an echo": lambda count: spent(count // 10, lambda: lanes.submit("p0", "echo", 1)),
        "ThreadPoolExecutor": lambda count: spent(count // 10, lambda: threads.submit(no_op, 1).result()),
        "an empty def": lambda count: spent(count, lambda: None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=100_000, help="calls, or pending commands, per sample (default 100000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--json", type=Path, help="where all samples go")
    parser.add_argument("--pending", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pending:
        contender, field, count = arguments.pending
        print(asyncio.run(hold(contender, field, int(count))), flush=True)
        # Nothing of it is to run.
        os._exit(0)
    rows = {
        ("one crossing", "microseconds"): crossings(),
        ("heap of Python for each pending command", "bytes"): memory("heap"),
        ("resident memory for each pending command", "bytes"): memory("rss"),
    }
    everything = {}
    for (name, unit), contenders in rows.items():
        samples: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _ in range(arguments.rounds):
            for contender, measure in contenders.items():
                samples[contender].append(measure(arguments.commands))
        print(f"\n{name} ({unit})")
        for contender, values in samples.items():
            print(f"  {contender:28} {statistics.median(values):10.2f}  {min(values):.2f}..{max(values):.2f}")
        everything[name] = samples
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    os._exit(0)


if __name__ == "__main__":
    main()
