"""Inspect single containers and Swarm services, and start or scale them again."""

import json
from typing import Any, Required
from urllib.parse import quote

from pydantic import TypeAdapter

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.docker.answers import validated
from sidecar.docker.client import Connection
from sidecar.docker.models import ContainerState, SwarmService
from sidecar.lib.errors import InventoryError


class _InspectedState(TypedDict, total=False):
    Status: Required[str]
    FinishedAt: str


class _InspectedContainer(TypedDict):
    Id: str
    Name: str
    State: _InspectedState


class _Replicated(TypedDict, total=False):
    Replicas: int | None


class _Mode(TypedDict, total=False):
    Replicated: _Replicated | None


class _ContainerSpec(TypedDict, total=False):
    Labels: dict[str, str] | None


class _ServiceTemplate(TypedDict, total=False):
    ContainerSpec: _ContainerSpec | None


class _Spec(TypedDict, total=False):
    Name: Required[str]
    Mode: Required[_Mode]
    TaskTemplate: _ServiceTemplate


class _ServiceVersion(TypedDict):
    Index: int


class _Service(TypedDict):
    ID: str
    Version: _ServiceVersion
    Spec: _Spec


_INSPECTED = TypeAdapter(_InspectedContainer)
_SERVICE = TypeAdapter(_Service)


def find_container(connection: Connection, identity: str) -> ContainerState | None:
    """Inspect a container by its id; None if it does not exist. Raises InventoryError."""
    path = f"/containers/{quote(identity, safe='')}/json"
    answer = connection.find(path)
    if answer is None:
        return None
    entry = validated(_INSPECTED, answer, connection.source(path))
    state = entry["State"]
    name = entry["Name"].removeprefix("/")
    return ContainerState(entry["Id"], name, state["Status"].lower(), state.get("FinishedAt", ""))


def start_container(connection: Connection, identity: str) -> None:
    """Start a stopped container. Raises InventoryError."""
    _act(connection, identity, "start")


def unpause_container(connection: Connection, identity: str) -> None:
    """Unpause a container. Raises InventoryError."""
    _act(connection, identity, "unpause")


def find_service(connection: Connection, identity: str) -> SwarmService | None:
    """Inspect a Swarm service by its id; None if it does not exist. Raises InventoryError."""
    path = f"/services/{quote(identity, safe='')}"
    answer = connection.find(path)
    if answer is None:
        return None
    entry = validated(_SERVICE, answer, connection.source(path))
    spec = entry["Spec"]
    container = spec.get("TaskTemplate", {}).get("ContainerSpec") or {}
    replicated = spec["Mode"].get("Replicated")
    # A count that is not written is 1 to Swarm, as it is for a new service.
    replicas = None if replicated is None else replicated.get("Replicas")
    scale = 1 if replicated is not None and replicas is None else replicas
    return SwarmService(entry["ID"], spec["Name"], scale, container.get("Labels") or {})


def scale_service(connection: Connection, identity: str, replicas: int) -> None:
    """Set the replicas of a Swarm service, without waiting for them.

    Raises InventoryError, also when somebody else changed the service meanwhile.
    """
    path = f"/services/{quote(identity, safe='')}"
    answer = connection.get(path)
    version = validated(_SERVICE, answer, connection.source(path))["Version"]["Index"]
    # The whole specification goes back as it came: what is left out would be reset.
    spec: dict[str, Any] = json.loads(answer)["Spec"]
    spec["Mode"]["Replicated"]["Replicas"] = replicas
    if connection.act(f"{path}/update?version={version}", spec) is None:
        raise InventoryError("the service is gone, so it cannot be scaled")


def _act(connection: Connection, identity: str, verb: str) -> None:
    path = f"/containers/{quote(identity, safe='')}/{verb}"
    if connection.act(path) is None:
        raise InventoryError(f"the container is gone, so it cannot {verb}")
