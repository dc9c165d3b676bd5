"""Finding the paths of one workload: container path → mount → host → runner."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.planner.host_path import Locator, Place, is_anonymous, is_under, move, normal_path
from sidecar.planner.workload import Mount, Workload


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

    def _take_data(self, destination: str, place: Place) -> None:
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

    def _take_named(self, path: str, place: Place, label: str) -> None:
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

    def _volume_place(self, name: str) -> Place | None:
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
    ) -> Iterator[tuple[str, Place]]:
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

    def _own_places(self, item: str, path: str, label: str) -> Iterator[tuple[str, Place]]:
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

    def _unsupported(self, path: str, place: Place, label: str) -> None:
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
    """Whether a relative path goes above where it starts, at any step."""
    depth = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _leaves_mount(path: str, destinations: Iterable[str]) -> bool:
    """Whether walking `path` step by step goes out of a mount that it was in."""
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
