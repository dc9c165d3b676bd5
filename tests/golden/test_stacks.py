"""Stacks as people have them: each folder below testdata/stacks is one, with what it becomes.

`compose.yaml` begins with one line that says what it shows, and `a mistake` where it
has one. `expected.txt` beside it is what people see: the preview of `reconcile
--dry-run`, then the report of `lint`. With UPDATE_EXPECTED=1 in the environment the
files are written anew, and the tests fail all the same: read what has changed.
"""

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from sidecar.backrest.jsontext import decode
from sidecar.backrest.rules import check_document
from sidecar.cli.output.lint import render_lint
from sidecar.cli.output.plan_table import render_table
from sidecar.docker.compose import load
from sidecar.docker.compose.load import ComposeReading, load_compose
from sidecar.docker.compose.tool import find_tool, run_program
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Severity
from sidecar.lib.errors import InventoryError
from sidecar.planner.propose import DesiredState, propose
from sidecar.reconciler.lint import LintReport, lint_once
from sidecar.reconciler.reconcile import PassOutcome, reconcile_now
from sidecar.reconciler.settings import InventorySource, ReconcilerSettings

FOLDER = Path(__file__).parents[2] / "testdata" / "stacks"
STACKS = sorted(path.parent.name for path in FOLDER.glob("*/compose.yaml"))
SCHEMA = Path(__file__).parents[2] / "sidecar" / "backrest" / "config.schema.json"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOME = "/home/ann"
SECRETS = {
    "BACKREST_SECRET_HEALTHCHECKS": "https://hc.example.org/ping/1",
    "BACKREST_SECRET_GOTIFY": "token",
    "BACKREST_SECRET_SLACK": "https://hooks.example.org/1",
    "BACKREST_SECRET_SHOUTRRR": "ntfy://ntfy.example.org/backup",
}
POLICY = Policy(default_repo="local", default_schedule="T T(3-5) * * *")
# Forms that came after docker-compose 1: a project's `name`, and the text of a config.
TODAY = {"mealie", "searxng"}


