"""Find the time zone of this process, and zones by name."""

import os
from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo


def local_zone(
    environment: Mapping[str, str] | None = None, localtime: Path = Path("/etc/localtime")
) -> tuple[tzinfo, str]:
    """Return this machine's zone with its summer time, and its name; UTC if there is none."""
    variables = os.environ if environment is None else environment
    name = variables.get("TZ", "")
    if name and (zone := named_zone(name)) is not None:
        return zone, name
    _, found, name = os.path.realpath(localtime).partition("/zoneinfo/")
    if found and (zone := named_zone(name)) is not None:
        return zone, name
    try:
        with localtime.open("rb") as file:
            return ZoneInfo.from_file(file), "local time"
    except (OSError, ValueError):
        return UTC, "UTC"


def named_zone(name: str) -> tzinfo | None:
    """Return the zone of a name, also as TZ spells it (`:Europe/Berlin`); None if unknown."""
    try:
        return ZoneInfo(name.removeprefix(":"))
    except (OSError, ValueError, KeyError):
        # Not found is a KeyError; a folder or a name like ../x one of the others.
        return None
