"""The parent of a backup: from the journal, without a question to the repository where it can be."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import Config, ForgetPolicy, RunPlan, Timing
from sidecar.engines.restic import RecentSnapshots
from sidecar.engines.restic.features import Feature
from sidecar.runner.due import backup_job
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from tests.engines.bench import INSTANCE, ResticBench, quick_repo
from tests.fakes.made_engines import MadeEngines
from tests.fakes.message_list import MessageList

KEEP = Retention(last=9)


class Watched:
    """A bench whose runs share what they ask, and of which each command is noted."""

    def __init__(self, bench: ResticBench, journal: Journal) -> None:
        self.bench, self.journal = bench, journal
        self.now = 0.0
        self.recent = RecentSnapshots(lambda: self.now, lambda: self.now)
        self.asked = bench.note_commands()
        bench.recent = self.recent
        bench.write("file", "x")

    def run(self, plan: RunPlan, **repo: object) -> Ended:
        """Run a plan's backup and retention as the daemon does."""
        bench, store = self.bench, self.bench.repo(**repo)
        hooks = HookRunner(bench.runner, bench.folder / "config.json", MessageList())
        programs = Programs(MadeEngines(bench.restic), hooks)
        session = Session(self.journal, programs, programs, EndedRuns())
        run = session.run(backup_job(plan), Config(INSTANCE, (store,), (plan,)), RunCause.MANUAL)
        assert run.ended is not None
        return run.ended

    def listed(self) -> Sequence[dict[str, str]]:
        """List all snapshots, oldest first."""
        return sorted(
            json.loads(self.bench.run("snapshots", "--json")), key=lambda one: one["time"]
        )

    def parent_of(self, ended: Ended) -> str:
        """Return the parent of the snapshot that a run has made."""
        [made] = [one for one in self.listed() if one["id"].startswith(ended.snapshot)]
        return made.get("parent", "")


@pytest.fixture
def watched(restic: ResticBench, journal: Journal) -> Watched:
    """Return a bench that notes each command."""
    return Watched(restic, journal)


def test_a_plan_that_the_journal_knows_opens_its_repository_once(watched: Watched) -> None:
    """The first run has to ask, which snapshots there are; the next ones give the parent."""
    plan = watched.bench.plan()
    first = watched.run(plan)
    before = watched.asked()
    watched.now += 9999.0
    second = watched.run(plan)

    assert ["snapshots", "backup"] == before
    assert ["backup"] == watched.asked()
    assert watched.parent_of(second).startswith(first.snapshot)


def test_one_question_serves_all_plans_of_a_repository(watched: Watched) -> None:
    """Where snapshots are forgotten, those that are forged have to be known."""
    plans = [watched.bench.plan(f"plan-{number}", retention=KEEP) for number in range(3)]
    ended = [watched.run(plan) for plan in plans for _ in range(2)]

    assert ["snapshots", *["backup", "forget"] * 6] == watched.asked()
    assert {RunOutcome.SUCCESS} == {one.outcome for one in ended}
    for first, second in zip(ended[::2], ended[1::2], strict=True):
        assert watched.parent_of(second).startswith(first.snapshot)


@pytest.mark.parametrize(("seconds", "repo"), [(601.0, {}), (0.0, {"flags": ("--no-cache",)})])
def test_an_old_answer_or_that_of_another_repository_is_not_believed(
    watched: Watched, seconds: float, repo: dict[str, object]
) -> None:
    """Ten minutes are what a forged snapshot may stay unseen."""
    plan = watched.bench.plan(retention=KEEP)
    watched.run(plan)
    watched.asked()
    watched.now += seconds
    watched.run(plan, **repo)

    assert ["snapshots", "backup", "forget"] == watched.asked()


def test_where_the_repository_forgets_no_plan_asks(watched: Watched) -> None:
    """Its own policy keeps forged snapshots in a group of their own."""
    policy = ForgetPolicy(Timing("0 3 * * *"), Retention(last=1))
    plan = watched.bench.plan(retention=KEEP)
    watched.run(plan, forget=policy)
    watched.asked()
    watched.now += 9999.0
    watched.run(plan, forget=policy)

    assert ["backup"] == watched.asked()


