"""Swarm services: inspect them, and scale them again."""

import json
from urllib.parse import quote

from sidecar.docker.client import DockerClient, reading
from sidecar.docker.failures import DockerError
from sidecar.docker.models import SwarmService


def find_service(client: DockerClient, identity: str) -> SwarmService | None:
    """Inspect a Swarm service by its id; None if it does not exist. Raises DockerError."""
    path = _path(identity)
    answer = client.find(path)
    if answer is None:
        return None
    with reading(client.source(path)):
        entry = json.loads(answer)
        spec = entry["Spec"]
        container = spec.get("TaskTemplate", {}).get("ContainerSpec") or {}
        replicated = spec["Mode"].get("Replicated")
        # A count that is not written is 1 to Swarm, as it is for a new service.
        replicas = None if replicated is None else replicated.get("Replicas")
        scale = 1 if replicated is not None and replicas is None else replicas
        return SwarmService(entry["ID"], spec["Name"], scale, container.get("Labels") or {})


def scale_service(client: DockerClient, identity: str, replicas: int) -> None:
    """Set the replicas of a Swarm service, without waiting for them.

    Raises DockerError, also when somebody else changed the service meanwhile.
    """
    path = _path(identity)
    answer = client.get(path)
    with reading(client.source(path)):
        entry = json.loads(answer)
        # The whole specification goes back as it came: what is left out would be reset.
        version, spec = entry["Version"]["Index"], entry["Spec"]
        spec["Mode"]["Replicated"]["Replicas"] = replicas
    if client.act(f"{path}/update?version={version}", spec) is None:
        raise DockerError("the service is gone, so it cannot be scaled")


def _path(identity: str) -> str:
    return f"/services/{quote(identity, safe='')}"
