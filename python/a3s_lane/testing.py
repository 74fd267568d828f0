"""Commands that follow a script, to test how a program deals with slow, failing and retried work."""

from a3s_lane._a3s_lane import ScriptedResult, enqueue_scripted, submit_many_scripted, submit_scripted

__all__ = ["ScriptedResult", "enqueue_scripted", "submit_many_scripted", "submit_scripted"]
