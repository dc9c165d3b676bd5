"""The backrest container: its facts, what runs in it, and restarting it."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Required
from urllib.parse import quote

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.docker.answers import AnswerShape, WireMount, validated
from sidecar.docker.client import DockerClient
from sidecar.docker.models import Mount
from sidecar.docker.records import mounts_of
from sidecar.docker.stopped import parse_moment
from sidecar.lib.errors import InventoryError

# Docker answers a restart when the container runs again, so later than its own timeout.
_RESTART_SLACK = 30.0
_SHORT_ID = 12
_INITS = frozenset({"tini", "tini-static", "docker-init", "dumb-init", "catatonit", "podman-init"})
_SHELLS = frozenset({"sh", "ash", "dash", "bash"})
_BACKREST = "backrest"
_DAEMON = ("backrest-runner", "daemon")
# On another processor the program stands behind its emulator.
_EMULATORS = ("qemu-", "rosetta")
# `#!/bin/sh -e` puts two words before the script's own.
_INTERPRETER_WORDS = 2


@dataclass(frozen=True, slots=True)
class BackrestContainer:
    """The container as it was inspected; times in unix seconds, 0 for never.

    `is_running` is also true while it is paused. `environment` may hold secrets;
    `command` is the command line of its first process.
    """

    id: str
    name: str
    is_running: bool
    started_at: float
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: tuple[Mount, ...] = ()
    command: tuple[str, ...] = ()
    finished_at: float = 0.0

    @property
    def time_zone(self) -> str:
        """The value of TZ in it; empty without one."""
        return self.environment.get("TZ", "")

    def is_container(self, identity: str) -> bool:
        """Return whether this is the container with that id, which may be a short one."""
        return len(identity) >= _SHORT_ID and self.id.startswith(identity)


@dataclass(frozen=True, slots=True)
class Process:
    """A living process of the container: its command line, its number and its parent's.

    Both numbers are empty where the list does not tell parents.
    """

    line: str
    pid: str = ""
    parent: str = ""


class _RunState(TypedDict, total=False):
    Running: Required[bool]
    StartedAt: str
    FinishedAt: str


class _EnvironmentConfig(TypedDict, total=False):
    Env: list[str] | None


class _InspectedBackrest(TypedDict, total=False):
    Id: Required[str]
    Name: Required[str]
    Path: str | None
    Args: list[str] | None
    State: Required[_RunState]
    Config: _EnvironmentConfig | None
    Mounts: list[WireMount] | None


class _Top(TypedDict):
    Titles: list[str]
    Processes: list[list[str]] | None


_INSPECTED = AnswerShape[_InspectedBackrest](_InspectedBackrest)
_TOP = AnswerShape[_Top](_Top)


def find_backrest(connection: DockerClient, name: str) -> BackrestContainer | None:
    """Inspect the container with this name or id; None without one. Raises InventoryError."""
    path = f"/containers/{quote(name, safe='')}/json"
    answer = connection.find(path)
    if answer is None:
        return None
    return _container(validated(_INSPECTED, answer, connection.source(path)))


def processes_of(connection: DockerClient, backrest: BackrestContainer) -> list[Process] | None:
    """Return the living processes of a running container; None where nobody can tell.

    Raises no error: the answer is None where a proxy forbids the question, the image has
    no `ps`, or the container stops at that moment.
    """
    path = f"/containers/{quote(backrest.id, safe='')}/top"
    try:
        answer = connection.find(path)
        top = None if answer is None else validated(_TOP, answer, connection.source(path))
    except InventoryError:
        return None
    return None if top is None else _processes(top["Titles"], top["Processes"] or [])


def _processes(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Process] | None:
    columns = {title: index for index, title in enumerate(titles)}
    command = columns.get("CMD", columns.get("COMMAND"))
    if command is None or not rows or any(len(row) < len(titles) for row in rows):
        return None
    living = [row for row in rows if not row[command].endswith("<defunct>")]
    if "PID" not in columns or "PPID" not in columns:
        return [Process(row[command]) for row in living]
    pid, parent = columns["PID"], columns["PPID"]
    return [Process(row[command], row[pid], row[parent]) for row in living]


def find_busy(processes: Iterable[Process], backrest: BackrestContainer) -> list[str]:
    """Return the programs in the container that do work, sorted and each once.

    Work are the living descendants of Backrest, or of the bundled runner's daemon. What
    stands above it is none, whatever the image's entrypoint is, nor is a `docker exec`:
    its parent is outside of the container. The names come without arguments, which may
    hold secrets.
    """
    found = list(processes)
    if daemons := {one.pid for one in found if one.pid and _is_daemon(one.line.split())}:
        below = _descendants(found, daemons)
        return sorted({_program(one.line) for one in found if one.pid in below})
    # Not started yet, by another name, or nobody tells parents: leave out what is no work.
    work = [one for one in found if not _is_own(one.line.split(), backrest.command)]
    if own := {one.pid for one in found if one.pid and one not in work}:
        below = _descendants(found, own)
        work = [one for one in work if one.pid in below]
    return sorted({_program(one.line) for one in work})


def _descendants(processes: Sequence[Process], roots: set[str]) -> set[str]:
    """Return the numbers of all processes below the roots, without the roots themselves."""
    below: set[str] = set()
    grown = True
    while grown:
        found = {one.pid for one in processes if one.parent in roots | below} - roots
        grown, below = found != below, found
    return below


def restart(connection: DockerClient, backrest: BackrestContainer, timeout: float) -> None:
    """Restart the container; its processes get `timeout` seconds to end.

    Raises InventoryError when that failed or the container is gone.
    """
    seconds = max(0, round(timeout))
    path = f"/containers/{quote(backrest.id, safe='')}/restart?t={seconds}"
    if connection.act(path, timeout=seconds + _RESTART_SLACK) is None:
        raise InventoryError(f"the container {backrest.name} is gone, so it cannot be restarted")


def _container(entry: _InspectedBackrest) -> BackrestContainer:
    state, config = entry["State"], entry.get("Config") or {}
    pairs = (pair.partition("=") for pair in config.get("Env") or ())
    return BackrestContainer(
        id=entry["Id"],
        name=entry["Name"].removeprefix("/"),
        is_running=state["Running"],
        started_at=parse_moment(state.get("StartedAt", "")),
        environment={name: value for name, _, value in pairs},
        mounts=mounts_of(entry.get("Mounts")),
        command=(*filter(None, [entry.get("Path")]), *(entry.get("Args") or ())),
        finished_at=parse_moment(state.get("FinishedAt", "")),
    )


def _program(line: str) -> str:
    return posixpath.basename((line.split() or [""])[0]) or "?"


def _is_daemon(words: Sequence[str]) -> bool:
    """Return whether a command line is that of Backrest or of the bundled runner's daemon."""
    programs = [posixpath.basename(word) for word in words[:2]]
    if programs[:1] == [_BACKREST]:
        return True
    if programs and programs[0].startswith(_EMULATORS) and programs[1:] == [_BACKREST]:
        return True
    # The bundled runner, perhaps behind its interpreter; other commands of it are work.
    behind = programs[0] not in _INITS if programs else False
    return _runs_daemon(words[:2]) or (behind and _runs_daemon(words[1:3]))


