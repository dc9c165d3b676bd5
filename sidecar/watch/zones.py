"""Which time zone the runner's schedules are read in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from sidecar.errors import InventoryError, UsageError
from sidecar.watch.inventory import Engine

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
        if (zone := _named(flag)) is None:
            raise UsageError(
                f"--timezone {flag!r} is no time zone that is known here",
                "write a name as in Europe/Berlin, or UTC",
            )
        return Zone(zone, flag, "--timezone")
    name, trouble = _ask_runner(docker_sock, runner)
    if name and (zone := _named(name)) is not None:
        return Zone(zone, name, f"TZ of the container {runner}")
    local, called = local_zone()
    return Zone(
        local, called, f"this machine's, because {trouble or f'TZ={name} is not known here'}"
    )


def _ask_runner(docker_sock: str | None, runner: str) -> tuple[str, str]:
    """Ask for the runner's TZ: its value, or nothing and why."""
    try:
        with Engine(docker_sock, timeout=_ENGINE_SECONDS) as engine:
            name = engine.time_zone_of(runner)
    except InventoryError:
        return "", "no engine answers"
    return (name, "") if name else ("", f"no container {runner} tells a TZ")


def local_zone(
    environment: Mapping[str, str] | None = None, localtime: Path = Path("/etc/localtime")
) -> tuple[tzinfo, str]:
    """Find this machine's zone with its summer time, and its name; UTC if there is none."""
    variables = os.environ if environment is None else environment
    name = variables.get("TZ", "")
    if name and (zone := _named(name)) is not None:
        return zone, name
    _, found, name = os.path.realpath(localtime).partition("/zoneinfo/")
    if found and (zone := _named(name)) is not None:
        return zone, name
    try:
        with localtime.open("rb") as file:
            return ZoneInfo.from_file(file), "local time"
    except (OSError, ValueError):
        return UTC, "UTC"


def _named(name: str) -> tzinfo | None:
    """Look a zone up by its name, also as TZ spells it (`:Europe/Berlin`)."""
    try:
        return ZoneInfo(name.removeprefix(":"))
    except (OSError, ValueError, KeyError):
        # Not found is a KeyError; a folder or a name like ../x one of the others.
        return None
