"""How the bodies of a scenario's commands are written: the same scripts, by the queue and by handlers in Python."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from a3s_lane import CommandContext, CommandHandle, Lane, LaneError, PanickedError, SubmitOptions, Unrecoverable
from a3s_lane.testing import enqueue_scripted, submit_many_scripted, submit_scripted
from conftest import Script

GRACE_SECS = 0.2
"""How long a handler that was asked to stop goes on with a sleep. The scripts have none of that length."""


class Result(Protocol):
    def result(self, timeout_secs: float | None = None) -> Any: ...


class Bodies:
    """Commands that follow their scripts by themselves."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def submit(self, lane_id: str, name: str, script: Script) -> Result:
        return submit_scripted(self.lane, lane_id, name, script)

    def enqueue(self, lane_id: str, name: str, script: Script, options: SubmitOptions) -> CommandHandle:
        return enqueue_scripted(self.lane, lane_id, name, script, **options)

    def submit_many(
        self, lane_id: str, commands: list[tuple[str, Script, SubmitOptions]]
    ) -> list[CommandHandle | LaneError]:
        return submit_many_scripted(self.lane, lane_id, commands)


class Handled(Bodies):
    """Commands whose payload is the script, which the handler of their type plays."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self.attempts: Counter[str] = Counter()
        """By command. Unlike ``ctx.attempt`` it counts what was preempted, as a scripted command does."""

    def submit(self, lane_id: str, name: str, script: Script) -> Result:
        return self.enqueue(lane_id, name, script, {})

    def enqueue(self, lane_id: str, name: str, script: Script, options: SubmitOptions) -> CommandHandle:
        self._register(name, script)
        return self.lane.enqueue(lane_id, name, script, **options)

    def submit_many(
        self, lane_id: str, commands: list[tuple[str, Script, SubmitOptions]]
    ) -> list[CommandHandle | LaneError]:
        for name, script, _ in commands:
            self._register(name, script)
        return self.lane.submit_many(lane_id, commands)

    def _register(self, name: str, script: Script) -> None:
        """The handlers of a command and of the children that its script names."""
        self.lane.register_handler(name, self.play)
        for step in (step for attempt in script for step in attempt):
            if "child" in step:
                self._register(step["child"]["command_type"], step["child"]["script"])

    def play(self, script: Script, ctx: CommandContext) -> Any:
        raise NotImplementedError

    def steps(self, script: Script, ctx: CommandContext) -> Iterator[tuple[str, Any]]:
        """The steps of this attempt."""
        number = self.attempts[ctx.id]
        self.attempts[ctx.id] += 1
        attempt = script[min(number, len(script) - 1)] if script else []
        for step in attempt:
            ((name, value),) = step.items()
            yield name, value

    @staticmethod
    def tell(name: str, value: Any, ctx: CommandContext) -> None:
        """A step that neither waits nor ends the attempt with a value."""
        if name == "fail":
            raise RuntimeError(value)
        if name == "unrecoverable":
            raise Unrecoverable(value)
        if name == "panic":
            raise PanickedError(value)
        if name == "progress":
            ctx.progress(value)
        elif name == "emit":
            ctx.emit(value)
        elif name == "heartbeat":
            ctx.heartbeat()
        elif name == "settle_cost":
            ctx.settle_cost(value)
        else:
            raise Unrecoverable(f"unknown step {name!r}")


class Coroutines(Handled):
    """By an ``async def``."""

    async def play(self, script: Script, ctx: CommandContext) -> Any:
        for name, value in self.steps(script, ctx):
            if name == "return":
                return value
            if name == "return_metadata":
                return ctx.metadata
            if name == "sleep_ms":
                await self.sleep(value / 1000)
            elif name == "await_cancel":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    assert ctx.cancelled
            elif name == "child":
                await ctx.submit_child(value["lane_id"], value["command_type"], value["script"])
            else:
                self.tell(name, value, ctx)
        return None

    @staticmethod
    async def sleep(secs: float) -> None:
        end = time.monotonic() + secs
        try:
            await asyncio.sleep(secs)
        except asyncio.CancelledError:
            left = end - time.monotonic()
            await asyncio.sleep(min(left, GRACE_SECS))
            if left > GRACE_SECS:
                raise


class Functions(Handled):
    """By a ``def``, in threads."""

    def play(self, script: Script, ctx: CommandContext) -> Any:
        for name, value in self.steps(script, ctx):
            if name == "return":
                return value
            if name == "return_metadata":
                return ctx.metadata
            if name == "sleep_ms":
                self.sleep(value / 1000, ctx)
            elif name == "await_cancel":
                while not ctx.cancelled:
                    time.sleep(0.001)
            elif name == "child":
                ctx.submit_child(value["lane_id"], value["command_type"], value["script"])
            else:
                self.tell(name, value, ctx)
        return None

    @staticmethod
    def sleep(secs: float, ctx: CommandContext) -> None:
        end = time.monotonic() + secs
        while not ctx.cancelled:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.002))
        left = end - time.monotonic()
        if left > GRACE_SECS:
            time.sleep(GRACE_SECS)
            ctx.check()
        time.sleep(max(left, 0))


WRITTEN: dict[str, type[Bodies]] = {"script": Bodies, "async def": Coroutines, "def": Functions}
