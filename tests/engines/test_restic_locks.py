"""Locks of a real restic that is ended in the middle of its work."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy
from sidecar.engines.base import CommandResult, Engine, FailureClass, ResultKind
from sidecar.engines.locking import Host
from sidecar.lib.process import Child, ProcessRunner
from sidecar.runner.journal import Journal
from sidecar.runner.lock_records import JournalLockRecords
from tests.engines.bench import INSTANCE, RESTIC, ResticBench
from tests.engines.storages import rest_server

MEGABYTE = 1 << 20
SECONDS = 60.0
# Whatever moves data takes some seconds. A current restic ends only after the piece at hand.
SLOW = ("--limit-upload 512", "--limit-download 512")
# Restic 0.14 knows its lock as its own only 0.2 seconds after it has made it.
SETTLED = 0.6


def locks_of(bench: ResticBench) -> list[Path]:
    """List the locks of the repository."""
    return list((bench.folder / "repo" / "locks").glob("?" * 64))


def _age(lock: Path) -> float:
    """Return the age of a lock in seconds; 0 for one that is gone by now."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - lock.stat().st_mtime
    return 0.0


def wait_for_lock(bench: ResticBench) -> None:
    """Wait until a restic holds its lock for good."""
    deadline = time.monotonic() + SECONDS
    while not any(_age(lock) > SETTLED for lock in locks_of(bench)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def back_up(bench: ResticBench, engine: Engine) -> CommandResult:
    """Back up what is new."""
    bench.write("new", os.urandom(2 * MEGABYTE))
    return engine.capture(bench.plan(), INSTANCE, bench.reported.append)


def restore(bench: ResticBench, engine: Engine) -> CommandResult:
    """Restore all."""
    [snapshot] = bench.restic().snapshots(None, INSTANCE)
    return engine.restore(snapshot, (), bench.folder / "target", bench.reported.append)


def prune(_: ResticBench, engine: Engine) -> CommandResult:
    """Free what is not used."""
    return engine.prune(PrunePolicy(max_unused_bytes=1))


def check(_: ResticBench, engine: Engine) -> CommandResult:
    """Read all."""
    return engine.check(CheckPolicy(read_data_subset_percent=100))


@pytest.fixture
def filled(restic: ResticBench) -> ResticBench:
    """Back up two files whose data lies in the same packs; one of them is not used any more."""
    restic.write("half", os.urandom(2 * MEGABYTE))
    restic.write("other", os.urandom(2 * MEGABYTE))
    restic.backup()
    (restic.source / "half").unlink()
    restic.backup()
    restic.engine().forget(restic.plan(), INSTANCE, Retention(last=1))
    return restic


@pytest.mark.parametrize("work", [back_up, restore, prune, check])
def test_a_restic_that_is_stopped_leaves_no_lock(
    filled: ResticBench, work: Callable[[ResticBench, Engine], CommandResult]
) -> None:
    """The runner is asked to end; an old restic too is given the time to remove its lock."""
    results: list[CommandResult] = []
    # An old one removes its lock when a piece that it reads from the storage has come.
    filled.runner = ProcessRunner(filled.environ, grace=SECONDS)
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


CONTAINER = "old-container"


def in_a_container(bench: ResticBench) -> Host:
    """Have restic run under the host name of a container; return how that one is seen."""
    script = bench.folder / "restic"
    line = f'exec unshare --uts sh -c \'hostname {CONTAINER}; exec {RESTIC} "$@"\' - "$@"'
    if os.geteuid():
        line = line.replace("--uts", "--uts --map-root-user")
    script.write_text(f"#!/bin/sh\n{line}\n")
    script.chmod(0o755)
    bench.program = str(script)
    return Host(CONTAINER, namespace="pid:[1]")


def on_this_host(bench: ResticBench, journal: Journal) -> JournalLockRecords:
    """Have restic run as it is, for a runner that starts in another container."""
    bench.program, bench.on_start = RESTIC, None
    bench.records = JournalLockRecords(journal)
    return bench.records


@contextlib.contextmanager
def at_work(
    bench: ResticBench, work: Callable[[ResticBench, Engine], CommandResult]
) -> Iterator[Child]:
    """Let a restic work until the end of the block; it is killed there."""
    children: list[Child] = []
    bench.on_start = children.append
    engine = bench.restic(bench.repo(flags=SLOW))
    thread = threading.Thread(target=work, args=(bench, engine))
    thread.start()
    wait_for_lock(bench)
    try:
        yield children[-1]
    finally:
        os.killpg(children[-1].pid, signal.SIGKILL)
        thread.join()


def left_behind(
    bench: ResticBench,
    journal: Journal,
    work: Callable[[ResticBench, Engine], CommandResult],
) -> None:
    """Let a restic of another container be killed in the middle of its work."""
    with JournalLockRecords(journal, in_a_container(bench)) as records:
        bench.records = records
        with at_work(bench, work):
            pass


@pytest.mark.parametrize("work", [back_up, restore, prune, check])
def test_locks_of_our_dead_programs_are_removed_though_the_container_is_another(
    filled: ResticBench,
    journal: Journal,
    work: Callable[[ResticBench, Engine], CommandResult],
) -> None:
    """Restic itself would respect them for half an hour."""
    left_behind(filled, journal, work)
    [left] = filled.restic().locks()
    with on_this_host(filled, journal):
        done = filled.restic().unlock()
        pruned = filled.restic().prune(PrunePolicy())

    assert CONTAINER == left.hostname
    assert {(ResultKind.SUCCESS, "")} == {(one.kind, one.reason) for one in (done, pruned)}
    assert [] == locks_of(filled)


@pytest.mark.parametrize("is_recorded", [True, False])
def test_lock_of_a_restic_that_works_elsewhere_is_never_removed(
    filled: ResticBench, journal: Journal, is_recorded: bool
) -> None:
    """Neither that of another runner of this journal, nor that of somebody else."""
    with JournalLockRecords(journal, in_a_container(filled)) as records:
        filled.records = records if is_recorded else None
        with at_work(filled, check) as child, on_this_host(filled, journal):
            done = filled.restic().unlock()
            pruned = filled.restic().prune(PrunePolicy())
            held = filled.restic().locks()

    assert ResultKind.SUCCESS is done.kind
    assert (ResultKind.FAILED, FailureClass.LOCKED) == (pruned.kind, pruned.failure)
    assert [(CONTAINER, child.pid)] == [(one.hostname, one.pid) for one in held]


def test_a_program_that_outlives_its_runner_keeps_its_lock(
    filled: ResticBench, journal: Journal
) -> None:
    """The runner in the other container was killed; what it had started works on."""
    records = JournalLockRecords(journal, in_a_container(filled))
    filled.records = records
    with at_work(filled, check):
        records.close()
        with on_this_host(filled, journal):
            filled.restic().unlock()
            held = locks_of(filled)
    with on_this_host(filled, journal):
        filled.restic().unlock()

    assert 1 == len(held)
    assert [] == locks_of(filled)


def test_an_exclusive_lock_that_was_left_on_a_server_is_removed(
    filled: ResticBench, journal: Journal
) -> None:
    """As long as it is there nobody else gets one: so no other lock can go with it."""
    left_behind(filled, journal, check)
    with rest_server(filled.folder) as address, on_this_host(filled, journal):
        done = filled.restic(filled.repo(uri=address)).unlock()

    assert (ResultKind.SUCCESS, []) == (done.kind, locks_of(filled))


def test_a_shared_lock_that_was_left_on_a_server_stays_and_lets_others_save(
    filled: ResticBench, journal: Journal
) -> None:
    """Restic has no command for a single lock, and somebody might get one beside it."""
    left_behind(filled, journal, back_up)
    with rest_server(filled.folder) as address, on_this_host(filled, journal):
        engine = filled.restic(filled.repo(uri=address))
        done = [engine.unlock(), engine.capture(filled.plan(), INSTANCE, filled.reported.append)]

    assert {ResultKind.SUCCESS} == {one.kind for one in done}
    assert 1 == len(locks_of(filled))
