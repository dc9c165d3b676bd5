"""Snapshots that bear a second plan's tag: never taken for that plan's, never a reason to forget.

`--tag plan:OTHER` among the flags of a plan that Backrest executes makes them; Backrest cannot be
guarded against one that exists, the runner can.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import Config, ForgetPolicy, RunPlan, Timing
from sidecar.runner.due import Job, JobKind
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.restore.choose import RestoreError, RestoreRequest
from sidecar.runner.restore.restore import Restorer
from sidecar.runner.verify.sample import SampleLimits
from sidecar.runner.verify.verify import Verifier
from tests.engines.bench import INSTANCE, ResticBench
from tests.fakes.made_engines import MadeEngines
from tests.fakes.message_list import MessageList


class Victim:
    """A plan `web` with a retention of two, and another plan that forges snapshots of it."""

    def __init__(self, bench: ResticBench, journal: Journal) -> None:
        self.bench = bench
        self.journal = journal
        bench.write("file", "mine")
        self.theirs = bench.folder / "theirs"
        self.theirs.mkdir()
        (self.theirs / "file").write_text("foreign")

    @property
    def plan(self) -> RunPlan:
        """The victim's plan."""
        return self.bench.plan("web", retention=Retention(last=2))

    def forge(self, tag: str = "plan:web", path: Path | None = None) -> str:
        """Make a snapshot as a plan with a flag in the document does; return its id."""
        flags = (f"--tag='{tag}'",)
        plan = self.bench.plan("evil", path or self.theirs, backup_flags=flags)
        return self.bench.backup(plan).snapshot[:8]

    def back_up(self) -> str:
        """Back up the victim's plan; return the beginning of the id, as old restics say it."""
        return self.bench.backup(self.plan).snapshot[:8]

    def names(self, plan: RunPlan | None = None) -> list[str]:
        """Return the beginnings of the ids of a plan's snapshots, or of all."""
        return [one[:8] for one in self.bench.names(plan)]

    def run(self, kind: JobKind = JobKind.BACKUP, **repo: object) -> Ended:
        """Run a job of the victim's plan or of its repository."""
        store = self.bench.repo(**repo)
        hooks = HookRunner(self.bench.runner, self.bench.folder / "config.json", MessageList())
        programs = Programs(MadeEngines(self.bench.restic), hooks)
        subject = "web" if kind is JobKind.BACKUP else "store"
        config = Config(INSTANCE, (store,), (self.plan,))
        session = Session(self.journal, programs, programs, EndedRuns())
        run = session.run(Job(kind, subject, "store"), config, RunCause.MANUAL)
        assert run.ended is not None
        return run.ended

    def mend(self, reason: str) -> None:
        """Do what the reason of a run says."""
        line = reason.rpartition("→ ")[2].split()
        assert "restic" == line[0]
        self.bench.run(*line[1:])


@pytest.fixture
def victim(restic: ResticBench, journal: Journal) -> Victim:
    """Return a plan in a repository in which another one forges."""
    return Victim(restic, journal)


@pytest.mark.parametrize(
    "tag", ["plan:web", "a,plan:web", "a, plan:web", "x,\N{NO-BREAK SPACE}plan:web"]
)
def test_a_forged_snapshot_is_none_of_the_victims(victim: Victim, tag: str) -> None:
    """The tag is stored as restic trims it: the list of the plan does not hold it."""
    own = victim.back_up()
    forged = victim.forge(tag)
    tagged = victim.bench.run("snapshots", "--tag", f"plan:web,created-by:{INSTANCE}")

    assert forged in tagged
    assert [own] == victim.names(victim.plan)
    assert {own, forged} == set(victim.names())


