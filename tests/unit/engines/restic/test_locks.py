"""Locks: what they hold, whose holder lives, and which were left."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar.engines.base import HeldLock, LockHolder
from sidecar.engines.locking import Host, is_left_over
from sidecar.engines.restic.locks import is_in_danger, parse_lock

MADE = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()
LOCK = HeldLock("ab", "vm", 9, MADE)
HOLDER = LockHolder("vm", 9, "boot", "pid:[1]", MADE - 60)
OVER = replace(HOLDER, over=MADE + 30)
SECOND, MINUTE = 1.0, 60.0


def host(
    name: str = "vm",
    started: float | None = None,
    age: float = MINUTE,
    boot: str = "boot",
    namespace: str = "pid:[1]",
) -> Host:
    """Return a machine on which number 9 started then, when the lock is so old."""
    return Host(
        name, lambda: MADE + age, lambda pid: started if pid == 9 else None, boot, namespace
    )


def test_lock_is_read() -> None:
    """What cannot be read is none."""
    output = b'{"time": "2026-11-21T10:00:00Z", "exclusive": true, "hostname": "vm", "pid": 9}'

    assert replace(LOCK, is_exclusive=True) == parse_lock("ab", output)
    for odd in (b"", b"{}", b'{"time":"x","pid":1}'):
        assert parse_lock("ab", odd) is None
    assert "PID 9 on vm" == str(LOCK)


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
    assert expected == is_in_danger(LOCK, host(name, started, age))


@pytest.mark.parametrize(
    ("age", "namespace", "holder", "expected"),
    [
        (MINUTE, "pid:[2]", HOLDER, True),
        (MINUTE, "pid:[1]", HOLDER, False),
        (MINUTE, "pid:[2]", OVER, False),
        (MINUTE, "pid:[2]", replace(HOLDER, pid=8), False),
        (31 * MINUTE, "pid:[2]", HOLDER, False),
    ],
)
def test_lock_of_another_container_of_the_same_name_is_in_danger(
    age: float, namespace: str, holder: LockHolder, expected: bool
) -> None:
    """Restic does not see its process there, and would take it for dead."""
    assert expected == is_in_danger(LOCK, host(age=age, namespace=namespace), [holder])


@pytest.mark.parametrize(
    ("at", "holder"),
    [
        (host("new"), HOLDER),
        (host("new", started=MADE + 100), HOLDER),
        (host("new", namespace="pid:[2]"), OVER),
        (host("new", started=MADE - 100, namespace="pid:[2]"), OVER),
        (host("new", boot="later", age=11 * MINUTE), OVER),
        (host("vm", namespace="pid:[2]"), OVER),
    ],
)
def test_lock_that_a_program_of_ours_has_left_is_told(at: Host, holder: LockHolder) -> None:
    """Its process does not run any more, or its container is known to be gone."""
    assert is_left_over(LOCK, at, [replace(HOLDER, pid=1), holder])


@pytest.mark.parametrize(
    ("at", "holder"),
    [
        # Its process runs, whatever the machine is called by now.
        (host("new", started=MADE - 100), HOLDER),
        (host("vm", started=MADE - 100), OVER),
        (host("vm", started=MADE - 100, namespace="pid:[2]"), OVER),
        # It may run in another container.
        (host("new", namespace="pid:[2]"), HOLDER),
        # It may run on the machine of which this is a copy.
        (host("new", boot="later"), OVER),
        (host("new", boot=""), replace(OVER, boot="")),
        # It is another one's.
        (host("new"), replace(HOLDER, hostname="elsewhere")),
        (host("new"), replace(HOLDER, pid=8)),
        (host("new"), replace(HOLDER, since=MADE + 10)),
        (host("new"), replace(OVER, over=MADE - 10)),
    ],
)
def test_lock_that_may_live_is_never_one_that_was_left(at: Host, holder: LockHolder) -> None:
    """Whoever has no proof leaves it."""
    assert not is_left_over(LOCK, at, [holder])
