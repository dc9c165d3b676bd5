"""What became of the locks of a repository, for people."""

from sidecar.cli.output.runner_tables import render_unlocked
from sidecar.engines.base import HeldLock
from sidecar.runner.foreground import Unlocked


def test_a_lock_that_is_left_is_told_with_what_removes_it() -> None:
    """Only a lock of restic's can be removed by restic."""
    locks = (HeldLock("aa", "nas", 12, 100.0),)
    texts = [render_unlocked(Unlocked("store", locks, is_restic=one)) for one in (True, False)]

    assert ["restic unlock --remove-all" in one for one in texts] == [True, False]
    assert all("PID 12 on nas" in one and "half an hour after that time" in one for one in texts)
