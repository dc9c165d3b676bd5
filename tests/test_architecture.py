"""The layout, the sizes and the words of the source, measured."""

import ast
import itertools
import re
import statistics
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sidecar"
NOT_SOURCE = {".git", ".venv", ".cache", ".hypothesis", "__pycache__", "dist"}
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = {"commands", "core", "kit", "model", "program", "runner", "show", "watch"}
HALL = {
    "__init__.py",
    "__main__.py",
    "cli.py",
    "errors.py",
    "py.typed",
    "settings.py",
}

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
    "graphlib",
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
    "urllib.parse",
    "pydantic_core",
}
IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}
OTHER_WORDS = {
    "job",
    "jobs",
    "task",
    "tasks",
    "manager",
    "handler",
    "util",
    "utils",
    "helper",
    "helpers",
}

# What would say where, or from which registry, somebody once built this.
OF_A_MACHINE = re.compile(r"(?<![\w.*])/(?:wor[k]|roo[t]|User[s])/\w")
OF_A_REGISTRY = re.compile(r"index-ur[l]|://[^ ]*/simpl[e]\b|file[s]\.pythonhosted")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> Iterator[Path]:
    """Yield the files of the source tree."""
    waiting = [ROOT]
    while waiting:
        entries = [entry for entry in waiting.pop().iterdir() if entry.name not in NOT_SOURCE]
        waiting += [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
        yield from (entry for entry in entries if entry.is_file())


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file that is text."""
    for file in files():
        try:
            yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def functions(module: Path) -> list[Function]:
    """Return the functions and methods of a module, also those within others."""
    return [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, Function)]


def lengths() -> dict[str, int]:
    """Return the lines of each function of the package, docstring and all."""
    return {
        f"{module.relative_to(ROOT)}:{function.lineno} {function.name}": (
            (function.end_lineno or 0) - function.lineno + 1
        )
        for module in MODULES
        for function in functions(module)
    }


def imports(module: Path) -> set[str]:
    """Return the packages that a module imports; of urllib, which of its modules."""
    found = set[str]()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name if name.startswith("urllib") else name.partition(".")[0] for name in found}


def calls(module: Path) -> set[str]:
    """Return the plain names that a module calls."""
    nodes = ast.walk(ast.parse(module.read_text()))
    called = (node.func for node in nodes if isinstance(node, ast.Call))
    return {target.id for target in called if isinstance(target, ast.Name)}


def defined_words(module: Path) -> set[str]:
    """Return the words of which the names that a module defines consist."""
    nodes = ast.walk(ast.parse(module.read_text()))
    names = [node.name for node in nodes if isinstance(node, Function | ast.ClassDef)]
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", "_".join([module.stem, *names]))
    return set(spaced.lower().split("_"))


def test_the_package_has_the_rooms_of_the_layout() -> None:
    """A new room is a decision, not an accident."""
    entries = [entry for entry in PACKAGE.iterdir() if entry.name not in NOT_SOURCE]

    assert {entry.name for entry in entries if entry.is_dir()} == ROOMS
    assert {entry.name for entry in entries if entry.is_file()} == HALL


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_a_module_is_short_and_says_what_it_is(module: Path) -> None:
    """Under 300 lines, with a docstring, and in the glossary's words."""
    text = module.read_text()

    assert len(text.splitlines()) < 300
    assert ast.get_docstring(ast.parse(text))
    assert set() == defined_words(module) & OTHER_WORDS


def test_functions_are_small() -> None:
    """Half have at most 8 lines, nine of ten at most 25, none over 50."""
    counted = lengths()

    assert statistics.median(counted.values()) <= 8
    assert statistics.quantiles(counted.values(), n=10)[-1] <= 25
    assert [] == [name for name, length in counted.items() if length > 50]


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if module.parent.name in {"core", "model"}],
    ids=lambda module: str(module.relative_to(ROOT)),
)
def test_core_and_model_only_compute(module: Path) -> None:
    """No input or output, no clock of their own, no chance."""
    assert set() == imports(module) - PURE
    assert set() == calls(module) & IMPURE_CALLS
    assert not re.search(r"\b(?:now|today|utcnow)\(", module.read_text())


def test_no_machine_and_no_registry_is_named() -> None:
    """The tree says nothing of where it was made."""
    found = [
        (name, match[0])
        for name, text in texts()
        for match in [*OF_A_MACHINE.finditer(text), *OF_A_REGISTRY.finditer(text)]
    ]

    assert [] == found


def test_the_lock_names_hashes_and_no_address() -> None:
    """Any mirror can serve it, and no file of another content is installed."""
    lock = (ROOT / "constraints.txt").read_text()
    pinned = re.findall(r"^[a-z0-9-]+==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)

    assert "://" not in lock
    assert len(pinned) == len(re.findall(r"^\S+==", lock, re.MULTILINE)) > 20


def test_the_lock_holds_what_the_package_declares() -> None:
    """A dependency without a lock would fail at the installation only."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = declared["project"]
    extras = project["optional-dependencies"].values()
    wanted = [
        *project["dependencies"],
        *itertools.chain(*extras),
        *declared["build-system"]["requires"],
    ]
    lock = (ROOT / "constraints.txt").read_text()
    locked = set(re.findall(r"^(\S+?)==", lock, re.MULTILINE))

    assert set() == {re.split(r"[^\w-]", name)[0].lower() for name in wanted} - locked
