"""Turn the services of a Compose file into the containers that Compose would make of them.

Names, labels, mounts and volumes are as Docker would list them once they exist.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.docker.compose.shape import (
    ComposeFile,
    ComposeService,
    Dependency,
    FileEntry,
    Grant,
    LongVolume,
    VolumeEntry,
    labels_of,
    scalar_text,
)
from sidecar.docker.models import Container, Mount, Volume
from sidecar.lib.errors import InventoryError

_PREFIX = "com.docker.compose"
_DRIVE = re.compile(r"[A-Za-z]:")
_DRIVE_PATH = re.compile(r"[^/\\]:[/\\]|\\\\")
# One part of a short volume; the colon of a drive separates nothing.
_PART = re.compile(r"(?:[^\W\d_]:)?[^:]*")


@dataclass(frozen=True, slots=True)
class Project:
    """A Compose project: its name and file, and where its relative paths begin."""

    name: str
    directory: str
    home: str
    file: ComposeFile
    volumes: Mapping[str, Volume] = field(default_factory=dict)

    def path(self, written: str) -> str:
        """Return the absolute host path of one that is written `~/x`, `./x` or `/x`."""
        if written.startswith("~"):
            # Compose knows no homes of others: `~ann/x` is `ann/x` in the own one.
            written = posixpath.join(self.home, written[1:].lstrip("/"))
        return _absolute(posixpath.join(self.directory, written))


def containers_of(project: Project, name: str, service: ComposeService) -> Iterator[Container]:
    """Return the containers that a service will have, one for each replica."""
    mounts = _mounts_of(project, name)
    labels = labels_of(service.get("labels"))
    labels |= {
        f"{_PREFIX}.project": project.name,
        f"{_PREFIX}.service": name,
        f"{_PREFIX}.oneoff": "False",
        f"{_PREFIX}.depends_on": _waits_label(service),
    }
    for number in range(1, _replicas(service) + 1):
        own_name = f"{project.name}-{name}-{number}"
        chosen = service.get("container_name") or own_name
        yield Container(
            id=own_name,
            name=chosen,
            labels={**labels, f"{_PREFIX}.container-number": str(number)},
            mounts=mounts,
            image=service.get("image") or "",
        )


def render_volumes(project: Project) -> dict[str, Volume]:
    """Return the declared volumes by the name that services use; each has its real name."""
    entries = (project.file.get("volumes") or {}).items()
    return {key: _volume(key, entry or {}, project) for key, entry in entries}


def windows_paths(services: Mapping[str, ComposeService]) -> Iterator[str]:
    """Yield a remark for each volume that Compose takes for a path of Windows."""
    for name, service in services.items():
        for entry in service.get("volumes") or ():
            text = entry if isinstance(entry, str) else entry.get("source") or entry["target"]
            if _is_windows(text):
                yield (
                    f"service {name}: {text} is a path of Windows to Compose, which cannot be "
                    "backed up → write /path or ./path; a volume's name has two letters or more"
                )


def _is_windows(text: str) -> bool:
    """Return whether Compose takes a text for a path of Windows: `d:/x`, also beside a volume d."""
    return text.startswith("\\\\") or _DRIVE.match(text) is not None


def _is_absolute_of_windows(text: str) -> bool:
    return _DRIVE_PATH.match(text) is not None


def _replicas(service: ComposeService) -> int:
    replicas = (service.get("deploy") or {}).get("replicas")
    scale = service.get("scale")
    counts = [count for count in (scale, replicas, 1) if count is not None]
    return 1 if service.get("container_name") and counts[0] else counts[0]


def dependencies_of(service: ComposeService) -> dict[str, Dependency]:
    """Return what a service waits for: what it says, and what its other keys need."""
    found: dict[str, Dependency] = {}
    for source in service.get("volumes_from") or ():
        if not source.startswith("container:"):
            name = source.removeprefix("service:").partition(":")[0]
            found[name] = Dependency(condition="service_started")
    modes = [
        *(service.get("network_mode"), service.get("ipc"), service.get("pid")),
        *(service.get("uts"), service.get("cgroup")),
    ]
    joined = [mode[8:] for mode in modes if mode and mode.startswith("service:")]
    joined += [link.partition(":")[0] for link in service.get("links") or ()]
    for name in joined:
        found[name] = Dependency(condition="service_started", restart=True)
    written = service.get("depends_on") or {}
    if isinstance(written, list):
        return found | {name: Dependency(condition="service_started") for name in written}
    return found | written


def _waits_label(service: ComposeService) -> str:
    """Return the text of Compose's own label: `service:condition:restart`, comma-separated."""
    return ",".join(
        f"{name}:{entry['condition']}:{str(entry.get('restart', False)).lower()}"
        for name, entry in sorted(dependencies_of(service).items())
    )


def _volume(key: str, entry: VolumeEntry, project: Project) -> Volume:
    external = entry.get("external")
    old_name = external.get("name") if isinstance(external, dict) else None
    own_name = key if external else f"{project.name}_{key}"
    written = (entry.get("driver_opts") or {}).items()
    options = {option: scalar_text(value) for option, value in written}
    device = options.get("device", "")
    # Exactly where Compose does so: elsewhere Docker gets a path that it refuses.
    if entry.get("driver") == "local" and options.get("o") == "bind" and device:
        is_absolute = device.startswith("/") or _is_absolute_of_windows(device)
        options["device"] = device if is_absolute else project.path(device)
    return Volume(
        name=entry.get("name") or old_name or own_name,
        driver=entry.get("driver") or "local",
        options=options,
    )


