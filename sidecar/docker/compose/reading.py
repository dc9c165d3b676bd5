"""Compose files as an inventory: the containers that they would make."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sidecar.docker.compose.containers import Project, render_volumes
from sidecar.docker.compose.services import containers_of
from sidecar.docker.compose.shape import ComposeFile, Service, labels_of, parse_shape
from sidecar.docker.compose.text import (
    INSTALL,
    Positions,
    find_positions,
    read_plain,
    read_resolved,
)
from sidecar.docker.compose.tool import Tool, find_tool, run_config
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.planner.workload import Inventory

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
    """Whether it was the file's form that docker-compose 1 refused, not what it names."""
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


def _active(services: Mapping[str, Service], environment: Mapping[str, str]) -> dict[str, Service]:
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
