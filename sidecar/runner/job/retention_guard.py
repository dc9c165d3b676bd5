"""Judge a backup beside the plan's other snapshots: may any of them be forgotten now?

Retention goes by the dates of snapshots alone. One from the future is the newest for as long as
it is there, and each that is made now would be forgotten in its place. One that holds no file, or
lacks some of the paths, counts as much as the last that holds the data.
"""

import contextlib
import logging
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import CommandResult, Engine, EngineError, FailureClass, Snapshot
from sidecar.lib.log import log_event
from sidecar.lib.text import short_id
from sidecar.runner.due import backup_job
from sidecar.runner.journal import AheadSnapshot, Journal, JournalError
from sidecar.runner.latest import FileLook, Latest, find_latest, is_ahead, render_deletion

_MOST_NAMED = 3
_NO_FILE = "no file was there to save"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackupVerdict:
    """What is to be told of a backup, and whether the plan's retention is left out.

    Attributes:
        warning: a sentence that makes the run a warning; empty: there is none.
        failure: its class.
        remark: a sentence that leaves the run what it is.
        keeps_all: whether no snapshot of the plan may be forgotten after this run.
    """

    warning: str = ""
    failure: FailureClass | None = None
    remark: str = ""
    keeps_all: bool = False

    def and_also(self, other: "BackupVerdict") -> "BackupVerdict":
        """Return what both say together."""
        return BackupVerdict(
            "; ".join(filter(None, (self.warning, other.warning))),
            self.failure or other.failure,
            "; ".join(filter(None, (self.remark, other.remark))),
            self.keeps_all or other.keeps_all,
        )


class RetentionGuard:
    """Judges backups, and the retention of repositories.

    `now` gives unix seconds; `on_purpose` are the ids of plans that may be empty. Safe for
    threads.
    """

    def __init__(
        self,
        journal: Journal,
        now: Callable[[], float],
        on_purpose: Collection[str] = (),
    ) -> None:
        self._journal = journal
        self._now = now
        self._on_purpose = on_purpose

    def judge(
        self, plan: RunPlan, instance: str, engine: Engine, result: CommandResult, began: float
    ) -> BackupVerdict:
        """Judge a backup that has worked, and that began at `began`, in unix seconds.

        What counts is what it has saved: what it was made of may be gone by now, as a dump is.
        """
        is_empty = result.stats is not None and not result.stats.files_processed
        known = self._known(plan)
        others: Sequence[Snapshot] | None = result.listed
        trouble = ""
        if is_empty or _later(others or (), began) or (others is None and known):
            # The list may be older than the backup; where there is none, what was ahead once
            # is looked for again.
            try:
                listed = engine.snapshots(plan, instance)
                others = [one for one in listed if not one.is_called(result.snapshot)]
            except EngineError as error:
                trouble = error.message
        ahead = known if others is None else self._note_ahead(plan, others, known)
        verdict = self._judge_dates(plan, others or (), ahead, began).and_also(_partial(result))
        if not is_empty:
            self._end_acceptance(plan)
            return verdict
        return verdict.and_also(self._judge_emptiness(plan, engine, others or (), trouble))

    def judge_repository(
        self, plans: Iterable[RunPlan], instance: str, engine: Engine
    ) -> BackupVerdict:
        """Judge whether snapshots of a repository with these plans may be forgotten.

        Raises EngineError.
        """
        listed = engine.snapshots(None, instance)
        ahead = _records(self._find_ahead(listed))
        for one in ahead[:_MOST_NAMED]:
            _log_ahead(one)
        verdict = _of_the_future(ahead)
        for plan in plans:
            tags = {f"plan:{plan.id}", f"created-by:{instance}"}
            own = [one for one in listed if tags.issubset(one.tags) and not one.is_forged]
            if not self._may_be_empty(plan):
                latest = self._find_latest(plan, engine, own)
                if latest.snapshot is not None and latest.empty:
                    verdict = verdict.and_also(_emptied(plan, latest.snapshot))
            verdict = verdict.and_also(_lacking(plan, own))
        return verdict

    def _judge_dates(
        self,
        plan: RunPlan,
        others: Sequence[Snapshot],
        ahead: tuple[AheadSnapshot, ...],
        began: float,
    ) -> BackupVerdict:
        for one in ahead[:_MOST_NAMED]:
            _log_ahead(one, plan=plan.id)
        if not ahead and _later(others, began):
            remark = "nothing is forgotten yet: a snapshot is dated later than that of this run"
            return BackupVerdict(remark=remark, keeps_all=True)
        return _of_the_future(ahead)

    def _judge_emptiness(
        self, plan: RunPlan, engine: Engine, others: Sequence[Snapshot], trouble: str
    ) -> BackupVerdict:
        """Judge a backup that has saved no file; `trouble`: why its others are not known."""
        if self._may_be_empty(plan):
            return BackupVerdict(remark=f"{_NO_FILE}, as was accepted")
        if not trouble:
            try:
                latest = self._find_latest(plan, engine, others)
            except EngineError as error:
                trouble = error.message
        if trouble:
            warning = f"{_NO_FILE}, and what was saved before cannot be seen: {trouble}"
            return BackupVerdict(warning, FailureClass.SOURCE_EMPTY, keeps_all=True)
        if latest.snapshot is None:
            return BackupVerdict(remark=_NO_FILE)
        verdict = _emptied(plan, latest.snapshot)
        log_event(_log, logging.WARNING, "plan.emptied", plan=plan.id, reason=verdict.warning)
        return verdict

    def _find_latest(self, plan: RunPlan, engine: Engine, snapshots: Sequence[Snapshot]) -> Latest:
        look = FileLook(engine, self._journal.runs, backup_job(plan))
        return find_latest(snapshots, look, self._now())

    def _may_be_empty(self, plan: RunPlan) -> bool:
        """Return whether somebody has said so."""
        if plan.id in self._on_purpose:
            return True
        try:
            return self._journal.findings.is_empty_accepted(plan.id)
        except JournalError:
            return False

    def _end_acceptance(self, plan: RunPlan) -> None:
        """Forget that the plan may be empty: there are files again."""
        with contextlib.suppress(JournalError):
            if self._journal.findings.is_empty_accepted(plan.id):
                self._journal.findings.end_acceptance(plan.id)

    def _note_ahead(
        self, plan: RunPlan, others: Sequence[Snapshot], known: tuple[AheadSnapshot, ...]
    ) -> tuple[AheadSnapshot, ...]:
        """Return the snapshots ahead of the clock; they replace the known ones in the journal."""
        ahead = _records(self._find_ahead(others))
        if ahead != known:
            self._journal.findings.set_ahead(plan.id, ahead)
        return ahead

    def _known(self, plan: RunPlan) -> tuple[AheadSnapshot, ...]:
        try:
            return self._journal.findings.ahead().get(plan.id, ())
        except JournalError:
            return ()

    def _find_ahead(self, snapshots: Iterable[Snapshot]) -> Iterable[Snapshot]:
        now = self._now()
        return (one for one in snapshots if is_ahead(one.time.timestamp(), now))


