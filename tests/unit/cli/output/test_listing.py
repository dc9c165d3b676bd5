"""What snapshots hold, as lines: of a narrow terminal less, and nothing that one would obey."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from sidecar.cli.output.listing import show_changes, show_entries, show_found
from sidecar.engines.base import Change, ChangeKind, Entry, Snapshot
from sidecar.runner.browse import FoundEntry

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
OLD = Snapshot("5f3a9c01" * 8, NOON.replace(hour=9), ("/data",))
NEW = Snapshot("77ab0042" * 8, NOON, ("/data",))
FILE = Entry("/data/a", "file", 1500, 0o4750, NOON.timestamp(), 999, 33)
Shows = Callable[[], str]


def same(path: str) -> str:
    """Show a path as it is."""
    return path


@pytest.fixture
def shows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shows:
    """Return what gives all that was written since; clocks show UTC."""
    monkeypatch.setenv("TZ", "UTC")
    return lambda: capsys.readouterr().out


def test_a_narrow_terminal_is_shown_less(shows: Shows) -> None:
    """First the owner goes, then the mode; a folder ends in a slash and has no size."""
    folder = Entry("/data", "dir", 4096, 0o755, NOON.timestamp(), 0, 0)
    lines = {}
    for width in (None, 80, 79, 59):
        assert 2 == show_entries([folder, FILE], same, "table", width)
        lines[width] = shows().splitlines()

    assert [
        "drwxr-xr-x  0:0                  –  2026-11-30 12:00 UTC  /data/",
        "-rwsr-x---  999:33          1.5 kB  2026-11-30 12:00 UTC  /data/a",
    ] == lines[None]
    assert lines[None] == lines[80]
    assert "-rwsr-x---     1.5 kB  2026-11-30 12:00 UTC  /data/a" == lines[79][1]
    assert "   1.5 kB  2026-11-30 12:00 UTC  /data/a" == lines[59][1]


def test_what_is_not_known_is_not_made_up(shows: Shows) -> None:
    """And of names nothing is left that a terminal would obey."""
    show_entries([Entry("/data/\x1b[31mred\nname")], same, "table")

    assert "----------  –:–                  –  –  /data/\ufffd[31mred\ufffdname\n" == shows()


def test_many_entries_are_one_valid_array(shows: Shows) -> None:
    """None is one too; sizes are in bytes, times in UTC."""
    assert 0 == show_entries([], same, "json")
    assert [] == json.loads(shows())
    assert 1200 == show_entries((FILE for _ in range(1200)), same, "json")
    found = json.loads(shows())
    assert 1200 == len(found)
    assert {
        "path": "/data/a",
        "path_in_snapshot": "/data/a",
        "kind": "file",
        "size": 1500,
        "mode": "4750",
        "user": 999,
        "group": 33,
        "modified": "2026-11-30T12:00:00+00:00",
    } == found[0]


def test_entries_are_written_as_they_come(shows: Shows) -> None:
    """A list without an end is shown as far as it was read."""

    def endless() -> Iterator[Entry]:
        for _ in range(500):
            yield FILE
        assert 500 == len(shows().splitlines())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show_entries(endless(), same, "table")


def test_what_is_found_stands_below_its_snapshot(shows: Shows) -> None:
    """Each snapshot once."""
    found = [
        FoundEntry(NEW, FILE, "/x/a"),
        FoundEntry(NEW, FILE, "/x/b"),
        FoundEntry(OLD, FILE, "/x/a"),
    ]

    assert 3 == show_found(found, "table", 59)
    assert [
        "snapshot 77ab0042 of 2026-11-30 12:00 UTC:",
        "   1.5 kB  2026-11-30 12:00 UTC  /x/a",
        "   1.5 kB  2026-11-30 12:00 UTC  /x/b",
        "snapshot 5f3a9c01 of 2026-11-30 09:00 UTC:",
        "   1.5 kB  2026-11-30 12:00 UTC  /x/a",
    ] == shows().splitlines()
    assert 3 == show_found(found, "json")
    assert [NEW.id, NEW.id, OLD.id] == [one["snapshot"] for one in json.loads(shows())]


def test_changes_are_told_with_their_sizes_and_counted(shows: Shows) -> None:
    """A folder has none; what the engine does not tell is not made up."""
    folder = Entry("/data/f", "dir", 0)
    changes = [
        Change(ChangeKind.REMOVED, "/data/a", before=FILE),
        Change(ChangeKind.CHANGED, "/data/b", FILE, Entry("/data/b", "file", 500)),
        Change(ChangeKind.ADDED, "/data/f", after=folder),
        Change(ChangeKind.ADDED, "/data/?"),
    ]
    show_changes(OLD, NEW, changes, same, "table")
    text = shows().splitlines()
    show_changes(OLD, NEW, [], same, "table")
    none = shows().splitlines()
    show_changes(OLD, NEW, changes, same, "json")
    found = json.loads(shows())

    assert [
        "from snapshot 5f3a9c01 of 2026-11-30 09:00 UTC",
        "to   snapshot 77ab0042 of 2026-11-30 12:00 UTC",
        "-                 1.5 kB  /data/a",
        "~         1.5 kB → 500 B  /data/b",
        "+                         /data/f/",
        "+                      –  /data/?",
        "2 added (+0 B), 1 removed (-1.5 kB), 1 changed (±1.0 kB)",
    ] == text
    assert "nothing differs" == none[2]
    assert [("removed", 1500, None), ("changed", 1500, 500)] == [
        (one["change"], one["size_before"], one["size_after"]) for one in found[:2]
    ]
