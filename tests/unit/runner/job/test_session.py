"""One run: which hooks follow on what, that what is stopped starts again, what is recorded."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.plan import OnError, Retention
from sidecar.backrest.reading import (
    CheckPolicy,
    Config,
    ForgetPolicy,
    PrunePolicy,
    Repo,
    RunHook,
    RunPlan,
    Timing,
)
from sidecar.engines.base import (
    BackupType,
    CommandResult,
    EngineError,
    FailureClass,
    HeldLock,
    OnStart,
    ResultKind,
    Snapshot,
    Stats,
    failed,
)
from sidecar.lib.errors import UsageError
from sidecar.lib.process import Child, ProcessRunner, child_of
from sidecar.runner.due import Job, JobKind, Retry
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.events import HookFacts, HookOutcome
from sidecar.runner.job.leftover_processes import end_leftovers, find_leftovers, marked
from sidecar.runner.job.recovery import Resume, parse_resume, render_resume
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import Programs, RunConditions
from sidecar.runner.journal import (
    Ended,
    Journal,
    JournalError,
    Phase,
    Run,
    RunCause,
    RunOutcome,
)
from tests.fakes.message_list import MessageList
from tests.fakes.passing_time import PassingTime
from tests.fakes.scripted_docker import MADE, ScriptedEngine

WEB = Job(JobKind.BACKUP, "web", "nas")
PRUNE = Job(JobKind.PRUNE, "nas", "nas")

START = ("SNAPSHOT_START",)
SUCCESS = ("SNAPSHOT_SUCCESS", "SNAPSHOT_END")
FAILED = ("SNAPSHOT_ERROR", "ANY_ERROR", "SNAPSHOT_END")
HALTED = ("ANY_ERROR", "SNAPSHOT_ERROR", "SNAPSHOT_END")


# What is asked before START hooks that may stop something.
LOOK = ["open /repo", "locks"]


def hook(command: str, *events: str, on_error: OnError = OnError.IGNORE) -> RunHook:
    """A hook of a plain command."""
    conditions = frozenset(f"CONDITION_{event}" for event in events)
    return RunHook(conditions, "actionCommand", {"command": command}, on_error)


@dataclass
class HeardHooks:
    """Runs hooks, and keeps for what."""

    hooks: HookRunner
    sets: list[tuple[str, ...]] = field(default_factory=list)
    facts: list[HookFacts] = field(default_factory=list)
    notified: list[bool] = field(default_factory=list)

    def run(
        self,
        events: Sequence[str],
        facts: HookFacts,
        stopping: threading.Event,
        *,
        notifies: bool = True,
        ran: Collection[str] = (),
    ) -> HookOutcome:
        """Run them."""
        self.notified.append(notifies)
        self.sets.append(tuple(event.removeprefix("CONDITION_") for event in events))
        self.facts.append(facts)
        return self.hooks.run(events, facts, stopping, notifies=notifies, ran=ran)


@dataclass
class Scene:
    """A document with one plan, and a session on it whose hooks write into `log`."""

    folder: Path
    journal: Journal
    calls: list[str] = field(default_factory=list)
    answers: dict[str, CommandResult] = field(default_factory=dict)
    meanwhile: Callable[[], None] = lambda: None
    held: list[tuple[HeldLock, ...]] = field(default_factory=list)
    saved: tuple[Snapshot, ...] = ()
    waits: list[float] = field(default_factory=list)
    on_wait: Callable[[], None] = lambda: None
    messages: MessageList = field(default_factory=MessageList)
    told: list[Run] = field(default_factory=list)
    options: SessionOptions = field(default_factory=SessionOptions)
    repo: Repo = field(default_factory=lambda: Repo("nas", "/repo"))
    plan: RunPlan = field(default_factory=lambda: RunPlan("web", "nas", ("/data",)))
    now: float = 1000.0
    tick: float = 0.0

    def __post_init__(self) -> None:
        environ = marked({"PATH": os.environ["PATH"], "LOG": str(self.log)}, self.folder)
        self.runner = ProcessRunner(environ, grace=2.0)
        self.after_runner = ProcessRunner(environ, grace=2.0)
        self.before, self.after = self.hooks(self.runner), self.hooks(self.after_runner)
        self.session = Session(
            self.journal,
            Programs(self, self.before),
            Programs(self, self.after),
            self,
            replace(self.options, grace=2.0, now=self.look, stopping=PassingTime(self.wait)),
        )

    def hooks(self, runner: ProcessRunner) -> HeardHooks:
        """Make what runs hooks."""
        return HeardHooks(HookRunner(runner, self.folder / "config.json", self.messages))

    @property
    def log(self) -> Path:
        """Where hooks write."""
        return self.folder / "log"

    @property
    def config(self) -> Config:
        """The document."""
        return Config("host", (self.repo,), (self.plan,))

    @property
    def sets(self) -> list[tuple[str, ...]]:
        """The event sets for which hooks were run: before the work, then after it."""
        return [*self.before.sets, *self.after.sets]

    def make(self, repo: Repo, on_start: OnStart | None = None) -> Any:
        """Make the engine, which tells of a child that is none."""
        self.calls.append(f"open {repo.uri}")
        if on_start is not None:
            on_start(Child(1, 0))
        return ScriptedEngine(self.calls, self.answers, self.meanwhile, self.held, self.saved)

    def ended(self, run: Run) -> None:
        """Keep what is reported."""
        self.told.append(run)

    def look(self) -> float:
        """Return the time, and let some pass."""
        self.now += self.tick
        return self.now

    def wait(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.waits.append(seconds)
        self.now += seconds
        self.on_wait()

    def run(self, job: Job = WEB) -> Ended:
        """Run it; give how it ended, as it also stands in the journal."""
        run = self.session.run(job, self.config, RunCause.SCHEDULE)
        assert run.ended is not None
        assert self.told[-1] == run
        return run.ended

    def answer(self, answers: Retry | None, refusal: CommandResult | None = None) -> Retry | None:
        """Let a run answer a fire; return what the journal holds of it then."""
        conditions = RunConditions(answers, refusal)
        self.session.run(WEB, self.config, RunCause.SCHEDULE, conditions=conditions)
        return self.waiting

    @property
    def waiting(self) -> Retry | None:
        """What is tried again, by the journal."""
        return self.journal.past.history().retries.get(WEB)

    def written(self) -> list[str]:
        """What hooks have written."""
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A session on an empty journal."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield Scene(tmp_path, journal)


OUTCOMES = [
    (MADE, RunOutcome.SUCCESS, SUCCESS),
    (CommandResult(ResultKind.SUCCESS), RunOutcome.SKIPPED, ("SNAPSHOT_SKIPPED", *SUCCESS)),
    (
        CommandResult(ResultKind.WARNING, FailureClass.SOURCE_CHANGED, "one file", "5f3a"),
        RunOutcome.WARNING,
        ("SNAPSHOT_WARNING", "SNAPSHOT_END"),
    ),
    (failed(FailureClass.NETWORK, "no route"), RunOutcome.FAILED, FAILED),
    (
        replace(failed(FailureClass.LOCKED, "locked"), kind=ResultKind.RETRY),
        RunOutcome.FAILED,
        FAILED,
    ),
]


@pytest.mark.parametrize(("answer", "outcome", "events"), OUTCOMES)
def test_the_outcome_decides_which_hooks_follow(
    scene: Scene, answer: CommandResult, outcome: RunOutcome, events: tuple[str, ...]
) -> None:
    """As in Backrest; and all that the engine said is recorded."""
    scene.answers["backup"] = answer

    ended = scene.run()

    assert scene.sets == [START, events]
    expected = Ended(outcome, 1000.0, answer.snapshot, answer.stats, answer.failure, answer.reason)
    assert ended == expected
    assert [run.ended for run in scene.journal.runs.list()] == [expected]


def test_hooks_run_in_order_around_the_work(scene: Scene) -> None:
    """The repository's first; each once in a set."""
    say = 'echo "NAME:{{ .Event }}:{{ .SnapshotId }}" >>"$LOG"'
    scene.repo = replace(scene.repo, hooks=(hook(say.replace("NAME", "repo"), *START, *SUCCESS),))
    scene.plan = replace(
        scene.plan, hooks=(hook(say.replace("NAME", "plan"), *START, "SNAPSHOT_END"),)
    )

    def job() -> None:
        with scene.log.open("a") as log:
            log.write("work\n")

    scene.meanwhile = job

    scene.run()

    assert scene.written() == [
        "repo:CONDITION_SNAPSHOT_START:",
        "plan:CONDITION_SNAPSHOT_START:",
        "work",
        "repo:CONDITION_SNAPSHOT_SUCCESS:5f3a9c",
        "plan:CONDITION_SNAPSHOT_END:5f3a9c",
    ]


