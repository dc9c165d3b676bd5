"""Locks of a real restic that is ended in the middle of its work."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy
from sidecar.engines.base import CommandResult, Engine, FailureClass, ResultKind
from tests.engines.bench import INSTANCE, ResticBench, quick_repo

MEGABYTE = 1 << 20
SECONDS = 60.0
# Whatever moves data takes some seconds. A current restic ends only after the piece at hand.
SLOW = ("--limit-upload 512", "--limit-download 512")
# Restic 0.14 knows its lock as its own only 0.2 seconds after it has made it.
SETTLED = 0.6


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make one empty repository that is quickly opened."""
    repo = quick_repo(tmp_path_factory.mktemp("template"))
    return lambda _: repo


def locks_of(bench: ResticBench) -> list[Path]:
    """List the locks of the repository."""
    return list((bench.folder / "repo" / "locks").glob("?" * 64))


def wait_for_lock(bench: ResticBench) -> None:
    """Wait until a restic holds its lock for good."""
    deadline = time.monotonic() + SECONDS
    while not any(time.time() - lock.stat().st_mtime > SETTLED for lock in locks_of(bench)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def back_up(bench: ResticBench, engine: Engine) -> CommandResult:
    """Back up what is new."""
    bench.write("new", os.urandom(2 * MEGABYTE))
    return engine.backup(bench.plan(), INSTANCE, bench.reported.append)


def restore(bench: ResticBench, engine: Engine) -> CommandResult:
    """Restore all."""
    [snapshot] = bench.restic().snapshots(None, INSTANCE)
    return engine.restore(snapshot, (), bench.folder / "target", bench.reported.append)


def prune(bench: ResticBench, engine: Engine) -> CommandResult:
    """Free what is not used, of packs that hold both."""
    (bench.source / "half").unlink()
    bench.backup()
    bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1))
    return engine.prune(PrunePolicy(max_unused_bytes=1))


def check(_: ResticBench, engine: Engine) -> CommandResult:
    """Read all."""
    return engine.check(CheckPolicy(read_data_subset_percent=100))


@pytest.fixture
def filled(restic: ResticBench) -> ResticBench:
    """Back up two files whose data lies in the same packs."""
    restic.write("half", os.urandom(2 * MEGABYTE))
    restic.write("other", os.urandom(2 * MEGABYTE))
    restic.backup()
    return restic


@pytest.mark.parametrize("work", [back_up, restore, prune, check])
def test_a_restic_that_is_stopped_leaves_no_lock(
    filled: ResticBench, work: Callable[[ResticBench, Engine], CommandResult]
) -> None:
    """The runner is asked to end; an old restic too is given the time to remove its lock."""
    results: list[CommandResult] = []
    engine = filled.restic(filled.repo(flags=SLOW))
    thread = threading.Thread(target=lambda: results.append(work(filled, engine)))
    thread.start()
    wait_for_lock(filled)
    filled.runner.stop_all()
    thread.join()
    filled.runner.allow()

    [done] = results
    assert (ResultKind.FAILED, FailureClass.INTERRUPTED) == (done.kind, done.failure)
    assert [] == locks_of(filled)
