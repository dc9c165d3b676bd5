"""Whether Backrest is at work on its repositories: asked before locks in them are removed."""

import json
import posixpath
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.models import Container
from sidecar.docker.own_container import own_container_id
from sidecar.lib.errors import SidecarError
from sidecar.runner.lock import held_by_backrest
from sidecar.runner.settings import RunnerSettings

_USUAL = "backrest"
_SECONDS = 5
_RESTIC = "restic"
_WAIT = "ask again when it has ended"
_NAME = "name its container by --backrest-container, or add --force if you know that it is idle"


def find_work(settings: RunnerSettings, environ: Mapping[str, str]) -> str:
    """Return why Backrest may be at work, and what to do; empty: it is idle, or does not run.

    It is at work while a restic runs in its container. A Backrest of which nobody can tell that
    counts as one at work. Raises UsageError for a data directory that is not there.
    """
    neighbour, why = settings.neighbour, "Docker is not asked"
    if neighbour.force:
        return ""
    name = neighbour.container or _USUAL
    if neighbour.has_docker:
        try:
            client = DockerClient(neighbour.docker_sock, _SECONDS, environ)
            with Containers(client) as containers:
                if (found := _running(containers, name)) is not None:
                    return _work_in(client, found)
            why = f"there is no container {name} that runs"
        except SidecarError as error:
            why = error.message
    if held_by_backrest(settings.config, neighbour.data, environ) is None:
        return ""
    return f"Backrest runs, and nobody can tell whether it is at work: {why}; {_NAME}"


def _running(containers: Containers, name: str) -> Container | None:
    """Return Backrest's container if it runs; ours is none, which may have its old name."""
    found, own = containers.find(name), own_container_id()
    is_ours = found is not None and bool(own) and found.id.startswith(own)
    return found if found is not None and found.is_at_work and not is_ours else None


def _work_in(client: DockerClient, backrest: Container) -> str:
    programs = _programs(client.find_permitted(f"/containers/{quote(backrest.id, safe='')}/top"))
    if programs is None:
        return f"the programs in the container {backrest.name} cannot be listed; {_NAME}"
    if not any(program.startswith(_RESTIC) for program in programs):
        return ""
    return f"Backrest is at work: restic runs in its container {backrest.name}; {_WAIT}"


def _programs(answer: bytes | None) -> list[str] | None:
    """Return the names of the programs in Docker's list of processes; None if it has none."""
    with suppress(ValueError, KeyError, TypeError, IndexError):
        top = json.loads(answer or b"")
        titles = top["Titles"]
        column = titles.index("CMD" if "CMD" in titles else "COMMAND")
        lines = [str(row[column]).split() for row in top["Processes"]]
        return [posixpath.basename(words[0]) for words in lines if words]
    return None
