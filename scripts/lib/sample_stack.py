"""A small Compose file as real containers, on an engine that can pull no image.

    python sample_stack.py up ADDRESS COMPOSE_FILE
    python sample_stack.py down ADDRESS COMPOSE_FILE

Reads `name`, and of each service `image`, `labels` and `volumes`. Everything made
carries Compose's own labels, so Compose and the sidecar see a Compose project.
"""

import io
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import yaml

_APPLETS = ("sh", "sleep", "cat", "echo", "mkdir", "touch", "test", "true", "ls")


def busybox_tar() -> bytes:
    """Return a root file system with the machine's static busybox, as an uncompressed tar."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in ("bin", "data", "srv", "tmp", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for name in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return packed.getvalue()


def import_image(
    client: docker.APIClient, name: str, labels: Mapping[str, str] | None = None
) -> None:
    """Make the image `name:latest` of busybox, which sleeps and carries `labels`."""
    changes = ['CMD ["/bin/sleep", "86400"]']
    changes += [f'LABEL "{key}"="{value}"' for key, value in (labels or {}).items()]
    client.import_image_from_data(busybox_tar(), repository=name, tag="latest", changes=changes)


def compose_labels(project: str, service: str, number: int = 1) -> dict[str, str]:
    """Return what Compose puts on the container with that number of a service."""
    return {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": str(number),
        "com.docker.compose.oneoff": "False",
    }


def run_up(client: docker.APIClient, file: Path) -> list[str]:
    """Create and start every service of the Compose file; return the containers' names."""
    stack = yaml.safe_load(file.read_text())
    project = stack["name"]
    for image in {service["image"] for service in stack["services"].values()}:
        import_image(client, image)
    for volume in stack.get("volumes", {}):
        client.create_volume(f"{project}_{volume}", labels={"com.docker.compose.project": project})
    return [
        _run_service(client, project, name, service, file.resolve().parent)
        for name, service in stack["services"].items()
    ]


def run_down(client: docker.APIClient, file: Path) -> None:
    """Remove the containers, volumes and images of the Compose file."""
    stack = yaml.safe_load(file.read_text())
    project = stack["name"]
    of_project = {"label": f"com.docker.compose.project={project}"}
    for container in client.containers(all=True, filters=of_project):
        client.remove_container(container["Id"], force=True, v=True)
    for volume in client.volumes(filters=of_project)["Volumes"] or ():
        client.remove_volume(volume["Name"])
    for image in {service["image"] for service in stack["services"].values()}:
        client.remove_image(image, force=True)


def _run_service(
    client: docker.APIClient, project: str, name: str, service: Mapping[str, Any], folder: Path
) -> str:
    labels = {key: value.replace("$$", "$") for key, value in service.get("labels", {}).items()}
    container = f"{project}-{name}-1"
    client.create_container(
        service["image"],
        name=container,
        labels=labels | compose_labels(project, name),
        host_config=client.create_host_config(
            binds=_resolve_binds(project, service.get("volumes", ()), folder),
            network_mode="none",
        ),
    )
    client.start(container)
    return container


def _resolve_binds(project: str, volumes: Sequence[str], folder: Path) -> list[str]:
    """Name volumes as Compose does, and resolve paths against the Compose file's folder."""
    binds = []
    for volume in volumes:
        source, _, rest = volume.partition(":")
        resolved = str((folder / source).resolve()) if source[0] in "./" else f"{project}_{source}"
        binds.append(f"{resolved}:{rest}")
    return binds


def _main(action: str, address: str, file: str) -> None:
    client = docker.APIClient(base_url=address, version="auto")
    try:
        if action == "down":
            run_down(client, Path(file))
        else:
            print("\n".join(run_up(client, Path(file))))
    finally:
        client.close()


if __name__ == "__main__":
    _main(*sys.argv[1:4])
