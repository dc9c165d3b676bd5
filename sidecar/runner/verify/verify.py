"""Restoring a sample of a snapshot, and comparing it with the snapshot and the live files."""

import errno
import logging
import os
import random
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import (
    CommandResult,
    Engine,
    EngineError,
    Entry,
    FailureClass,
    Report,
    ResultKind,
    Snapshot,
)
from sidecar.lib.files import try_lock
from sidecar.lib.log import log_event
from sidecar.lib.text import counted
from sidecar.runner.due import Job, JobKind, backup_job
from sidecar.runner.fidelity import (
    Deviation,
    Differences,
    compare_attributes,
    compare_properties,
    lost_attributes,
    probe_attributes,
)
from sidecar.runner.journal import Ended, Journal, JournalError, RunCause, RunOutcome
from sidecar.runner.latest import FileLook, find_latest
from sidecar.runner.rights import Capability, Rights
from sidecar.runner.verify.sample import SampleLimits, Sampler, size_of

_PIECE = 1 << 20
# As text a time has microseconds at the least, and a float of today about as many.
_SAME_TIME = 1e-5
# What stays free however large the sample: others write there too.
_LEFT_FREE = 64 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification of a plan has found.

    Attributes:
        plan: its id.
        snapshot: the id of the snapshot; empty: there is none.
        seed: chooses the same files of the same snapshot again.
        same: paths of files that are as the live ones.
        changed: paths of files that are as the snapshot says, while the live ones changed since.
        differences: what is wrong, a sentence each.
        failure: the class of what is wrong.
        note: why nothing could be compared, although nothing is wrong.
        unnamed: how many files were left out of the sample, for their names are no UTF-8.
        passed_over: which newer snapshots were not compared, and why; empty: there are none.
        lost: what of owners, permissions and attributes could not be given to the sample, and
            why; empty: nothing.
        is_root: whether that was tried as root, who may be granted what is lacking.
    """

    plan: str
    snapshot: str = ""
    seed: int = 0
    same: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    failure: FailureClass | None = None
    note: str = ""
    unnamed: int = 0
    passed_over: str = ""
    lost: str = ""
    is_root: bool = True

    @property
    def is_faithful(self) -> bool:
        """Whether nothing was lost, or nothing that this user could have given."""
        return not (self.lost and self.is_root)

    @property
    def left_out(self) -> str:
        """What was left out of the sample and why, in words; empty if nothing was."""
        if not self.unnamed:
            return ""
        return f"{counted(self.unnamed, 'file')} with a name that is no UTF-8"

    @property
    def is_good(self) -> bool:
        """Whether something was restored, and all of it as it should be."""
        return bool(self.same or self.changed) and not self.differences


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of this machine: the bytes free at a folder, and what our process may do."""

    free: Callable[[Path], int] = _free
    rights: Callable[[], Rights] = Rights.read


