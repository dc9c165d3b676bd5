"""Load Compose files as an inventory: the containers and volumes that they would make.

Docker Compose resolves them where it is installed; else a file that needs no resolving is
read as it stands. `group_projects` says which of many files make one project.
"""

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from sidecar.docker.compose.consistency import check_consistency
from sidecar.docker.compose.containers import (
    Project,
    containers_of,
    render_volumes,
    windows_paths,
)
from sidecar.docker.compose.shape import ComposeFile, ComposeService, labels_of, parse_shape
from sidecar.docker.compose.text import (
    INSTALL,
    MisplacedLabel,
    Positions,
    check_text,
    find_misplaced,
    find_name,
    find_positions,
    read_plain,
    read_resolved,
    repeated_labels,
)
from sidecar.docker.compose.tool import ComposeTool, find_tool, run_config
from sidecar.docker.compose.variables import VariableError, read_dotenv
from sidecar.docker.models import Inventory
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.lib.read_file import NotAFileError, read_file

# In the order in which Docker Compose looks for them.
_BASES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_LARGEST_DOTENV = 1 << 20
_LARGEST_FILE = 16 << 20
_NAME = "COMPOSE_PROJECT_NAME"


@dataclass(frozen=True, slots=True)
class ComposeReading:
    """What Compose files would become.

    Attributes:
        inventory: the containers and volumes.
        swarm_only: by service, the labels under `deploy.labels`, which no container gets.
        positions: where services and labels stand.
        misplaced: keys of places where no label of a container stands.
        notes: what there was to remark, one line each.
    """

    inventory: Inventory
    swarm_only: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    positions: Positions = field(default_factory=dict)
    misplaced: tuple[MisplacedLabel, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A Compose file whose values are final.

    `settled` means that its `name` is the project's; `selected` that it holds the services
    of the chosen profiles only; `legacy` that docker-compose 1 wrote it.
    """

    tree: Any
    source: str
    directory: Path
    settled: bool
    selected: bool = True
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
    one file is read with the variables of `.env` and the environment, unless it needs more
    than that. Raises InventoryError.
    """
    variables = os.environ if environment is None else environment
    paths = [Path(file) for file in files]
    if not paths or (len(paths) > 1 and Path("-") in paths):
        raise UsageError("--compose takes files, or `-` alone for resolved text on standard input")
    if paths == [Path("-")]:
        text = (stdin or sys.stdin).read()
        source = "standard input"
        resolved = _Resolved(read_resolved(text, source), source, Path.cwd(), settled=True)
        reading = _reading(resolved, {}, variables)
        return replace(reading, misplaced=tuple(find_misplaced(text, source)))
    texts = {path: _read(path) for path in paths}
    positions: dict[tuple[str, str], tuple[str, int]] = {}
    repeated: list[str] = []
    misplaced: list[MisplacedLabel] = []
    for path, text in texts.items():
        positions.update(find_positions(text, str(path)))
        repeated += repeated_labels(text, str(path))
        misplaced += find_misplaced(text, str(path))
    resolved = _resolve(texts, variables, timeout)
    resolved = replace(resolved, notes=(*resolved.notes, *repeated))
    try:
        reading = _reading(resolved, positions, variables)
    except InventoryError as error:
        if resolved.settled or not resolved.notes:
            raise
        # An empty variable may be the cause of what cannot be read.
        hints = (*resolved.notes, *filter(None, [error.hint]))
        raise InventoryError(error.message, "; ".join(hints)) from None
    return replace(reading, misplaced=tuple(misplaced))


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
        content = read_file(path, _LARGEST_FILE)
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = f"write the path of a Compose file, as seen from {Path.cwd()}"
        elif isinstance(error, NotAFileError) and path.is_dir():
            hint = "write the path of the Compose file in it"
        elif isinstance(error, NotAFileError) and path.is_fifo():
            hint = "what a pipe gives is read by `--compose -`"
        raise InventoryError(f"{path} cannot be read: {error.strerror}", hint) from None
    if len(content) > _LARGEST_FILE:
        raise InventoryError(f"{path} is too large for a Compose file")
    try:
        # Line ends as text files have them: all of them are line feeds to YAML.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
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
        return _as_it_stands(paths[0], texts[paths[0]], environment)
    answer = run_config(tool, paths, environment, timeout)
    if answer.status == 0:
        source = f"the output of `{tool.name} config`"
        tree = read_resolved(answer.text, source, legacy=tool.is_legacy)
        place = paths[0].absolute().parent
        new, notes = not tool.is_legacy, answer.complaints
        if tool.is_legacy:
            for path, text in texts.items():
                check_text(text, str(path))
        return _Resolved(tree, source, place, new, new, tool.is_legacy, notes)
    refusal = InventoryError(
        f"`{tool.name} config` failed: {' '.join(answer.errors)}",
        f"{tool.version} was asked to resolve {', '.join(map(str, paths))}",
    )
    if tool.is_legacy and len(paths) == 1 and _is_of_form(answer.complaints):
        return _despite_legacy(paths[0], texts[paths[0]], tool, environment)
    raise refusal


def _as_it_stands(path: Path, text: str, environment: Mapping[str, str]) -> _Resolved:
    place, source = path.absolute().parent, str(path)
    try:
        variables = {**_dotenv(place, environment), **environment}
    except VariableError as error:
        raise InventoryError(
            f"{place / '.env'}, {error}", "write NAME=value lines, as `docker compose` reads them"
        ) from None
    chosen = variables.get(_NAME, "")
    if chosen != _normal_name(chosen):
        raise InventoryError(
            f"{_NAME}={chosen} is no project name to Compose",
            "write lower-case letters, digits, `-` and `_`, a letter or digit first",
        )
    # The file itself may use the name that it ends up with.
    named = chosen or find_name(text, source, variables) or place.name
    variables[_NAME] = _normal_name(named)
    plain = read_plain(text, source, variables)
    return _Resolved(plain.tree, source, place, settled=False, selected=False, notes=plain.notes)


def _is_of_form(complaints: Iterable[str]) -> bool:
    """Return whether docker-compose 1 refused the form of the file, not what the file names."""
    return any(line.startswith("The Compose file") for line in complaints)


def _despite_legacy(
    path: Path, text: str, tool: ComposeTool, environment: Mapping[str, str]
) -> _Resolved:
    """Read a file that docker-compose 1 refuses for its form, if it can be read without."""
    try:
        plain = _as_it_stands(path, text, environment)
    except InventoryError as error:
        # It understands so little of today's form that its own message would only mislead.
        raise InventoryError(
            f"{tool.version} cannot read {path}, and without it: {error.message}",
            error.hint or INSTALL,
        ) from None
    note = f"{path} was read as it stands, because {tool.version} refused it"
    return replace(plain, notes=(note, *plain.notes))


def _reading(
    resolved: _Resolved, positions: Positions, environment: Mapping[str, str]
) -> ComposeReading:
    has_services = any(not label for _, label in positions)
    may_be_empty = resolved.settled and has_services
    file = parse_shape(resolved.tree, resolved.source, may_be_empty=may_be_empty)
    try:
        variables = {**_dotenv(resolved.directory, environment), **environment}
    except VariableError:
        variables = dict(environment)
    name = _project_name(file, resolved, variables)
    home = environment.get("HOME") or str(Path.home())
    project = Project(name, str(resolved.directory), home, file)
    project = replace(project, volumes=render_volumes(project))
    volumes = project.volumes
    services = file["services"]
    written = {service for service, label in positions if not label} | services.keys()
    if not resolved.selected:
        services = _active(services, variables)
    if not resolved.settled and not resolved.legacy:
        check_consistency(project, services, resolved.source)
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
        notes=(*resolved.notes, *windows_paths(services), *_left_out(written - services.keys())),
    )


