"""Restic as an engine, run exactly as Backrest runs it, so that the two can take turns."""

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo, RunPlan
from sidecar.engines.base import (
    BackupType,
    Capabilities,
    Change,
    ChangeKind,
    Command,
    CommandResult,
    EngineError,
    Entry,
    EntryAttributes,
    FailureClass,
    HeldLock,
    OnStart,
    PieceTaker,
    Report,
    ResultKind,
    Snapshot,
    as_result,
    check_regular,
    failed,
    refuse_root,
    refuse_type,
)
from sidecar.engines.line_buffer import complete_lines
from sidecar.engines.locking import is_left_over
from sidecar.engines.program import LineTaker
from sidecar.engines.restic import commands as argv
from sidecar.engines.restic.access import ResticAccess
from sidecar.engines.restic.features import SINCE, Feature, Features
from sidecar.engines.restic.interpret import Verb
from sidecar.engines.restic.listing import (
    parse_change,
    parse_entry,
    parse_snapshots,
    parse_stored,
)
from sidecar.engines.restic.locks import is_in_danger, parse_lock
from sidecar.engines.restic.messages import parse_message
from sidecar.engines.restic.options import ResticOptions
from sidecar.engines.restic.parent import ParentFinder
from sidecar.engines.restic.program import Program
from sidecar.engines.restic.trees import find_attributes
from sidecar.engines.retention import check_retention, keeps_by_time
from sidecar.engines.sources import find_sources
from sidecar.lib.process import ProcessRunner

_KINDS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR}
# Reading more of them would take longer than what they are in the way of.
_MOST_LOCKS = 64


