"""Wait for the locks of others before a run stops anything."""

import logging
import threading

from sidecar.engines.base import (
    CommandResult,
    EngineError,
    FailureClass,
    HeldLock,
    Upkeep,
    failed,
)
from sidecar.lib.duration import render_duration
from sidecar.lib.log import log_event

_LOOK_SECONDS = 30.0
_log = logging.getLogger(__name__)


def wait_for_locks(
    engine: Upkeep,
    seconds: float,
    stopping: threading.Event,
    *,
    repo: str,
    is_alone: bool,
    plan: str = "",
) -> CommandResult | None:
    """Wait until no lock is in the way; return why the run cannot begin, None if it can.

    Others are waited for so many seconds at most, unless the runner is `stopping`.

    `is_alone`: the run needs the repository for itself, else only exclusive locks are in its
    way, and those of its `plan`. Locks that nobody holds any more are removed. Of a repository
    that cannot be asked nothing is known: a START hook may be what makes it answer, and else the
    engine will tell. `repo` is its name, for the log.
    """
    waited = 0.0
    while (lock := _find_obstacle(engine, plan, is_alone=is_alone)) is not None:
        if waited >= seconds or stopping.is_set():
            return failed(FailureClass.LOCKED, _render_reason(lock, waited))
        if not waited:
            log_event(_log, logging.WARNING, "run.waits", repo=repo, locked_by=str(lock))
        pause = min(_LOOK_SECONDS, seconds - waited)
        stopping.wait(pause)
        waited += pause
    return None


def _find_obstacle(engine: Upkeep, plan: str, *, is_alone: bool) -> HeldLock | None:
    """Return the oldest lock in the way, after those that were left have been removed."""

    def find() -> HeldLock | None:
        in_the_way = (
            one
            for one in engine.locks()
            if is_alone or one.is_exclusive or (one.plan and one.plan == plan)
        )
        return next(in_the_way, None)

    try:
        if find() is None:
            return None
        # If that fails, the lock is still there.
        engine.unlock()
        return find()
    except EngineError:
        return None


def _render_reason(lock: HeldLock, waited: float) -> str:
    long = f", also after {render_duration(waited)}" if waited else ""
    return f"the repository is locked by {lock}{long}: nothing was stopped"
