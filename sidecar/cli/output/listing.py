"""What snapshots hold and how they differ, as lines for people or as JSON, of any length."""

import codecs
import json
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from typing import Any

import click

from sidecar.cli.output.terminal import Column, Meaning, styled, table
from sidecar.cli.output.text import echo, printable, told_where_it_is_full
from sidecar.engines.base import Change, ChangeKind, Entry, Snapshot
from sidecar.lib.errors import UsageError
from sidecar.lib.text import render_size
from sidecar.lib.zones import local_zone
from sidecar.runner.browse import FoundEntry, SnapshotUse

_NONE = "–"
_AT_ONCE = 500
_LETTERS = {"dir": "d", "symlink": "l", "fifo": "p", "socket": "s", "dev": "b", "chardev": "c"}
_FILE = "-"
_MOST_SIZE = 9
_FULL, _NARROW = 80, 60
_SIGNS = {
    ChangeKind.ADDED: ("+", Meaning.GOOD),
    ChangeKind.REMOVED: ("-", Meaning.BAD),
    ChangeKind.CHANGED: ("~", Meaning.UNSURE),
}
# What a terminal may be given beside what can be printed.
_HARMLESS = frozenset("\t\n")

Shown = Callable[[str], str]
"""Returns the path by which people know a path of a snapshot."""


def name_snapshot(snapshot: Snapshot) -> str:
    """Return how a snapshot is called: `snapshot 5f3a9c01 of 2026-11-20 03:10 UTC`."""
    return f"snapshot {printable(snapshot.short)} of {_moment(snapshot.time.timestamp())}"


def show_entries(
    entries: Iterable[Entry], shown: Shown, form: str, width: int | None = None
) -> int:
    """Write entries as `table` or `json`, as they come; return how many there were.

    `width` is that of the terminal; None: nobody watches.
    """
    if form == "json":
        return _echo_array(_entry_json(one, shown(one.path)) for one in entries)
    return _echo_lines(_entry_line(one, shown(one.path), width) for one in entries)


def show_found(found: Iterable[FoundEntry], form: str, width: int | None = None) -> int:
    """Write what was found in snapshots, each below its name; return how many entries it was."""
    if form == "json":
        return _echo_array(
            {"snapshot": one.snapshot.id, "time": _iso(one.snapshot)}
            | _entry_json(one.entry, one.path)
            for one in found
        )
    count = 0
    for _, group in groupby(found, lambda one: one.snapshot.id):
        first = next(group)
        echo(f"{name_snapshot(first.snapshot)}:")
        lines = (_entry_line(one.entry, one.path, width) for one in chain([first], group))
        count += _echo_lines(lines)
    return count


def show_changes(
    older: Snapshot, newer: Snapshot, changes: Iterable[Change], shown: Shown, form: str
) -> None:
    """Write what differs between two snapshots, and last how much that is."""
    if form == "json":
        _echo_array(_change_json(one, shown) for one in changes)
        return
    echo(f"from {name_snapshot(older)}")
    echo(f"to   {name_snapshot(newer)}")
    counts, sizes = dict.fromkeys(ChangeKind, 0), dict.fromkeys(ChangeKind, 0)

    def lines() -> Iterator[str]:
        for one in changes:
            counts[one.kind] += 1
            sizes[one.kind] += abs(_growth(one))
            yield _change_line(one, shown(one.path))

    if not _echo_lines(lines()):
        echo("nothing differs")
        return
    told = [
        f"{number} {kind.value} ({_signed(kind, sizes[kind])})"
        for kind, number in counts.items()
        if number
    ]
    echo(", ".join(told))


def render_uses(uses: Sequence[SnapshotUse], form: str, width: int | None = None) -> str:
    """Write what plans and repositories have of snapshots, as `table` or `json`."""
    if form == "json":
        return json.dumps([_use_json(one) for one in uses], indent=2)
    if not uses:
        return "The document has no plan."
    columns = (
        Column("name", has_prefix=True, folds=True),
        Column("repository", drop=2),
        Column("snapshots", is_number=True),
        Column("newest"),
        Column("oldest", drop=1),
        Column("size", drop=3, is_number=True),
        Column("in repository", drop=4, is_number=True),
    )
    return table(columns, [_use_cells(one) for one in uses], width)


class ContentWriter:
    """Writes a content to standard output as it is; to a terminal only if it is text."""

    def __init__(self) -> None:
        self._is_watched = sys.stdout.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, piece: bytes) -> None:
        """Write a piece; raises UsageError where a terminal would obey what is in it."""
        if self._is_watched and not self._is_text(piece):
            raise UsageError(
                "it is no text, and a terminal would obey what is in it",
                "write it to a file: `backrest-runner cat NAME PATH >FILE`",
            )
        with told_where_it_is_full():
            sys.stdout.flush()
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    def _is_text(self, piece: bytes) -> bool:
        try:
            text = self._decoder.decode(piece)
        except UnicodeDecodeError:
            return False
        return all(char.isprintable() or char in _HARMLESS for char in text)


