"""A repository of rsync's behind a real sshd, as root there and not."""

import getpass
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy
from sidecar.engines.base import EngineError, FailureClass, ResultKind
from sidecar.engines.rsync import RsyncEngine
from sidecar.lib.process import ProcessRunner
from tests.engines.bench import INSTANCE, RsyncBench
from tests.engines.storages import SshServer, ssh_server

READ_ALL = CheckPolicy(read_data_subset_percent=100)
OTHER = "nobody"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """Run an sshd that this user may log in to."""
    with ssh_server(tmp_path / "ssh") as running:
        yield running


def ssh_flag(server: SshServer) -> str:
    """Return the flag for that server; one connection serves all commands, as logging in is slow."""
    shared = f"-o ControlMaster=auto -o ControlPath={server.folder}/m -o ControlPersist=5"
    return f"--ssh 'ssh -p {server.port} {shared}'"


def engine_for(
    bench: RsyncBench, server: SshServer, *flags: str, folder: str = "repo"
) -> RsyncEngine:
    """Return the engine of a repository on that server, with ssh set up as a user does."""
    bench.added["PATH"] = f"{server.programs}:{os.environ['PATH']}"
    bench.runner = ProcessRunner(bench.environ, grace=bench.grace)
    uri = f"rsync:{getpass.getuser()}@127.0.0.1:{server.folder}/{folder}"
    made = bench.engine(uri=uri, flags=(ssh_flag(server), *flags))
    assert isinstance(made, RsyncEngine)
    return made


@pytest.mark.parametrize("folder", ["repo", "it's a $(touch x) [name]* ☃"])
def test_a_repository_behind_ssh_works(rsync: RsyncBench, server: SshServer, folder: str) -> None:
    """From its making to the last command, whatever signs its folder's name has."""
    odd = rsync.write(os.fsdecode(b"deep/-odd\n\xff 'name'"), "hello")
    os.setxattr(odd, "user.colour", b"blue")
    os.chown(odd, 33, 44)
    odd.chmod(0o4750)
    os.link(odd, rsync.source / "hard")
    engine = engine_for(rsync, server, folder=folder)
    with pytest.raises(EngineError) as caught:
        engine.probe()
    guid = engine.initialise()
    done = [engine.capture(rsync.plan(), INSTANCE, rsync.reported.append) for _ in range(3)]
    listed = engine.snapshots(rsync.plan(), INSTANCE)
    entries = {one.path: one for one in engine.entries(listed[0], str(rsync.source))}
    done += [engine.check(READ_ALL), engine.unlock(), engine.prune(PrunePolicy())]
    target = rsync.folder / "target"
    done += [
        engine.restore(listed[0], (), target, rsync.reported.append),
        engine.forget(rsync.plan(), INSTANCE, Retention(last=1)),
    ]
    again = target / str(odd)[1:]

    assert FailureClass.REPO_NOT_FOUND is caught.value.failure
    assert guid == engine.probe()
    assert {(ResultKind.SUCCESS, "")} == {(one.kind, one.reason) for one in done}
    assert (3, [done[2].snapshot]) == (
        len(listed),
        [one.id for one in engine.snapshots(None, INSTANCE)],
    )
    assert engine.holds_file(listed[2])
    hard = entries[f"{rsync.source}/hard"]
    assert ("file", 5, 0o4750, 33, 44) == (hard.kind, hard.size, hard.mode, hard.user, hard.group)
    assert [] == [path for path in entries if not path.startswith(str(rsync.source))]
    status = again.lstat()
    assert ("hello", 33, 44, 2) == (
        again.read_text(),
        status.st_uid,
        status.st_gid,
        status.st_nlink,
    )
    assert b"blue" == os.getxattr(again, "user.colour")
    assert () == engine.locks()


def test_what_lies_on_another_machine_can_be_looked_into(
    rsync: RsyncBench, server: SshServer
) -> None:
    """A folder, what differs, a content; its size is not known, and its own program goes there."""
    odd = rsync.write(os.fsdecode(b"deep/-odd\n\xff 'name'"), b"\0\xff\r\n")
    rsync.write("deep/er/file", "x")
    rsync.write("changed", "1")
    engine = engine_for(rsync, server)
    engine.initialise()
    engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    rsync.write("changed", "22")
    engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    older, newer = engine.snapshots(rsync.plan(), INSTANCE)
    deep = f"{rsync.source}/deep"
    pieces: list[bytes] = []
    engine.read_file(newer, str(odd), pieces.append)
    command = engine.render_own(("--list-only", "repo:/web/snapshots/"))
    done = rsync.runner.run(command.argv, env=command.env)

    listed = [entry.path for entry in engine.children(newer, deep)]
    assert {deep, f"{deep}/er", f"{deep}/-odd\n\ufffd 'name'"} == set(listed)
    assert [("changed", f"{rsync.source}/changed")] == [
        (one.kind.value, one.path) for one in engine.changes(older, newer)
    ]
    assert b"\0\xff\r\n" == b"".join(pieces)
    with pytest.raises(EngineError):
        engine.read_file(newer, deep, pieces.append)
    assert engine.stored_bytes(rsync.plan(), INSTANCE) is None
    assert newer.id.rpartition("@")[2] in done.out.decode()


