"""The layout, the directions and the words of the source, measured."""

import ast
import itertools
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sidecar"
NOT_SOURCE = {".git", ".venv", ".cache", ".hypothesis", "__pycache__", "dist"}
MODULES = sorted(PACKAGE.rglob("*.py"))

PACKAGES = {
    "backrest",
    "cli",
    "docker",
    "engines",
    "labels",
    "lib",
    "planner",
    "reconciler",
    "runner",
    "schedule",
    "service",
    "web",
}
HALL = {"__init__.py", "__main__.py", "py.typed"}

# What computes and does nothing else.
PURE = {
    "base64",
    "bisect",
    "calendar",
    "collections",
    "cronsim",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "errno",
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
    "unicodedata",
    "urllib.parse",
    "pydantic_core",
}
IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}
# Names that say nothing, and metaphors of our own: the glossary has the field's words.
OTHER_WORDS = {
    "task",
    "tasks",
    "manager",
    "handler",
    "util",
    "utils",
    "helper",
    "helpers",
    "agenda",
    "board",
    "courier",
    "crew",
    "desk",
    "door",
    "heart",
    "house",
    "judgement",
    "letter",
    "letters",
    "manner",
    "manners",
    "occasion",
    "patient",
    "pulse",
    "rounds",
    "said",
    "seat",
    "surroundings",
    "teller",
    "telling",
    "urn",
    "vigil",
    "way",
    "ways",
    "wish",
    "wishes",
}

# Package → the modules of it that act; all others compute and do nothing else.
PURE_PACKAGES = {
    "backrest": {"api", "operations"},
    "labels": set[str](),
    "planner": set[str](),
    "schedule": set[str](),
}
# Of the packages that stand aside, what a pure module may use.
PURE_NEIGHBOURS = {"sidecar.lib.errors", "sidecar.lib.text", "sidecar.docker.models"}

# One class name has one meaning in the whole package. Exceptions: name → reason.
SHARED_CLASS_NAMES: dict[str, str] = {}

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


def imports(module: Path) -> set[str]:
    """Return the packages that a module imports; of urllib, which of its modules."""
    found = set[str]()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name if name.startswith("urllib") else name.partition(".")[0] for name in found}


def own_imports(module: Path) -> set[str]:
    """Return the modules of this package that a module imports, packages with what they give."""
    found = set[str]()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sidecar"):
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in below if (ROOT / f"{name.replace('.', '/')}.py").exists()]
            found |= set(known) or {node.module or ""}
    return found


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


def pure_modules(package: str) -> list[Path]:
    """Return the modules of a package that only compute; there are some."""
    modules = (PACKAGE / package).rglob("*.py")
    found = sorted(one for one in modules if one.stem not in PURE_PACKAGES[package])
    assert found, f"{package} has no module: it was renamed, and nothing is checked any more"
    return found


def test_the_package_has_the_packages_of_the_layout() -> None:
    """A new one is a decision, not an accident."""
    entries = [entry for entry in PACKAGE.iterdir() if entry.name not in NOT_SOURCE]

    assert {entry.name for entry in entries if entry.is_dir()} == PACKAGES
    assert {entry.name for entry in entries if entry.is_file()} == HALL


def test_a_folder_with_modules_is_a_package() -> None:
    """Without `__init__` the image would not compile it, and its tests would not be found."""
    folders = {module.parent for module in MODULES}

    assert len(folders) > len(PACKAGES)
    assert [] == [folder.name for folder in folders if not (folder / "__init__.py").exists()]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_a_module_says_what_it_is_in_the_words_of_the_glossary(module: Path) -> None:
    """Its first line is for somebody who has never seen it."""
    assert ast.get_docstring(ast.parse(module.read_text()))
    assert set() == defined_words(module) & OTHER_WORDS


