"""The folder of a repository: its id, its places, and how snapshots come into it and go."""

import posixpath
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

from sidecar.backrest.plan import Retention
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.retention import Tier, kept
from sidecar.engines.rsync.catalogue import Contents, Held, read_contents
from sidecar.engines.rsync.layout import (
    FLAT,
    PARTIAL,
    RECORD,
    REMOVED,
    TIERS,
    PlanPlace,
    choose_name,
    is_name,
    place_of,
    places_in,
)
from sidecar.engines.rsync.record import Record
from sidecar.engines.rsync.storage import Storage

_FLAT_HINT = "add --flat to the repository's flags, to go on with that tree"
_DAILY = frozenset({Tier.LAST, Tier.HOURLY, Tier.DAILY, Tier.ALL})
_TIER_OF = {Tier.WEEKLY: "weekly", Tier.MONTHLY: "monthly", Tier.YEARLY: "yearly"}


class Repository:
    """The folder `root` in a storage. All methods raise EngineError.

    `zone` is that in which snapshots are named.
    """

    def __init__(self, storage: Storage, root: str, zone: tzinfo, *, is_flat: bool) -> None:
        self.storage = storage
        self.root = root
        self._zone = zone
        self._is_flat = is_flat

    def read_id(self) -> str:
        """Return the repository's id; changes nothing."""
        return self.storage.read_id(self.root)

    def create(self) -> str:
        """Make the folder a repository, unless it is one; return its id.

        What is in it stays as it is.
        """
        names = self.storage.names([self.at(tier) for tier in TIERS])
        is_tiers = any(is_name(name) for listed in names.values() for name in listed)
        if is_tiers and not self._is_flat:
            message = "the folder holds snapshots in daily, weekly or monthly"
            raise EngineError(FailureClass.UNKNOWN, message, _FLAT_HINT)
        return self.storage.create(self.root)

    def at(self, path: str) -> str:
        """Return the absolute path of what is in the repository."""
        return f"{self.root}/{path}"

    def place(self, plan: str) -> PlanPlace:
        """Return the place of a plan's snapshots."""
        return FLAT if self._is_flat else place_of(plan)

    def places(self) -> tuple[PlanPlace, ...]:
        """Return all places that there are."""
        if self._is_flat:
            return (FLAT,)
        return places_in(self.storage.names([self.root]).get(self.root, ()))

    def contents(self, place: PlanPlace) -> Contents:
        """Read what a place holds."""
        return read_contents(self.storage, self.root, place, self._zone)

    def clean(self, contents: Contents) -> None:
        """Delete what an interrupted run has left in a place that nobody else works on."""
        self.storage.remove([self.at(path) for path in contents.leftovers])

    def adopt(
        self, contents: Contents, root: str, paths: tuple[str, ...], tags: tuple[str, ...]
    ) -> None:
        """Write the records of snapshots that another tool has made in a flat tree.

        They are copies of `root`, and count as made of `paths`, with these tags.
        """
        for held in contents.held:
            if held.record is None and contents.place.is_flat:
                record = Record(held.name, held.snapshot.time, paths, tags, root=root)
                self.storage.write(self.at(f"{held.path}{RECORD}"), record.to_json())

    def begin(self, contents: Contents, now: datetime) -> str:
        """Make the folder of a snapshot that does not count yet; return the snapshot's name."""
        name = choose_name(now, contents.taken)
        self.storage.make(self.partial(contents.place, name))
        return name

    def partial(self, place: PlanPlace, name: str) -> str:
        """Return the absolute path of a snapshot while it is made."""
        return self.at(f"{place.home}/{name}{PARTIAL}")

    def drop(self, place: PlanPlace, name: str) -> None:
        """Delete a snapshot that was begun, and its record; one that counts already stays."""
        partial = self.partial(place, name)
        if self.storage.exists(partial):
            self.storage.remove([self.at(f"{place.home}/{name}{RECORD}"), partial])

    def finish(self, place: PlanPlace, record: Record, *, has_links: bool) -> None:
        """Let a snapshot count from now on, all of which is on the disk with its record.

        Killed before the folder is renamed, it does not count.
        """
        path = self.at(f"{place.home}/{record.name}")
        self.storage.write(f"{path}{RECORD}", record.to_json(), durable=False)
        self.storage.flush(self.root)
        self.storage.rename(f"{path}{PARTIAL}", path)
        if has_links:
            self.storage.point(self.at(place.latest), place.link_to(place.home, record.name))

    def latest(self, place: PlanPlace) -> str:
        """Return the name of the snapshot that `latest` leads to; empty if to none."""
        return posixpath.basename(self.storage.target(self.at(place.latest)))

    def forget(self, contents: Contents, owned: Sequence[Held], keep: Retention) -> tuple[str, ...]:
        """Delete of these snapshots of a place what a retention does not keep; return the names.

        Never all of them, and never the one that `latest` leads to.
        """
        tiers = kept([one.snapshot.time for one in owned], keep)
        latest = self.latest(contents.place)
        stays = [one for one in owned if one.snapshot.time in tiers or one.name == latest]
        if not stays:
            return ()
        goes = [one for one in owned if one not in stays]
        self._delete([(folder, one.name) for one in goes for folder in one.folders])
        if contents.place.is_flat:
            for one in stays:
                self._settle(one, tiers.get(one.snapshot.time, (Tier.LAST,)), latest)
        return tuple(one.name for one in goes)

    def _settle(self, held: Held, tiers: Iterable[Tier], latest: str) -> None:
        """Have a snapshot of a flat tree in the one tier that still wants it."""
        wanted = next((_TIER_OF[one] for one in tiers if one in _TIER_OF), TIERS[0])
        if held.name == latest or not _DAILY.isdisjoint(tiers):
            wanted = TIERS[0] if TIERS[0] in held.folders else held.folders[0]
        if wanted not in held.folders:
            self.storage.make(self.at(wanted))
            for ending in ("", *((RECORD,) if held.record is not None else ())):
                old = self.at(f"{held.folders[0]}/{held.name}{ending}")
                self.storage.rename(old, self.at(f"{wanted}/{held.name}{ending}"))
        # Another tool keeps copies in several tiers.
        spare = [
            folder for folder in held.folders[wanted not in held.folders :] if folder != wanted
        ]
        self._delete([(folder, held.name) for folder in spare])

    def _delete(self, snapshots: Sequence[tuple[str, str]]) -> None:
        """Delete snapshots, each given by folder and name.

        Each is renamed first: one that is deleted only halfway does not count.
        """
        going = []
        for folder, name in snapshots:
            path = self.at(f"{folder}/{name}")
            self.storage.rename(path, f"{path}{REMOVED}")
            going += [f"{path}{RECORD}", f"{path}{REMOVED}"]
        self.storage.remove(going)
