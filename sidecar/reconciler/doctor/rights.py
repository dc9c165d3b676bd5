"""Checks of what we may make the engine do: restart the runner, start what was left stopped.

Tried on a container that cannot exist: who may, is told that there is none.

Check of what hooks may make the engine do, where a proxy stands between them and it.

Tried from here, at the address that the runner's DOCKER_HOST names, and on a container that
cannot exist: who may, is told that there is none.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidecar.docker.client import Connection
from sidecar.docker.endpoint import parse_address
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.doctor.check import (
    SECONDS,
    CheckContext,
    CheckResult,
    NotChecked,
    failed,
    passed,
    warned,
)
from sidecar.reconciler.doctor.docker import NOBODY, REFUSED, require_containers
from sidecar.reconciler.doctor.hooks import Script, docker_scripts, owners_of, scripts_of
from sidecar.reconciler.settings import ApplyVia


@dataclass(frozen=True, slots=True)
class _OwnRight:
    """Something that is done: the variable that grants it, how it is tried, why it is wanted.

    `why` gives the purpose in words, empty where nobody wants it.
    """

    variable: str
    method: str
    path: str
    why: Callable[[CheckContext], str]


def _why_restart(context: CheckContext) -> str:
    applying = context.settings.applying
    if not applying.enabled or applying.via is ApplyVia.API:
        return ""
    return "restart Backrest (--apply)"


def _why_start(context: CheckContext) -> str:
    return "start again what a dead backup stopped" if _says(context, "verb=stop") else ""


def _why_unpause(context: CheckContext) -> str:
    return "let go on what a dead backup paused" if _says(context, "verb=pause") else ""


def _why_scale(context: CheckContext) -> str:
    wanted = _says(context, "docker service scale")
    return "scale services up again that a dead backup scaled down" if wanted else ""


def _says(context: CheckContext, words: str) -> bool:
    if context.memory.document is None:
        return False
    return any(words in script.command for script in scripts_of(context) if script.writes_marker)


_OWN_RIGHTS = {
    "restart": _OwnRight("ALLOW_RESTARTS", "POST", f"/containers/{NOBODY}/restart", _why_restart),
    "start": _OwnRight("ALLOW_START", "POST", f"/containers/{NOBODY}/start", _why_start),
    "unpause": _OwnRight("ALLOW_UNPAUSE", "POST", f"/containers/{NOBODY}/unpause", _why_unpause),
    "services": _OwnRight("SERVICES", "GET", f"/services/{NOBODY}", _why_scale),
}
_POSTED = ("restart", "start", "unpause")


def check_post(context: CheckContext) -> CheckResult:
    """See whether anything at all may be done; one refusal for all is one finding."""
    require_containers(context)
    wanted = [name for name, right in _OWN_RIGHTS.items() if right.why(context)]
    if not wanted:
        raise NotChecked("nothing here needs it: no --apply by restart, and no hook that stops")
    granted = {name for name in _POSTED if _is_granted(context, name)}
    context.memory.may |= granted | ({"POST"} if granted else set())
    if granted:
        return passed("POST is granted")
    purposes = " and ".join(_OWN_RIGHTS[name].why(context) for name in wanted)
    hint = "set POST=1 beside CONTAINERS=1 on the socket proxy"
    if wanted == ["restart"] and _has_other_way(context):
        return warned(f"POST is not granted: without the API we may not {purposes}", hint)
    return failed(f"POST is not granted: we may not {purposes}", hint)


def check_restart(context: CheckContext) -> CheckResult:
    """Return whether the runner may be restarted."""
    finding = _check(context, "restart")
    if "restart" in context.memory.may or not _has_other_way(context):
        return finding
    return warned(f"{finding.message} where its API does not answer", finding.hint)


def check_start(context: CheckContext) -> CheckResult:
    """Return whether a container may be started."""
    return _check(context, "start")


def check_unpause(context: CheckContext) -> CheckResult:
    """Return whether a container may be unpaused."""
    return _check(context, "unpause")


def check_services(context: CheckContext) -> CheckResult:
    """Return whether Swarm services may be read, which comes before scaling them."""
    require_containers(context)
    if "POST" in context.memory.may and _is_granted(context, "services"):
        context.memory.may.add("services")
    return _check(context, "services")


def _check(context: CheckContext, name: str) -> CheckResult:
    require_containers(context)
    if _OWN_RIGHTS[name].why(context) and "POST" not in context.memory.may:
        raise NotChecked("POST is not granted")
    return _told(context, name)


def _told(context: CheckContext, name: str) -> CheckResult:
    right = _OWN_RIGHTS[name]
    purpose = right.why(context)
    if not purpose:
        raise NotChecked("nothing here needs it")
    if name in context.memory.may:
        return passed(f"{right.variable} is granted: we may {purpose}")
    return failed(
        f"{right.variable} is not granted: we may not {purpose}",
        f"set {right.variable}=1 on the socket proxy",
    )


def _is_granted(context: CheckContext, name: str) -> bool:
    right = _OWN_RIGHTS[name]
    return context.connection.status_of(right.method, right.path) not in REFUSED


def _has_other_way(context: CheckContext) -> bool:
    """Return whether a restart is only what is left where the API does not answer."""
    return context.settings.applying.via is ApplyVia.AUTO and bool(context.settings.access.url)


_PROXIED = ("tcp://", "http://", "https://")
_CONTAINER = f"/containers/{NOBODY}"


@dataclass(frozen=True, slots=True)
class _HookRight:
    """What a proxy may grant: its variable, the purpose in words, the calls that it takes.

    `command` finds it in the text of a hook; each call is a method and a path.
    """

    variable: str
    purpose: str
    command: re.Pattern[str]
    calls: tuple[tuple[str, str], ...]


def _verb(variable: str, verb: str) -> _HookRight:
    # As the templates write it, and as people do.
    command = re.compile(rf"^verb={verb}$|\bdocker\s+(?:container\s+)?{verb}\b", re.MULTILINE)
    return _HookRight(variable, f"{verb} containers", command, (("POST", f"{_CONTAINER}/{verb}"),))


_ANY = re.compile("")
_HOOK_RIGHTS = (
    _HookRight("PING", "ask which version to speak", _ANY, (("HEAD", "/_ping"),)),
    _HookRight(
        "CONTAINERS",
        "look at containers",
        _ANY,
        (("GET", "/containers/json?limit=1"), ("GET", f"{_CONTAINER}/json")),
    ),
    _verb("ALLOW_STOP", "stop"),
    _verb("ALLOW_START", "start"),
    _verb("ALLOW_PAUSE", "pause"),
    _verb("ALLOW_UNPAUSE", "unpause"),
    _verb("ALLOW_RESTARTS", "restart"),
    _verb("ALLOW_RESTARTS", "kill"),
    _HookRight(
        "EXEC",
        "run commands in containers",
        re.compile(r"\bdocker\s+(?:container\s+)?exec\b"),
        (
            ("POST", f"{_CONTAINER}/exec"),
            ("POST", f"/exec/{NOBODY}/start"),
            ("GET", f"/exec/{NOBODY}/json"),
        ),
    ),
    _HookRight(
        "SERVICES",
        "scale services",
        re.compile(r"\bdocker\s+service\b"),
        (("GET", f"/services/{NOBODY}"), ("POST", f"/services/{NOBODY}/update?version=0")),
    ),
)


def check_permissions(context: CheckContext) -> CheckResult:
    """Try what the hooks will ask for; the first thing that is missing would fail a backup."""
    require_containers(context)
    scripts = docker_scripts(context)
    host = context.runner.environment.get("DOCKER_HOST", "")
    if not host.startswith(_PROXIED):
        return passed("no proxy stands between hooks and engine, so they may do everything")
    wanted = [
        right for right in _HOOK_RIGHTS if any(right.command.search(s.command) for s in scripts)
    ]
    missing = _missing(context, host, wanted)
    if not missing:
        return passed(f"{host} lets hooks {_listed(right.purpose for right in wanted)}")
    variables = list(dict.fromkeys(right.variable for right in missing))
    return failed(
        f"{_listed(variables)} {'is' if len(variables) == 1 else 'are'} not granted: "
        f"hooks may not {_listed(right.purpose for right in missing)}",
        f"set {_listed(f'{variable}=1' for variable in variables)} on the socket proxy",
        owners_of(_concerned(scripts, missing)),
    )


def _missing(context: CheckContext, host: str, wanted: list[_HookRight]) -> list[_HookRight]:
    if parse_address(host) == context.connection.address:
        return [right for right in wanted if not _is_granted_to_hooks(context.connection, right)]
    try:
        with Connection(host, SECONDS) as connection:
            return [right for right in wanted if not _is_granted_to_hooks(connection, right)]
    except InventoryError as error:
        raise NotChecked(f"the hooks' way to the engine is not ours: {error.message}") from None


def _is_granted_to_hooks(connection: Connection, right: _HookRight) -> bool:
    return all(connection.status_of(*call) not in REFUSED for call in right.calls)


def _concerned(scripts: list[Script], missing: list[_HookRight]) -> list[Script]:
    return [s for s in scripts if any(right.command.search(s.command) for right in missing)]


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
