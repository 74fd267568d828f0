"""The asyncio half of the lanes: what is awaited, and the event loops that run handlers."""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import functools
import sys
import typing

from a3s_lane import _a3s_lane, _threads

# `asyncio` makes its policy on first use, under a lock that a child of `fork` would find locked if a loop of ours began meanwhile.
if sys.version_info < (3, 14):
    asyncio.get_event_loop_policy()
else:
    # The public function is deprecated.
    getattr(asyncio.events, "_get_event_loop_policy", lambda: None)()

_Options = typing.Optional[dict[str, typing.Any]]
_Coroutine = collections.abc.Coroutine[typing.Any, typing.Any, typing.Any]


async def _ended(begun: typing.Any) -> typing.Any:
    """The result of a call that was begun."""
    if type(begun) is not _a3s_lane._Pending:
        return begun
    try:
        return await begun.future
    except asyncio.CancelledError:
        # Waiting is not running: only the wait ends.
        begun.abandon()
        raise


def _missed(pending: _a3s_lane._Pending) -> typing.Any:
    """The result of a call that came together with the end of the wait; `None` when there is none."""
    future = pending.future
    if future.done() and not future.cancelled():
        return None if future.exception() is not None else future.result()
    return pending.leave()


async def enqueue(
    lane: _a3s_lane.Lane, lane_id: str, command_type: str, payload: object, options: _Options
) -> _a3s_lane.CommandHandle:
    begun = _a3s_lane._begin_enqueue(lane, lane_id, command_type, payload, options)
    if type(begun) is _a3s_lane._Pending:
        pending = begun
        try:
            begun = await pending.future
        except asyncio.CancelledError:
            submitted = _missed(pending)
            if submitted is not None:
                submitted.cancel()
            raise
    return typing.cast("_a3s_lane.CommandHandle", begun)


async def submit_child(
    context: _a3s_lane.CommandContext, lane_id: str, command_type: str, payload: object, options: _Options
) -> typing.Any:
    return await _ended(context._begin_child(lane_id, command_type, payload, options))


async def next_item(stream: typing.Any) -> typing.Any:
    """The next item of a stream; none is lost when the wait is cancelled."""
    item = stream._begin_next()
    if type(item) is _a3s_lane._Pending:
        pending = item
        try:
            item = await pending.future
        except asyncio.CancelledError:
            missed = _missed(pending)
            if missed is not None and missed is not StopAsyncIteration:
                stream._put_back(missed)
            raise
    if item is StopAsyncIteration:
        raise StopAsyncIteration
    return item


async def drain(lane: _a3s_lane.Lane, timeout_secs: float) -> None:
    await _ended(_a3s_lane._begin_drain(lane, timeout_secs))
    _a3s_lane._end_of_work(lane)


async def shutdown_within(lane: _a3s_lane.Lane, secs: float) -> _a3s_lane.ShutdownReport:
    report: _a3s_lane.ShutdownReport = await _ended(_a3s_lane._begin_shutdown(lane, secs))
    _a3s_lane._end_of_work(lane)
    return report


async def close(lane: _a3s_lane.Lane) -> None:
    await _ended(_a3s_lane._begin_close(lane))
    _a3s_lane._end_of_work(lane)


async def call(
    begin: collections.abc.Callable[..., typing.Any], /, *arguments: object, **keywords: object
) -> typing.Any:
    """What `begin` begins."""
    return await _ended(begin(*arguments, **keywords))


async def enter(lane: _a3s_lane.Lane) -> _a3s_lane.Lane:
    await _ended(_a3s_lane._begin_enter(lane))
    return lane


async def exit(
    lane: _a3s_lane.Lane, is_foreign: bool, is_stored: bool, exc_type: object, limit_secs: float
) -> None:
    # A child of fork leaves the block of its parent; the lanes are not its to end.
    if is_foreign:
        return
    lane.shutdown()
    try:
        if exc_type is None:
            await drain(lane, limit_secs)
    finally:
        if is_stored:
            # What still runs would count as crashed when the process ends.
            await close(lane)


def await_result(handle: _a3s_lane.CommandHandle) -> collections.abc.Generator[typing.Any, None, typing.Any]:
    begun = handle._begin_result()
    if type(begun) is not _a3s_lane._Pending:
        return begun
    try:
        return (yield from begun.future.__await__())
    except BaseException:
        # Waiting is not running: only the wait ends.
        begun.abandon()
        raise


if sys.version_info >= (3, 12):
    # Looked up once.
    _Task = asyncio.Task

    def start(
        loop: asyncio.AbstractEventLoop,
        variables: contextvars.Context | None,
        function: collections.abc.Callable[..., _Coroutine],
        payload: object,
        context: _a3s_lane.CommandContext | None = None,
    ) -> typing.Any:
        """Calls a handler, in a copy of `variables`. Returns its result when it has one at once, and else its task.

        The task runs up to its first wait before it is returned.
        """
        task = _Task(
            function(payload) if context is None else function(payload, context),
            loop=loop,
            context=None if variables is None else variables.copy(),
            eager_start=True,
        )
        return task.result() if task.done() else task

else:

    def start(
        loop: asyncio.AbstractEventLoop,
        variables: contextvars.Context | None,
        function: collections.abc.Callable[..., _Coroutine],
        payload: object,
        context: _a3s_lane.CommandContext | None = None,
    ) -> typing.Any:
        """Calls a handler, in a copy of `variables`. Returns its task."""
        coroutine = function(payload) if context is None else function(payload, context)
        if variables is None:
            return loop.create_task(coroutine)
        if sys.version_info >= (3, 11):
            return loop.create_task(coroutine, context=variables.copy())
        # The task copies the context in which it is made.
        return variables.copy().run(loop.create_task, coroutine)


async def _until_the_end(anchor: _a3s_lane._LoopAnchor) -> collections.abc.AsyncGenerator[None, None]:
    try:
        yield
    finally:
        anchor.end()


def watch_end(anchor: _a3s_lane._LoopAnchor) -> typing.Any:
    """Tells `anchor` when the loop that runs here ends: loops close the generators that were begun in them."""
    generator = _until_the_end(anchor)
    try:
        generator.__anext__().send(None)
    except StopIteration:
        pass
    return generator


def forget_end(generator: typing.Any) -> None:
    try:
        generator.aclose().send(None)
    except StopIteration:
        pass


def start_loop(anchor: _a3s_lane._LoopAnchor) -> None:
    """Gives `anchor` an event loop with a thread of its own."""
    if not _threads.start(functools.partial(_run_loop, anchor), "a3s-lane-loop", lambda: anchor.closed):
        anchor.end()


def _run_loop(anchor: _a3s_lane._LoopAnchor) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    def settle() -> None:
        try:
            anchor.settle(loop)
        except BaseException:
            anchor.end()
            loop.stop()
            raise

    loop.call_soon(settle)
    try:
        while not anchor.closed:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                # Raised by a handler; its attempt has failed of it.
                pass
        _cancel_all(loop)
        _complete(loop, loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        _complete(loop, asyncio.gather(*tasks, return_exceptions=True))


def _complete(loop: asyncio.AbstractEventLoop, awaitable: collections.abc.Awaitable[object]) -> None:
    """Runs the loop until that is done. That `anchor` stops it meanwhile, as it may when it has been closed, changes nothing."""
    future = asyncio.ensure_future(awaitable, loop=loop)
    future.add_done_callback(lambda _: loop.stop())
    while not future.done():
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            pass
    # Else an exception would be reported that nobody has asked for.
    if not future.cancelled():
        future.exception()
