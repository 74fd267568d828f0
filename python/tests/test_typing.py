"""The type information: strict, and true to the compiled module."""

from __future__ import annotations

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
