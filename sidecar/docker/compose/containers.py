"""Mounts and volumes of a Compose file, as the engine will list them once they exist."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.docker.compose.shape import (
    ComposeFile,
    FileEntry,
    Grant,
    LongVolume,
    Service,
    VolumeEntry,
    scalar_text,
)
from sidecar.lib.errors import InventoryError
from sidecar.planner.workload import Mount, Volume


@dataclass(frozen=True, slots=True)
class Project:
    """A Compose project: its name and file, and where its relative paths begin."""

    name: str
    directory: str
    home: str
    file: ComposeFile
    volumes: Mapping[str, Volume] = field(default_factory=dict)

    def path(self, written: str) -> str:
        """Give the absolute host path of one that is written `~/x`, `./x` or `/x`."""
        if written == "~" or written.startswith("~/"):
            written = self.home + written[1:]
        return _clean(posixpath.join(self.directory, written))


def render_volumes(file: ComposeFile, project_name: str) -> dict[str, Volume]:
    """Give the declared volumes by the name that services use; each knows its real name."""
    entries = (file.get("volumes") or {}).items()
    return {key: _volume(key, entry or {}, project_name) for key, entry in entries}


def mounts_of(project: Project, name: str) -> tuple[Mount, ...]:
    """Give the mounts of a service, by destination; what is written last covers the rest."""
    mounts = {mount.destination: mount for mount in _with_others(project, name, ())}
    return tuple(mounts[destination] for destination in sorted(mounts))


def _volume(key: str, entry: VolumeEntry, project_name: str) -> Volume:
    external = entry.get("external")
    old_name = external.get("name") if isinstance(external, dict) else None
    own_name = key if external else f"{project_name}_{key}"
    options = (entry.get("driver_opts") or {}).items()
    return Volume(
        name=entry.get("name") or old_name or own_name,
        driver=entry.get("driver") or "local",
        options={option: scalar_text(value) for option, value in options},
    )


def _with_others(project: Project, name: str, seen: tuple[str, ...]) -> Iterator[Mount]:
    """The service's own mounts after those that it takes from other services."""
    service = project.file["services"].get(name) or {}
    for other in service.get("volumes_from") or ():
        first, _, rest = other.partition(":")
        source = rest.partition(":")[0] if first == "service" else first
        if source not in seen:
            yield from _with_others(project, source, (*seen, name))
    yield from _own(project, name, service)


def _own(project: Project, name: str, service: Service) -> Iterator[Mount]:
    yield from _granted(project, service.get("configs"), project.file.get("configs"), "/")
    yield from _granted(
        project, service.get("secrets"), project.file.get("secrets"), "/run/secrets/"
    )
    tmpfs = service.get("tmpfs") or ()
    for text in (tmpfs,) if isinstance(tmpfs, str) else tmpfs:
        yield Mount("tmpfs", "", _clean(text.partition(":")[0]))
    for entry in service.get("volumes") or ():
        yield _mount(project, name, _short(name, entry) if isinstance(entry, str) else entry)


def _granted(
    project: Project,
    grants: Iterable[str | Grant] | None,
    entries: Mapping[str, FileEntry | None] | None,
    folder: str,
) -> Iterator[Mount]:
    """Secrets and configs that are files are bound to their place; others are no mounts."""
    for grant in grants or ():
        source = grant if isinstance(grant, str) else grant["source"]
        target = source if isinstance(grant, str) else grant.get("target") or source
        file = ((entries or {}).get(source) or {}).get("file")
        if file:
            yield Mount("bind", project.path(file), _clean(posixpath.join(folder, target)))


def _short(service: str, text: str) -> LongVolume:
    """Take `[SOURCE:]TARGET[:MODE]` apart."""
    source, colon, rest = text.partition(":")
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
    source, target = entry.get("source") or "", _clean(entry["target"])
    kind = entry.get("type") or ("bind" if source[:1] in {"/", ".", "~"} else "volume")
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
    return Mount("volume", "", target, volume.name, volume.driver)


def _clean(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")
