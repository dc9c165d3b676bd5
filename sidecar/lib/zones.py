"""Find the time zone of this process, and zones by name."""

import os
from collections.abc import Mapping
from datetime import UTC, tzinfo
from difflib import get_close_matches
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from sidecar.lib.errors import UsageError


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


def require_known_zone(environment: Mapping[str, str] | None = None) -> None:
    """Raise UsageError if TZ is set to what is no zone, with the name that was probably meant.

    The C library and Go read such a TZ as UTC without a word, so every schedule would be off.
    """
    name = (os.environ if environment is None else environment).get("TZ", "")
    if name and named_zone(name) is None:
        raise UsageError(f"TZ={name} is no time zone that is known here", zone_hint(name, "TZ="))


def zone_hint(name: str, lead: str = "") -> str:
    """Return what to write instead of a name that is no zone, with `lead` before it."""
    known = available_timezones()
    if not known:
        return "this system has no time zones: install its package tzdata"
    names: dict[str, str] = {}
    for zone in sorted(known):
        # The city alone, or another case, is what people write: a full name goes first.
        names.setdefault(zone.rpartition("/")[2].casefold(), zone)
    names |= {zone.casefold(): zone for zone in known}
    wanted = name.strip(" :'\"").replace(" ", "_").casefold()
    found = get_close_matches(wanted, names, n=1, cutoff=0.8)
    if found:
        return f"write {lead}{names[found[0]]}"
    return f"write a name as in {lead}Europe/Berlin, or UTC"


def named_zone(name: str) -> tzinfo | None:
    """Return the zone of a name, also as TZ spells it (`:Europe/Berlin`); None if unknown."""
    try:
        return ZoneInfo(name.removeprefix(":"))
    except (OSError, ValueError, KeyError):
        # Not found is a KeyError; a folder or a name like ../x one of the others.
        return None
