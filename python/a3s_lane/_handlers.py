"""Handlers: which functions can be one, and how they are called."""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import os
import sys
import traceback
import typing

from a3s_lane import _a3s_lane, _middleware, _models, _threads
from a3s_lane._handler_function import HandlerFunction
from a3s_lane._logging import logger

_Function = collections.abc.Callable[..., typing.Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def decorator(
    lane: _a3s_lane.Lane, command_type: str, executor: str | None
) -> collections.abc.Callable[[_Function], HandlerFunction[..., typing.Any]]:
    if not isinstance(command_type, str):
        raise TypeError(f"command_type must be a str, not {type(command_type).__name__}: write @lane.handler('type')")

    def register_it(function: _Function) -> HandlerFunction[..., typing.Any]:
        register(lane, command_type, function, executor)
        return HandlerFunction(lane, command_type, function)

    return register_it


def add_middleware(lane: _a3s_lane.Lane, function: _Function) -> _Function:
    """Puts `function` around the handlers of a lane that are written like it."""
    _middleware.check(function)
    _a3s_lane._add_middleware(lane, function, _middleware.is_coroutine(function))
    return function


def register(lane: _a3s_lane.Lane, command_type: str, function: _Function, executor: str | None) -> None:
    if not callable(function):
        raise TypeError(f"function must be callable, not {type(function).__name__}")
    if executor not in (None, "thread", "process"):
        raise ValueError(f"executor must be one of 'thread', 'process', got {executor!r}")
    takes_context, annotation = _read_signature(function)
    is_coroutine = _middleware.is_coroutine(function)
    if is_coroutine and executor is not None:
        raise ValueError(f"executor must not be given for an async def, got {executor!r}")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError("function must return its result: hand out parts of it with ctx.emit(), not with yield")
    if executor == "process":
        if takes_context:
            raise ValueError("function must take (payload) alone to run in another process: ctx stays here")
        from a3s_lane import _processes

        start = _processes.starter(function)
        _a3s_lane._register(lane, command_type, start, False, "process")
        return
    if is_coroutine:
        # Where a loop is started, no Python code can be relied upon any more: see `guarded.rs`.
        importlib.import_module("a3s_lane._asyncio")
    called = _models.adapt(function, annotation, takes_context)
    _a3s_lane._register(lane, command_type, called, takes_context, "coroutine" if is_coroutine else "thread")


def _read_signature(function: _Function) -> tuple[bool, object]:
    """Whether the function takes a context too, and what its payload is annotated as."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        # Built-in functions do not always tell.
        return False, inspect.Parameter.empty
    wrong = TypeError(
        f"function must take (payload) or (payload, ctx), got {getattr(function, '__name__', function)}"
        f"({', '.join(str(parameter) for parameter in parameters)})"
    )
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    takes_rest = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise wrong
    required = [parameter for parameter in positional if parameter.default is parameter.empty]
    if len(required) > 2 or (not positional and not takes_rest):
        raise wrong
    annotation = _models.annotation_of(function, positional[0].name) if positional else inspect.Parameter.empty
    # A second parameter with a default is the function's own, unless it is named as what it is.
    second = positional[1] if len(positional) > 1 else None
    takes_context = second is not None and (second in required or second.name in ("ctx", "context"))
    return takes_context, annotation


def start_thread(main: collections.abc.Callable[[], None], number: int) -> bool:
    return _threads.start(main, f"a3s-lane-handler-{number}")


def note_exit(exception: BaseException) -> None:
    """An exit or an interrupt inside of a handler ends its attempt, not the process; say so."""
    if isinstance(exception, (KeyboardInterrupt, SystemExit)):
        logger.error("a handler raised %s, which ends its attempt only", type(exception).__name__, exc_info=exception)


# Enough for any stack that people read; an exception group can be far longer.
_MOST_TEXT = 64_000


def traceback_text(exception: BaseException) -> str:
    """The exception with its traceback, as the interpreter shows it. The compiled half calls this."""
    text = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "\n[cut off]\n"


def end_child(error: BaseException | None) -> typing.NoReturn:
    """Ends a process that a handler forked, as `multiprocessing` ends its own: the rest belongs to the parent."""
    status = 0
    try:
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            status = error.code or 0
        elif error is not None:
            status = 1
            if isinstance(error, SystemExit):
                print(error.code, file=sys.stderr)
            else:
                traceback.print_exception(type(error), error, error.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF)