@pytest.mark.parametrize(
    ("on_error", "outcome", "why"),
    [
        (OnError.FATAL, RunOutcome.FAILED, "a START hook failed"),
        (OnError.CANCEL, RunOutcome.CANCELLED, "skipped by its hook"),
    ],
)
def test_a_start_hook_that_halts_lets_nothing_be_saved(
    scene: Scene, on_error: OnError, outcome: RunOutcome, why: str
) -> None:
    """But what the hooks before it stopped is started again: END runs too."""
    scene.plan = replace(
        scene.plan,
        hooks=(
            hook('echo stop >>"$LOG"', *START),
            hook("exit 3", *START, on_error=on_error),
            hook('echo never >>"$LOG"', *START),
            hook('echo start >>"$LOG"', "SNAPSHOT_END"),
        ),
    )

    ended = scene.run()

    assert (ended.outcome, ended.failure) == (outcome, FailureClass.HOOK)
    assert ended.reason == f"{why}: hook 2 of plan web: exit code 3"
    assert (scene.sets, scene.calls) == ([START, HALTED], LOOK)
    assert scene.written() == ["stop", "start"]


def test_a_skipped_run_whose_end_hook_fails_has_failed(scene: Scene) -> None:
    """What was stopped before may not run again: that is no skip."""
    scene.plan = replace(
        scene.plan,
        hooks=(hook("exit 3", *START, on_error=OnError.CANCEL), hook("exit 4", "SNAPSHOT_END")),
    )

    ended = scene.run()

    assert (ended.outcome, ended.failure) == (RunOutcome.FAILED, FailureClass.HOOK)
    assert ended.reason == (
        "skipped by its hook: hook 1 of plan web: exit code 3; hook 2 of plan web: exit code 4"
    )


def test_what_no_engine_can_do_stops_nothing(scene: Scene) -> None:
    """Neither where START hooks stop something, nor where nothing would be stopped."""

    def make(repo: Repo, on_start: OnStart | None = None) -> Any:
        del repo, on_start
        raise EngineError(FailureClass.NO_PROGRAM, "no such engine")

    scene.make = make  # type: ignore[method-assign]
    plain = scene.run()
    plain_sets = scene.sets[:]
    scene.plan = replace(scene.plan, hooks=(hook('echo stop >>"$LOG"', *START),))
    stopping = scene.run()

    ends = {(one.outcome, one.failure, one.reason) for one in (plain, stopping)}
    assert ends == {(RunOutcome.FAILED, FailureClass.NO_PROGRAM, "no such engine")}
    assert plain_sets == [START, HALTED]
    assert scene.sets[2:] == [("ANY_ERROR", "SNAPSHOT_ERROR")]
    assert scene.written() == []


def test_the_type_that_is_wanted_reaches_the_engine(scene: Scene) -> None:
    """And no other run."""
    wanted = RunConditions(wanted=BackupType.DIFF)
    scene.session.run(WEB, scene.config, RunCause.MANUAL, conditions=wanted)
    scene.run()

    assert [call for call in scene.calls if "backup" in call] == [
        "diff backup",
        f"backup after {MADE.snapshot}",
    ]


CAPTURED = CommandResult(ResultKind.SUCCESS, stats=MADE.stats, is_sealed=False)
END = ("SNAPSHOT_END",)


def sealing(scene: Scene, sealed: CommandResult = MADE, captured: CommandResult = CAPTURED) -> None:
    """Let the engine have something to seal; hooks start what was stopped, and tell of the end."""
    scene.answers |= {"backup": captured, "seal": sealed}
    ping = RunHook(
        frozenset(["CONDITION_SNAPSHOT_END"]),
        "actionDiscord",
        {"webhookUrl": "https://x.example/y"},
    )
    scene.plan = replace(
        scene.plan,
        hooks=(
            hook('echo start:{{ .Event }} >>"$LOG"', *END, "SNAPSHOT_SUCCESS", "SNAPSHOT_ERROR"),
            hook('echo good >>"$LOG"', "SNAPSHOT_SUCCESS"),
            hook('echo bad >>"$LOG"', "SNAPSHOT_ERROR"),
            ping,
        ),
    )

    def work() -> None:
        with scene.log.open("a") as log:
            log.write(f"{scene.calls[-1].split()[0]}:{len(scene.messages)}\n")

    scene.meanwhile = work


def test_what_was_stopped_starts_before_what_was_captured_is_sealed(scene: Scene) -> None:
    """Each hook once; the verdict, its hooks, notifications and retention wait for the seal."""
    sealing(scene)
    scene.plan = replace(scene.plan, retention=Retention(last=2))

    ended = scene.run()

    assert (ended.outcome, ended.snapshot, ended.stats) == (
        RunOutcome.SUCCESS,
        MADE.snapshot,
        MADE.stats,
    )
    assert scene.written() == [
        "backup:0",
        "start:CONDITION_SNAPSHOT_END",
        "seal:0",
        "good",
        "forget:1",
    ]
    assert scene.after.sets == [END, SUCCESS, ("FORGET_SUCCESS",)]
    assert scene.calls[-2:] == ["open /repo", "forget web of host, keep last 2"]


@pytest.mark.parametrize("failure", [FailureClass.DAMAGED, FailureClass.DISK_FULL])
def test_what_cannot_be_sealed_is_no_backup(scene: Scene, failure: FailureClass) -> None:
    """However well the source was read: nothing is forgotten for it."""
    sealing(scene, failed(failure, "a test restore differs"))
    scene.plan = replace(scene.plan, retention=Retention(last=2))

    ended = scene.run()

    assert (ended.outcome, ended.failure, ended.snapshot) == (RunOutcome.FAILED, failure, "")
    assert ended.reason == "a test restore differs"
    assert scene.written() == ["backup:0", "start:CONDITION_SNAPSHOT_END", "seal:0", "bad"]
    assert scene.after.sets == [END, FAILED]