class Verifier:
    """Verifies plans of one repository, in a scratch folder below `scratch`.

    `now` gives unix seconds. The folder is emptied before and removed afterwards.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        scratch: Path,
        limits: SampleLimits | None = None,
        *,
        now: Callable[[], float] = time.time,
        machine: Machine | None = None,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._scratch = scratch
        self._limits = limits or SampleLimits()
        self._now = now
        self._machine = machine or Machine()

    def verify(
        self,
        plan: RunPlan,
        instance: str,
        seed: int,
        report: Report,
        trigger: RunCause = RunCause.MANUAL,
    ) -> Verification:
        """Restore a sample of the latest snapshot, compare it, and record what was found.

        A failure of the engine or the file system is returned as a difference.
        """
        job = Job(JobKind.VERIFY, plan.id, plan.repo)
        run = self._begin(job, trigger)
        found = Verification(plan.id, seed=seed, failure=FailureClass.INTERRUPTED)
        try:
            found = self._verify(plan, instance, seed, report)
        except EngineError as error:
            found = _failed(plan.id, seed, error.failure, str(error))
        except OSError as error:
            reason = f"{error.filename or self._scratch}: {error.strerror}"
            if error.errno == errno.EACCES and self._machine.rights().is_kept_out:
                reason += f": this process lacks {Capability.DAC_OVERRIDE}"
            found = _failed(plan.id, seed, FailureClass.UNKNOWN, reason)
        finally:
            at = self._now()
            if found.is_good:
                self._journal.findings.verified(plan.id, at, found.snapshot)
            self._journal.runs.end(run, _ended(found, at))
        return found

    def _verify(self, plan: RunPlan, instance: str, seed: int, report: Report) -> Verification:
        snapshots = self._engine.snapshots(plan, instance)
        if not snapshots:
            return _failed(plan.id, seed, FailureClass.UNKNOWN, f"{plan.id} has no snapshot")
        look = FileLook(self._engine, self._journal.runs, backup_job(plan))
        latest = find_latest(snapshots, look, self._now())
        if latest.snapshot is None:
            note = f"there is nothing to compare: {latest.passed_over}"
            return Verification(plan.id, snapshots[-1].id, seed, note=note)
        found = self._verify_snapshot(plan, latest.snapshot, seed, report)
        return replace(found, passed_over=latest.passed_over)

    def _verify_snapshot(
        self, plan: RunPlan, snapshot: Snapshot, seed: int, report: Report
    ) -> Verification:
        sampler = Sampler(self._limits, random.Random(seed))  # noqa: S311 - no secret is made
        for path in snapshot.paths:
            for entry in self._engine.entries(snapshot, path):
                sampler.add(entry)
        found = self._compare_sample(plan, snapshot, seed, sampler.chosen(), report)
        return replace(found, unnamed=sampler.unnamed)

    def _compare_sample(
        self,
        plan: RunPlan,
        snapshot: Snapshot,
        seed: int,
        chosen: tuple[Entry, ...],
        report: Report,
    ) -> Verification:
        if not chosen:
            note = "the snapshot holds no file that can be compared"
            return Verification(plan.id, snapshot.id, seed, note=note)
        with _emptied(self._scratch) as scratch:
            fitting = _fitting(chosen, self._machine.free(scratch) - _LEFT_FREE)
            if not fitting:
                reason = f"{scratch} has no space for a file of the sample"
                return _failed(plan.id, seed, FailureClass.DISK_FULL, reason, snapshot.id)
            return self._compare_all(plan, snapshot, seed, fitting, scratch, report)

    def _compare_all(
        self,
        plan: RunPlan,
        snapshot: Snapshot,
        seed: int,
        chosen: tuple[Entry, ...],
        scratch: Path,
        report: Report,
    ) -> Verification:
        done = self._engine.restore(snapshot, [one.path for one in chosen], scratch, report)
        if done.kind not in {ResultKind.SUCCESS, ResultKind.WARNING}:
            reason = f"the sample could not be restored: {done.reason}"
            failure = done.failure or FailureClass.UNKNOWN
            return _failed(plan.id, seed, failure, reason, snapshot.id)
        rights = self._machine.rights()
        known = self._engine.capabilities()
        same_time = max(_SAME_TIME, known.time_resolution)
        compared = [compare(entry, scratch, rights, same_time) for entry in chosen]
        lost = Differences(rights)
        lost.add(deviation for one in compared for deviation in one.lost)
        if rights.is_root and known.xattrs:
            lost.add(self._lost_attributes(snapshot, chosen, scratch, done, rights))
        differences = tuple(f"{one.path}: {one.difference}" for one in compared if one.difference)
        whole = [one for one in compared if not one.difference]
        return Verification(
            plan.id,
            snapshot.id,
            seed,
            tuple(one.path for one in whole if not one.has_changed),
            tuple(one.path for one in whole if one.has_changed),
            differences,
            FailureClass.DAMAGED if differences else None,
            lost=str(lost),
            is_root=rights.is_root,
        )

    def _lost_attributes(
        self,
        snapshot: Snapshot,
        chosen: tuple[Entry, ...],
        scratch: Path,
        done: CommandResult,
        rights: Rights,
    ) -> Iterator[Deviation]:
        """Yield the extended attributes that are lost, and that root could be let give back."""
        support = probe_attributes(scratch).grantable
        if support.may_lose(rights, is_told=done.tells_attributes):
            for entry in chosen:
                attributes = self._engine.attributes(snapshot, entry.path)
                yield from compare_attributes(attributes, scratch)
        else:
            yield from lost_attributes(done.unrestored)

    def _begin(self, job: Job, trigger: RunCause) -> int:
        try:
            return self._journal.runs.begin(job, trigger, self._now(), "")
        except JournalError as error:
            log_event(_log, logging.ERROR, "run.not-recorded", work=job, reason=str(error))
            return self._journal.runs.hold(job, trigger, self._now())


def _failed(
    plan: str, seed: int, failure: FailureClass, reason: str, snapshot: str = ""
) -> Verification:
    return Verification(plan, snapshot, seed, differences=(reason,), failure=failure)


def _ended(found: Verification, at: float) -> Ended:
    if found.failure is FailureClass.INTERRUPTED:
        return Ended(RunOutcome.CANCELLED, at, failure=found.failure)
    outcome = RunOutcome.SUCCESS if found.is_good else RunOutcome.FAILED
    is_plain = found.is_faithful and not found.passed_over
    if found.note or (found.is_good and not is_plain):
        outcome = RunOutcome.WARNING
    lost = "" if found.is_faithful else found.lost
    said = (*found.differences, found.note, lost, found.passed_over)
    reason = "; ".join(filter(None, said))
    lines = [f"seed {found.seed}"]
    lines += [f"same: {path}" for path in found.same]
    lines += [f"changed since: {path}" for path in found.changed]
    lines += [f"left out: {found.left_out}"] if found.left_out else []
    excerpt = "\n".join(lines)
    return Ended(outcome, at, found.snapshot, None, found.failure, reason, excerpt)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a restored file compares: `difference` says what is wrong with it, empty if nothing.

    `has_changed`: the live file is another by now. `lost` are the properties that this process
    has not the rights to give to it.
    """

    path: str
    difference: str = ""
    has_changed: bool = False
    lost: tuple[Deviation, ...] = ()


