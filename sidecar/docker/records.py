"""Make records of Docker's decoded answers. Pure.

The only place that knows how Docker spells containers, mounts and volumes. An entry of another
shape raises KeyError, TypeError or AttributeError: whoever decodes an answer also checks it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from sidecar.docker.models import Container, ImageIndex, Mount, Volume

_DESTINATION = attrgetter("destination")
# The name of a volume that nobody named.
_UNNAMED = re.compile(r"[0-9a-f]{64}", re.ASCII)


def container_of(entry: Mapping[str, Any]) -> Container:
    """Return a container of the answer of `GET /containers/json`."""
    # Positional, because this runs for each of thousands of containers in a pass.
    identity = entry["Id"]
    image, index = entry.get("ImageID") or "", None
    manifest = entry.get("ImageManifestDescriptor")
    if manifest and image and manifest["digest"] != image:
        platform = manifest.get("platform")
        index = ImageIndex(image, json.dumps(platform, sort_keys=True) if platform else "")
        image = manifest["digest"]
    return Container(
        identity,
        _name(entry.get("Names"), identity),
        image,
        entry.get("Labels") or {},
        mounts_of(entry.get("Mounts")),
        entry.get("Created") or 0,
        (entry.get("State") or "running").lower(),
        entry.get("Image") or "",
        index,
    )


def _name(names: list[str] | None, identity: str) -> str:
    """Return the container's own name, `/NAME`; a link of another is `/OTHER/ALIAS`."""
    for name in names or ():
        if name.rfind("/") <= 0 and (own := name.removeprefix("/")):
            return own
    return identity[:12]


def mounts_of(entries: Sequence[Mapping[str, Any]] | None) -> tuple[Mount, ...]:
    """Return mounts, sorted by destination."""
    if not entries:
        return ()
    mounts = [_mount(entry) for entry in entries]
    if len(mounts) > 1:
        # Docker's order differs from call to call.
        mounts.sort(key=_DESTINATION)
        if len({_place_of(mount) for mount in mounts}) < len(mounts):
            mounts = _without_hidden(mounts)
    return tuple(mounts)


def _without_hidden(mounts: list[Mount]) -> list[Mount]:
    """Leave out the volume of an image where something else is mounted at its place.

    Podman lists both; the container sees what was mounted there by name.
    """
    chosen = {_place_of(mount) for mount in mounts if not _UNNAMED.fullmatch(mount.name)}
    return [
        mount
        for mount in mounts
        if _place_of(mount) not in chosen or not _UNNAMED.fullmatch(mount.name)
    ]


def _place_of(mount: Mount) -> str:
    return mount.destination.rstrip("/")


def _mount(entry: Mapping[str, Any]) -> Mount:
    name = entry.get("Name") or ""
    return Mount(
        entry.get("Type") or ("volume" if name else "bind"),
        entry.get("Source") or "",
        entry["Destination"],
        name,
        entry.get("Driver") or "",
        is_writable=entry.get("RW") is not False,
    )


def volumes_of(answer: Mapping[str, Any] | None) -> dict[str, Volume]:
    """Return the volumes of the answer of `GET /volumes` by name."""
    entries = (answer and answer["Volumes"]) or []
    return {
        entry["Name"]: Volume(
            name=entry["Name"],
            driver=entry.get("Driver") or "local",
            mountpoint=entry.get("Mountpoint") or "",
            options=entry.get("Options") or {},
        )
        for entry in entries
    }
