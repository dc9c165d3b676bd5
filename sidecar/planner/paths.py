"""Container path → host path → runner path: what a workload's plan backs up and leaves out."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.docker.models import Mount
from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.labels.spec import LabelSpec
from sidecar.planner.excludes import escape_path, split_pattern
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


class PathResult(NamedTuple):
    """What the path labels and mounts of one workload result in.

    `entries` are all found paths before nested ones are dropped; `iexcludes` is
    None without the label.
    """

    entries: tuple[PathEntry, ...]
    excludes: tuple[str, ...]
    iexcludes: tuple[str, ...] | None
    skipped: tuple[Skipped, ...]
    problems: tuple[Problem, ...]


def resolve_paths(workload: Workload, spec: LabelSpec, locator: Locator, prefix: str) -> PathResult:
    """Resolve the mounts and path labels of one workload; problems carry no workload yet."""
    search = _PathSearch(workload, locator, prefix)
    if spec.include is None:
        search.take_default()
    else:
        search.take_included(spec.include)
    excludes = search.map_excludes(spec.exclude, f"{prefix}paths.exclude")
    iexcludes = None
    if spec.iexclude is not None:
        iexcludes = search.map_excludes(spec.iexclude, f"{prefix}paths.iexclude")
    entries = tuple([search.entries[runner] for runner in sorted(search.entries)])
    return PathResult(entries, excludes, iexcludes, tuple(search.skipped), tuple(search.problems))


def covers(workload: Workload, locator: Locator, paths: Iterable[str], target: str) -> bool | None:
    """Return whether `paths` (the runner's) hold the container path `target`; None: in no mount."""
    search = _PathSearch(workload, locator, "")
    located = [(path, location) for path, location in search.locate(target, "") if location.host]
    if not located:
        return None
    hosts = (move(path, normal_path(p.mount.destination), p.host) for path, p in located)
    seen = [runner for host in hosts if (runner := locator.runner_path(host)) is not None]
    return any(is_under(runner, path) for runner in seen for path in paths)


class _PathSearch:
    """Finds the paths of one workload, and keeps what it found.

    `entries` by the runner's path; `problems` name no workload yet.
    """

    __slots__ = (
        "_locations",
        "_locator",
        "_prefix",
        "_used",
        "_workload",
        "entries",
        "problems",
        "skipped",
    )

    def __init__(self, workload: Workload, locator: Locator, prefix: str) -> None:
        self._workload = workload
        self._locator = locator
        self._prefix = prefix
        self.entries: dict[str, PathEntry] = {}
        self._used: set[Mount] = set()
        self.skipped: list[Skipped] = []
        self.problems: list[Problem] = []
        self._locations = [(normal_path(m.destination), locator.locate(m)) for m in workload.mounts]
        if len(self._locations) > 1:
            self._locations.sort()

    def take_default(self) -> None:
        """Take every data mount."""
        for destination, location in self._locations:
            self._take_data(destination, location)

    def _take_data(self, destination: str, location: MountLocation) -> None:
        reason = self._locator.why_not_data(location)
        if not reason:
            self._add(destination, location.host, location.mount)
            return
        self.skipped.append(Skipped(location.mount, reason))
        is_elsewhere = location.mount.type == "volume" or bool(location.mount.source)
        if is_elsewhere and not location.host:
            self._unsupported(destination, location, label="")
        elif location.host and self._locator.holds_data_root(location):
            self._report(
                "mount.unsupported",
                f"{destination} is left out: {reason}, all volumes among it",
                f"name what you mean below it in {self._prefix}paths.include",
                "",
                Severity.WARNING,
            )

    def take_included(self, items: Iterable[str]) -> None:
        """Take what `paths.include` names."""
        label = f"{self._prefix}paths.include"
        for item in items:
            if item.startswith("host:"):
                self._take_host(item, label)
            elif item.startswith("volume:"):
                self._take_volume(item, label)
            else:
                for path, location in self.locate(item, label):
                    self._take_named(path, location, label)
        for _, location in self._locations:
            if location.mount not in self._used:
                self.skipped.append(Skipped(location.mount, f"{label} does not name it"))

    def _take_named(self, path: str, location: MountLocation, label: str) -> None:
        if location.host:
            destination = normal_path(location.mount.destination)
            self._add(path, move(path, destination, location.host), location.mount)
        else:
            self._unsupported(path, location, label)

    def _take_host(self, item: str, label: str) -> None:
        path = item.removeprefix("host:").strip()
        if not path.startswith("/"):
            self._report(
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
        location = self._find_volume(name) if name else None
        if location is None:
            self._report(
                "path.unmapped",
                f"{item}: no volume of that name is known",
                f"write one of {self._volume_names()}",
                label,
            )
        elif _leaves_root(rest):
            self._report("path.escape", f"{item} leaves its volume", "write it without ..", label)
        elif not location.host:
            self._unsupported(item, location, label)
        else:
            root = "/" + name
            path = normal_path(f"{root}/{rest}")
            # The item names the volume, whatever part of it is mounted.
            whole = self._locator.locate(location.mount._replace(subpath=""))
            self._add(item, move(path, root, whole.host), location.mount)

    def _find_volume(self, name: str) -> MountLocation | None:
        """Find a volume by its name, or by the name that the Compose file gives it."""
        names = (name, f"{self._workload.project}_{name}")
        for wanted in names:
            for _, location in self._locations:
                if location.mount.type == "volume" and location.mount.name == wanted:
                    return location
        return next(filter(None, map(self._locator.locate_volume, names)), None)

    def _volume_names(self) -> str:
        names = sorted({p.mount.name for _, p in self._locations if p.mount.type == "volume"})
        return ", ".join(f"volume:{name}" for name in names) or "a container path"

    def map_excludes(self, patterns: Iterable[str], label: str) -> tuple[str, ...]:
        """Return exclude patterns in label order, container paths in them as the runner sees them.

        A relative pattern (`*.tmp`) stays as written. `label` names the label in problems.
        """
        mapped: list[str] = []
        for pattern in patterns:
            bare = pattern.removeprefix("!")
            if bare.startswith("/"):
                negation = "!" if bare != pattern else ""
                mapped += [negation + found for found in self._map_exclude(bare, label)]
            else:
                mapped.append(pattern)
        return tuple(mapped)

    def _map_exclude(self, pattern: str, label: str) -> Iterator[str]:
        literal, rest = split_pattern(pattern)
        if _leaves_root(rest):
            self._report(
                "path.escape",
                f"{pattern} leads out of {literal} through ..",
                "write it without ..",
                label,
            )
            return
        # All are located first, so that every problem is reported.
        for path, location in list(self.locate(literal, label, mounted=True)):
            destination = normal_path(location.mount.destination)
            # A pattern with a wildcard is about its own mount only.
            if not location.host or (rest and path != normal_path(literal)):
                continue
            runner = self._locator.runner_path(move(path, destination, location.host))
            if runner is not None:
                yield escape_path(runner).rstrip("/") + rest

    def locate(
        self, item: str, label: str, *, mounted: bool = False
    ) -> Iterator[tuple[str, MountLocation]]:
        """Yield the locations of a container path: its own mount's, and of each data mount below.

        Each with the container path that lies there. With `mounted` a path that lies in no
        mount itself has no location at all.
        """
        path = normal_path(item) if item.startswith("/") and "\0" not in item else ""
        if not path:
            self._report(
                "path.unmapped", f"{item} is no path in the container", "start it with /", label
            )
            return
        if ".." in item and _leaves_mount(
            item, [destination for destination, _ in self._locations]
        ):
            self._report(
                "path.escape",
                f"{item} leaves its mount through ..",
                f"write {path} if that is meant" if path != "/" else "write it without ..",
                label,
            )
            return
        below = [
            (destination, location)
            for destination, location in self._locations
            if destination != path and is_under(destination, path)
            if not self._locator.why_not_data(location)
        ]
        if not mounted and len(below) > 1 and not self._roots_of(path):
            # A folder of several mounts: whoever names it means them.
            yield from below
            return
        own = list(self._own_locations(item, path, label))
        if mounted and not own:
            return
        yield from own
        yield from below

    def _roots_of(self, path: str) -> list[str]:
        return [destination for destination, _ in self._locations if is_under(path, destination)]

    def _own_locations(
        self, item: str, path: str, label: str
    ) -> Iterator[tuple[str, MountLocation]]:
        roots = self._roots_of(path)
        if not roots:
            self._report(
                "path.unmapped",
                f"{item} lies in no mount of the container",
                f"mount it, or write one of {self._destinations()}",
                label,
            )
            return
        longest = max(roots, key=len)
        for destination, location in self._locations:
            if destination == longest:
                yield path, location

    def _destinations(self) -> str:
        return (
            ", ".join(sorted({destination for destination, _ in self._locations})) or "host:/path"
        )

    def _add(self, shown: str, host: str, mount: Mount) -> None:
        runner = self._locator.runner_path(host)
        if runner is None:
            self._report(
                "path.invisible",
                f"the runner does not see {host} ({shown})",
                f"mount {host} into the runner's container, or pass --path-map {host}=PATH",
                "",
            )
            return
        if mount.type == "volume" and is_anonymous(mount.name):
            self._anonymous(shown)
        self._used.add(mount)
        self.entries.setdefault(runner, PathEntry(shown, host, runner))

    def _anonymous(self, path: str) -> None:
        self._report(
            "volume.anonymous",
            f"{path} is an anonymous volume: its history ends when the container is recreated",
            "give the volume a name",
            "",
        )

    def _unsupported(self, path: str, location: MountLocation, label: str) -> None:
        if location.mount.type == "volume" and not location.mount.name:
            self._anonymous(path)
            return
        self._report(
            "mount.unsupported",
            f"{path} cannot be backed up through its mount: {location.trouble}",
            "mount it in the runner and write host:/path in "
            f"{self._prefix}paths.include, where /path is what the runner sees",
            label,
            None if label else Severity.WARNING,
        )

    def _report(
        self, reason: str, message: str, hint: str, label: str, severity: Severity | None = None
    ) -> None:
        """Keep a problem; an equal one is kept once."""
        found = problem_of(
            reason,
            message,
            hint,
            container=self._workload.names[0],
            label=label,
            severity=severity,
        )
        if found not in self.problems:
            self.problems.append(found)


def _leaves_root(path: str) -> bool:
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
