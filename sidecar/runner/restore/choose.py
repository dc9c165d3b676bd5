"""Which snapshot is restored, which of its paths, and where each belongs. Pure."""

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo

from sidecar.backrest.reading import RunPlan
from sidecar.docker.usage import is_within
from sidecar.engines.base import REPLACED, Engine, Entry, FailureClass, Snapshot
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner.latest import FileLook, find_latest

LATEST = "latest"
"""Stands for the newest snapshot that can be taken."""

# Of what looks like both, a day and digits of a hash, the day is meant.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ].*)?|(?:19|20)\d\d[01]\d[0-3]\d(?:[T ].*)?|\d{4}-?W.*", re.ASCII
)
_SNAPSHOT = re.compile(r"[0-9a-f]{4,64}|\S*\d{4}-\d\d-\d\d_\S+", re.ASCII)
_BY_ID = "by its id: `restore --snapshot ID`, `ls --at ID`"
_MOMENTS = "write yesterday, 2026-11-20, 2026-11-20T03:10, or the id of a snapshot"


class RestoreError(SidecarError):
    """Nothing was restored; what was there before is still there."""

    def __init__(
        self, message: str, hint: str = "", failure: FailureClass = FailureClass.UNKNOWN
    ) -> None:
        super().__init__(message, hint)
        self.failure = failure


class ReadOnlyPlaceError(RestoreError):
    """A place is mounted so that it can only be read."""


class LinkedPlaceError(RestoreError):
    """A symbolic link lies on the way to a place."""


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What somebody wants restored.

    Attributes:
        plan: whose snapshots are looked for.
        instance: the name of this Backrest, which its snapshots bear.
        snapshot: LATEST (see `sidecar.runner.latest`), or the id of any snapshot of the
            repository, or its beginning.
        at: the latest of the plan's snapshots that are not after it.
        paths: what of the snapshot; empty: all.
        target: the folder to restore to; empty: where the data lives, by `path_map`.
        path_map: pairs of a path of the snapshot and its place; see `parse_path_map`.
        inside: pairs of a path of the snapshot and where its data is in the container; if there
            are some, data lies below `target` as it lies there.
        in_place: whether what is there may be replaced.
        stop: whether containers may be stopped meanwhile.
        stop_for_files: whether they are stopped also where single files are replaced.
        force: whether a target may hold something already.
    """

    plan: RunPlan
    instance: str
    snapshot: str = LATEST
    at: datetime | None = None
    paths: tuple[str, ...] = ()
    target: str = ""
    path_map: tuple[tuple[str, str], ...] = ()
    inside: tuple[tuple[str, str], ...] = ()
    in_place: bool = False
    stop: bool = False
    stop_for_files: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class RestoreItem:
    """A path of a snapshot (`source`) and where it is restored to (`place`).

    `is_folder`: it is a folder in the snapshot, whose contents come to lie in the place.
    """

    source: str
    place: str
    is_folder: bool
    files: int = 0
    bytes: int = 0


def check_request(request: RestoreRequest) -> RestoreRequest:
    """Return the request with normal paths; raises UsageError for what contradicts itself."""
    if request.at is not None and request.snapshot != LATEST:
        raise UsageError("--snapshot and --at name a snapshot both", "leave one of them out")
    if request.target and request.in_place:
        raise UsageError("--target and --in-place contradict each other", "leave one of them out")
    if request.target and request.path_map:
        raise UsageError("with --target no --path-map has a meaning", "leave one of them out")
    target = _normal_path(request.target, "--target") if request.target else ""
    paths = tuple(_normal_path(one, "--path") for one in request.paths)
    for path in paths:
        if not _is_utf8(path):
            shown = path.encode(errors="surrogateescape").decode(errors="replace")
            raise UsageError(
                f"--path {shown} is no UTF-8: what is below such a name cannot be named to restic",
                _restore_above(path),
            )
    return replace(request, target=target, paths=paths)


@dataclass(frozen=True, slots=True)
class Choice:
    """The snapshot to restore; `passed_over` tells of newer ones that were not taken, and why."""

    snapshot: Snapshot
    passed_over: str = ""


def choose_snapshot(
    request: RestoreRequest,
    engine: Engine,
    look: FileLook,
    now: float,
) -> Choice:
    """Choose the latest of the plan's snapshots at `now`; by its id any of the repository's.

    `look` tells which of them hold a file.
    Raises RestoreError if there is none such.
    """
    if request.snapshot != LATEST:
        return Choice(_snapshot_by_id(request.snapshot, engine.snapshots(None, request.instance)))
    found = sorted(engine.snapshots(request.plan, request.instance), key=lambda one: one.time)
    if not found:
        raise RestoreError(
            f"there is no snapshot of {request.plan.id}",
            f"its next run makes one; that of another plan or another instance is taken {_BY_ID}",
        )
    candidates = [one for one in found if request.at is None or one.time <= request.at]
    if not candidates:
        oldest = found[0].time.astimezone(request.at.tzinfo if request.at else None)
        raise RestoreError(
            f"the oldest snapshot of {request.plan.id} is of {oldest:%Y-%m-%d %H:%M %Z}",
            "name that time or a later one",
        )
    chosen = find_latest(candidates, look, now)
    if chosen.snapshot is None:
        raise RestoreError(
            f"no snapshot of {request.plan.id} can be taken: {chosen.passed_over}",
            f"one of these is taken {_BY_ID}",
        )
    return Choice(chosen.snapshot, chosen.passed_over)


def _snapshot_by_id(name: str, snapshots: Iterable[Snapshot]) -> Snapshot:
    found = [one for one in snapshots if one.is_called(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RestoreError(f"{len(found)} snapshots are called {name}", "write more of the id")
    raise RestoreError(
        f"the repository has no snapshot {name}",
        "`backrest-runner snapshots PLAN` lists them: write the id as it stands there",
    )


def choose_sources(request: RestoreRequest, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the paths of the snapshot to restore, none within another, sorted."""
    wanted = set(request.paths or map(posixpath.normpath, snapshot.paths))
    return tuple(
        sorted(
            one
            for one in wanted
            if not any(other != one and is_within(one, other) for other in wanted)
        )
    )


