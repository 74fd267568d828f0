"""What `Lane.handler` makes of a function. Its types are in the stub beside: Python 3.9 has no `ParamSpec`."""

from __future__ import annotations

import functools
import types


class HandlerFunction:
    """A function that :meth:`Lane.handler` has made a handler. Calling it calls the function, without any lane."""

    __module__ = "a3s_lane"
    __class_getitem__ = classmethod(types.GenericAlias)

    def __init__(self, lane, command_type, function):
        self.lane = lane
        self.command_type = command_type
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def submit(self, lane_id, payload=None, **options):
        """Runs it in a lane and returns its result; see :meth:`Lane.submit`."""
        return self.lane.submit(lane_id, self.command_type, payload, **options)

    def submit_async(self, lane_id, payload=None, **options):
        """Runs it in a lane and gives its result; see :meth:`Lane.submit_async`."""
        return self.lane.submit_async(lane_id, self.command_type, payload, **options)

    def enqueue(self, lane_id, payload=None, **options):
        """Hands it to a lane and returns its handle; see :meth:`Lane.enqueue`."""
        return self.lane.enqueue(lane_id, self.command_type, payload, **options)

    def __repr__(self):
        return f"<handler of {self.command_type!r}: {self.function!r}>"
