"""Commands that follow a script, to test how a program deals with slow, failing and retried work."""

from a3s_lane._a3s_lane import ScriptedResult, submit_scripted

__all__ = ["ScriptedResult", "submit_scripted"]
