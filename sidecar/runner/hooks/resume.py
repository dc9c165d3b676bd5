"""Start again what hooks have stopped and no END hook has started.

Each marker in `.quiesced` is unfinished work, whether its run died, its END hook failed, or the
plan is gone from the document by now. The runner looks at its start and each minute.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.docker import containers, swarm
from sidecar.docker.client import DockerClient
from sidecar.docker.markers import DIRECTORY, Marker, read_markers, remove_marker
from sidecar.docker.stopped import Verdict, judge_container, judge_service
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.runner.job.running import RunningPlans

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MarkerResumer:
    """Looks at the markers whenever it is called.

    Attributes:
        folders: those in which hooks keep theirs.
        connect: makes a connection to Docker; None where there is none.
        plans: those that run; what they count on stays stopped.
        now: gives unix seconds.
    """

    folders: tuple[Path, ...]
    connect: Callable[[], DockerClient] | None
    plans: RunningPlans
    now: Callable[[], float] = time.time

    def resume(self) -> tuple[str, ...]:
        """Start what is ours, and return a sentence for each that could not be started.

        What was stopped last starts first, as END hooks do it. Where a stop may still be under
        way it is left to the next call. Raises SidecarError if nothing can be looked at.
        """
        found = [
            (folder / DIRECTORY, marker)
            for folder in self.folders
            for marker in read_markers(folder / DIRECTORY)
        ]
        markers = sorted(found, key=lambda one: -one[1].written_at)
        if not markers:
            return ()
        if self.connect is None:
            no_docker = "--docker-sock says that there is no Docker"
            return tuple(_say(one, no_docker) for _, one in markers)
        with self.connect() as connection:
            told = [self._resume_one(connection, *one) for one in markers]
        return tuple(filter(None, told))

    def _resume_one(self, connection: DockerClient, directory: Path, marker: Marker) -> str:
        with self.plans.unused(marker.plan, marker.name) as is_free:
            if not is_free:
                return ""
            try:
                self._settle(connection, directory, marker)
            except SidecarError as error:
                fields = {"name": marker.name, "reason": error.message}
                log_event(_log, logging.ERROR, "container.not-started", **fields)
                return _say(marker, error.message)
        return ""

    def _settle(self, connection: DockerClient, directory: Path, marker: Marker) -> None:
        verdict = self._judge(connection, marker)
        if verdict is Verdict.WAIT:
            return
        if verdict is None:
            log_event(_log, logging.WARNING, "container.gone", name=marker.name)
        elif (start := _STARTS.get(verdict)) is not None:
            start(connection, marker)
            log_event(_log, logging.INFO, "container.start", name=marker.name)
        elif verdict is not Verdict.NOTHING:
            log_event(_log, logging.WARNING, "container.left", name=marker.name)
        remove_marker(directory, marker)

    def _judge(self, connection: DockerClient, marker: Marker) -> Verdict | None:
        """Return what follows for what a marker names; None if it is gone."""
        if not marker.container:
            return Verdict.NOTHING if marker.was_never_used() else None
        if marker.is_of_service:
            return self._judge_service(connection, marker)
        state = containers.find_container(connection, marker.container)
        if state is None:
            return None
        if marker.was_never_used(state.name):
            return Verdict.NOTHING
        return judge_container(marker.stop, state.status, state.finished, self.now())

    def _judge_service(self, connection: DockerClient, marker: Marker) -> Verdict | None:
        service = swarm.find_service(connection, marker.container)
        if service is None or service.replicas is None or not marker.stop.replicas:
            return None
        if marker.was_never_used(service.name):
            return Verdict.NOTHING
        return judge_service(marker.stop, service.replicas, self.now())


def _start(connection: DockerClient, marker: Marker) -> None:
    containers.start_container(connection, marker.container)


def _unpause(connection: DockerClient, marker: Marker) -> None:
    containers.unpause_container(connection, marker.container)


def _scale(connection: DockerClient, marker: Marker) -> None:
    swarm.scale_service(connection, marker.container, marker.stop.replicas)


_STARTS: Mapping[Verdict, Callable[[DockerClient, Marker], None]] = {
    Verdict.START: _start,
    Verdict.UNPAUSE: _unpause,
    Verdict.SCALE: _scale,
}


def _say(marker: Marker, reason: str) -> str:
    return f"{marker.name} is stopped and could not be started: {reason}"
