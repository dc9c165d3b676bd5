"""Backing up once by an image of restic-compose-backup, then forgetting by the services' labels.

One container after another, each of which is removed when its command has ended.

A file of variables for a container, read as `docker run --env-file` reads it.

What a program says in pieces, as whole lines without secrets.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.docker.lifecycle import ContainersError, OneShotContainer, OneShotDocker
from sidecar.docker.usage import on_host, own_container, own_id
from sidecar.engines.restic.masking import Masking
from sidecar.lib.errors import UsageError
from sidecar.lib.log import log_event
from sidecar.runner.journal import Journal
from sidecar.runner.lock import SchedulerLock
from sidecar.runner.once.once import PURPOSE, Result, Say, open_journal
from sidecar.runner.settings import RunnerSettings

_MOST_BYTES = 1 << 20
_FLAG = "--rcb-env-file"


def read_env_file(path: Path, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Read the variables of a file; a name without `=` is taken from `environ`, if it is there.

    Raises UsageError, which names the file and the line and never shows a value.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{_FLAG} {path} cannot be read: {error.strerror}", "name a file of NAME=VALUE lines"
        ) from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{_FLAG} {path} is larger than 1 MiB", "name a file of variables")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{_FLAG} {path} is no UTF-8 text", "save it as UTF-8") from None
    return tuple(parse_env_file(text, environ, str(path)))


def parse_env_file(text: str, environ: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    """Parse the lines; a value is all that follows the first `=`, quotes and blanks included."""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        variable, equals, value = line.partition("=")
        _check_variable(variable, f"{_FLAG} {name}, line {number}")
        if equals:
            yield variable, value
        elif variable in environ:
            yield variable, environ[variable]


def _check_variable(variable: str, where: str) -> None:
    if not variable:
        raise UsageError(f"{where} has no name before the =", "write NAME=VALUE")
    if any(character.isspace() for character in variable) or "\0" in variable:
        raise UsageError(f"{where}: there is a blank in the name", "write NAME=VALUE")


_MOST = 1 << 16
# Of values whose names do not give them away, those that may be secrets: no switch, no path.
_SHORTEST = 8
_SECRET_NAMES = ("PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "WEBHOOK")
_PLAIN_NAMES = ("RESTIC_REPOSITORY",)


class Lines:
    """Hands on line by line what `take` is given; `finish` hands on what has no end."""

    def __init__(self, masking: Masking, say: Callable[[str], None]) -> None:
        self._masking = masking
        self._say = say
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Take what was said next."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._hand_on(line)
        if len(self._rest) > _MOST:
            self.finish()

    def finish(self) -> None:
        """Hand on the rest."""
        if self._rest:
            self._hand_on(self._rest)
        self._rest = b""

    def _hand_on(self, line: bytes) -> None:
        self._say(self._masking.mask(line.decode("utf-8", "replace").rstrip("\r")))


def masking_of_variables(variables: Iterable[tuple[str, str]]) -> Masking:
    """Know the secrets among variables: by their names, else all that is no word or path."""
    return Masking(others=[value for name, value in variables if _is_secret(name, value)])


def _is_secret(name: str, value: str) -> bool:
    if name.startswith(_PLAIN_NAMES):
        return False
    if any(word in name.upper() for word in _SECRET_NAMES):
        return True
    return len(value) >= _SHORTEST and not value.startswith("/")


DEFAULT_COMMAND = ("rcb", "backup")

_UNIX = "unix://"
_SOCKET = "/tmp/docker.sock"  # noqa: S108 - where the image looks for it, in its container
_ROOT = "/var/lib/docker"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageRetention:
    """What is kept of a service: its folder below the path prefix, and restic's flags."""

    folder: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What the operator says about the image; `docker_root` is a path of the engine's host."""

    image: str
    env_file: Path | None = None
    command: tuple[str, ...] = DEFAULT_COMMAND
    arguments: tuple[str, ...] = ()
    group_by: str = "paths"
    path_prefix: str = "/volumes"
    docker_root: str = _ROOT
    exclude_bind_mounts: bool = False
    include_project_name: bool = True