def test_unchanged_files_are_linked_there_too(rsync: RsyncBench, server: SshServer) -> None:
    """And what is not in the source any more is not in the next snapshot."""
    rsync.write("same", "x")
    rsync.write("gone", "x")
    engine = engine_for(rsync, server)
    engine.initialise()
    engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    (rsync.source / "gone").unlink()
    engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    trees = [
        server.folder / "repo/web/snapshots" / one.id.partition("@")[2] / str(rsync.source)[1:]
        for one in engine.snapshots(rsync.plan(), INSTANCE)
    ]

    assert (trees[0] / "same").samefile(trees[1] / "same")
    assert ["same"] == [one.name for one in trees[1].iterdir()]


def test_a_change_within_the_same_second_is_saved_there_too(
    rsync: RsyncBench, server: SshServer
) -> None:
    """Though of the entries there the seconds are told alone, and that is said."""
    file = rsync.write("file", "one")
    os.utime(file, ns=(0, 1_000_000_000_100_000_000))
    engine = engine_for(rsync, server)
    engine.initialise()
    engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    rsync.write("file", "two")
    os.utime(file, ns=(0, 1_000_000_000_900_000_000))
    done = engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    [stored] = server.folder.glob(f"repo/web/latest/{str(file)[1:]}")

    assert ("two", 1_000_000_000_900_000_000) == (stored.read_text(), stored.stat().st_mtime_ns)
    assert done.stats is not None
    assert 1 == done.stats.files_changed
    assert 1.0 == engine.capabilities().time_resolution


def test_damage_there_is_found(rsync: RsyncBench, server: SshServer) -> None:
    """The contents are read there."""
    rsync.write("file", "hello")
    engine = engine_for(rsync, server)
    engine.initialise()
    engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    [file] = (server.folder / "repo/web/snapshots").glob(f"*/{str(rsync.source)[1:]}/file")
    status = file.stat()
    file.write_text("hallo")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = engine.check(READ_ALL)

    assert (ResultKind.FAILED, FailureClass.DAMAGED) == (done.kind, done.failure)
    assert f"{rsync.source}/file" in done.reason


@pytest.fixture
def weak(server: SshServer) -> Iterator[SshServer]:
    """Have the other side run everything as a user who is not root."""
    shell = server.folder / "shell"
    # What sshd would run for that user.
    ids = pwd.getpwnam(OTHER)
    shell.write_text(
        "#!/bin/sh\n"
        f"exec setpriv --reuid {ids.pw_uid} --regid {ids.pw_gid} --clear-groups "
        'sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    shell.chmod(0o755)
    key = server.authorized_keys.read_text()
    server.authorized_keys.write_text(f'command="{shell}" {key}')
    home = Path("/var/tmp") / f"weak-{os.getpid()}"
    home.mkdir(mode=0o755)
    shutil.chown(home, OTHER, ids.pw_gid)
    try:
        yield replace(server, folder=home)
    finally:
        shutil.rmtree(home)


def engine_of_weak(
    bench: RsyncBench, weak: SshServer, server: SshServer, *flags: str
) -> RsyncEngine:
    """Return the engine of a repository of that user."""
    bench.added["PATH"] = f"{server.programs}:{os.environ['PATH']}"
    bench.runner = ProcessRunner(bench.environ, grace=bench.grace)
    uri = f"rsync:127.0.0.1:{weak.folder}/repo"
    made = bench.engine(uri=uri, flags=(ssh_flag(server), *flags))
    assert isinstance(made, RsyncEngine)
    return made


def test_owners_come_back_from_where_we_are_not_root(
    rsync: RsyncBench, server: SshServer, weak: SshServer
) -> None:
    """They lie in attributes there; modes, device nodes and hard links too."""
    file = rsync.write("file", "hello")
    os.chown(file, 33, 44)
    file.chmod(0o4711)
    os.link(file, rsync.source / "hard")
    os.mknod(rsync.source / "null", 0o20600, os.makedev(1, 3))
    engine = engine_of_weak(rsync, weak, server)
    engine.initialise()
    remark = engine.remark(())
    done = [engine.capture(rsync.plan(), INSTANCE, rsync.reported.append) for _ in range(2)]
    listed = engine.snapshots(rsync.plan(), INSTANCE)
    entries = {one.path: one for one in engine.entries(listed[1], str(rsync.source))}
    target = rsync.folder / "target"
    done += [
        engine.check(READ_ALL),
        engine.restore(listed[0], (), target, rsync.reported.append),
        engine.forget(rsync.plan(), INSTANCE, Retention(last=1)),
    ]
    again = (target / str(file)[1:]).lstat()
    node = (target / str(rsync.source)[1:] / "null").lstat()
    [stored] = weak.folder.glob(f"repo/web/snapshots/*/{str(file)[1:]}")

    assert {(ResultKind.SUCCESS, "")} == {(one.kind, one.reason) for one in done}
    assert "attributes" in done[0].note
    assert remark == done[0].note
    assert pwd.getpwnam(OTHER).pw_uid == stored.stat().st_uid
    entry = entries[str(file)]
    assert (33, 44, 0o4711) == (entry.user, entry.group, entry.mode)
    assert (33, 44, 0o104711, 2) == (again.st_uid, again.st_gid, again.st_mode, again.st_nlink)
    assert (0o20600, os.makedev(1, 3)) == (node.st_mode, node.st_rdev)


def test_without_owners_none_are_kept_and_that_is_as_asked(
    rsync: RsyncBench, server: SshServer, weak: SshServer
) -> None:
    """People can read the files there with the modes that they have."""
    file = rsync.write("file", "hello", 0o640)
    os.chown(file, 33, 44)
    engine = engine_of_weak(rsync, weak, server, "--no-owner")
    engine.initialise()
    done = engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    [stored] = weak.folder.glob(f"repo/web/snapshots/*/{str(file)[1:]}")

    assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)
    assert "" == done.note == engine.remark(())
    assert 0o640 == stored.stat().st_mode & 0o777
    assert [] == os.listxattr(stored)


