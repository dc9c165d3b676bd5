"""Snapshots from the future: a clock was ahead once, and must not cost what is saved since."""

import logging
from datetime import datetime, timedelta

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import Config, ForgetPolicy, RunPlan, Timing
from sidecar.engines.base import FailureClass
from sidecar.runner.due import Job, JobKind
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from tests.engines.bench import INSTANCE, ResticBench
from tests.fakes.made_engines import MadeEngines
from tests.fakes.message_list import MessageList


class Machine:
    """A plan that is run again and again; its clock was ahead before."""

    def __init__(self, bench: ResticBench, journal: Journal) -> None:
        self.bench = bench
        self.journal = journal
        self.keep = Retention(last=1)
        self.number = 0

    @property
    def plan(self) -> RunPlan:
        """The plan."""
        return self.bench.plan("web", retention=self.keep)

    def ahead(self, moment: str) -> str:
        """Back up while the clock says this; return the beginning of the id."""
        self.bench.write("file", moment)
        plan = self.bench.plan("web", backup_flags=(f"--time='{moment}'",))
        return self.bench.backup(plan).snapshot[:8]

    def run(self, kind: JobKind = JobKind.BACKUP, **repo: object) -> Ended:
        """Run a job of the plan or of its repository, now; each backup finds something new."""
        self.number += 1
        self.bench.write("file", f"run {self.number}")
        store = self.bench.repo(**repo)
        hooks = HookRunner(self.bench.runner, self.bench.folder / "config.json", MessageList())
        programs = Programs(MadeEngines(self.bench.restic), hooks)
        session = Session(self.journal, programs, programs, EndedRuns())
        subject = "web" if kind is JobKind.BACKUP else "store"
        config = Config(INSTANCE, (store,), (self.plan,))
        run = session.run(Job(kind, subject, "store"), config, RunCause.MANUAL)
        assert run.ended is not None
        return run.ended

    def names(self) -> list[str]:
        """Return the beginnings of the ids of the plan's snapshots, oldest first."""
        return [one[:8] for one in self.bench.names(self.plan)]

    def mend(self, reason: str) -> None:
        """Do what the reason of a run says."""
        line = reason.rpartition("→ ")[2].split()
        assert ["restic", "forget"] == line[:2]
        self.bench.run(*line[1:])


@pytest.fixture
def machine(restic: ResticBench, journal: Journal) -> Machine:
    """Return a machine whose clock is right by now."""
    return Machine(restic, journal)


def test_retention_never_removes_what_its_own_run_made(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """Each run warns with the id and the remedy until the one from the future is gone."""
    ahead = machine.ahead("2038-01-01 00:00:00")
    with caplog.at_level(logging.WARNING, "sidecar"):
        ended = [machine.run(), machine.run()]
    kept = machine.names()
    known = machine.journal.findings.ahead()
    machine.mend(ended[-1].reason)
    healed = machine.run()

    assert [(RunOutcome.WARNING, FailureClass.CLOCK)] * 2 == [
        (one.outcome, one.failure) for one in ended
    ]
    assert ended[0].reason.startswith(f"snapshot.ahead: {ahead} is dated 2038-01-01 ")
    assert ended[0].reason.endswith(f"→ restic forget {ahead}")
    assert [*(one.snapshot[:8] for one in ended), ahead] == kept
    assert [ahead] == [one.snapshot[:8] for one in known["web"]]
    events = [one for one in caplog.records if one.getMessage() == "snapshot.ahead"]
    assert [ahead, ahead] == [one.fields["snapshot"][:8] for one in events]  # type: ignore[attr-defined]
    assert (RunOutcome.SUCCESS, "") == (healed.outcome, healed.reason)
    assert ([healed.snapshot[:8]], {}) == (machine.names(), machine.journal.findings.ahead())


def test_days_of_the_future_do_not_take_the_place_of_today(machine: Machine) -> None:
    """Seven of them fill a retention of seven days."""
    machine.keep = Retention(daily=7)
    ahead = [machine.ahead(f"2038-01-0{day} 00:00:00") for day in range(1, 9)]

    ended = machine.run()

    assert [ended.snapshot[:8], *ahead] == machine.names()
    assert f"→ restic forget {' '.join(ahead[:3])}" in ended.reason
    assert "and 5 more, ahead of the clock" in ended.reason


def test_what_is_dated_a_little_later_is_believed_and_waited_for(machine: Machine) -> None:
    """Clocks and zones differ by hours: no warning, but nothing is forgotten until then."""
    before = machine.run().snapshot[:8]
    soon = datetime.now().astimezone() + timedelta(hours=3)
    near = machine.ahead(f"{soon:%Y-%m-%d %H:%M:%S}")

    ended = machine.run()

    assert (RunOutcome.SUCCESS, {}) == (ended.outcome, machine.journal.findings.ahead())
    assert "nothing is forgotten yet: a snapshot is dated later" in ended.reason
    assert [before, ended.snapshot[:8], near] == machine.names()


def test_the_retention_of_a_repository_waits_too(machine: Machine) -> None:
    """It would forget each new snapshot of the plan as well."""
    before = machine.run().snapshot[:8]
    ahead = machine.ahead("2038-01-01 00:00:00")
    policy = ForgetPolicy(Timing("0 3 * * *"), Retention(last=1))
    ended = machine.run(JobKind.FORGET, forget=policy)
    kept = machine.names()
    machine.mend(ended.reason)
    healed = machine.run(JobKind.FORGET, forget=policy)

    assert (RunOutcome.WARNING, FailureClass.CLOCK) == (ended.outcome, ended.failure)
    assert [before, ahead] == kept
    assert (RunOutcome.SUCCESS, [before]) == (healed.outcome, machine.names())
