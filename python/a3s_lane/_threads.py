"""Starting threads, up to the end of the interpreter."""

from __future__ import annotations

import atexit
import collections.abc
import os
import threading
import weakref

_starting = threading.Lock()
_exiting = False

# How long the end of the interpreter waits for each thread that is about to end.
_PATIENCE_SECS = 1.0

# The threads that live, and whether each is about to end by itself.
_ending: weakref.WeakKeyDictionary[threading.Thread, collections.abc.Callable[[], bool]] = weakref.WeakKeyDictionary()


def start(
    main: collections.abc.Callable[[], None],
    name: str,
    is_ending: collections.abc.Callable[[], bool] = lambda: False,
) -> bool:
    """Starts a daemon thread; whether it did: not any more when the interpreter ends.

    A thread that begins while an interpreter is taken apart crashes CPython before 3.12. One that comes back from Python code
    to compiled code at that time ends the process with an error: the end waits for those that `is_ending` says are about to end.
    """
    with _starting:
        if _exiting:
            return False
        try:
            thread = threading.Thread(target=main, name=name, daemon=True)
            _ending[thread] = is_ending
            # Returns once the thread runs.
            thread.start()
        except RuntimeError as error:
            # From CPython 3.12 on the end begins earlier: while other threads are waited for.
            if "interpreter shutdown" in str(error):
                return False
            raise
    return True


def _exit() -> None:
    global _exiting
    # Waits for a thread that is about to begin.
    with _starting:
        _exiting = True
    for thread, is_ending in list(_ending.items()):
        if thread.is_alive() and is_ending():
            thread.join(_PATIENCE_SECS)


def _after_fork() -> None:
    global _starting
    # The thread that held it does not exist here, nor do those that were started.
    _starting = threading.Lock()
    _ending.clear()


atexit.register(_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