def test_a_warning_of_the_capture_is_what_the_engine_makes_of_it(scene: Scene) -> None:
    """It gets it back when it seals; an END command that fails is told beside it."""
    warned = CommandResult(
        ResultKind.WARNING, FailureClass.SOURCE_CHANGED, "one file", is_sealed=False
    )
    sealing(scene, captured=warned)
    del scene.answers["seal"]
    scene.plan = replace(scene.plan, hooks=(hook("exit 3", *END),))

    ended = scene.run()

    assert (ended.outcome, ended.failure) == (RunOutcome.WARNING, FailureClass.SOURCE_CHANGED)
    assert ended.reason == "one file; hook 1 of plan web: exit code 3"


def test_a_capture_that_failed_is_never_sealed(scene: Scene) -> None:
    """All hooks run at once then, as after a failure of any engine."""
    sealing(scene, captured=replace(failed(FailureClass.NETWORK, "no route"), is_sealed=False))

    ended = scene.run()

    assert (ended.outcome, ended.reason) == (RunOutcome.FAILED, "no route")
    assert scene.after.sets == [FAILED]
    assert "seal" not in scene.calls


def test_a_runner_that_stops_seals_nothing_more(scene: Scene) -> None:
    """What it stopped has started; what was captured counts for nothing."""
    sealing(scene)
    scene.meanwhile = scene.session.stop

    ended = scene.run()

    assert (ended.outcome, ended.failure) == (RunOutcome.CANCELLED, FailureClass.INTERRUPTED)
    assert "seal" not in scene.calls
    assert scene.written() == ["start:CONDITION_SNAPSHOT_END", "bad"]


@pytest.mark.parametrize(("command", "phase"), [("true", Phase.SEALING), ("exit 3", Phase.ENDING)])
def test_the_journal_knows_that_what_was_stopped_has_started(
    scene: Scene, command: str, phase: Phase
) -> None:
    """Unless a command failed: then all are run once more after a crash, and others wait."""
    sealing(scene)
    scene.plan = replace(scene.plan, hooks=(hook(command, *END),))
    phases: list[Phase] = []
    used: list[bool] = []

    def look() -> None:
        phases.extend(one.run.phase for one in scene.journal.runs.unfinished())
        used.append(not scene.options.plans.is_sealed("web"))

    scene.meanwhile = look

    scene.run()

    assert phases == [Phase.WORKING, phase]
    assert used == [True, phase is Phase.ENDING]
    assert not scene.options.plans.is_sealed("web")


def test_something_unforeseen_while_it_is_sealed_ends_the_run(scene: Scene) -> None:
    """It is recorded and told, with the hooks of a failure; nothing starts twice."""
    sealing(scene)

    def fall() -> None:
        if scene.calls[-1] == "seal":
            raise ZeroDivisionError

    scene.meanwhile = fall

    with pytest.raises(ZeroDivisionError):
        scene.run()

    [run] = scene.journal.runs.list()
    assert run.ended is not None
    assert run.ended.outcome is RunOutcome.FAILED
    assert scene.written() == ["start:CONDITION_SNAPSHOT_END", "bad"]


def test_a_note_of_the_engine_is_told_and_changes_nothing(scene: Scene) -> None:
    """As that a flag was left out."""
    scene.answers["backup"] = replace(MADE, note="a flag was left out")

    ended = scene.run()

    assert (ended.outcome, ended.reason) == (RunOutcome.SUCCESS, "a flag was left out")


def test_a_start_hook_whose_failure_is_ignored_stops_nothing(scene: Scene) -> None:
    """That is what its owner asked for."""
    scene.plan = replace(scene.plan, hooks=(hook("exit 3", *START),))

    assert scene.run().outcome is RunOutcome.SUCCESS


def test_a_hook_after_the_work_that_fails_is_a_warning(scene: Scene) -> None:
    """Something may not run that should; the snapshot is there."""
    scene.plan = replace(scene.plan, hooks=(hook("exit 3", "SNAPSHOT_END"),))

    ended = scene.run()

    assert (ended.outcome, ended.failure) == (RunOutcome.WARNING, FailureClass.HOOK)
    assert (ended.snapshot, ended.reason) == (MADE.snapshot, "hook 1 of plan web: exit code 3")


def test_a_hook_after_a_failure_that_fails_too_is_told_beside_it(scene: Scene) -> None:
    """The failure stays the outcome, and its class."""
    scene.answers["backup"] = failed(FailureClass.NETWORK, "no route")
    scene.plan = replace(scene.plan, hooks=(hook("exit 3", "SNAPSHOT_END"),))

    ended = scene.run()

    assert (ended.outcome, ended.failure) == (RunOutcome.FAILED, FailureClass.NETWORK)
    assert ended.reason == "no route; hook 1 of plan web: exit code 3"


def test_start_hooks_that_ask_for_another_try_end_the_run(scene: Scene) -> None:
    """The worker and the repository are free meanwhile, and what they stopped runs."""
    counted = 'echo try >>"$LOG"; test "$(grep -c try "$LOG")" = 3'
    scene.plan = replace(
        scene.plan,
        hooks=(
            hook(counted, *START, on_error=OnError.RETRY_1_MINUTE),
            hook('echo start >>"$LOG"', "SNAPSHOT_END"),
        ),
    )

    waiting = scene.answer(Retry(900.0))
    assert waiting == Retry(900.0, 1060.0, 0, 1)
    assert "backup" not in scene.calls
    scene.now = 1060.0
    waiting = scene.answer(replace(waiting, at=None))
    assert waiting == Retry(900.0, 1120.0, 0, 2)
    assert scene.answer(replace(waiting, at=None)) is None

    assert scene.written() == ["try", "start", "try", "start", "try", "start"]
    assert scene.after.sets == [HALTED, HALTED, SUCCESS]
    assert scene.after.notified == [False, False, True]
    assert [run.again for run in scene.told] == [1060.0, 1120.0, None]
    assert [run.ended and run.ended.outcome for run in scene.told] == [
        RunOutcome.FAILED,
        RunOutcome.FAILED,
        RunOutcome.SUCCESS,
    ]


def test_what_failed_for_a_time_is_told_at_the_last_try(scene: Scene) -> None:
    """Commands run at each; notifications of the begin at the first, of the end at the last."""
    scene.answers["backup"] = failed(FailureClass.NETWORK, "no route")
    waiting: Retry | None = Retry(900.0)
    delays = []
    while waiting is not None:
        waiting = scene.answer(replace(waiting, at=None))
        if waiting is not None and waiting.at is not None:
            delays.append(waiting.at - scene.now)
            scene.now = waiting.at

    assert delays == [900.0, 1800.0, 3600.0]
    assert scene.before.notified == [True, False, False, False]
    assert scene.after.notified == [False, False, False, True]
    assert scene.after.sets == [FAILED] * 4
    reasons = [run.ended and run.ended.reason for run in scene.told]
    assert reasons == [
        "no route; it is tried again in 15 min",
        "no route; it is tried again in 30 min",
        "no route; it is tried again in 1 h",
        "no route",
    ]


def test_the_time_until_the_next_try_is_told_as_it_was_planned(scene: Scene) -> None:
    """A clock that moves on while it is written makes no 14 minutes of 15."""
    scene.answers["backup"] = failed(FailureClass.NETWORK, "no route")
    scene.tick = 0.01
    scene.answer(Retry(900.0))

    ended = scene.told[-1].ended
    assert ended is not None
    assert ended.reason == "no route; it is tried again in 15 min"


