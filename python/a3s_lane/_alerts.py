"""Calling back for alerts. The compiled half calls this, on a thread that holds no lock of the lanes."""

from __future__ import annotations

import collections.abc

from a3s_lane import _a3s_lane
from a3s_lane._logging import logger

_Callback = collections.abc.Callable[[_a3s_lane.Alert], object]


def call(callbacks: list[_Callback], alert: _a3s_lane.Alert) -> None:
    for callback in callbacks:
        try:
            callback(alert)
        except Exception:
            logger.exception("an alert callback failed")
        except (KeyboardInterrupt, SystemExit) as error:
            # As in a handler: it does not end the process.
            logger.error("an alert callback raised %s", type(error).__name__, exc_info=error)


def note_lost(count: int) -> None:
    logger.warning("%d alerts were lost: their callbacks are too slow", count)
