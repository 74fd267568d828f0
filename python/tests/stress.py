"""Ten rounds of many handlers with random ends, in a process of its own; prints what it holds after each as JSON.

    python stress.py [rounds]

Each round: 10,000 coroutines and 200 functions that run at the same moment, and 1,000 coroutines that run into a time limit,
submitted by 8 threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

from a3s_lane import CommandContext, CommandHandle, Lane, LaneConfig, LaneError, RetryPolicy

COROUTINES, FUNCTIONS, TIMED, SUBMITTERS = 10_000, 200, 1_000, 8
LIMIT_SECS = 120.0


class Round:
    """One life of a queue."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.coroutines = self.functions = 0
        self.lock = threading.Lock()
        # All coroutines, and all functions.
        self.all_await = threading.Event()
        self.all_run = threading.Event()
        # Made on the loop that waits for it.
        self.gate: asyncio.Event | None = None
        retry = RetryPolicy.fixed(1, 0.001)
        self.lane = Lane.with_lanes(
            [
                LaneConfig("loop", 0, max_concurrency=COROUTINES, retry_policy=retry),
                LaneConfig("timed", 1, max_concurrency=TIMED),
                LaneConfig("threads", 2, max_concurrency=FUNCTIONS, retry_policy=retry),
            ],
            handler_threads=FUNCTIONS,
        )
        self.lane.register_handler("coroutine", self.coroutine)
        self.lane.register_handler("function", self.function)
        self.lane.register_handler("endless", self.endless)

    async def coroutine(self, kind: str, ctx: CommandContext) -> str:
        if kind == "child":
            return await ctx.submit_child("threads", "function", "plain")  # type: ignore[no-any-return]
        if kind != "plain":
            await self.together()
        if kind == "cancelled":
            await asyncio.sleep(3600)
        if kind == "fails" and ctx.attempt < 2:
            raise ValueError(kind)
        ctx.progress(1)
        return kind

    async def together(self) -> None:
        """Returns when all run."""
        if self.gate is None:
            self.gate = asyncio.Event()
        self.coroutines += 1
        if self.coroutines == COROUTINES:
            self.gate.set()
            self.all_await.set()
        await self.gate.wait()

    def function(self, kind: str, ctx: CommandContext) -> str:
        if kind == "child":
            return ctx.submit_child("loop", "coroutine", "plain")  # type: ignore[no-any-return]
        if kind == "plain":
            return kind
        with self.lock:
            self.functions += 1
            if self.functions == FUNCTIONS:
                self.all_run.set()
        assert self.all_run.wait(LIMIT_SECS)
        while kind == "cancelled":
            ctx.check()
            time.sleep(0.001)
        if kind == "fails" and ctx.attempt < 2:
            raise ValueError(kind)
        return kind

    @staticmethod
    async def endless(_: object) -> None:
        await asyncio.sleep(3600)

    def submit(self, handles: list[CommandHandle], cancelled: list[CommandHandle], seed: int) -> None:
        choose = random.Random(seed)
        for lane_id, command_type, count in (
            ("loop", "coroutine", COROUTINES),
            ("threads", "function", FUNCTIONS),
            ("timed", "endless", TIMED),
        ):
            for _ in range(count // SUBMITTERS):
                kind = choose.choice(["completes", "completes", "fails", "cancelled"])
                timeout = choose.uniform(0.001, 0.5) if command_type == "endless" else None
                handle = self.lane.enqueue(lane_id, command_type, kind, timeout_secs=timeout)
                handles.append(handle)
                if kind == "cancelled" and command_type != "endless":
                    cancelled.append(handle)

    def play(self) -> Counter[str]:
        handles: list[CommandHandle] = []
        cancelled: list[CommandHandle] = []
        seeds = [self.choose.random() for _ in range(SUBMITTERS)]
        threads = [threading.Thread(target=self.submit, args=(handles, cancelled, int(seed * 1e9))) for seed in seeds]
        with self.lane:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(LIMIT_SECS)
            assert len(handles) == COROUTINES + FUNCTIONS + TIMED
            # All are in it at once; only then are some cancelled. One that is cancelled before it runs would keep the gate shut.
            assert self.all_await.wait(LIMIT_SECS)
            assert self.all_run.wait(LIMIT_SECS)
            self.choose.shuffle(cancelled)
            for handle in cancelled:
                handle.cancel()
            parents = [("loop", "coroutine"), ("threads", "function")] * 50
            children = [self.lane.enqueue(lane_id, kind, "child") for lane_id, kind in parents]
            outcomes: Counter[str] = Counter()
            for handle in handles + children:
                try:
                    handle.result(LIMIT_SECS)
                except LaneError as error:
                    outcomes[error.code] += 1
                else:
                    outcomes["completed"] += 1
            self.lane.drain(LIMIT_SECS)
            stats = self.lane.stats()
            assert (stats.total_pending, stats.total_active) == (0, 0)
        assert self.coroutines >= COROUTINES and self.functions >= FUNCTIONS
        assert outcomes["TIMEOUT"] == TIMED and outcomes["CANCELLED"] == len(cancelled), outcomes
        assert outcomes.keys() == {"completed", "TIMEOUT", "CANCELLED"}, outcomes
        return outcomes


class Allocations(ctypes.Structure):
    """What `mallinfo2(3)` tells."""

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


def allocated_mib() -> float | None:
    """What the C library has given out and not got back, in all arenas; `None` where it does not tell."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return None
    mallinfo.restype = Allocations
    told = mallinfo()
    return float(told.uordblks + told.hblkhd) / 2**20


def held() -> dict[str, Any]:
    """What is left of the rounds so far."""
    deadline = time.monotonic() + LIMIT_SECS
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.collect()
    objects = gc.get_objects()
    return {
        "threads": threading.active_count(),
        "tasks": sum(isinstance(one, asyncio.Task) for one in objects),
        "objects": len(objects),
        "files": len(os.listdir("/proc/self/fd")),
        "mib": allocated_mib(),
    }


if __name__ == "__main__":
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 10):
        outcomes = Round(number).play()
        print(json.dumps({**held(), "outcomes": outcomes}), flush=True)