def test_retention_waits_until_the_forged_snapshot_is_gone(
    victim: Victim, caplog: pytest.LogCaptureFixture
) -> None:
    """Each run warns with its id and the line that heals it, and forgets nothing until then."""
    own = [victim.back_up() for _ in range(2)]
    forged = victim.forge()
    with caplog.at_level(logging.WARNING, "sidecar"):
        ended = [victim.run(), victim.run()]
    events = [one for one in caplog.records if one.getMessage() == "snapshot.forged"]
    kept = set(victim.names(victim.plan))
    victim.mend(ended[-1].reason)
    healed = victim.run()

    assert [RunOutcome.WARNING] * 2 == [one.outcome for one in ended]
    for one in ended:
        assert one.reason.startswith(f"snapshot.forged: {forged} ")
        assert one.reason.endswith(f"→ restic tag --remove plan:web {forged}")
    assert [forged, forged] == [one.fields["snapshot"][:8] for one in events]  # type: ignore[attr-defined]
    assert {*own, *(one.snapshot[:8] for one in ended)} == kept
    assert (RunOutcome.SUCCESS, "") == (healed.outcome, healed.reason)
    assert [ended[1].snapshot[:8], healed.snapshot[:8]] == victim.names(victim.plan)


def test_one_that_only_forget_shows_is_told(victim: Victim) -> None:
    """It came between the list before the backup and the retention after it."""
    victim.bench.backup(victim.plan)
    forged = victim.forge()
    done = victim.bench.restic().forget(victim.plan, INSTANCE, Retention(last=9))

    assert [forged] == [one.id[:8] for one in done.forged]


def test_the_retention_of_a_repository_tells_and_loses_nothing_to_it(victim: Victim) -> None:
    """It groups by all tags, so that a forged snapshot is in a group of its own."""
    own = [victim.back_up() for _ in range(2)]
    forged = [victim.forge(), victim.forge()]
    policy = ForgetPolicy(Timing("0 3 * * *"), Retention(last=2))
    ended = victim.run(JobKind.FORGET, forget=policy)

    assert RunOutcome.WARNING is ended.outcome
    assert "snapshot.forged" in ended.reason
    assert {*own, *forged} == set(victim.names())


def test_a_restore_takes_the_latest_of_the_plan_itself(victim: Victim, tmp_path: Path) -> None:
    """Never what another plan put in its place; without one of its own nothing is restored."""
    own = victim.back_up()
    victim.forge(path=victim.bench.source)
    restorer = Restorer(victim.bench.engine(), victim.journal, None, now=lambda: 1000.0)
    request = RestoreRequest(victim.plan, INSTANCE, target=str(tmp_path / "new"))
    prepared = restorer.prepare(request)
    alone = replace(request, plan=victim.bench.plan("db"))
    victim.forge("plan:db")

    assert own == prepared.snapshot.id[:8]
    with pytest.raises(RestoreError):
        restorer.prepare(alone)


def test_a_verification_takes_the_latest_of_the_plan_itself(victim: Victim, tmp_path: Path) -> None:
    """What another plan put in its place proves nothing about its data."""
    own = victim.back_up()
    victim.forge()
    verifier = Verifier(victim.bench.engine(), victim.journal, tmp_path / "scratch", SampleLimits())
    found = verifier.verify(victim.plan, INSTANCE, 1, lambda _: None)

    assert (own, True) == (found.snapshot[:8], found.is_good)


def test_a_backup_takes_no_forged_parent(victim: Victim) -> None:
    """What the parent says is unchanged would not be read from the disk."""
    own = victim.back_up()
    victim.forge(path=victim.bench.source)
    made = victim.run().snapshot[:8]
    listed = json.loads(victim.bench.run("snapshots", "--json"))
    [parent] = [one["parent"] for one in listed if one["short_id"] == made]

    assert own == parent[:8]


def test_one_that_is_named_by_its_id_is_restored(victim: Victim, tmp_path: Path) -> None:
    """Somebody has looked at it then, and decided."""
    victim.back_up()
    forged = victim.forge()
    restorer = Restorer(victim.bench.engine(), victim.journal, None, now=lambda: 1000.0)
    target = str(tmp_path / "new")
    request = RestoreRequest(victim.plan, INSTANCE, snapshot=forged, target=target)

    assert forged == restorer.prepare(request).snapshot.id[:8]
