"""Which of many Compose files make one project: a file, with the override beside it."""

from collections.abc import Iterable
from pathlib import Path

# In the order in which Docker Compose looks for them.
_BASES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


def group_projects(files: Iterable[str]) -> list[tuple[str, ...]]:
    """Give the files of each project, as Docker Compose takes them when it is told of none.

    A file of the usual name goes with the override beside it, and an override with
    the file that it overrides, whichever of the two is named; any other file is alone.
    Each project comes once, in the order of the first of its files.
    """
    return list(dict.fromkeys(map(_project_of, files)))


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
