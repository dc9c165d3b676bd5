"""What a script says in place of restic: other versions, and answers that are hard to come by."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.backrest.reading import CheckPolicy
from sidecar.engines.base import EngineError, FailureClass, ResultKind, Snapshot
from sidecar.engines.restic.messages import parse_time
from tests.engines.bench import INSTANCE, ResticBench

GUID = "ab" * 32
SUMMARY = '{"message_type":"summary","total_files_processed":1}'
LOCK = '{"time":"2026-01-01T00:00:00Z","hostname":"elsewhere","pid":1}'
LOCKED = "repository is already locked by PID 1 on elsewhere by root (UID 0, GID 0)"

StandIn = Callable[..., ResticBench]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Have a script answer for restic: per verb what it does; it records its words."""

    def make(version: str = "0.18.1", **does: str) -> ResticBench:
        bench = ResticBench.at(tmp_path / "bench")
        usual = {
            "version": f'echo \'{{"version":"{version}"}}\'',
            "snapshots": "echo '[]'",
            "backup": f"echo '{SUMMARY}'",
        }
        cases = "\n".join(f"{verb}) {script} ;;" for verb, script in {**usual, **does}.items())
        program = tmp_path / "restic"
        record = f'echo "$@" >>{bench.folder}/record'
        program.write_text(f'#!/bin/sh\n{record}\ncase "$1" in\n{cases}\nesac\n')
        program.chmod(0o755)
        bench.program = str(program)
        return bench

    return make


def calls(bench: ResticBench) -> list[str]:
    """Return the words of each call."""
    return (bench.folder / "record").read_text().splitlines()


def test_skip_if_unchanged_is_for_those_who_know_it(stand_in: StandIn) -> None:
    """A newer restic gets it, and success without a snapshot is what it answers."""
    bench = stand_in()
    plan = bench.plan(backup_flags=("--skip-if-unchanged",))
    done = bench.restic().capture(plan, INSTANCE, bench.reported.append)

    assert "--skip-if-unchanged" in calls(bench)[-1]
    assert (ResultKind.SUCCESS, "", "") == (done.kind, done.snapshot, done.excerpt)


def test_an_older_restic_is_not_given_it(stand_in: StandIn) -> None:
    """It would refuse the whole backup; the excerpt says what was done."""
    bench = stand_in("0.16.5")
    plan = bench.plan(backup_flags=("--skip-if-unchanged",))
    done = bench.restic().capture(plan, INSTANCE, bench.reported.append)

    assert "--skip-if-unchanged" not in calls(bench)[-1]
    assert "restic 0.16.5 does not know --skip-if-unchanged: it was left out" == done.note


def test_version_is_asked_once_for_a_program(stand_in: StandIn) -> None:
    """Not for each run, which makes an engine of its own; a new program is asked anew."""
    bench = stand_in()
    for _ in range(2):
        assert "restic 0.18.1" == str(bench.restic().features())
    program = Path(bench.program)
    program.write_text(program.read_text().replace("0.18.1", "0.19.0"))

    assert "restic 0.19.0" == str(bench.restic().features())
    assert ["version --json"] * 2 == calls(bench)


def test_restore_makes_no_way_for_a_restic_that_does_so_itself(stand_in: StandIn) -> None:
    """Before 0.17 what stands in the way of a link is removed first; that takes a listing."""
    node = '{"struct_type":"node","path":"/a","type":"file"}'
    snapshot = Snapshot("c" * 64, parse_time("2026-01-01T00:00:00Z"), ("/a",))
    verbs = []
    for version in ("0.16.5", "0.17.0"):
        bench = stand_in(version, ls=f"echo '{node}'")
        (bench.folder / "a").touch()
        done = bench.restic().restore(snapshot, (), bench.folder, bench.reported.append)
        assert ResultKind.SUCCESS is done.kind
        verbs.append([call.split()[0] for call in calls(bench)])
        (bench.folder / "record").unlink()
        bench.source.rmdir()

    assert [["ls", "version", "ls", "restore"], ["ls", "version", "restore"]] == verbs