def test_what_was_done_before_a_run_is_told_at_its_end(scene: Scene) -> None:
    """Also of one that fails and is tried again."""
    conditions = RunConditions(Retry(900.0), remark="2 files were restored")
    for answer in ({"backup": failed(FailureClass.NETWORK, "it is gone")}, {}):
        scene.answers.clear()
        scene.answers.update(answer)
        scene.session.run(WEB, scene.config, RunCause.SCHEDULE, conditions=conditions)
    assert [run.ended and run.ended.reason for run in scene.told] == [
        "it is gone; 2 files were restored; it is tried again in 15 min",
        "2 files were restored",
    ]


def test_no_hook_runs_before_the_repository_has_answered(scene: Scene) -> None:
    """Those of the failure do at the last try."""
    refusal = failed(FailureClass.NETWORK, "it does not answer")
    assert scene.answer(Retry(900.0), refusal) is not None
    assert scene.answer(Retry(900.0, tries=3), refusal) is None

    assert scene.sets == [(), ("ANY_ERROR", "SNAPSHOT_ERROR")]
    assert scene.after.notified == [False, True]


def test_a_run_that_a_shutdown_cancels_does_not_answer_its_fire(scene: Scene) -> None:
    """It is tried again; what a person asked for and a shutdown cancels is not."""
    scene.meanwhile = scene.session.stop
    scene.answers["backup"] = failed(FailureClass.INTERRUPTED, "it was ended")
    assert scene.answer(Retry(900.0)) == Retry(900.0, 1900.0, 1)
    assert scene.told[-1].ended is not None
    assert scene.told[-1].ended.outcome is RunOutcome.CANCELLED
    scene.journal.past.give_up(WEB, scene.now)
    assert scene.answer(None) is None


def test_what_a_person_asks_for_meanwhile_leaves_the_fire_waiting(scene: Scene) -> None:
    """Unless it saves: then there is nothing more to do."""
    scene.answers["backup"] = failed(FailureClass.NETWORK, "no route")
    waiting = scene.answer(Retry(900.0))
    assert waiting is not None
    assert scene.answer(None) == waiting
    del scene.answers["backup"]
    assert scene.answer(None) is None


def test_a_run_that_died_is_tried_again(scene: Scene) -> None:
    """It answered a fire; one that has made a snapshot has saved it all."""
    for snapshot, expected in (("", Retry(900.0, 1900.0, 1)), ("abc", None)):
        leave(scene, Phase.WORKING, retry=Retry(900.0), snapshot=snapshot)
        (run,) = scene.session.recover_runs(scene.config)
        assert scene.waiting == expected
        assert run.again == (None if expected is None else expected.at)
        assert scene.after.notified[-1] is (expected is None)


def test_a_run_that_died_for_a_person_leaves_the_fire_waiting(scene: Scene) -> None:
    """As one that failed does."""
    leave(scene, Phase.WORKING, retry=Retry(900.0, 1500.0, 1))
    scene.session.recover_runs(scene.config)
    assert scene.waiting == Retry(900.0, 1500.0, 1)


def test_stale_locks_are_removed_where_that_is_wanted(scene: Scene) -> None:
    """Before the work, after the START hooks."""
    scene.repo = replace(scene.repo, auto_unlock=True)

    scene.run()

    assert scene.calls == ["open /repo", "unlock", "backup"]


def test_a_backup_is_given_the_last_snapshot_of_its_plan(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that cannot be read knows none: the repository is asked then."""
    scene.answers["backup"] = replace(MADE, stats=Stats(files_processed=3))
    scene.run()
    scene.run()

    def unreadable(*_: object) -> Run:
        raise JournalError("the journal cannot be read", "", FailureClass.UNKNOWN)

    monkeypatch.setattr(scene.journal.runs, "latest", unreadable)
    scene.run()

    assert scene.calls[1::2] == ["backup", "backup after 5f3a9c", "backup"]


def test_what_was_stopped_starts_again_where_the_locks_stay(scene: Scene) -> None:
    """Nothing is saved then."""
    scene.repo = replace(scene.repo, auto_unlock=True)
    scene.answers["unlock"] = failed(FailureClass.NETWORK, "no route")

    ended = scene.run()

    assert (ended.outcome, ended.reason) == (RunOutcome.FAILED, "no route")
    assert (scene.calls, scene.sets) == (["open /repo", "unlock"], [START, HALTED])


def test_a_stop_ends_the_work_but_not_what_follows(scene: Scene) -> None:
    """The engine's program ends; the hooks that start everything again run."""
    scene.plan = replace(scene.plan, hooks=(hook('echo start >>"$LOG"', "SNAPSHOT_END"),))
    scene.answers["backup"] = failed(FailureClass.INTERRUPTED, "ended by a signal")

    def stop() -> None:
        scene.session.stop()
        scene.runner.stop_all()

    scene.meanwhile = stop
    ended = scene.run()

    assert (ended.outcome, ended.failure) == (RunOutcome.CANCELLED, FailureClass.INTERRUPTED)
    assert ended.reason == "the runner was asked to end"
    assert (scene.written(), scene.after.sets) == (["start"], [FAILED])


EXCLUSIVE = HeldLock("ab", "nas", 12, 900.0, is_exclusive=True)


def test_others_locks_are_waited_for_before_anything_is_stopped(scene: Scene) -> None:
    """What START hooks stop stands still for the work only."""
    scene.plan = replace(scene.plan, hooks=(hook('echo stop >>"$LOG"', *START),))
    scene.options = SessionOptions(lock_wait=600.0)
    scene.__post_init__()
    scene.held = [(EXCLUSIVE,)] * 3
    stopped: list[list[str]] = []
    scene.on_wait = lambda: stopped.append(scene.written())

    ended = scene.run()

    assert (RunOutcome.SUCCESS, [30.0], [[]]) == (ended.outcome, scene.waits, stopped)
    assert [*LOOK, "unlock", "locks", "locks", "unlock", "locks"] == scene.calls[:7]


def test_a_lock_that_stays_fails_the_run_before_anything_is_stopped(scene: Scene) -> None:
    """It may be tried again later."""
    scene.plan = replace(scene.plan, hooks=(hook('echo stop >>"$LOG"', *START),))
    scene.held = [(EXCLUSIVE,)] * 2

    ended = scene.run()

    assert (RunOutcome.FAILED, FailureClass.LOCKED) == (ended.outcome, ended.failure)
    assert "the repository is locked by PID 12 on nas: nothing was stopped" == ended.reason
    assert ([], [HALTED[:2]]) == (scene.written(), scene.sets)


def test_locks_are_not_looked_at_where_nothing_is_stopped(scene: Scene) -> None:
    """The engine tells by itself who is in its way."""
    scene.plan = replace(scene.plan, hooks=(hook('echo end >>"$LOG"', "SNAPSHOT_END"),))

    scene.run()

    assert ["open /repo", "backup"] == scene.calls


def test_a_stop_of_the_runner_ends_the_wait_for_locks(scene: Scene) -> None:
    """It is no failure of the run. No START hook ran, so no END hook does."""
    before, after = hook('echo stop >>"$LOG"', *START), hook('echo start >>"$LOG"', "SNAPSHOT_END")
    scene.plan = replace(scene.plan, hooks=(before, after))
    scene.options = SessionOptions(lock_wait=600.0)
    scene.__post_init__()
    scene.held = [(EXCLUSIVE,)] * 9
    scene.on_wait = scene.session.stop

    assert RunOutcome.CANCELLED is scene.run().outcome
    assert ([], [HALTED[:2]]) == (scene.written(), scene.sets)


def test_who_dies_in_the_hooks_of_a_run_that_stopped_nothing_starts_nothing(scene: Scene) -> None:
    """The next start does not think that START hooks had run either."""

    def burst(*_: object, **__: object) -> HookOutcome:
        raise RuntimeError("a fault of ours")

    real, scene.after.run = scene.after.run, burst  # type: ignore[method-assign]
    scene.session.stop()
    with pytest.raises(RuntimeError, match="a fault of ours"):
        scene.run()
    scene.after.run = real  # type: ignore[method-assign]

    scene.session.recover_runs(scene.config)

    assert scene.sets == [HALTED[:2]]


def test_a_start_hook_that_a_stop_ends_cancels_the_run(scene: Scene) -> None:
    """It is no fault of the hook."""
    scene.plan = replace(scene.plan, hooks=(hook("sleep 60", *START, on_error=OnError.FATAL),))
    started = threading.Event()
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(scene.run()))
    thread.start()
    while not scene.runner._state:
        started.wait(0.01)
    scene.session.stop()
    scene.runner.stop_all()
    thread.join(10)

    assert [one.outcome for one in ended] == [RunOutcome.CANCELLED]
    assert scene.calls == LOOK


