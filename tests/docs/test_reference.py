"""The generated pages are those that the code gives; the hand-written ones name what exists."""

import ast
import contextlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from problem_examples import EXAMPLES, find_problem
from reference import LABEL_PAGE, PICTURE, find_stale, label_table, render_pages
from sidecar.backrest.workloads import NAME
from sidecar.cli.commands.main import cli
from sidecar.cli.options import Flag
from sidecar.cli.runner.main import cli as runner_cli
from sidecar.cli.variables import OF_BACKRESTS_CONTAINER, VARIABLES
from sidecar.docker import markers
from sidecar.engines.destination import FOLDER
from sidecar.engines.marker import MARKER
from sidecar.engines.rsync.layout import LOCKS
from sidecar.labels.problem import REASONS
from sidecar.labels.registry import LABELS
from sidecar.labels.spec import parse_labels
from sidecar.reconciler import state
from sidecar.reconciler.log_events import EVENTS
from sidecar.runner.journal.schema import open_file
from sidecar.runner.lock import FILE as LOCK
from sidecar.runner.log_events import EVENTS as RUNNER_EVENTS
from sidecar.runner.log_events import ONCE
from sidecar.runner.once.leftover import FILE as RECORD
from sidecar.runner.quiesce import LOCK as QUIET
from sidecar.runner.settings import JOURNAL
from sidecar.runner.settings import STATE as RUNNER_STATE
from sidecar.service.healthcheck import FILE as HEARTBEAT
from sidecar.web.sockets import CONTROL
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.reading import known_variables

PAGES = render_pages()
SIDECAR = sorted((ROOT / "sidecar").rglob("*.py"))
RUNNER = ROOT / "sidecar" / "runner"
# Handed on to programs as they are.
NOT_OURS = {"PATH", "PYTHONPATH"}
LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error"}


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_gives(name: str) -> None:
    """Who changes the code runs scripts/docs."""
    assert PAGES[name] == (ROOT / name).read_text()


def test_a_page_that_differs_is_found() -> None:
    """As is one that is missing."""
    pages = {"docs/reference/gone.md": "", **PAGES}
    assert ["docs/reference/gone.md"] == find_stale(pages)
    assert [LABEL_PAGE] == find_stale({LABEL_PAGE: "other"})


def test_the_check_of_the_script_passes_and_refuses_a_slip() -> None:
    """Status 0 where all is as it should be, 1 for an unknown argument."""
    script = str(ROOT / "scripts" / "docs")
    assert 0 == subprocess.run([script, "--check"], check=False).returncode
    refused = subprocess.run([script, "--chek"], capture_output=True, text=True, check=False)
    assert (1, "unknown: --chek (only --check)\n") == (refused.returncode, refused.stderr)


def test_label_table_is_the_registry() -> None:
    """Every label stands there, word for word, and no other."""
    shown = re.search(
        r"<!-- labels -->\n(.*?)\n<!-- /labels -->", (ROOT / LABEL_PAGE).read_text(), re.DOTALL
    )
    assert shown is not None
    assert label_table() == shown[1]


def test_the_labels_of_the_readme_are_labels_with_good_values() -> None:
    """Seven of those of the reference, and what stands beside each is taken without a problem."""
    row = re.compile(r"^\| `(backrest\.[\w.-]+)` \| `([^`]+)` \|", re.MULTILINE)
    labels = dict(row.findall((ROOT / "README.md").read_text()))
    assert 7 == len(labels)
    assert {f"backrest.{label.name}" for label in LABELS} >= set(labels)
    given = {name.removeprefix("backrest."): value for name, value in labels.items()}
    _, problems = parse_labels(given, "backrest.")
    assert [] == problems


def test_the_picture_shows_the_preview_and_needs_nothing_of_a_server() -> None:
    """What the README's own service gives; no font, script or image from elsewhere."""
    picture = PAGES[PICTURE]
    words = re.sub(r"<[^>]+>", "", picture).replace("&#160;", " ")
    for shown in ("plan backrest_sidecar_cloud_nextcloud", "daily, 4 weekly", "1 new"):
        assert shown in words
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?://[^\s\"')]+", picture)
    assert not re.search(r"@import|@font-face|<script|<image|href", picture)


@pytest.mark.parametrize("reason", REASONS)
def test_each_problem_has_an_example_with_a_hint(reason: str) -> None:
    """Rendered by the program, with the severity that the page tells."""
    problem = find_problem(reason)
    assert REASONS[reason].severity is problem.severity
    assert problem.hint
    assert set(REASONS) == set(EXAMPLES)


@pytest.mark.parametrize(
    ("name", "group"), [("commands", cli), ("runner-commands", runner_cli)], ids=["ours", "runner"]
)
def test_each_flag_stands_on_the_page_of_commands_with_its_variable(
    name: str, group: click.Group
) -> None:
    """In a row of its own, with words about it."""
    page = PAGES[f"docs/reference/{name}.md"]
    for command in group.commands.values():
        for flag in command.params:
            if isinstance(flag, Flag):
                assert re.search(rf"^\| `{flag.opts[0]}`.* \| [^|–]+ \|$", page, re.MULTILINE), (
                    flag.opts
                )
                variables = [flag.envvar] if isinstance(flag.envvar, str) else flag.envvar or ()
                assert all(f"`{variable}`" in page for variable in variables)


def variables_read() -> Iterator[str]:
    """Yield each variable that the source reads by its name."""
    read = re.compile(r"(?:environ|environment|variables)(?:\.get\(|\[)\"([A-Z_]+)\"")
    for module in SIDECAR:
        yield from read.findall(module.read_text())


