"""Finding the paths of one workload: container path → mount → host → runner.

Exclude patterns: container paths in them become the runner's, the rest stays as written.

Container path → host path → runner path: what a workload's plan backs up.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.docker.models import Mount
from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.labels.spec import LabelSpec
from sidecar.planner.host_path import (
    Locator,
    MountLocation,
    is_anonymous,
    is_under,
    move,
    normal_path,
)
from sidecar.planner.workload import Workload


class PathEntry(NamedTuple):
    """One path of a plan: as the container, the host and the runner see it."""

    container: str
    host: str
    runner: str


class Skipped(NamedTuple):
    """A mount that the plan leaves out, and why."""

    mount: Mount
    reason: str


class PathSearch:
    """What has been found so far for one workload, and how to find more.

    `entries` by the runner's path; `problems` name no workload yet.
    """

    __slots__ = (
        "entries",
        "locator",
        "places",
        "prefix",
        "problems",
        "skipped",
        "used",
        "workload",
    )

    def __init__(self, workload: Workload, locator: Locator, prefix: str) -> None:
        self.workload = workload
        self.locator = locator
        self.prefix = prefix
        self.entries: dict[str, PathEntry] = {}
        self.used: set[Mount] = set()
        self.skipped: list[Skipped] = []
        self.problems: list[Problem] = []
        self.places = [(normal_path(m.destination), locator.place(m)) for m in workload.mounts]
        if len(self.places) > 1:
            self.places.sort()

    def take_default(self) -> None:
        """Take every data mount."""
        for destination, place in self.places:
            self._take_data(destination, place)

    def _take_data(self, destination: str, place: MountLocation) -> None:
        reason = self.locator.why_not_data(place)
        if not reason:
            self._add(destination, place.host, place.mount)
            return
        self.skipped.append(Skipped(place.mount, reason))
        if place.mount.type == "volume" and not place.host:
            self._unsupported(destination, place, label="")

    def take_included(self, items: Iterable[str]) -> None:
        """Take what `paths.include` names."""
        label = f"{self.prefix}paths.include"
        for item in items:
            if item.startswith("host:"):
                self._take_host(item, label)
            elif item.startswith("volume:"):
                self._take_volume(item, label)
            else:
                for path, place in self.located(item, label):
                    self._take_named(path, place, label)
        for _, place in self.places:
            if place.mount not in self.used:
                self.skipped.append(Skipped(place.mount, f"{label} does not name it"))

    def _take_named(self, path: str, place: MountLocation, label: str) -> None:
        if place.host:
            destination = normal_path(place.mount.destination)
            self._add(path, move(path, destination, place.host), place.mount)
        else:
            self._unsupported(path, place, label)

    def _take_host(self, item: str, label: str) -> None:
        path = item.removeprefix("host:").strip()
        if not path.startswith("/"):
            self.tell(
                "path.unmapped",
                f"{item} is not an absolute path",
                "write host:/path as the runner sees it",
                label,
            )
            return
        path = normal_path(path)
        self.entries.setdefault(path, PathEntry(item, path, path))

    def _take_volume(self, item: str, label: str) -> None:
        name, _, rest = item.removeprefix("volume:").strip().partition("/")
        place = self._volume_place(name) if name else None
        if place is None:
            self.tell(
                "path.unmapped",
                f"{item}: no volume of that name is known",
                f"write one of {self._volume_names()}",
                label,
            )
        elif leaves_root(rest):
            self.tell("path.escape", f"{item} leaves its volume", "write it without ..", label)
        elif not place.host:
            self._unsupported(item, place, label)
        else:
            root = "/" + name
            path = normal_path(f"{root}/{rest}")
            self._add(item, move(path, root, place.host), place.mount)

    def _volume_place(self, name: str) -> MountLocation | None:
        """A volume by its name, or by the name that the Compose file gives it."""
        names = (name, f"{self.workload.project}_{name}")
        for wanted in names:
            for _, place in self.places:
                if place.mount.type == "volume" and place.mount.name == wanted:
                    return place
        return next(filter(None, map(self.locator.place_of_volume, names)), None)

    def _volume_names(self) -> str:
        names = sorted({p.mount.name for _, p in self.places if p.mount.type == "volume"})
        return ", ".join(f"volume:{name}" for name in names) or "a container path"

    def located(
        self, item: str, label: str, *, mounted: bool = False
    ) -> Iterator[tuple[str, MountLocation]]:
        """The places of a container path: its own mount's, and every data mount below it.

        With `mounted` a path that lies in no mount itself has no places at all.
        """
        path = normal_path(item) if item.startswith("/") and "\0" not in item else ""
        if not path:
            self.tell(
                "path.unmapped", f"{item} is no path in the container", "start it with /", label
            )
            return
        if ".." in item and _leaves_mount(item, [destination for destination, _ in self.places]):
            self.tell(
                "path.escape",
                f"{item} leaves its mount through ..",
                f"write {path} if that is meant" if path != "/" else "write it without ..",
                label,
            )
            return
        own = list(self._own_places(item, path, label))
        if mounted and not own:
            return
        yield from own
        for destination, place in self.places:
            below = destination != path and is_under(destination, path)
            if below and not self.locator.why_not_data(place):
                yield destination, place

    def _own_places(self, item: str, path: str, label: str) -> Iterator[tuple[str, MountLocation]]:
        roots = [destination for destination, _ in self.places if is_under(path, destination)]
        if not roots:
            self.tell(
                "path.unmapped",
                f"{item} lies in no mount of the container",
                f"mount it, or write one of {self._destinations()}",
                label,
            )
            return
        longest = max(roots, key=len)
        for destination, place in self.places:
            if destination == longest:
                yield path, place

    def _destinations(self) -> str:
        return ", ".join(sorted({destination for destination, _ in self.places})) or "host:/path"

    def _add(self, shown: str, host: str, mount: Mount) -> None:
        runner = self.locator.runner_path(host)
        if runner is None:
            self.tell(
                "path.invisible",
                f"the runner does not see {host} ({shown})",
                f"mount {host} into the runner's container, or pass --path-map {host}=PATH",
                "",
            )
            return
        if mount.type == "volume" and is_anonymous(mount.name):
            self._anonymous(shown)
        self.used.add(mount)
        self.entries.setdefault(runner, PathEntry(shown, host, runner))

    def _anonymous(self, path: str) -> None:
        self.tell(
            "volume.anonymous",
            f"{path} is an anonymous volume: its history ends when the container is recreated",
            "give the volume a name",
            "",
        )

    def _unsupported(self, path: str, place: MountLocation, label: str) -> None:
        if place.mount.type == "volume" and not place.mount.name:
            self._anonymous(path)
            return
        self.tell(
            "mount.unsupported",
            f"{path} cannot be backed up through its mount: {place.trouble}",
            "mount it in the runner and write host:/path in "
            f"{self.prefix}paths.include, where /path is what the runner sees",
            label,
            None if label else Severity.WARNING,
        )

    def tell(
        self, reason: str, message: str, hint: str, label: str, severity: Severity | None = None
    ) -> None:
        """Keep a problem, once."""
        found = problem_of(
            reason,
            message,
            hint,
            container=self.workload.names[0],
            label=label,
            severity=severity,
        )
        if found not in self.problems:
            self.problems.append(found)


def leaves_root(path: str) -> bool:
    """Return whether a relative path goes above where it starts, at any step."""
    depth = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _leaves_mount(path: str, destinations: Iterable[str]) -> bool:
    """Return whether walking `path` step by step goes out of a mount that it was in."""
    roots = tuple(destinations)
    walked = "/"
    for part in path.split("/"):
        before = walked
        walked = normal_path(f"{walked}/{part}")
        if part == ".." and walked != before:
            inside = [root for root in roots if is_under(before, root)]
            if inside and not is_under(walked, max(inside, key=len)):
                return True
    return False


_PARTS = re.compile(r"\\.?|[*?]|[^\\*?]+", re.DOTALL)
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}
_GLOB = frozenset("*?[\\")
_ESCAPE_GLOB = str.maketrans({character: f"\\{character}" for character in _GLOB})


def map_patterns(search: PathSearch, patterns: Iterable[str], label: str) -> tuple[str, ...]:
    """Map exclude patterns to the runner's paths, in label order.

    `label` names the label in problems, which the search keeps.
    """
    mapped: list[str] = []
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if bare.startswith("/"):
            negation = "!" if bare != pattern else ""
            mapped += [negation + found for found in _map_pattern(search, bare, label)]
        else:
            mapped.append(pattern)
    return tuple(mapped)


def left_out_by(path: str, patterns: Iterable[str]) -> str:
    """Return the pattern that leaves out all of a runner path, if one does.

    As restic reads them: a relative pattern speaks of names anywhere in the path, and
    the last pattern that matches counts. In doubt nothing is left out.
    """
    found = ""
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if _covers(bare, path):
            found = pattern if bare == pattern else ""
        elif bare != pattern and (not bare.startswith("/") or is_under(bare, path)):
            found = ""
    return found


def _covers(pattern: str, path: str) -> bool:
    """Whether a pattern without `!` matches a path, a folder above it, or all that it holds."""
    bare = pattern.removesuffix("/**").removesuffix("/*").strip("/")
    start = r"\A/" if pattern.startswith("/") else "/"
    wanted = _PARTS.sub(lambda part: _expression(part[0]), bare)
    return re.search(rf"{start}{wanted}(?:/|\Z)", path) is not None


def _expression(part: str) -> str:
    if part in _WILDCARDS:
        return _WILDCARDS[part]
    return re.escape(part.removeprefix("\\"))


def _map_pattern(search: PathSearch, pattern: str, label: str) -> Iterator[str]:
    literal, rest = _split_pattern(pattern)
    if leaves_root(rest):
        search.tell(
            "path.escape",
            f"{pattern} leads out of {literal} through ..",
            "write it without ..",
            label,
        )
        return
    # All are looked up first, so that every problem is told.
    for path, place in list(search.located(literal, label, mounted=True)):
        destination = normal_path(place.mount.destination)
        # A pattern with a wildcard speaks of its own mount only.
        if not place.host or (rest and path != normal_path(literal)):
            continue
        runner = search.locator.runner_path(move(path, destination, place.host))
        if runner is not None:
            yield runner.translate(_ESCAPE_GLOB).rstrip("/") + rest


def _split_pattern(pattern: str) -> tuple[str, str]:
    """Split a pattern into its longest literal directory prefix and the rest (`/*.tmp`)."""
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if _GLOB.intersection(part):
            return "/".join(parts[:index]) or "/", "/" + "/".join(parts[index:])
    return pattern, ""


__all__ = [
    "PathEntry",
    "PathResult",
    "Skipped",
    "covers",
    "resolve_paths",
]


class PathResult(NamedTuple):
    """What the path labels and mounts of one workload come to.

    `entries` are all found paths before nested ones are dropped; `iexcludes` is
    None where no label speaks.
    """

    entries: tuple[PathEntry, ...]
    excludes: tuple[str, ...]
    iexcludes: tuple[str, ...] | None
    skipped: tuple[Skipped, ...]
    problems: tuple[Problem, ...]


def resolve_paths(workload: Workload, spec: LabelSpec, locator: Locator, prefix: str) -> PathResult:
    """Resolve the mounts and path labels of one workload; problems carry no workload yet."""
    search = PathSearch(workload, locator, prefix)
    if spec.include is None:
        search.take_default()
    else:
        search.take_included(spec.include)
    excludes = map_patterns(search, spec.exclude, f"{prefix}paths.exclude")
    iexcludes = None
    if spec.iexclude is not None:
        iexcludes = map_patterns(search, spec.iexclude, f"{prefix}paths.iexclude")
    entries = tuple([search.entries[runner] for runner in sorted(search.entries)])
    return PathResult(entries, excludes, iexcludes, tuple(search.skipped), tuple(search.problems))


def covers(workload: Workload, locator: Locator, paths: Iterable[str], target: str) -> bool | None:
    """Return whether `paths` (the runner's) hold the container path `target`; None: in no mount."""
    search = PathSearch(workload, locator, "")
    located = [(path, place) for path, place in search.located(target, "") if place.host]
    if not located:
        return None
    hosts = (move(path, normal_path(p.mount.destination), p.host) for path, p in located)
    seen = [runner for host in hosts if (runner := locator.runner_path(host)) is not None]
    return any(is_under(runner, path) for runner in seen for path in paths)
