"""Mounts and volumes of a Compose file, as Docker will list them once they exist.

Services of a Compose file as the containers that Compose would make of them.

Compose files as an inventory: the containers that they would make.
"""

import os
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sidecar.docker.compose.shape import (
    ComposeFile,
    ComposeService,
    FileEntry,
    Grant,
    LongVolume,
    VolumeEntry,
    labels_of,
    parse_shape,
    scalar_text,
)
from sidecar.docker.compose.text import (
    INSTALL,
    Positions,
    find_positions,
    read_plain,
    read_resolved,
)
from sidecar.docker.compose.tool import Tool, find_tool, run_config
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.lib.errors import InventoryError, UsageError


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
        return _clean(posixpath.join(self.directory, written))


def render_volumes(file: ComposeFile, project_name: str) -> dict[str, Volume]:
    """Return the declared volumes by the name that services use; each knows its real name."""
    entries = (file.get("volumes") or {}).items()
    return {key: _volume(key, entry or {}, project_name) for key, entry in entries}


def mounts_of(project: Project, name: str) -> tuple[Mount, ...]:
    """Return the mounts of a service, by destination; what is written last covers the rest."""
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


def _own(project: Project, name: str, service: ComposeService) -> Iterator[Mount]:
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


_PREFIX = "com.docker.compose"


def containers_of(project: Project, name: str, service: ComposeService) -> Iterator[Container]:
    """Return the containers that a service will have, one for each replica."""
    mounts = mounts_of(project, name)
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
        )


def _replicas(service: ComposeService) -> int:
    replicas = (service.get("deploy") or {}).get("replicas")
    scale = service.get("scale")
    counts = [count for count in (scale, replicas, 1) if count is not None]
    return 1 if service.get("container_name") and counts[0] else counts[0]


def _dependencies(service: ComposeService) -> str:
    """The text of Compose's own label: `service:condition:restart`, comma-separated."""
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


