"""Checks of the calls that change something: what we, and what hooks, may make Docker do.

We restart Backrest and start what was left stopped; hooks stop, pause and run commands.
Each call is tried on a container that cannot exist: where it is granted, Docker answers
that there is none. The calls of hooks are tried from here, at the address that DOCKER_HOST
names in the backrest container.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sidecar.docker.client import DockerClient
from sidecar.docker.endpoint import parse_address
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.doctor.check import SECONDS, CheckContext, Found, NotChecked
from sidecar.reconciler.doctor.docker import NO_NAME, REFUSED, require_containers
from sidecar.reconciler.doctor.hooks import Script, docker_scripts, owners_of, scripts_of
from sidecar.reconciler.settings import ApplyVia
from sidecar.service.check_result import CheckResult, failed, passed, warned

_CONTAINER = f"/containers/{NO_NAME}"
_PROXIED = ("tcp://", "http://", "https://")


@dataclass(frozen=True, slots=True)
class _OwnRight:
    """Something that the sidecar does: the variable of a proxy that grants it, and how it is tried.

    `purpose` says in words what it is for; empty where the settings and hooks do not need it.
    """

    variable: str
    method: str
    path: str
    purpose: Callable[[CheckContext], str]


def _purpose_of_restart(context: CheckContext) -> str:
    applying = context.settings.applying
    if not applying.enabled or applying.via is ApplyVia.API:
        return ""
    return "restart Backrest (--apply)"


def _purpose_of_start(context: CheckContext) -> str:
    wanted = _has_marker_hook(context, "verb=stop")
    return "start again what a dead backup stopped" if wanted else ""


def _purpose_of_unpause(context: CheckContext) -> str:
    wanted = _has_marker_hook(context, "verb=pause")
    return "let go on what a dead backup paused" if wanted else ""


def _purpose_of_scale(context: CheckContext) -> str:
    wanted = _has_marker_hook(context, "docker service scale")
    return "scale services up again that a dead backup scaled down" if wanted else ""


def _has_marker_hook(context: CheckContext, words: str) -> bool:
    """Return whether a hook that writes a marker has these words in its text."""
    if context.facts.document is None:
        return False
    return any(words in script.command for script in scripts_of(context) if script.writes_marker)


_OWN_RIGHTS = {
    "restart": _OwnRight("ALLOW_RESTARTS", "POST", f"{_CONTAINER}/restart", _purpose_of_restart),
    "start": _OwnRight("ALLOW_START", "POST", f"{_CONTAINER}/start", _purpose_of_start),
    "unpause": _OwnRight("ALLOW_UNPAUSE", "POST", f"{_CONTAINER}/unpause", _purpose_of_unpause),
    "services": _OwnRight("SERVICES", "GET", f"/services/{NO_NAME}", _purpose_of_scale),
}
_POSTED = ("restart", "start", "unpause")


def check_post(context: CheckContext) -> CheckResult | Found:
    """Check whether anything at all may be done; one refusal for all is one finding."""
    require_containers(context)
    wanted = [name for name, right in _OWN_RIGHTS.items() if right.purpose(context)]
    if not wanted:
        raise NotChecked("nothing here needs it: no --apply by restart, and no hook that stops")
    granted = {name for name in _POSTED if _is_granted(context, name)}
    if granted:
        may = context.facts.may | granted | {"POST"}
        return Found(passed("POST is granted"), replace(context.facts, may=may))
    purposes = " and ".join(_OWN_RIGHTS[name].purpose(context) for name in wanted)
    hint = "set POST=1 beside CONTAINERS=1 on the socket proxy"
    if wanted == ["restart"] and _has_api(context):
        return warned(f"POST is not granted: without the API we may not {purposes}", hint)
    return failed(f"POST is not granted: we may not {purposes}", hint)


def check_restart(context: CheckContext) -> CheckResult:
    """Check that Backrest may be restarted."""
    finding = _check(context, "restart")
    if "restart" in context.facts.may or not _has_api(context):
        return finding
    return warned(f"{finding.message} where its API does not answer", finding.hint)


def check_start(context: CheckContext) -> CheckResult:
    """Check that a container may be started."""
    return _check(context, "start")


def check_unpause(context: CheckContext) -> CheckResult:
    """Check that a container may be unpaused."""
    return _check(context, "unpause")


def check_services(context: CheckContext) -> CheckResult:
    """Check that Swarm services may be read, which comes before scaling them."""
    return _check(context, "services")


def _check(context: CheckContext, name: str) -> CheckResult:
    require_containers(context)
    right = _OWN_RIGHTS[name]
    purpose = right.purpose(context)
    if purpose and "POST" not in context.facts.may:
        raise NotChecked("POST is not granted")
    if not purpose:
        raise NotChecked("nothing here needs it")
    if name in context.facts.may or (name not in _POSTED and _is_granted(context, name)):
        return passed(f"{right.variable} is granted: we may {purpose}")
    return failed(
        f"{right.variable} is not granted: we may not {purpose}",
        f"set {right.variable}=1 on the socket proxy",
    )


def _is_granted(context: CheckContext, name: str) -> bool:
    right = _OWN_RIGHTS[name]
    return _are_granted(context.connection, [(right.method, right.path)])


def _has_api(context: CheckContext) -> bool:
    """Return whether a restart is only needed where the API does not answer."""
    return context.settings.applying.via is ApplyVia.AUTO and bool(context.settings.access.url)


@dataclass(frozen=True, slots=True)
class _HookRight:
    """Something that hooks do: the variable of a proxy that grants it, and the calls it takes.

    `purpose` says in words what it is for. `command` finds it in the text of a hook; each
    call is a method and a path.
    """

    variable: str
    purpose: str
    command: re.Pattern[str]
    calls: tuple[tuple[str, str], ...]


def _verb(variable: str, verb: str) -> _HookRight:
    # As our templates write it, and as people do.
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
            ("POST", f"/exec/{NO_NAME}/start"),
            ("GET", f"/exec/{NO_NAME}/json"),
        ),
    ),
    _HookRight(
        "SERVICES",
        "scale services",
        re.compile(r"\bdocker\s+service\b"),
        (("GET", f"/services/{NO_NAME}"), ("POST", f"/services/{NO_NAME}/update?version=0")),
    ),
)


def check_permissions(context: CheckContext) -> CheckResult:
    """Try the calls that hooks will make: one that is refused fails a backup."""
    require_containers(context)
    scripts = docker_scripts(context)
    host = context.backrest.environment.get("DOCKER_HOST", "")
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
        return [right for right in wanted if not _are_granted(context.connection, right.calls)]
    try:
        with DockerClient(host, SECONDS) as connection:
            return [right for right in wanted if not _are_granted(connection, right.calls)]
    except InventoryError as error:
        raise NotChecked(f"the hooks' way to the engine is not ours: {error.message}") from None


def _are_granted(connection: DockerClient, calls: Iterable[tuple[str, str]]) -> bool:
    """Return whether none of the calls, each a method and a path, is refused."""
    return all(connection.status_of(*call) not in REFUSED for call in calls)


def _concerned(scripts: list[Script], missing: list[_HookRight]) -> list[Script]:
    return [s for s in scripts if any(right.command.search(s.command) for right in missing)]


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
