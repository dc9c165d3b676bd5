"""The records of workloads.json: which workload each plan is of, and what of its data is in it.

The sidecar writes them, because only it reads labels; both programs read them, to take and to show
names in place of plan ids. Whoever has the folder can write the file. So what it says is believed
for names only: a plan stands in a document or it does not exist, and a path counts if the plan
of the document holds it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

NAME: Final = "workloads.json"
"""What the file is called, in the sidecar's state directory."""
FOLDER: Final = ".sidecar"
"""The sidecar's state directory, beside the document if it is not named."""
LARGEST: Final = 16 << 20
"""The most bytes that are read of it."""
_VERSION: Final = 1
_UNREADABLE: Final = "\N{REPLACEMENT CHARACTER}"

T = TypeVar("T")


class WorkloadsInvalid(ValueError):
    """The content of workloads.json is none that the sidecar writes."""


@dataclass(frozen=True, slots=True)
class MountRecord:
    """A mount that holds data: whether a plan holds it, and why or why not.

    `containers` mount it at `path`; replicas do so alike. `host` is its directory on the host,
    empty where it has none; `seen` the same as the runner sees it, empty where it does not. `kind`
    is Docker's, such as `volume` or `bind`; `volume` the name of a volume. `plan` is the id of the
    plan that holds it, all or in part, empty for none. `is_chosen`: it is left out because a label
    says so, and not by mistake.
    """

    path: str
    containers: tuple[str, ...] = ()
    host: str = ""
    seen: str = ""
    kind: str = ""
    volume: str = ""
    plan: str = ""
    why: str = ""
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class PathRecord:
    """A path of a plan: `shown` is a container path, or `volume:NAME` or `host:/PATH` of a label.

    `host` is where that is on the host, `seen` where the runner sees it: that stands in the plan
    and in its snapshots.
    """

    shown: str
    host: str = ""
    seen: str = ""


@dataclass(frozen=True, slots=True)
class ProblemRecord:
    """A problem of a workload; `severity` is `error`, `degraded` or `warning`."""

    reason: str
    severity: str
    message: str
    hint: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class DumpRecord:
    """A dump that a template makes before each snapshot: in `container`, at its path `path`.

    `template` is the template's name. `database` and `user` are as the labels have them, empty for
    what the template takes by itself; `run_as` is the user of the container who runs it, empty for
    the container's own. Passwords are known to the container alone.
    """

    template: str
    path: str
    container: str
    database: str = ""
    user: str = ""
    run_as: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadRecord:
    """A workload that has a plan, or data mounts in none.

    `name` is what people call it: `PROJECT/SERVICE`, `PROJECT/GROUP`, or without Compose the name
    of its container or Swarm service. `service` is the part after the project. `group` is its
    group's name, then `aliases` are its members; they also hold other names of what was joined.
    `containers` are the names of its containers, sorted.

    `plan` is its plan's id, empty for none; `document` the name of the document which that is for,
    and `repository` the one that it goes to. `is_gone`: the plan stands, and of the workload is
    known what it was when it was last seen. `dump` is what a template dumps for the plan.
    """

    name: str
    service: str
    project: str = ""
    group: str = ""
    aliases: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    plan: str = ""
    document: str = ""
    repository: str = ""
    mounts: tuple[MountRecord, ...] = ()
    paths: tuple[PathRecord, ...] = ()
    problems: tuple[ProblemRecord, ...] = ()
    is_gone: bool = False
    dump: DumpRecord | None = None

    @property
    def unsaved(self) -> tuple[MountRecord, ...]:
        """The data mounts that no plan holds although no label says that they be left out."""
        return tuple(one for one in self.mounts if not one.plan and not one.is_chosen)

    def seen(self, path: str) -> str:
        """Return where the runner sees a normal path of the containers, empty where it does not.

        The innermost mount counts, as in the container. The caller checks that the plan's paths
        in the document hold what is returned.
        """
        roots = [one for one in self.mounts if _is_under(path, one.path)]
        if not roots:
            return ""
        mount = max(roots, key=lambda one: len(one.path))
        return mount.seen and (mount.seen.rstrip("/") + path[len(mount.path.rstrip("/")) :])

    def around(self, path: str) -> str:
        """Return the outermost known mount around a path, both as the runner sees them.

        No container can put anything in its place, as it can with folders within. Where none is
        known, the path itself.
        """
        roots = (one.seen for one in self.mounts if one.seen.strip("/"))
        return min((root for root in roots if _is_under(path, root)), key=len, default=path)