def _left_out(services: Collection[str]) -> Iterator[str]:
    """Yield a remark about the services of profiles that nobody chose."""
    if services:
        yield (
            f"left out, because COMPOSE_PROFILES chooses no profile of theirs: "
            f"{', '.join(sorted(services))} → set COMPOSE_PROFILES='*' to read them too"
        )


def _active(
    services: Mapping[str, ComposeService], environment: Mapping[str, str]
) -> dict[str, ComposeService]:
    """Return the services of the chosen profiles: docker-compose 1 prints those of all."""
    chosen = {name.strip() for name in environment.get("COMPOSE_PROFILES", "").split(",")}
    return {
        key: service
        for key, service in services.items()
        if "*" in chosen
        or not service.get("profiles")
        or chosen.intersection(service["profiles"] or ())
    }


def _project_name(file: ComposeFile, resolved: _Resolved, variables: Mapping[str, str]) -> str:
    """Return the name as Compose finds it; in resolved text its `name` decides."""
    written, variable = file.get("name") or "", variables.get(_NAME, "")
    first, second = (written, variable) if resolved.settled else (variable, written)
    name = _normal_name(first or second or resolved.directory.name)
    if not name:
        raise InventoryError(f"{resolved.source} gives no project name", f"set `name:` or {_NAME}")
    return name


def _normal_name(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def _dotenv(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what `.env` beside the files says; empty if there is none. Raises VariableError."""
    try:
        # Not as text: line ends within quotes are part of the value.
        content = read_file(directory / ".env", _LARGEST_DOTENV)
    except OSError:
        return {}
    return read_dotenv(content.decode("utf-8", "replace"), environment)


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
