"""The tree of exceptions."""

from __future__ import annotations

import copy
import pickle

import pytest

import a3s_lane
from a3s_lane import Lane, LaneError, errors
from a3s_lane.testing import submit_scripted
from conftest import LIMIT_SECS

CODES = {
    "LANE_NOT_FOUND": a3s_lane.LaneNotFoundError,
    "QUEUE_ERROR": a3s_lane.QueueError,
    "CONFIG_ERROR": a3s_lane.ConfigError,
    "COMMAND_ERROR": a3s_lane.CommandError,
    "TIMEOUT": a3s_lane.LaneTimeoutError,
    "SHUTDOWN_IN_PROGRESS": a3s_lane.ShutdownInProgressError,
    "JOB_NOT_FOUND": a3s_lane.JobNotFoundError,
    "JOB_STATE_CONFLICT": a3s_lane.JobStateConflictError,
    "JOB_LEASE_CONFLICT": a3s_lane.JobLeaseConflictError,
    "UNRECOVERABLE": a3s_lane.UnrecoverableError,
    "PANICKED": a3s_lane.PanickedError,
    "CANCELLED": a3s_lane.CommandCancelledError,
    "EXPIRED": a3s_lane.ExpiredError,
    "LANE_FULL": a3s_lane.LaneFullError,
    "NOT_STARTED": a3s_lane.NotStartedError,
    "STORAGE_ERROR": a3s_lane.StorageError,
    "STALLED": a3s_lane.StalledError,
    "DUPLICATE": a3s_lane.DuplicateError,
    "COMMAND_NOT_FOUND": a3s_lane.CommandNotFoundError,
    "LIMITER_NOT_FOUND": a3s_lane.LimiterNotFoundError,
    "CRASHED": a3s_lane.CrashedError,
    "WOULD_BLOCK": a3s_lane.WouldBlockError,
    "OTHER": a3s_lane.OtherError,
}


@pytest.mark.parametrize(("code", "expected"), CODES.items())
def test_each_code_has_its_class(code: str, expected: type[LaneError]) -> None:
    error = errors._for_code(code, "text")
    assert type(error) is expected
    assert (error.code, str(error)) == (code, "text")
    assert isinstance(error, LaneError)
    assert isinstance(error, RuntimeError), "0.4 raised RuntimeError for everything"


def test_every_class_is_exported_and_has_a_code_of_its_own() -> None:
    exported = {name for name in errors.__all__ if name not in ("LaneError", "Unrecoverable")}
    assert exported == {error.__name__ for error in CODES.values()}
    assert exported <= set(a3s_lane.__all__)
    own = {error.__name__ for error in LaneError.__subclasses__() if error.__module__ == errors.__name__}
    assert own == exported
    assert errors.Unrecoverable is errors.UnrecoverableError


def test_an_unknown_code_is_kept() -> None:
    error = errors._for_code("BRAND_NEW", "text")
    assert type(error) is LaneError
    assert error.code == "BRAND_NEW"
    assert LaneError.code == "LANE_ERROR"


@pytest.mark.parametrize("code", [*CODES, "BRAND_NEW"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_and_copy_keep_class_code_and_text(code: str, protocol: int) -> None:
    error = errors._for_code(code, "text")
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (twin.code, str(twin), twin.args) == (code, "text", ("text",))


def test_standard_bases() -> None:
    assert issubclass(a3s_lane.LaneTimeoutError, TimeoutError)
    assert issubclass(a3s_lane.StalledError, TimeoutError)
    assert issubclass(a3s_lane.ConfigError, ValueError)


@pytest.mark.parametrize(
    ("step", "expected", "text"),
    [
        ({"fail": "boom"}, a3s_lane.CommandError, "Command execution error: boom"),
        ({"panic": "boom"}, a3s_lane.PanickedError, "Command panicked: boom"),
    ],
)
def test_errors_of_commands(lane: Lane, step: dict[str, str], expected: type[LaneError], text: str) -> None:
    result = submit_scripted(lane, "query", "t", [[step]])
    for _ in range(2):
        with pytest.raises(expected) as caught:
            result.result(LIMIT_SECS)
        assert str(caught.value) == text


def test_a_panic_frees_its_slot() -> None:
    config = a3s_lane.LaneConfig("one", 0, 1, 1)
    with Lane.with_lanes([config]) as lane:
        for _ in range(3):
            with pytest.raises(a3s_lane.PanickedError):
                submit_scripted(lane, "one", "t", [[{"panic": "boom"}]]).result(LIMIT_SECS)
        assert lane.submit("one", "t", 1) == 1
