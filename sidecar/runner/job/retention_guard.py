"""Judge a backup beside the plan's other snapshots: may any of them be forgotten now?

Retention goes by the dates of snapshots. One from the future is the newest for as long as it is
there, and each that is made now would be forgotten in its place.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import CommandResult, Engine, EngineError, FailureClass, Snapshot
from sidecar.lib.log import log_event
from sidecar.runner.journal import AheadSnapshot, Journal, JournalError
from sidecar.runner.latest import is_ahead

_MOST_NAMED = 3
_SHORT_ID = 8
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


class RetentionGuard:
    """Judges backups, and the retention of repositories; `now` gives unix seconds.

    Safe for threads.
    """

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        self._journal = journal
        self._now = now

    def judge(
        self, plan: RunPlan, instance: str, engine: Engine, result: CommandResult, began: float
    ) -> BackupVerdict:
        """Judge a backup that has worked, and that began at `began`, in unix seconds."""
        known = self._known(plan)
        others: Sequence[Snapshot] | None = result.listed
        if _later(others or (), began) or (others is None and known):
            # The list may be older than the backup; where there is none, what was ahead once
            # is looked for again.
            with contextlib.suppress(EngineError):
                listed = engine.snapshots(plan, instance)
                others = [one for one in listed if not one.is_called(result.snapshot)]
        ahead = known if others is None else self._note_ahead(plan, others, known)
        if ahead:
            for one in ahead[:_MOST_NAMED]:
                _log_ahead(one, plan=plan.id)
            return BackupVerdict(_tell(ahead), FailureClass.CLOCK, keeps_all=True)
        if _later(others or (), began):
            remark = "retention was left out: a snapshot is dated later than that of this run"
            return BackupVerdict(remark=remark, keeps_all=True)
        return BackupVerdict()

    def reason_not_to_forget(self, engine: Engine, instance: str) -> BackupVerdict:
        """Judge whether snapshots of a whole repository may be forgotten. Raises EngineError."""
        ahead = _records(self._find_ahead(engine.snapshots(None, instance)))
        if not ahead:
            return BackupVerdict()
        for one in ahead[:_MOST_NAMED]:
            _log_ahead(one)
        return BackupVerdict(_tell(ahead), FailureClass.CLOCK, keeps_all=True)

    def _note_ahead(
        self, plan: RunPlan, others: Sequence[Snapshot], known: tuple[AheadSnapshot, ...]
    ) -> tuple[AheadSnapshot, ...]:
        """Return the snapshots ahead of the clock; they replace the known ones in the journal."""
        ahead = _records(self._find_ahead(others))
        if ahead != known:
            self._journal.set_ahead(plan.id, ahead)
        return ahead

    def _known(self, plan: RunPlan) -> tuple[AheadSnapshot, ...]:
        try:
            return self._journal.ahead().get(plan.id, ())
        except JournalError:
            return ()

    def _find_ahead(self, snapshots: Iterable[Snapshot]) -> Iterable[Snapshot]:
        now = self._now()
        return (one for one in snapshots if is_ahead(one.time.timestamp(), now))


def _later(snapshots: Iterable[Snapshot], moment: float) -> bool:
    """Return whether one is dated after a moment, in unix seconds."""
    return any(one.time.timestamp() > moment for one in snapshots)


def _remedy(ahead: Sequence[AheadSnapshot]) -> str:
    """Return what to do about snapshots from the future: `→ restic forget 5f3a9c01`."""
    return f"→ restic forget {' '.join(one.snapshot[:_SHORT_ID] for one in ahead[:_MOST_NAMED])}"


def _records(snapshots: Iterable[Snapshot]) -> tuple[AheadSnapshot, ...]:
    return tuple(
        sorted((AheadSnapshot(one.id, one.time.timestamp()) for one in snapshots), key=_by_time)
    )


def _by_time(one: AheadSnapshot) -> tuple[float, str]:
    return one.time, one.snapshot


def _tell(ahead: Sequence[AheadSnapshot]) -> str:
    named = ahead[:_MOST_NAMED]
    said = ", ".join(f"{one.snapshot[:_SHORT_ID]} is dated {_moment(one)}" for one in named)
    more = len(ahead) - len(named)
    others = f" and {more} more" if more else ""
    until = "it is" if len(ahead) == 1 else "they are"
    return (
        f"snapshot.ahead: {said}{others}, ahead of the clock: "
        f"nothing is forgotten until {until} gone {_remedy(ahead)}"
    )


def _log_ahead(one: AheadSnapshot, **fields: str) -> None:
    told = {"snapshot": one.snapshot, "time": _moment(one), "hint": _remedy([one])}
    log_event(_log, logging.WARNING, "snapshot.ahead", **fields, **told)


def _moment(one: AheadSnapshot) -> str:
    return f"{datetime.fromtimestamp(one.time, UTC):%Y-%m-%d %H:%M} UTC"
