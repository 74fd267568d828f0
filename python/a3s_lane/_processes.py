"""Handlers that run in other processes."""

from __future__ import annotations

import collections.abc
import concurrent.futures
import functools
import importlib
import multiprocessing
import os
import threading
import typing
from concurrent.futures.process import BrokenProcessPool

from a3s_lane import _models

_Function = collections.abc.Callable[..., typing.Any]

_lock = threading.Lock()
_pool: concurrent.futures.ProcessPoolExecutor | None = None
# Never collected here: the end of one wakes the manager of the parent.
_of_parents: list[concurrent.futures.ProcessPoolExecutor] = []


def starter(function: _Function) -> collections.abc.Callable[[object], concurrent.futures.Future[typing.Any]]:
    """What starts `function` in another process."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module is None or name is None or "<" in name:
        raise ValueError(
            f"function must be importable to run in another process: define it with def in a module, got {name or function!r}"
        )
    return functools.partial(_start, module, name)


def _start(module: str, name: str, payload: object) -> concurrent.futures.Future[typing.Any]:
    try:
        return _processes().submit(_call, module, name, payload)
    except BrokenProcessPool:
        # One of its processes was killed, which breaks the others of that pool, not those to come.
        _forget()
        return _processes().submit(_call, module, name, payload)


def _processes() -> concurrent.futures.ProcessPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            # Not by fork: this process has threads, whose locks a child would inherit.
            context = multiprocessing.get_context("spawn")
            _pool = concurrent.futures.ProcessPoolExecutor(mp_context=context)
        return _pool


def _after_fork() -> None:
    global _lock, _pool
    # The thread that manages the pool does not exist here, nor one that held the lock.
    _lock = threading.Lock()
    if _pool is not None:
        _of_parents.append(_pool)
        _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _forget() -> None:
    global _pool
    with _lock:
        broken, _pool = _pool, None
    if broken is not None:
        broken.shutdown(wait=False)


def _call(module: str, name: str, payload: object) -> object:
    """Runs in the other process."""
    called = _resolve(module, name)
    return called(payload)


_resolved: dict[tuple[str, str], _Function] = {}


def _resolve(module: str, name: str) -> _Function:
    known = _resolved.get((module, name))
    if known is not None:
        return known
    found: typing.Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    # A decorated function is the handler that the decorator made of it.
    function: _Function = getattr(found, "function", found)
    first = next(iter(function.__code__.co_varnames), "") if hasattr(function, "__code__") else ""
    called = _resolved[module, name] = _models.adapt(function, _models.annotation_of(function, first), False)
    return called
