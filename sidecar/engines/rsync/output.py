"""Read what rsync writes to its standard output: items, progress and counts. Pure."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sidecar.engines.base import Entry, Progress, Report, Stats

_ESCAPE = re.compile(rb"\\#([0-7]{3})")
_ITEM = re.compile(rb"@ (?P<item>\S{11}) (?P<size>\d+) (?P<name>.*)", re.DOTALL)
_ENTRY = re.compile(
    rb"@ (?P<item>\S{11}) (?P<mode>\S{9}) (?P<user>\S+) (?P<group>\S+) (?P<size>\d+)"
    rb" (?P<time>\d+/\d\d/\d\d-\d\d:\d\d:\d\d) (?P<name>.*)",
    re.DOTALL,
)
_PROGRESS = re.compile(
    rb"\s*(?P<bytes>\d+)\s+(?P<percent>\d+)%.*?"
    rb"(?:\(xfr#\d+, \S+=(?P<left>\d+)/(?P<all>\d+)\))?\s*"
)
_FILES = re.compile(rb"^Number of files: (?P<all>\d+)(?: \((?P<kinds>[^)]*)\))?", re.MULTILINE)
_REGULAR = re.compile(rb"\breg: (\d+)")
_FOLDERS = re.compile(rb"\bdir: (\d+)")
_SIZE = re.compile(rb"^Total file size: (\d+)", re.MULTILINE)
_TRANSFERRED = re.compile(rb"^Total transferred file size: (\d+)", re.MULTILINE)
_KINDS = {b"f": "file", b"d": "dir", b"L": "symlink", b"D": "device", b"S": "special"}
_BITS = tuple(1 << bit for bit in range(8, -1, -1))
_SPECIAL_BITS = ((2, b"sS", 0o4000), (5, b"sS", 0o2000), (8, b"tT", 0o1000))


@dataclass(frozen=True, slots=True)
class Item:
    """An entry that rsync had to do something with.

    `item` are the eleven letters in which it says what; `path` is relative, as bytes.
    """

    item: bytes
    size: int
    path: bytes

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.item[1:2] == b"f"

    @property
    def is_new(self) -> bool:
        """Whether nothing was there to compare it with."""
        return self.item[2:3] == b"+"

    @property
    def is_copied(self) -> bool:
        """Whether its content was copied, or would be."""
        return self.is_file and self.item[:1] in {b">", b"<"}

    @property
    def is_altered(self) -> bool:
        """Whether its content differs although size and time are the same."""
        return self.is_copied and self.item[2:5] == b"c.."


def unescape(name: bytes) -> bytes:
    r"""Return a name as it is: rsync writes bytes that cannot be shown as `\#ooo`."""
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), name)


def parse_item(line: bytes) -> Item | None:
    """Parse a line about an entry; None if it is none."""
    found = _ITEM.fullmatch(line)
    if found is None:
        return None
    return Item(found["item"], int(found["size"]), unescape(found["name"]).strip(b"/"))


@dataclass(frozen=True, slots=True)
class Counts:
    """What rsync counted at its end; sizes in bytes."""

    entries: int
    files: int
    folders: int
    bytes: int
    copied: int = 0


def parse_counts(output: bytes) -> Counts | None:
    """Return the counts in the output; None if it did not come that far."""
    files, size = _FILES.search(output), _SIZE.search(output)
    if files is None or size is None:
        return None
    kinds = files["kinds"] or b""
    regular, folders = _REGULAR.search(kinds), _FOLDERS.search(kinds)
    copied = _TRANSFERRED.search(output)
    return Counts(
        int(files["all"]),
        int(regular[1]) if regular else 0,
        int(folders[1]) if folders else 0,
        int(size[1]),
        int(copied[1]) if copied else 0,
    )


@dataclass(slots=True)
class CopyOutput:
    """Takes the lines of a copy: counts files, and passes progress on.

    `report` is given fractions that never fall.
    """

    report: Report
    files_new: int = 0
    files_changed: int = 0
    dirs_new: int = 0
    _fraction: float = field(default=0.0)

    def take(self, line: bytes) -> None:
        """Take a line."""
        if (item := parse_item(line)) is not None:
            self._count(item)
        elif (found := _PROGRESS.fullmatch(line)) is not None:
            self._tell(found)

    def stats(self, counts: Counts, seconds: float) -> Stats:
        """Return what the copy counted, `seconds` being what it took."""
        same = counts.files - self.files_new - self.files_changed
        return Stats(
            files_new=self.files_new,
            files_changed=self.files_changed,
            files_unmodified=max(0, same),
            files_processed=counts.files,
            bytes_added=counts.copied,
            bytes_processed=counts.bytes,
            seconds=seconds,
            dirs_new=self.dirs_new,
            dirs_unmodified=max(0, counts.folders - self.dirs_new),
        )

    def finish(self, counts: Counts) -> None:
        """Report that all is done."""
        self.report(Progress(1.0, counts.files, counts.files, counts.bytes, counts.bytes))

    def _count(self, item: Item) -> None:
        if item.is_copied or (item.is_file and item.is_new):
            self.files_new += item.is_new
            self.files_changed += not item.is_new
        elif item.item[1:2] == b"d" and item.is_new:
            self.dirs_new += 1

    def _tell(self, found: re.Match[bytes]) -> None:
        held, done = int(found["bytes"]), int(found["percent"]) / 100
        self._fraction = max(self._fraction, min(1.0, done))
        total = round(held / done) if done else held
        entries = int(found["all"] or 0)
        seen = entries - int(found["left"] or 0)
        self.report(Progress(self._fraction, seen, entries, held, max(held, total)))


def parse_entry(line: bytes) -> tuple[bytes, Entry] | None:
    """Parse a line of a listing to the relative path, as bytes, and the entry; None if it is none.

    Of its times the seconds are told.
    """
    found = _ENTRY.fullmatch(line)
    if found is None:
        return None
    path = unescape(found["name"]).strip(b"/")
    kind = _KINDS.get(found["item"][1:2], "special")
    time = datetime.strptime(found["time"].decode(), "%Y/%m/%d-%H:%M:%S").replace(tzinfo=UTC)
    return path, Entry(
        shown_path(b"/" + path),
        kind,
        int(found["size"]) if kind == "file" else 0,
        _mode(found["mode"]),
        time.timestamp(),
        _number(found["user"]),
        _number(found["group"]),
    )


def shown_path(path: bytes) -> str:
    """Return a path as entries tell it: what is no UTF-8 is replaced."""
    return path.decode(errors="replace")


def _mode(letters: bytes) -> int:
    bits = sum(bit for letter, bit in zip(letters, _BITS, strict=True) if letter not in b"-ST")
    return bits | sum(bit for at, set_, bit in _SPECIAL_BITS if letters[at] in set_)


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() else None
