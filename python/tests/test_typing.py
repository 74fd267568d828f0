"""The type information: strict, and true to the compiled module."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

pytest.importorskip("mypy", reason="mypy is not installed")


def run_module(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_package_and_tests_pass_mypy_strict(tmp_path: Path) -> None:
    run_module("mypy", "--strict", "--cache-dir", str(tmp_path), "python")


def test_stubs_match_the_compiled_module() -> None:
    run_module("mypy.stubtest", "a3s_lane")


def pyright(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def can_run_pyright() -> bool:
    if importlib.util.find_spec("pyright") is None:
        return False
    # It fetches itself when it is first used.
    return subprocess.run([sys.executable, "-m", "pyright", "--version"], capture_output=True, check=False).returncode == 0


def test_examples_pass_pyright_strict(tmp_path: Path) -> None:
    if not can_run_pyright():
        pytest.skip("pyright is not installed or cannot fetch itself")
    done = pyright(*(REPOSITORY / "python" / "tests" / "typing_examples").glob("*.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import a3s_lane\na3s_lane.Lane().submit(1)\n", encoding="utf-8")
    assert "wrong.py:2:" in pyright(wrong).stdout
