"""Parse Docker's JSON answers into records, and check their shape.

An answer of another shape is an error, never an empty list.
"""

import base64
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Generic, Required, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.docker.failures import NOT_DOCKER
from sidecar.docker.models import Container, ImageIndex, Inventory, Volume
from sidecar.docker.records import container_of, volumes_of
from sidecar.lib.errors import InventoryError

T = TypeVar("T")

_SAVED_FORM = (
    "expected is the JSON answer of GET /containers/json?all=1, or an object "
    "with `containers`, `volumes` and `images`"
)


class WireMount(TypedDict, total=False):
    """A mount as lists and inspections spell it."""

    Type: str | None
    Name: str | None
    Source: str | None
    Destination: Required[str]
    Driver: str | None
    RW: bool | None


class AnswerShape(Generic[T]):
    """The shape of an answer; compiled when the first one comes, for that takes its time."""

    def __init__(self, form: Any) -> None:
        self._form = form

    @cached_property
    def adapter(self) -> TypeAdapter[T]:
        """What checks answers."""
        return TypeAdapter(self._form)


def validated(shape: AnswerShape[T], data: bytes, source: str, hint: str = NOT_DOCKER) -> T:
    """Parse an answer of Docker; raises InventoryError, which quotes no value of it."""
    try:
        return shape.adapter.validate_json(data, strict=True)
    except ValidationError as error:
        raise InventoryError(f"{source} is no answer of an engine: {_fault(error)}", hint) from None


def _fault(error: ValidationError) -> str:
    """Return where the answer is wrong, without its values: labels may hold secrets."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return _place(first["loc"]) + first["msg"].removeprefix("Input ")


def _place(location: Sequence[int | str]) -> str:
    """Render a location: (3, "Labels", "a.b") becomes `entry 3, field Labels.a.b: `."""
    words: list[str] = []
    fields: list[str] = []
    for part in location:
        if isinstance(part, int):
            words.append(f"{'.'.join(fields)} entry {part}".strip())
            fields.clear()
        else:
            fields.append(part)
    if fields:
        words.append(f"field {'.'.join(fields)}")
    return f"{', '.join(words)}: " if words else ""


class _Platform(TypedDict, total=False):
    architecture: str
    os: str
    variant: str | None


class _Manifest(TypedDict, total=False):
    digest: Required[str]
    platform: _Platform | None


class _Container(TypedDict, total=False):
    Id: Required[str]
    Names: list[str] | None
    Image: str | None
    ImageID: str | None
    ImageManifestDescriptor: _Manifest | None
    Created: int | None
    Labels: dict[str, str] | None
    State: str | None
    Mounts: list[WireMount] | None


class _Volume(TypedDict, total=False):
    Name: Required[str]
    Driver: str | None
    Mountpoint: str | None
    Options: dict[str, str] | None


class _VolumesAnswer(TypedDict):
    Volumes: list[_Volume] | None


class _ImageConfig(TypedDict, total=False):
    Labels: dict[str, str] | None
    Env: list[str] | None


class _Image(TypedDict, total=False):
    Id: Required[str]
    Architecture: str | None
    Os: str | None
    Variant: str | None
    Config: _ImageConfig | None


class _InspectedConfig(TypedDict, total=False):
    Config: _ImageConfig | None


class _VolumeOptions(TypedDict, total=False):
    Subpath: str | None


class _AskedMount(TypedDict, total=False):
    Target: Required[str]
    VolumeOptions: _VolumeOptions | None


class _HostConfig(TypedDict, total=False):
    Mounts: list[_AskedMount] | None
    AutoRemove: bool | None


class _InspectedHost(TypedDict, total=False):
    HostConfig: _HostConfig | None


def _as_answer(volumes: Any) -> Any:
    """Take a bare list of volumes for the answer that wraps it."""
    return {"Volumes": volumes} if isinstance(volumes, list) else volumes


class _Info(TypedDict, total=False):
    ID: str | None
    BuildahVersion: str | None


class _ServiceSpec(TypedDict, total=False):
    Name: Required[str]
    Labels: dict[str, str] | None


class _ListedService(TypedDict):
    Spec: _ServiceSpec


class _Saved(TypedDict, total=False):
    containers: Required[list[_Container]]
    volumes: Annotated[_VolumesAnswer | None, BeforeValidator(_as_answer)]
    images: list[_Image] | None
    subpaths: dict[str, dict[str, str]] | None
    auto_remove: list[str] | None


_CONTAINERS = AnswerShape[list[_Container]](list[_Container])
_VOLUMES = AnswerShape[_VolumesAnswer](_VolumesAnswer)
_IMAGE = AnswerShape[_Image](_Image)
_INSPECTED = AnswerShape[_InspectedConfig](_InspectedConfig)
_INSPECTED_HOST = AnswerShape[_InspectedHost](_InspectedHost)
_SAVED = AnswerShape[_Saved](_Saved)
_INFO = AnswerShape[_Info](_Info)
_VOLUME = AnswerShape[_Volume](_Volume)
_SERVICES = AnswerShape[list[_ListedService]](list[_ListedService])


@dataclass(frozen=True, slots=True)
class RawInventory:
    """The answers behind an observation, for a file that `load_saved` reads.

    `containers` and `volumes` are the bytes of the answers; of the images only their
    labels are kept, by id, because the rest may hold secrets. `inspected` is what single
    containers were asked for, by id.
    """

    containers: bytes
    volumes: bytes
    image_labels: Mapping[str, Mapping[str, str]]
    inspected: Mapping[str, "InspectedHost"] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the content of such a file; it holds label values as they are."""
        images = [
            {"Id": image, "Config": {"Labels": dict(labels)}}
            for image, labels in self.image_labels.items()
        ]
        encoded = json.dumps(images, ensure_ascii=False).encode()
        found = self.inspected.items()
        subpaths = {identity: one.subpaths for identity, one in found if one.subpaths}
        going = [identity for identity, one in found if one.goes_when_stopped]
        parts = (
            (b'{"containers": ', self.containers.strip()),
            (b', "volumes": ', self.volumes.strip()),
            (b', "images": ', encoded),
            (b', "subpaths": ', json.dumps(subpaths, ensure_ascii=False).encode()),
            (b', "auto_remove": ', json.dumps(going).encode()),
        )
        return b"".join(piece for part in parts for piece in part) + b"}\n"


