"""Know the snapshots of a repository: what its folders and records say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from sidecar.engines.base import Snapshot
from sidecar.engines.rsync.layout import RECORD, PlanPlace, is_leftover, is_name, time_of
from sidecar.engines.rsync.record import Record, parse_record
from sidecar.engines.rsync.storage import Storage


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot that is in a place.

    `folders` are those that hold it, relative to the repository's: more than one only in a tree
    that another tool has made. That has no records: `record` is None.
    """

    place: PlanPlace
    name: str
    folders: tuple[str, ...]
    snapshot: Snapshot
    record: Record | None

    @property
    def path(self) -> str:
        """Its folder, relative to the repository's."""
        return f"{self.folders[0]}/{self.name}"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a place holds.

    `held` are its snapshots, oldest first; `names` are all names in its folders; `leftovers` are
    paths, relative to the repository's folder, of what an interrupted run has left.
    """

    place: PlanPlace
    held: tuple[Held, ...]
    names: Mapping[str, Sequence[str]]
    leftovers: tuple[str, ...]

    @property
    def taken(self) -> set[str]:
        """The names that no new snapshot may have."""
        return {name for names in self.names.values() for name in names}


def read_contents(storage: Storage, root: str, place: PlanPlace, zone: tzinfo) -> Contents:
    """Read what a place holds; names without a record are times of the zone. Raises EngineError."""
    found = storage.names([f"{root}/{folder}" for folder in place.folders])
    names = {folder: found.get(f"{root}/{folder}", []) for folder in place.folders}
    records = {
        record.name: record
        for folder in place.folders
        if any(name.endswith(RECORD) for name in names[folder])
        for line in storage.read_all(f"{root}/{folder}", RECORD)
        if (record := parse_record(line)) is not None
    }
    held = [
        one
        for name in sorted({name for listed in names.values() for name in listed if is_name(name)})
        if (one := _held(place, name, names, records.get(name), zone)) is not None
    ]
    held.sort(key=lambda one: (one.snapshot.time, one.name))
    return Contents(place, tuple(held), names, tuple(_leftovers(names)))


def _held(
    place: PlanPlace,
    name: str,
    names: Mapping[str, Sequence[str]],
    record: Record | None,
    zone: tzinfo,
) -> Held | None:
    folders = tuple(folder for folder in place.folders if name in names[folder])
    time = record.time if record is not None else time_of(name, zone)
    if time is None:
        return None
    snapshot = Snapshot(
        place.id_of(name),
        time,
        record.paths if record is not None else ("/",),
        record.tags if record is not None else (),
        record.size if record is not None else None,
        record.files if record is not None else None,
    )
    return Held(place, name, folders, snapshot, record)


def _leftovers(names: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """Yield the paths of what was not finished or not deleted whole, and of records without one."""
    whole = {name for listed in names.values() for name in listed if is_name(name)}
    for folder, listed in names.items():
        for name in listed:
            stem, dot, ending = name.partition(".")
            is_record = is_name(stem) and f"{dot}{ending}" in {RECORD, f"{RECORD}.new"}
            is_alone = stem not in whole or ending.endswith("new")
            if is_leftover(name) or (is_record and is_alone):
                yield f"{folder}/{name}"
