"""What differs between two listings."""

from collections.abc import Iterator

from sidecar.engines.base import ChangeKind, Entry
from sidecar.engines.comparison import compare

ODD = "/data/odd \ufffd"


def listed(*rows: tuple[str, str, int, float]) -> Iterator[Entry]:
    """Yield entries: path, kind, size, time."""
    for path, kind, size, mtime in rows:
        yield Entry(path, kind, size, mtime=mtime)


def test_kinds_sizes_and_times_tell_what_has_changed() -> None:
    """In the order of the paths, whatever the order of the listings; times of folders say nothing."""
    older = listed(
        ("/same", "file", 1, 5.0),
        ("/gone", "file", 2, 5.0),
        ("/folder", "dir", 0, 5.0),
        ("/larger", "file", 1, 5.0),
        ("/link", "symlink", 0, 5.0),
        ("/becomes", "file", 3, 5.0),
    )
    newer = listed(
        ("/larger", "file", 4, 5.0),
        ("/becomes", "dir", 0, 5.0),
        ("/becomes/new", "file", 9, 5.0),
        ("/link", "symlink", 0, 6.0),
        ("/folder", "dir", 0, 9.0),
        ("/same", "file", 1, 5.0),
    )

    changes = [
        (one.kind, one.path, one.before and one.before.size, one.after and one.after.size)
        for one in compare(older, newer, 1e-6)
    ]

    assert [
        (ChangeKind.CHANGED, "/becomes", 3, 0),
        (ChangeKind.ADDED, "/becomes/new", None, 9),
        (ChangeKind.REMOVED, "/gone", 2, None),
        (ChangeKind.CHANGED, "/larger", 1, 4),
        (ChangeKind.CHANGED, "/link", 0, 0),
    ] == changes


def test_times_that_are_told_in_seconds_are_compared_so() -> None:
    """A fraction that one listing lacks is no difference; a second is."""
    whole, exact = ("/x", "file", 1, 7.0), ("/x", "file", 1, 7.9)

    assert [] == list(compare(listed(whole), listed(exact), 1.0))
    assert 1 == len(list(compare(listed(whole), listed(exact), 1e-6)))
    assert 1 == len(list(compare(listed(whole), listed(("/x", "file", 1, 8.0)), 1.0)))


def test_entries_whose_names_cannot_be_told_apart_are_compared_in_their_order() -> None:
    """None of two such is lost."""
    older = listed((ODD, "file", 1, 5.0), (ODD, "file", 2, 5.0))
    newer = listed((ODD, "file", 1, 5.0), (ODD, "file", 3, 5.0), (ODD, "file", 4, 5.0))

    assert [(ChangeKind.CHANGED, 3), (ChangeKind.ADDED, 4)] == [
        (one.kind, one.after and one.after.size) for one in compare(older, newer, 1e-6)
    ]


def test_what_an_engine_does_not_tell_is_no_difference() -> None:
    """An entry of an unknown kind is the same as itself."""
    assert [] == list(compare([Entry("/x")], [Entry("/x")], 1e-6))
