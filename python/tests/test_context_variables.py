"""Context variables travel from whoever submits to the handler, and so does the context of OpenTelemetry."""

from __future__ import annotations

import asyncio
import contextvars
import importlib.util
from typing import Any

import pytest

from a3s_lane import CommandContext, Lane
from conftest import LIMIT_SECS

USER: contextvars.ContextVar[str] = contextvars.ContextVar("USER", default="nobody")


def lane_that_tells() -> Lane:
    lane = Lane()

    @lane.handler("d")
    def d(payload: object) -> str:
        return USER.get()

    @lane.handler("a")
    async def a(payload: object) -> str:
        await asyncio.sleep(0)
        return USER.get()

    @lane.handler("parent")
    def parent(payload: object, ctx: CommandContext) -> Any:
        USER.set(USER.get() + "'s child")
        return ctx.submit_child("query", "a")

    return lane


def within(user: str, call: Any) -> Any:
    context = contextvars.copy_context()
    context.run(USER.set, user)
    return context.run(call)


@pytest.mark.parametrize("kind", ["d", "a"])
def test_from_every_call_that_submits(kind: str) -> None:
    with lane_that_tells() as lane:
        assert within("ann", lambda: lane.submit("query", kind)) == "ann"
        assert within("bob", lambda: lane.enqueue("query", kind)).result(LIMIT_SECS) == "bob"
        (handle,) = within("eve", lambda: lane.submit_many("query", [(kind,)]))
        assert handle.result(LIMIT_SECS) == "eve"
        assert lane.submit("query", kind) == "nobody"
        assert within("ann", lambda: lane.submit("query", "parent")) == "ann's child"


def test_from_tasks_that_share_a_loop() -> None:
    lane = lane_that_tells()

    async def ask(user: str) -> tuple[str, Any, Any]:
        USER.set(user)
        return user, await lane.submit_async("query", "a"), await lane.submit_async("query", "d")

    async def main() -> None:
        async with lane:
            for user, *answers in await asyncio.gather(*(ask(f"user-{number}") for number in range(20))):
                assert answers == [user, user]

    asyncio.run(main())


def test_middleware_and_handler_share_them() -> None:
    lane = lane_that_tells()

    @lane.middleware
    def d(payload: object, ctx: CommandContext, next: Any) -> Any:
        USER.set(USER.get() + "!")
        return next(payload)

    @lane.middleware
    async def a(payload: object, ctx: CommandContext, next: Any) -> Any:
        USER.set(USER.get() + "!")
        return await next(payload)

    with lane:
        for kind in "ad":
            assert within("ann", lambda kind=kind: lane.submit("query", kind)) == "ann!"
    assert USER.get() == "nobody"


@pytest.mark.skipif(importlib.util.find_spec("opentelemetry") is None, reason="opentelemetry-sdk is not installed")
@pytest.mark.parametrize("kind", ["d", "a"])
def test_spans_of_handlers_are_children_of_the_submitter(kind: str) -> None:
    from opentelemetry import baggage, context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    lane = Lane()

    @lane.handler("d")
    def d(payload: object) -> object:
        with tracer.start_as_current_span("handler"):
            return baggage.get_baggage("tenant")

    @lane.handler("a")
    async def a(payload: object) -> object:
        with tracer.start_as_current_span("handler"):
            await asyncio.sleep(0)
            return baggage.get_baggage("tenant")

    with lane, tracer.start_as_current_span("request") as request:
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        assert lane.submit("query", kind) == "acme"
        context.detach(token)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    parent = spans["handler"].parent
    assert parent is not None and parent.span_id == request.get_span_context().span_id
    assert spans["handler"].context.trace_id == request.get_span_context().trace_id
