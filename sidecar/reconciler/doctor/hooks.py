"""Checks of what hooks need in the runner: a shell, a docker client, a way to the engine."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.backrest.document import Document
from sidecar.backrest.messages import HOOK, value_of
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.doctor.check import (
    CheckContext,
    CheckResult,
    NotChecked,
    counted,
    failed,
    find_mount,
    passed,
)
from sidecar.reconciler.doctor.docker import require_containers

_SHELLS = ("/bin/sh", "/usr/bin/sh")
_USUAL = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_MOST_DIRECTORIES = 20
_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
_CALL = re.compile(r"(?:^|[\s;|&(`])(?:/[\w./-]*/)?docker\s", re.MULTILINE)
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A command hook: whose it is, and its text, which may hold secrets."""

    owner: str
    command: str

    @property
    def needs_shell(self) -> bool:
        """Whether it names no program of its own to run it."""
        return not self.command.startswith("#!")

    @property
    def needs_docker(self) -> bool:
        """Whether it calls the docker client."""
        return bool(_CALL.search(_COMMENT.sub("", self.command)))

    @property
    def writes_marker(self) -> bool:
        """Whether it is one of our templates that remember what they stopped."""
        return "${BACKREST_CONFIG:?" in self.command and "/.quiesced" in self.command


def scripts_of(context: CheckContext) -> list[Script]:
    """All command hooks, as the next pass would leave them; raises NotChecked."""
    return list(_scripts(context.planned))


def _scripts(document: Document) -> Iterator[Script]:
    for name in ("plans", "repos"):
        listed = document.root.get(name)
        for holder in listed if isinstance(listed, list) else ():
            if isinstance(holder, dict):
                yield from _scripts_of(holder)


def _scripts_of(holder: dict[str, Any]) -> Iterator[Script]:
    hooks = holder.get("hooks")
    for hook in hooks if isinstance(hooks, list) else ():
        action = value_of(hook, HOOK, "actionCommand")[1] if isinstance(hook, dict) else None
        command = action.get("command") if isinstance(action, dict) else None
        if type(command) is str and command.strip():
            yield Script(str(holder.get("id") or "?"), command)


def owners_of(scripts: list[Script]) -> list[str]:
    """Name the plans and repositories that hooks belong to, each once."""
    return sorted({script.owner for script in scripts})


def check_shell(context: CheckContext) -> CheckResult:
    """Look for a shell in the runner: its smallest image has none."""
    require_containers(context)
    runner = context.runner
    scripts = [script for script in scripts_of(context) if script.needs_shell]
    if not scripts:
        raise NotChecked("no hook needs a shell")
    found = _first(context, _SHELLS)
    if found:
        return passed(f"{found} is there for {counted(len(scripts), 'hook')}")
    return failed(
        f"there is no shell in {runner.name}, so its hooks cannot run",
        "take Backrest's image that is not `scratch`",
        owners_of(scripts),
    )


def check_client(context: CheckContext) -> CheckResult:
    """Look for a docker client in the runner."""
    require_containers(context)
    runner, scripts = context.runner, docker_scripts(context)
    listed = runner.environment.get("PATH", "").split(":")
    directories = [one for one in listed if one.startswith("/")][:_MOST_DIRECTORIES] or _USUAL
    found = _first(context, [posixpath.join(one, "docker") for one in directories])
    if found:
        return passed(f"{found} is there for {counted(len(scripts), 'hook')}")
    return failed(
        f"there is no docker client in {runner.name}, and hooks call it",
        "take Backrest's image with tools (alpine), or mount a static docker client",
        owners_of(scripts),
    )


def check_socket(context: CheckContext) -> CheckResult:
    """Look for the engine's socket in the runner, or for another way to it."""
    require_containers(context)
    runner, scripts = context.runner, docker_scripts(context)
    host = runner.environment.get("DOCKER_HOST", "")
    if host and not host.startswith(("unix://", "/")):
        return passed("hooks reach an engine by its DOCKER_HOST")
    named = host.removeprefix("unix://")
    for place in (named,) if named else _SOCKETS:
        if find_mount(runner.mounts, place) is not None:
            return passed(f"{place} is mounted there")
    return failed(
        f"the engine's socket is not mounted in {runner.name}, and hooks call docker",
        "mount /var/run/docker.sock there, or set its DOCKER_HOST to a socket proxy",
        owners_of(scripts),
    )


def docker_scripts(context: CheckContext) -> list[Script]:
    """All hooks that call the docker client; raises NotChecked without one."""
    scripts = [script for script in scripts_of(context) if script.needs_docker]
    if not scripts:
        raise NotChecked("no hook calls docker")
    return scripts


def _first(context: CheckContext, paths: Sequence[str]) -> str:
    exists, runner = context.engine.archive_exists, context.runner
    try:
        return next((path for path in paths if exists(runner.id, path)), "")
    except InventoryError as error:
        # A proxy may know no HEAD; that says nothing about the runner.
        raise NotChecked(error.message) from None