def _of_the_future(ahead: Sequence[AheadSnapshot]) -> BackupVerdict:
    if not ahead:
        return BackupVerdict()
    return BackupVerdict(_tell(ahead), FailureClass.CLOCK, keeps_all=True)


def _partial(result: CommandResult) -> BackupVerdict:
    """Return the verdict on a backup without some of its paths: others hold what they held."""
    if result.failure is not FailureClass.SOURCE_MISSING:
        return BackupVerdict()
    return BackupVerdict(remark="nothing is forgotten until all paths are there", keeps_all=True)


def _lacking(plan: RunPlan, own: Sequence[Snapshot]) -> BackupVerdict:
    """Return the verdict on a plan whose newest snapshot was made without some of its paths.

    `own` are its snapshots, oldest first.
    """
    held = {path for one in own for path in one.paths}
    lost = [
        path
        for path in map(os.path.normpath, plan.paths)
        if path in held and path not in own[-1].paths
    ]
    if not lost:
        return BackupVerdict()
    warning = (
        f"plan {plan.id}: its newest snapshot {own[-1].short} lacks {', '.join(lost)}, "
        "which an earlier one holds: nothing is forgotten until all paths are there"
    )
    return BackupVerdict(warning, FailureClass.SOURCE_MISSING, keeps_all=True)


def _emptied(plan: RunPlan, latest: Snapshot) -> BackupVerdict:
    """Return the verdict on a plan without a file, whose latest snapshot holds some."""
    held = f"{latest.short} of {_moment(latest.time.timestamp())} holds some"
    remedy = f"backrest-runner run --accept-empty {shlex.quote(plan.id)}"
    warning = (
        f"plan {plan.id}: {_NO_FILE}, while its snapshot {held}: nothing is forgotten "
        f"→ if that is meant: {remedy} (backup in place of run where a daemon runs)"
    )
    return BackupVerdict(warning, FailureClass.SOURCE_EMPTY, keeps_all=True)


def _later(snapshots: Iterable[Snapshot], moment: float) -> bool:
    """Return whether one is dated after a moment, in unix seconds."""
    return any(one.time.timestamp() > moment for one in snapshots)


def _remedy(ahead: Sequence[AheadSnapshot]) -> str:
    """Return what to do about snapshots from the future: `→ restic forget 5f3a9c01`."""
    return f"→ {render_deletion([one.snapshot for one in ahead[:_MOST_NAMED]])}"


def _records(snapshots: Iterable[Snapshot]) -> tuple[AheadSnapshot, ...]:
    return tuple(
        sorted((AheadSnapshot(one.id, one.time.timestamp()) for one in snapshots), key=_by_time)
    )


def _by_time(one: AheadSnapshot) -> tuple[float, str]:
    return one.time, one.snapshot


def _tell(ahead: Sequence[AheadSnapshot]) -> str:
    named = ahead[:_MOST_NAMED]
    said = ", ".join(f"{short_id(one.snapshot)} is dated {_moment(one.time)}" for one in named)
    more = len(ahead) - len(named)
    others = f" and {more} more" if more else ""
    until = "it is" if len(ahead) == 1 else "they are"
    return (
        f"snapshot.ahead: {said}{others}, ahead of the clock: "
        f"nothing is forgotten until {until} gone {_remedy(ahead)}"
    )


def _log_ahead(one: AheadSnapshot, **fields: str) -> None:
    told = {"snapshot": one.snapshot, "time": _moment(one.time), "hint": _remedy([one])}
    log_event(_log, logging.WARNING, "snapshot.ahead", **fields, **told)


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
