"""The log of the lanes, in `logging`. The compiled half calls this, on a thread that holds no lock of the lanes."""

from __future__ import annotations

import atexit
import logging

from a3s_lane import _a3s_lane

logger = logging.getLogger("a3s_lane")

# Before `logging` closes its handlers, which it does in an exit function of its own: the last one registered is the first to run.
atexit.register(_a3s_lane._empty_outboxes)


def write(level: int, text: str, file: str, line: int, at: float) -> None:
    if logger.isEnabledFor(level):
        record = logger.makeRecord(logger.name, level, file, line, text, (), None)
        record.relativeCreated += (at - record.created) * 1000
        record.created, record.msecs = at, at % 1 * 1000
        logger.handle(record)


def note_lost(count: int) -> None:
    logger.warning("%d lines of the log were lost: its handlers are too slow", count)