def test_a_server_with_another_key_is_not_trusted(rsync: RsyncBench, server: SshServer) -> None:
    """Somebody else may answer at that address: nothing is sent there."""
    engine = engine_for(rsync, server)
    engine.initialise()
    other = server.make_key("other_key")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    # The connection of before is trusted.
    (server.folder / "m").unlink()
    done = engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)

    assert (ResultKind.FAILED, FailureClass.AUTH) == (done.kind, done.failure)
    assert "the host key of the server is not one that is known" in done.reason


def test_a_key_that_is_not_let_in_is_told(rsync: RsyncBench, server: SshServer) -> None:
    """Nobody is asked for a password, and nothing is waited for."""
    server.authorized_keys.write_text("")
    with pytest.raises(EngineError) as caught:
        engine_for(rsync, server).probe()

    assert FailureClass.AUTH is caught.value.failure
    assert "Permission denied (publickey)" in str(caught.value)


def test_a_machine_that_does_not_answer_is_told(rsync: RsyncBench, server: SshServer) -> None:
    """It is no repository that is missing."""
    gone = replace(server, port=1)
    with pytest.raises(EngineError) as caught:
        engine_for(rsync, gone).initialise()

    assert FailureClass.NETWORK is caught.value.failure


def test_a_limit_of_the_rate_is_kept(rsync: RsyncBench, server: SshServer) -> None:
    """Rsync is told, in its own spelling."""
    log = server.folder / "words"
    program = rsync.folder / "noting"
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec rsync "$@"\n')
    program.chmod(0o755)
    rsync.program = str(program)
    engine = engine_for(rsync, server, "--bwlimit 50m")
    engine.initialise()
    engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)

    assert "--bwlimit=50m" in log.read_text()


def test_only_a_few_commands_are_run_there(rsync: RsyncBench, server: SshServer) -> None:
    """Beside rsync itself: an account may be restricted to them."""
    log = server.folder / "commands"
    shell = server.folder / "shell"
    shell.write_text(
        f'#!/bin/sh\necho "$SSH_ORIGINAL_COMMAND" >> {log}\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    shell.chmod(0o755)
    key = server.authorized_keys.read_text()
    server.authorized_keys.write_text(f'command="{shell}" {key}')
    engine = engine_for(rsync, server)
    engine.initialise()
    for _ in range(2):
        engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
    engine.forget(rsync.plan(), INSTANCE, Retention(last=1))
    [snapshot] = engine.snapshots(rsync.plan(), INSTANCE)
    engine.restore(snapshot, (), rsync.folder / "target", rsync.reported.append)
    lines = log.read_text().splitlines()
    words = {part.split()[0] for line in lines for part in line.split(" && ")}

    assert {"rsync", "mkdir", "mv", "ln", "rm", "ls", "cat"} == words
