"""Kinds of event loops, and handlers that tell on which thread they run."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class DeafLoop(asyncio.SelectorEventLoop):
    """A loop that cannot watch sockets for others, as the one of Windows."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


def uvloop_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "deaf": DeafLoop}
if importlib.util.find_spec("uvloop") is not None:
    LOOPS["uvloop"] = uvloop_loop

Runner = Callable[[Coroutine[Any, Any, Any]], Any]


def here(payload: Any) -> Any:
    return threading.current_thread() is threading.main_thread()


async def async_here(payload: Any) -> Any:
    await asyncio.sleep(0)
    return threading.current_thread() is threading.main_thread()


async def slow(payload: Any) -> Any:
    await asyncio.sleep(0.01)
    return payload