def compare(
    entry: Entry, scratch: Path, rights: Rights, same_time: float = _SAME_TIME
) -> Comparison:
    """Compare what was restored of a file below `scratch`. Raises OSError.

    A live file that has another size or time than in the snapshot is not compared: it has
    changed since. One that changes while it is read has changed as well. Times are the same if
    they differ by no more than `same_time`, in seconds.
    """
    restored = scratch / entry.path.lstrip("/")
    try:
        held = restored.lstat()
    except FileNotFoundError:
        return Comparison(entry.path, "was not restored")
    if not stat.S_ISREG(held.st_mode):
        return Comparison(entry.path, "is no regular file")
    if entry.size not in {None, held.st_size}:
        size = counted(held.st_size, "byte")
        return Comparison(entry.path, f"has {size} instead of {entry.size}")
    deviations = tuple(compare_properties(entry, held))
    lost = tuple(one for one in deviations if one.is_explained(rights))
    changes = [
        f"other {one.aspect}{one.example.removeprefix(entry.path)}"
        for one in deviations
        if one not in lost
    ]
    if changes:
        return Comparison(entry.path, "; ".join(changes), lost=lost)
    # The engine has compared the content with its checksums when it restored it.
    has_changed = not _is_unchanged(entry, same_time)
    is_equal = not has_changed and _is_equal(restored, Path(entry.path))
    has_changed = has_changed or not (is_equal or _is_unchanged(entry, same_time))
    difference = "its content is another than that of the live file, which looks unchanged"
    return Comparison(entry.path, "" if is_equal or has_changed else difference, has_changed, lost)


def _is_unchanged(entry: Entry, same_time: float) -> bool:
    """Return whether the live file is still the one of the snapshot, as far as that can be seen."""
    try:
        held = Path(entry.path).lstat()
    except OSError:
        return False
    if entry.mtime is None or held.st_size != entry.size:
        return False
    return stat.S_ISREG(held.st_mode) and abs(held.st_mtime - entry.mtime) <= same_time


def _is_equal(one: Path, other: Path) -> bool:
    try:
        with one.open("rb") as first, other.open("rb") as second:
            while piece := first.read(_PIECE):
                if piece != second.read(_PIECE):
                    return False
            return not second.read(1)
    except FileNotFoundError:
        return False


def _fitting(chosen: tuple[Entry, ...], free: int) -> tuple[Entry, ...]:
    """Return the files that have space, smallest first; the largest are left out."""
    fitting: list[Entry] = []
    for entry in sorted(chosen, key=size_of):
        if size_of(entry) > free:
            break
        free -= size_of(entry)
        fitting.append(entry)
    return tuple(fitting)


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Return an empty folder of our own below `folder`; raises BlockingIOError if it is in use."""
    place = folder / "verify"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not try_lock(descriptor):
        os.close(descriptor)
        raise BlockingIOError(errno.EAGAIN, "another verification is at work here", str(place))
    try:
        _empty(place)
        yield place
    finally:
        try:
            _empty(place)
        finally:
            os.close(descriptor)


def _empty(folder: Path) -> None:
    # What was restored may be read-only, and we need not be root. Of others' folders root may
    # lack the right to change the mode, and have the one to remove them all the same.
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                with suppress(PermissionError):
                    path.chmod(0o700)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