def _mounts_of(project: Project, name: str) -> tuple[Mount, ...]:
    """Return the mounts of a service by destination; of two at one place the last counts."""
    mounts = {mount.destination: mount for mount in _all_mounts(project, name, ())}
    return tuple(mounts[destination] for destination in sorted(mounts))


def _all_mounts(project: Project, name: str, seen: tuple[str, ...]) -> Iterator[Mount]:
    """Yield the mounts that a service takes from others (`volumes_from`), then its own."""
    service = project.file["services"].get(name) or {}
    for other in service.get("volumes_from") or ():
        first, _, rest = other.partition(":")
        source = rest.partition(":")[0] if first == "service" else first
        if source not in seen:
            yield from _all_mounts(project, source, (*seen, name))
    yield from _own_mounts(project, name, service)


def _own_mounts(project: Project, name: str, service: ComposeService) -> Iterator[Mount]:
    yield from _granted_files(project, service.get("configs"), project.file.get("configs"), "/")
    yield from _granted_files(
        project, service.get("secrets"), project.file.get("secrets"), "/run/secrets/"
    )
    tmpfs = service.get("tmpfs") or ()
    for text in (tmpfs,) if isinstance(tmpfs, str) else tmpfs:
        yield Mount("tmpfs", "", _absolute(text.partition(":")[0]))
    for entry in _single_volumes(name, service):
        yield _mount(project, name, entry)


def targets_of(name: str, service: ComposeService) -> Iterator[str]:
    """Yield where a service mounts something of its own, as Compose compares the places."""
    tmpfs = service.get("tmpfs") or ()
    written = {
        text.partition("=")[0]: text for text in ([tmpfs] if isinstance(tmpfs, str) else tmpfs)
    }
    for text in written.values():
        yield text.partition(":")[0]
    for volume in _single_volumes(name, service):
        yield posixpath.normpath(volume["target"])


def _single_volumes(name: str, service: ComposeService) -> list[LongVolume]:
    """Return the volumes of a service; of several that are written for one target the last.

    Compose puts it where the first of them stands, compares the targets as they are
    written, then once more with those of the short form cleaned.
    """
    written: dict[str, LongVolume] = {}
    short: set[str] = set()
    for entry in service.get("volumes") or ():
        volume = _parse_short(name, entry) if isinstance(entry, str) else entry
        written[volume["target"]] = volume
        (short.add if isinstance(entry, str) else short.discard)(volume["target"])
    cleaned: dict[str, LongVolume] = {}
    for target, volume in written.items():
        cleaned[posixpath.normpath(target) if target in short else target] = volume
    return list(cleaned.values())


def _granted_files(
    project: Project,
    grants: Iterable[str | Grant] | None,
    entries: Mapping[str, FileEntry | None] | None,
    folder: str,
) -> Iterator[Mount]:
    """Yield secrets and configs that are files, bound to their place; others are no mounts."""
    for grant in grants or ():
        source = grant if isinstance(grant, str) else grant["source"]
        target = source if isinstance(grant, str) else grant.get("target") or source
        file = ((entries or {}).get(source) or {}).get("file")
        if file:
            yield Mount("bind", project.path(file), _absolute(posixpath.join(folder, target)))


def _parse_short(service: str, text: str) -> LongVolume:
    """Parse `[SOURCE:]TARGET[:MODE]`; the colon of a Windows drive separates nothing."""
    parts, place = [], 0
    # A part may be empty, so there is a match everywhere.
    while place <= len(text) and (part := _PART.match(text, place)):
        parts.append(part[0])
        place = part.end() + 1
    if not text or (len(text) > 2 and ("" in parts or len(parts) > 3)):
        raise InventoryError(
            f"service {service}: the volume {text!r} cannot be read",
            "write SOURCE:/path/in/container, with options after another colon",
        )
    if len(parts) == 1 or len(text) <= 2:
        return {"type": "volume", "target": text}
    source, target = parts[:2]
    is_path = source[:1] in {"/", ".", "~"} or _is_windows(source)
    return {"type": "bind" if is_path else "volume", "source": source, "target": target}


def _mount(project: Project, service: str, entry: LongVolume) -> Mount:
    source, target = entry.get("source") or "", _absolute(entry["target"])
    kind = entry["type"]
    if kind == "bind" and _is_absolute_of_windows(source):
        return Mount("bind", "", target)
    if kind == "bind" and "source" not in entry:
        raise InventoryError(
            f"service {service}: the bind of {target} has no source", "write `source: /path`"
        )
    if kind == "bind":
        return Mount("bind", project.path(source), target)
    if kind != "volume":
        return Mount(kind, "", target)
    if not source:
        return Mount("volume", "", target, driver="local")
    volume = project.volumes.get(source)
    if volume is None:
        raise InventoryError(
            f"service {service} uses the volume {source!r}, which is not declared",
            "declare it under the top-level `volumes:`, or begin a path with ./ or /",
        )
    subpath = (entry.get("volume") or {}).get("subpath") or ""
    return Mount("volume", "", target, volume.name, volume.driver, subpath)


def _absolute(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))
