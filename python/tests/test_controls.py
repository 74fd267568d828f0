"""L21, continued: a method that does nothing is as bad as an option that is ignored.

Each public name of what a user holds has the test that fails when it does nothing, and each optional argument and each time the
test that fails when it is ignored. What the classes have at run time and what is listed here must be the same.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import threading
import types
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Union

import pytest

import a3s_lane
import test_alerts
import test_asyncio_calls
import test_asyncio_loops
import test_asyncio_streams
import test_config
import test_control
import test_dead_letters
import test_events
import test_handle
import test_handlers
import test_handlers_process
import test_handlers_stop
import test_lane
import test_metrics
import test_middleware
import test_options
import test_payload
import test_storage
import test_storage_close
import test_testing
import test_threads
from a3s_lane import (
    AlertManager,
    ChunkStream,
    CommandContext,
    CommandHandle,
    DeadLetterFilter,
    DeadLetters,
    EventStream,
    HandlerFunction,
    HistoryEntry,
    Lane,
    ProgressStream,
    Retention,
    RetryPolicy,
    ShutdownReport,
    SubmitOptions,
    testing,
)
from a3s_lane.testing import ManualClock, ScriptedResult, SubmissionLog
from conftest import LIMIT_SECS, single
from loops import Runner
from test_scenarios import scenarios

# A function, or a scenario with its file.
Test = Union[Callable[..., None], str]


def test_l21_options_of_calls_of_an_event_loop(run: Runner) -> None:
    async def main() -> None:
        async with single() as lane:
            lane.register_handler("t", lambda payload, ctx: [ctx.id, ctx.metadata])
            handle = await lane.enqueue_async("one", "t", id="mine", metadata={"a": 1})
            assert (handle.id, await handle) == ("mine", ["mine", {"a": 1}])

    run(main())


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_l21_options_of_children(kind: str) -> None:
    with single(max_concurrency=2) as lane:

        def parent(payload: Any, ctx: CommandContext) -> Any:
            one = ctx.submit_child("one", "t", 1, id="submitted", metadata={"a": 1})
            two = ctx.enqueue_child("one", "t", 2, id="enqueued", metadata={"b": 2})
            return [one, two.result(LIMIT_SECS)]

        async def async_parent(payload: Any, ctx: CommandContext) -> Any:
            one = await ctx.submit_child("one", "t", 1, id="submitted", metadata={"a": 1})
            two = ctx.enqueue_child("one", "t", 2, id="enqueued", metadata={"b": 2})
            return [one, await two]

        lane.register_handler("t", lambda payload, ctx: [payload, ctx.id, ctx.metadata])
        lane.register_handler("parent", parent if kind == "def" else async_parent)
        assert lane.submit("one", "parent") == [[1, "submitted", {"a": 1}], [2, "enqueued", {"b": 2}]]


@pytest.mark.parametrize("call", [Lane.shutdown_within_async, lambda *given: asyncio.to_thread(Lane.shutdown_within, *given)])
def test_l21_the_time_of_a_shutdown(run: Runner, call: Callable[[Lane, float], Awaitable[ShutdownReport]]) -> None:
    async def main() -> None:
        # One that nothing else ends, and one that ends soon.
        for secs, lasts, stopped in ((0, None, ["it"]), (LIMIT_SECS, 0.05, [])):
            lane = single()
            runs, go_on = threading.Event(), threading.Event()

            @lane.handler("t")
            def work(payload: Any, lasts: float | None = lasts) -> None:
                runs.set()
                go_on.wait(lasts)

            lane.start()
            handle = lane.enqueue("one", "t", id="it")
            await asyncio.to_thread(runs.wait)
            report = await call(lane, secs)
            go_on.set()
            assert [left.command_id for left in report.stopped] == stopped
            assert handle.status == ("failed" if stopped else "completed")

    run(main())


def test_l21_each_part_of_a_filter_of_the_history_counts(tmp_path: Path) -> None:
    async def main() -> None:
        async with Lane(storage=tmp_path, durability="relaxed", history=Retention()) as lane:
            await lane.submit_async("query", "t", id="a")
            between = datetime.now(timezone.utc)
            await lane.submit_async("skill", "t", id="b")
            entries = await lane.load_history_async()
            assert [(entry.command_id, entry.lane_id) for entry in entries] == [("a", "query")] * 2 + [("b", "skill")] * 2
            filters: list[tuple[dict[str, Any], list[HistoryEntry]]] = [
                ({"command_id": "b"}, entries[2:]),
                ({"lane_id": "query"}, entries[:2]),
                ({"since": between}, entries[2:]),
                ({"after": entries[0].number}, entries[1:]),
                ({"limit": 3}, entries[:3]),
            ]
            for filter, found in filters:
                assert await lane.load_history_async(**filter) == lane.load_history(**filter) == found, filter

    asyncio.run(main())


LANE: dict[str, Test] = {
    "with_lanes": test_lane.test_with_lanes_takes_any_iterable,
    "with_lanes.settings": test_lane.test_with_lanes_takes_dlq_size,
    "start": "lifecycle:work_waits_for_the_start",
    "submit": test_lane.test_submit_returns_the_payload,
    "submit.payload": test_payload.test_round_trip,
    "submit.options": test_options.test_submit_takes_options_too,
    "submit_async": test_asyncio_calls.test_options_of_submit_async_count,
    "submit_async.payload": test_asyncio_calls.test_nested_calls_of_handlers,
    "submit_async.options": test_asyncio_calls.test_options_of_submit_async_count,
    "enqueue": test_handle.test_a_handle_before_start,
    "enqueue.payload": test_options.test_none_is_the_default_where_there_is_one,
    "enqueue.options": test_options.test_run_at,
    "enqueue_async": test_asyncio_calls.test_enqueue_async_waits_for_room,
    "enqueue_async.payload": test_asyncio_calls.test_enqueue_async_waits_for_room,
    "enqueue_async.options": test_l21_options_of_calls_of_an_event_loop,
    "submit_many": test_options.test_submit_many_gives_a_handle_or_an_error_for_each,
    "cancel": "cancel:a_waiting_command_leaves_unrun",
    "cancel_lane": "cancel:a_whole_lane",
    "cancel_key": "cancel:a_whole_key",
    "pause_lane": "control:a_paused_lane_starts_nothing",
    "resume_lane": "control:a_paused_lane_starts_nothing",
    "pause_key": "keys:a_paused_key",
    "resume_key": "keys:a_paused_key",
    "set_lane": test_control.test_lanes_come_change_and_go,
    "remove_lane": "control:remove_lane",
    "set_max_concurrency": "control:set_max_concurrency",
    "set_limiter": "control:set_limiter",
    "explain": test_handle.test_explain,
    "find": test_storage.test_results_are_found_by_id,
    "find_async": test_storage.test_results_are_found_by_id,
    "unclaimed": test_storage.test_unclaimed_commands_wait_for_their_handler_and_lane,
    "unclaimed_async": test_storage.test_unclaimed_commands_wait_for_their_handler_and_lane,
    "load_history": test_storage.test_history_tells_what_happened,
    "load_history.command_id": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history.lane_id": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history.since": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history.after": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history.limit": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history_async": test_storage.test_history_tells_what_happened,
    "load_history_async.command_id": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history_async.lane_id": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history_async.since": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history_async.after": test_l21_each_part_of_a_filter_of_the_history_counts,
    "load_history_async.limit": test_l21_each_part_of_a_filter_of_the_history_counts,
    "dead_letters": test_dead_letters.test_a_letter_tells_all_about_its_command,
    "snapshot": test_control.test_snapshot,
    "subscribe": test_events.test_events_of_a_command_in_order,
    "subscribe_filtered": test_events.test_filtered_keys,
    "events": test_asyncio_streams.test_events_are_iterated,
    "events.keys": test_asyncio_streams.test_events_are_iterated,
    "stats": test_lane.test_max_concurrency_is_kept,
    "metrics": test_metrics.test_counts_and_times,
    "shutdown": test_lane.test_submit_after_shutdown,
    "shutdown_within": test_control.test_shutdown_within_reports_what_was_left,
    "shutdown_within.secs": test_l21_the_time_of_a_shutdown,
    "shutdown_within_async": test_l21_the_time_of_a_shutdown,
    "shutdown_within_async.secs": test_l21_the_time_of_a_shutdown,
    "close": test_storage_close.test_close_frees_the_directory_for_another_process,
    "close_async": test_storage_close.test_close_async,
    "drain": test_lane.test_drain_waits_for_the_work,
    "drain.timeout_secs": test_lane.test_drain_expiry_is_a_timeout_and_the_work_goes_on,
    "drain_async": test_asyncio_calls.test_drain_async,
    "drain_async.timeout_secs": test_asyncio_calls.test_drain_async,
    "handler": test_handlers.test_a_def_runs_on_a_thread_of_the_lane,
    "handler.executor": test_handlers_process.test_a_function_runs_in_another_process,
    "register_handler": test_handlers.test_the_newest_handler_of_a_type_runs,
    "register_handler.executor": test_handlers_process.test_l20_a_child_has_processes_of_its_own,
    "remove_handler": test_handlers.test_a_type_without_handler_returns_its_payload,
    "middleware": test_middleware.test_the_first_is_the_outermost,
    "__enter__": test_lane.test_context_manager_waits_on_normal_exit,
    "__exit__": test_lane.test_context_manager_waits_on_normal_exit,
    "__aenter__": test_asyncio_loops.test_l17_a_coroutine_runs_on_the_loop_of_async_with,
    "__aexit__": test_storage_close.test_the_end_of_a_block_frees_the_directory,
}

CONTEXT: dict[str, Test] = {
    "id": test_handlers.test_what_a_context_says,
    "command_type": test_middleware.test_it_knows_the_command,
    "lane_id": test_handlers.test_what_a_context_says,
    "attempt": test_storage.test_history_tells_what_happened,
    "time_left": test_handlers.test_what_a_context_says,
    "deadline": test_handlers.test_what_a_context_says,
    "metadata": test_handlers.test_what_a_context_says,
    "cancelled": test_handlers_stop.test_cancel,
    "stop_reason": test_handlers_stop.test_cancel,
    "check": test_handlers_stop.test_cancel,
    "progress": test_handlers.test_progress_and_chunks,
    "emit": test_handlers.test_progress_and_chunks,
    "heartbeat": test_handlers.test_a_heartbeat_counts,
    "settle_cost": test_handlers.test_costs_are_settled,
    "submit_child": test_handlers.test_l2_a_child_runs_in_the_slot_of_its_parent,
    "submit_child.payload": test_handlers.test_l2_a_child_runs_in_the_slot_of_its_parent,
    "submit_child.options": test_l21_options_of_children,
    "enqueue_child": test_handlers.test_children_by_handle,
    "enqueue_child.payload": test_handlers.test_children_by_handle,
    "enqueue_child.options": test_l21_options_of_children,
}

HANDLE: dict[str, Test] = {
    "id": "options:id",
    "lane_id": test_handle.test_a_handle_before_start,
    "status": "handles:status",
    "result": test_handle.test_a_handle_before_start,
    "result.timeout_secs": test_handle.test_a_handle_before_start,
    "cancel": test_handle.test_cancel,
    "explain": test_handle.test_explain,
    "progress": test_handle.test_progress_is_the_newest_value,
    "chunks": test_handle.test_chunks,
    "__await__": test_asyncio_calls.test_a_handle_can_be_awaited_any_number_of_times,
    "__aiter__": test_asyncio_streams.test_chunks_and_progress_are_iterated,
}

LETTERS: dict[str, Test] = {
    "list": test_dead_letters.test_each_part_of_a_filter_counts,
    "list.filter": test_dead_letters.test_each_part_of_a_filter_counts,
    "retry": test_dead_letters.test_retry,
    "retry.payload": test_dead_letters.test_retry,
    "retry_all": test_dead_letters.test_retry_all,
    "retry_all.filter": test_dead_letters.test_retry_all,
    "discard": test_dead_letters.test_each_part_of_a_filter_counts,
    "discard.filter": test_dead_letters.test_each_part_of_a_filter_counts,
    "export": test_dead_letters.test_each_part_of_a_filter_counts,
    "export.filter": test_dead_letters.test_each_part_of_a_filter_counts,
    "import_": test_dead_letters.test_import_keeps_what_was_exported,
    "list_async": test_dead_letters.test_on_an_event_loop,
    "list_async.filter": test_dead_letters.test_each_part_of_a_filter_counts,
    "retry_async": test_dead_letters.test_on_an_event_loop,
    "retry_async.payload": test_dead_letters.test_on_an_event_loop,
    "retry_all_async": test_dead_letters.test_on_an_event_loop,
    "retry_all_async.filter": test_dead_letters.test_on_an_event_loop,
    "discard_async": test_dead_letters.test_on_an_event_loop,
    "discard_async.filter": test_dead_letters.test_on_an_event_loop,
    "export_async": test_dead_letters.test_on_an_event_loop,
    "export_async.filter": test_dead_letters.test_each_part_of_a_filter_counts,
    "import_async": test_dead_letters.test_on_an_event_loop,
}

EVENTS: dict[str, Test] = {
    "recv": test_events.test_events_of_a_command_in_order,
    "recv.timeout_ms": test_events.test_recv_times_out,
    "missed": test_events.test_l35_a_slow_reader_learns_how_much_it_missed,
    "ended": test_events.test_close_ends_a_stream,
    "close": test_events.test_close_wakes_a_reader,
    "__iter__": test_events.test_l35_a_stream_ends_after_shutdown,
    "__next__": test_events.test_l35_a_stream_ends_after_shutdown,
    "__aiter__": test_asyncio_streams.test_events_are_iterated,
    "__anext__": test_asyncio_streams.test_events_are_iterated,
    "__enter__": test_events.test_close_ends_a_stream,
    "__exit__": test_events.test_close_ends_a_stream,
}

LIVE: dict[type[Any], dict[str, Test]] = {
    Lane: LANE,
    CommandContext: CONTEXT,
    CommandHandle: HANDLE,
    DeadLetters: LETTERS,
    EventStream: EVENTS,
    ProgressStream: {
        "__iter__": test_handle.test_the_end_of_an_iteration_stays,
        "__next__": test_handle.test_progress_comes_while_the_command_runs,
        "__aiter__": test_asyncio_streams.test_chunks_and_progress_are_iterated,
        "__anext__": test_asyncio_streams.test_chunks_and_progress_are_iterated,
    },
    ChunkStream: {
        "__iter__": test_handle.test_the_end_of_an_iteration_stays,
        "__next__": test_handle.test_chunks,
        "__aiter__": test_asyncio_streams.test_chunks_and_progress_are_iterated,
        "__anext__": test_asyncio_streams.test_chunks_and_progress_are_iterated,
    },
    AlertManager: {
        "add_callback": test_alerts.test_a_depth_is_told_when_its_level_rises,
        "queue_depth": test_alerts.test_thresholds_change_at_any_time,
        "latency_ms": test_alerts.test_thresholds_change_at_any_time,
    },
    HandlerFunction: {
        "submit": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
        "submit.payload": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
        "submit.options": test_handlers.test_what_a_context_says,
        "submit_async": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
        "submit_async.payload": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
        "submit_async.options": test_asyncio_calls.test_options_of_submit_async_count,
        "enqueue": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
        "enqueue.payload": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
        "enqueue.options": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
        "__call__": test_handlers.test_a_decorated_function_stays_callable_and_gains_calls,
    },
    RetryPolicy: {
        "exponential": test_config.test_retry_policies,
        "fixed": test_config.test_retry_policies,
        "fixed.delay_secs": test_config.test_retry_policies,
        "none": test_config.test_retry_policies,
        "delay_secs_for_attempt": test_config.test_retry_policy_attributes_and_repr,
        "max_retries": test_config.test_retry_policy_attributes_and_repr,
        "initial_delay_secs": test_config.test_retry_policy_attributes_and_repr,
        "max_delay_secs": test_config.test_retry_policy_attributes_and_repr,
        "multiplier": test_config.test_retry_policy_attributes_and_repr,
    },
    ManualClock: {
        "advance": test_testing.test_a_manual_clock_stands_still_until_it_is_moved,
        "advance.secs": test_testing.test_a_manual_clock_stands_still_until_it_is_moved,
        "elapsed_secs": test_testing.test_a_manual_clock_stands_still_until_it_is_moved,
    },
    ScriptedResult: {
        "result": test_lane.test_work_handed_in_before_start_runs_after_it,
        "result.timeout_secs": test_lane.test_scripted_result_expires_without_being_a_lane_error,
        "done": test_lane.test_work_handed_in_before_start_runs_after_it,
    },
    SubmissionLog: {
        "submitted": test_testing.test_a_submission_log_holds_what_was_accepted,
        "assert_submitted": test_testing.test_a_submission_log_says_what_is_different,
        "assert_not_submitted": test_testing.test_a_submission_log_says_what_is_different,
    },
}

FUNCTIONS: dict[types.ModuleType, dict[str, Test]] = {
    a3s_lane: {
        "inspect": test_storage_close.test_inspect,
        "inspect_async": test_storage_close.test_inspect,
    },
    testing: {
        "create_lane": test_testing.test_create_lane_takes_what_lane_takes,
        "create_lane.configs": test_testing.test_create_lane_takes_what_lane_takes,
        "create_lane.clock": test_testing.test_a_manual_clock_stands_still_until_it_is_moved,
        "create_lane.inline": test_testing.test_inline_has_run_what_was_submitted,
        "create_lane.submission_log": test_testing.test_a_submission_log_holds_what_was_accepted,
        "create_lane.settings": test_testing.test_create_lane_takes_what_lane_takes,
        "drain_now": test_testing.test_drain_now_runs_everything,
        "submit_scripted": test_lane.test_work_handed_in_before_start_runs_after_it,
        "enqueue_scripted": test_handle.test_chunks,
        "enqueue_scripted.options": test_handle.test_explain,
        "submit_many_scripted": "handles:submit_many",
    },
}

# What a class has for the language: `with`, `for`, `await` and calls.
PROTOCOLS = {f"__{name}__" for name in ("enter", "exit", "aenter", "aexit", "iter", "next", "aiter", "anext", "await", "call")}

# Arguments that many calls share, each in one place of the source.
SHARED = {
    "options": SubmitOptions.__annotations__.keys(),
    "filter": DeadLetterFilter.__annotations__.keys(),
    "settings": inspect.signature(Lane.with_lanes).parameters.keys() - {"configs"},
}


def arguments(call: Callable[..., Any]) -> set[str]:
    """Those that are optional, and times. A call that ignored one of the others would do nothing."""
    found = {
        name
        for name, parameter in inspect.signature(call).parameters.items()
        if name.endswith("_secs") or name == "secs" or parameter.default is not inspect.Parameter.empty
    }
    found |= {name for name, parameter in inspect.signature(call).parameters.items() if name == "options"}
    for name, group in SHARED.items():
        if found >= group:
            found = found - group | {name}
    return found


def controls(names: Mapping[str, Any]) -> set[str]:
    found = set()
    for name, value in names.items():
        if name.startswith("_") and name not in PROTOCOLS:
            continue
        found.add(name)
        if callable(value) and name not in PROTOCOLS:
            found |= {f"{name}.{argument}" for argument in arguments(value)}
    return found


def of_class(kind: type[Any]) -> dict[str, Any]:
    # `object` has none of these names.
    return {name: getattr(kind, name) for name in dir(kind)}


def exists(test: Test) -> None:
    if isinstance(test, str):
        assert test in {scenario.id for scenario in scenarios()}
    else:
        assert test.__name__.startswith("test_")


@pytest.mark.parametrize("kind", LIVE)
def test_l21_every_control_has_a_test(kind: type[Any]) -> None:
    assert controls(of_class(kind)) == LIVE[kind].keys()
    for test in LIVE[kind].values():
        exists(test)


@pytest.mark.parametrize("module", FUNCTIONS)
def test_l21_every_function_has_a_test(module: types.ModuleType) -> None:
    functions = {name: getattr(module, name) for name in module.__all__ if inspect.isroutine(getattr(module, name))}
    assert controls(functions) == FUNCTIONS[module].keys()
    for test in FUNCTIONS[module].values():
        exists(test)


def test_l21_every_live_class_is_listed() -> None:
    every = [getattr(module, name) for module in FUNCTIONS for name in module.__all__]
    kinds = [kind for kind in every if isinstance(kind, type) and not issubclass(kind, (Exception, dict, enum.Enum))]
    # The others have attributes alone: they only tell something.
    live = {kind for kind in kinds if any(callable(getattr(kind, name, None)) for name in controls(of_class(kind)))}
    assert live == LIVE.keys()
