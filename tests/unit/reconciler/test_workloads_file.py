"""workloads.json: written after a pass if it would change, losable, and by nobody else's word."""

import json
import logging
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.workloads import WorkloadRecord, parse_workloads, render_workloads
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.planner.records import WorkloadRecords
from sidecar.reconciler.reconcile import Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.workloads_file import read_workloads

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
WEB = Container(
    "1" * 64,
    "web",
    labels={"backrest.enable": "true"},
    mounts=(Mount("bind", "/data", "/data"), Mount("bind", "/log", "/log")),
)


class Host:
    """A document, and passes over it."""

    def __init__(self, folder: Path) -> None:
        repo = {"id": "r1", "uri": "/r1", "password": "-", "autoInitialize": True}
        self.config = folder / "config.json"
        self.config.write_text(json.dumps({"version": 6, "instance": "here", "repos": [repo]}))
        self.settings = ReconcilerSettings(self.config)
        self.file = folder / ".sidecar" / "workloads.json"
        self.restart()

    def restart(self, *, read_only: bool = False) -> None:
        """Begin anew, as another process does."""
        memory = Memory(self.settings.state_directory, read_only=read_only)
        self.reconciler = Reconciler(self.settings, {}, PassRecorder(memory))

    def run(self, *containers: Container) -> list[WorkloadRecord]:
        """Make a pass; return what the file says then."""
        self.reconciler.run(self.settings, Inventory(containers), NOW)
        return list(parse_workloads(self.file.read_bytes()))

    def identity(self) -> tuple[int, int]:
        """Return what is another once the file is written."""
        found = self.file.stat()
        return found.st_ino, found.st_mtime_ns


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A document without plans."""
    return Host(tmp_path)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines each rendering gave."""
    counts: list[int] = []
    lines = WorkloadRecords.lines

    def counted(*arguments: Any) -> tuple[str, ...]:
        found = lines(*arguments)
        counts.append(len(found))
        return found

    monkeypatch.setattr(WorkloadRecords, "lines", counted)
    return counts


def test_names_are_there_after_the_first_pass(host: Host) -> None:
    """Only their owner may read them: they tell what a host has."""
    [record] = host.run(WEB)

    assert ("web", "backrest_sidecar_web") == (record.name, record.plan)
    assert 0o600 == host.file.stat().st_mode & 0o777


def test_a_quiet_pass_renders_and_writes_nothing(host: Host, rendered: list[int]) -> None:
    """Nor does another process that finds them as they would be."""
    host.run(WEB)
    host.run(WEB)  # the document has the plan now
    before = (host.identity(), len(rendered))
    host.run(WEB)
    host.run(WEB)

    assert before == (host.identity(), len(rendered))
    host.restart()
    host.run(WEB)
    assert before[0] == host.identity()


def test_a_change_that_says_nothing_new_is_not_written(host: Host) -> None:
    """A container that was restarted is called as before."""
    host.run(WEB)
    before = host.identity()
    host.run(replace(WEB, state="exited"))

    assert before == host.identity()


@pytest.mark.parametrize("content", [None, b"", b"{", render_workloads([])])
def test_what_was_lost_or_overwritten_is_written_again(host: Host, content: bytes | None) -> None:
    """With the next pass, although nothing else has changed."""
    expected = host.run(WEB)
    host.run(WEB)
    host.file.unlink()
    if content is not None:
        host.file.write_bytes(content)

    assert expected == host.run(WEB)


def test_a_workload_that_is_gone_is_known_as_it_was(host: Host) -> None:
    """Also by another process; once it is back it is as it is then."""
    [record] = host.run(WEB)
    [gone] = host.run()
    host.restart()
    [again] = host.run()

    assert replace(record, is_gone=True) == gone == again
    [back] = host.run(replace(WEB, mounts=WEB.mounts[:1]))
    [left] = host.run()
    assert (replace(back, is_gone=True), 1) == (left, len(left.mounts))


def test_a_plan_that_was_never_seen_with_a_workload_stands_alone(host: Host) -> None:
    """Nobody knows whose it was, and the file is not read for it at each pass."""
    document = json.loads(host.config.read_bytes())
    plan = {"id": "backrest_sidecar_old", "repo": "r1", "paths": ["/old"]}
    host.config.write_text(json.dumps(document | {"plans": [plan]}))

    assert ["web"] == [record.name for record in host.run(WEB)]
    assert ["web"] == [record.name for record in host.run(replace(WEB, state="exited"))]


def test_what_a_killed_process_left_is_removed(host: Host) -> None:
    """It is never read, and would be there for ever."""
    host.file.parent.mkdir()
    (host.file.parent / ".workloads.json.0123abcd.part").write_bytes(b"{")
    host.run(WEB)

    assert [] == list(host.file.parent.glob(".workloads*"))


def test_a_preview_writes_nothing(host: Host) -> None:
    """Nor a pass that may remember nothing."""
    host.reconciler.preview(host.settings, Inventory((WEB,)), NOW)
    host.restart(read_only=True)
    host.reconciler.run(host.settings, Inventory((WEB,)), NOW)

    assert not host.file.exists()


def test_what_cannot_be_written_is_told_once_and_stops_no_pass(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever has the file's name; once it is away the file is written."""
    host.file.mkdir(parents=True)
    (host.file / "full").touch()
    for _ in range(2):
        host.reconciler.run(host.settings, Inventory((WEB,)), NOW)

    logged = [record for record in caplog.records if record.message == "workloads.not-saved"]
    assert [logging.WARNING] == [record.levelno for record in logged]
    (host.file / "full").unlink()
    host.file.rmdir()
    assert ["web"] == [record.name for record in host.run(WEB)]


@pytest.mark.parametrize("kind", ["absent", "fifo", "broken", "folder"])
def test_without_a_file_nothing_is_known(tmp_path: Path, kind: str) -> None:
    """It is never waited for, and never an error."""
    path = tmp_path / "workloads.json"
    if kind == "fifo":
        os.mkfifo(path)
    if kind == "broken":
        path.write_bytes(b"[")
    if kind == "folder":
        path.mkdir()

    assert () == read_workloads(path)
