"""Backups that save no file: what was saved before stays, and what counts is what is saved."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import Config, RunHook, RunPlan
from sidecar.engines.base import FailureClass
from sidecar.engines.options import OnMissing
from sidecar.runner.due import Job, JobKind
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from tests.engines.bench import INSTANCE, ResticBench
from tests.fakes.made_engines import MadeEngines
from tests.fakes.message_list import MessageList


@dataclass
class Service:
    """A plan that keeps one snapshot, run again and again."""

    bench: ResticBench
    journal: Journal
    hooks: tuple[RunHook, ...] = ()
    fields: dict[str, object] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()

    @property
    def plan(self) -> RunPlan:
        """The plan."""
        keep = Retention(last=1)
        return self.bench.plan("web", *self.paths, retention=keep, hooks=self.hooks, **self.fields)

    def run(self) -> Ended:
        """Run it now."""
        hooks = HookRunner(self.bench.runner, self.bench.folder / "config.json", MessageList())
        programs = Programs(MadeEngines(self.bench.restic), hooks)
        config = Config(INSTANCE, (self.bench.repo(),), (self.plan,))
        job = Job(JobKind.BACKUP, "web", "store")
        run = Session(self.journal, programs, programs, EndedRuns()).run(
            job, config, RunCause.MANUAL
        )
        assert run.ended is not None
        return run.ended

    def empty(self) -> None:
        """Take all files away."""
        for file in self.bench.source.iterdir():
            file.unlink()

    def names(self) -> list[str]:
        """Return the beginnings of the ids of the plan's snapshots, oldest first."""
        return [one[:8] for one in self.bench.names(self.plan)]


@pytest.fixture
def service(restic: ResticBench, journal: Journal) -> Service:
    """Return a plan with a file."""
    restic.write("file", "data")
    return Service(restic, journal)


def test_what_was_saved_before_stays(service: Service) -> None:
    """Although the retention keeps one only; until somebody says that it is meant."""
    full = service.run().snapshot[:8]
    service.empty()

    ended = [service.run(), service.run()]
    kept = service.names()
    service.journal.findings.accept_empty("web", 1.0)
    accepted = service.run()

    assert [(RunOutcome.WARNING, FailureClass.SOURCE_EMPTY)] * 2 == [
        (one.outcome, one.failure) for one in ended
    ]
    assert f"its snapshot {full} of " in ended[0].reason
    assert "→ if that is meant: backrest-runner run --accept-empty web" in ended[0].reason
    assert [full, *(one.snapshot[:8] for one in ended)] == kept
    assert RunOutcome.SUCCESS is accepted.outcome
    assert [accepted.snapshot[:8]] == service.names()


def test_files_that_are_all_excluded_are_none(service: Service) -> None:
    """A pattern too wide looks like success, and would cost what there was."""
    full = service.run().snapshot[:8]
    service.fields["excludes"] = ("*",)

    assert RunOutcome.WARNING is service.run().outcome
    assert full == service.names()[0]


def test_links_alone_are_no_files(service: Service) -> None:
    """What they lead to is not saved."""
    full = service.run().snapshot[:8]
    service.empty()
    (service.bench.source / "link").symlink_to("/elsewhere")

    assert RunOutcome.WARNING is service.run().outcome
    assert full == service.names()[0]


def test_a_dump_that_is_gone_after_the_backup_is_saved(service: Service) -> None:
    """The snapshot holds it: that the folder is empty before and after is nobody's loss."""
    service.empty()
    dump = service.bench.source / "dump"
    service.hooks = tuple(
        RunHook(frozenset([f"CONDITION_SNAPSHOT_{event}"]), "actionCommand", {"command": command})
        for event, command in (("START", f"echo data >{dump}"), ("END", f"rm {dump}"))
    )

    ended = [service.run() for _ in range(3)]

    assert [(RunOutcome.SUCCESS, "")] * 3 == [(one.outcome, one.reason) for one in ended]
    assert [ended[-1].snapshot[:8]] == service.names()
    assert [] == os.listdir(service.bench.source)


def test_a_first_backup_of_nothing_says_so(service: Service) -> None:
    """A service may be new; the second finds nothing either."""
    service.empty()

    ended = [service.run(), service.run()]

    assert [(RunOutcome.SUCCESS, "no file was there to save")] * 2 == [
        (one.outcome, one.reason) for one in ended
    ]
    assert [ended[-1].snapshot[:8]] == service.names()


def test_a_snapshot_that_nobody_has_counted_is_looked_into(service: Service) -> None:
    """Made by Backrest, or before the journal was lost."""
    full = service.bench.backup(service.plan).snapshot[:8]
    service.empty()

    ended = service.run()

    assert RunOutcome.WARNING is ended.outcome
    assert [full, ended.snapshot[:8]] == service.names()


def test_what_a_path_held_that_is_missing_stays(service: Service) -> None:
    """With `--on-missing warn` the others are saved: nothing is forgotten for a part."""
    service.bench.on_missing = OnMissing.WARN
    other = service.bench.folder / "other"
    other.mkdir()
    (other / "file").write_text("more")
    service.paths = (service.bench.source, other)
    whole = service.run().snapshot[:8]
    away = other.rename(service.bench.folder / "away")
    part = service.run()
    kept = service.names()
    away.rename(other)
    again = service.run()

    assert (RunOutcome.WARNING, FailureClass.SOURCE_MISSING) == (part.outcome, part.failure)
    assert "nothing is forgotten" in part.reason
    assert [whole, part.snapshot[:8]] == kept
    assert [again.snapshot[:8]] == service.names()