def measure(source: str, entries: Iterable[Entry]) -> RestoreItem:
    """Return what a snapshot holds at and below a path, still without a place.

    The size of a hard link counts each time. Raises RestoreError if there is nothing.
    """
    files = size = count = 0
    kind: str | None = "dir"
    for entry in entries:
        count += 1
        files += entry.kind == "file"
        size += entry.size or 0
        if entry.path == source:
            kind = entry.kind
    if not count:
        hint = "`backrest-runner snapshots PLAN` shows their paths; --snapshot takes another"
        if REPLACED in source:
            hint = f"if bytes of its name are no UTF-8: {_restore_above(source)}"
        raise RestoreError(f"the snapshot does not hold {source}", hint)
    # Where no kind is told, what has something in it is a folder.
    is_folder = count > 1 if kind is None else kind == "dir"
    return RestoreItem(source, "", is_folder, files, size)


def place_items(items: Sequence[RestoreItem], request: RestoreRequest) -> tuple[RestoreItem, ...]:
    """Return the items with their places.

    Without a target an item goes to its own path, through the path map. In a target the
    contents of a single folder lie directly, a single file by its name; of several items each
    by its full path. If it is known where data lies in a container, each lies below the target as
    it does there. Raises RestoreError if two would meet.
    """
    if not request.target:
        found = tuple(replace(one, place=place_of(one.source, request.path_map)) for one in items)
        return _check_separate(found)
    if request.inside:
        return _check_separate(
            tuple(
                replace(one, place=_below(request.target, place_of(one.source, request.inside)))
                for one in items
            )
        )
    if len(items) == 1:
        only = items[0]
        name = "" if only.is_folder else posixpath.basename(only.source)
        return (replace(only, place=posixpath.normpath(posixpath.join(request.target, name))),)
    return tuple(
        replace(one, place=posixpath.join(request.target, one.source.lstrip("/"))) for one in items
    )


def _below(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path.lstrip("/")))


def _check_separate(items: tuple[RestoreItem, ...]) -> tuple[RestoreItem, ...]:
    """Return the items; raises RestoreError if one would be restored into another."""
    for one in items:
        if one.place == "/":
            raise RestoreError("/ cannot be replaced as it runs", "restore it to a --target")
        for other in items:
            if one is not other and is_within(one.place, other.place):
                reason = f"{one.source} and {other.source} would both be restored to {other.place}"
                raise RestoreError(reason, "correct --path-map")
    return items


def place_of(path: str, path_map: Iterable[tuple[str, str]]) -> str:
    """Return where the data of a path of a snapshot lives now: the longest prefix wins."""
    fitting = [(source, place) for source, place in path_map if is_within(path, source)]
    if not fitting:
        return path
    source, place = max(fitting, key=lambda pair: len(pair[0]))
    return posixpath.normpath(posixpath.join(place, posixpath.relpath(path, source)))


def parse_path_map(entries: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Parse `SNAPSHOT_PATH=PLACE` entries; raises UsageError."""
    found = []
    for entry in entries:
        source, equals, place = entry.partition("=")
        if not equals:
            raise UsageError(f"{entry!r} is no path map", "write --path-map SNAPSHOT_PATH=PLACE")
        found.append((_normal_path(source, "--path-map"), _normal_path(place, "--path-map")))
    return tuple(found)


def parse_point(text: str, zone: tzinfo, today: date) -> datetime | str:
    """Parse what tells which snapshot: a time, or else the name of one.

    `yesterday` and `today` are days of `zone`; for times see `parse_moment`. Raises UsageError.
    """
    plain = text.strip()
    days = {"today": today, "yesterday": today - timedelta(days=1)}
    if plain in days:
        return _end_of(days[plain], zone)
    if _MOMENT.fullmatch(plain):
        return parse_moment(plain, zone)
    if plain == LATEST or _SNAPSHOT.fullmatch(plain):
        return plain
    raise UsageError(f"{text!r} is neither a time nor a snapshot", _MOMENTS)


def parse_moment(text: str, zone: tzinfo) -> datetime:
    """Parse `2024-05-01`, `2024-05-01 13:00[:00]` or any ISO form; a day means its end.

    Without a zone of its own it is local time. Raises UsageError.
    """
    plain = text.strip()
    try:
        if plain[len("2024-05-01") :] == "" and "T" not in plain:
            return _end_of(date.fromisoformat(plain), zone)
        moment = datetime.fromisoformat(plain)
    except ValueError:
        raise UsageError(f"{text!r} is no time", _MOMENTS) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone, fold=1)


def _end_of(day: date, zone: tzinfo) -> datetime:
    # Of two hours with the same name the later one: `not after` includes both.
    return datetime.combine(day, time.max, zone).replace(fold=1)


def _is_utf8(path: str) -> bool:
    """Return whether a path, read as the file system's names are, is valid UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _restore_above(path: str) -> str:
    """Write what to do about a path with a name that is no UTF-8."""
    while not _is_utf8(path) or REPLACED in path:
        path = posixpath.dirname(path)
    return f"restore the folder above, which brings it back: --path {path}"


def _normal_path(path: str, flag: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"{flag} {path!r} is no absolute path", "write it from the root: /...")
    return posixpath.normpath(path).replace("//", "/", 1)
