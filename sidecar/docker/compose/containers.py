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
        if written == "~" or written.startswith("~/"):
            written = self.home + written[1:]
        return _absolute(posixpath.join(self.directory, written))


def containers_of(project: Project, name: str, service: ComposeService) -> Iterator[Container]:
    """Return the containers that a service will have, one for each replica."""
    mounts = _mounts_of(project, name)
    labels = labels_of(service.get("labels"))
    labels |= {
        f"{_PREFIX}.project": project.name,
        f"{_PREFIX}.service": name,
        f"{_PREFIX}.oneoff": "False",
        f"{_PREFIX}.depends_on": _dependencies(service),
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


def _replicas(service: ComposeService) -> int:
    replicas = (service.get("deploy") or {}).get("replicas")
    scale = service.get("scale")
    counts = [count for count in (scale, replicas, 1) if count is not None]
    return 1 if service.get("container_name") and counts[0] else counts[0]


def _dependencies(service: ComposeService) -> str:
    """Return the text of Compose's own label: `service:condition:restart`, comma-separated."""
    started = "service_started"
    found: dict[str, tuple[str, bool]] = {}
    for source in service.get("volumes_from") or ():
        if not source.startswith("container:"):
            found[source.removeprefix("service:").partition(":")[0]] = (started, False)
    modes = [service.get("network_mode"), service.get("ipc"), service.get("pid")]
    joined = [mode[8:] for mode in modes if mode and mode.startswith("service:")]
    joined += [link.partition(":")[0] for link in service.get("links") or ()]
    found |= dict.fromkeys(joined, (started, True))
    written = service.get("depends_on") or {}
    if isinstance(written, list):
        found |= dict.fromkeys(written, (started, False))
    else:
        for name, entry in written.items():
            body = entry or {}
            found[name] = (body.get("condition", started), body.get("restart", False))
    texts = [
        f"{key}:{condition}:{str(again).lower()}"
        for key, (condition, again) in sorted(found.items())
    ]
    return ",".join(texts)


def _volume(key: str, entry: VolumeEntry, project: Project) -> Volume:
    external = entry.get("external")
    old_name = external.get("name") if isinstance(external, dict) else None
    own_name = key if external else f"{project.name}_{key}"
    written = (entry.get("driver_opts") or {}).items()
    options = {option: scalar_text(value) for option, value in written}
    device = options.get("device", "")
    # Exactly where Compose does so: elsewhere Docker gets a path that it refuses.
    if entry.get("driver") == "local" and options.get("o") == "bind" and device:
        options["device"] = device if _is_windows(device) else project.path(device)
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
    for entry in service.get("volumes") or ():
        yield _mount(project, name, _parse_short(name, entry) if isinstance(entry, str) else entry)


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
    drive = text[:2] if _DRIVE.match(text) else ""
    source, colon, rest = text.removeprefix(drive).partition(":")
    source = drive + source
    if not colon:
        return {"type": "volume", "target": text}
    target = rest.partition(":")[0]
    if not source or not target.startswith("/"):
        raise InventoryError(
            f"service {service}: the volume {text!r} cannot be read",
            "write SOURCE:/path/in/container, with options after another colon",
        )
    return {"source": source, "target": target}


def _mount(project: Project, service: str, entry: LongVolume) -> Mount:
    source, target = entry.get("source") or "", _absolute(entry["target"])
    is_path = source[:1] in {"/", ".", "~"} or _is_windows(source)
    kind = entry.get("type") or ("bind" if is_path else "volume")
    if kind == "bind" and _is_windows(source):
        return Mount("bind", "", target)
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
    return "/" + posixpath.normpath(path).lstrip("/")
