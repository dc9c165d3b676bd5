"""Whether a run of a plan is due or at work: then nothing is restored into what it saves.

What it saved would be half of one and half of the other, and its hooks start containers that a
restore has stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sidecar.backrest.reading import RunPlan
from sidecar.docker.markers import DIRECTORY, read_markers
from sidecar.engines.base import Engine, Snapshot
from sidecar.lib.errors import StoreError
from sidecar.runner.due import Moments, Scheduler, backup_job
from sidecar.runner.journal import Journal
from sidecar.runner.restore.choose import RestoreError

_WAIT = "wait for its end, or write --force to restore all the same"
_BACKREST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Tells whether a plan may be restored now.

    Attributes:
        journal: has the runs of our own.
        scheduler: knows when plans are due.
        is_executed: whether a runner is there that begins what is due.
        folder: where Backrest's hooks leave their markers.
        now: gives unix seconds.
    """

    journal: Journal
    scheduler: Scheduler
    is_executed: bool
    folder: Path
    now: Callable[[], float]

    def check(self, plan: RunPlan) -> None:
        """Raise RestoreError if a run of a plan of ours is due."""
        job = backup_job(plan)
        history = self.journal.past.history()
        if not self.is_executed or job not in history.moments or not plan.timing.is_active:
            return
        fire = self.scheduler.last_fire(plan.timing, history.moments[job], self.now())
        retry = history.retries.get(job)
        if fire is None and retry is not None and retry.at is not None and retry.at <= self.now():
            fire = retry.fire
        if fire is not None:
            raise self._due(plan, fire)

    def check_backrest(self, plan: RunPlan, engine: Engine, instance: str) -> None:
        """Raise RestoreError if Backrest has a run of a plan at work, or one is due, as it seems.

        It tells nobody: known are the markers of its hooks, the locks in the repository, and
        that the last fire is a moment ago and has made no snapshot. Raises EngineError.
        """
        if stopped := sorted(self._marked(plan)):
            names = ", ".join(stopped)
            raise RestoreError(
                f"Backrest saves {plan.id}, and has stopped {names} for it: nothing was touched",
                _WAIT,
            )
        if held := engine.locks():
            raise RestoreError(
                f"the repository {plan.repo} is in use ({held[0]}), perhaps by a run of {plan.id}: "
                "nothing was touched",
                _WAIT,
            )
        if not plan.timing.is_active:
            return
        since = Moments(self.now() - _BACKREST_SECONDS)
        fire = self.scheduler.last_fire(plan.timing, since, self.now())
        if fire is not None and _newest(engine.snapshots(plan, instance)) < fire:
            raise self._due(plan, fire)

    def _due(self, plan: RunPlan, fire: float) -> RestoreError:
        since = datetime.fromtimestamp(fire, self.scheduler.zone)
        return RestoreError(
            f"a run of {plan.id} is due since {since:%H:%M}: nothing was touched", _WAIT
        )

    def _marked(self, plan: RunPlan) -> Iterator[str]:
        try:
            found = read_markers(self.folder / DIRECTORY)
        except StoreError:
            return
        yield from (one.name for one in found if one.plan == plan.id)


def running(plan: RunPlan) -> RestoreError:
    """Return why a plan is not restored whose lock is held."""
    return RestoreError(
        f"a run of {plan.id}, or another restore of it, is at work: nothing was touched",
        "wait for its end",
    )


def _newest(snapshots: Sequence[Snapshot]) -> float:
    return max((one.time.timestamp() for one in snapshots), default=0.0)
