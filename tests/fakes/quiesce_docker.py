"""Docker in memory, for tests that stop and start containers around a backup."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.docker.lifecycle import ContainersError
from sidecar.docker.usage import ContainerUse

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
DEPENDS_ON = "com.docker.compose.depends_on"


def part_of(project: str, service: str, *needs: str) -> dict[str, str]:
    """Return what Compose puts on a service's container."""
    entries = ",".join(f"{need}:service_started:false" for need in needs)
    return {PROJECT: project, SERVICE: service, DEPENDS_ON: entries}


def held(
    name: str, labels: Mapping[str, str] | None = None, state: str = "running"
) -> ContainerUse:
    """Return a container as the runner sees it."""
    return ContainerUse(f"id-{name}", name, state, labels or {})


@dataclass
class QuiesceDocker:
    """Holds containers; `failures` are what a call raises, one for each time it is made."""

    containers: dict[str, ContainerUse]
    failures: dict[str, list[str]] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    fleeting: frozenset[str] = frozenset()
    calls: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, *containers: ContainerUse, **settings: object) -> "QuiesceDocker":
        """Make one of containers."""
        return cls({one.id: one for one in containers}, **settings)  # type: ignore[arg-type]

    def _call(self, call: str) -> None:
        self.calls.append(call)
        if reasons := self.failures.get(call):
            raise ContainersError(reasons.pop(0))

    def all(self) -> tuple[ContainerUse, ...]:
        """List all."""
        return tuple(self.containers.values())

    def providers(self) -> Mapping[str, str]:
        """Share no network."""
        return {}

    def find(self, name: str) -> ContainerUse | None:
        """Find one."""
        return next((one for one in self.all() if name in {one.id, one.name}), None)

    def goes_when_stopped(self, container: str) -> bool:
        """Tell."""
        return container in self.fleeting

    def started_at(self, container: str) -> float | None:
        """Tell."""
        return self.started.get(container)

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        del seconds
        self._call(f"stop {container}")
        self.started.pop(container, None)

    def start(self, container: str) -> bool:
        """Start it."""
        self._call(f"start {container}")
        if container not in self.containers:
            return False
        self.started.setdefault(container, 1000.0)
        return True

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Remove it."""
        del seconds
        self._call(f"discard {name}")
        return True