class ResticEngine:
    """One repository behind restic; see `base.Engine`.

    It starts restic with `runner`; `on_start` is called with each child.
    """

    def __init__(
        self,
        repo: Repo,
        runner: ProcessRunner,
        options: ResticOptions,
        on_start: OnStart | None = None,
    ) -> None:
        self._program = Program(repo, runner, options, on_start)
        self._on_missing = options.on_missing
        self._locking = options.locking
        self._recent = options.recent
        self._parents = ParentFinder(self._program, options.recent)

    def features(self) -> Features:
        """Return what this restic can do. Raises EngineError if it cannot be started."""
        return self._program.features()

    def capabilities(self) -> Capabilities:
        """Return what this restic can do. Raises EngineError if it cannot be started."""
        return self.features().capabilities()

    def remark(self, retentions: Collection[Retention]) -> str:
        """Return what this restic keeps otherwise than these retentions say; empty: nothing."""
        features = self.features()
        if features.has(Feature.KEEPS_OLDEST) or not any(map(keeps_by_time, retentions)):
            return ""
        since = ".".join(map(str, SINCE[Feature.KEEPS_OLDEST][:2]))
        return (
            f"{features} does not keep the oldest snapshot while a rule of time has fewer than it "
            f"asks for, as restic does since {since}"
        )

    def capture(
        self,
        plan: RunPlan,
        instance: str,
        report: Report,
        parent: str = "",
        wanted: BackupType | None = None,
    ) -> CommandResult:
        """Make a snapshot of the plan's paths; success without a snapshot: nothing was new.

        `parent` is a snapshot that an earlier run of the plan has made, see `base.Engine`. A
        restic that does not know --skip-if-unchanged runs without it, and a note says so.
        """
        if reason := refuse_type((), wanted):
            return failed(FailureClass.UNKNOWN, reason)
        return as_result(lambda: self._backup(plan, instance, report, parent))

    def seal(self, plan: RunPlan, captured: CommandResult, report: Report) -> CommandResult:
        """Return what was captured: restic has made a snapshot of it."""
        del plan, report
        return captured

    def preview(self, plan: RunPlan, instance: str, report: Report) -> CommandResult:
        """Return what a backup of the plan would do, by restic's own dry run."""
        dry = replace(plan, backup_flags=(*plan.backup_flags, "--dry-run"))
        return self.capture(dry, instance, report)

    def forget(self, plan: RunPlan, instance: str, keep: Retention) -> CommandResult:
        """Delete the records of the plan's snapshots beyond `keep`; never all of them."""
        tags = argv.plan_tags(plan.id, instance)
        if not (plan.id and instance):
            # Without them the tags would mean other plans' snapshots.
            return failed(FailureClass.UNKNOWN, "the plan or the instance has no name")
        return self._forget(keep, lambda: argv.render_forget(self._access, keep, tags))

    def forget_all(self, keep: Retention) -> CommandResult:
        """Delete the records of snapshots beyond `keep`, for each plan separately."""
        return self._forget(keep, lambda: argv.render_forget_all(self._access, keep))

    def prune(self, policy: PrunePolicy) -> CommandResult:
        """Free the space that no snapshot uses."""
        return as_result(lambda: self._judge(argv.render_prune(self._access, policy)))

    def check(self, policy: CheckPolicy) -> CommandResult:
        """Check whether the repository is damaged."""
        return as_result(lambda: self._judge(argv.render_check(self._access, policy)))

    def unlock(self) -> CommandResult:
        """Remove locks that nobody holds any more.

        None is removed as long as a living process of this host holds one that restic would
        take for stale. One that a program of ours has left is removed though the host has
        another name now.
        """
        return as_result(self._unlock)

    def locks(self) -> tuple[HeldLock, ...]:
        """List the locks, oldest first, in bounded time. Raises EngineError."""
        return self._read_locks(self._list_locks())

    def initialise(self) -> str:
        """Create the repository if it does not exist; return its id (64 hex digits)."""
        try:
            return self.probe()
        except EngineError as error:
            if error.failure is not FailureClass.REPO_NOT_FOUND:
                raise
        seconds = self._program.limits.probe
        done = self._program.judge(argv.render_init(self._access), seconds=seconds)
        if done.kind is not ResultKind.SUCCESS and "already exists" not in done.reason:
            raise EngineError(done.failure or FailureClass.UNKNOWN, done.reason)
        return self.probe()

    def probe(self) -> str:
        """Read the repository's id; changes nothing, creates nothing, ends in bounded time."""
        command = argv.render_config(self._access)
        output = self._program.read(command, seconds=self._program.limits.probe)
        guid = (parse_message(output.strip()) or {}).get("id")
        if not isinstance(guid, str):
            raise EngineError(FailureClass.UNKNOWN, "the repository's id cannot be read")
        return guid

    def snapshots(self, plan: RunPlan | None, instance: str) -> tuple[Snapshot, ...]:
        """List the plan's snapshots without the forged ones, or all, oldest first."""
        if plan is None:
            return self._list(())
        listed = self._list(argv.plan_tags(plan.id, instance))
        return tuple(one for one in listed if not one.is_forged)

    def entries(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what a snapshot holds at and below an absolute path; `/`: all, however much."""
        lines = self._lines(argv.render_entries(self._access, snapshot.id, path))
        return (entry for line in lines if (entry := parse_entry(line)) is not None)

    def children(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what a snapshot holds at an absolute path, then what lies directly in it."""
        lines = self._lines(argv.render_paths(self._access, snapshot.id, [path]))
        return (entry for line in lines if (entry := parse_entry(line)) is not None)

    def changes(self, older: Snapshot, newer: Snapshot) -> Iterator[Change]:
        """Yield what differs between two snapshots, by their contents, in the listing's order."""
        lines = self._lines(argv.render_diff(self._access, older.id, newer.id))
        changes = (one for line in lines if (one := parse_change(line)) is not None)
        first = next(changes, None)
        if first is None:
            return iter(())
        both = (_OrderedEntries(self.entries(one, "/")) for one in (older, newer))
        return _with_entries(chain([first], changes), *both)

    def read_file(self, snapshot: Snapshot, path: str, take: PieceTaker) -> None:
        """Read the content of a regular file at an absolute path of a snapshot."""
        check_regular(path, next(self.children(snapshot, path), None))
        command = argv.render_dump(self._access, snapshot.id, path)
        self._program.copy(command, take)

    def stored_bytes(self, plan: RunPlan | None, instance: str) -> int | None:
        """Return how much the plan's snapshots take in the repository, or all."""
        command = argv.render_stats(self._access, _tags_of(plan, instance))
        return parse_stored(self._program.read(command))

    def render_own(self, words: Sequence[str]) -> Command:
        """Return the command that starts restic with these words of its own."""
        return argv.render_own(self._access, words)

    def render_mount(self, plan: RunPlan | None, instance: str, folder: str) -> Command:
        """Return the command that mounts the plan's snapshots, or all, until it is ended."""
        return argv.render_mount(self._access, folder, _tags_of(plan, instance))

    def attributes(self, snapshot: Snapshot, path: str) -> Iterator[EntryAttributes]:
        """Yield what has extended attributes at and below an absolute path of a snapshot.

        No listing of restic tells them: each folder's record is read by a restic of its own.
        """
        root = self._program.read(argv.render_snapshot(self._access, snapshot.id))
        return find_attributes(
            root, path, lambda tree: self._program.read(argv.render_tree(self._access, tree))
        )

    def holds_file(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot holds at least one regular file; ends at the first one."""
        command = argv.render_entries(self._access, snapshot.id, "/")
        listed = 0

        def take(line: bytes) -> None:
            nonlocal listed
            listed += 1
            entry = parse_entry(line)
            if entry is not None and entry.kind == "file":
                raise _FileFound

        try:
            self._program.read(command, on_line=take)
        except _FileFound:
            return True
        if not listed:
            # Restic before 0.17 succeeds at listing a snapshot that is not there.
            message = f"the repository has no snapshot {snapshot.short} any more"
            raise EngineError(FailureClass.UNKNOWN, message)
        return False

    def restore(
        self, snapshot: Snapshot, includes: Sequence[str], target: Path, report: Report
    ) -> CommandResult:
        """Restore absolute paths of the snapshot below `target`, which is not `/`.

        Without `includes` all paths of the snapshot. Existing files are overwritten, nothing is
        deleted. Paths stay in full below the target: `/data/x` is restored to `TARGET/data/x`.
        To have its contents in TARGET itself, restore into a new folder on the same file system
        and rename what is below it: `SNAPSHOT:/data/x`, which would do that at once, needs
        restic 0.16.
        """
        return as_result(
            lambda: self._restore(snapshot, includes or snapshot.paths, target, report)
        )

    @property
    def _access(self) -> ResticAccess:
        return self._program.access

    def _lines(self, command: Command) -> Iterator[bytes]:
        """Run a command, and yield the lines of its output once all of it is there."""

        def run(add: LineTaker) -> None:
            self._program.read(command, on_line=add)

        return complete_lines(run)

    def _list(self, tags: Sequence[str]) -> tuple[Snapshot, ...]:
        return parse_snapshots(self._program.read(argv.render_snapshots(self._access, tags)))

    def _backup(self, plan: RunPlan, instance: str, report: Report, known: str) -> CommandResult:
        if not instance:
            return failed(FailureClass.UNKNOWN, "the document names no instance")
        sources = find_sources(plan, self._on_missing)
        features = self.features()

        def save(parent: str) -> CommandResult:
            command = argv.render_backup(
                self._access, plan, sources.paths, instance, parent, features
            )
            self._recent.note_saved(self._program.repo, plan.id)
            return self._judge(command, Verb.BACKUP, plan=plan, report=report)

        done, earlier = self._parents.back_up(plan, instance, known, features, save)
        if argv.sets_tags(self._access, plan):
            # It may have forged a snapshot of another plan.
            self._recent.drop(self._program.repo)
        if argv.is_weakened(plan, features):
            note = f"{features} does not know --skip-if-unchanged: it was left out"
            done = replace(done, note=note)
        return replace(sources.warn(done), forged=earlier.forged, listed=earlier.listed)

    def _forget(self, keep: Retention, render: Callable[[], Command]) -> CommandResult:
        if keep.keep_all:
            return CommandResult(ResultKind.SUCCESS)

        def forget() -> CommandResult:
            check_retention(keep)
            return self._judge(render(), Verb.FORGET)

        return as_result(forget)

    def _restore(
        self, snapshot: Snapshot, includes: Sequence[str], target: Path, report: Report
    ) -> CommandResult:
        refuse_root(target)
        # Restic restores nothing with success if a path is not in the snapshot.
        absent = self._absent(snapshot, includes)
        if absent:
            message = f"the snapshot does not hold {', '.join(absent)}"
            return failed(FailureClass.SOURCE_MISSING, message)
        if not self.features().has(Feature.RESTORE_OVERWRITE):
            # A list for each of many files that go into an empty folder would take minutes.
            for path in (one for one in includes if _meets_something(one, target)):
                _remove_conflicts(self.entries(snapshot, path), target)
        is_sparse = self.features().has(Feature.SPARSE)
        command = argv.render_restore(
            self._access, snapshot.id, includes, str(target), is_sparse=is_sparse
        )
        done = self._judge(command, Verb.RESTORE, report=report)
        is_loud = self.features().has(Feature.ATTRIBUTE_ERRORS) and os.geteuid() == 0
        # Of an entry with several errors only the first is told.
        is_told = all(one.attribute for one in done.unrestored)
        return replace(done, tells_attributes=is_loud and is_told)

    def _absent(self, snapshot: Snapshot, includes: Sequence[str]) -> list[str]:
        wanted = [path for path in includes if path != "/"]
        held: set[str] = set()

        def take(line: bytes) -> None:
            if entry := parse_entry(line):
                held.add(entry.path)

        if wanted:
            command = argv.render_paths(self._access, snapshot.id, wanted)
            self._program.read(command, on_line=take)
        return [path for path in wanted if path not in held]

    def _judge(
        self,
        command: Command,
        verb: Verb = Verb.OTHER,
        *,
        plan: RunPlan | None = None,
        report: Report | None = None,
    ) -> CommandResult:
        """Run a command; if a lock is in the way, once more without the stale ones."""
        done = self._program.judge(command, verb, plan=plan, report=report)
        if done.kind is not ResultKind.RETRY:
            return done
        if self._unlock().kind is ResultKind.SUCCESS:
            done = self._program.judge(command, verb, plan=plan, report=report)
        return replace(done, kind=ResultKind.FAILED) if done.kind is ResultKind.RETRY else done

    def _unlock(self) -> CommandResult:
        host, holders = self._locking.host, self._locking.holders(self._program.repo.id)
        names = self._list_locks()
        if not names:
            return CommandResult(ResultKind.SUCCESS)
        locks = self._read_locks(names)
        held = next((lock for lock in locks if is_in_danger(lock, host, holders)), None)
        if held is not None:
            reason = f"the repository is locked by {held}, which still runs"
            return failed(FailureClass.LOCKED, reason)
        left = [lock for lock in locks if is_left_over(lock, host, holders)]
        is_all = self._remove(left) and len(left) == len(names)
        return self._program.judge(argv.render_unlock(self._access, is_all=is_all))

    def _remove(self, left: Sequence[HeldLock]) -> bool:
        """Remove these locks alone; return whether restic may do it, if only they are there.

        Restic has no command for single locks. While one of them is exclusive nobody else gets
        a lock; without one, a lock could be added before restic removes all.
        """
        folder = self._access.folder
        if folder is None:
            return any(lock.is_exclusive for lock in left)
        for lock in left:
            with contextlib.suppress(OSError):
                (folder / "locks" / lock.id).unlink()
        return False

    def _list_locks(self) -> list[str]:
        command = argv.render_list_locks(self._access)
        return self._program.read(command, seconds=self._program.limits.probe).decode().split()

    def _read_locks(self, names: Sequence[str]) -> tuple[HeldLock, ...]:
        """Return those of the locks that can be read, oldest first."""
        return tuple(sorted(self._each_lock(names), key=lambda lock: lock.time))

    def _each_lock(self, names: Sequence[str]) -> Iterator[HeldLock]:
        for name in names[:_MOST_LOCKS]:
            command = argv.render_lock(self._access, name)
            try:
                output = self._program.read(command, seconds=self._program.limits.probe)
            except EngineError as error:
                if error.failure is not FailureClass.UNKNOWN:
                    raise
                # It was removed meanwhile.
                continue
            if (found := parse_lock(name, output)) is not None:
                yield found


class _FileFound(Exception):
    """A file was listed: what follows is of no interest."""


@dataclass(frozen=True, slots=True)
class ResticEngines:
    """Makes engines that start restic with `runner`; see `base.Engines`."""

    runner: ProcessRunner
    options: ResticOptions

    def make(self, repo: Repo, on_start: OnStart | None = None) -> ResticEngine:
        """Return the engine of a repository."""
        return ResticEngine(repo, self.runner, self.options, on_start)


def _tags_of(plan: RunPlan | None, instance: str) -> tuple[str, ...]:
    return () if plan is None else argv.plan_tags(plan.id, instance)


def _with_entries(
    changes: Iterable[tuple[ChangeKind, str]], before: "_OrderedEntries", after: "_OrderedEntries"
) -> Iterator[Change]:
    """Yield changes with their entries: restic lists all three in the same order."""
    for kind, path in changes:
        old = None if kind is ChangeKind.ADDED else before.entry_at(path)
        new = None if kind is ChangeKind.REMOVED else after.entry_at(path)
        yield Change(kind, path, old, new)
        if old is not None and new is not None and old.kind != new.kind:
            # What was, or is, in such a folder restic passes over.
            yield from (
                Change(ChangeKind.REMOVED, one.path, before=one) for one in before.below(path)
            )
            yield from (Change(ChangeKind.ADDED, one.path, after=one) for one in after.below(path))


class _OrderedEntries:
    """Entries of a snapshot, of which those that are asked for come in their order."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries

    def entry_at(self, path: str) -> Entry | None:
        """Return the next entry with this path; None: there is none."""
        return next((one for one in self._entries if one.path == path), None)

    def below(self, path: str) -> Iterator[Entry]:
        """Yield the next entries that lie below a path."""
        for one in self._entries:
            if not one.path.startswith(f"{path}/"):
                self._entries = chain([one], self._entries)
                return
            yield one


def _meets_something(path: str, target: Path) -> bool:
    """Return whether something is where an absolute path is restored below `target`.

    That is the path itself, or what is no folder on the way to it.
    """
    place = os.fspath(target)
    for name in filter(None, path.split("/")):
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                return True
        except OSError:
            return False
        place = os.path.join(place, name)  # noqa: PTH118 - of any bytes
    return os.path.lexists(place)


def _remove_conflicts(entries: Iterable[Entry], target: Path) -> None:
    """Remove links and special files below `target` where an entry is restored.

    Restic before 0.17 replaces only files. A folder is never removed, nor a file by a file.
    What cannot be removed is left for restic to report.
    """
    for entry in entries:
        path = os.path.join(target, entry.path.lstrip("/"))  # noqa: PTH118 - of any bytes
        with contextlib.suppress(OSError):
            present = stat.S_IFMT(os.lstat(path).st_mode)
            if present not in (stat.S_IFDIR, _KINDS.get(entry.kind or "")):
                os.unlink(path)  # noqa: PTH108