def test_nothing_is_begun_any_more_after_a_stop(scene: Scene) -> None:
    """Neither hook nor work."""
    scene.session.stop()

    assert scene.run().outcome is RunOutcome.CANCELLED
    assert (scene.before.sets, scene.calls) == ([], [])


def test_a_stop_between_the_hooks_and_the_work_is_seen(scene: Scene) -> None:
    """What was stopped starts again at once."""
    real = scene.before.run

    def run_and_stop(*arguments: object, **options: object) -> HookOutcome:
        result = real(*arguments, **options)  # type: ignore[arg-type]
        scene.session.stop()
        return result

    scene.before.run = run_and_stop  # type: ignore[method-assign]

    assert scene.run().outcome is RunOutcome.CANCELLED
    assert (scene.calls, scene.after.sets) == ([], [HALTED])


def test_after_something_unforeseen_everything_starts_again(scene: Scene) -> None:
    """It goes on to whoever asked for the run, which has failed."""

    def burst() -> None:
        raise RuntimeError("a fault of ours")

    scene.meanwhile = burst
    with pytest.raises(RuntimeError, match="a fault of ours"):
        scene.run()

    assert scene.after.sets == [HALTED]
    [run] = scene.journal.runs.list()
    assert run.ended is not None
    assert (run.ended.outcome, run.ended.failure) == (RunOutcome.FAILED, FailureClass.UNKNOWN)
    assert [one.ended for one in scene.told] == [run.ended]


def test_what_follows_is_left_to_the_next_start_if_it_cannot_be_run(scene: Scene) -> None:
    """The run stays open in the journal."""

    def burst(*_: object, **__: object) -> HookOutcome:
        raise RuntimeError("a fault of ours")

    scene.after.run = burst  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a fault of ours"):
        scene.run()

    assert [one.run.phase for one in scene.journal.runs.unfinished()] == [Phase.ENDING]


KEEP = Retention(last=3)


def test_the_retention_follows_the_hooks(scene: Scene) -> None:
    """With hooks of its own, as in Backrest."""
    scene.plan = replace(scene.plan, retention=KEEP)

    scene.run()

    assert scene.calls[2:] == ["open /repo", "forget web of host, keep last 3"]
    assert scene.before.sets == [START, ("FORGET_START",)]
    assert scene.after.sets == [SUCCESS, ("FORGET_SUCCESS",)]


EXIT_4 = "retention failed: hook 1 of plan web: exit code 4"
POLICY = ForgetPolicy(Timing(cron="0 1 * * *"), KEEP)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"retention": None}, MADE),
        ({"retention": Retention(keep_all=True)}, MADE),
        ({"forget": POLICY}, MADE),
        ({}, failed(FailureClass.NETWORK, "no route")),
    ],
)
def test_nothing_is_forgotten_without_reason(
    scene: Scene, changes: dict[str, object], answer: CommandResult
) -> None:
    """No retention, everything kept, a policy of the repository, or nothing saved."""
    scene.plan = replace(scene.plan, retention=changes.get("retention", KEEP))  # type: ignore[arg-type]
    scene.repo = replace(scene.repo, forget=changes.get("forget"))  # type: ignore[arg-type]
    scene.answers["backup"] = answer

    scene.run()

    assert scene.calls == ["open /repo", "backup"]


@pytest.mark.parametrize("answer", [CommandResult(ResultKind.SUCCESS), OUTCOMES[2][0]])
def test_the_retention_also_follows_where_little_was_saved(
    scene: Scene, answer: CommandResult
) -> None:
    """An unchanged or incomplete source has a snapshot all the same."""
    scene.plan = replace(scene.plan, retention=KEEP)
    scene.repo = replace(scene.repo, forget=replace(POLICY, timing=Timing()))
    scene.answers["backup"] = answer

    scene.run()

    assert scene.calls[-1] == "forget web of host, keep last 3"


def test_a_retention_that_fails_is_a_warning(scene: Scene) -> None:
    """The snapshot is there."""
    scene.plan = replace(scene.plan, retention=KEEP)
    scene.answers["forget web of host, keep last 3"] = failed(FailureClass.LOCKED, "in use")

    ended = scene.run()

    assert (ended.outcome, ended.snapshot) == (RunOutcome.WARNING, MADE.snapshot)
    assert (ended.failure, ended.reason) == (FailureClass.LOCKED, "retention failed: in use")
    assert scene.after.sets[-1] == ("FORGET_ERROR", "ANY_ERROR")


def test_a_hook_can_keep_the_retention_from_running(scene: Scene) -> None:
    """Its failure is the retention's."""
    scene.plan = replace(
        scene.plan,
        retention=KEEP,
        hooks=(hook("exit 4", "FORGET_START", on_error=OnError.FATAL),),
    )

    ended = scene.run()

    assert (ended.outcome, ended.reason) == (RunOutcome.WARNING, EXIT_4)
    assert scene.calls[-1] == "backup"
    assert scene.after.sets[-1] == ("ANY_ERROR", "FORGET_ERROR")


def test_a_path_that_is_a_link_fails_before_anything_is_stopped(scene: Scene) -> None:
    """The link alone would be saved, and retention would forget what was there before."""
    link = scene.folder / "photos"
    link.symlink_to("/big/photos")
    stop = hook('echo stop >>"$LOG"', *START)
    scene.plan = replace(scene.plan, paths=(str(link),), hooks=(stop,), retention=KEEP)

    ended = scene.run()

    assert (RunOutcome.FAILED, FailureClass.SOURCE_IS_LINK) == (ended.outcome, ended.failure)
    assert f"source-is-link: {link} is a link to /big/photos" in ended.reason
    assert (scene.written(), scene.calls) == ([], [])


