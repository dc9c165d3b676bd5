"""A repository behind a real sshd, whose host key is checked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.backrest.reading import Repo
from sidecar.engines.base import FailureClass
from sidecar.engines.options import CommandTimeouts
from sidecar.lib.process import ProcessRunner
from tests.engines.bench import ResticBench, fail_until_told
from tests.engines.storages import SshServer, ssh_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """Run an sshd that this user may log in to."""
    with ssh_server(tmp_path / "ssh") as running:
        yield running


@pytest.fixture
def remote(restic: ResticBench, server: SshServer) -> Repo:
    """Have the repository on that server, and ssh set up for it as a user does."""
    (restic.folder / "repo").rename(server.folder / "repo")
    restic.added["PATH"] = f"{server.programs}:{os.environ['PATH']}"
    restic.runner = ProcessRunner(restic.environ, grace=restic.grace)
    return restic.repo(uri=server.uri)


def test_a_repository_behind_ssh_works(restic: ResticBench, remote: Repo) -> None:
    """With whatever restic there is: one that knows no arguments of ssh is given none."""
    restic.use(remote)


def test_who_has_a_command_of_his_own_is_given_no_arguments(
    restic: ResticBench, remote: Repo, server: SshServer
) -> None:
    """Restic refuses the one beside the other."""
    command = f"/usr/bin/ssh -F {server.client} -p {server.port} 127.0.0.1 -s sftp"
    repo = restic.repo(uri=remote.uri, flags=(f"-o 'sftp.command={command}'",))

    assert restic.restic(remote).probe() == restic.restic(repo).probe()


def test_a_server_with_another_key_is_not_trusted(
    restic: ResticBench, remote: Repo, server: SshServer
) -> None:
    """Somebody else may answer at that address: it is told, and nothing is saved there."""
    other = server.make_key("other_key")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    failures = fail_until_told(
        restic.restic(remote), "the host key of the server is not one that is known"
    )

    assert FailureClass.AUTH is failures[-1].failure
    assert {FailureClass.AUTH, FailureClass.NETWORK} >= {one.failure for one in failures}


def test_a_key_that_is_not_let_in_is_told(
    restic: ResticBench, remote: Repo, server: SshServer
) -> None:
    """Nobody is asked for a password, and nothing is waited for."""
    server.authorized_keys.write_text("")
    restic.limits = CommandTimeouts(probe=20.0)
    failures = fail_until_told(restic.restic(remote), "Permission denied (publickey)")

    assert FailureClass.AUTH is failures[-1].failure
