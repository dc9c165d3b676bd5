"""Locks: what they hold, and whether restic would remove one that is in use."""

from datetime import UTC, datetime

import pytest

from sidecar.engines.restic.locks import Host, Lock, is_in_danger, parse_lock

LOCK = (
    b'{\n "time": "2026-11-21T10:00:00Z",\n "exclusive": false,\n "hostname": "vm",\n "pid": 9\n}'
)
MADE = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()


def test_lock_is_read() -> None:
    """What cannot be read is none."""
    assert Lock("vm", 9, MADE) == parse_lock(LOCK)
    assert [None] * 3 == [parse_lock(output) for output in (b"", b"{}", b'{"time":"x","pid":1}')]
    assert "PID 9 on vm" == str(parse_lock(LOCK))


@pytest.mark.parametrize(
    ("age", "name", "started", "expected"),
    [
        (3600, "vm", MADE - 100, True),
        (3600, "vm", MADE + 1, True),
        (3600, "vm", MADE + 100, False),
        (3600, "vm", None, False),
        (3600, "other", MADE - 100, False),
        (60, "vm", MADE - 100, False),
    ],
)
def test_lock_is_in_danger_if_restic_would_take_it_from_a_living_process(
    age: float, name: str, started: float | None, expected: bool
) -> None:
    """Old, of this host, and of a process that ran already when it was made."""
    host = Host(name, lambda: MADE + age, lambda pid: started if pid == 9 else None)

    assert expected == is_in_danger(Lock("vm", 9, MADE), host)
