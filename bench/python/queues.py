"""A handler in Python, next to the queues that people would pick: taskiq in memory, dramatiq on Redis, flexiq on SQLite.

Needs `pip install taskiq "dramatiq[redis]" flexiq` and the program `redis-server`; what is missing is left out. Every contestant has
one process, ten handlers at once and hands results back. Figures are medians over the rounds; those that are durable are
marked so, for they do more.

With `--durable` only those that are: 1, 64 and 512 threads each hand in a command and wait for its result, again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import logging
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from a3s_lane import Lane, LaneConfig

CONCURRENCY = 10

Submit = Callable[[int], Callable[[], Any]]
"""Hands in a payload; what it returns waits for the result."""


async def nothing_async(payload: int) -> int:
    return payload


def nothing(payload: int) -> int:
    return payload


def lanes(storage: str | None = None, durability: Literal["full", "relaxed"] = "full") -> Lane:
    configs = [LaneConfig("bench", 0, max_concurrency=CONCURRENCY)]
    # A durability without a storage is refused.
    kept: dict[str, Any] = {} if storage is None else {"storage": storage, "durability": durability}
    lane = Lane.with_lanes(configs, handler_threads=CONCURRENCY, **kept)
    lane.register_handler("async", nothing_async)
    lane.register_handler("def", nothing)
    return lane


@contextmanager
def ours(kind: str) -> Iterator[Submit]:
    with lanes() as lane:
        yield lambda payload: lane.enqueue("bench", kind, payload).result


@contextmanager
def ours_stored(durability: Literal["full", "relaxed"] = "full") -> Iterator[Submit]:
    """Each submission returns when its command is on the disk; relaxed, when the operating system has it."""
    with tempfile.TemporaryDirectory() as folder, lanes(folder, durability) as lane:
        yield lambda payload: lane.enqueue("bench", "def", payload).result


@contextmanager
def dramatiq_on_redis() -> Iterator[Submit]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        broker = RedisBroker(port=port)
        while True:
            try:
                broker.client.ping()
                break
            except Exception:
                time.sleep(0.01)
        broker.add_middleware(Results(backend=RedisBackend(client=broker.client)))
        dramatiq.set_broker(broker)
        actor = dramatiq.actor(nothing, store_results=True)
        worker = dramatiq.Worker(broker, worker_threads=CONCURRENCY)
        worker.start()
        yield lambda payload: lambda message=actor.send(payload): message.get_result(block=True, timeout=60_000)
        worker.stop()
        broker.close()
    finally:
        server.kill()
        server.wait()


@contextmanager
def flexiq_on_sqlite() -> Iterator[Submit]:
    from flexiq import Queue

    with tempfile.TemporaryDirectory() as folder:
        queue = Queue(db_path=f"{folder}/queue.db", workers=CONCURRENCY)
        task = queue.task()(nothing)
        worker = threading.Thread(target=queue.run_worker, daemon=True)
        worker.start()
        yield lambda payload: lambda job=task.delay(payload): job.result(timeout=60)
        queue.shutdown()
        worker.join(30)


def check(results: list[int]) -> None:
    assert sum(results) == len(results) * (len(results) - 1) // 2, "a command was lost"


def latency(samples: list[float]) -> dict[str, float]:
    samples.sort()
    return {"p50_us": samples[len(samples) // 2] * 1e6, "p99_us": samples[len(samples) * 99 // 100] * 1e6}


def blocking(make: Callable[[], AbstractContextManager[Submit]]) -> Callable[[int, int], dict[str, float]]:
    def measure(count: int, single: int) -> dict[str, float]:
        with make() as submit:
            start = time.perf_counter()
            waits = [submit(number) for number in range(count)]
            check([wait() for wait in waits])
            rate = count / (time.perf_counter() - start)
            samples = []
            for number in range(single):
                start = time.perf_counter()
                assert submit(number)() == number
                samples.append(time.perf_counter() - start)
        return {"rate": rate, **latency(samples)}

    return measure


def from_threads(submit: Submit, submitters: int, count: int) -> float:
    """Commands per second of threads that each do their share, one command after the other."""

    def share(first: int) -> None:
        for number in range(first, count, submitters):
            assert submit(number)() == number

    with ThreadPoolExecutor(submitters) as pool:
        start = time.perf_counter()
        # What a thread has raised is raised here.
        list(pool.map(share, range(submitters)))
        return count / (time.perf_counter() - start)


async def on_a_loop(submit: Callable[[int], Any], count: int, single: int) -> dict[str, float]:
    start = time.perf_counter()
    check(list(await asyncio.gather(*[submit(number) for number in range(count)])))
    rate = count / (time.perf_counter() - start)
    samples = []
    for number in range(single):
        start = time.perf_counter()
        assert await submit(number) == number
        samples.append(time.perf_counter() - start)
    return {"rate": rate, **latency(samples)}


def ours_on_a_loop(count: int, single: int) -> dict[str, float]:
    async def run() -> dict[str, float]:
        async with lanes() as lane:
            return await on_a_loop(lambda payload: lane.submit_async("bench", "async", payload), count, single)

    return asyncio.run(run())


def taskiq_in_memory(count: int, single: int) -> dict[str, float]:
    from taskiq import InMemoryBroker

    async def run() -> dict[str, float]:
        broker = InMemoryBroker(max_async_tasks=CONCURRENCY, max_stored_results=count + 1)
        task = broker.register_task(nothing_async, task_name="nothing")
        await broker.startup()

        async def submit(payload: int) -> Any:
            waiting = await task.kiq(payload)
            return (await waiting.wait_result(check_interval=0.0005, timeout=60)).return_value

        try:
            return await on_a_loop(submit, count, single)
        finally:
            await broker.shutdown()

    return asyncio.run(run())


# Each with what it needs, and how many commands a sample has: the slower ones have fewer.
CONTESTANTS: list[tuple[str, list[str], list[str], Callable[[int, int], dict[str, float]], int]] = [
    ("a3s-lane, async def", [], [], ours_on_a_loop, 1),
    ("taskiq, in memory", ["taskiq"], [], taskiq_in_memory, 10),
    ("a3s-lane, def", [], [], blocking(lambda: ours("def")), 1),
    ("dramatiq, Redis", ["dramatiq", "redis"], ["redis-server"], blocking(dramatiq_on_redis), 20),
    ("a3s-lane, def, stored (durable)", [], [], blocking(ours_stored), 20),
    ("flexiq, SQLite (durable)", ["flexiq"], [], blocking(flexiq_on_sqlite), 100),
]

DURABLE: list[tuple[str, list[str], Callable[[], AbstractContextManager[Submit]], int]] = [
    ("a3s-lane, stored, full", [], lambda: ours_stored("full"), 1),
    ("a3s-lane, stored, relaxed", [], lambda: ours_stored("relaxed"), 1),
    ("flexiq, SQLite", ["flexiq"], flexiq_on_sqlite, 5),
]

# How many threads submit, and how many commands in all.
SUBMITTERS = [(1, 500), (64, 5_000), (512, 5_000)]


def is_there(name: str, packages: list[str], programs: list[str]) -> bool:
    missing = [one for one in packages if importlib.util.find_spec(one) is None]
    missing += [one for one in programs if shutil.which(one) is None]
    if missing:
        print(f"{name}: left out, for there is no {', '.join(missing)}")
    return not missing


def durable(rounds: int) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {}
    there = [each for each in DURABLE if is_there(each[0], each[1], [])]
    for turn in range(rounds):
        for name, _, make, divisor in there[:: -1 if turn % 2 else 1]:
            for submitters, commands in SUBMITTERS:
                with make() as submit:
                    rate = from_threads(submit, submitters, max(submitters, commands // divisor))
                samples.setdefault(name, {}).setdefault(str(submitters), []).append(rate)
    columns = "".join(f"{f'{submitters} submitters':>18}" for submitters, _ in SUBMITTERS)
    print(f"{'commands/s':28}{columns}")
    for name, *_ in there:
        medians = [statistics.median(samples[name][str(submitters)]) for submitters, _ in SUBMITTERS]
        print(f"{name:28}{''.join(f'{rate:18.0f}' for rate in medians)}")
    return samples


def contest(commands: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {}
    there = [each for each in CONTESTANTS if is_there(each[0], each[1], each[2])]
    for turn in range(rounds):
        for name, _, _, measure, divisor in there[:: -1 if turn % 2 else 1]:
            count = max(10, commands // divisor)
            for figure, value in measure(count, max(10, count // 10)).items():
                samples.setdefault(name, {}).setdefault(figure, []).append(value)
    print(f"{'queue':32} {'commands/s':>12} {'await p50 us':>14} {'p99 us':>12}")
    for name, *_ in there:
        rate, p50, p99 = (statistics.median(samples[name][figure]) for figure in ("rate", "p50_us", "p99_us"))
        print(f"{name:32} {rate:12.0f} {p50:14.1f} {p99:12.1f}")
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=20_000, help="commands per sample (default 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--durable", action="store_true", help="only those that are durable, from 1, 64 and 512 threads")
    parser.add_argument("--json", type=Path, help="where all samples go")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    samples = durable(arguments.rounds) if arguments.durable else contest(arguments.commands, arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(samples, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
