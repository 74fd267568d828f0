"""The stub shows the same documentation as the compiled module: editors read the stub, `help` reads the module."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from a3s_lane import _a3s_lane

STUB = Path(inspect.getfile(_a3s_lane)).with_name("_a3s_lane.pyi")


def string_after(body: list[ast.stmt], index: int) -> str | None:
    """The text in the statement after `body[index]`: how a stub documents an attribute."""
    following = body[index + 1] if index + 1 < len(body) else None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        text = following.value.value
        return inspect.cleandoc(text) if isinstance(text, str) else None
    return None


def is_setter(node: ast.FunctionDef) -> bool:
    return any(isinstance(mark, ast.Attribute) and mark.attr == "setter" for mark in node.decorator_list)


def documented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """Each public name of the stub with its documentation."""
    for index, node in enumerate(body):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, ast.get_docstring(node)
            yield from documented(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not is_setter(node):
            yield prefix + node.name, ast.get_docstring(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and prefix:
            if not node.target.id.startswith("__"):
                yield prefix + node.target.id, string_after(body, index)


NAMES = dict(documented(ast.parse(STUB.read_text(encoding="utf-8")).body))


def test_the_stub_was_read() -> None:
    assert {"Lane.submit", "LaneConfig.priority", "EventStream", "submit_scripted"} <= NAMES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_the_same_in_stub_and_module(name: str) -> None:
    thing: object = _a3s_lane
    for part in name.split("."):
        thing = getattr(thing, part)
    assert NAMES[name] == inspect.getdoc(thing)
