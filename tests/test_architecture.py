"""The layout, the sizes and the words of the source, measured."""

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sidecar"
NOT_SOURCE = {".git", ".venv", ".cache", ".hypothesis", "__pycache__", "dist"}
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = {"core", "kit", "model", "show", "watch"}
HALL = {"__init__.py", "__main__.py", "cli.py", "errors.py", "options.py", "py.typed", "settings.py"}

# What computes and does nothing else.
PURE = {
    "base64",
    "bisect",
    "calendar",
    "collections",
    "cronsim",
    "dataclasses",
    "datetime",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "operator",
    "posixpath",
    "re",
    "shlex",
    "sidecar",
    "string",
    "types",
    "typing",
    "unicodedata",
}
IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}
OTHER_WORDS = {"job", "jobs", "task", "tasks", "manager", "handler", "util", "utils", "helper", "helpers"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> Iterator[Path]:
    """Yield every text file of the source tree."""
    for folder, folders, names in ROOT.walk() if hasattr(ROOT, "walk") else walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_SOURCE]
        yield from (folder / name for name in names)


def functions(module: Path) -> list[Function]:
    """Return the functions and methods of a module."""
    return [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, Function)]


def lines_of(function: Function) -> int:
    """Count the lines from `def` to the end, without the docstring and nested functions."""
    end = function.end_lineno or function.lineno
    skipped = set[int]()
    if ast.get_docstring(function) is not None:
        first = function.body[0]
        skipped |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return end - function.lineno + 1 - len(skipped)


def imports(module: Path) -> set[str]:
    """Return the first names of all modules that a module imports."""
    found = set[str]()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_the_package_has_the_rooms_of_the_layout():
    """A new room is a decision, not an accident."""
    entries = [entry for entry in PACKAGE.iterdir() if entry.name not in NOT_SOURCE]

    assert {entry.name for entry in entries if entry.is_dir()} == ROOMS
    assert {entry.name for entry in entries if entry.is_file()} == HALL
