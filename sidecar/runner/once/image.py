"""Backing up once by an image of restic-compose-backup, then forgetting by the services' labels.

One container after another, each of which is removed when its command has ended.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class ImageStrategy:
    """Backs up by an image; see `BackupStrategy`.

    Attributes:
        runner: the settings of the runner whose document is locked.
        settings: what is wanted of the image.
        connect: makes a connection to Docker, for one thread each.
        environ: where variables without a value in the file of variables come from.
        out: gets what the containers print, line by line and without secrets.
        err: gets what they print as errors.
        container: the name of the containers.
    """

    runner: RunnerSettings
    settings: ImageSettings
    connect: Callable[[], OneShotDocker]
    environ: Mapping[str, str] = field(repr=False)
    out: ShowLine
    err: ShowLine
    container: str = field(default_factory=lambda: f"backup-once-{secrets.token_hex(6)}")

    def prepare(self) -> "ImageBackup":
        """Read the variables, and pull the image if Docker does not have it."""
        settings = self.settings
        given = () if settings.env_file is None else read_env_file(settings.env_file, self.environ)
        with self.connect() as docker:
            binds = (
                f"{_socket_on_host(docker)}:{_SOCKET}:ro",
                f"{settings.docker_root}:{_ROOT}:ro",
            )
            if not docker.has_image(settings.image):
                log_event(_log, logging.INFO, "image.pull", image=settings.image)
                docker.pull(settings.image)
        return ImageBackup(self, (*given, *_switches(settings)), binds)

    def preview(self) -> tuple[str, ...]:
        """Return the commands that would be run, in words."""
        with self.connect() as docker:
            _socket_on_host(docker)
        if self.settings.env_file is not None:
            read_env_file(self.settings.env_file, self.environ)
        image, backup = self.settings.image, " ".join(_backup_command(self.settings))
        forgets = (
            " ".join(_forget_command(self.settings, one)) for one in self.settings.retentions
        )
        return (f"run in {image}: {backup}", *(f"forget in {image}: {words}" for words in forgets))


class ImageBackup:
    """Runs the image with these variables and mounts; see `PreparedBackup` and `OpenBackup`."""

    def __init__(
        self,
        strategy: ImageStrategy,
        variables: Sequence[tuple[str, str]],
        binds: tuple[str, ...],
    ) -> None:
        self._runner, self._settings = strategy.runner, strategy.settings
        self._connect = strategy.connect
        self._out, self._err = strategy.out, strategy.err
        self._name = strategy.container
        self._variables = tuple(variables)
        self._binds = binds
        self._stopping = threading.Event()

    @contextmanager
    def opened(self) -> Iterator[tuple["ImageBackup", Journal]]:
        """Lock out a runner of the document, and give its journal.

        It would start again what we stop. A Backrest may run: it knows nothing of the image.
        """
        make_state_folder(self._runner)
        with (
            SchedulerLock(self._runner.files.locked_folders, PURPOSE, self._runner.state_dir),
            open_journal(self._runner) as journal,
        ):
            yield self, journal

    def resume(self) -> None:
        """Do nothing: the image's runs are not in the journal."""

    def run(self) -> Result:
        """Back up, and if that went well forget; a forget that fails is a warning."""
        with self._connect() as docker:
            status = self._run_command(docker, _backup_command(self._settings))
            if self._stopping.is_set():
                self._out("ended early: what was saved so far is up to the image")
                return Result.FAILED
            self._out(f"backup by {self._settings.image}: {_in_words(status)}")
            if status:
                return Result.FAILED
            results = [self._run_forget(docker, one) for one in self._settings.retentions]
        return max(results, default=Result.DONE)

    def stop(self) -> None:
        """Stop the container that runs; what Docker refuses is logged."""
        self._stopping.set()
        try:
            with self._connect() as docker:
                docker.stop(self._name)
        except DockerError as error:
            log_event(_log, logging.ERROR, "once.not-stopped", reason=error.message)

    def _run_forget(self, docker: OneShotDocker, retention: ImageRetention) -> Result:
        if self._stopping.is_set():
            return Result.FAILED
        status = self._run_command(docker, _forget_command(self._settings, retention))
        self._out(f"forget of {retention.folder}: {_in_words(status)}")
        return Result.WARNING if status else Result.DONE

    def _run_command(self, docker: OneShotDocker, command: tuple[str, ...]) -> int:
        """Run a command in a container of its own, remove that, and return the exit status."""
        masking = masking_of_variables(self._variables)
        out, err = MaskedLines(masking, self._out), MaskedLines(masking, self._err)
        shot = OneShotContainer(self._settings.image, command, self._variables, self._binds)
        try:
            docker.create(self._name, shot)
            for out_piece, err_piece in docker.perform(self._name, self._stopping):
                out.write(out_piece)
                err.write(err_piece)
            return docker.exit_status(self._name)
        finally:
            out.finish()
            err.finish()
            docker.discard(self._name)


def _switches(settings: ImageSettings) -> tuple[tuple[str, str], ...]:
    return (
        ("EXCLUDE_BIND_MOUNTS", str(int(settings.exclude_bind_mounts))),
        ("INCLUDE_PROJECT_NAME", str(int(settings.include_project_name))),
    )


def _backup_command(settings: ImageSettings) -> tuple[str, ...]:
    return (*settings.command, *settings.arguments)


def _forget_command(settings: ImageSettings, retention: ImageRetention) -> tuple[str, ...]:
    path = f"{settings.path_prefix.rstrip('/')}/{retention.folder}"
    head = ("restic", "forget", "--group-by", settings.group_by, "--path", path)
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
