"""Starting threads, up to the end of the interpreter."""

from __future__ import annotations

import atexit
import collections.abc
import os
import threading

_starting = threading.Lock()
_exiting = False


def start(main: collections.abc.Callable[[], None], name: str) -> bool:
    """Starts a daemon thread; whether it did: not any more when the interpreter ends.

    A thread that begins while an interpreter is taken apart crashes CPython before 3.12.
    """
    with _starting:
        if _exiting:
            return False
        try:
            # Returns once the thread runs.
            threading.Thread(target=main, name=name, daemon=True).start()
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


def _after_fork() -> None:
    global _starting
    # The thread that held it does not exist here.
    _starting = threading.Lock()


atexit.register(_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
