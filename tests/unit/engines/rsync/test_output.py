"""What rsync writes to its standard output."""

from sidecar.engines.base import Entry, Progress
from sidecar.engines.rsync.output import (
    CopyOutput,
    Counts,
    parse_counts,
    parse_entry,
    parse_item,
    unescape,
)

COUNTS = b"""
Number of files: 14 (reg: 7, dir: 6, link: 1)
Number of created files: 2 (reg: 2)
Total file size: 20000018 bytes
Total transferred file size: 9 bytes
"""


def test_names_are_shown_as_they_are() -> None:
    """Also what looks like an escape in the name itself."""
    assert b"a\nb" == unescape(b"a\\#012b")
    assert b"\\#012" == unescape(b"\\#134#012")


def test_items_tell_what_was_done() -> None:
    """New, copied, linked; anything else is no item."""
    new = parse_item(b"@ >f+++++++++ 5 /data/a b")
    changed = parse_item(b"@ >f.st...... 6 data/x")
    altered = parse_item(b"@ >fc........ 6 data/x")
    linked = parse_item(b"@ hf+++++++++ 3 data/y")

    assert new is not None
    assert (b"data/a b", 5, True, True) == (new.path, new.size, new.is_new, new.is_copied)
    assert changed is not None
    assert (False, False) == (changed.is_new, changed.is_altered)
    assert altered is not None
    assert altered.is_altered
    assert linked is not None
    assert (True, False) == (linked.is_file, linked.is_copied)
    assert parse_item(b"      3   0%    0.00kB/s") is None


def test_counts_are_those_of_the_end() -> None:
    """Without them it did not come that far."""
    assert Counts(14, 7, 6, 20000018, 9) == parse_counts(COUNTS)
    assert Counts(0, 0, 0, 0) == parse_counts(b"Number of files: 0\nTotal file size: 0 bytes\n")
    assert parse_counts(b"Number of files: 3\n") is None


def test_progress_never_goes_back() -> None:
    """Bytes and entries so far, and all at the end."""
    seen: list[Progress] = []
    output = CopyOutput(seen.append)
    for line in (
        b"@ cd+++++++++ 4096 data/",
        b"@ >f+++++++++ 3 data/a",
        b"     20000003  50%  353.21MB/s    0:00:00 (xfr#2, to-chk=4/12)",
        b"     20000003  40%  353.21MB/s    0:00:00  ",
        b"@ >f.st...... 3 data/b",
        b"@ hf+++++++++ 3 data/c",
        b"whatever",
    ):
        output.take(line)
    counts = Counts(5, 4, 1, 12, 6)
    output.finish(counts)
    stats = output.stats(counts, 1.5)

    assert [0.5, 0.5, 1.0] == [one.fraction for one in seen]
    assert Progress(0.5, 8, 12, 20000003, 40000006) == seen[0]
    assert (2, 1, 1, 4) == (
        stats.files_new,
        stats.files_changed,
        stats.files_unmodified,
        stats.files_processed,
    )
    assert (1, 6, 12, 1.5) == (
        stats.dirs_new,
        stats.bytes_added,
        stats.bytes_processed,
        stats.seconds,
    )


def test_an_entry_of_a_listing_has_owner_mode_and_time() -> None:
    """With the bits of set-id programs; what is no UTF-8 is replaced in the path alone."""
    parsed = parse_entry(b"@ >f+++++++++ rwsr-xr-t 33 44 7 2026/11/30-15:40:44 data/a\\#377")

    assert parsed is not None
    assert b"data/a\xff" == parsed[0]
    assert Entry("/data/a\ufffd", "file", 7, 0o5755, 1796053244.0, 33, 44) == parsed[1]


def test_kinds_are_told_and_sizes_of_files_only() -> None:
    """A group that is not sent is not known."""
    lines = (
        b"@ cd+++++++++ rwxr-xr-x 0 DEFAULT 4096 2026/11/30-15:40:44 d/",
        b"@ cL+++++++++ rwxrwxrwx 0 0 1 2026/11/30-15:40:44 l",
        b"@ cD+++++++++ rw-rw-rw- 0 0 0 2026/11/30-15:40:44 n",
        b"@ cS+++++++++ rw-r-Sr-T 0 0 0 2026/11/30-15:40:44 f",
    )
    entries = [parsed[1] for line in lines if (parsed := parse_entry(line))]

    assert ["dir", "symlink", "device", "special"] == [one.kind for one in entries]
    assert ([0] * 4, None, 0o3644) == (
        [one.size for one in entries],
        entries[0].group,
        entries[3].mode,
    )
    assert parse_entry(b"sending incremental file list") is None
