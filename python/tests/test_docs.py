"""Every Python example of the documentation runs, each in an interpreter of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY, run_python

DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "docs" / "python.md",
    REPOSITORY / "docs" / "python-handlers.md",
    REPOSITORY / "docs" / "python-recipes.md",
    REPOSITORY / "docs" / "python-storage.md",
]
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[Any]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in EXAMPLE.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            found.append(pytest.param(line, match[1], id=f"{document.name}:{line}"))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_each_document_has_examples(document: Path) -> None:
    assert EXAMPLE.search(document.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("line", "source"), examples())
def test_example(line: int, source: str, tmp_path: Path) -> None:
    if "fastapi" in source:
        pytest.importorskip("fastapi")
    # Blank lines before it, so that a failure names the line of the document.
    run_python("\n" * (line - 1) + source, cwd=tmp_path)