_Record: TypeAlias = MountRecord | PathRecord | ProblemRecord | DumpRecord | WorkloadRecord


def render_workloads(records: Iterable[WorkloadRecord]) -> bytes:
    """Return the content of the file: a line a workload, sorted by name, equal for equal ones."""
    ordered = sorted(records, key=lambda one: (one.name, one.plan))
    return join_lines(map(render_line, ordered))


def render_line(record: WorkloadRecord) -> str:
    """Return a workload as its line of the file."""
    return json.dumps(_without_empty(record))


def join_lines(lines: Iterable[str]) -> bytes:
    """Return the content of the file of its lines, in their order."""
    body = ",\n".join(lines)
    return f'{{"version": {_VERSION}, "workloads": [\n{body}\n]}}\n'.encode()


def _without_empty(record: _Record) -> dict[str, Any]:
    """Return a record as JSON, without what is empty or false: that is read as such."""
    found: dict[str, Any] = {}
    for name in record.__slots__:
        if value := getattr(record, name):
            is_list = isinstance(value, tuple)
            found[name] = [_of_item(item) for item in value] if is_list else _of_item(value)
    return found


def _of_item(item: _Record | str | bool) -> Any:
    return item if isinstance(item, str | bool) else _without_empty(item)


def parse_workloads(content: bytes) -> tuple[WorkloadRecord, ...]:
    """Return the records of a file's content; keys that are not known are ignored.

    No text of them holds a character that a terminal would obey. Raises WorkloadsInvalid.
    """
    if len(content) > LARGEST:
        raise WorkloadsInvalid(f"it has more than {LARGEST >> 20} MiB")
    try:
        root = json.loads(content.decode())
    except (ValueError, RecursionError):
        raise WorkloadsInvalid("it is no JSON") from None
    if not isinstance(root, dict) or root.get("version") != _VERSION:
        raise WorkloadsInvalid(f"it is not of version {_VERSION}")
    return _list_of(_workload)(root.get("workloads"))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WorkloadsInvalid("a text is expected where there is none")
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else _UNREADABLE for char in value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WorkloadsInvalid("true or false is expected where there is neither")
    return value


def _list_of(parse: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    def parse_list(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise WorkloadsInvalid("a list is expected where there is none")
        return tuple([parse(item) for item in value])

    return parse_list


def _record_of(kind: Callable[..., T], parsers: Mapping[str, Any], *needed: str) -> Any:
    def parse_record(value: Any) -> T:
        if not isinstance(value, dict):
            raise WorkloadsInvalid("an object is expected where there is none")
        if any(not value.get(name) for name in needed):
            raise WorkloadsInvalid(f"{' and '.join(needed)} must not be empty")
        return kind(
            **{name: parse(value[name]) for name, parse in parsers.items() if name in value}
        )

    return parse_record


_TEXTS: Final = _list_of(_text)
_mount: Final = _record_of(
    MountRecord,
    {
        **dict.fromkeys(("path", "host", "seen", "kind", "volume", "plan", "why"), _text),
        "containers": _TEXTS,
        "is_chosen": _flag,
    },
    "path",
)
_path: Final = _record_of(PathRecord, dict.fromkeys(("shown", "host", "seen"), _text), "shown")
_problem: Final = _record_of(
    ProblemRecord,
    dict.fromkeys(("reason", "severity", "message", "hint", "label"), _text),
    "reason",
    "severity",
    "message",
)
_dump: Final = _record_of(
    DumpRecord,
    dict.fromkeys(("template", "path", "container", "database", "user", "run_as"), _text),
    "template",
    "path",
    "container",
)
_TEXTS_OF_WORKLOAD: Final = (
    "name",
    "service",
    "project",
    "group",
    "plan",
    "document",
    "repository",
)
_workload: Final = _record_of(
    WorkloadRecord,
    {
        **dict.fromkeys(_TEXTS_OF_WORKLOAD, _text),
        "aliases": _TEXTS,
        "containers": _TEXTS,
        "mounts": _list_of(_mount),
        "paths": _list_of(_path),
        "problems": _list_of(_problem),
        "is_gone": _flag,
        "dump": _dump,
    },
    "name",
    "service",
)


def _is_under(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")
