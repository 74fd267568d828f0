"""`CommandHandle`: what a submitter holds of one command."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest

import a3s_lane
from a3s_lane import Chunk, CommandHandle, Lane
from a3s_lane.testing import enqueue_scripted
from conftest import LIMIT_SECS, Script, single, wait_until


def test_a_handle_before_start() -> None:
    queue = single()
    handle = queue.enqueue("one", "t", {"a": 1})
    assert (handle.lane_id, handle.status) == ("one", "pending")
    assert uuid.UUID(handle.id).version == 8
    with pytest.raises(TimeoutError, match="the command did not end within timeout_secs") as caught:
        handle.result(0)
    assert not isinstance(caught.value, a3s_lane.LaneError)
    queue.start()
    for _ in range(3):
        result = handle.result(LIMIT_SECS)
        assert result == {"a": 1}
        result["a"] = 2
    assert handle.status == "completed"
    assert handle.explain() is None


def test_repr() -> None:
    queue = single()
    handle = queue.enqueue("one", "t", id="it's")
    assert repr(handle) == "CommandHandle(id=\"it's\", lane_id='one', status='pending')"


def test_handles_are_equal_by_id_and_queue() -> None:
    first, second = single(), single()
    mine, other = first.enqueue("one", "t", id="x"), first.enqueue("one", "t", id="y")
    foreign = second.enqueue("one", "t", id="x")
    assert mine != other and mine != foreign
    assert mine != "x"
    with first:
        assert mine.result(LIMIT_SECS) is None
        again = first.enqueue("one", "t", id="x")
        assert again == mine and hash(again) == hash(mine)
        assert len({mine, again, other, foreign}) == 3


def test_many_threads_wait_for_one_result() -> None:
    queue = single()
    handle = queue.enqueue("one", "t", [1])
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(handle.result(LIMIT_SECS))) for _ in range(8)]
    for thread in threads:
        thread.start()
    queue.start()
    for thread in threads:
        thread.join(LIMIT_SECS)
    assert results == [[1]] * 8


def test_the_same_error_any_number_of_times() -> None:
    with single() as queue:
        handle = enqueue_scripted(queue, "one", "t", [[{"fail": "boom"}]])
        for _ in range(3):
            with pytest.raises(a3s_lane.CommandError, match="boom"):
                handle.result(LIMIT_SECS)
        assert handle.status == "failed"


def test_cancel() -> None:
    with single() as queue:
        running = enqueue_scripted(queue, "one", "t", [[{"sleep_ms": 600_000}]])
        waiting = queue.enqueue("one", "t")
        wait_until(lambda: running.status == "running")
        assert waiting.cancel() is True
        assert waiting.status == "cancelled"
        assert waiting.cancel() is False
        assert running.cancel() is True
        for handle in (running, waiting):
            with pytest.raises(a3s_lane.CommandCancelledError):
                handle.result(LIMIT_SECS)


def test_a_dropped_handle_does_not_cancel() -> None:
    queue = single()
    stream = queue.subscribe_filtered(["queue.command.completed"])
    queue.enqueue("one", "t")
    with queue:
        pass
    assert len(list(stream)) == 1


def test_a_dropped_lane_settles_its_handles() -> None:
    queue = single()
    handle = queue.enqueue("one", "t")
    del queue
    with pytest.raises(a3s_lane.QueueError):
        handle.result(LIMIT_SECS)
    assert handle.status == "failed"
    assert handle.cancel() is False
    assert handle.explain() is None


def test_explain() -> None:
    with single() as queue:
        running = enqueue_scripted(queue, "one", "t", [[{"sleep_ms": 600_000}]], id="r")
        wait_until(lambda: running.status == "running")
        waiting = queue.enqueue("one", "t", id="w")
        explanation = waiting.explain()
        assert explanation is not None
        assert isinstance(explanation.pop("age_secs"), float)
        assert explanation == {
            "command_id": "w",
            "lane_id": "one",
            "status": "pending",
            "attempts": 0,
            "reasons": [{"reason": "lane_full", "max": 1, "running": ["r"]}],
        }
        assert queue.explain("w") is not None
        assert queue.explain("nobody") is None
        found = running.explain()
        assert found is not None and (found["status"], found["attempts"], found["reasons"]) == ("running", 1, [])
        queue.cancel_lane("one")


def test_the_age_is_in_seconds() -> None:
    queue = single()
    handle = queue.enqueue("one", "t")

    def age() -> float:
        explanation = handle.explain()
        assert explanation is not None
        return float(explanation["age_secs"])

    before = age()
    assert before < LIMIT_SECS
    wait_until(lambda: age() > before + 0.05)


def test_chunks() -> None:
    with single(retry_policy=a3s_lane.RetryPolicy.fixed(1, 0)) as queue:
        script: Script = [[{"emit": "a"}, {"fail": "x"}], [{"emit": {"b": 1}}, {"emit": None}]]
        handle = enqueue_scripted(queue, "one", "t", script)
        for _ in range(2):
            chunks = list(handle.chunks())
            assert [(chunk.attempt, chunk.index, chunk.missed, chunk.value) for chunk in chunks] == [
                (1, 0, 0, "a"),
                (2, 1, 0, {"b": 1}),
                (2, 2, 0, None),
            ]
        assert chunks == list(handle.chunks())
        assert chunks[0] != chunks[1]
        assert repr(chunks[1]) == "Chunk(attempt=2, index=1, missed=0, value={'b': 1})"
        assert isinstance(chunks[0], Chunk)


def test_the_end_of_an_iteration_stays() -> None:
    with single() as queue:
        handle = enqueue_scripted(queue, "one", "t", [[{"emit": 1}, {"progress": 2}]])
        handle.result(LIMIT_SECS)
        for stream, expected in ((handle.chunks(), 1), (handle.progress(), 1)):
            assert iter(stream) is stream
            assert len(list(stream)) == expected
            assert list(stream) == []


def test_progress_is_the_newest_value() -> None:
    with single() as queue:
        handle = enqueue_scripted(queue, "one", "t", [[{"progress": 1}, {"progress": [2]}]])
        assert handle.result(LIMIT_SECS) is None
        assert list(handle.progress()) == [[2]]


def test_progress_comes_while_the_command_runs() -> None:
    with single() as queue:
        handle = enqueue_scripted(queue, "one", "t", [[{"progress": 1}, {"await_cancel": {}}]])
        progress, chunks = handle.progress(), handle.chunks()
        assert next(progress) == 1
        assert handle.status == "running"
        handle.cancel()
        assert list(progress) == []
        assert list(chunks) == []


def test_streams_outlive_handle_and_lane() -> None:
    queue = single()
    queue.start()
    handle = enqueue_scripted(queue, "one", "t", [[{"emit": 1}, {"sleep_ms": 600_000}]])
    chunks = handle.chunks()
    assert next(chunks).value == 1
    del handle, queue
    assert list(chunks) == []


@pytest.mark.parametrize("secs", [-1, "1", True])
def test_result_refuses_impossible_times(secs: Any) -> None:
    handle = single().enqueue("one", "t")
    with pytest.raises((TypeError, ValueError), match="timeout_secs must be a number of seconds"):
        handle.result(secs)


def test_a_handle_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        CommandHandle()


def test_an_enqueue_that_waits_lets_other_threads_run() -> None:
    queue = single(max_pending=1)
    config = a3s_lane.LaneConfig("one", 0, 1, 1, max_pending=1, overflow="wait")
    queue.set_lane(config)
    queue.enqueue("one", "first")
    handles: list[CommandHandle] = []
    thread = threading.Thread(target=lambda: handles.append(queue.enqueue("one", "second", 2)))
    thread.start()
    queue.start()
    thread.join(LIMIT_SECS)
    assert [handle.result(LIMIT_SECS) for handle in handles] == [2]


def test_the_default_lanes_have_handles_too(lane: Lane) -> None:
    assert lane.enqueue("query", "t", 1).result(LIMIT_SECS) == 1
