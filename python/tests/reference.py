"""Writes docs/python-reference.md from the stubs and docstrings: ``python python/tests/reference.py``."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Union

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "python" / "a3s_lane"
PAGE = REPOSITORY / "docs" / "python-reference.md"

HEAD = """\
# API reference for Python

Made from the docstrings by `python python/tests/reference.py`; the tests compare. The guides are [a3s-lane for Python](python.md),
[handlers and asyncio](python-handlers.md), [storage](python-storage.md) and [recipes](python-recipes.md).

"""

# Where definitions are, and the words before each part of the page.
SOURCES = ["_a3s_lane.pyi", "_handler_function.pyi", "_metrics.py", "_stored.py", "options.py", "errors.py", "pytest_plugin.py"]
PARTS = {
    "__init__.py": "## `a3s_lane`\n\n",
    "testing.py": "## `a3s_lane.testing`\n\n",
    "pytest_plugin.py": "## Fixtures of pytest\n\n",
}

Definition = Union[ast.ClassDef, ast.FunctionDef]


def parsed(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


def definitions() -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for source in SOURCES:
        for node in parsed(source).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found.setdefault(node.name, node)
    return found


def public_names(module: str) -> list[str]:
    for node in parsed(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    raise AssertionError(f"{module} has no __all__")


def markdown(text: str | None) -> str:
    """A docstring in reST as Markdown."""
    if not text:
        return ""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", inspect.cleandoc(text))
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("::\n", ":\n") + "\n\n"


def table_of(keywords: set[str]) -> str | None:
    """The class that names these keywords, where there is one."""
    tables = ("SubmitOptions", "DeadLetterFilter")
    return next((name for name in tables if keywords == {field for field, _ in fields(DEFINITIONS[name])}), None)


def fields(node: Definition) -> Iterator[tuple[str, str]]:
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and not ast.unparse(each.target).startswith("_"):
            yield ast.unparse(each.target), ast.unparse(each.annotation)


def signature(name: str, node: ast.FunctionDef, bound: bool) -> str:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*defaults, *arguments.defaults]))[1 if bound else 0 :]
    shown = [shown_argument(argument, default) for argument, default in pairs]
    keywords = dict(zip(arguments.kwonlyargs, arguments.kw_defaults))
    known = table_of({argument.arg for argument in keywords})
    if arguments.vararg is not None:
        shown.append("*" + shown_argument(arguments.vararg, None))
    elif keywords and known is None:
        shown.append("*")
    if known is not None:
        shown.append(f"**{'options' if known == 'SubmitOptions' else 'filter'}: Unpack[{known}]")
    else:
        shown += [shown_argument(argument, default) for argument, default in keywords.items()]
    if arguments.kwarg is not None:
        shown.append("**" + shown_argument(arguments.kwarg, None))
    answer = f" -> {ast.unparse(node.returns).replace('builtins.', '')}" if node.returns and not node.name.startswith("__") else ""
    line = f"{name}({', '.join(shown)}){answer}"
    if len(line) <= 100:
        return line
    lines = "".join(f"    {argument},\n" for argument in shown)
    return f"{name}(\n{lines}){answer}"


def shown_argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg
    if argument.annotation is not None:
        text += f": {ast.unparse(argument.annotation)}"
    if default is not None:
        text += f" = {ast.unparse(default)}"
    return text


def decorators(node: ast.FunctionDef) -> list[str]:
    return [ast.unparse(mark) for mark in node.decorator_list]


def block(text: str) -> str:
    return f"```text\n{text}\n```\n\n"


def of_class(name: str, node: ast.ClassDef) -> Iterator[str]:
    bases = ", ".join(ast.unparse(base) for base in node.bases if not ast.unparse(base).startswith("Generic"))
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    yield f"### {name}\n\n"
    if bases:
        yield block(f"class {name}({bases})")
    else:
        for made in methods:
            if made.name in ("__new__", "__init__"):
                yield block(signature(name, made, True))
    yield markdown(ast.get_docstring(node, clean=False))
    yield from table(node, methods)
    for method in methods:
        marks = decorators(method)
        if method.name.startswith("_") or "property" in marks or any(mark.endswith(".setter") for mark in marks):
            continue
        full = f"{name}.{method.name}"
        yield f"#### {full}\n\n"
        yield block(signature(full, method, True))
        yield markdown(ast.get_docstring(method, clean=False))


def table(node: ast.ClassDef, methods: list[ast.FunctionDef]) -> Iterator[str]:
    """The attributes of a class."""
    written = {method.name for method in methods if any(mark.endswith(".setter") for mark in decorators(method))}
    rows = [(name, annotation, "") for name, annotation in fields(node)]
    for method in methods:
        if "property" in decorators(method):
            kind = ast.unparse(method.returns) if method.returns else "Any"
            text = " ".join(markdown(ast.get_docstring(method, clean=False)).split())
            rows.append((method.name, kind, text + (" Can be set." if method.name in written else "")))
    if rows:
        yield "| attribute | type | |\n|---|---|---|\n"
        for cells in rows:
            name, kind, text = (cell.replace("|", "\\|") for cell in cells)
            yield f"| `{name}` | `{kind}` | {text} |\n".replace("|  |", "| |")
        yield "\n"


def of_function(name: str, node: ast.FunctionDef) -> Iterator[str]:
    yield f"### {name}\n\n"
    if "pytest.fixture" not in decorators(node):
        yield block(signature(name, node, False))
    yield markdown(ast.get_docstring(node, clean=False))


def page() -> str:
    parts = [HEAD]
    for module, head in PARTS.items():
        parts.append(head)
        for name in public_names(module):
            node = DEFINITIONS.get(name)
            if isinstance(node, ast.ClassDef):
                parts += of_class(name, node)
            elif node is not None:
                parts += of_function(name, node)
    return "".join(parts).rstrip() + "\n"


DEFINITIONS = definitions()

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
