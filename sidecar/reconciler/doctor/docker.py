"""Checks of Docker, and of what a socket proxy before it lets us read."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Required

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.docker.answers import AnswerShape, validated
from sidecar.docker.endpoint import find_endpoint
from sidecar.docker.failures import RequestRefused
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.doctor.check import CheckContext, Found, NotChecked
from sidecar.service.check_result import CheckResult, failed, passed, warned

REFUSED = frozenset({401, 403, 405})
"""What proxies answer for a call that they do not let through."""

NO_NAME = "_backrest-sidecar"
"""No container and no service can be called so: a name begins with a letter or digit."""

_OLDEST = (1, 41)
_NO_IMAGE = f"sha256:{'0' * 64}"
_NO_CONTAINERS = "the engine does not let containers be listed"


class _DockerVersion(TypedDict, total=False):
    Version: str | None
    ApiVersion: Required[str]


_VERSION = AnswerShape[_DockerVersion](_DockerVersion)


def check_reachable(context: CheckContext) -> CheckResult | Found:
    """Ask for the version: the one call that needs no version in its path."""
    url = context.settings.source.docker_sock
    endpoint = find_endpoint(url)
    docker = context.connections.enter_context(context.open_docker(url))
    facts = replace(context.facts, answers=True)
    try:
        facts = replace(facts, version=docker.client.version(), docker=docker)
    except RequestRefused as error:
        if error.status not in REFUSED:
            return failed(error.message, error.hint)
    named = f" (docker context {endpoint.context})" if endpoint.context else ""
    return Found(passed(f"it answers at {endpoint.address}{named}"), facts)


def check_version_permission(context: CheckContext) -> CheckResult:
    """Check that the version may be read: without it no other call can be made."""
    if not context.facts.answers:
        raise NotChecked("the engine does not answer")
    if context.facts.docker is None:
        return _denied("VERSION", "ask for its version, and so nothing else either")
    return passed("VERSION is granted")


def check_version(context: CheckContext) -> CheckResult | Found:
    """Report the version; warn about one that this program was not tried with."""
    _ = context.docker
    try:
        entry = validated(_VERSION, context.facts.version, "the answer to GET /version")
        numbers = tuple(int(part) for part in entry["ApiVersion"].split("."))
    except (InventoryError, ValueError):
        hint = "correct --docker-sock: something else may listen there"
        result = failed("what answers there is no Docker engine", hint)
        return Found(result, context.facts.without_docker())
    found = f"version {entry.get('Version') or 'unknown'}, API {entry['ApiVersion']}"
    if numbers < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        hint = f"update the engine to 20.10 (API {oldest}) or later"
        return warned(f"{found}: older than what this program is tried with", hint)
    return passed(found)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Something that is read: the variable of a proxy that grants it, and how it is tried.

    `purpose` says in words what it is for.
    """

    variable: str
    path: Callable[[CheckContext], str]
    purpose: str


def _events_path(context: CheckContext) -> str:
    moment = int(context.now.timestamp())
    # Until the same moment: so Docker answers at once and ends the answer.
    return f"/events?since={moment}&until={moment}"


_READINGS = {
    reading.variable: reading
    for reading in (
        _Reading("CONTAINERS", lambda _: "/containers/json?limit=1", "list containers"),
        _Reading("VOLUMES", lambda _: f"/volumes/{NO_NAME}", "read volumes"),
        _Reading("IMAGES", lambda _: f"/images/{_NO_IMAGE}/json", "read the labels of images"),
        _Reading("INFO", lambda _: "/info", "tell one engine from another"),
        _Reading("EVENTS", _events_path, "hear of a container at once"),
    )
}


def check_containers(context: CheckContext) -> Found:
    """List one container."""
    return _read(context, "CONTAINERS")


def check_volumes(context: CheckContext) -> Found:
    """Ask for a volume that does not exist."""
    return _read(context, "VOLUMES")


def check_images(context: CheckContext) -> Found:
    """Ask for an image that does not exist."""
    return _read(context, "IMAGES")


def check_info(context: CheckContext) -> Found:
    """Ask for Docker's id; without it another Docker would not be noticed."""
    result, facts = found = _read(context, "INFO")
    if "INFO" in facts.may:
        return found
    message = "a change of engines is not noticed, and its plans become orphans"
    return Found(warned(f"{result.message}: {message}", result.hint), facts)


def check_events(context: CheckContext) -> Found:
    """Ask for the events of an empty time span."""
    if not context.settings.watching.events:
        raise NotChecked("--no-events: nobody listens")
    result, facts = found = _read(context, "EVENTS")
    if "EVENTS" in facts.may:
        return found
    hint = f"{result.hint}, or pass --no-events and wait for --interval"
    return Found(failed(result.message, hint), facts)


def _read(context: CheckContext, variable: str) -> Found:
    """Try to read something; what is granted is among the facts afterwards."""
    facts = context.facts
    reading = _READINGS[variable]
    try:
        status = context.connection.status_of("GET", reading.path(context))
    except InventoryError as error:
        # Some proxies answer nothing at all to what they do not let through.
        result = failed(f"{error.message}, as if {variable} was not granted", error.hint)
        return Found(result, facts.without_docker())
    if status in REFUSED:
        return Found(_denied(variable, reading.purpose), facts)
    if status not in {200, 404}:
        message = f"the engine cannot {reading.purpose}: it answers with status {status}"
        return Found(failed(message, "its own log tells more"), facts)
    result = passed(f"{variable} is granted: we may {reading.purpose}")
    return Found(result, replace(facts, may=facts.may | {variable}))


def _denied(variable: str, purpose: str) -> CheckResult:
    return failed(
        f"{variable} is not granted: we may not {purpose}",
        f"set {variable}=1 on the socket proxy",
    )


def require_containers(context: CheckContext) -> None:
    """Raise NotChecked where containers may not be listed."""
    _ = context.docker
    if "CONTAINERS" not in context.facts.may:
        raise NotChecked(_NO_CONTAINERS)
