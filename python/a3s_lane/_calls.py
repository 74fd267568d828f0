"""What is called once per command, written in Python where that is quicker: a coroutine that is made here starts without a detour
through the compiled half."""

from __future__ import annotations

import inspect
import typing

from a3s_lane import _a3s_lane

# Looked up once.
_begin_submit = _a3s_lane._begin_submit
_Pending = _a3s_lane._Pending


async def submit(
    lane: _a3s_lane.Lane, lane_id: str, command_type: str, payload: object, options: dict[str, typing.Any] | None
) -> typing.Any:
    begun = _begin_submit(lane, lane_id, command_type, payload, options)
    if type(begun) is not _Pending:
        return begun
    try:
        return await begun.future
    except BaseException:
        # Waiting is not running: only the wait ends.
        begun.abandon()
        raise


def install() -> None:
    """Has :class:`Lane` use what is defined here."""

    def submit_async(
        self: _a3s_lane.Lane, lane_id: str, command_type: str, payload: object = None, **options: typing.Any
    ) -> typing.Any:
        return submit(self, lane_id, command_type, payload, options or None)

    compiled = _a3s_lane.Lane.submit_async
    signature = inspect.signature(compiled)
    itself, *others = signature.parameters.values()
    itself = itself.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    setattr(submit_async, "__signature__", signature.replace(parameters=[itself, *others]))
    submit_async.__doc__ = compiled.__doc__
    submit_async.__qualname__ = compiled.__qualname__
    submit_async.__module__ = _a3s_lane.Lane.__module__
    setattr(_a3s_lane.Lane, "submit_async", submit_async)
