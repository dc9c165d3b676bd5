"""Compare what was restored with what the snapshot says of it, beside the contents.

In come the entries of a snapshot and the folder below which they were restored; out goes a
`Deviation` for each thing that is not as it was, with the right whose lack explains it.
Contents are the engine's: it checks them by their hashes when it writes them. But an entry that
is not there, of another kind or size has lost its contents.

`Differences` counts them and keeps the first ones, so a listing may be of any length.
"""

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sidecar.engines.base import REPLACED, Entry, EntryAttributes, Unrestored
from sidecar.lib.text import counted
from sidecar.runner.rights import Capability, Rights

_MOST_SHOWN = 3
_ATTRIBUTE = "extended attribute "
_CONTENTS = "contents"
# File systems round times, some to two seconds.
_SAME_TIME = 2.0
_SETID = stat.S_ISUID | stat.S_ISGID
_KINDS = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "dev": stat.S_IFBLK,
    "chardev": stat.S_IFCHR,
}
_DEVICES = frozenset({"dev", "chardev"})

_CAPABILITY_VERSION = 0x02000000
_PROBES: Mapping[str, bytes] = {
    "user.backrest-runner": b"1",
    "trusted.backrest-runner": b"1",
    # No capability at all, in the form of the kernel's second version.
    "security.capability": struct.pack("<IIIII", _CAPABILITY_VERSION, 0, 0, 0, 0),
    # Of the owner, the group and all others, as a mode has them.
    "system.posix_acl_access": struct.pack("<I", 2)
    + b"".join(struct.pack("<HHi", tag, 6, -1) for tag in (1, 4, 0x20)),
}


class Aspect(StrEnum):
    """What an entry has beside its content, in words for people."""

    OWNER = "owners"
    MODE = "permissions"
    SETID = "setuid or setgid bits"
    TIME = "modification times"
    DEVICE = "device nodes"
    OTHER = "properties"


_NEEDS: Mapping[str, Capability] = {
    Aspect.OWNER: Capability.CHOWN,
    Aspect.MODE: Capability.FOWNER,
    Aspect.SETID: Capability.FSETID,
    Aspect.TIME: Capability.FOWNER,
    Aspect.DEVICE: Capability.MKNOD,
}


def capability_for(attribute: str) -> Capability | None:
    """Return the capability that an extended attribute takes; None if it takes none."""
    if attribute == "security.capability":
        return Capability.SETFCAP
    if attribute.startswith("system.posix_acl_"):
        return Capability.FOWNER
    is_of_owner = attribute.startswith(("user.", "system."))
    return None if is_of_owner else Capability.SYS_ADMIN


@dataclass(frozen=True, slots=True)
class Deviation:
    """An entry that differs in an aspect or an extended attribute; `example` says it in words."""

    aspect: str
    example: str

    def needs(self, rights: Rights) -> Capability | None:
        """Return the capability without which it cannot be given; None if it takes none."""
        needed = _NEEDS.get(self.aspect)
        if self.aspect.startswith(_ATTRIBUTE):
            needed = capability_for(self.aspect.removeprefix(_ATTRIBUTE))
        if needed is Capability.FSETID and needed in rights.capabilities:
            # A mode that cannot be set at all has none of these bits either.
            return Capability.FOWNER
        return needed

    def is_explained(self, rights: Rights) -> bool:
        """Return whether a process with these rights could not give it."""
        needed = self.needs(rights)
        return needed is not None and needed not in rights.capabilities


@dataclass(slots=True)
class Difference:
    """Entries that differ in one aspect, or in one extended attribute: how many, the first ones.

    `needs` is the capability without which it cannot be given.
    """

    aspect: str
    needs: Capability | None
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, *examples: str, count: int = 1) -> None:
        """Add so many entries, the first ones in words."""
        self.count += count
        self.examples += examples[: _MOST_SHOWN - len(self.examples)]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        shown = ", ".join(self.examples)
        return f"{self.aspect} of {counted(self.count, 'entry', 'entries')} ({shown}{more})"