FULL = Snapshot(
    "77ab0042" * 8,
    datetime.fromtimestamp(900, UTC),
    ("/data",),
    ("plan:web", "created-by:host"),
    7,
    3,
)
VOID = replace(FULL, id="5f3a9c01" * 8, time=datetime.fromtimestamp(950, UTC), files_processed=0)
NOTHING = CommandResult(ResultKind.SUCCESS, snapshot=VOID.id, stats=Stats())
EMPTIED = (
    "plan web: no file was there to save, while its snapshot 77ab0042 of 1970-01-01 00:15 UTC "
    "holds some: nothing is forgotten → if that is meant: backrest-runner run --accept-empty web "
    "(backup in place of run where a daemon runs)"
)


@pytest.mark.parametrize("snapshot", [VOID.id, ""])
def test_a_backup_of_nothing_after_one_of_something_is_a_warning(
    scene: Scene, snapshot: str
) -> None:
    """Whatever the reason; nothing is forgotten, also where nothing has changed since."""
    scene.plan = replace(scene.plan, retention=KEEP)
    scene.answers["backup"] = replace(NOTHING, snapshot=snapshot)
    scene.saved = (FULL, VOID)

    ended = scene.run()

    assert (RunOutcome.WARNING, FailureClass.SOURCE_EMPTY, EMPTIED) == (
        ended.outcome,
        ended.failure,
        ended.reason,
    )
    assert scene.calls == ["open /repo", "backup", "snapshots of web of host"]
    assert scene.sets == [START, ("SNAPSHOT_WARNING", "SNAPSHOT_END")]


def test_a_first_backup_of_nothing_says_so_and_is_a_success(scene: Scene) -> None:
    """A new service is empty; templates of hooks show no error."""
    scene.plan = replace(scene.plan, retention=KEEP)
    scene.answers["backup"] = NOTHING
    scene.saved = (VOID,)

    ended = scene.run()

    assert (RunOutcome.SUCCESS, "no file was there to save") == (ended.outcome, ended.reason)
    assert scene.calls[-1] == "forget web of host, keep last 3"
    assert {""} == {facts.error for facts in scene.after.facts}


def test_emptiness_that_was_accepted_is_a_success_until_there_are_files(scene: Scene) -> None:
    """Then it would be a loss again."""
    scene.plan = replace(scene.plan, retention=KEEP)
    scene.saved = (FULL, VOID)
    scene.journal.findings.accept_empty("web", 1000.0)
    outcomes = []
    for answer in (NOTHING, NOTHING, MADE, NOTHING):
        scene.answers["backup"] = scene.answers["backup after 5f3a9c"] = answer
        outcomes.append((scene.run().outcome, scene.calls[-1].partition(" ")[0]))

    good, bad = (RunOutcome.SUCCESS, "forget"), (RunOutcome.WARNING, "snapshots")
    assert [good, good, good, bad] == outcomes


def test_a_plan_that_is_empty_on_purpose_goes_on(tmp_path: Path) -> None:
    """The operator has said so for good."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        scene = Scene(tmp_path, journal, options=SessionOptions(frozenset({"web"})))
        scene.answers["backup"], scene.saved = NOTHING, (FULL, VOID)

        ended = scene.run()

    assert (RunOutcome.SUCCESS, "no file was there to save, as was accepted") == (
        ended.outcome,
        ended.reason,
    )


def test_an_emptied_plan_keeps_the_snapshots_of_all_that_share_a_policy(scene: Scene) -> None:
    """The policy of a repository knows no plans: it would take the last good ones away."""
    scene.repo = replace(scene.repo, forget=POLICY)
    scene.saved = (FULL, VOID)

    ended = scene.run(Job(JobKind.FORGET, "nas", "nas"))

    assert (ended.outcome, ended.reason) == (RunOutcome.WARNING, EMPTIED)
    assert scene.calls == ["open /repo", "snapshots of None of host"]
    scene.saved = (replace(VOID, tags=("plan:other", "created-by:host")), FULL)
    assert scene.run(Job(JobKind.FORGET, "nas", "nas")).outcome is RunOutcome.SUCCESS


def test_nothing_is_forgotten_any_more_after_a_stop(scene: Scene) -> None:
    """The backup has succeeded, though."""
    scene.plan = replace(scene.plan, retention=KEEP)
    scene.meanwhile = scene.session.stop

    assert scene.run().outcome is RunOutcome.SUCCESS
    assert scene.calls == ["open /repo", "backup"]


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (JobKind.FORGET, "forget all, keep last 3"),
        (JobKind.PRUNE, "prune to 5%"),
        (JobKind.CHECK, "check 10%"),
    ],
)
def test_what_concerns_a_repository_has_events_of_its_own(
    scene: Scene, kind: JobKind, call: str
) -> None:
    """START, then SUCCESS or the errors; stale locks are removed before it."""
    name = kind.name
    scene.repo = replace(
        scene.repo,
        auto_unlock=True,
        forget=POLICY,
        prune=PrunePolicy(max_unused_percent=5.0),
        check=CheckPolicy(read_data_subset_percent=10.0),
    )
    job = Job(kind, "nas", "nas")

    assert scene.run(job).outcome is RunOutcome.SUCCESS
    scene.answers[call] = failed(FailureClass.DAMAGED, "broken")
    assert scene.run(job).outcome is RunOutcome.FAILED
    scene.answers["unlock"] = failed(FailureClass.NETWORK, "no route")
    assert scene.run(job).outcome is RunOutcome.FAILED

    asked = ["snapshots of None of host"] if kind is JobKind.FORGET else []
    done = ["open /repo", "unlock", *asked, call]
    assert scene.calls == done * 2 + ["open /repo", "unlock"]
    assert scene.before.sets == [(f"{name}_START",)] * 3
    assert scene.after.sets == [
        (f"{name}_SUCCESS",),
        (f"{name}_ERROR", "ANY_ERROR"),
        ("ANY_ERROR", f"{name}_ERROR"),
    ]


def test_hooks_are_told_what_it_is_about(scene: Scene) -> None:
    """In Backrest's words, and how long it took."""
    scene.answers["backup"] = replace(MADE, reason="nearly all")

    def later() -> None:
        scene.now += 5

    scene.meanwhile = later
    scene.run()

    name = 'backup for plan "web"'
    of = (name, scene.repo, scene.plan)
    assert scene.before.facts == [HookFacts(*of, 1000.0)]
    assert scene.after.facts == [
        HookFacts(*of, 1005.0, 5.0, MADE.snapshot, MADE.stats, "nearly all")
    ]


@pytest.mark.parametrize(
    "job",
    [
        Job(JobKind.BACKUP, "gone", "nas"),
        Job(JobKind.PRUNE, "gone", "gone"),
        Job(JobKind.VERIFY, "web", "nas"),
    ],
)
def test_what_is_not_in_the_document_is_not_run(scene: Scene, job: Job) -> None:
    """Nor recorded."""
    with pytest.raises(UsageError, match="there is no"):
        scene.session.run(job, scene.config, RunCause.MANUAL)

    assert scene.journal.runs.list() == ()


def refuse(journal: Journal, *, refuse: bool = True) -> None:
    """Let nothing be written into the journal, as on a disk that is full."""
    journal._database._connection.execute(f"PRAGMA query_only = {'ON' if refuse else 'OFF'}")


