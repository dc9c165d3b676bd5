"""How snapshots are called, whatever form an engine's ids have."""

from datetime import UTC, datetime

import pytest

from sidecar.engines.base import Snapshot

HASH = "4bba301e" + "0" * 56
DATE = "2026-11-29_03-10-00"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (HASH, "4bba301e"),
        (DATE, DATE),
        ("web_FULL_2026-11-29", "web_FULL_2026-11-29"),
        ("ab", "ab"),
    ],
)
def test_only_a_hash_is_shown_by_its_first_digits(name: str, short: str) -> None:
    """The first eight characters of a date are those of a whole month."""
    assert short == Snapshot(name, datetime(2026, 11, 29, tzinfo=UTC), ()).short


@pytest.mark.parametrize(
    ("snapshot", "name", "expected"),
    [
        (HASH, HASH, True),
        (HASH, "4bba301e", True),
        (HASH, "4bba301e0", True),
        (HASH, "4bba301", False),
        (HASH, "4bba301f", False),
        (DATE, DATE, True),
        (f"web@{DATE}", f"web@{DATE}", True),
        (f"web@{DATE}", DATE, True),
        (f"web@{DATE}", "web", False),
        (f"web@{DATE}", "", False),
        (DATE, "2026-11-29", False),
        (DATE, "2026-11-29_03-10-00_2", False),
    ],
)
def test_a_snapshot_is_called_by_what_is_shown_of_it(
    snapshot: str, name: str, expected: bool
) -> None:
    """Or by more of it; a part of a date would name several."""
    found = Snapshot(snapshot, datetime(2026, 11, 29, tzinfo=UTC), ())

    assert expected is found.is_called(name)