@dataclass(slots=True)
class Differences:
    """How what was restored, or would be, differs from the snapshot.

    Attributes:
        rights: of the process that restores.
        found: the differences by aspect or attribute.
        broken: what is missing or has another content, a sentence each, of the first ones.
        unknown: why something could not be compared.
    """

    rights: Rights
    found: dict[str, Difference] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    unknown: str = ""

    def add(self, deviations: Iterable[Deviation]) -> None:
        """Count what deviates."""
        for one in deviations:
            if one.aspect == _CONTENTS:
                self.broken += [one.example][: _MOST_SHOWN - len(self.broken)]
            else:
                new = Difference(one.aspect, one.needs(self.rights))
                self.found.setdefault(one.aspect, new).add(one.example)

    def join(self, other: "Differences") -> None:
        """Count what differs elsewhere too."""
        for one in other.found.values():
            new = Difference(one.aspect, one.needs)
            self.found.setdefault(one.aspect, new).add(*one.examples, count=one.count)
        self.broken += other.broken[: _MOST_SHOWN - len(self.broken)]
        self.unknown = self.unknown or other.unknown

    def watch(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Pass entries on, and count what this process could not give to them."""
        for entry in entries:
            self.add(find_lacking(entry, self.rights))
            yield entry

    @property
    def lacking(self) -> tuple[Capability, ...]:
        """The capabilities that this process lacks, and that explain differences."""
        needed = {one.needs for one in self.found.values()}
        return tuple(
            one for one in Capability if one in needed and one not in self.rights.capabilities
        )

    @property
    def lost(self) -> str:
        """What differs, in words."""
        return "; ".join(map(str, self.found.values()))

    @property
    def cause(self) -> str:
        """Why, in words: what this process lacks, or else that nothing of the kind is known."""
        if self.lacking:
            return f"this process lacks {', '.join(self.lacking)}"
        return "this process lacks no right for it: does the file system keep it?"

    def __str__(self) -> str:
        differs = f"not as in the snapshot: {self.lost}; {self.cause}" if self.found else ""
        return "; ".join(filter(None, (differs, self.unknown)))


def find_lacking(entry: Entry, rights: Rights) -> Iterator[Deviation]:
    """Yield what a process with these rights could not give to an entry."""
    is_ours = entry.user in {None, rights.user}
    is_our_group = entry.group is None or entry.group in rights.groups
    taken: list[Aspect] = []
    if not (is_ours and is_our_group):
        taken.append(Aspect.OWNER)
    if not is_ours and entry.kind != "symlink":
        taken += [Aspect.MODE, Aspect.TIME]
    if (entry.mode or 0) & stat.S_ISGID and not is_our_group:
        taken.append(Aspect.SETID)
    if entry.kind in _DEVICES:
        taken.append(Aspect.DEVICE)
    for aspect in taken:
        if _NEEDS[aspect] not in rights.capabilities:
            yield Deviation(aspect, entry.path)


def compare_entries(entries: Iterable[Entry], root: Path) -> Iterator[Deviation]:
    """Compare entries with what was restored of them below `root`, and yield what differs.

    Raises OSError for what cannot be looked at.
    """
    names = _Names(root)
    for entry in entries:
        places = names.places_of(entry.path)
        # Of two names that look the same in a listing either may be meant. And a socket, whose
        # kind is not known here, is restored by no program.
        if len(places) < 2 and (entry.kind is None or entry.kind in _KINDS):
            yield from _compare(entry, places[0] if places else None)


def _compare(entry: Entry, place: bytes | None) -> Iterator[Deviation]:
    kind = None if entry.kind is None else _KINDS[entry.kind]
    try:
        held = os.lstat(place) if place is not None else None
    except (FileNotFoundError, NotADirectoryError):
        held = None
    if held is None and entry.kind in _DEVICES:
        yield Deviation(Aspect.DEVICE, entry.path)
    elif held is None:
        yield Deviation(_CONTENTS, f"{entry.path} was not restored")
    elif kind is not None and stat.S_IFMT(held.st_mode) != kind:
        yield Deviation(_CONTENTS, f"{entry.path} is no {entry.kind}")
    elif entry.kind == "file" and entry.size not in {None, held.st_size}:
        size = counted(held.st_size, "byte")
        yield Deviation(_CONTENTS, f"{entry.path} has {size} instead of {entry.size}")
    else:
        yield from compare_properties(entry, held)


def compare_properties(entry: Entry, held: os.stat_result) -> Iterator[Deviation]:
    """Compare owner, mode and time of an entry with those of what was restored of it."""
    owners = (held.st_uid, held.st_gid)
    wanted = (
        owners[0] if entry.user is None else entry.user,
        owners[1] if entry.group is None else entry.group,
    )
    if wanted != owners:
        change = f"{owners[0]}:{owners[1]} instead of {wanted[0]}:{wanted[1]}"
        yield Deviation(Aspect.OWNER, f"{entry.path}: {change}")
    mode = stat.S_IMODE(held.st_mode)
    if entry.mode is not None and entry.kind != "symlink" and mode != entry.mode:
        change = f"{entry.path}: {mode:04o} instead of {entry.mode:04o}"
        for aspect, bits in ((Aspect.MODE, ~_SETID), (Aspect.SETID, _SETID)):
            if (mode ^ entry.mode) & bits:
                yield Deviation(aspect, change)
    if entry.mtime is not None and abs(held.st_mtime - entry.mtime) > _SAME_TIME:
        yield Deviation(Aspect.TIME, entry.path)


def compare_attributes(entries: Iterable[EntryAttributes], root: Path) -> Iterator[Deviation]:
    """Compare extended attributes with those of what was restored below `root`."""
    for entry in entries:
        place = os.path.join(os.fsencode(root), entry.path.lstrip(b"/"))  # noqa: PTH118 - bytes
        for name, value in entry.attributes.items():
            if _attribute(place, name) != value:
                yield Deviation(f"{_ATTRIBUTE}{name}", entry.path.decode(errors="replace"))


def lost_attributes(unrestored: Iterable[Unrestored]) -> Iterator[Deviation]:
    """Yield the extended attributes that the engine says to have lost."""
    for one in unrestored:
        if one.attribute:
            yield Deviation(f"{_ATTRIBUTE}{one.attribute}", one.path)


def _attribute(place: bytes, name: str) -> bytes | None:
    try:
        return os.getxattr(place, name, follow_symlinks=False)
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class AttributeSupport:
    """Which extended attributes a folder takes: `unknown` to it are those of no use there.

    `refused` are those that this process may not set. Both hold names of `_PROBES`.
    """

    unknown: frozenset[str]
    refused: frozenset[str]

    @property
    def grantable(self) -> "AttributeSupport":
        """The same without attributes that take SYS_ADMIN, which nobody should grant."""
        kept = {name for name in _PROBES if capability_for(name) is not Capability.SYS_ADMIN}
        return AttributeSupport(self.unknown & kept, self.refused & kept)

    def may_lose(self, rights: Rights, *, is_told: bool) -> bool:
        """Return whether attributes may be lost in silence; `is_told`: the engine tells others.

        What a file system does not know is lost in silence in any case.
        """
        if is_told:
            return bool(self.unknown)
        return bool(self.unknown or self.refused) or Capability.FOWNER not in rights.capabilities


def probe_attributes(folder: Path) -> AttributeSupport:
    """Try which extended attributes can be set, on a file that is removed. Raises OSError."""
    probe = folder / "attributes"
    probe.touch(mode=0o600)
    refused: set[str] = set()
    unknown: set[str] = set()
    try:
        for name, value in _PROBES.items():
            try:
                os.setxattr(probe, name, value)
            except OSError as error:
                kinds = unknown if error.errno == errno.EOPNOTSUPP else refused
                kinds.add(name)
    finally:
        probe.unlink()
    return AttributeSupport(frozenset(unknown), frozenset(refused))


class _Names:
    """Finds the places of entries, also of those whose paths are not the true ones.

    Of a folder that holds such names all names are read once: listings go folder by folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self._folder: bytes | None = None
        self._listed: dict[str, list[bytes]] = {}

    def places_of(self, path: str) -> list[bytes]:
        """Return where an entry may have been restored: nowhere, or to several places."""
        names = [name for name in path.split("/") if name]
        if REPLACED not in path:
            return [os.path.join(self._root, *map(os.fsencode, names))]  # noqa: PTH118 - bytes
        places = [self._root]
        for name in names:
            places = [
                os.path.join(place, one)  # noqa: PTH118 - bytes
                for place in places
                for one in self._named(place, name)
            ]
        return places

    def _named(self, folder: bytes, name: str) -> list[bytes]:
        if REPLACED not in name:
            return [os.fsencode(name)]
        if folder != self._folder:
            self._folder, self._listed = folder, {}
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for one in sorted(os.listdir(folder)):
                    self._listed.setdefault(_shown(one), []).append(one)
        return self._listed.get(name, [])


def _shown(name: bytes) -> str:
    """Return a name as listings show it: each byte that is no UTF-8 replaced."""
    text = name.decode(errors="surrogateescape")
    return "".join(REPLACED if "\udc80" <= one <= "\udcff" else one for one in text)
