"""Load Compose files as an inventory: the containers and volumes that they would make.

Docker Compose resolves them where it is installed; else a file that needs no resolving is
read as it stands. `group_projects` says which of many files make one project.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sidecar.docker.compose.containers import Project, containers_of, render_volumes
from sidecar.docker.compose.shape import ComposeFile, ComposeService, labels_of, parse_shape
from sidecar.docker.compose.text import (
    INSTALL,
    Positions,
    find_positions,
    read_plain,
    read_resolved,
)
from sidecar.docker.compose.tool import ComposeTool, find_tool, run_config
from sidecar.docker.models import Inventory
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.lib.read_file import read_file

# In the order in which Docker Compose looks for them.
_BASES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_LARGEST_DOTENV = 1 << 20
_NAME_LINE = re.compile(
    r"^\s*(?:export\s+)?COMPOSE_PROJECT_NAME\s*=\s*[\"']?([^\"'\s#]*)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class ComposeReading:
    """What Compose files would become.

    Attributes:
        inventory: the containers and volumes.
        swarm_only: by service, the labels under `deploy.labels`, which no container gets.
        positions: where services and labels stand.
        notes: what there was to remark, one line each.
    """

    inventory: Inventory
    swarm_only: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    positions: Positions = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A Compose file whose values are final.

    `settled` means that its `name` is the project's; `legacy` that docker-compose 1
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


def group_projects(files: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the files of each project, as Docker Compose takes them when none is named.

    A file of a usual name goes with the override beside it, and an override with the
    file that it overrides, whichever of the two is given: `compose.yaml` gives
    `(compose.yaml, compose.override.yaml)`. Any other file is alone. Each project comes
    once, in the order of the first of its files.
    """
    return list(dict.fromkeys(map(_project_of, files)))


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
    """Return whether docker-compose 1 refused the form of the file, not what the file names."""
    return any(line.startswith("The Compose file") for line in complaints)


def _despite_legacy(path: Path, text: str, tool: ComposeTool) -> _Resolved:
    """Read a file that docker-compose 1 refuses for its form, if it needs no resolving."""
    try:
        plain = _as_it_stands(path, text)
    except InventoryError:
        # It understands so little of today's form that its own message would only mislead.
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
    """Return the services of the chosen profiles: docker-compose 1 prints those of all."""
    chosen = set(environment.get("COMPOSE_PROFILES", "").split(","))
    return {
        key: service
        for key, service in services.items()
        if not service.get("profiles") or chosen.intersection(service["profiles"] or ())
    }


def _project_name(file: ComposeFile, resolved: _Resolved, environment: Mapping[str, str]) -> str:
    """Return the name as Compose finds it; in resolved text its `name` decides."""
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
        text = read_file(directory / ".env", _LARGEST_DOTENV).decode(errors="replace")
    except OSError:
        return ""
    found = _NAME_LINE.findall(text)
    return str(found[-1]) if found else ""


def _project_of(file: str) -> tuple[str, ...]:
    path = Path(file)
    if path.name not in _BASES + _OVERRIDES:
        return (str(path),)
    base = path if path.name in _BASES else _first(path.parent, _BASES)
    override = path if path.name in _OVERRIDES else _first(path.parent, _OVERRIDES)
    return tuple(str(one) for one in (base, override) if one is not None)


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    beside = (folder / name for name in names)
    return next((path for path in beside if path.is_file()), None)
