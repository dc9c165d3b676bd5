"""The parent of a backup: from the journal, without a question to the repository where it can be."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import Config, ForgetPolicy, RunPlan, Timing
from sidecar.engines.base import FailureClass, ResultKind
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

    def hold(self, verb: str, until: str) -> None:
        """Let one command of restic begin only when another has ended, at most 5 s later."""
        self._wrap(
            f'if [ "$1" = {verb} ]; then\n'
            f"  for _ in $(seq 500); do [ -e {until}.ended ] && break; sleep 0.01; done\n"
            "fi"
        )

    def refuse(self, verb: str, times: int) -> None:
        """Let a command of restic fail so often."""
        for number in range(times):
            (self.bench.folder / f"refuse-{number}").touch()
        self._wrap(
            f'[ "$1" = {verb} ] && for one in refuse-*; do\n'
            f'  [ -e $one ] && rm $one && echo {verb} >> asked && echo "Fatal: no answer" >&2 && exit 1\n'
            "done"
        )

    def hang(self, *verbs: str) -> None:
        """Let these commands of restic go on until they are ended, and note their numbers."""
        self._wrap(
            f'case "$1" in {"|".join(verbs)}) echo $$ > "$1.new"; mv "$1.new" "$1.hangs"; '
            "exec sleep 60 ;; esac"
        )

    def _wrap(self, script: str) -> None:
        bench = self.bench
        program = bench.folder / "wrapped"
        program.write_text(
            f"#!/bin/sh\ncd {bench.folder}\n{script}\n"
            f'{bench.program} "$@"; status=$?\n: > "$1.ended"; exit $status\n'
        )
        program.chmod(0o755)
        bench.program = str(program)

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
    *beside, last = watched.asked()

    assert (["backup", "snapshots"], "forget") == (sorted(beside), last)


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
    asked = watched.asked()
    if not watched.bench.restic().features().has(Feature.SKIP_IF_UNCHANGED):
        # Nothing is compared: which was first is not known.
        asked[:2] = sorted(asked[:2], reverse=True)

    assert ["snapshots", *["backup", "forget"] * 3] == asked


def test_what_the_run_itself_has_made_is_not_among_the_others(watched: Watched) -> None:
    """The list is asked for while it is made, so it may be there already."""
    plan = watched.bench.plan(retention=KEEP)
    first = watched.run(plan)
    watched.hold("snapshots", until="backup")
    watched.now += 601.0
    engine = watched.bench.restic()
    done = engine.capture(plan, INSTANCE, lambda _: None, first.snapshot)

    assert done.listed is not None
    assert [first.snapshot] == [one.short for one in done.listed]


def test_a_plan_that_was_saved_beside_the_question_is_asked_for_again(watched: Watched) -> None:
    """What is compared with its parent needs the newest snapshot, which the answer may lack."""
    plan = watched.bench.plan(retention=KEEP)
    watched.run(plan)
    watched.now += 601.0
    watched.hold("backup", until="snapshots")
    watched.run(plan)
    watched.asked()

    assert watched.recent.last(watched.bench.repo()) is not None
    assert watched.recent.last(watched.bench.repo(), plan.id) is None


def test_a_forged_snapshot_is_seen_beside_the_backup(watched: Watched) -> None:
    """Retention waits for the answer."""
    plan = watched.bench.plan("web", retention=Retention(last=1))
    own = watched.run(plan)
    watched.bench.backup(watched.bench.plan("evil", backup_flags=("--tag=plan:web",)))
    watched.now += 601.0
    watched.hold("snapshots", until="backup")
    ended = watched.run(plan)

    assert ["backup", "snapshots"] == sorted(watched.asked()[-2:])
    assert RunOutcome.WARNING is ended.outcome
    assert "snapshot.forged" in ended.reason
    assert any(one["id"].startswith(own.snapshot) for one in watched.listed())


@pytest.mark.parametrize(("times", "outcome"), [(1, RunOutcome.SUCCESS), (2, RunOutcome.FAILED)])
def test_a_question_that_fails_beside_a_backup_is_asked_once_more(
    watched: Watched, times: int, outcome: RunOutcome
) -> None:
    """Nothing is forgotten as long as it is not known what is there."""
    plan = watched.bench.plan(retention=KEEP)
    watched.run(plan)
    watched.asked()
    watched.now += 601.0
    watched.refuse("snapshots", times)
    ended = watched.run(plan)
    *beside, again = watched.asked()[:3]

    assert outcome is ended.outcome
    assert (["backup", "snapshots"], "snapshots") == (sorted(beside), again)
    assert ("no answer" in ended.reason) == (outcome is RunOutcome.FAILED)


def test_a_parent_that_is_gone_is_found_by_the_question_beside(watched: Watched) -> None:
    """There is no second question."""
    plan = watched.bench.plan(retention=KEEP)
    oldest, gone = watched.run(plan), watched.run(plan)
    watched.bench.run("forget", gone.snapshot)
    watched.now += 601.0
    watched.asked()
    ended = watched.run(plan)
    first, second, *others = watched.asked()

    assert ({"backup", "snapshots"}, ["backup", "forget"]) == ({first, second}, others)
    assert watched.parent_of(ended).startswith(oldest.snapshot)


def test_a_stop_ends_both(watched: Watched) -> None:
    """Neither is left running, and none is started anew."""
    plan = watched.bench.plan(retention=KEEP)
    known = watched.run(plan).snapshot
    watched.now += 601.0
    watched.hang("backup", "snapshots")
    engine, runner = watched.bench.restic(), watched.bench.runner
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(engine.capture, plan, INSTANCE, lambda _: None, known)
        started = [watched.bench.folder / f"{verb}.hangs" for verb in ("backup", "snapshots")]
        while not all(one.exists() for one in started):
            assert not running.done()
            time.sleep(0.01)
        runner.stop_all()
        done = running.result()

    assert (ResultKind.FAILED, FailureClass.INTERRUPTED) == (done.kind, done.failure)
    assert [] == [one for one in started if Path("/proc", one.read_text().strip()).exists()]


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