def test_a_class_name_has_one_meaning() -> None:
    """Whoever reads a name anywhere knows which class it is."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(module.relative_to(PACKAGE)))

    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert len(places) > 100
    assert {} == {name: found for name, found in shared.items() if name not in SHARED_CLASS_NAMES}
    assert set(SHARED_CLASS_NAMES) <= set(shared)


def test_a_clock_is_named_by_what_it_tells() -> None:
    """`now` is wall time in unix seconds, `monotonic` is a clock that nobody sets."""
    found = [
        f"{module.relative_to(PACKAGE)}:{argument.lineno} {argument.arg}"
        for module in MODULES
        for function in functions(module)
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.arg == "clock"
    ]

    assert [] == found


@pytest.mark.parametrize("package", PURE_PACKAGES)
def test_what_is_pure_only_computes(package: str) -> None:
    """No input or output, no clock of its own, no chance."""
    for module in pure_modules(package):
        assert (module.name, set()) == (module.name, imports(module) - PURE)
        assert (module.name, set()) == (module.name, calls(module) & IMPURE_CALLS)
        assert not re.search(r"\b(?:now|today|utcnow)\(", module.read_text()), module.name


@pytest.mark.parametrize("package", PURE_PACKAGES)
def test_what_is_pure_uses_of_its_neighbours_what_is_pure(package: str) -> None:
    """Of lib the errors and the text, of docker its records: nothing that acts."""
    aside = ("sidecar.docker", "sidecar.engines", "sidecar.lib", "sidecar.service")
    for module in pure_modules(package):
        used = {name for name in own_imports(module) if name.startswith(aside)}
        assert (module.name, set()) == (module.name, used - PURE_NEIGHBOURS)


def test_a_module_that_says_it_is_pure_only_computes() -> None:
    """Wherever it stands: which snapshots go is decided by values alone, for one."""
    pure = [module for module in MODULES if _says_it_is_pure(module)]
    acting = {
        str(module.relative_to(PACKAGE)): (imports(module) - PURE) | (calls(module) & IMPURE_CALLS)
        for module in pure
    }

    assert PACKAGE / "engines" / "retention.py" in pure
    # Its caller gives it the seed.
    assert {"random"} == acting.pop("runner/verify/sample.py")
    assert {} == {name: found for name, found in acting.items() if found}
    assert not [one for one in pure if re.search(r"\b(?:now|today|utcnow)\(", one.read_text())]


def _says_it_is_pure(module: Path) -> bool:
    return (ast.get_docstring(ast.parse(module.read_text())) or "").endswith("Pure.")


def test_the_sidecar_starts_no_program_of_a_label() -> None:
    """It asks Docker Compose for its reading of files; all else that runs is the runner's."""
    starts = {"subprocess", "sidecar.lib.process", "multiprocessing", "pty"}
    found = set[str]()
    for package in ("backrest", "docker", "labels", "planner", "reconciler", "schedule"):
        for module in (PACKAGE / package).rglob("*.py"):
            is_starting = (imports(module) | own_imports(module)) & starts
            if is_starting or re.search(
                r"\bos\.(?:system|popen|exec|spawn|posix_spawn|fork)", module.read_text()
            ):
                found.add(str(module.relative_to(PACKAGE)))

    assert found == {"docker/compose/tool.py"}


def test_the_records_of_docker_are_pure() -> None:
    """The planner knows of Docker these and nothing else."""
    module = PACKAGE / "docker" / "models.py"

    assert set() == imports(module) - PURE
    assert set() == calls(module) & IMPURE_CALLS


def test_no_machine_and_no_registry_is_named() -> None:
    """The tree says nothing of where it was made."""
    found = [
        (name, match[0])
        for name, text in texts()
        for match in [*OF_A_MACHINE.finditer(text), *OF_A_REGISTRY.finditer(text)]
    ]

    assert [] == found


@pytest.mark.parametrize(
    ("name", "least"), [("constraints.txt", 21), ("constraints-compose.txt", 3)]
)
def test_a_lock_names_hashes_and_no_address(name: str, least: int) -> None:
    """Any mirror can serve it, and no file of another content is installed."""
    lock = (ROOT / name).read_text()
    pinned = re.findall(r"^[a-z0-9-]+==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)

    assert "://" not in lock
    assert len(pinned) == len(re.findall(r"^\S+==", lock, re.MULTILINE)) >= least


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
