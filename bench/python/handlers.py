"""What a handler in Python costs, next to what people would write by hand.

The contestants of a row are driven by the same code, in one process, and take turns; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from a3s_lane import Lane, LaneConfig

CONCURRENCY = 10


async def no_op_async(payload: int) -> int:
    return payload


def no_op(payload: int) -> int:
    return payload


class PriorityPool:
    """Workers that take from an `asyncio.PriorityQueue`: what one would write without a lane."""

    def __init__(self) -> None:
        self.queue: asyncio.PriorityQueue[Any] = asyncio.PriorityQueue()
        self.number = 0

    async def __aenter__(self) -> PriorityPool:
        self.workers = [asyncio.create_task(self.work()) for _ in range(CONCURRENCY)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.cancel()

    async def work(self) -> None:
        while True:
            _, _, payload, future = await self.queue.get()
            try:
                result = await no_op_async(payload)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

    def enqueue(self, payload: int) -> Awaitable[int]:
        future = asyncio.get_running_loop().create_future()
        self.number += 1
        self.queue.put_nowait((0, self.number, payload, future))
        return future

    async def submit(self, payload: int) -> int:
        return await self.enqueue(payload)


class AsyncLane:
    def __init__(self) -> None:
        self.lane = Lane.with_lanes([LaneConfig("bench", 0, max_concurrency=CONCURRENCY)])
        self.lane.register_handler("no-op", no_op_async)

    async def __aenter__(self) -> AsyncLane:
        await self.lane.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.lane.__aexit__()

    def enqueue(self, payload: int) -> Awaitable[int]:
        return self.lane.enqueue("bench", "no-op", payload)

    def submit(self, payload: int) -> Awaitable[int]:
        return self.lane.submit_async("bench", "no-op", payload)


class ThreadLane:
    def __enter__(self) -> ThreadLane:
        self.lane = Lane.with_lanes([LaneConfig("bench", 0, max_concurrency=CONCURRENCY)], handler_threads=CONCURRENCY)
        self.lane.register_handler("no-op", no_op)
        self.lane.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.lane.__exit__()

    def submit(self, payload: int) -> Any:
        return self.lane.enqueue("bench", "no-op", payload)


class ThreadPool:
    def __enter__(self) -> ThreadPool:
        self.pool = ThreadPoolExecutor(CONCURRENCY)
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def submit(self, payload: int) -> Any:
        return self.pool.submit(no_op, payload)


class Clock:
    """Wall time, and the processor time of the whole process."""

    def __enter__(self) -> Clock:
        gc.collect()
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    def per(self, count: int) -> dict[str, float]:
        return {"rate": count / self.wall, "cpu_us": self.cpu / count * 1e6}


def check(results: list[int], count: int) -> None:
    assert sum(results) == count * (count - 1) // 2, "a command was lost"


async def gathered(make: Callable[[], Any], count: int) -> dict[str, float]:
    """All calls at once, each awaited by a task of its own."""
    async with make() as contestant:
        with Clock() as clock:
            check(await asyncio.gather(*[contestant.submit(number) for number in range(count)]), count)
    return clock.per(count)


async def enqueued(make: Callable[[], Any], count: int) -> dict[str, float]:
    """All handed in first, then awaited one after the other."""
    async with make() as contestant:
        with Clock() as clock:
            handles = [contestant.enqueue(number) for number in range(count)]
            check([await handle for handle in handles], count)
    return clock.per(count)


async def awaited(make: Callable[[], Any], count: int) -> dict[str, float]:
    """One call after the other."""
    async with make() as contestant:
        samples = []
        for number in range(count):
            start = time.perf_counter()
            assert await contestant.submit(number) == number
            samples.append(time.perf_counter() - start)
    samples.sort()
    return {"p50_us": samples[count // 2] * 1e6, "p99_us": samples[count * 99 // 100] * 1e6}


def threaded(make: Callable[[], Any], count: int) -> dict[str, float]:
    with make() as contestant:
        with Clock() as clock:
            futures = [contestant.submit(number) for number in range(count)]
            check([future.result() for future in futures], count)
    return clock.per(count)


class Row:
    def __init__(self, name: str, driver: Callable[..., Any], ours: type, peer: type, divisor: int = 1) -> None:
        self.name, self.driver, self.contestants, self.divisor = name, driver, {"ours": ours, "peer": peer}, divisor

    def run(self, count: int, rounds: int) -> dict[str, dict[str, list[float]]]:
        samples: dict[str, dict[str, list[float]]] = {"ours": {}, "peer": {}}
        for turn in range(rounds + 1):
            names = ["ours", "peer"] if turn % 2 else ["peer", "ours"]
            for name in names:
                result = self.driver(self.contestants[name], count // self.divisor)
                if asyncio.iscoroutine(result):
                    result = asyncio.run(result)
                # The first round only warms up.
                for figure, value in result.items() if turn else ():
                    samples[name].setdefault(figure, []).append(value)
        return samples


ROWS = [
    Row("async, gather", gathered, AsyncLane, PriorityPool),
    Row("async, enqueue all", enqueued, AsyncLane, PriorityPool),
    Row("async, one await", awaited, AsyncLane, PriorityPool, divisor=5),
    Row("def", threaded, ThreadLane, ThreadPool),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=50_000, help="commands per sample (default 50000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are measured, after one that is not (default 7)")
    parser.add_argument("--json", type=Path, help="where all samples go")
    arguments = parser.parse_args()
    everything = {}
    print(f"{'row':20} {'figure':8} {'ours':>10} {'peer':>10} {'ours / peer':>12}")
    for row in ROWS:
        samples = everything[row.name] = row.run(arguments.commands, arguments.rounds)
        for figure, ours in samples["ours"].items():
            mine, other = statistics.median(ours), statistics.median(samples["peer"][figure])
            print(f"{row.name:20} {figure:8} {mine:10.1f} {other:10.1f} {mine / other:12.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
