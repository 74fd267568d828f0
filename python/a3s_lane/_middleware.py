"""Functions around handlers."""

from __future__ import annotations

import collections.abc
import concurrent.futures
import functools
import inspect
import typing

from a3s_lane import _a3s_lane

_Function = collections.abc.Callable[..., typing.Any]

# How often a handler in another process is asked whether its attempt was stopped.
_LOOK_SECS = 0.05


def is_coroutine(function: _Function) -> bool:
    """Whether calling it gives something to await: an `async def`, or an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def check(function: _Function) -> None:
    """Refuses what cannot be middleware."""
    if not callable(function):
        raise TypeError(f"function must be callable, not {type(function).__name__}")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError("function must return the result, not yield it")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Built-in functions do not always tell.
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        name = getattr(function, "__name__", function)
        raise TypeError(f"function must take (payload, ctx, next), got {name}{signature}") from None


def compose(kind: str, function: _Function, takes_context: bool, around: list[_Function]) -> _Function:
    """A handler that takes a payload and a context, with `around` in the order of registration: the first is the outermost."""
    if kind == "process":
        call: _Function = functools.partial(_in_process, function)
    elif takes_context:
        call = function
    else:
        call = functools.partial(_without_context, function)
    layer = _async_layer if kind == "coroutine" else _layer
    for middleware in reversed(around):
        call = layer(middleware, call)
    return call


def _without_context(function: _Function, payload: object, ctx: object) -> typing.Any:
    return function(payload)


def _layer(middleware: _Function, inner: _Function) -> _Function:
    def call(payload: object, ctx: object) -> typing.Any:
        return middleware(payload, ctx, lambda payload: inner(payload, ctx))

    return call


def _async_layer(middleware: _Function, inner: _Function) -> _Function:
    async def call(payload: object, ctx: object) -> typing.Any:
        return await middleware(payload, ctx, lambda payload: inner(payload, ctx))

    return call


def _in_process(
    start: collections.abc.Callable[[object], concurrent.futures.Future[typing.Any]],
    payload: object,
    ctx: _a3s_lane.CommandContext,
) -> typing.Any:
    """Waits for a handler in another process. Middleware needs a thread that does."""
    future = start(payload)
    while True:
        try:
            return future.result(_LOOK_SECS)
        except concurrent.futures.TimeoutError:
            # Before 3.11 not the built-in one, which the handler may have raised itself.
            if future.done():
                return future.result()
            if ctx.cancelled:
                future.cancel()
                ctx.check()