@dataclass(frozen=True, slots=True)
class Observation:
    """The inventory of one moment, and the answers that it was parsed from."""

    inventory: Inventory
    raw: RawInventory


def parse_containers(data: bytes, source: str) -> tuple[Container, ...]:
    """Parse the answer of `GET /containers/json`; `source` names it in errors."""
    entries = validated(_CONTAINERS, data, source)
    return tuple([container_of(entry) for entry in entries])


def parse_volumes(data: bytes, source: str) -> dict[str, Volume]:
    """Parse the answer of `GET /volumes` into volumes by name."""
    return volumes_of(validated(_VOLUMES, data, source))


def parse_volume(data: bytes, source: str) -> Volume:
    """Parse the answer of `GET /volumes/NAME`."""
    [volume] = volumes_of({"Volumes": [validated(_VOLUME, data, source)]}).values()
    return volume


def parse_image_labels(
    data: bytes, source: str, image: str, index: ImageIndex | None
) -> Mapping[str, str] | None:
    """Parse the answer of `GET /images/ID/json` into the own labels of `image`.

    None where the answer is of an image for another platform: API 1.48 tells which one a
    container was made of, and only 1.49 lets one ask for it.
    """
    answer = validated(_IMAGE, data, source)
    if index is not None and answer["Id"] != image and not _is_for(answer, index):
        return None
    return _labels_of(answer)


def _is_for(answer: _Image, index: ImageIndex) -> bool:
    asked: _Platform = json.loads(index.platform or "{}")
    wanted = asked.get("os"), asked.get("architecture"), asked.get("variant")
    told = answer.get("Os"), answer.get("Architecture"), answer.get("Variant")
    return answer["Id"] == index.id and _plain_platform(*wanted) == _plain_platform(*told)


