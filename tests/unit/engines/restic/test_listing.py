"""Lists of snapshots and of their entries."""

import re
from datetime import UTC, datetime

import pytest

from sidecar.engines.base import EngineError
from sidecar.engines.restic.listing import parse_entry, parse_forgotten, parse_snapshots


def test_snapshots_are_read_oldest_first() -> None:
    """With a size where the version tells one; warnings above the list are passed over."""
    output = (
        b"warning\n"
        b'[{"id":"b","time":"2026-01-02T00:00:00.123456789+01:00","paths":["/x"],"tags":["t"],'
        b'"summary":{"total_bytes_processed":7,"total_files_processed":1}},'
        b'{"id":"a","time":"2026-01-01T00:00:00Z","paths":null}]'
    )
    first, second = parse_snapshots(output)

    assert ("a", (), (), None) == (first.id, first.paths, first.tags, first.bytes_processed)
    assert ("b", ("/x",), ("t",), 7, 1) == (
        second.id,
        second.paths,
        second.tags,
        second.bytes_processed,
        second.files_processed,
    )
    assert datetime(2026, 1, 1, 23, 0, 0, 123456, tzinfo=UTC) == second.time
    assert () == parse_snapshots(b"null") == parse_snapshots(b"[]")


@pytest.mark.parametrize(
    "output", [b"", b"[", b"[{}]", b'[{"id":"a","time":"x"}]', b"[1]", b"[" * 100_000]
)
def test_a_list_that_cannot_be_read_is_an_error(output: bytes) -> None:
    """It is not the same as an empty one."""
    with pytest.raises(EngineError, match=re.escape("restic's list of snapshots cannot be read")):
        parse_snapshots(output)


def test_entries_are_read() -> None:
    """Unix permissions; a time that nobody has is the beginning of time."""
    line = b'{"struct_type":"node","path":"/a","type":"file","size":3,"mode":8389101,"mtime":"2026-01-01T00:00:00Z"}'
    entry = parse_entry(line)

    assert entry is not None
    assert ("/a", "file", 3, 0o4755) == (entry.path, entry.kind, entry.size, entry.mode)
    assert datetime(2026, 1, 1, tzinfo=UTC).timestamp() == entry.mtime
    odd = parse_entry(b'{"message_type":"node","path":"/a","type":"dir","mtime":"99999-01-01T"}')
    assert odd is not None
    assert odd.mtime is None
    assert None is parse_entry(b'{"struct_type":"snapshot"}')
    assert None is parse_entry(b"words")


def test_an_answer_of_forget_names_what_it_kept_and_removed() -> None:
    """In groups; a list may be null, and warnings may precede all of it."""
    one = '{"id":"%s","time":"2024-05-01T02:00:00Z","tags":["plan:web"]}'
    kept, removed = one % ("a" * 64), one % ("b" * 64)
    groups = f'[{{"keep":[{kept}],"remove":null}},{{"keep":null,"remove":[{removed}]}}]'
    found = parse_forgotten(b"a warning\n" + groups.encode())

    assert ["a" * 64, "b" * 64] == [snapshot.id for snapshot in found]


@pytest.mark.parametrize("output", [b"", b"null", b"[]", b"[1]", b'[{"keep":[{}]}]', b"[{", b"{}"])
def test_an_answer_of_forget_that_cannot_be_read_says_nothing(output: bytes) -> None:
    """What was to be forgotten is forgotten all the same."""
    assert () == parse_forgotten(output)
