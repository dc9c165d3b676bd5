"""rsync as an engine: each snapshot is a folder, in which unchanged files are hard links."""

import os
import posixpath
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo, RunPlan
from sidecar.engines.access import resolve_access
from sidecar.engines.base import (
    BackupType,
    Capabilities,
    Change,
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
    failed,
    refuse_root,
    refuse_type,
)
from sidecar.engines.comparison import compare
from sidecar.engines.excludes.read import read_excludes
from sidecar.engines.marker import MARKER
from sidecar.engines.masking import masking_of
from sidecar.engines.retention import check_retention
from sidecar.engines.rsync import commands as argv
from sidecar.engines.rsync.catalogue import Contents, Held
from sidecar.engines.rsync.commands import CopyJob, Keeping
from sidecar.engines.rsync.excluded import exclude_file
from sidecar.engines.rsync.interpret import CopyKind, interpret, interpret_remote
from sidecar.engines.rsync.layout import PlanPlace, split_id
from sidecar.engines.rsync.locks import PlanLocks
from sidecar.engines.rsync.options import RsyncOptions, read_settings
from sidecar.engines.rsync.output import CopyOutput, Counts, parse_counts
from sidecar.engines.rsync.program import RsyncProgram
from sidecar.engines.rsync.record import Record, plan_tags
from sidecar.engines.rsync.repository import Repository
from sidecar.engines.rsync.storage import LocalStorage, SshStorage, Storage, as_engine_errors
from sidecar.engines.rsync.tree import SnapshotTree, adopted_root
from sidecar.engines.sources import Sources, find_sources
from sidecar.lib.process import Completed, ProcessRunner

_NO_LINKS = "the repository lies where there are no hard links: each snapshot would be a full copy"
_NO_LINKS_HINT = "use another file system, or add --full-copies to the repository's flags"
_FAKED = "we are not root where the repository is: owners and modes are kept in attributes"
_MOST_NAMED = 3
_SECOND = 1.0
_MOST_TOLD = 20
# In a dry run some rsyncs look for attributes in folders that were not made.
_COMPARED = Keeping(acls=False, xattrs=False)
_NOT_THERE = ".preview"