def _plain_platform(*platform: str | None) -> tuple[str | None, ...]:
    # v8 is what arm64 without a variant means, and most images leave it out.
    return tuple(None if part in ("", "v8") else part for part in platform)


def parse_services(data: bytes, source: str) -> dict[str, Mapping[str, str]]:
    """Parse the answer of `GET /services` into the services' own labels by name."""
    specs = [service["Spec"] for service in validated(_SERVICES, data, source)]
    return {spec["Name"]: spec.get("Labels") or {} for spec in specs}


def parse_link_target(header: str) -> str:
    """Parse what Docker says of a path of a container: where the link leads to, if it is one.

    The header is an object in JSON, in base64. Nothing follows from another one.
    """
    try:
        found = json.loads(base64.b64decode(header))["linkTarget"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def parse_environment(data: bytes, source: str) -> list[str]:
    """Parse the answer of `GET /containers/ID/json` into its `NAME=value` list."""
    config = validated(_INSPECTED, data, source).get("Config") or {}
    return config.get("Env") or []


@dataclass(frozen=True, slots=True)
class InspectedHost:
    """What only the inspection of a container tells of it, and what never changes.

    `subpaths` are those of its volumes, by destination: `{"/data": "photos/2026"}`.
    `goes_when_stopped`: the engine removes it as soon as it stops (`--rm`).
    """

    subpaths: Mapping[str, str] = field(default_factory=dict)
    goes_when_stopped: bool = False


def parse_inspected(data: bytes, source: str) -> InspectedHost:
    """Parse the answer of `GET /containers/ID/json` into what no list of Docker has."""
    host = validated(_INSPECTED_HOST, data, source).get("HostConfig") or {}
    subpaths = {
        posixpath.normpath(mount["Target"]): subpath
        for mount in host.get("Mounts") or ()
        if (subpath := (mount.get("VolumeOptions") or {}).get("Subpath"))
    }
    return InspectedHost(subpaths, bool(host.get("AutoRemove")))


def with_inspected(container: Container, found: InspectedHost | None) -> Container:
    """Return the container with what its inspection has told."""
    if found is None or not (found.subpaths or found.goes_when_stopped):
        return container
    mounts = tuple(
        mount._replace(subpath=found.subpaths.get(posixpath.normpath(mount.destination), ""))
        for mount in container.mounts
    )
    return replace(container, mounts=mounts, goes_when_stopped=found.goes_when_stopped)


def parse_identity(data: bytes, source: str) -> str:
    """Parse the answer of `GET /info` into Docker's lasting id; empty if it has none."""
    answer = validated(_INFO, data, source)
    # Podman invents another one for each answer.
    return "" if answer.get("BuildahVersion") else answer.get("ID") or ""


def parse_saved(data: bytes, source: str) -> Inventory:
    """Parse a saved list of containers, or the object with volumes and images too."""
    data = _without_lone_surrogates(data)
    if data.lstrip()[:1] == b"[":
        entries = validated(_CONTAINERS, data, source, _SAVED_FORM)
        return Inventory(containers=tuple([container_of(entry) for entry in entries]))
    saved = validated(_SAVED, data, source, _SAVED_FORM)
    images = saved.get("images") or []
    subpaths, going = saved.get("subpaths") or {}, saved.get("auto_remove") or ()
    found = {
        identity: InspectedHost(subpaths.get(identity, {}), identity in going)
        for identity in {*subpaths, *going}
    }
    containers = [container_of(entry) for entry in saved["containers"]]
    return Inventory(
        containers=tuple(with_inspected(one, found.get(one.id)) for one in containers),
        volumes=volumes_of(saved.get("volumes")),
        image_labels={image["Id"]: _labels_of(image) for image in images},
    )


def _without_lone_surrogates(data: bytes) -> bytes:
    """Replace half surrogate pairs: one broken label must not make the whole list unreadable."""
    if b"\\ud" not in data and b"\\uD" not in data:
        return data
    try:
        text = json.dumps(json.loads(data), ensure_ascii=False)
    except (ValueError, RecursionError):
        return data  # refused when it is validated
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _labels_of(image: _Image) -> Mapping[str, str]:
    return (image.get("Config") or {}).get("Labels") or {}
