"""What the installed package looks like."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (a3s_lane.Lane.submit, "(self, /, lane_id, command_type, payload=None)"),
        (a3s_lane.Lane.drain, "(self, /, timeout_secs)"),
        (a3s_lane.EventStream.recv, "(self, /, timeout_ms=None)"),
        pytest.param(
            a3s_lane.LaneConfig,
            "(lane_id, priority, min_concurrency=1, max_concurrency=10, timeout_secs=None, "
            "pressure_threshold=None, *, retry_policy=None)",
            marks=pytest.mark.skipif(sys.version_info < (3, 10), reason="3.9 shows no signature of such classes"),
        ),
    ],
)
def test_signatures_are_visible(function: object, signature: str) -> None:
    assert str(inspect.signature(function)) == signature  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Lane", "LaneConfig", "LaneEvent", "EventStream", "LaneStatus", "QueueStats"])
def test_classes_live_in_a3s_lane(name: str) -> None:
    assert getattr(a3s_lane, name).__module__ == "a3s_lane"