class ImageStrategy:
    """See `way.Way`. `engines` makes a connection to the engine, for one thread each.

    `out` and `err` are told what the containers say, line by line and without secrets.
    """

    def __init__(
        self,
        runner: RunnerSettings,
        settings: ImageSettings,
        keeps: tuple[ImageRetention, ...],
        engines: Callable[[], OneShotDocker],
        environ: Mapping[str, str],
        out: Say,
        err: Say,
    ) -> None:
        self._runner = runner
        self._settings = settings
        self._keeps = keeps
        self._engines = engines
        self._environ = environ
        self._out, self._err = out, err
        self._variables: tuple[tuple[str, str], ...] = ()
        self._binds: tuple[str, ...] = ()
        self._is_stopping = False
        self._name = f"backup-once-{secrets.token_hex(6)}"

    @property
    def container(self) -> str:
        """What its containers are called."""
        return self._name

    def prepare(self) -> None:
        """Read the variables, and fetch the image if it is not there."""
        file = self._settings.env_file
        said = read_env_file(file, self._environ) if file is not None else ()
        self._variables = (*said, *self._switches())
        with self._engines() as engine:
            self._binds = (
                f"{_socket_on_host(engine)}:{_SOCKET}:ro",
                f"{self._settings.docker_root}:{_ROOT}:ro",
            )
            if not engine.has_image(self._settings.image):
                log_event(_log, logging.INFO, "image.pull", image=self._settings.image)
                engine.pull(self._settings.image)

    def preview(self) -> tuple[str, ...]:
        """Say what would be run, and forgotten."""
        with self._engines() as engine:
            _socket_on_host(engine)
        if self._settings.env_file is not None:
            read_env_file(self._settings.env_file, self._environ)
        image, backup = self._settings.image, " ".join(self._backup())
        forgets = (" ".join(self._forget(keep)) for keep in self._keeps)
        return (f"run in {image}: {backup}", *(f"forget in {image}: {words}" for words in forgets))

    @contextmanager
    def opened(self) -> Iterator[Journal]:
        """Lock out a runner of the document, and give its journal.

        It would start again what we stop. A Backrest may run: it knows nothing of the image.
        """
        with SchedulerLock(self._runner.config, PURPOSE), open_journal(self._runner) as journal:
            yield journal

    def resume(self) -> None:
        """Have no runs in the journal."""

    def run(self) -> Result:
        """Back up, and if that went well forget; a forget that fails is a warning."""
        with self._engines() as engine:
            status = self._perform(engine, self._backup())
            if self._is_stopping:
                self._out("ended early: what was saved so far is up to the image")
                return Result.FAILED
            self._out(f"backup by {self._settings.image}: {_in_words(status)}")
            if status:
                return Result.FAILED
            results = [self._run_forget(engine, keep) for keep in self._keeps]
        return max(results, default=Result.DONE)

    def stop(self) -> None:
        """End the container that runs, if the engine does as it is told."""
        self._is_stopping = True
        try:
            with self._engines() as engine:
                engine.stop(self._name)
        except ContainersError as error:
            log_event(_log, logging.ERROR, "once.not-stopped", reason=error.message)

    def _run_forget(self, engine: OneShotDocker, keep: ImageRetention) -> Result:
        if self._is_stopping:
            return Result.FAILED
        status = self._perform(engine, self._forget(keep))
        self._out(f"forget of {keep.folder}: {_in_words(status)}")
        return Result.WARNING if status else Result.DONE

    def _perform(self, engine: OneShotDocker, command: tuple[str, ...]) -> int:
        """Run a command in a container of its own, which is gone afterwards."""
        masking = masking_of_variables(self._variables)
        out, err = Lines(masking, self._out), Lines(masking, self._err)

        def write(said: bytes, told: bytes) -> None:
            out.take(said)
            err.take(told)

        shot = OneShotContainer(self._settings.image, command, self._variables, self._binds)
        try:
            engine.create(self._name, shot)
            return engine.perform(self._name, write, lambda: self._is_stopping)
        finally:
            out.finish()
            err.finish()
            engine.discard(self._name)

    def _switches(self) -> tuple[tuple[str, str], ...]:
        settings = self._settings
        return (
            ("EXCLUDE_BIND_MOUNTS", str(int(settings.exclude_bind_mounts))),
            ("INCLUDE_PROJECT_NAME", str(int(settings.include_project_name))),
        )

    def _backup(self) -> tuple[str, ...]:
        return (*self._settings.command, *self._settings.arguments)

    def _forget(self, keep: ImageRetention) -> tuple[str, ...]:
        path = f"{self._settings.path_prefix.rstrip('/')}/{keep.folder}"
        head = ("restic", "forget", "--group-by", self._settings.group_by, "--path", path)
        return (*head, *keep.flags, "--prune")


def _socket_on_host(engine: OneShotDocker) -> str:
    """Return the engine's socket as its host knows it; raises UsageError if there is none."""
    address = engine.address
    if not address.startswith(_UNIX):
        raise UsageError(
            f"--rcb-image needs the socket of the engine, not {address}",
            "name a socket by --docker-sock: it is mounted into the image's container",
        )
    return on_host(address.removeprefix(_UNIX), own_container(engine.all(), own_id()))


def _in_words(status: int) -> str:
    return "done" if status == 0 else f"failed with exit status {status}"