def test_nothing_is_stopped_that_could_not_be_recorded(scene: Scene) -> None:
    """If we died then, nobody would start it again."""
    refuse(scene.journal)
    scene.plan = replace(scene.plan, hooks=(hook('echo stop >>"$LOG"', *START),))

    ended = scene.run()

    assert ended.outcome is RunOutcome.FAILED
    assert "cannot be written" in ended.reason
    assert "nothing may be stopped" in ended.reason
    assert (scene.calls, scene.written(), scene.sets) == ([], [], [HALTED[:2]])


def test_nothing_is_stopped_where_it_is_not_recorded_that_hooks_run(scene: Scene) -> None:
    """If we died then, the next start would think that none had."""
    scene.plan = replace(scene.plan, hooks=(hook('echo stop >>"$LOG"', *START),))
    scene.held = [(EXCLUSIVE,)] * 2
    scene.options = SessionOptions(lock_wait=600.0)
    scene.__post_init__()
    scene.on_wait = lambda: refuse(scene.journal)

    ended = scene.run()

    assert ended.outcome is RunOutcome.FAILED
    assert "nothing may be stopped" in ended.reason
    assert (scene.written(), scene.sets) == ([], [HALTED[:2]])


def test_nothing_is_stopped_where_the_repository_does_not_answer(scene: Scene) -> None:
    """Nor started: END hooks follow START hooks. Those of the failure run."""
    scene.plan = replace(
        scene.plan,
        hooks=(
            hook('echo stop >>"$LOG"', *START),
            hook('echo start >>"$LOG"', "SNAPSHOT_END"),
            hook('echo alarm >>"$LOG"', "SNAPSHOT_ERROR"),
        ),
    )
    refusal = failed(FailureClass.NETWORK, "it does not answer")
    conditions = RunConditions(refusal=refusal)
    run = scene.session.run(WEB, scene.config, RunCause.SCHEDULE, conditions=conditions)

    assert run.ended is not None
    assert (run.ended.outcome, run.ended.failure) == (RunOutcome.FAILED, FailureClass.NETWORK)
    assert (scene.calls, scene.written(), scene.sets) == (
        [],
        ["alarm"],
        [("ANY_ERROR", "SNAPSHOT_ERROR")],
    )


def test_what_stops_nothing_is_saved_all_the_same(scene: Scene) -> None:
    """A notification at the start is no obstacle; the run is recorded when that can be done."""
    refuse(scene.journal)
    ping = RunHook(frozenset(["CONDITION_ANY_ERROR"]), "actionHealthchecks")
    scene.plan = replace(scene.plan, hooks=(ping, hook("true", "SNAPSHOT_END")))

    assert scene.run().outcome is RunOutcome.SUCCESS
    refuse(scene.journal, refuse=False)
    assert scene.run().outcome is RunOutcome.SUCCESS

    assert [run.ended and run.ended.outcome for run in scene.journal.runs.list()] == [
        RunOutcome.SUCCESS,
        RunOutcome.SUCCESS,
    ]


def leave(
    scene: Scene,
    phase: Phase,
    *,
    job: Job = WEB,
    snapshot: str = "",
    retry: Retry | None = None,
) -> int:
    """Leave a run as a runner does that dies."""
    resume = Resume(scene.repo, scene.plan if job is WEB else None, "host")
    number = scene.journal.runs.begin(job, RunCause.SCHEDULE, 900.0, render_resume(resume), retry)
    scene.journal.runs.phase(number, phase, snapshot)
    return number


def test_a_run_that_died_is_brought_to_its_end(scene: Scene) -> None:
    """By the hooks as they were, also if the document has lost them since."""
    scene.plan = replace(scene.plan, hooks=(hook('echo "{{ .Event }}" >>"$LOG"', "SNAPSHOT_END"),))
    number = leave(scene, Phase.ENDING, snapshot="5f3a")
    scene.plan = replace(scene.plan, hooks=())

    [run] = scene.session.recover_runs(scene.config)

    assert run.ended == Ended(
        RunOutcome.INTERRUPTED,
        1000.0,
        "5f3a",
        failure=FailureClass.INTERRUPTED,
        reason="the runner died during this run",
    )
    assert scene.written() == ["CONDITION_SNAPSHOT_END"]
    assert (scene.after.sets, scene.calls) == ([FAILED], ["open /repo", "unlock"])
    assert [one.ended for one in scene.journal.runs.list()] == [run.ended]
    assert (scene.told, number) == ([run], run.id)
    assert scene.session.recover_runs(scene.config) == ()


@pytest.mark.parametrize(
    ("phase", "written"), [(Phase.ENDING, ["started", "alarm"]), (Phase.SEALING, ["alarm"])]
)
def test_a_run_that_died_while_it_was_sealed_has_started_what_was_stopped(
    scene: Scene, phase: Phase, written: list[str]
) -> None:
    """END commands had run: once more only where that is not certain. It is tried again."""
    scene.plan = replace(
        scene.plan,
        hooks=(
            hook('echo started >>"$LOG"', "SNAPSHOT_END", "SNAPSHOT_ERROR"),
            hook('echo alarm >>"$LOG"', "SNAPSHOT_ERROR"),
        ),
    )
    leave(scene, phase, retry=Retry(900.0))

    [run] = scene.session.recover_runs(scene.config)

    assert run.ended is not None
    assert (run.ended.outcome, run.ended.snapshot) == (RunOutcome.INTERRUPTED, "")
    assert scene.written() == written
    assert scene.waiting is not None


@pytest.mark.parametrize("config", [None, Config()])
def test_it_is_brought_to_its_end_without_a_document(scene: Scene, config: Config | None) -> None:
    """What is stopped must not wait until somebody has repaired that."""
    leave(scene, Phase.WORKING)

    scene.session.recover_runs(config)

    assert scene.calls == ["open /repo", "unlock"]


def test_the_repository_is_unlocked_by_what_the_document_says_now(scene: Scene) -> None:
    """Its address or password may have been put right."""
    leave(scene, Phase.WORKING)
    scene.repo = replace(scene.repo, uri="/moved")

    scene.session.recover_runs(scene.config)

    assert scene.calls == ["open /moved", "unlock"]


@pytest.mark.parametrize("kind", [JobKind.RESTORE, JobKind.VERIFY])
@pytest.mark.parametrize("is_known", [True, False])
def test_what_runs_without_hooks_is_unlocked_for_too(
    scene: Scene, kind: JobKind, is_known: bool
) -> None:
    """A restore or a verification that was killed has left its lock, if its repository is known."""
    scene.journal.runs.begin(Job(kind, "web", "nas"), RunCause.MANUAL, 900.0, "")

    [run] = scene.session.recover_runs(scene.config if is_known else None)

    assert run.ended is not None
    assert "the runner died during this run" == run.ended.reason
    assert scene.calls == ["open /repo", "unlock"] * is_known


@pytest.mark.parametrize(("phase", "events"), [(Phase.BEGUN, HALTED[:2]), (Phase.STARTING, FAILED)])
def test_before_the_work_there_is_nothing_to_unlock(
    scene: Scene, phase: Phase, events: tuple[str, ...]
) -> None:
    """But hooks may have stopped something, once they had begun."""
    leave(scene, phase)

    scene.session.recover_runs(scene.config)

    assert (scene.calls, scene.after.sets) == ([], [events])