def test_a_repository_that_somebody_else_just_created_is_no_failure(stand_in: StandIn) -> None:
    """Two who begin at once have one repository."""
    bench = stand_in(
        cat=f'test -e $HOME/made && echo \'{{"id":"{GUID}"}}\' || exit 10',
        init="touch $HOME/made; echo 'Fatal: config file already exists' >&2; exit 1",
    )

    assert GUID == bench.restic().initialise()


@pytest.mark.parametrize(
    ("cat", "init", "failure"),
    [
        ("exit 10", "echo 'Fatal: no space left on device' >&2; exit 1", FailureClass.DISK_FULL),
        ("exit 12", "true", FailureClass.WRONG_PASSWORD),
        ("echo nothing", "true", FailureClass.UNKNOWN),
    ],
)
def test_a_repository_that_cannot_be_created_is_told(
    stand_in: StandIn, cat: str, init: str, failure: FailureClass
) -> None:
    """It is created only if it is certain that there is none."""
    bench = stand_in(cat=cat, init=init)
    with pytest.raises(EngineError) as caught:
        bench.restic().initialise()

    assert failure is caught.value.failure
    assert ("exit 10" == cat) == ("init --json" in calls(bench))


def test_what_cannot_get_better_by_itself_is_not_waited_for(
    stand_in: StandIn, tmp_path: Path
) -> None:
    """Restic would try it again for long; it is asked to end, and the cause is told."""
    line = "Save(<data/0a1b2c3d4e>) returned error, retrying after 552ms: 403 Forbidden"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    trap = "trap 'echo ended >&2; exit 1' TERM INT"
    wait = f"exec 3<>{fifo}; echo '{line}' >&2; while :; do read x <&3; done"
    bench = stand_in(backup=f"{trap}; {wait}")
    done = bench.restic().capture(bench.plan(), INSTANCE, bench.reported.append)

    assert (ResultKind.FAILED, FailureClass.AUTH) == (done.kind, done.failure)
    assert "the storage refused the credentials: 403 Forbidden" == done.reason
    assert f"{line}\nended" == done.excerpt


def test_listing_that_fails_gives_nothing(stand_in: StandIn) -> None:
    """Half a listing would look like a whole one."""
    bench = stand_in(ls='echo \'{"struct_type":"node","path":"/a"}\'; exit 1')
    snapshot = Snapshot("c" * 64, parse_time("2026-01-01T00:00:00Z"), ("/a",))
    with pytest.raises(EngineError):
        bench.restic().entries(snapshot, "/")


@pytest.mark.parametrize(
    ("cat", "expected"),
    [
        (f"echo '{LOCK}'", ResultKind.SUCCESS),
        ("echo odd", ResultKind.SUCCESS),
        ("echo 'Fatal: it is gone' >&2; exit 1", ResultKind.SUCCESS),
        ("echo 'Fatal: connection refused' >&2; exit 1", ResultKind.FAILED),
    ],
)
def test_a_lock_that_cannot_be_read_is_left_to_restic(
    stand_in: StandIn, cat: str, expected: ResultKind
) -> None:
    """It may be gone by now; a storage that is gone is another thing."""
    bench = stand_in(list="echo aaaa bbbb", cat=cat)

    assert expected is bench.restic().unlock().kind
    assert (expected is ResultKind.SUCCESS) == ("unlock" in calls(bench))


def test_a_lock_is_waited_for_once(stand_in: StandIn) -> None:
    """Of one that stays the holder is told; there is no third try."""
    bench = stand_in(check=f"echo '{LOCKED}' >&2; exit 1")
    done = bench.engine().check(CheckPolicy())

    assert (ResultKind.FAILED, FailureClass.LOCKED) == (done.kind, done.failure)
    assert "the repository is locked by PID 1 on elsewhere by root" == done.reason
    assert ["check", "list locks --no-lock", "check"] == calls(bench)
