"""What processes that died have left: runs without an end, and containers that are stopped."""

import logging
import time
from dataclasses import dataclass

from sidecar.docker.one_shot import OneShotDocker
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.hooks.resume import MarkerResumer
from sidecar.runner.job.session import Session
from sidecar.runner.journal import Journal, Run
from sidecar.runner.once.leftover import recover_leftovers
from sidecar.runner.quiesce import Wait, while_nobody_stops

_log = logging.getLogger(__name__)


def start_leftovers(
    docker: OneShotDocker | None,
    journal: Journal,
    wait: Wait | None = None,
    *,
    is_alone: bool = True,
) -> tuple[str, ...]:
    """Start what a process stopped which was killed; return a sentence for each that stays.

    For `wait` see `start_again`, for `is_alone` `recover_leftovers`. Raises DockerError or
    JournalError.
    """
    if docker is not None:
        return recover_leftovers(docker, journal, wait, is_alone=is_alone)
    reason = "could not be started: --docker-sock says that there is no Docker"
    return tuple(
        f"{one.name} is stopped and {reason}" for one in journal.containers.still_stopped()
    )


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Finishes and starts what is left, at the start and whenever it is called.

    Attributes:
        journal: holds the runs without an end, and what our own processes have stopped.
        document: by it runs are finished.
        session: finishes them.
        docker: starts containers; None where there is none.
        resumer: starts what hooks have stopped.
    """

    journal: Journal
    document: ExecutedDocument
    session: Session
    docker: OneShotDocker | None
    resumer: MarkerResumer

    def recover(self) -> tuple[Run, ...]:
        """Finish the runs that a runner which died has left, and start what it stopped."""
        recovered = self.session.recover_runs(self.document.config)
        self.start_again(time.sleep)
        return recovered

    def start_again(self, wait: Wait | None = None) -> tuple[str, ...]:
        """Start what a process stopped which was killed, and what hooks have left stopped.

        What hooks of a run that is under way speak of stays stopped until that has saved. Returns a
        sentence for each that could not be started. For `wait` see `start_leftovers`.
        """
        try:
            left = self._start_leftovers(wait)
        except SidecarError as error:
            log_event(_log, logging.ERROR, "journal.unreadable", reason=error.message)
            left = ()
        with while_nobody_stops(self.journal.path.parent) as is_free:
            return (*left, *self._resume_markers()) if is_free else left

    def _start_leftovers(self, wait: Wait | None) -> tuple[str, ...]:
        names = tuple(one.name for one in self.journal.containers.still_stopped())
        with self.resumer.plans.unused("", *names) as is_free:
            return start_leftovers(self.docker, self.journal, wait) if is_free else ()

    def _resume_markers(self) -> tuple[str, ...]:
        try:
            return self.resumer.resume()
        except SidecarError as error:
            log_event(_log, logging.ERROR, "quiesced.unreadable", reason=error.message)
            return (f"what hooks have stopped cannot be started: {error.message}",)
