"""Real servers that repositories lie on: private processes on loopback ports, each for one test."""

import contextlib
import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 30.0
_SSHD = "/usr/sbin/sshd"
# Where sshd of Debian gives up its rights; only a service manager makes it otherwise.
_PRIVILEGE_SEPARATION = Path("/run/sshd")


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def serving(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Run a server, from when it listens until the end of the block."""
    with (
        log.open("ab") as stream,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stream) as process,
    ):
        try:
            deadline = time.monotonic() + _SECONDS
            while not _listens(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass(frozen=True, slots=True)
class SshServer:
    """An sshd, and how a client that was set up for it reaches it.

    `programs` is a folder with an `ssh` that reads `client`, as ssh does the file of its user.
    """

    folder: Path
    port: int

    @property
    def uri(self) -> str:
        """The address of a repository on it."""
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}/{self.folder}/repo"

    @property
    def client(self) -> Path:
        """What the client is configured by."""
        return self.folder / "client_config"

    @property
    def known_hosts(self) -> Path:
        """The keys of hosts that the client knows."""
        return self.folder / "known_hosts"

    @property
    def authorized_keys(self) -> Path:
        """The keys that the server lets in."""
        return self.folder / "authorized_keys"

    @property
    def programs(self) -> Path:
        """The folder of the `ssh` that is set up."""
        return self.folder / "bin"

    def make_key(self, name: str) -> str:
        """Make a pair of keys in this folder; return the public one."""
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(words, check=True)
        return (self.folder / f"{name}.pub").read_text()

    def write(self) -> None:
        """Write all files of the server and of its client."""
        self.programs.mkdir(parents=True)
        host, own = self.make_key("host_key"), self.make_key("client_key")
        self.authorized_keys.write_text(own)
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host}")
        server = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": self.authorized_keys,
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "Subsystem": "sftp internal-sftp",
        }
        client = {
            "IdentityFile": self.folder / "client_key",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "GlobalKnownHostsFile": "none",
            "StrictHostKeyChecking": "yes",
        }
        for file, settings in ((self.folder / "sshd_config", server), (self.client, client)):
            file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        program = self.programs / "ssh"
        program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {self.client} "$@"\n')
        program.chmod(0o755)


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Run an sshd with a host key and a configuration of its own; its host key is checked."""
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    server = SshServer(folder, free_port())
    server.write()
    command = [_SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    with serving(command, server.port, folder / "sshd.log"):
        yield server


USER, SECRET = "keeper", "hunter2-hunter2"


@contextlib.contextmanager
def rest_server(folder: Path, *flags: str) -> Iterator[str]:
    """Run `rclone serve restic` on a folder; yield the address, with user and password."""
    port = free_port()
    (folder / "repo").mkdir(parents=True, exist_ok=True)
    own = ["--addr", f"127.0.0.1:{port}", "--user", USER, "--pass", SECRET]
    own += ["--config", "/dev/null", "--cache-dir", str(folder / "cache")]
    command = ["rclone", "serve", "restic", *own, *flags, str(folder / "repo")]
    with serving(command, port, folder / "rclone.log"):
        yield f"rest:http://{USER}:{SECRET}@127.0.0.1:{port}/"


@contextlib.contextmanager
def s3_server(buckets: Path) -> Iterator[str]:
    """Run `rclone serve s3`, whose buckets are the folders in a folder; yield the address."""
    port = free_port()
    own = ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{USER},{SECRET}", "--config", "/dev/null"]
    command = ["rclone", "serve", "s3", *own, str(buckets)]
    with serving(command, port, buckets.parent / "rclone.log"):
        yield f"s3:http://127.0.0.1:{port}"
