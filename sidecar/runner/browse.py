"""Look into snapshots for a command: nothing is locked, created or changed by it."""

import fnmatch
import posixpath
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from sidecar.backrest.engine_name import EngineName, engine_of
from sidecar.backrest.names import Names
from sidecar.backrest.reading import RunPlan
from sidecar.backrest.workloads import WorkloadRecord
from sidecar.engines.access import resolve_address
from sidecar.engines.base import Command, Engine, Entry, Snapshot
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner.due import Job, backup_job
from sidecar.runner.identity import switch_user
from sidecar.runner.journal import Journal, JournalError
from sidecar.runner.latest import FileCounts, FileLook
from sidecar.runner.loader import load
from sidecar.runner.parts import make_engine
from sidecar.runner.restore.choose import LATEST, Choice, RestoreRequest, choose_snapshot, place_of
from sidecar.runner.restore.container_paths import find_saved_path, paths_inside
from sidecar.runner.settings import JOURNAL, RunnerSettings, environment_of
from sidecar.runner.union import Documents
from sidecar.runner.workload_names import read_workloads

Point = datetime | str
"""Which snapshot: the latest that is not after a time, or the one of a name; see `parse_point`."""


class _NoCounts:
    """Stands for a journal that is not there."""

    def files_in(self, job: Job, snapshot: str) -> int | None:
        """Know nothing."""
        del job, snapshot
        return None


@dataclass(frozen=True, slots=True)
class PlanBrowser:
    """Looks into the snapshots of one plan. Methods raise SidecarError.

    Attributes:
        plan: whose snapshots they are.
        workload: the workload of the plan, if it is known.
        instance: the name of this Backrest.
        engine: that of the plan's repository.
        counts: what is known of the numbers of files.
    """

    plan: RunPlan
    workload: WorkloadRecord | None
    instance: str
    engine: Engine
    counts: FileCounts

    def snapshots(self) -> tuple[Snapshot, ...]:
        """List the plan's snapshots, oldest first."""
        return self.engine.snapshots(self.plan, self.instance)

    def choose(self, point: Point = LATEST) -> Choice:
        """Choose a snapshot as a restore does; by its name also one of another plan."""
        request = RestoreRequest(self.plan, self.instance)
        if isinstance(point, datetime):
            request = replace(request, at=point)
        else:
            request = replace(request, snapshot=point)
        look = FileLook(self.engine, self.counts, backup_job(self.plan))
        return choose_snapshot(request, self.engine, look, time.time())

    def before(self, snapshot: Snapshot) -> Snapshot:
        """Return the plan's snapshot before another one; raises UsageError if that is the first."""
        earlier = [one for one in self.snapshots() if one.time < snapshot.time]
        if not earlier:
            message = f"{self.plan.id} has no snapshot before {snapshot.short}"
            hint = f"`backrest-runner snapshots {self.plan.id}` lists those that can be compared"
            raise UsageError(message, hint)
        return earlier[-1]

    def inside(self, snapshot: Snapshot) -> "InsidePaths":
        """Return the paths of the container in a snapshot."""
        held = replace(self.plan, paths=snapshot.paths)
        return InsidePaths(held, self.workload, paths_inside(held, self.workload))


