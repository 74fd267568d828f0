"""Tools for tests of programs that use lanes: scripted commands, a clock that is moved by hand, a log of submissions."""

from a3s_lane._a3s_lane import (
    ManualClock,
    ScriptedResult,
    SubmissionLog,
    Submitted,
    create_lane,
    drain_now,
    enqueue_scripted,
    submit_many_scripted,
    submit_scripted,
)

__all__ = [
    "ManualClock",
    "ScriptedResult",
    "SubmissionLog",
    "Submitted",
    "create_lane",
    "drain_now",
    "enqueue_scripted",
    "submit_many_scripted",
    "submit_scripted",
]
