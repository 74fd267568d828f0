"""What the installed package looks like."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import a3s_lane
from conftest import REPOSITORY, run_python


def test_l22_importable_under_its_documented_name(tmp_path: Path) -> None:
    # From an empty directory, so that nothing but the installation can be found.
    script = "import a3s_lane; from a3s_lane import Lane, LaneConfig; print(a3s_lane.__name__, a3s_lane.__version__)"
    version = importlib.metadata.version("a3s-lane")
    assert run_python(script, cwd=tmp_path) == f"a3s_lane {version}\n"


def test_version_is_the_version_of_the_workspace() -> None:
    manifest = REPOSITORY / "Cargo.toml"
    found = re.search(r'^version = "(.+)"$', manifest.read_text(encoding="utf-8"), re.MULTILINE)
    assert found and a3s_lane.__version__ == found[1]


def test_the_package_says_that_it_is_typed() -> None:
    package = Path(inspect.getfile(a3s_lane)).parent
    assert (package / "py.typed").is_file()
    assert (package / "_a3s_lane.pyi").is_file()


def public_things() -> list[tuple[str, object]]:
    things: list[tuple[str, object]] = []
    for name in a3s_lane.__all__:
        thing = getattr(a3s_lane, name)
        if not inspect.isclass(thing):
            continue
        things.append((name, thing))
        if issubclass(thing, BaseException):
            continue
        for member, value in vars(thing).items():
            if not member.startswith("_"):
                things.append((f"{name}.{member}", value))
    return things


@pytest.mark.parametrize(("name", "thing"), public_things(), ids=[name for name, _ in public_things()])
def test_everything_public_has_a_docstring(name: str, thing: object) -> None:
    assert inspect.getdoc(thing), name


OPTIONS = (
    "id=None, priority=0, delay_secs=None, run_at=None, ttl_secs=None, timeout_secs=None, no_timeout=False, "
    "progress_timeout_secs=None, retry_policy=None, jitter=None, key=None, unique=None, cost=1, metadata=None, "
    "preemptible=True"
)


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (a3s_lane.Lane.submit, f"(self, /, lane_id, command_type, payload=None, *, {OPTIONS})"),
        (a3s_lane.Lane.enqueue, f"(self, /, lane_id, command_type, payload=None, *, {OPTIONS})"),
        (a3s_lane.Lane.drain, "(self, /, timeout_secs)"),
        (a3s_lane.EventStream.recv, "(self, /, timeout_ms=None)"),
        pytest.param(
            a3s_lane.LaneConfig,
            "(lane_id, priority, min_concurrency=1, max_concurrency=10, timeout_secs=None, "
            "pressure_threshold=None, *, retry_policy=None, max_pending=None, overflow='reject', preemptible=False, "
            "grace_secs=0, progress_timeout_secs=None, max_concurrency_per_key=None, key_weights=None, "
            "retry_jitter='none', rate_limit=None, burst=None, priority_boost=None, limiters=())",
            marks=pytest.mark.skipif(sys.version_info < (3, 10), reason="3.9 shows no signature of such classes"),
        ),
    ],
)
def test_signatures_are_visible(function: object, signature: str) -> None:
    assert str(inspect.signature(function)) == signature  # type: ignore[arg-type]


def keywords(function: Any) -> dict[str, Any]:
    """The keyword-only arguments with their defaults, as the signature shows them."""
    parameters = inspect.signature(function).parameters.values()
    return {item.name: item.default for item in parameters if item.kind is item.KEYWORD_ONLY}


def test_what_the_signature_shows_is_what_is_accepted() -> None:
    # The compiled module reads these by name.
    lane = a3s_lane.Lane()
    lane.enqueue("query", "t", **keywords(lane.enqueue))
    assert keywords(lane.submit) == keywords(lane.enqueue)
    assert keywords(lane.enqueue).keys() == a3s_lane.SubmitOptions.__annotations__.keys()


@pytest.mark.skipif(sys.version_info < (3, 10), reason="3.9 shows no signature of such classes")
def test_what_the_signature_of_lane_config_shows_is_what_is_accepted() -> None:
    config = a3s_lane.LaneConfig("api", 0, **keywords(a3s_lane.LaneConfig))
    assert config == a3s_lane.LaneConfig("api", 0)


CLASSES = [thing for _, thing in public_things() if inspect.isclass(thing) and not issubclass(thing, BaseException)]


@pytest.mark.parametrize("thing", CLASSES)
def test_classes_live_in_a3s_lane(thing: type) -> None:
    assert thing.__module__ in ("a3s_lane", "a3s_lane.options")
