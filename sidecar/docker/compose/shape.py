"""The parts of a Compose file that decide containers, labels and mounts, typed and checked."""

from collections.abc import Sequence
from typing import Any, Required

from pydantic import TypeAdapter, ValidationError

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.lib.errors import InventoryError

Scalar = str | bool | int | float | None
Labels = dict[str, Scalar] | list[str] | None


class VolumeOptions(TypedDict, total=False):
    """The part of a long volume's `volume` that says where in the volume it begins."""

    subpath: str | None


class LongVolume(TypedDict, total=False):
    """One entry of a service's `volumes` in the long syntax."""

    type: str
    source: str | None
    target: Required[str]
    volume: VolumeOptions | None


class Grant(TypedDict, total=False):
    """One entry of a service's `secrets` or `configs` in the long syntax."""

    source: Required[str]
    target: str | None


class Dependency(TypedDict, total=False):
    """One entry of a service's `depends_on` in the map form."""

    condition: str
    restart: bool


class Deploy(TypedDict, total=False):
    """The part of `deploy` that matters: how many, and labels that only Swarm reads."""

    replicas: int | None
    labels: Labels


class ComposeService(TypedDict, total=False):
    """One service."""

    container_name: str | None
    image: str | None
    labels: Labels
    scale: int | None
    deploy: Deploy | None
    profiles: list[str] | None
    volumes: list[str | LongVolume] | None
    volumes_from: list[str] | None
    tmpfs: str | list[str] | None
    secrets: list[str | Grant] | None
    configs: list[str | Grant] | None
    depends_on: list[str] | dict[str, Dependency | None] | None
    links: list[str] | None
    network_mode: str | None
    ipc: str | None
    pid: str | None


class External(TypedDict, total=False):
    """The old form of `external`, which carries the real name."""

    name: str


class VolumeEntry(TypedDict, total=False):
    """One entry of the top-level `volumes`."""

    name: str | None
    external: bool | External | None
    driver: str | None
    driver_opts: dict[str, Scalar] | None


class FileEntry(TypedDict, total=False):
    """One entry of the top-level `secrets` or `configs`."""

    file: str | None


class ComposeFile(TypedDict, total=False):
    """The whole file."""

    name: str | None
    services: Required[dict[str, ComposeService | None]]
    volumes: dict[str, VolumeEntry | None] | None
    secrets: dict[str, FileEntry | None] | None
    configs: dict[str, FileEntry | None] | None


_FILE = TypeAdapter(ComposeFile)


def parse_shape(tree: Any, source: str, *, may_be_empty: bool = False) -> ComposeFile:
    """Check a decoded Compose file; keys that decide nothing here are ignored.

    `may_be_empty`: it has services, and no profile of theirs is chosen.
    Raises InventoryError naming the place in the file, never a value.
    """
    if may_be_empty and isinstance(tree, dict) and not tree.get("services"):
        tree = {**tree, "services": {}}
    elif not isinstance(tree, dict) or not tree.get("services"):
        raise InventoryError(
            f"{source} has no services", "a Compose file lists them under `services:`"
        )
    try:
        return _FILE.validate_python(tree, strict=True)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        place = max((_place(tree, item["loc"]) for item in found), key=len)
        raise InventoryError(
            f"{source}: {'.'.join(map(str, place))} has a form that Compose does not read",
            "`docker compose config` tells more",
        ) from None


def labels_of(labels: Labels) -> dict[str, str]:
    """Return labels of either form as the texts that Compose makes of them."""
    if isinstance(labels, dict):
        return {key: scalar_text(value) for key, value in labels.items()}
    pairs = (text.partition("=") for text in labels or ())
    return {key: value for key, _, value in pairs}


def scalar_text(value: Scalar) -> str:
    """Spell a YAML scalar as Compose does: `true`, `3`, `1.5`, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _place(tree: Any, location: Sequence[int | str]) -> list[int | str]:
    """Return those parts of a validator's location that the file really has."""
    place: list[int | str] = []
    for part in location:
        inside = isinstance(tree, dict) and part in tree
        if inside or (isinstance(tree, list) and isinstance(part, int) and part < len(tree)):
            tree = tree[part]
            place.append(part)
    return place
