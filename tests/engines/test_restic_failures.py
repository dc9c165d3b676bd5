"""What goes wrong with a real restic: each has its class, a readable reason, and an end."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backrest.reading import CheckPolicy, PrunePolicy
from sidecar.engines.base import CommandResult, EngineError, FailureClass, ResultKind
from sidecar.engines.locking import Host
from sidecar.engines.options import CommandTimeouts, OnMissing
from tests.engines.bench import INSTANCE, RESTIC, ResticBench, fail_until_told, holding_a_lock

MEGABYTE = 1 << 20
HOUR = 3600.0
SECRET = "hunter2-hunter2"


def wrapped(bench: ResticBench, line: str) -> None:
    """Run restic by way of a script of one line, which gets it as `$@`."""
    script = bench.folder / "restic"
    script.write_text(f'#!/bin/sh\nset -- {RESTIC} "$@"\n{line}\n')
    script.chmod(0o755)
    bench.program = str(script)


def without_privileges(bench: ResticBench) -> None:
    """Have permissions count for restic, also where the tests run as root."""
    if os.geteuid() == 0:
        wrapped(bench, 'exec setpriv --bounding-set -dac_override,-dac_read_search "$@"')


def attempt(bench: ResticBench) -> CommandResult:
    """Back up the source, whatever comes of it."""
    return bench.restic().capture(bench.plan(), INSTANCE, bench.reported.append)


def test_missing_repository(restic: ResticBench) -> None:
    """Nothing is created by a backup; after it was initialised it works."""
    (restic.folder / "repo").rename(restic.folder / "elsewhere")
    done = attempt(restic)

    assert (ResultKind.FAILED, FailureClass.REPO_NOT_FOUND) == (done.kind, done.failure)
    assert done.reason.startswith("there is no repository at this address")
    assert not (restic.folder / "repo").exists()
    restic.restic().initialise()
    restic.backup()


def test_missing_program(restic: ResticBench) -> None:
    """With a hint; also if it is missing behind `nice`."""
    restic.program = "no-such-restic"
    plain = attempt(restic)
    engine = restic.restic(restic.repo(cpu_nice="CPU_LOW"))
    behind = engine.check(CheckPolicy())

    assert {FailureClass.NO_PROGRAM} == {plain.failure, behind.failure}
    assert "install restic" in plain.reason
    with pytest.raises(EngineError):
        restic.restic().probe()


def test_unreadable_file(restic: ResticBench) -> None:
    """A warning: there is a snapshot, of all but that file; when it is readable all is well."""
    without_privileges(restic)
    restic.write("good", "x")
    bad = restic.write("bad", "x", mode=0o000)
    done = attempt(restic)

    assert (ResultKind.WARNING, FailureClass.PERMISSION) == (done.kind, done.failure)
    assert f"one file or folder could not be read: {bad}" in done.reason.replace("open ", "")
    assert done.snapshot
    assert done.stats is not None
    bad.chmod(0o600)
    restic.backup()


def test_read_only_source(restic: ResticBench) -> None:
    """To read is all that a backup needs."""
    without_privileges(restic)
    restic.write("folder/file", "x", mode=0o444)
    (restic.source / "folder").chmod(0o555)

    restic.backup()


def test_restore_where_nothing_may_be_written(restic: ResticBench) -> None:
    """The permission is the reason, not what follows from it."""
    without_privileges(restic)
    restic.write("file", "x")
    restic.backup()
    [snapshot] = restic.restic().snapshots(None, INSTANCE)
    target = restic.folder / "target"
    target.mkdir(mode=0o555)
    done = restic.restic().restore(snapshot, (), target, restic.reported.append)

    assert (ResultKind.FAILED, FailureClass.PERMISSION) == (done.kind, done.failure)
    assert "permission denied" in done.reason


def test_repository_that_may_not_be_written(restic: ResticBench) -> None:
    """Restic 0.14 tries for a quarter of an hour: the patience ends before, the reason is known."""
    without_privileges(restic)
    (restic.folder / "repo" / "locks").chmod(0o555)
    restic.limits = CommandTimeouts(stall=5.0)
    done = attempt(restic)
    (restic.folder / "repo" / "locks").chmod(0o755)
    restic.limits = CommandTimeouts()

    assert (ResultKind.FAILED, FailureClass.PERMISSION) == (done.kind, done.failure)
    restic.backup()


def test_path_that_vanishes_before_it_is_read(restic: ResticBench) -> None:
    """Old and new restic: a warning that names it, whatever the exit code."""
    restic.write("file", "x")
    going = restic.folder / "going"
    going.mkdir()
    children = 0

    def vanish(_: object) -> None:
        nonlocal children
        children += 1
        with contextlib.suppress(FileNotFoundError):
            going.rmdir()

    restic.restic().features()
    restic.restic().snapshots(None, INSTANCE)
    restic.on_start = vanish
    plan = restic.plan("web", restic.source, going)
    done = restic.restic().capture(plan, INSTANCE, restic.reported.append)

    assert children
    assert (ResultKind.WARNING, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
    assert f"{going}: does not exist" in done.reason
    assert done.snapshot


def test_missing_paths_may_be_a_warning(restic: ResticBench) -> None:
    """What is there is backed up; if nothing is there it fails all the same."""
    restic.on_missing = OnMissing.WARN
    restic.write("file", "x")
    absent = restic.folder / "absent"
    some = restic.plan("web", absent, restic.source)
    none = restic.plan("web", absent, Path("/with\0null"))
    done = restic.restic().capture(some, INSTANCE, restic.reported.append)
    failed = restic.restic().capture(none, INSTANCE, restic.reported.append)

    assert (ResultKind.WARNING, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
    assert f"this path does not exist: {absent}" == done.reason
    assert done.snapshot
    assert (ResultKind.FAILED, FailureClass.SOURCE_MISSING) == (failed.kind, failed.failure)


def test_a_backup_goes_on_beside_a_lock_that_is_shared(restic: ResticBench) -> None:
    """And that lock stays, as long as its holder lives."""
    restic.backup()
    with holding_a_lock(restic):
        shared = attempt(restic)
        held = list((restic.folder / "repo" / "locks").iterdir())

    assert ResultKind.SUCCESS is shared.kind
    assert 1 == len(held)


def test_old_lock_of_a_living_restic_is_respected(restic: ResticBench) -> None:
    """After half an hour restic would remove it: one that was suspended may wake up."""
    later = Host(now=lambda: time.time() + HOUR)
    with holding_a_lock(restic) as pid:
        restic.host = later
        done = restic.restic().unlock()
        restic.host = replace(later, name="another-host")
        elsewhere = restic.restic().unlock()
    restic.host = later
    dead = restic.restic().unlock()

    assert (ResultKind.FAILED, FailureClass.LOCKED) == (done.kind, done.failure)
    assert f"PID {pid} on {later.name}, which still runs" in done.reason
    assert {ResultKind.SUCCESS} == {elsewhere.kind, dead.kind}
    assert [] == list((restic.folder / "repo" / "locks").iterdir())


def test_lock_of_a_killed_restic_is_no_obstacle(restic: ResticBench) -> None:
    """What a loss of power leaves is found, removed, and the command is run once more."""
    with holding_a_lock(restic):
        pass
    left = list((restic.folder / "repo" / "locks").iterdir())
    done = restic.restic().prune(PrunePolicy())

    assert 1 == len(left)
    assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Listen, and never answer; give the address of a repository there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"rest:http://user:{SECRET}@127.0.0.1:{server.getsockname()[1]}/"


def test_probe_of_a_server_that_never_answers_ends(restic: ResticBench, silent_server: str) -> None:
    """Within the time that it is given."""
    restic.limits = CommandTimeouts(probe=0.5)
    with pytest.raises(EngineError) as caught:
        restic.restic(restic.repo(uri=silent_server)).probe()

    assert FailureClass.TIMEOUT is caught.value.failure
    assert "it took too long; nothing moved for 0 seconds" == caught.value.message


def test_backup_to_a_server_that_never_answers_ends(
    restic: ResticBench, silent_server: str
) -> None:
    """The worker is free again, and another repository can be written."""
    restic.limits = CommandTimeouts(stall=1.0)
    engine = restic.restic(restic.repo(uri=silent_server))
    done = engine.capture(restic.plan(), INSTANCE, restic.reported.append)
    restic.limits = CommandTimeouts()

    assert (ResultKind.FAILED, FailureClass.TIMEOUT) == (done.kind, done.failure)
    assert "nothing moved for 1 second" in done.reason
    restic.backup()


def test_backup_that_stops_moving_is_ended(restic: ResticBench) -> None:
    """Status lines go on, but say the same: a file that never ends being read."""
    restic.limits = CommandTimeouts(stall=4.0)
    restic.write("file", "x")
    os.mkfifo(restic.source / "fifo")
    wrapped(
        restic,
        f'case "$*" in *backup*) cat {restic.source}/fifo | exec "$@" --stdin;; *) exec "$@";; esac',
    )
    plan = replace(restic.plan(), paths=(), backup_flags=("--stdin-filename x",))
    done = restic.restic().capture(plan, INSTANCE, restic.reported.append)

    assert restic.reported
    assert (ResultKind.FAILED, FailureClass.TIMEOUT) == (done.kind, done.failure)


def test_server_that_refuses(restic: ResticBench) -> None:
    """The network is the reason, also where restic would try for long; no secret is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    restic.limits = CommandTimeouts(probe=1.5)
    uri = f"rest:http://user:{SECRET}@127.0.0.1:{port}/"
    with pytest.raises(EngineError) as caught:
        restic.restic(restic.repo(uri=uri)).probe()

    assert FailureClass.NETWORK is caught.value.failure
    assert caught.value.message.startswith("the repository cannot be reached: ")
    assert "connection refused" in caught.value.message
    assert SECRET not in str(caught.value)


