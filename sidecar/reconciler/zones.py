"""Which time zone the runner's schedules are read in."""

from dataclasses import dataclass
from datetime import tzinfo

from sidecar.docker.inventory import DockerInventory
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.lib.zones import local_zone, named_zone

# A look at the engine is only a convenience here, so nobody waits long for it.
_ENGINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone, what to call it, and in words where it was found."""

    zone: tzinfo
    name: str
    source: str


def resolve_zone(flag: str | None, docker_sock: str | None, runner: str) -> Zone:
    """Find the zone: the flag's, else TZ of the runner's container, else this machine's.

    `docker_sock` is the engine's address, None for the usual one. Raises UsageError
    for a flag that names no zone; an engine that does not answer is no failure.
    """
    if flag is not None:
        if (zone := named_zone(flag)) is None:
            raise UsageError(
                f"--timezone {flag!r} is no time zone that is known here",
                "write a name as in Europe/Berlin, or UTC",
            )
        return Zone(zone, flag, "--timezone")
    name, trouble = _ask_runner(docker_sock, runner)
    if name and (zone := named_zone(name)) is not None:
        return Zone(zone, name, f"TZ of the container {runner}")
    local, called = local_zone()
    return Zone(
        local, called, f"this machine's, because {trouble or f'TZ={name} is not known here'}"
    )


def _ask_runner(docker_sock: str | None, runner: str) -> tuple[str, str]:
    """Ask for the runner's TZ: its value, or nothing and why."""
    try:
        with DockerInventory(docker_sock, timeout=_ENGINE_SECONDS) as engine:
            name = engine.time_zone_of(runner)
    except InventoryError:
        return "", "no engine answers"
    return (name, "") if name else ("", f"no container {runner} tells a TZ")


__all__ = [
    "Zone",
    "local_zone",
    "resolve_zone",
]