def _runs_daemon(words: Sequence[str]) -> bool:
    return (*map(posixpath.basename, words[:1]), *words[1:]) == _DAEMON


def is_bundled_runner(backrest: BackrestContainer) -> bool:
    """Return whether the bundled runner's daemon runs in Backrest's place."""
    words = backrest.command
    return any(_runs_daemon(words[at : at + 2]) for at in range(len(words)))


def _is_own(words: Sequence[str], command: tuple[str, ...]) -> bool:
    program = posixpath.basename(words[0]) if words else ""
    if _is_daemon(words) or program in _INITS or program.startswith("s6-"):
        return True
    # The image's entrypoint, a program or a script behind its shell.
    if "entrypoint" in program:
        return True
    script = _script(words)
    if script and ("entrypoint" in posixpath.basename(script) or script in command):
        return True
    # The first process, which is always there, perhaps behind the interpreter of a script.
    first = " ".join(command).split()
    before = len(words) - len(first)
    return bool(first) and 0 <= before <= _INTERPRETER_WORDS and list(words[before:]) == first


def _script(words: Sequence[str]) -> str:
    """Return the file that a shell runs, as in `/bin/sh /start.sh`; empty for anything else.

    A shell without a file is a hook: those come on standard input.
    """
    rest = words[1:] if words and posixpath.basename(words[0]) == "busybox" else words
    if not rest or posixpath.basename(rest[0]) not in _SHELLS:
        return ""
    options = list(takewhile(lambda word: word.startswith("-"), rest[1:]))
    given = rest[1 + len(options) :]
    return "" if "-c" in options or not given else given[0]