@dataclass(frozen=True)
class Stack:
    """One stack, read and rendered; `answer` is what Compose itself made of the file.

    `inventory` is that of the reading, told as if the stack lay in /opt/stacks.
    """

    name: str
    answer: Any
    reading: ComposeReading
    inventory: Inventory
    outcome: PassOutcome
    report: LintReport

    def text(self) -> str:
        """Write what people see of it."""
        parts = [
            f"$ backrest-sidecar reconcile --dry-run\n{render_table(self.outcome, NOW)}",
            f"$ backrest-sidecar lint\n{render_lint(self.report, 'text')}",
        ]
        lines = click.unstyle("\n\n".join(parts)).splitlines()
        return "".join(f"{line.rstrip()}\n" for line in lines)


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose one tool is Compose, and which notes what Compose answers."""
    tool = find_tool(os.environ)
    assert tool, "docker-compose belongs to the test setup"
    folder = tmp_path_factory.mktemp("tools")
    answer = folder / "answer"
    program = folder / Path(tool.command[0]).name
    program.write_text(
        f"#!/bin/sh\nPATH={os.environ['PATH']}\n"
        f'case $* in *version) echo "{tool.version}"; exit 0 ;; esac\n'
        f'{tool.command[0]} "$@" >{answer}; status=$?; cat {answer}; exit $status\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": str(folder), "HOME": HOME, "ANSWER": str(answer)}


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, compose: dict[str, str]) -> Iterator[Stack]:
    """The stack that the test is about; read once for all tests of it."""
    name = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER / name)
        reading = load_compose(["compose.yaml"], environment=compose)
        answer = _answer(name, reading, compose)
        moved = _moved(reading, name)
        patch.setattr(load, "load_compose", lambda _: moved)
        settings = ReconcilerSettings(
            FOLDER / "config.json", POLICY, InventorySource(compose=("compose.yaml",))
        )
        report = replace(lint_once(settings, NOW, SECRETS), config="config.json")
        outcome = reconcile_now(settings, NOW, SECRETS, dry_run=True)
        outcome = replace(outcome, config="config.json")
        yield Stack(name, answer, reading, moved.inventory, outcome, report)


def _answer(name: str, reading: ComposeReading, compose: dict[str, str]) -> Any:
    """What Compose printed; a file too new for docker-compose 1 is asked for without the new."""
    if not reading.notes or "refused it" not in reading.notes[0]:
        return yaml.safe_load(Path(compose["ANSWER"]).read_text())
    assert name in TODAY
    tree = yaml.safe_load(Path("compose.yaml").read_text())
    project = tree.pop("name")
    for service in tree["services"].values():
        service.pop("configs", None)
    tree.pop("configs", None)
    file = Path(compose["ANSWER"]).with_suffix(".yaml")
    file.write_text(yaml.safe_dump(tree))
    program = str(next(Path(compose["PATH"]).glob("docker*")))
    command = [program, "-p", project, "-f", str(file), "--project-directory", ".", "config"]
    answer = run_program(command, compose, 60)
    assert answer.status == 0, answer.complaints
    return yaml.safe_load(answer.text)


def _moved(reading: ComposeReading, name: str) -> ComposeReading:
    """Tell the stack as if it lay in /opt/stacks, so that all see and sort the same paths."""
    here = str(FOLDER / name)

    def move(mount: Mount) -> Mount:
        if f"{mount.source}/".startswith(f"{here}/"):
            return mount._replace(source=f"/opt/stacks/{name}{mount.source[len(here) :]}")
        return mount

    containers = tuple(
        replace(container, mounts=tuple(map(move, container.mounts)))
        for container in reading.inventory.containers
    )
    return replace(reading, inventory=replace(reading.inventory, containers=containers))


every_stack = pytest.mark.parametrize("stack", STACKS, indirect=True)


@every_stack
def test_stack_becomes_what_its_owner_would_want(stack: Stack) -> None:
    """The preview and the lint are what was reviewed and written down."""
    file = FOLDER / stack.name / "expected.txt"
    text = stack.text()
    before = file.read_text("utf-8") if file.exists() else ""
    if "UPDATE_EXPECTED" in os.environ:
        file.write_text(text, "utf-8")
    assert text == before


@every_stack
def test_document_is_accepted_and_settled(stack: Stack) -> None:
    """Backrest would start with it, and a second pass finds nothing to do."""
    after = stack.outcome.proposal.after
    again = propose(after, DesiredState(stack.inventory, stack.outcome.policy, NOW))
    assert after.text == again.after.text
    assert [] == check_document(decode(after.text))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(after.text))


@every_stack
def test_lint_answers_for_every_mount(stack: Stack) -> None:
    """Each mount of each container is in a plan, or is reported with the reason why not."""
    mounts = {
        (container.name, mount.destination)
        for container in stack.reading.inventory.containers
        for mount in container.mounts
    }
    answered = {(one.container, one.mount.destination) for one in stack.report.coverage}
    assert mounts == answered
    assert len(answered) == len(stack.report.coverage)
    assert [] == [one for one in stack.report.coverage if not one.plan and not one.reason]


@every_stack
def test_mounts_are_those_that_compose_resolves(stack: Stack) -> None:
    """Compose itself is asked, and its answer read by other means than ours."""
    ours = {
        (_service(container.labels), mount.type, mount.name or mount.source, mount.destination)
        for container in stack.reading.inventory.containers
        for mount in container.mounts
        if not (stack.name in TODAY and mount.destination.endswith(".toml"))
    }
    project = stack.reading.inventory.containers[0].labels["com.docker.compose.project"]
    assert set(_resolved_mounts(stack.answer, project)) == ours


def _service(labels: Mapping[str, str]) -> str:
    return labels["com.docker.compose.service"]


def _resolved_mounts(tree: Any, project: str) -> Iterator[tuple[str, str, str, str]]:
    """Service, type, source or volume, and destination of every mount in a resolved file."""
    for name, service in tree["services"].items():
        if service.get("profiles"):
            continue
        tmpfs = service.get("tmpfs") or []
        for text in [tmpfs] if isinstance(tmpfs, str) else tmpfs:
            yield name, "tmpfs", "", text.partition(":")[0]
        for entry in service.get("volumes") or []:
            yield name, *_resolved_mount(entry, tree, project)
        for kind, root in (("secrets", "/run/secrets"), ("configs", "")):
            for grant in service.get(kind) or []:
                given = {"source": grant} if isinstance(grant, str) else grant
                target = Path(root or "/") / (given.get("target") or given["source"])
                file = tree[kind][given["source"]].get("file")
                if file:
                    yield name, "bind", file, str(target)


def _resolved_mount(entry: Any, tree: Any, project: str) -> tuple[str, str, str]:
    if isinstance(entry, str):
        first, _, rest = entry.partition(":")
        source, target = (first, rest.partition(":")[0]) if rest else ("", first)
        kind = "bind" if source.startswith("/") else "volume"
    else:
        kind, source, target = entry["type"], entry.get("source") or "", entry["target"]
    target = target.rstrip("/")
    if kind != "volume" or not source:
        return kind, source if source == "/" else source.rstrip("/"), target
    volume = tree["volumes"][source] or {}
    own = source if volume.get("external") else f"{project}_{source}"
    return kind, volume.get("name") or own, target


@every_stack
def test_reading_needs_compose_only_where_it_says_so(stack: Stack) -> None:
    """Without the tool a file is read alike, or refused with the line and what it needs."""
    plain = _read_plain(stack.name)
    if isinstance(plain, InventoryError):
        assert re.match(r"compose\.yaml, line \d+: .* needs Docker Compose", plain.message)
    else:
        assert _today(plain) == _today(stack.reading)
        assert plain.positions == stack.reading.positions


def _read_plain(name: str) -> ComposeReading | InventoryError:
    environment = {"PATH": "/nonexistent", "HOME": HOME}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER / name)
        try:
            return load_compose(["compose.yaml"], environment=environment)
        except InventoryError as error:
            return error


def _today(reading: ComposeReading) -> list[Container]:
    """The containers as today's Compose makes them: docker-compose 1 spells `true` as Python."""
    return [
        replace(
            container,
            labels={k: "true" if v == "True" else v for k, v in container.labels.items()},
        )
        for container in reading.inventory.containers
    ]


@every_stack
def test_mistakes_and_only_mistakes_are_told(stack: Stack) -> None:
    """A stack that has a mistake gets a problem; one without fails no lint."""
    first = (FOLDER / stack.name / "compose.yaml").read_text("utf-8").partition("\n")[0]
    assert first.startswith("# Shows: ")
    if "a mistake" in first:
        assert stack.report.findings
    else:
        assert [] == [f for f in stack.report.findings if f.severity is not Severity.WARNING]


def test_there_are_enough_stacks() -> None:
    """The folder was found, and every folder in it is a stack."""
    assert len(STACKS) >= 50
    assert sorted(path.name for path in FOLDER.iterdir() if path.is_dir()) == STACKS
