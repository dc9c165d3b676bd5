"""Name the folders and files of a repository of rsync's. Pure.

A snapshot is a folder that is called after the time at which it was begun, and beside it lies
its record: `web/snapshots/2026-11-29_03-10-00/`, `web/snapshots/2026-11-29_03-10-00.json`. The
tree of the tool that many have used before, `--flat`, has tiers instead: `daily/...`.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime, timedelta, tzinfo
from urllib.parse import quote, unquote

PARTIAL = ".partial"
"""Ends the name of a snapshot while it is made."""
REMOVED = ".removed"
"""Ends the name of a snapshot while it is deleted."""
RECORD = ".json"
"""Ends the name of a snapshot's record."""
LOCKS = ".locks"
"""The folder of the locks, in the repository's own."""
TIERS = ("daily", "weekly", "monthly", "yearly")
"""The folders of a flat tree; new snapshots are made in the first."""

_FORMAT = "%Y-%m-%d_%H-%M-%S"
_NAME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", re.ASCII)
_SNAPSHOTS = "snapshots"
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PlanPlace:
    """Where the snapshots of a plan lie, relative to the repository's folder.

    `plan` is its id, empty in a flat tree; `folders` hold snapshots, new ones are made in the
    first; `latest` is the link to the newest.
    """

    plan: str
    folders: tuple[str, ...]
    latest: str

    @property
    def is_flat(self) -> bool:
        """Whether it is the tree of one plan, in tiers."""
        return not self.plan

    @property
    def home(self) -> str:
        """The folder in which new snapshots are made."""
        return self.folders[0]

    def id_of(self, name: str) -> str:
        """Return the id of the snapshot of this name, which no other of the repository has."""
        return f"{self.plan}@{name}" if self.plan else name

    def link_to(self, folder: str, name: str) -> str:
        """Return what `latest` leads to for a snapshot of one of the folders."""
        return f"{folder.rpartition('/')[2]}/{name}"


FLAT = PlanPlace("", TIERS, "latest")


def place_of(plan: str) -> PlanPlace:
    """Return the place of a plan in a repository of many."""
    folder = quote(plan, safe="")
    if folder.startswith("."):
        folder = f"%2E{folder[1:]}"
    return PlanPlace(plan, (f"{folder}/{_SNAPSHOTS}",), f"{folder}/latest")


def places_in(names: Iterable[str]) -> tuple[PlanPlace, ...]:
    """Return the places of the plans whose folders have these names; other names are no plan's."""
    found = (place_of(unquote(name)) for name in sorted(names) if not name.startswith("."))
    held = set(names)
    return tuple(place for place in found if place.home.rpartition("/")[0] in held)


def split_id(snapshot: str) -> tuple[str, str]:
    """Return the plan and the name in the id of a snapshot."""
    plan, _, name = snapshot.rpartition("@")
    return plan, name


def is_name(name: str) -> bool:
    """Return whether it is the name of a snapshot, also of one that does not exist."""
    return _NAME.fullmatch(name) is not None


def is_leftover(name: str) -> bool:
    """Return whether it is the name of a snapshot that was not finished, or not deleted whole."""
    stem, dot, ending = name.partition(".")
    return is_name(stem) and f"{dot}{ending}" in {PARTIAL, REMOVED}


def time_of(name: str, zone: tzinfo) -> datetime | None:
    """Return the time in a name, which is one of the zone; None if it is none."""
    try:
        found = datetime.strptime(name, _FORMAT).replace(tzinfo=zone)
    except ValueError:
        return None
    return found if MINYEAR < found.year < MAXYEAR else None


def choose_name(now: datetime, taken: Collection[str]) -> str:
    """Return the name of a snapshot that is begun now; where it is taken, of a later second.

    `taken` are names of a folder's entries, also of records and of what is not finished.
    """
    stems = {name.partition(".")[0] for name in taken}
    while (name := now.strftime(_FORMAT)) in stems:
        now += _SECOND
    return name