_NAME_LINE = re.compile(
    r"^\s*(?:export\s+)?COMPOSE_PROJECT_NAME\s*=\s*[\"']?([^\"'\s#]*)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class ComposeReading:
    """What Compose files say.

    `swarm_only` has, by service, the labels under `deploy.labels`, which no
    container gets; `positions` where services and labels stand; `notes` what was
    said on the way, one line each.
    """

    inventory: Inventory
    swarm_only: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    positions: Positions = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A Compose file whose values are final.

    `settled` says that its `name` is the project's; `legacy` that docker-compose 1
    wrote it.
    """

    tree: Any
    source: str
    directory: Path
    settled: bool
    legacy: bool = False
    notes: tuple[str, ...] = ()


def load_compose(
    files: Sequence[str | os.PathLike[str]],
    *,
    stdin: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> ComposeReading:
    """Read Compose files, merged in their order; `-` alone is a resolved one on `stdin`.

    Resolved by Docker Compose where it is installed, within `timeout` seconds; else
    one file that needs no resolution is read as it stands. Raises InventoryError.
    """
    variables = os.environ if environment is None else environment
    paths = [Path(file) for file in files]
    if not paths or (len(paths) > 1 and Path("-") in paths):
        raise UsageError("--compose takes files, or `-` alone for resolved text on standard input")
    if paths == [Path("-")]:
        text = (stdin or sys.stdin).read()
        source = "standard input"
        resolved = _Resolved(read_resolved(text, source), source, Path.cwd(), settled=True)
        return _reading(resolved, {}, variables)
    texts = {path: _read(path) for path in paths}
    positions: dict[tuple[str, str], tuple[str, int]] = {}
    for path, text in texts.items():
        positions.update(find_positions(text, str(path)))
    return _reading(_resolve(texts, variables, timeout), positions, variables)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InventoryError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InventoryError(f"{path} is no UTF-8 text") from None


def _resolve(
    texts: Mapping[Path, str], environment: Mapping[str, str], timeout: float
) -> _Resolved:
    tool = find_tool(environment)
    paths = list(texts)
    if tool is None:
        if len(paths) > 1:
            raise InventoryError("merging more than one file needs Docker Compose", INSTALL)
        return _as_it_stands(paths[0], texts[paths[0]])
    answer = run_config(tool, paths, environment, timeout)
    if answer.status == 0:
        source = f"the output of `{tool.name} config`"
        tree = read_resolved(answer.text, source, legacy=tool.is_legacy)
        place = paths[0].absolute().parent
        return _Resolved(tree, source, place, not tool.is_legacy, tool.is_legacy, answer.complaints)
    refusal = InventoryError(
        f"`{tool.name} config` failed: {' '.join(answer.complaints)}",
        f"{tool.version} was asked to resolve {', '.join(map(str, paths))}",
    )
    if tool.is_legacy and len(paths) == 1 and _is_of_form(answer.complaints):
        return _despite_legacy(paths[0], texts[paths[0]], tool)
    raise refusal


def _as_it_stands(path: Path, text: str) -> _Resolved:
    tree = read_plain(text, str(path))
    return _Resolved(tree, str(path), path.absolute().parent, settled=False)


def _is_of_form(complaints: Iterable[str]) -> bool:
    """Return whether it was the file's form that docker-compose 1 refused, not what it names."""
    return any(line.startswith("The Compose file") for line in complaints)


def _despite_legacy(path: Path, text: str, tool: Tool) -> _Resolved:
    """docker-compose 1 refuses today's files; one that needs no resolving is read anyway."""
    try:
        plain = _as_it_stands(path, text)
    except InventoryError:
        # Of today's form it understands so little that what it says would only mislead.
        raise InventoryError(f"{tool.version} cannot read {path}", INSTALL) from None
    note = f"{path} was read as it stands, because {tool.version} refused it"
    return _Resolved(plain.tree, plain.source, plain.directory, settled=False, notes=(note,))


def _reading(
    resolved: _Resolved, positions: Positions, environment: Mapping[str, str]
) -> ComposeReading:
    file = parse_shape(resolved.tree, resolved.source)
    name = _project_name(file, resolved, environment)
    volumes = render_volumes(file, name)
    home = environment.get("HOME") or str(Path.home())
    project = Project(name, str(resolved.directory), home, file, volumes)
    services = {key: service or {} for key, service in file["services"].items()}
    if resolved.legacy:
        services = _active(services, environment)
    containers = [
        container
        for key, service in sorted(services.items())
        for container in containers_of(project, key, service)
    ]
    swarm = {
        key: labels_of((item.get("deploy") or {}).get("labels")) for key, item in services.items()
    }
    return ComposeReading(
        Inventory(tuple(containers), {volume.name: volume for volume in volumes.values()}),
        {key: labels for key, labels in swarm.items() if labels},
        positions,
        resolved.notes,
    )


def _active(
    services: Mapping[str, ComposeService], environment: Mapping[str, str]
) -> dict[str, ComposeService]:
    """docker-compose 1 prints the services of all profiles, also of those not chosen."""
    chosen = set(environment.get("COMPOSE_PROFILES", "").split(","))
    return {
        key: service
        for key, service in services.items()
        if not service.get("profiles") or chosen.intersection(service["profiles"] or ())
    }


def _project_name(file: ComposeFile, resolved: _Resolved, environment: Mapping[str, str]) -> str:
    """The name as Compose finds it; in resolved text its `name` has the last word."""
    written = file.get("name") or ""
    variable = environment.get("COMPOSE_PROJECT_NAME") or _name_in_dotenv(resolved.directory)
    first, second = (written, variable) if resolved.settled else (variable, written)
    name = re.sub(r"[^a-z0-9_-]", "", (first or second or resolved.directory.name).lower())
    if not name.lstrip("_-"):
        raise InventoryError(
            f"{resolved.source} gives no project name", "set `name:` or COMPOSE_PROJECT_NAME"
        )
    return name.lstrip("_-")


def _name_in_dotenv(directory: Path) -> str:
    try:
        text = (directory / ".env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = _NAME_LINE.findall(text)
    return str(found[-1]) if found else ""
