"""Docker in memory, for tests that stop and start containers around a backup."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container, ContainerState

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
DEPENDS_ON = "com.docker.compose.depends_on"


def part_of(project: str, service: str, *needs: str) -> dict[str, str]:
    """Return what Compose puts on a service's container."""
    entries = ",".join(f"{need}:service_started:false" for need in needs)
    return {PROJECT: project, SERVICE: service, DEPENDS_ON: entries}


def held(name: str, labels: Mapping[str, str] | None = None, state: str = "running") -> Container:
    """Return a container as the runner sees it."""
    return Container(f"id-{name}", name, labels=labels or {}, state=state)


@dataclass
class QuiesceDocker:
    """Holds containers; `failures` are what a call raises, one for each time it is made.

    `running` are ids of those that run whatever is done; `stopping` tells how many questions
    it takes until one has stopped, `ended` when one did, in unix seconds.
    """

    containers: dict[str, Container]
    failures: dict[str, list[str]] = field(default_factory=dict)
    time: float = 1000.0
    running: set[str] = field(default_factory=set)
    stopping: dict[str, int] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    fleeting: frozenset[str] = frozenset()
    calls: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, *containers: Container, **settings: object) -> "QuiesceDocker":
        """Make one of containers."""
        return cls({one.id: one for one in containers}, **settings)  # type: ignore[arg-type]

    def _call(self, call: str) -> None:
        self.calls.append(call)
        if reasons := self.failures.get(call):
            raise DockerError(reasons.pop(0))

    def all(self) -> tuple[Container, ...]:
        """List all."""
        return tuple(self.containers.values())

    def providers(self) -> Mapping[str, str]:
        """Share no network."""
        return {}

    def find(self, name: str) -> Container | None:
        """Find one."""
        return next((one for one in self.all() if name in {one.id, one.name}), None)

    def goes_when_stopped(self, container: str) -> bool:
        """Tell."""
        return container in self.fleeting

    def state(self, container: str) -> ContainerState | None:
        """Tell; one that is about to stop comes nearer to it each time that it is asked for."""
        if container not in self.containers:
            return None
        left = self.stopping.get(container, 0)
        if left:
            self.stopping[container] = left - 1
            self.time += 1
        status = "running" if left or container in self.running else "exited"
        ended = datetime.fromtimestamp(self.ended.get(container, self.time), UTC).isoformat()
        return ContainerState(container, container, status, ended)

    def now(self) -> float:
        """Tell the time."""
        return self.time

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        del seconds
        self._call(f"stop {container}")

    def start(self, container: str) -> bool:
        """Start it."""
        self._call(f"start {container}")
        return container in self.containers

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Remove it."""
        del seconds
        self._call(f"discard {name}")
        return True