@dataclass(frozen=True, slots=True)
class InsidePaths:
    """Paths of the container and of a snapshot; `held` is the plan with the snapshot's paths."""

    held: RunPlan
    workload: WorkloadRecord | None
    pairs: tuple[tuple[str, str], ...]

    def find(self, path: str) -> str:
        """Return where the snapshot has a path of the container, or itself. Raises UsageError."""
        return find_saved_path(path, self.held, self.workload)

    def roots(self) -> tuple[str, ...]:
        """Return the paths that were saved, none within another."""
        paths = sorted({posixpath.normpath(one) for one in self.held.paths})
        return tuple(one for one in paths if not any(_is_below(one, other) for other in paths))

    def shown(self, path: str) -> str:
        """Return where the data at a path of the snapshot is in the container."""
        return place_of(path, self.pairs)


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry that was found in a snapshot; `path` is where it is in the container."""

    snapshot: Snapshot
    entry: Entry
    path: str


def find_entries(
    browser: PlanBrowser,
    snapshots: Sequence[Snapshot],
    patterns: Sequence[str],
    *,
    ignores_case: bool = False,
) -> Iterator[FoundEntry]:
    """Yield the entries of snapshots whose names a pattern matches: `*`, `?` and `[...]`.

    A pattern with a slash is compared with the whole path in the container.
    """
    flags = re.IGNORECASE if ignores_case else 0
    known = [("/" in one, re.compile(fnmatch.translate(one), flags)) for one in patterns]
    for snapshot in snapshots:
        inside = browser.inside(snapshot)
        for entry in browser.engine.entries(snapshot, "/"):
            path = inside.shown(entry.path)
            name = posixpath.basename(path)
            if any(one.match(path if is_whole else name) for is_whole, one in known):
                yield FoundEntry(snapshot, entry, path)


def list_entries(
    browser: PlanBrowser, snapshot: Snapshot, paths: Sequence[str], *, is_deep: bool
) -> Iterator[Entry]:
    """Yield what a snapshot holds at absolute paths of its own, and in them.

    Unless `is_deep` that is what lies directly in them. Raises UsageError for one that it lacks.
    """
    look = browser.engine.entries if is_deep else browser.engine.children
    for path in paths:
        is_there = False
        for entry in look(snapshot, path):
            is_there = True
            yield entry
        if not is_there:
            shown = browser.inside(snapshot).shown(path)
            message = f"snapshot {snapshot.short} does not hold {shown}"
            raise UsageError(message, "`backrest-runner find NAME PATTERN` looks into all of them")


@contextmanager
def opened_plan(
    settings: RunnerSettings, environ: Mapping[str, str], name: str, repo: str = ""
) -> Iterator[PlanBrowser]:
    """Open the snapshots of the plan that a name means, for the block.

    With a repository also those of a plan that no document has. Raises SidecarError.
    """
    opened = _open(settings, environ)
    plan, workload = opened.find_plan(name, repo)
    instance = opened.documents.config.instance
    if not instance:
        raise UsageError("the document names no instance", "snapshots are found by its name")
    with ExitStack() as stack:
        counts: FileCounts = _NoCounts()
        path = settings.state_directory / JOURNAL
        with suppress(JournalError):
            if path.exists():
                counts = stack.enter_context(Journal(path, only_reads=True)).runs
        yield PlanBrowser(plan, workload, instance, opened.engine(plan.repo), counts)


@dataclass(frozen=True, slots=True)
class SnapshotUse:
    """What a plan, or a whole repository, has of snapshots.

    Attributes:
        name: what people call it.
        repo: the repository.
        is_plan: whether it is a plan, and no repository.
        snapshots: oldest first.
        stored: what they take in the repository, in bytes; None: not known, or not asked for.
        reason: why nothing of it is known; empty: it is.
    """

    name: str
    repo: str
    is_plan: bool
    snapshots: tuple[Snapshot, ...] = ()
    stored: int | None = None
    reason: str = ""


def count_snapshots(
    settings: RunnerSettings, environ: Mapping[str, str], names: Sequence[str], *, has_size: bool
) -> Iterator[SnapshotUse]:
    """Yield what each named plan or repository has, of all plans if none is named.

    One that cannot be read does not keep the others from it. Raises SidecarError.
    """
    opened = _open(settings, environ)
    # All are looked up before the first is shown.
    wanted = [
        (opened.names.shown.get(plan.id, plan.id) if plan else repo, plan, repo)
        for name in dict.fromkeys(names or opened.names.shown)
        for plan, repo in [opened.find_either(name)]
    ]
    for name, plan, repo in wanted:
        try:
            engine = opened.engine(repo)
            snapshots = engine.snapshots(plan, opened.documents.config.instance)
            stored = None
            if has_size:
                stored = engine.stored_bytes(plan, opened.documents.config.instance)
        except SidecarError as error:
            yield SnapshotUse(name, repo, plan is not None, reason=error.message)
        else:
            yield SnapshotUse(name, repo, plan is not None, snapshots, stored)


@dataclass(frozen=True, slots=True)
class OwnCommand:
    """A command line of an engine's program, and the environment to run it in."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]


def own_command(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    engine: EngineName,
    repo: str,
    words: Sequence[str],
) -> OwnCommand:
    """Return what runs an engine's program on a repository with words of somebody's own.

    Raises SidecarError, also where the repository is another engine's.
    """
    opened = _open(settings, environ)
    found = opened.documents.find_repo(repo)
    name = engine_of(resolve_address(found, opened.environ))
    if name is not engine:
        message = f"the repository {repo} is one of {name.value}, not of {engine.value}"
        raise UsageError(message, f"write `backrest-runner {name.value} {repo} -- ...`")
    return opened.prepare(opened.engine(repo).render_own(words))


def mount_command(
    settings: RunnerSettings, environ: Mapping[str, str], name: str, folder: str
) -> OwnCommand:
    """Return what mounts the snapshots of a plan, or of a whole repository. Raises SidecarError."""
    opened = _open(settings, environ)
    plan, repo = opened.find_either(name)
    instance = opened.documents.config.instance
    return opened.prepare(opened.engine(repo).render_mount(plan, instance, folder))


@dataclass(frozen=True, slots=True)
class _Opened:
    """Documents that were read, the names of what is in them, and the environment of programs."""

    settings: RunnerSettings
    environ: Mapping[str, str]
    documents: Documents
    names: Names

    def engine(self, repo: str) -> Engine:
        """Return the engine of a repository."""
        return make_engine(self.settings, self.environ, self.documents, repo)

    def find_plan(self, name: str, repo: str = "") -> tuple[RunPlan, WorkloadRecord | None]:
        """Return the plan that a name means, and its workload if that is known."""
        try:
            found = self.names.find(name)
        except UsageError:
            if not repo:
                raise
            return RunPlan(name, repo), None
        plan = self.documents.config.plan(found.plan) or RunPlan(found.plan, repo)
        return replace(plan, repo=repo or plan.repo), found.workload

    def find_either(self, name: str) -> tuple[RunPlan | None, str]:
        """Return the plan that a name means, and its repository; None: it means a repository."""
        if self.documents.config.repo(name) is not None:
            return None, name
        plan, _ = self.find_plan(name)
        return plan, plan.repo

    def prepare(self, command: Command) -> OwnCommand:
        """Return a command with the whole environment that it is run in."""
        return OwnCommand(command.argv, {**environment_of(self.environ), **command.env})


def _open(settings: RunnerSettings, environ: Mapping[str, str]) -> _Opened:
    documents = load(settings.files, environ)
    environ = switch_user(settings, environ)
    names = Names(
        read_workloads(settings.workloads_file), [plan.id for plan in documents.config.plans]
    )
    return _Opened(settings, environ, documents, names)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip('/')}/") and path != folder
