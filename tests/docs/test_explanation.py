"""The pages that explain name tests, rooms and dependencies that exist, and all of them."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.golden.test_cases import check_case, parse_case

ROOT = Path(__file__).parents[2]
EXPLANATION = ROOT / "docs" / "explanation"
PAGES = (*sorted(EXPLANATION.glob("*.md")), ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md")
# The first part of a path of ours, as pages write it between backticks.
OURS = ("sidecar/", "tests/", "testdata/", "scripts/", "benchmarks/", "docs/")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read(name: str) -> str:
    """Return the text of a page that explains."""
    return (EXPLANATION / name).read_text()


def named(text: str) -> list[str]:
    """List what stands between single backticks, with line breaks as blanks."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)]


@cache
def defined_in(path: Path) -> set[str]:
    """Name the tests that a module defines."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_and_tests_that_a_page_names_exist(page: Path) -> None:
    """A moved file, a renamed test: the page is wrong, and a promise may have lost its proof."""
    for name in named(page.read_text()):
        path, colons, test = name.partition("::")
        if path.startswith(OURS) and " " not in path:
            assert list(ROOT.glob(path)), name
            assert not colons or test in defined_in(ROOT / path), name


def test_each_promise_has_mechanism_proof_and_limits() -> None:
    """Every one names tests, and says where it ends."""
    promises = re.split(r"^## (?=\d)", read("safety.md"), flags=re.MULTILINE)[1:]

    assert len(promises) == 5
    for promise in promises:
        parts = re.findall(r"^\*\*(Mechanism|Proof|Limits)\.\*\*", promise, re.MULTILINE)
        assert parts == ["Mechanism", "Proof", "Limits"]
        assert sum(name.startswith("tests/") for name in named(promise)) >= 4


def test_the_layers_are_those_that_are_enforced() -> None:
    """In their order, from the entrance down."""
    block = re.search(r"<!-- layers -->\n(.*?)<!-- /layers -->", read("architecture.md"), re.DOTALL)
    assert block is not None
    rows = re.findall(r"^\| `([^`]+)` \|", block[1], re.MULTILINE)
    shown = [row.removesuffix("/").removesuffix(".py").replace("/", ".") for row in rows]

    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    assert shown == [part for layer in layers for part in layer.split(" | ")]


def test_every_room_is_on_the_map() -> None:
    """Each folder of modules and of tests has its line; those of tests/unit mirror the package."""
    modules = [*(ROOT / "sidecar").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    rooms = {str(module.parent.relative_to(ROOT)) for module in modules}
    mirrored = {room for room in rooms if room.startswith("tests/unit/")}
    assert {room.removeprefix("tests/unit/") for room in mirrored} <= {
        room.removeprefix("sidecar/") for room in rooms
    }
    rooms = rooms - mirrored

    assert set() == {f"{room}/" for room in rooms - {"sidecar", "tests"}} - {
        *named(read("architecture.md"))
    }


def test_every_dependency_says_what_it_replaces() -> None:
    """Those at run time, and those for development, each in its own table."""
    project = PROJECT["project"]
    tables = re.split(r"^For development", read("dependencies.md"), flags=re.MULTILINE)
    extras = project["optional-dependencies"]
    wanted = (
        [*project["dependencies"], *extras["runner"]],
        [*extras["test"], *PROJECT["build-system"]["requires"]],
    )
    for table, declared in zip(tables, wanted, strict=True):
        rows = re.findall(r"^\| ([a-z][a-z0-9, -]+?) \|", table, re.MULTILINE)
        listed = {name for row in rows for name in row.split(", ")} - {"package"}
        assert listed == {re.split(r"[^\w-]", name)[0] for name in declared}


def test_what_is_compared_is_named_with_its_version() -> None:
    """Each program has a column, a section, and the commit that was read."""
    text = read("comparison.md")
    programs = re.findall(
        r"^\| \[([a-z-]+)\]\(https://\S+\) \| .*commit [0-9a-f]{7}.* \|", text, re.MULTILINE
    )

    assert len(programs) == 7
    head = next(line for line in text.splitlines() if line.startswith("| | ours |"))
    assert [cell.strip() for cell in head.split("|")[3:-1]] == programs
    assert [name for name in programs if f"\n## {name}\n" not in text] == []


def test_the_case_that_contributors_are_shown_is_one() -> None:
    """It goes through the very test that it explains."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    shown = re.search(r"```yaml\n(rule: .*?)```", text, re.DOTALL)
    assert shown is not None

    check_case(parse_case(shown[1]))
