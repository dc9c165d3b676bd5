"""Checks of what we may make the engine do: restart the runner, start what was left stopped.

Tried on a container that cannot exist: who may, is told that there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.reconciler.doctor.check import Finding, NotChecked, failed, passed, warned
from sidecar.reconciler.doctor.docker import NOBODY, REFUSED, require_containers
from sidecar.reconciler.doctor.hooks import scripts_of
from sidecar.reconciler.doctor.patient import Patient
from sidecar.reconciler.settings import ApplyVia


@dataclass(frozen=True, slots=True)
class _Right:
    """Something that is done: the variable that grants it, how it is tried, why it is wanted.

    `why` gives the purpose in words, empty where nobody wants it.
    """

    variable: str
    method: str
    path: str
    why: Callable[[Patient], str]


def _why_restart(patient: Patient) -> str:
    applying = patient.settings.applying
    if not applying.enabled or applying.via is ApplyVia.API:
        return ""
    return "restart Backrest (--apply)"


def _why_start(patient: Patient) -> str:
    return "start again what a dead backup stopped" if _says(patient, "verb=stop") else ""


def _why_unpause(patient: Patient) -> str:
    return "let go on what a dead backup paused" if _says(patient, "verb=pause") else ""


def _why_scale(patient: Patient) -> str:
    wanted = _says(patient, "docker service scale")
    return "scale services up again that a dead backup scaled down" if wanted else ""


def _says(patient: Patient, words: str) -> bool:
    if patient.learned.document is None:
        return False
    return any(words in script.command for script in scripts_of(patient) if script.writes_marker)


_RIGHTS = {
    "restart": _Right("ALLOW_RESTARTS", "POST", f"/containers/{NOBODY}/restart", _why_restart),
    "start": _Right("ALLOW_START", "POST", f"/containers/{NOBODY}/start", _why_start),
    "unpause": _Right("ALLOW_UNPAUSE", "POST", f"/containers/{NOBODY}/unpause", _why_unpause),
    "services": _Right("SERVICES", "GET", f"/services/{NOBODY}", _why_scale),
}
_POSTED = ("restart", "start", "unpause")


def check_post(patient: Patient) -> Finding:
    """See whether anything at all may be done; one refusal for all is one finding."""
    require_containers(patient)
    wanted = [name for name, right in _RIGHTS.items() if right.why(patient)]
    if not wanted:
        raise NotChecked("nothing here needs it: no --apply by restart, and no hook that stops")
    granted = {name for name in _POSTED if _is_granted(patient, name)}
    patient.learned.may |= granted | ({"POST"} if granted else set())
    if granted:
        return passed("POST is granted")
    purposes = " and ".join(_RIGHTS[name].why(patient) for name in wanted)
    hint = "set POST=1 beside CONTAINERS=1 on the socket proxy"
    if wanted == ["restart"] and _has_other_way(patient):
        return warned(f"POST is not granted: without the API we may not {purposes}", hint)
    return failed(f"POST is not granted: we may not {purposes}", hint)


def check_restart(patient: Patient) -> Finding:
    """Whether the runner may be restarted."""
    finding = _check(patient, "restart")
    if "restart" in patient.learned.may or not _has_other_way(patient):
        return finding
    return warned(f"{finding.message} where its API does not answer", finding.hint)


def check_start(patient: Patient) -> Finding:
    """Whether a container may be started."""
    return _check(patient, "start")


def check_unpause(patient: Patient) -> Finding:
    """Whether a container may be unpaused."""
    return _check(patient, "unpause")


def check_services(patient: Patient) -> Finding:
    """Whether Swarm services may be read, which comes before scaling them."""
    require_containers(patient)
    if "POST" in patient.learned.may and _is_granted(patient, "services"):
        patient.learned.may.add("services")
    return _check(patient, "services")


def _check(patient: Patient, name: str) -> Finding:
    require_containers(patient)
    if _RIGHTS[name].why(patient) and "POST" not in patient.learned.may:
        raise NotChecked("POST is not granted")
    return _told(patient, name)


def _told(patient: Patient, name: str) -> Finding:
    right = _RIGHTS[name]
    purpose = right.why(patient)
    if not purpose:
        raise NotChecked("nothing here needs it")
    if name in patient.learned.may:
        return passed(f"{right.variable} is granted: we may {purpose}")
    return failed(
        f"{right.variable} is not granted: we may not {purpose}",
        f"set {right.variable}=1 on the socket proxy",
    )


def _is_granted(patient: Patient, name: str) -> bool:
    right = _RIGHTS[name]
    return patient.connection.status_of(right.method, right.path) not in REFUSED


def _has_other_way(patient: Patient) -> bool:
    """Whether a restart is only what is left where the API does not answer."""
    return patient.settings.applying.via is ApplyVia.AUTO and bool(patient.settings.access.url)