def _echo_lines(lines: Iterable[str]) -> int:
    """Write lines, many at once; return how many there were."""
    count, rest = 0, iter(lines)
    while some := list(islice(rest, _AT_ONCE)):
        echo("\n".join(some))
        count += len(some)
    return count


def _echo_array(objects: Iterable[dict[str, Any]]) -> int:
    """Write a JSON array, an object a line; return how many there were."""
    count, rest = 0, iter(objects)
    echo("[", form="json", nl=False)
    while some := list(islice(rest, _AT_ONCE)):
        start = ",\n" if count else "\n"
        echo(start + ",\n".join(map(json.dumps, some)), form="json", nl=False)
        count += len(some)
    echo("\n]" if count else "]", form="json")
    return count


def _entry_line(entry: Entry, path: str, width: int | None) -> str:
    """Write an entry as `ls -l` does, with less of it where the terminal is narrow."""
    kind = _LETTERS.get(entry.kind or "", _FILE)
    size = render_size(entry.size or 0) if entry.kind == "file" else _NONE
    owner = f"{_number(entry.user)}:{_number(entry.group)}"
    name = printable(path)
    if entry.kind == "dir":
        name = click.style(f"{name.rstrip('/')}/", fg="blue")
    cells = [size.rjust(_MOST_SIZE), _moment(entry.mtime), name]
    if width is None or width >= _NARROW:
        cells.insert(0, kind + stat.filemode(entry.mode or 0)[1:])
    if width is None or width >= _FULL:
        cells.insert(1, owner.ljust(11))
    return "  ".join(cells)


def _entry_json(entry: Entry, path: str) -> dict[str, Any]:
    mtime = None if entry.mtime is None else datetime.fromtimestamp(entry.mtime, UTC)
    return {
        "path": path,
        "path_in_snapshot": entry.path,
        "kind": entry.kind,
        "size": entry.size if entry.kind == "file" else None,
        "mode": None if entry.mode is None else f"{entry.mode:04o}",
        "user": entry.user,
        "group": entry.group,
        "modified": mtime and mtime.isoformat(),
    }


def _change_line(change: Change, path: str) -> str:
    sign, meaning = _SIGNS[change.kind]
    is_folder = "dir" in {one.kind for one in (change.before, change.after) if one is not None}
    name = f"{path.rstrip('/')}/" if is_folder else path
    size = "" if is_folder else _sizes(change)
    return f"{styled(sign, meaning)} {size.rjust(22)}  {printable(name)}"


def _sizes(change: Change) -> str:
    sizes = [
        _NONE if one is None or one.size is None else render_size(one.size)
        for one in (change.before, change.after)
    ]
    if change.kind is ChangeKind.CHANGED:
        return " → ".join(sizes)
    return sizes[change.kind is ChangeKind.ADDED]


def _growth(change: Change) -> int:
    before, after = ((one.size or 0) if one else 0 for one in (change.before, change.after))
    return after - before


def _signed(kind: ChangeKind, size: int) -> str:
    return f"{'±' if kind is ChangeKind.CHANGED else _SIGNS[kind][0]}{render_size(size)}"


def _change_json(change: Change, shown: Shown) -> dict[str, Any]:
    before, after = change.before, change.after
    held = after or before
    return {
        "change": change.kind.value,
        "path": shown(change.path),
        "path_in_snapshot": change.path,
        "kind": held and held.kind,
        "size_before": before and before.size,
        "size_after": after and after.size,
    }


def _use_cells(use: SnapshotUse) -> tuple[str, ...]:
    newest = use.snapshots[-1] if use.snapshots else None
    size = None if newest is None or not use.is_plan else newest.bytes_processed
    number = _NONE if use.reason else str(len(use.snapshots))
    return (
        use.name,
        use.repo,
        number,
        _NONE if newest is None else _moment(newest.time.timestamp()),
        _NONE if newest is None else _moment(use.snapshots[0].time.timestamp()),
        _NONE if size is None else render_size(size),
        _NONE if use.stored is None else render_size(use.stored),
    )


def _use_json(use: SnapshotUse) -> dict[str, Any]:
    newest = use.snapshots[-1] if use.snapshots else None
    return {
        "name": use.name,
        "repo": use.repo,
        "is_plan": use.is_plan,
        "snapshots": None if use.reason else len(use.snapshots),
        "newest": newest and _iso(newest),
        "oldest": newest and _iso(use.snapshots[0]),
        "size": newest.bytes_processed if newest and use.is_plan else None,
        "size_in_repository": use.stored,
        "reason": use.reason or None,
    }


def _number(number: int | None) -> str:
    return _NONE if number is None else str(number)


def _moment(at: float | None) -> str:
    if at is None:
        return _NONE
    return f"{datetime.fromtimestamp(at, local_zone()[0]):%Y-%m-%d %H:%M %Z}"


def _iso(snapshot: Snapshot) -> str:
    return snapshot.time.astimezone(UTC).isoformat(timespec="seconds")