@pytest.mark.parametrize("keep", [None, KEEP])
def test_a_parent_that_is_gone_is_asked_for_once(watched: Watched, keep: Retention | None) -> None:
    """Somebody has removed it, with restic or by Backrest's retention."""
    plan = watched.bench.plan(retention=keep)
    oldest, gone = watched.run(plan), watched.run(plan)
    watched.bench.run("forget", gone.snapshot)
    watched.asked()
    ended = watched.run(plan)

    assert (RunOutcome.SUCCESS, "") == (ended.outcome, ended.reason)
    forget = ["forget"] if keep else []
    assert ["backup", "snapshots", "backup", *forget] == watched.asked()
    assert watched.parent_of(ended).startswith(oldest.snapshot)


def test_a_repository_that_was_made_anew_is_saved_into(watched: Watched, tmp_path: Path) -> None:
    """No snapshot that the journal knows is in it."""
    plan = watched.bench.plan()
    watched.run(plan)
    other = quick_repo(tmp_path / "other")
    watched.asked()
    ended = watched.run(plan, uri=str(other))

    assert RunOutcome.SUCCESS is ended.outcome
    assert ["backup", "snapshots", "backup"] == watched.asked()


def test_a_failure_for_another_reason_is_not_tried_again(watched: Watched) -> None:
    """Only that of a missing parent asks the repository."""
    plan = watched.bench.plan()
    watched.run(plan)
    watched.asked()
    ended = watched.run(plan, password="wrong")

    assert RunOutcome.FAILED is ended.outcome
    assert ["backup"] == watched.asked()


def test_what_backrest_saved_since_is_no_reason_to_save_nothing(watched: Watched) -> None:
    """The files are again as the journal's snapshot has them, but the newest has others."""
    plan = watched.bench.plan(backup_flags=("--skip-if-unchanged",))
    watched.run(plan)
    file = watched.bench.write("file", "between")
    watched.bench.backup(plan)
    file.write_text("x")
    ended = watched.run(plan)

    assert RunOutcome.SUCCESS is ended.outcome
    assert ended.snapshot
    assert 3 == len(watched.listed())


def test_plans_that_are_compared_share_a_question_too(watched: Watched) -> None:
    """As long as what was listed holds what the journal knows."""
    flags = ("--skip-if-unchanged",)
    plans = [
        watched.bench.plan(f"plan-{number}", backup_flags=flags, retention=KEEP)
        for number in range(3)
    ]
    for plan in plans:
        watched.run(plan)
    watched.now += 9999.0
    watched.asked()
    for plan in plans:
        watched.run(plan)

    assert ["snapshots", *["backup", "forget"] * 3] == watched.asked()


def test_a_plan_that_sets_tags_makes_the_next_one_ask(watched: Watched) -> None:
    """Its snapshot may be forged: the retention of the other is left out at once."""
    victim = watched.bench.plan("web", retention=Retention(last=1))
    own = watched.run(victim)
    theirs = watched.bench.folder / "theirs"
    theirs.mkdir()
    watched.run(watched.bench.plan("evil", theirs, backup_flags=("--tag=plan:web",)))
    ended = watched.run(victim)

    assert RunOutcome.WARNING is ended.outcome
    assert "snapshot.forged" in ended.reason
    ids = [one["id"] for one in watched.listed()]
    assert 3 == len(ids)
    assert any(one.startswith(own.snapshot) for one in ids)


def test_what_is_compared_is_compared_with_a_backup_of_nothing_too(watched: Watched) -> None:
    """Else the files that come back are not saved again, and retention forgets the only copy."""
    flags = ("--skip-if-unchanged",)
    plan = watched.bench.plan(backup_flags=flags, retention=KEEP)
    for _ in range(2):
        watched.run(plan)
    watched.run(replace(plan, excludes=("*",)))
    newest = watched.listed()[-1]["id"]
    compares = watched.bench.restic().features().has(Feature.SKIP_IF_UNCHANGED)
    watched.asked()
    watched.run(plan)

    assert ["snapshots"] * compares + ["backup", "forget"] == watched.asked()
    assert compares == (newest == watched.listed()[-1]["parent"])
