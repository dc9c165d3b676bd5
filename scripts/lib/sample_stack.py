"""A small Compose file as real containers, on an engine that can pull no image.

    python sample_stack.py up ADDRESS COMPOSE_FILE
    python sample_stack.py down ADDRESS COMPOSE_FILE

Reads `name`, and of each service `image`, `labels` and `volumes`. Everything made
carries Compose's own labels, so Compose and the sidecar see a Compose project, and a
label of ours with the file's path: on an engine that others use too, only that is removed.
"""

import io
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import yaml

_MADE_FOR = "sample-stack.file"
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
    stack = _read(file)
    for image in _images(stack):
        import_image(client, image)
    for volume in stack["volumes"]:
        client.create_volume(f"{stack['name']}_{volume}", labels=_marks(file))
    return [_run_service(client, file, stack["name"], name) for name in stack["services"]]


def run_down(client: docker.APIClient, file: Path) -> None:
    """Remove what `run_up` has made of this very file: containers, volumes, images."""
    ours = {"label": [f"{key}={value}" for key, value in _marks(file).items()]}
    for container in client.containers(all=True, filters=ours):
        client.remove_container(container["Id"], force=True)
    for volume in client.volumes(filters=ours)["Volumes"] or ():
        client.remove_volume(volume["Name"])
    for image in _images(_read(file)):
        if client.images(image):
            client.remove_image(image)


def _read(file: Path) -> dict[str, Any]:
    stack: dict[str, Any] = yaml.safe_load(file.read_text())
    return stack


def _images(stack: Mapping[str, Any]) -> set[str]:
    return {service["image"] for service in stack["services"].values()}


def _marks(file: Path) -> dict[str, str]:
    return {_MADE_FOR: str(file.resolve())}


def _run_service(client: docker.APIClient, file: Path, project: str, name: str) -> str:
    service = _read(file)["services"][name]
    labels = {key: value.replace("$$", "$") for key, value in service.get("labels", {}).items()}
    binds = _resolve_binds(project, service["volumes"], file.resolve().parent)
    container = f"{project}-{name}-1"
    client.create_container(
        service["image"],
        name=container,
        labels=labels | compose_labels(project, name) | _marks(file),
        host_config=client.create_host_config(binds=binds, network_mode="none"),
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