def test_hooks_that_are_through_are_not_run_again(scene: Scene) -> None:
    """Who died while forgetting has started everything again; that only is to be told."""
    leave(scene, Phase.FORGETTING, snapshot="5f3a")

    scene.session.recover_runs(scene.config)

    assert scene.after.sets == [("FORGET_ERROR", "ANY_ERROR")]


def test_who_dies_while_forgetting_after_a_hook_that_failed_runs_the_hooks_again(
    scene: Scene,
) -> None:
    """What that hook should have started may still be stopped."""
    scene.plan = replace(
        scene.plan, retention=KEEP, hooks=(hook('echo end >>"$LOG"; exit 3', "SNAPSHOT_END"),)
    )

    def die() -> None:
        if scene.calls[-1].startswith("forget"):
            raise KeyboardInterrupt

    scene.meanwhile = die
    # A kill records nothing more; what is raised here would record the end.
    scene.journal.runs.end = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        scene.run()
    del scene.journal.runs.end
    scene.meanwhile = lambda: None

    [run] = scene.session.recover_runs(scene.config)

    assert scene.after.sets == [SUCCESS, FAILED]
    assert scene.written() == ["end", "end"]
    assert run.ended is not None
    assert "hook 1 of plan web: exit code 3" in run.ended.reason


def test_work_on_a_repository_is_brought_to_its_end_too(scene: Scene) -> None:
    """With its own events."""
    leave(scene, Phase.WORKING, job=PRUNE)

    scene.session.recover_runs(scene.config)

    assert scene.after.sets == [("PRUNE_ERROR", "ANY_ERROR")]


def test_what_cannot_be_put_right_is_told(scene: Scene) -> None:
    """A hook that fails, a repository that stays locked, a record that cannot be read."""
    scene.plan = replace(scene.plan, hooks=(hook("exit 9", "SNAPSHOT_END"),))
    leave(scene, Phase.WORKING)
    scene.journal.runs.begin(WEB, RunCause.MANUAL, 901.0, "{}")
    scene.journal.runs.begin(Job(JobKind.VERIFY, "web", "nas"), RunCause.MANUAL, 902.0, "")
    scene.answers["unlock"] = failed(FailureClass.NETWORK, "no route")

    reasons = [run.ended.reason for run in scene.session.recover_runs(None) if run.ended]

    died = "the runner died during this run"
    assert reasons == [
        f"{died}; hook 1 of plan web: exit code 9; the repository could not be unlocked: no route",
        f"{died}; what was to be done after it cannot be read: see whether everything runs again",
        died,
    ]


def test_a_resume_that_is_interrupted_is_done_again(scene: Scene) -> None:
    """Nothing is lost between two deaths."""
    leave(scene, Phase.WORKING)

    def burst(*_: object, **__: object) -> HookOutcome:
        raise KeyboardInterrupt

    real = scene.after.run
    scene.after.run = burst  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        scene.session.recover_runs(scene.config)
    scene.after.run = real  # type: ignore[method-assign]

    assert len(scene.session.recover_runs(scene.config)) == 1
    assert scene.after.sets == [FAILED]


def test_the_record_for_the_next_start_comes_back_whole() -> None:
    """Hooks with secrets, retentions, policies: byte for byte the same plan."""
    repo = Repo(
        "nas",
        "rest:https://u:p@host",
        password="s3cret",
        env=(("A", "b"),),
        flags=("--x",),
        forget=POLICY,
        prune=PrunePolicy(Timing("0 1 * * *"), 5, 2.5),
        check=CheckPolicy(structure_only=True),
        hooks=(hook("a", "ANY_ERROR"), RunHook(frozenset(), "actionSlack", {"webhookUrl": "u"})),
    )
    resume = Resume(repo, RunPlan("web", "nas", ("/a",), retention=KEEP), "host")

    assert parse_resume(render_resume(resume)) == resume
    assert "s3cret" not in repr(resume)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"repo": {"id": 3}}'])
def test_what_is_no_record_is_seen_as_such(text: str) -> None:
    """It is told; the rest of the start goes on."""
    assert parse_resume(text) is None


@dataclass
class Leftover:
    """A process of a runner that is gone; `find` its start."""

    process: "subprocess.Popen[bytes]"

    @property
    def child(self) -> Child:
        """Its name among processes."""
        return child_of(self.process.pid)


@pytest.fixture
def leftover(tmp_path: Path) -> Iterator[Callable[[str, bool], Leftover]]:
    """Start programs as a runner would, in groups of their own, with its mark or without."""
    made: list[subprocess.Popen[bytes]] = []

    def start(script: str, has_mark: bool) -> Leftover:
        environ = marked(os.environ, tmp_path) if has_mark else dict(os.environ)
        process = subprocess.Popen(
            ["sh", "-c", f"{script}; echo up; exec sleep 60"],
            env=environ,
            start_new_session=True,
            stdout=subprocess.PIPE,
        )
        made.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return Leftover(process)

    yield start
    for process in made:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


Start = Callable[[str, bool], Leftover]


def test_leftovers_are_told_by_their_mark(tmp_path: Path, leftover: Start) -> None:
    """Nobody else's programs are, nor those of another runner."""
    ours, _ = leftover(":", True), leftover(":", False)

    assert [child.pid for child in find_leftovers(tmp_path)] == [ours.process.pid]
    assert find_leftovers(tmp_path / "other") == ()


def test_leftovers_are_waited_for_then_asked_then_forced(tmp_path: Path, leftover: Start) -> None:
    """One that ignores the request is ended all the same."""
    polite, stubborn = leftover(":", True), leftover("trap '' INT TERM", True)
    seconds = iter(range(1000))

    def reap(_: float) -> None:
        for one in (polite, stubborn):
            one.process.poll()

    ended = end_leftovers(tmp_path, 2.0, 3.0, monotonic=lambda: float(next(seconds)), sleep=reap)

    assert ended == 2
    assert polite.process.wait(10) == -signal.SIGINT
    assert stubborn.process.wait(10) == -signal.SIGKILL


def test_a_leftover_that_ends_by_itself_is_left_to(tmp_path: Path, leftover: Start) -> None:
    """A hook that is nearly through knows best what it still has to do."""
    hook_at_work = leftover(":", True)

    def end(_: float) -> None:
        hook_at_work.process.kill()
        hook_at_work.process.wait()

    assert end_leftovers(tmp_path, 1e9, 0.0, sleep=end) == 0


def test_the_programs_of_a_run_that_died_are_ended_first(scene: Scene, leftover: Start) -> None:
    """The recorded child without its mark, and what the mark finds."""
    recorded, unrecorded = leftover(":", False), leftover(":", True)
    number = leave(scene, Phase.WORKING)
    scene.journal.runs.child(number, recorded.child)
    watch = threading.Thread(target=lambda: (recorded.process.wait(), unrecorded.process.wait()))
    watch.start()

    scene.session.recover_runs(scene.config)
    watch.join(10)

    statuses = [recorded.process.returncode, unrecorded.process.returncode]
    assert statuses == [-signal.SIGINT, -signal.SIGINT]


def test_nothing_is_ended_where_no_run_died(scene: Scene, leftover: Start) -> None:
    """A hook may have started something that is meant to stay."""
    staying = leftover(":", True)

    scene.session.recover_runs(scene.config)

    assert staying.process.poll() is None


@pytest.fixture(autouse=True)
def listen(caplog: pytest.LogCaptureFixture) -> None:
    """Hear what is told."""
    caplog.set_level(logging.INFO)
