"""In which time zone Backrest reads its schedules."""

from dataclasses import dataclass
from datetime import tzinfo

from sidecar.docker.inventory import DockerInventory
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.lib.zones import local_zone, named_zone, require_known_zone, zone_hint

# Docker is asked for convenience only, so nobody waits long for it.
_DOCKER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone, what to call it, and in words where it was found."""

    zone: tzinfo
    name: str
    source: str


def resolve_zone(flag: str | None, docker_sock: str | None, backrest: str) -> Zone:
    """Return the zone: the flag's, else TZ of the backrest container, else this machine's.

    `docker_sock` is Docker's address, None for the usual one; `backrest` is the name of
    the container. Raises UsageError for a flag or a TZ that names no zone; no error where Docker
    does not answer.
    """
    if flag is not None:
        if (zone := named_zone(flag)) is None:
            raise UsageError(
                f"--timezone {flag!r} is no time zone that is known here", zone_hint(flag)
            )
        return Zone(zone, flag, "--timezone")
    name, trouble = _read_zone(docker_sock, backrest)
    if name and (zone := named_zone(name)) is not None:
        return Zone(zone, name, f"TZ of the container {backrest}")
    require_known_zone()
    local, called = local_zone()
    return Zone(
        local, called, f"this machine's, because {trouble or f'TZ={name} is not known here'}"
    )


def _read_zone(docker_sock: str | None, backrest: str) -> tuple[str, str]:
    """Return the container's TZ, or an empty string and why."""
    try:
        with DockerInventory(docker_sock, timeout=_DOCKER_SECONDS) as docker:
            name = docker.time_zone_of(backrest)
    except InventoryError:
        return "", "no engine answers"
    return (name, "") if name else ("", f"no container {backrest} tells a TZ")
