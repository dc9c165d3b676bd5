"""Checks of hooks: what they need in the backrest container, and what they left stopped.

They need a shell, and those that stop or run something a docker client and a connection
to Docker. Which calls a proxy lets them make is in `rights`.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.backrest.document import Document
from sidecar.backrest.messages import HOOK, value_of
from sidecar.docker.markers import DIRECTORY, Marker, read_markers
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError, StoreError
from sidecar.lib.text import counted
from sidecar.reconciler.apply.idle import IdleState, PlanActivity
from sidecar.reconciler.doctor.check import CheckContext, NotChecked, find_mount
from sidecar.reconciler.doctor.docker import require_containers
from sidecar.reconciler.state import Memory
from sidecar.service.check_result import CheckResult, failed, passed, warned

_SHELLS = ("/bin/sh", "/usr/bin/sh")
_USUAL = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_MOST_DIRECTORIES = 20
_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
_CALL = re.compile(r"(?:^|[\s;|&(`])(?:/[\w./-]*/)?docker\s", re.MULTILINE)
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A command hook: its plan or repository, and its text, which may hold secrets."""

    owner: str
    command: str

    @property
    def needs_shell(self) -> bool:
        """Whether it has no `#!` line that names another program to run it."""
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
    """Return all command hooks, as the next pass would leave them; raises NotChecked."""
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
    """Return the plans and repositories that hooks belong to, sorted and each once."""
    return sorted({script.owner for script in scripts})


def check_shell(context: CheckContext) -> CheckResult:
    """Look for a shell in the container: Backrest's smallest image has none."""
    require_containers(context)
    backrest = context.backrest
    scripts = [script for script in scripts_of(context) if script.needs_shell]
    if not scripts:
        raise NotChecked("no hook needs a shell")
    found = _first(context, _SHELLS)
    if found:
        return passed(f"{found} is there for {counted(len(scripts), 'hook')}")
    return failed(
        f"there is no shell in {backrest.name}, so its hooks cannot run",
        "take Backrest's image that is not `scratch`",
        owners_of(scripts),
    )


def check_client(context: CheckContext) -> CheckResult:
    """Look for a docker client in the container."""
    require_containers(context)
    backrest, scripts = context.backrest, docker_scripts(context)
    listed = backrest.environment.get("PATH", "").split(":")
    directories = [one for one in listed if one.startswith("/")][:_MOST_DIRECTORIES] or _USUAL
    found = _first(context, [posixpath.join(one, "docker") for one in directories])
    if found:
        return passed(f"{found} is there for {counted(len(scripts), 'hook')}")
    return failed(
        f"there is no docker client in {backrest.name}, and hooks call it",
        "take Backrest's image with tools (alpine), or mount a static docker client",
        owners_of(scripts),
    )


def check_socket(context: CheckContext) -> CheckResult:
    """Look for Docker's socket in the container, or for another address of Docker."""
    require_containers(context)
    backrest, scripts = context.backrest, docker_scripts(context)
    host = backrest.environment.get("DOCKER_HOST", "")
    if host and not host.startswith(("unix://", "/")):
        return passed("hooks reach an engine by its DOCKER_HOST")
    named = host.removeprefix("unix://")
    for place in (named,) if named else _SOCKETS:
        if find_mount(backrest.mounts, place) is not None:
            return passed(f"{place} is mounted there")
    return failed(
        f"the engine's socket is not mounted in {backrest.name}, and hooks call docker",
        "mount /var/run/docker.sock there, or set its DOCKER_HOST to a socket proxy",
        owners_of(scripts),
    )


def check_markers(context: CheckContext) -> CheckResult:
    """Read the markers of hooks, and check whether the runs that wrote them still go on."""
    directory = context.settings.config.parent / DIRECTORY
    try:
        markers = read_markers(directory)
    except StoreError as error:
        return failed(error.message, error.hint)
    latest = context.now.timestamp() - context.settings.applying.guard_after
    old = [marker for marker in markers if marker.written_at <= latest]
    runs = {marker: _run_of(context, marker) for marker in old}
    stale = [marker for marker in old if not runs[marker]]
    if stale:
        return warned(
            f"{counted(len(stale), 'container')} may be stopped since a backup that has died",
            "the daemon starts them again; without one, see `docker ps -a` and start them",
            [f"{marker.name}, by the plan {marker.plan or '?'}" for marker in stale],
        )
    if not markers:
        return passed("no backup has left anything stopped")
    details = [f"{one.name}, by the plan {one.plan or '?'}: {runs[one]}" for one in old]
    message = f"{counted(len(markers), 'container')} stopped by backups that go on"
    return passed(message, details=details)


def _run_of(context: CheckContext, marker: Marker) -> str:
    """Return what still runs of the run that wrote a marker; empty for nothing, or unknown."""
    try:
        connection = context.connection
    except NotChecked:
        return ""
    facts = context.facts
    activity = PlanActivity(
        context.settings,
        # Only what runs matters: not whether there was a Backrest before.
        Memory(None),
        connection,
        facts.api if facts.served is not None else None,
        Clocks(wall=context.now.timestamp),
    )
    check = activity.check(frozenset({marker.plan} - {""}))
    return check.because if check.state is IdleState.BUSY else ""


def docker_scripts(context: CheckContext) -> list[Script]:
    """Return all hooks that call the docker client; raises NotChecked without one."""
    scripts = [script for script in scripts_of(context) if script.needs_docker]
    if not scripts:
        raise NotChecked("no hook calls docker")
    return scripts


def _first(context: CheckContext, paths: Sequence[str]) -> str:
    exists, backrest = context.docker.archive_exists, context.backrest
    try:
        return next((path for path in paths if exists(backrest.id, path)), "")
    except InventoryError as error:
        # A proxy may refuse HEAD; that says nothing about the container.
        raise NotChecked(error.message) from None
