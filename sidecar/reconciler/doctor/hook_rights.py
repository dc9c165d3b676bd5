"""Check of what hooks may make the engine do, where a proxy stands between them and it.

Tried from here, at the address that the runner's DOCKER_HOST names, and on a container that
cannot exist: who may, is told that there is none.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sidecar.docker.client import Connection, parse_address
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.doctor.check import Finding, NotChecked, failed, passed
from sidecar.reconciler.doctor.docker import NOBODY, REFUSED, require_containers
from sidecar.reconciler.doctor.hooks import Script, docker_scripts, owners_of
from sidecar.reconciler.doctor.patient import SECONDS, Patient

_PROXIED = ("tcp://", "http://", "https://")
_CONTAINER = f"/containers/{NOBODY}"


@dataclass(frozen=True, slots=True)
class _Right:
    """What a proxy may grant: its variable, the purpose in words, the calls that it takes.

    `command` finds it in the text of a hook; each call is a method and a path.
    """

    variable: str
    purpose: str
    command: re.Pattern[str]
    calls: tuple[tuple[str, str], ...]


def _verb(variable: str, verb: str) -> _Right:
    # As the templates write it, and as people do.
    command = re.compile(rf"^verb={verb}$|\bdocker\s+(?:container\s+)?{verb}\b", re.MULTILINE)
    return _Right(variable, f"{verb} containers", command, (("POST", f"{_CONTAINER}/{verb}"),))


_ANY = re.compile("")
_RIGHTS = (
    _Right("PING", "ask which version to speak", _ANY, (("HEAD", "/_ping"),)),
    _Right(
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
    _Right(
        "EXEC",
        "run commands in containers",
        re.compile(r"\bdocker\s+(?:container\s+)?exec\b"),
        (
            ("POST", f"{_CONTAINER}/exec"),
            ("POST", f"/exec/{NOBODY}/start"),
            ("GET", f"/exec/{NOBODY}/json"),
        ),
    ),
    _Right(
        "SERVICES",
        "scale services",
        re.compile(r"\bdocker\s+service\b"),
        (("GET", f"/services/{NOBODY}"), ("POST", f"/services/{NOBODY}/update?version=0")),
    ),
)


def check_permissions(patient: Patient) -> Finding:
    """Try what the hooks will ask for; the first thing that is missing would fail a backup."""
    require_containers(patient)
    scripts = docker_scripts(patient)
    host = patient.runner.environment.get("DOCKER_HOST", "")
    if not host.startswith(_PROXIED):
        return passed("no proxy stands between hooks and engine, so they may do everything")
    wanted = [right for right in _RIGHTS if any(right.command.search(s.command) for s in scripts)]
    missing = _missing(patient, host, wanted)
    if not missing:
        return passed(f"{host} lets hooks {_listed(right.purpose for right in wanted)}")
    variables = list(dict.fromkeys(right.variable for right in missing))
    return failed(
        f"{_listed(variables)} {'is' if len(variables) == 1 else 'are'} not granted: "
        f"hooks may not {_listed(right.purpose for right in missing)}",
        f"set {_listed(f'{variable}=1' for variable in variables)} on the socket proxy",
        owners_of(_concerned(scripts, missing)),
    )


def _missing(patient: Patient, host: str, wanted: list[_Right]) -> list[_Right]:
    if parse_address(host) == patient.connection.address:
        return [right for right in wanted if not _is_granted(patient.connection, right)]
    try:
        with Connection(host, SECONDS) as connection:
            return [right for right in wanted if not _is_granted(connection, right)]
    except InventoryError as error:
        raise NotChecked(f"the hooks' way to the engine is not ours: {error.message}") from None


def _is_granted(connection: Connection, right: _Right) -> bool:
    return all(connection.status_of(*call) not in REFUSED for call in right.calls)


def _concerned(scripts: list[Script], missing: list[_Right]) -> list[Script]:
    return [s for s in scripts if any(right.command.search(s.command) for right in missing)]


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