class RsyncEngine:
    """One repository behind rsync; see `base.Engine`.

    It starts rsync and ssh with `runner`; `on_start` is called with each child. Raises EngineError
    for an address or flags that mean nothing.
    """

    def __init__(
        self,
        repo: Repo,
        runner: ProcessRunner,
        options: RsyncOptions,
        on_start: OnStart | None = None,
    ) -> None:
        access = resolve_access(repo, options.environ)
        self._repo = repo
        self._options = options
        self._settings = read_settings(repo, access, options.rsync)
        self._mask = masking_of(repo, access).mask
        self._program = RsyncProgram(runner, on_start, options.limits)
        self._unnamed: _Unnamed | None = None

    def capabilities(self) -> Capabilities:
        """Return what it can do in this repository, as far as that can be tried."""
        keeping = Keeping()
        with suppress(EngineError):
            keeping = self._storage.keeps(self._repository.root)
        can = capabilities_of(keeping)
        access = self._settings.access
        if access.address.host or not access.is_root:
            # Of what lies elsewhere, or whose owners are in attributes, rsync tells the seconds.
            can = replace(can, time_resolution=max(_SECOND, can.time_resolution))
        return can

    def remark(self, retentions: Collection[Retention]) -> str:
        """Return what of files is not kept in this repository as it is; empty: all is."""
        del retentions
        root = self._repository.root
        return self._note_of(self._kept(root, f"{root}/{MARKER}"))

    def capture(
        self,
        plan: RunPlan,
        instance: str,
        report: Report,
        parent: str = "",
        wanted: BackupType | None = None,
    ) -> CommandResult:
        """Make a snapshot of the plan's paths.

        Its folder tells which is the newest before it, whatever `parent` is.
        """
        del parent
        if reason := refuse_type((), wanted):
            return failed(FailureClass.UNKNOWN, reason)
        return as_result(lambda: self._backup(plan, instance, report))

    def seal(self, plan: RunPlan, captured: CommandResult, report: Report) -> CommandResult:
        """Have what was captured written to the disk, and name it: from then on it counts.

        On another machine it counts as soon as all of it is copied.
        """
        del plan, report
        copied = self._unnamed
        if captured.is_sealed or copied is None:
            return captured
        self._unnamed = None
        return as_result(lambda: self._seal(copied, captured))

    def preview(self, plan: RunPlan, instance: str, report: Report) -> CommandResult:
        """Return what a backup of the plan would do; changes nothing, creates nothing."""
        return as_result(lambda: self._preview(plan, instance, report))

    def forget(self, plan: RunPlan, instance: str, keep: Retention) -> CommandResult:
        """Delete the plan's snapshots beyond `keep`; never all of them."""
        if not (plan.id and instance):
            return failed(FailureClass.UNKNOWN, "the plan or the instance has no name")
        if keep.keep_all:
            return CommandResult(ResultKind.SUCCESS)
        return as_result(lambda: self._forget(plan, instance, keep))

    def forget_all(self, keep: Retention) -> CommandResult:
        """Delete snapshots beyond `keep`, for each plan separately."""
        if keep.keep_all:
            return CommandResult(ResultKind.SUCCESS)
        return as_result(lambda: self._forget_all(keep))

    def prune(self, policy: PrunePolicy) -> CommandResult:
        """Delete what interrupted runs have left: whatever is forgotten is deleted at once."""
        del policy
        return as_result(self._prune)

    def check(self, policy: CheckPolicy) -> CommandResult:
        """Check that each snapshot is whole, and compare the newest ones with the live files."""
        return as_result(lambda: self._check(policy))

    def unlock(self) -> CommandResult:
        """Remove locks that nobody holds any more."""
        return as_result(self._unlock)

    def locks(self) -> tuple[HeldLock, ...]:
        """List the locks, oldest first. Raises EngineError."""
        return tuple(
            replace(one.held, plan=one.plan, is_exclusive=not one.plan)
            for one in self._locks.listed()
        )

    def initialise(self) -> str:
        """Create the repository if it does not exist; return its id (64 hex digits)."""
        try:
            return self.probe()
        except EngineError as error:
            if error.failure is not FailureClass.REPO_NOT_FOUND:
                raise
        return self._repository.create()

    def probe(self) -> str:
        """Read the repository's id; changes nothing, creates nothing."""
        return self._repository.read_id()

    def snapshots(self, plan: RunPlan | None, instance: str) -> tuple[Snapshot, ...]:
        """List the plan's snapshots, or all, oldest first.

        In a flat tree those that another tool has made are the plan's too. None at all is an
        answer only where the repository is there.
        """
        if plan is not None:
            contents = self._repository.contents(self._repository.place(plan.id))
            found = [one for one in _snapshots_of(contents, plan, instance) if not one.is_forged]
        else:
            found = [
                one.snapshot
                for place in self._repository.places()
                for one in self._repository.contents(place).held
            ]
            found.sort(key=lambda one: one.time)
        if not found:
            self._require()
        return tuple(found)

    def entries(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what a snapshot holds at and below an absolute path; `/`: all."""
        return self._tree(snapshot).entries(path)

    def children(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what a snapshot holds at an absolute path, then what lies directly in it."""
        return self._tree(snapshot).entries(path, is_deep=False)

    def changes(self, older: Snapshot, newer: Snapshot) -> Iterator[Change]:
        """Yield what differs between two snapshots, by kinds, sizes and times."""
        both = [self._tree(one) for one in (older, newer)]
        resolution = max(one.time_resolution for one in both)
        before, after = (one.entries("/") for one in both)
        return compare(before, after, resolution)

    def read_file(self, snapshot: Snapshot, path: str, take: PieceTaker) -> None:
        """Read the content of a regular file at an absolute path of a snapshot."""
        self._tree(snapshot).read(path, take)

    def stored_bytes(self, plan: RunPlan | None, instance: str) -> int | None:
        """Return what the plan's snapshots take on the disk, or all; None: it is another machine's.

        A plan's folder is the plan's alone.
        """
        del instance
        if self._settings.access.address.host:
            return None
        places = self._repository.places() if plan is None else [self._repository.place(plan.id)]
        wanted = [self._repository.at(folder) for place in places for folder in place.folders]
        there = [folder for folder in wanted if self._storage.exists(folder)]
        if not there:
            self._require()
            return 0
        done = self._program.run(argv.render_usage(self._settings.access, there))
        if done.status:
            raise interpret_remote(done, "the size of the repository could not be counted")
        return int(done.out.splitlines()[-1].split()[0])

    def render_own(self, words: Sequence[str]) -> Command:
        """Return the command that starts rsync with these words of its own."""
        return argv.render_own(self._settings.access, self._repository.root, words)

    def render_mount(self, plan: RunPlan | None, instance: str, folder: str) -> Command:
        """Raise EngineError: each snapshot is a folder already."""
        del plan, instance, folder
        message = "rsync's snapshots are not mounted: each is a folder already"
        raise EngineError(FailureClass.UNKNOWN, message, "look into the repository itself")

    def holds_file(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot holds at least one regular file; ends at the first one."""
        return any(one.kind == "file" for one in self.entries(snapshot, "/"))

    def attributes(self, snapshot: Snapshot, path: str) -> Iterator[EntryAttributes]:
        """Yield what has extended attributes at and below an absolute path of a snapshot.

        Those of a repository that is reached over ssh cannot be read without restoring.
        """
        return self._tree(snapshot).attributes(path)

    def restore(
        self, snapshot: Snapshot, includes: Sequence[str], target: Path, report: Report
    ) -> CommandResult:
        """Restore absolute paths of the snapshot below `target`, which is not `/`.

        Without `includes` all of its paths. Existing files are overwritten, nothing is deleted.
        """
        wanted = includes or snapshot.paths
        return as_result(lambda: self._restore(snapshot, wanted, target, report))

    @cached_property
    def _storage(self) -> Storage:
        kind = SshStorage if self._settings.access.address.host else LocalStorage
        return kind(self._settings.access, self._program)

    @cached_property
    def _repository(self) -> Repository:
        root = self._settings.access.address.folder
        return Repository(self._storage, root, self._options.zone, is_flat=self._settings.is_flat)

    @cached_property
    def _locks(self) -> PlanLocks:
        return PlanLocks(self._storage, self._repository.root, self._options.locking, self._repo.id)

    def _backup(self, plan: RunPlan, instance: str, report: Report) -> CommandResult:
        sources = self._sources(plan, instance)
        self._require()
        place = self._repository.place(plan.id)
        self._refuse_own(place, sources.paths)

        def make_room() -> None:
            self._repository.clean(self._repository.contents(place))

        with self._locks.holding(place.plan, make_room=make_room):
            contents = self._contents(place, plan, instance)
            self._repository.clean(contents)
            owned = _owned(contents, plan, instance)
            now = datetime.fromtimestamp(self._options.now(), self._options.zone)
            name = self._repository.begin(contents, now)
            try:
                keeping = self._keeping(place, name)
                copied = self._copy(plan, sources.paths, place, name, owned, keeping, report)
                if (counts := copied.counts) is not None:
                    record = Record(
                        name,
                        now,
                        sources.paths,
                        plan_tags(plan.id, instance),
                        counts.files,
                        counts.bytes,
                        copied.root,
                        keeping.faked,
                    )
                    unnamed = _Unnamed(place, record, has_links=keeping.symlinks)
                    if self._storage.is_flushed:
                        self._unnamed = unnamed
                    else:
                        self._name(unnamed)
            except EngineError:
                self._give_up(place, name)
                raise
            if copied.counts is None:
                self._give_up(place, name)
                return copied.result
        made = replace(
            copied.result,
            snapshot="" if self._unnamed else place.id_of(name),
            is_sealed=self._unnamed is None,
            listed=tuple(one.snapshot for one in owned),
            note="; ".join(filter(None, (self._note_of(keeping), copied.result.note))),
        )
        return sources.warn(made)

    def _seal(self, unnamed: "_Unnamed", captured: CommandResult) -> CommandResult:
        """Name what was copied when all of it is on the disk; no lock was held since."""
        place, name = unnamed.place, unnamed.record.name
        # If it cannot be named, for there is no space left, what was copied is deleted.
        with self._locks.holding(place.plan, frees_space=True):
            if not self._storage.exists(self._repository.partial(place, name)):
                message = "what was copied is gone: does another runner save to this repository?"
                raise EngineError(FailureClass.UNKNOWN, message)
            try:
                self._name(unnamed)
            except EngineError:
                self._give_up(place, name)
                raise
        return replace(captured, snapshot=place.id_of(name), is_sealed=True)

    def _name(self, unnamed: "_Unnamed") -> None:
        self._repository.finish(unnamed.place, unnamed.record, has_links=unnamed.has_links)

    def _preview(self, plan: RunPlan, instance: str, report: Report) -> CommandResult:
        sources = self._sources(plan, instance)
        self._require()
        place = self._repository.place(plan.id)
        owned = _owned(self._repository.contents(place), plan, instance)
        done = self._copy(plan, sources.paths, place, "", owned, _COMPARED, report)
        return sources.warn(done.result)

    def _sources(self, plan: RunPlan, instance: str) -> Sources:
        """Find out which paths of a plan are there."""
        if not instance:
            raise EngineError(FailureClass.UNKNOWN, "the document names no instance")
        normal = replace(plan, paths=tuple(map(_normal, plan.paths)))
        return find_sources(normal, self._options.on_missing)

    def _require(self) -> None:
        """Raise EngineError unless the repository is there, and the one that is meant."""
        found = self._repository.read_id()
        if self._repo.guid not in {"", found}:
            message = f"another repository is there: {found[:8]} instead of {self._repo.guid[:8]}"
            raise EngineError(FailureClass.REPO_NOT_FOUND, message)

    def _contents(self, place: PlanPlace, plan: RunPlan, instance: str) -> Contents:
        """Read what a place holds; what another tool has made there is the plan's from now on."""
        contents = self._repository.contents(place)
        tags = plan_tags(plan.id, instance)
        if place.is_flat and any(one.record is None for one in contents.held):
            paths = tuple(map(_normal, plan.paths))
            self._repository.adopt(contents, adopted_root(paths), paths, tags)
            contents = self._repository.contents(place)
        strangers = [
            one for one in contents.held if place.is_flat and tags[0] not in one.snapshot.tags
        ]
        if strangers:
            tag = next(iter(strangers[0].snapshot.plan_tags), "another plan")
            message = (
                f"the flat tree is that of {tag.removeprefix('plan:')}: it holds one plan only"
            )
            raise EngineError(FailureClass.UNKNOWN, message, "use a repository of its own")
        return contents

    def _note_of(self, keeping: Keeping) -> str:
        """Return what of properties is not kept as it is, in a sentence; empty: all is.

        Owners are passed over where the flags ask for none.
        """
        owners = keeping.owners or not self._settings.keeps_owners
        words = replace(keeping, owners=owners).missing
        missing = f"the repository keeps no {', '.join(words)}" if words else ""
        return "; ".join(filter(None, (missing, _FAKED if keeping.faked else "")))

    def _keeping(self, place: PlanPlace, name: str) -> Keeping:
        """Return what is kept of properties in a snapshot that was begun."""
        return self._kept(self._repository.at(place.home), self._repository.partial(place, name))

    def _kept(self, folder: str, ours: str) -> Keeping:
        """Return what is kept in a folder; `ours` is the path of something that we have made."""
        settings = self._settings
        found = self._storage.keeps(folder)
        if not found.hard_links and not settings.allows_copies:
            raise EngineError(FailureClass.UNKNOWN, _NO_LINKS, _NO_LINKS_HINT)
        is_root = self._storage.owner(ours) == 0
        is_faked = settings.keeps_owners and not is_root and found.xattrs
        owners = settings.keeps_owners and (is_faked or (found.owners and is_root))
        return replace(found, owners=owners, faked=is_faked)

    def _copy(
        self,
        plan: RunPlan,
        sources: tuple[str, ...],
        place: PlanPlace,
        name: str,
        owned: Sequence[Held],
        keeping: Keeping,
        report: Report,
    ) -> "_Copied":
        """Copy the sources to a snapshot that was begun; without a name only look at them.

        Unchanged files are linked from the newest snapshot that is a copy of the same.
        """
        root = _root_of(place, sources)
        alike = [one for one in owned if one.record is None or one.record.root == root]
        link_from = self._repository.at(alike[-1].path) if alike and keeping.hard_links else ""
        if link_from and self._storage.target(link_from):
            # Somebody's link, that may lead to the source: what is saved would be its own files.
            link_from = ""
        target = self._repository.partial(place, name) if name else self._repository.at(_NOT_THERE)
        found = read_excludes(plan, self._options.environ)
        output = CopyOutput(report)
        with (
            as_engine_errors(),
            exclude_file(sources, found.excludes, root, self._own) as file,
        ):
            job = CopyJob(sources, root, keeping, link_from, file, f"plan {plan.id}")
            command = argv.render_backup(self._settings.access, job, target, is_dry=not name)
            completed = self._program.run(command, on_line=output.take)
        result = self._interpret(CopyKind.BACKUP, completed, sources)
        counts = parse_counts(completed.out)
        if result.kind is ResultKind.FAILED or counts is None:
            return _Copied(result, root)
        output.finish(counts)
        stats = output.stats(counts, completed.seconds)
        flags = " ".join(found.other_flags)
        note = f"flags that are restic's alone were left out: {self._mask(flags)}" if flags else ""
        return _Copied(replace(result, stats=stats, note=note), root, counts)

    @property
    def _own(self) -> str:
        """The repository's folder, if it is on this machine: it is not copied into itself."""
        return "" if self._settings.access.address.host else self._repository.root

    def _refuse_own(self, place: PlanPlace, sources: Sequence[str]) -> None:
        """Raise EngineError for a source that lies where the plan's snapshots are kept."""
        if not self._own:
            return
        homes = [self._repository.at(folder.partition("/")[0]) for folder in place.folders]
        for source in sources:
            above = [str(one) for one in (Path(source), *Path(source).parents)]
            is_within = any(_is_same(one, home) for one in above for home in homes)
            if is_within or _is_same(source, self._repository.root):
                message = f"the path {source} lies where the snapshots of the plan are kept"
                hint = "move the repository to a folder of its own, or give the plan another id"
                raise EngineError(FailureClass.UNKNOWN, message, hint)

    def _interpret(
        self, kind: CopyKind, completed: Completed, sources: Sequence[str] = ()
    ) -> CommandResult:
        patience = self._options.limits.stall or 0.0
        return interpret(kind, completed, self._mask, sources=sources, patience=patience)

    def _give_up(self, place: PlanPlace, name: str) -> None:
        """Delete what was begun; where that fails, the next run does."""
        with suppress(EngineError):
            self._repository.drop(place, name)

    def _forget(self, plan: RunPlan, instance: str, keep: Retention) -> CommandResult:
        check_retention(keep)
        self._require()
        place = self._repository.place(plan.id)
        with self._locks.holding(place.plan, frees_space=True):
            contents = self._contents(place, plan, instance)
            self._repository.forget(contents, _owned(contents, plan, instance), keep)
        return CommandResult(ResultKind.SUCCESS)

    def _forget_all(self, keep: Retention) -> CommandResult:
        check_retention(keep)
        self._require()
        for place in self._repository.places():
            with self._locks.holding(place.plan, frees_space=True):
                contents = self._repository.contents(place)
                groups: dict[tuple[str, ...], list[Held]] = {}
                for one in contents.held:
                    # Without a record nobody knows whose it is.
                    if one.record is not None:
                        groups.setdefault(one.snapshot.tags, []).append(one)
                for owned in groups.values():
                    self._repository.forget(contents, owned, keep)
        return CommandResult(ResultKind.SUCCESS)

    def _prune(self) -> CommandResult:
        self._require()
        for place in self._repository.places():
            with self._locks.holding(place.plan, frees_space=True):
                self._repository.clean(self._repository.contents(place))
        return CommandResult(ResultKind.SUCCESS)

    def _unlock(self) -> CommandResult:
        self._locks.remove_left()
        return CommandResult(ResultKind.SUCCESS)

    def _check(self, policy: CheckPolicy) -> CommandResult:
        self._require()
        reads = not policy.structure_only and policy.read_data_subset_percent > 0
        faults = [
            fault
            for place in self._repository.places()
            for fault in self._check_place(place, reads=reads)
        ]
        if not faults:
            return CommandResult(ResultKind.SUCCESS)
        named = "; ".join(faults[:_MOST_NAMED])
        more = f" and {len(faults) - _MOST_NAMED} more" if len(faults) > _MOST_NAMED else ""
        done = failed(FailureClass.DAMAGED, f"snapshots are damaged: {named}{more}")
        return replace(done, excerpt="\n".join(faults[:_MOST_TOLD]))

    def _check_place(self, place: PlanPlace, *, reads: bool) -> list[str]:
        """Return what is wrong with snapshots of a place; with `reads` the newest one is read."""
        held = self._repository.contents(place).held
        found = [
            (one.name, fault)
            for one in held
            if one.record is not None and (fault := self._tree_of(one).miscounts(one.record))
        ]
        newest = held[-1] if held and reads else None
        if newest is not None and newest.record is not None:
            altered = self._tree_of(newest).altered(newest.record)
            found += [(newest.name, f"{path} is not as it was saved") for path in altered]
        if not found:
            return []
        # What is forgotten meanwhile is not damaged.
        still = {one.name for one in self._repository.contents(place).held}
        return [f"{place.id_of(name)}: {fault}" for name, fault in found if name in still]

    def _tree(self, snapshot: Snapshot) -> SnapshotTree:
        """Return the folder of a snapshot. Raises EngineError if it is gone."""
        plan, name = split_id(snapshot.id)
        place = self._repository.place(plan)
        held = self._repository.contents(place).held if place.plan == plan else ()
        found = next((one for one in held if one.name == name), None)
        if found is None:
            message = f"the repository has no snapshot {snapshot.short} any more"
            raise EngineError(FailureClass.UNKNOWN, message)
        return self._tree_of(found, snapshot.paths)

    def _tree_of(self, held: Held, paths: Sequence[str] = ()) -> SnapshotTree:
        """Return the folder of a snapshot; one that another tool has made is a copy of `paths`."""
        root = adopted_root(paths) if held.record is None else held.record.root
        faked = held.record is not None and held.record.faked
        folder = self._repository.at(held.path)
        return SnapshotTree(self._settings.access, self._program, folder, root, faked=faked)

    def _restore(
        self, snapshot: Snapshot, includes: Sequence[str], target: Path, report: Report
    ) -> CommandResult:
        refuse_root(target)
        tree = self._tree(snapshot)
        if absent := [path for path in includes if not self._holds(tree, path)]:
            message = f"the snapshot does not hold {', '.join(absent)}"
            return failed(FailureClass.SOURCE_MISSING, message)
        place = target / tree.root.lstrip("/")
        with as_engine_errors():
            place.mkdir(parents=True, exist_ok=True)
        command = tree.render_restore(includes, str(place), snapshot.short)
        output = CopyOutput(report)
        completed = self._program.run(command, on_line=output.take)
        done = self._interpret(CopyKind.RESTORE, completed)
        if (counts := parse_counts(completed.out)) is not None:
            output.finish(counts)
        return replace(done, tells_attributes=os.geteuid() == 0)

    def _holds(self, tree: SnapshotTree, path: str) -> bool:
        inner = tree.inner(path)
        return (
            inner is not None
            and not tree.leads_out(inner)
            and self._storage.exists(f"{tree.folder}{inner}".rstrip("/"))
        )


def capabilities_of(keeping: Keeping) -> Capabilities:
    """Return what can be done in a repository that keeps this."""
    return Capabilities(
        hard_links=keeping.hard_links,
        sparse=keeping.sparse,
        xattrs=keeping.xattrs,
        acls=keeping.acls,
        time_resolution=keeping.time_resolution,
        encryption=False,
        progress=True,
        unlock=True,
        prune=False,
        mount=False,
    )


@dataclass(frozen=True, slots=True)
class RsyncEngines:
    """Makes engines that start rsync with `runner`; see `base.Engines`."""

    runner: ProcessRunner
    options: RsyncOptions

    def make(self, repo: Repo, on_start: OnStart | None = None) -> RsyncEngine:
        """Return the engine of a repository. Raises EngineError, see `RsyncEngine`."""
        return RsyncEngine(repo, self.runner, self.options, on_start)


@dataclass(frozen=True, slots=True)
class _Unnamed:
    """A copy that is whole, and that counts as a snapshot once it has its name."""

    place: PlanPlace
    record: Record
    has_links: bool


@dataclass(frozen=True, slots=True)
class _Copied:
    """How a copy of what is in `root` ended, and what it counted; None: it is worth nothing."""

    result: CommandResult
    root: str
    counts: Counts | None = None


def _owned(contents: Contents, plan: RunPlan, instance: str) -> tuple[Held, ...]:
    """Return the plan's snapshots of a place, oldest first."""
    tags = set(plan_tags(plan.id, instance))
    return tuple(one for one in contents.held if tags.issubset(one.snapshot.tags))


def _snapshots_of(contents: Contents, plan: RunPlan, instance: str) -> Iterator[Snapshot]:
    """Yield the plan's snapshots of a place; in a flat tree also those of another tool."""
    tags = plan_tags(plan.id, instance)
    for one in contents.held:
        if set(tags).issubset(one.snapshot.tags):
            yield one.snapshot
        elif one.record is None and contents.place.is_flat:
            yield replace(one.snapshot, paths=tuple(map(_normal, plan.paths)), tags=tags)


def _is_same(one: str, other: str) -> bool:
    """Return whether two paths lead to one folder that is there."""
    with suppress(OSError):
        return Path(one).samefile(other)
    return False


def _root_of(place: PlanPlace, sources: Sequence[str]) -> str:
    """Return what the folder of a snapshot is a copy of: a flat tree has no full paths."""
    if place.is_flat and len(sources) == 1:
        folder = Path(sources[0])
        if folder.is_dir() and not folder.is_symlink():
            return sources[0]
    return "/"


def _normal(path: str) -> str:
    """Return a path without what rsync takes for signs: `/./`, and a slash at the end."""
    return "/" + posixpath.normpath(path).strip("/")
