"""A private Docker engine in a folder of its own: started, asked until it answers, stopped.

    python private_docker.py start FOLDER     prints the address
    python private_docker.py stop FOLDER      stops it and removes the folder
    python private_docker.py ping ADDRESS     exit 0 where an engine answers

The folder's path must be short: a unix socket's path has at most 107 bytes.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import docker
import requests
from docker.errors import DockerException

# No bridge and no packet filter: the network of the machine stays as it was.
_NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
# With both, in a network namespace of its own, which leads nowhere: the machine's stays as it
# was all the same. Published ports are open in there.
_APART = ("unshare", "--net", "sh", "-c", 'busybox ip link set lo up && exec "$0" "$@"')
# The kernel sends it SIGTERM when we are gone, also by SIGKILL, so that no run leaves one behind.
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")
_LOOKS = 300
_LOOK_MILLISECONDS = 200
_STOP_MILLISECONDS = 45_000


class EngineError(RuntimeError):
    """The engine did not start; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class PrivateEngine:
    """A running dockerd: `folder` holds its socket, data and log."""

    folder: Path
    pid: int
    command: tuple[str, ...] = ()
    """What it was started by; empty for one that another process has started."""

    @property
    def socket(self) -> Path:
        """The unix socket on which it answers."""
        return self.folder / "docker.sock"

    @property
    def address(self) -> str:
        """The socket as `DOCKER_HOST` spells it."""
        return f"unix://{self.socket}"

    @property
    def data_root(self) -> Path:
        """The folder below which named volumes lie (`volumes/NAME/_data`)."""
        return self.folder / "data"


def run_engine(
    folder: Path,
    *,
    has_networks: bool = False,
    outlives_us: bool = False,
    keeps_running: bool = False,
) -> PrivateEngine:
    """Start an engine in `folder`, with the plain vfs storage where the usual one fails.

    `has_networks`: containers reach each other by name, and nothing outside (this needs
    busybox). The engine ends with the thread that starts it, however that ends, unless it
    `outlives_us`. `keeps_running`: containers run on while it is down (Docker's live-restore).
    Raises EngineError when neither storage comes up within a minute.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = ""
    common: tuple[str, ...] = () if has_networks else _NO_NETWORK
    common += ("--live-restore",) if keeps_running else ()
    for options in ((), ("--storage-driver=vfs",)):
        prefix = (() if outlives_us else _ENDS_WITH_US) + (_APART if has_networks else ())
        engine = _spawn(_command(folder, (*common, *options), prefix), folder)
        if _comes_up(engine):
            return engine
        _end(engine)
        said = (folder / "log").read_text(errors="replace")[-2000:]
        shutil.rmtree(engine.data_root, ignore_errors=True)
    raise EngineError(f"no private Docker engine could be started; dockerd said:\n{said}")


def run_again(engine: PrivateEngine) -> PrivateEngine:
    """Start an engine again that has ended, with all that it had.

    Raises EngineError when it does not come up within a minute.
    """
    again = _spawn(engine.command, engine.folder)
    if _comes_up(again):
        return again
    _end(again)
    said = (engine.folder / "log").read_text(errors="replace")[-2000:]
    raise EngineError(f"the private Docker engine did not start again; dockerd said:\n{said}")


def engine_in(folder: Path) -> PrivateEngine:
    """Return the engine that `run_engine` started in `folder`."""
    return PrivateEngine(folder, int((folder / "engine.pid").read_text()))


def stop_engine(engine: PrivateEngine) -> None:
    """End the engine by SIGTERM and remove its folder.

    Raises EngineError if something stays mounted below the folder: removing it
    would then delete what is mounted.
    """
    _end(engine)
    for mounted in _mounts_below(engine.folder):
        subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
    if left := _mounts_below(engine.folder):
        raise EngineError(f"still mounted: {', '.join(left)}")
    shutil.rmtree(engine.folder, ignore_errors=True)


def answers(address: str) -> bool:
    """Return whether a Docker engine answers at `address` (`unix://...`, `tcp://...`)."""
    try:
        if address.startswith("unix://"):
            return _answers_at(address.removeprefix("unix://"))
        client = docker.APIClient(base_url=address, version="auto", timeout=5)
    except (DockerException, requests.RequestException, OSError):
        return False
    client.close()
    return True


def _answers_at(path: str) -> bool:
    # By hand, since docker-py leaves a socket open when the connection is refused.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return connection.recv(64).startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))


def _command(folder: Path, options: tuple[str, ...], prefix: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *prefix,
        "dockerd",
        *("-H", f"unix://{folder}/docker.sock"),
        *("--data-root", f"{folder}/data"),
        *("--exec-root", f"{folder}/exec"),
        *("-p", f"{folder}/docker.pid"),
        *options,
    )


def _spawn(command: tuple[str, ...], folder: Path) -> PrivateEngine:
    logged = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(folder / "log"), logged, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=streams, setsid=True)
    except FileNotFoundError:
        raise EngineError("dockerd is not installed (Debian's package is docker.io)") from None
    (folder / "engine.pid").write_text(str(pid))
    return PrivateEngine(folder, pid, command)


def _comes_up(engine: PrivateEngine) -> bool:
    for _ in range(_LOOKS):
        if _is_over(engine.pid, _LOOK_MILLISECONDS):
            return False
        if engine.socket.exists() and answers(engine.address):
            return True
    return False


def _end(engine: PrivateEngine) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if _is_over(engine.pid, 0):
            break
        os.kill(engine.pid, number)
        _is_over(engine.pid, _STOP_MILLISECONDS)
    try:
        os.waitpid(engine.pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by another process, which has reaped it or will


def _is_over(pid: int, milliseconds: int) -> bool:
    """Return whether the process has ended, waiting for that at most so long."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        return bool(ended.poll(milliseconds))
    finally:
        os.close(descriptor)


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    targets = [line.split()[1] for line in lines]
    return [target for target in reversed(targets) if target.startswith(f"{folder}/")]


def _main(action: str, where: str) -> int:
    if action == "ping":
        return 0 if answers(where) else 1
    if action == "stop":
        stop_engine(engine_in(Path(where)))
        return 0
    try:
        print(run_engine(Path(where), outlives_us=True).address)
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:3]))
