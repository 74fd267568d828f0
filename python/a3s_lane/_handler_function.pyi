from collections.abc import Callable, Coroutine
from types import GenericAlias
from typing import Any, Generic, TypeVar

from typing_extensions import ParamSpec, Unpack

from a3s_lane._a3s_lane import CommandHandle, Lane
from a3s_lane.options import SubmitOptions

_P = ParamSpec("_P")
_R = TypeVar("_R")

class HandlerFunction(Generic[_P, _R]):
    """A function that :meth:`Lane.handler` has made a handler. Calling it calls the function, without any lane."""

    __name__: str
    lane: Lane
    command_type: str
    function: Callable[_P, _R]
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __init__(self, lane: Lane, command_type: str, function: Callable[_P, _R]) -> None: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def submit(self, lane_id: str, payload: object = None, **options: Unpack[SubmitOptions]) -> Any:
        """Runs it in a lane and returns its result; see :meth:`Lane.submit`."""
    def submit_async(
        self, lane_id: str, payload: object = None, **options: Unpack[SubmitOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Runs it in a lane and gives its result; see :meth:`Lane.submit_async`."""
    def enqueue(self, lane_id: str, payload: object = None, **options: Unpack[SubmitOptions]) -> CommandHandle:
        """Hands it to a lane and returns its handle; see :meth:`Lane.enqueue`."""
