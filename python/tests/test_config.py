"""`LaneConfig` and `RetryPolicy`: values, limits, and errors that name the field."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

from a3s_lane import Lane, LaneConfig, RetryPolicy
from conftest import single


def test_defaults() -> None:
    config = LaneConfig("api", 3)
    assert (config.lane_id, config.priority) == ("api", 3)
    assert (config.min_concurrency, config.max_concurrency) == (1, 10)
    assert (config.timeout_secs, config.pressure_threshold, config.retry_policy) == (None, None, None)


def test_positional_and_keyword_arguments() -> None:
    policy = RetryPolicy.exponential(3)
    config = LaneConfig("api", 3, 2, 4, 30, 7, retry_policy=policy)
    assert config == LaneConfig(
        lane_id="api",
        priority=3,
        min_concurrency=2,
        max_concurrency=4,
        timeout_secs=30.0,
        pressure_threshold=7,
        retry_policy=policy,
    )
    assert config != LaneConfig("api", 3, 2, 4, 30, 8, retry_policy=policy)
    with pytest.raises(TypeError):
        hash(config)


def test_repr() -> None:
    assert repr(LaneConfig("api", 3, 2, 4)) == "LaneConfig(lane_id='api', priority=3, min=2, max=4)"


def test_attributes_can_be_changed() -> None:
    config = LaneConfig("api", 3)
    config.lane_id = "web"
    config.priority = 255
    config.min_concurrency = 0
    config.max_concurrency = 1
    config.timeout_secs = 1.5
    config.pressure_threshold = 9
    config.retry_policy = RetryPolicy.none()
    assert config == LaneConfig("web", 255, 0, 1, 1.5, 9, retry_policy=RetryPolicy.none())
    config.timeout_secs = None
    config.pressure_threshold = None
    config.retry_policy = None
    assert config == LaneConfig("web", 255, 0, 1)


def test_timeout_is_an_int_when_whole() -> None:
    assert repr(LaneConfig("api", 0, timeout_secs=30.0).timeout_secs) == "30"
    assert repr(LaneConfig("api", 0, timeout_secs=0.25).timeout_secs) == "0.25"


# Field, bad value, error, what its text must hold.
REFUSED: list[tuple[str, Any, type[Exception], str]] = [
    ("priority", 256, ValueError, "priority must be an int from 0 to 255, got 256"),
    ("priority", -1, ValueError, "priority must be an int from 0 to 255, got -1"),
    ("priority", 10**30, ValueError, "priority must be an int from 0 to 255"),
    ("priority", True, TypeError, "priority must be an int from 0 to 255, not bool"),
    ("priority", 1.0, TypeError, "priority must be an int from 0 to 255, not float"),
    ("priority", math.nan, TypeError, "priority must be an int from 0 to 255, not float"),
    ("priority", "1", TypeError, "priority must be an int from 0 to 255, not str"),
    ("priority", None, TypeError, "priority must be an int from 0 to 255, not NoneType"),
    ("min_concurrency", -1, ValueError, "min_concurrency must be an int from 0 to 4294967295, got -1"),
    ("min_concurrency", True, TypeError, "min_concurrency must be an int from 0 to 4294967295, not bool"),
    ("min_concurrency", None, TypeError, "min_concurrency must be an int"),
    ("max_concurrency", 0, ValueError, "max_concurrency must be an int from 1 to 4294967295, got 0"),
    ("max_concurrency", 2**32, ValueError, "max_concurrency must be an int from 1 to 4294967295"),
    ("max_concurrency", 2**64, ValueError, "max_concurrency must be an int from 1 to 4294967295"),
    ("max_concurrency", 2.5, TypeError, "max_concurrency must be an int from 1 to 4294967295, not float"),
    ("max_concurrency", None, TypeError, "max_concurrency must be an int"),
    ("timeout_secs", -1, ValueError, "timeout_secs must be a number of seconds from 0 to 10000000000, got -1"),
    ("timeout_secs", 0, ValueError, "timeout_secs must be above 0"),
    ("timeout_secs", math.nan, ValueError, "timeout_secs must be a number of seconds from 0 to 10000000000, got nan"),
    ("timeout_secs", math.inf, ValueError, "timeout_secs must be a number of seconds from 0 to 10000000000, got inf"),
    ("timeout_secs", 1e300, ValueError, "timeout_secs must be a number of seconds"),
    ("timeout_secs", 10**400, ValueError, "timeout_secs must be a number of seconds"),
    ("timeout_secs", True, TypeError, "timeout_secs must be a number of seconds from 0 to 10000000000, not bool"),
    ("timeout_secs", "30", TypeError, "timeout_secs must be a number of seconds from 0 to 10000000000, not str"),
    ("pressure_threshold", 0, ValueError, "pressure_threshold must be an int from 1 to 4294967295, got 0"),
    ("pressure_threshold", 1.5, TypeError, "pressure_threshold must be an int from 1 to 4294967295, not float"),
    ("lane_id", "", ValueError, "lane_id must not be empty"),
    ("lane_id", b"api", TypeError, "lane_id must be a str, not bytes"),
    ("retry_policy", 3, TypeError, "retry_policy must be a RetryPolicy or None, not int"),
]


@pytest.mark.parametrize(("field", "value", "error", "text"), REFUSED)
def test_l29_bad_settings_are_refused_by_name(field: str, value: Any, error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"lane_id": "api", "priority": 0, field: value}
    with pytest.raises(error) as caught:
        LaneConfig(**arguments)
    assert text in str(caught.value)

    config = LaneConfig("api", 0)
    with pytest.raises(error) as caught:
        setattr(config, field, value)
    assert text in str(caught.value)
    assert config == LaneConfig("api", 0), "a refused value must not stick"


@pytest.mark.parametrize("field", ["priority", "max_concurrency", "timeout_secs"])
def test_attributes_cannot_be_deleted(field: str) -> None:
    with pytest.raises((AttributeError, TypeError)):
        delattr(LaneConfig("api", 0), field)


@pytest.mark.parametrize(
    "settings",
    [
        LaneConfig("api", 0),
        LaneConfig("api", 3, 2, 4, 1.5, 7, retry_policy=RetryPolicy.fixed(2, 0.25)),
        RetryPolicy.exponential(5),
        RetryPolicy.none(),
    ],
    ids=repr,
)
def test_pickle_and_copy(settings: LaneConfig | RetryPolicy) -> None:
    for twin in (pickle.loads(pickle.dumps(settings)), copy.copy(settings), copy.deepcopy(settings)):
        assert twin == settings
        assert twin is not settings


class Index:
    """Like the integers of numpy: no `int`, but exact."""

    def __index__(self) -> int:
        return 7


def test_exact_integers_of_other_types_are_accepted() -> None:
    assert LaneConfig("api", Index()).priority == 7  # type: ignore[arg-type]


# `threading.TIMEOUT_MAX` is what programs use for "as long as possible".
@pytest.mark.parametrize("secs", [9223372036.0, 1e10])
def test_very_long_times_are_accepted(secs: float) -> None:
    with single(timeout_secs=secs) as lane:
        assert lane.submit("one", "t", 1) == 1
        lane.drain(secs)


@pytest.mark.parametrize("secs", [-1, -0.001, math.nan, math.inf, -math.inf, 1e300, 10**400])
def test_l29_drain_refuses_impossible_times(lane: Lane, secs: float) -> None:
    with pytest.raises(ValueError, match="timeout_secs must be a number of seconds from 0 to 10000000000"):
        lane.drain(secs)


@pytest.mark.parametrize("secs", ["1", None, True, []])
def test_l29_drain_refuses_other_types(lane: Lane, secs: Any) -> None:
    with pytest.raises(TypeError, match="timeout_secs must be a number of seconds from 0 to 10000000000, not"):
        lane.drain(secs)


def test_retry_policies() -> None:
    assert RetryPolicy.exponential(3) == RetryPolicy(
        max_retries=3, initial_delay_secs=0.1, max_delay_secs=30.0, multiplier=2.0
    )
    assert RetryPolicy.exponential(3) == RetryPolicy(max_retries=3)
    assert RetryPolicy.fixed(2, 0.5) == RetryPolicy(
        max_retries=2, initial_delay_secs=0.5, max_delay_secs=0.5, multiplier=1
    )
    assert RetryPolicy.none().max_retries == 0
    assert RetryPolicy.exponential(3) != RetryPolicy.exponential(4)
    with pytest.raises(TypeError):
        hash(RetryPolicy.none())


def test_retry_policy_attributes_and_repr() -> None:
    policy = RetryPolicy(max_retries=3, initial_delay_secs=1, max_delay_secs=5, multiplier=2)
    assert (policy.max_retries, policy.initial_delay_secs, policy.max_delay_secs, policy.multiplier) == (3, 1, 5, 2)
    assert (
        repr(policy) == "RetryPolicy(max_retries=3, initial_delay_secs=1.0, max_delay_secs=5.0, multiplier=2.0)"
    )
    assert eval(repr(policy)) == policy
    assert [policy.delay_secs_for_attempt(attempt) for attempt in range(5)] == [0.0, 1.0, 2.0, 4.0, 5.0]
    with pytest.raises(AttributeError):
        policy.max_retries = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_retries": -1}, ValueError, "max_retries must be an int from 0 to 4294967295, got -1"),
        ({"max_retries": True}, TypeError, "max_retries must be an int from 0 to 4294967295, not bool"),
        ({"max_retries": 1, "initial_delay_secs": -1}, ValueError, "initial_delay_secs must be a number of seconds"),
        ({"max_retries": 1, "max_delay_secs": math.nan}, ValueError, "max_delay_secs must be a number of seconds"),
        ({"max_retries": 1, "multiplier": math.inf}, ValueError, "multiplier must be a finite number of at least 0"),
        ({"max_retries": 1, "multiplier": -1}, ValueError, "multiplier must be a finite number of at least 0, got -1"),
        ({"max_retries": 1, "multiplier": "2"}, TypeError, "multiplier must be a finite number of at least 0, not str"),
        (
            {"max_retries": 1, "initial_delay_secs": 60},
            ValueError,
            "max_delay_secs must be at least initial_delay_secs, got 30 and 60",
        ),
    ],
)
def test_retry_policy_refuses(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        RetryPolicy(**arguments)
    assert text in str(caught.value)


def test_retry_policy_constructors_check_too() -> None:
    with pytest.raises(ValueError, match="max_retries"):
        RetryPolicy.exponential(-1)
    with pytest.raises(ValueError, match="delay_secs"):
        RetryPolicy.fixed(1, -1)
    with pytest.raises(TypeError):
        RetryPolicy(3)  # type: ignore