def test_each_variable_that_is_read_is_told() -> None:
    """Return whether of a flag or not."""
    told = (
        {one.name for one in (*VARIABLES, *OF_BACKRESTS_CONTAINER)} | known_variables() | NOT_OURS
    )
    found = set(variables_read())
    assert {"TZ", "DOCKER_HOST", "GITHUB_WORKSPACE"} <= found
    assert set() == found - told
    page = PAGES["docs/reference/variables.md"]
    assert [] == [name for name in told - NOT_OURS if f"`{name}`" not in page]


def events_logged(modules: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the name and level of each event that the modules name literally."""
    told = {"report": "apply.", "log_event": ""}
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                words = [one.value for one in node.args if isinstance(one, ast.Constant)]
                levels = [LEVELS[m[1]] for m in map(_level, node.args) if m]
                if called in told and words and levels and isinstance(words[0], str):
                    yield told[called] + words[0], levels[0]
                if called == "_Situation":
                    yield from ((str(words[0]), ""), (str(words[1]), "info"))
            if isinstance(node, ast.Tuple):
                words = [one.value for one in node.elts if isinstance(one, ast.Constant)]
                levels = [LEVELS[m[1]] for m in map(_level, node.elts) if m]
                if levels and words and re.fullmatch(r"[a-z]+\.[a-z-]+", str(words[0])):
                    yield str(words[0]), levels[0]


def _level(node: ast.expr) -> re.Match[str] | None:
    return re.fullmatch(r"logging\.([A-Z]+)", ast.unparse(node))


def test_each_event_of_the_log_is_told_with_its_level() -> None:
    """And no event is told that nothing logs."""
    found = set(events_logged(module for module in SIDECAR if RUNNER not in module.parents))
    # Logged by a name that is made or handed on.
    others = {"reconcile.complete", "dry-run.complete", "problem.appeared"}
    assert set(EVENTS) == {name for name, _ in found} | others
    for name, level in found:
        assert level in EVENTS[name].level, name


def test_each_event_of_the_runner_s_log_is_told_with_its_level() -> None:
    """Also those of the parts that both programs have."""
    found = set(events_logged(module for module in SIDECAR if RUNNER in module.parents))
    # Logged by what both programs are made of, or at a level that the end decides.
    others = {
        "thread.failed",
        "http.failed",
        "document.unwatched",
        "pulse.not-saved",
        "run.ended",
        "hook.ended",
    }
    told = {**RUNNER_EVENTS, **ONCE}
    assert set(told) == {name for name, _ in found} | others
    for name, level in found:
        assert level in told[name].level, name


def test_files_that_are_told_are_those_that_are_made() -> None:
    """By the names that the code gives them."""
    page = (ROOT / "docs/reference/files.md").read_text()
    for name in (
        f".sidecar/{state._FILE}",
        f".sidecar/{HEARTBEAT}",
        f".sidecar/{NAME}",
        f"{markers.DIRECTORY}/NAME",
    ):
        assert f"`{name}`" in page
    for made in (HEARTBEAT, JOURNAL, CONTROL, QUIET, RECORD, "PLAN.failed", "PLAN.success"):
        assert f"`{RUNNER_STATE}/{made}`" in page
    for made in (LOCK, MARKER, f"{MARKER}.*.part", FOLDER, f"{LOCKS}/"):
        assert f"`{made}`" in page
    leftovers = (ROOT / "sidecar/reconciler/store/leftovers.py").read_text()
    for shown, made in (("sidecar-*.part", ".part"), ("displaced-*", ".displaced-")):
        assert shown in page
        assert made in leftovers


def test_what_is_lost_with_the_journal_is_told_of_each_of_its_tables(tmp_path: Path) -> None:
    """A table that is added is told too."""
    page = (ROOT / "docs/reference/files.md").read_text()
    _, _, told = page.partition("### What only the journal knows")
    with contextlib.closing(open_file(tmp_path / JOURNAL)) as journal:
        made = {
            str(name)
            for (name,) in journal.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not str(name).startswith("sqlite_")
        }
    assert made == set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE))


def editor_schema() -> Draft7Validator:
    """Return the schema of the editor's page, with ours beside it.

    Compose's own is far away, so it says nothing here.
    """
    page = blocks_of(ROOT / "docs/how-to/editor.md")
    overlay = json.loads(next(b.text for b in page if b.file == "compose.schema.json"))
    compose = overlay["allOf"][0]["$ref"]
    ours = json.loads((ROOT / "docs/reference/labels.schema.json").read_text())
    here: Registry[Any] = Registry().with_resources(
        [
            (compose, Resource.from_contents(True, default_specification=DRAFT7)),
            ("labels.schema.json", Resource.from_contents(ours)),
        ]
    )
    return Draft7Validator(overlay, registry=here)


def test_the_editor_s_page_finds_the_wrong_labels_and_no_others() -> None:
    """With the schema and the files as they stand there."""
    page = {block.file: block.text for block in blocks_of(ROOT / "docs/how-to/editor.md")}
    schema = editor_schema()
    Draft7Validator.check_schema(schema.schema)

    assert [] == list(schema.iter_errors(yaml.safe_load(page["compose.yaml"])))
    wrong = yaml.safe_load(page["wrong.yaml"])
    labels = wrong["services"]["wiki"]["labels"]
    for name in ("backrest.retention", "backrest.hooks.on-error", "backrest.quiesce"):
        assert not schema.is_valid(wrong)
        del labels[name]
    assert schema.is_valid(wrong)
