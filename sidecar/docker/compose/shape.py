"""The parts of a Compose file that decide containers, labels and mounts, typed and checked."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, Required

from pydantic import TypeAdapter, ValidationError

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.lib.errors import InventoryError

Scalar = str | bool | int | float | None
Labels = dict[str, Scalar] | list[str]


class VolumeOptions(TypedDict, total=False):
    """The part of a long volume's `volume` that says where in the volume it begins."""

    subpath: str


class LongVolume(TypedDict, total=False):
    """One entry of a service's `volumes` in the long syntax."""

    type: Required[Literal["bind", "volume", "tmpfs", "cluster", "npipe", "image"]]
    source: str
    target: Required[str]
    volume: VolumeOptions


class Grant(TypedDict, total=False):
    """One entry of a service's `secrets` or `configs` in the long syntax."""

    source: Required[str]
    target: str


class Dependency(TypedDict, total=False):
    """One entry of a service's `depends_on` in the map form."""

    condition: Required[
        Literal["service_started", "service_healthy", "service_completed_successfully"]
    ]
    restart: bool
    required: bool


class Deploy(TypedDict, total=False):
    """The part of `deploy` that matters: how many, and labels that only Swarm reads."""

    replicas: int
    labels: Labels


class ComposeService(TypedDict, total=False):
    """One service."""

    container_name: str
    image: str
    build: Any
    provider: Any
    labels: Labels
    scale: int
    deploy: Deploy | None
    profiles: list[str]
    volumes: list[str | LongVolume]
    volumes_from: list[str]
    tmpfs: str | list[str]
    secrets: list[str | Grant]
    configs: list[str | Grant]
    depends_on: list[str] | dict[str, Dependency]
    links: list[str]
    network_mode: str
    ipc: str
    pid: str
    uts: str
    cgroup: str


class External(TypedDict, total=False):
    """The old form of `external`, which carries the real name."""

    name: str


class VolumeEntry(TypedDict, total=False):
    """One entry of the top-level `volumes`."""

    name: str
    external: bool | External
    driver: str
    driver_opts: dict[str, str | int | float]


class FileEntry(TypedDict, total=False):
    """One entry of the top-level `secrets` or `configs`."""

    file: str
    environment: str
    content: str
    external: bool | External


class ComposeFile(TypedDict, total=False):
    """The whole file."""

    version: str
    name: str
    services: Required[dict[str, ComposeService]]
    volumes: dict[str, VolumeEntry | None]
    secrets: dict[str, FileEntry]
    configs: dict[str, FileEntry]


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


def labels_of(labels: Labels | None) -> dict[str, str]:
    """Return labels of either form as the texts that Compose makes of them."""
    if isinstance(labels, dict):
        return {key: scalar_text(value) for key, value in labels.items()}
    pairs = (text.partition("=") for text in labels or ())
    return {key: value for key, _, value in pairs}


def scalar_text(value: Scalar) -> str:
    """Spell a YAML scalar as Compose does: `true`, `3`, `1e+06`, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _float_text(value) if isinstance(value, float) else str(value)


def _float_text(value: float) -> str:
    """Spell a float as Go prints it: `1.5`, `100000`, `1e+06`, `+Inf`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    # The shortest digits that give this float again, as Go finds them too.
    shortest = Decimal(repr(value)).normalize()
    first = shortest.adjusted()
    if value == 0 or -4 <= first < 6:
        return f"{shortest:f}"
    return f"{shortest.scaleb(-first):f}e{first:+03d}"


def _place(tree: Any, location: Sequence[int | str]) -> list[int | str]:
    """Return those parts of a validator's location that the file really has."""
    place: list[int | str] = []
    for part in location:
        inside = isinstance(tree, dict) and part in tree
        if inside or (isinstance(tree, list) and isinstance(part, int) and part < len(tree)):
            tree = tree[part]
            place.append(part)
    return place
