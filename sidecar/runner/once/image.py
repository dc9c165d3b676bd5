"""Backing up once by an image of restic-compose-backup, then forgetting by the services' labels.

One container after another, each of which is removed when its command has ended.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.docker.failures import DockerError
from sidecar.docker.one_shot import OneShotContainer, OneShotDocker
from sidecar.docker.own_container import find_own_container, own_container_id
from sidecar.docker.usage import on_host
from sidecar.engines.masking import Masking, masking_of_variables
from sidecar.lib.errors import UsageError
from sidecar.lib.log import log_event
from sidecar.runner.journal import Journal
from sidecar.runner.lock import SchedulerLock
from sidecar.runner.once.env_file import read_env_file
from sidecar.runner.once.once import PURPOSE, Result, ShowLine, make_state_folder, open_journal
from sidecar.runner.settings import RunnerSettings

DEFAULT_COMMAND = ("rcb", "backup")

_UNIX = "unix://"
_SOCKET = "/tmp/docker.sock"  # noqa: S108 - where the image expects it, in its container
_ROOT = "/var/lib/docker"
_MOST_LINE = 1 << 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageRetention:
    """What is kept of a service: its folder below the path prefix, and restic's flags."""

    folder: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What the operator wants of the image.

    `docker_root` is a path on Docker's host, `retentions` what is forgotten after the backup.
    """

    image: str
    env_file: Path | None = None
    command: tuple[str, ...] = DEFAULT_COMMAND
    arguments: tuple[str, ...] = ()
    group_by: str = "paths"
    path_prefix: str = "/volumes"
    docker_root: str = _ROOT
    exclude_bind_mounts: bool = False
    include_project_name: bool = True
    retentions: tuple[ImageRetention, ...] = ()


class ImageStrategy:
    """Backs up by an image; see `BackupStrategy`.

    `connect` makes a connection to Docker, for one thread each. `out` and `err` get what the
    containers print, line by line and without secrets.
    """

    def __init__(
        self,
        runner: RunnerSettings,
        settings: ImageSettings,
        connect: Callable[[], OneShotDocker],
        environ: Mapping[str, str],
        out: ShowLine,
        err: ShowLine,
    ) -> None:
        self._runner = runner
        self._settings = settings
        self._connect = connect
        self._environ = environ
        self._out, self._err = out, err
        self._variables: tuple[tuple[str, str], ...] = ()
        self._binds: tuple[str, ...] = ()
        self._is_stopping = False
        self._name = f"backup-once-{secrets.token_hex(6)}"

    @property
    def container(self) -> str:
        """The name of its containers."""
        return self._name

    def prepare(self) -> None:
        """Read the variables, and pull the image if Docker does not have it."""
        file = self._settings.env_file
        given = read_env_file(file, self._environ) if file is not None else ()
        self._variables = (*given, *self._switches())
        with self._connect() as docker:
            self._binds = (
                f"{_socket_on_host(docker)}:{_SOCKET}:ro",
                f"{self._settings.docker_root}:{_ROOT}:ro",
            )
            if not docker.has_image(self._settings.image):
                log_event(_log, logging.INFO, "image.pull", image=self._settings.image)
                docker.pull(self._settings.image)

    def preview(self) -> tuple[str, ...]:
        """Return the commands that would be run, in words."""
        with self._connect() as docker:
            _socket_on_host(docker)
        if self._settings.env_file is not None:
            read_env_file(self._settings.env_file, self._environ)
        image, backup = self._settings.image, " ".join(self._backup_command())
        forgets = (" ".join(self._forget_command(one)) for one in self._settings.retentions)
        return (f"run in {image}: {backup}", *(f"forget in {image}: {words}" for words in forgets))

    @contextmanager
    def opened(self) -> Iterator[Journal]:
        """Lock out a runner of the document, and return its journal.

        It would start again what we stop. A Backrest may run: it knows nothing of the image.
        """
        make_state_folder(self._runner)
        with (
            SchedulerLock(self._runner.files.locked_folders, PURPOSE, self._runner.state_dir),
            open_journal(self._runner) as journal,
        ):
            yield journal

    def resume(self) -> None:
        """Do nothing: the image's runs are not in the journal."""

    def run(self) -> Result:
        """Back up, and if that went well forget; a forget that fails is a warning."""
        with self._connect() as docker:
            status = self._run_command(docker, self._backup_command())
            if self._is_stopping:
                self._out("ended early: what was saved so far is up to the image")
                return Result.FAILED
            self._out(f"backup by {self._settings.image}: {_in_words(status)}")
            if status:
                return Result.FAILED
            results = [self._run_forget(docker, one) for one in self._settings.retentions]
        return max(results, default=Result.DONE)

    def stop(self) -> None:
        """Stop the container that runs; what Docker refuses is logged."""
        self._is_stopping = True
        try:
            with self._connect() as docker:
                docker.stop(self._name)
        except DockerError as error:
            log_event(_log, logging.ERROR, "once.not-stopped", reason=error.message)

    def _run_forget(self, docker: OneShotDocker, retention: ImageRetention) -> Result:
        if self._is_stopping:
            return Result.FAILED
        status = self._run_command(docker, self._forget_command(retention))
        self._out(f"forget of {retention.folder}: {_in_words(status)}")
        return Result.WARNING if status else Result.DONE

    def _run_command(self, docker: OneShotDocker, command: tuple[str, ...]) -> int:
        """Run a command in a container of its own, remove that, and return the exit status."""
        masking = masking_of_variables(self._variables)
        out, err = MaskedLines(masking, self._out), MaskedLines(masking, self._err)

        def write(out_piece: bytes, err_piece: bytes) -> None:
            out.write(out_piece)
            err.write(err_piece)

        shot = OneShotContainer(self._settings.image, command, self._variables, self._binds)
        try:
            docker.create(self._name, shot)
            return docker.perform(self._name, write, lambda: self._is_stopping)
        finally:
            out.finish()
            err.finish()
            docker.discard(self._name)

    def _switches(self) -> tuple[tuple[str, str], ...]:
        settings = self._settings
        return (
            ("EXCLUDE_BIND_MOUNTS", str(int(settings.exclude_bind_mounts))),
            ("INCLUDE_PROJECT_NAME", str(int(settings.include_project_name))),
        )

    def _backup_command(self) -> tuple[str, ...]:
        return (*self._settings.command, *self._settings.arguments)

    def _forget_command(self, retention: ImageRetention) -> tuple[str, ...]:
        path = f"{self._settings.path_prefix.rstrip('/')}/{retention.folder}"
        head = ("restic", "forget", "--group-by", self._settings.group_by, "--path", path)
        return (*head, *retention.flags, "--prune")