def test_storage_that_stays_away(restic: ResticBench) -> None:
    """The same operation fails again and again: that is waited for, but not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    restic.limits = CommandTimeouts(retrying=1.0)
    engine = restic.restic(restic.repo(uri=f"rest:http://127.0.0.1:{port}/"))
    done = engine.capture(restic.plan(), INSTANCE, restic.reported.append)

    assert (ResultKind.FAILED, FailureClass.NETWORK) == (done.kind, done.failure)
    assert done.reason.startswith("the repository cannot be reached: ")
    assert done.reason.endswith("connection refused")


def test_flag_that_restic_does_not_know(restic: ResticBench) -> None:
    """It is named; what it sets, which may be secret, is not."""
    plan = restic.plan(backup_flags=(f"--password-hint={SECRET}",))
    done = restic.restic().capture(plan, INSTANCE, restic.reported.append)

    assert ResultKind.FAILED is done.kind
    assert "unknown flag: --password-hint" in done.reason
    assert SECRET not in done.reason + done.excerpt


def test_flag_whose_quotes_are_open(restic: ResticBench) -> None:
    """A fault of the document is told like any other, without the flag."""
    plan = restic.plan(backup_flags=(f"--tag '{SECRET}",))
    of_plan = restic.restic().capture(plan, INSTANCE, restic.reported.append)
    of_repo = restic.restic(restic.repo(flags=(f'-o "{SECRET}',))).unlock()

    for done in (of_plan, of_repo):
        assert (ResultKind.FAILED, FailureClass.UNKNOWN) == (done.kind, done.failure)
        assert "a flag cannot be split into words: it has an open quote" in done.reason


def test_plan_of_a_document_without_instance(restic: ResticBench) -> None:
    """Its snapshots would belong to nobody."""
    done = restic.restic().capture(restic.plan(), "", restic.reported.append)

    assert (ResultKind.FAILED, "the document names no instance") == (done.kind, done.reason)


def test_a_pack_that_is_missing(restic: ResticBench) -> None:
    """Check and prune name it, with what comes next."""
    restic.write("file", os.urandom(MEGABYTE))
    restic.backup()
    packs = (restic.folder / "repo" / "data").glob("*/*")
    pack = max(packs, key=lambda file: file.stat().st_size)
    pack.unlink()
    check, prune = restic.restic().check(CheckPolicy()), restic.restic().prune(PrunePolicy())

    for done in (check, prune):
        assert (ResultKind.FAILED, FailureClass.DAMAGED) == (done.kind, done.failure)
        assert pack.name in done.reason
        assert "next: keep a copy of the repository" in done.reason


def test_rclone_that_does_not_know_the_remote(restic: ResticBench) -> None:
    """Why is what rclone says; restic only knows that it has ended."""
    program = restic.folder / "rclone"
    program.write_text('#!/bin/sh\necho "Failed to create file system for \\"$4\\"" >&2\nexit 1\n')
    program.chmod(0o755)
    flags = (f"-o rclone.program={program}",)
    engine = restic.restic(restic.repo(uri="rclone:corrupt:bucket", flags=flags))
    failures = fail_until_told(engine, "restic failed: rclone: Failed to create file system")

    assert FailureClass.UNKNOWN is failures[-1].failure