def _socket_on_host(docker: OneShotDocker) -> str:
    """Return Docker's socket as a path of its host; raises UsageError if there is none."""
    address = docker.address
    if not address.startswith(_UNIX):
        raise UsageError(
            f"--rcb-image needs the socket of the engine, not {address}",
            "name a socket by --docker-sock: it is mounted into the image's container",
        )
    own = find_own_container(docker.all(), own_container_id())
    return on_host(address.removeprefix(_UNIX), own)


def _in_words(status: int) -> str:
    return "done" if status == 0 else f"failed with exit status {status}"


class MaskedLines:
    """Joins a program's output into lines and shows each without secrets.

    `finish` shows a last line that has no end. A line of more than 64 KiB is shown in parts.
    """

    def __init__(self, masking: Masking, show: ShowLine) -> None:
        self._masking = masking
        self._show = show
        self._rest = b""

    def write(self, piece: bytes) -> None:
        """Take the next piece of output, and show the lines that end in it."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._show_line(line)
        if len(self._rest) > _MOST_LINE:
            self.finish()

    def finish(self) -> None:
        """Show what is left."""
        if self._rest:
            self._show_line(self._rest)
        self._rest = b""

    def _show_line(self, line: bytes) -> None:
        self._show(self._masking.mask(line.decode("utf-8", "replace").rstrip("\r")))
