"""An engine that answers what the test says, only for faults that restic cannot be made to show."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, RunPlan
from sidecar.engines.base import (
    BackupType,
    Capabilities,
    Change,
    Command,
    CommandResult,
    Entry,
    EntryAttributes,
    HeldLock,
    PieceTaker,
    Progress,
    Report,
    ResultKind,
    Snapshot,
    Stats,
)

MADE = CommandResult(
    ResultKind.SUCCESS,
    snapshot="5f3a9c",
    stats=Stats(files_new=1, files_processed=1, bytes_added=7),
)


ABLE = Capabilities(
    hard_links=True,
    sparse=True,
    xattrs=True,
    acls=True,
    time_resolution=1e-9,
    encryption=True,
    progress=True,
    unlock=True,
    prune=True,
    mount=True,
    types=frozenset(BackupType),
)


def nothing() -> None:
    """Let nothing happen meanwhile."""


@dataclass
class ScriptedEngine:
    """Answers `answers` by verb, success where there is none, and keeps what was asked for.

    `meanwhile` is called while the work is done; `saved` are the snapshots of every plan.
    """

    calls: list[str]
    answers: dict[str, CommandResult] = field(default_factory=dict)
    meanwhile: Callable[[], None] = nothing
    held: list[tuple[HeldLock, ...]] = field(default_factory=list)
    saved: tuple[Snapshot, ...] = ()
    able: Capabilities = ABLE
    remarked: str = ""

    def _answer(self, verb: str, usual: CommandResult | None = None) -> CommandResult:
        self.calls.append(verb)
        self.meanwhile()
        return self.answers.get(verb, usual or CommandResult(ResultKind.SUCCESS))

    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        return self.able

    def remark(self, retentions: Collection[Retention]) -> str:
        """Return what the test says."""
        del retentions
        return self.remarked

    def capture(
        self,
        plan: RunPlan,
        instance: str,
        report: Report,
        parent: str = "",
        wanted: BackupType | None = None,
    ) -> CommandResult:
        """Answer, after one sign of progress."""
        report(Progress(1.0, len(plan.paths), len(plan.paths), 7, 7))
        assert instance
        verb = f"{wanted.value} backup" if wanted else "backup"
        return self._answer(f"{verb} after {parent}" if parent else verb, MADE)

    def seal(self, plan: RunPlan, captured: CommandResult, report: Report) -> CommandResult:
        """Answer; if nothing else is said, all is as it was captured."""
        del plan, report
        return self._answer("seal", replace(captured, is_sealed=True))

    def forget(self, plan: RunPlan, instance: str, keep: Retention) -> CommandResult:
        """Answer."""
        return self._answer(f"forget {plan.id} of {instance}, keep last {keep.last}")

    def forget_all(self, keep: Retention) -> CommandResult:
        """Answer."""
        return self._answer(f"forget all, keep last {keep.last}")

    def prune(self, policy: PrunePolicy) -> CommandResult:
        """Answer."""
        return self._answer(f"prune to {policy.max_unused_percent:g}%")

    def check(self, policy: CheckPolicy) -> CommandResult:
        """Answer."""
        return self._answer(f"check {policy.read_data_subset_percent:g}%")

    def unlock(self) -> CommandResult:
        """Answer."""
        return self._answer("unlock")

    def locks(self) -> tuple[HeldLock, ...]:
        """Answer with those that are held at that moment."""
        self.calls.append("locks")
        return self.held.pop(0) if self.held else ()

    def initialise(self) -> str:
        """Answer."""
        return self.probe()

    def probe(self) -> str:
        """Answer."""
        self.calls.append("probe")
        return "f" * 64

    def snapshots(self, plan: RunPlan | None, instance: str) -> tuple[Snapshot, ...]:
        """List them."""
        self.calls.append(f"snapshots of {plan and plan.id} of {instance}")
        return self.saved

    def entries(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Find none."""
        self.calls.append(f"entries of {snapshot.id} below {path}")
        return iter(())

    def children(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Find none."""
        self.calls.append(f"children of {path} in {snapshot.id}")
        return iter(())

    def changes(self, older: Snapshot, newer: Snapshot) -> Iterator[Change]:
        """Find none."""
        self.calls.append(f"changes from {older.id} to {newer.id}")
        return iter(())

    def read_file(self, snapshot: Snapshot, path: str, take: PieceTaker) -> None:
        """Read an empty one."""
        self.calls.append(f"content of {path} in {snapshot.id}")
        take(b"")

    def stored_bytes(self, plan: RunPlan | None, instance: str) -> int | None:
        """Know nothing."""
        self.calls.append(f"size of {plan and plan.id} of {instance}")
        return None

    def render_own(self, words: Sequence[str]) -> Command:
        """Say them."""
        return Command(("echo", *words))

    def render_mount(self, plan: RunPlan | None, instance: str, folder: str) -> Command:
        """Say the folder."""
        del plan, instance
        return Command(("echo", folder))

    def attributes(self, snapshot: Snapshot, path: str) -> Iterator[EntryAttributes]:
        """Find none."""
        self.calls.append(f"attributes of {snapshot.id} below {path}")
        return iter(())

    def holds_file(self, snapshot: Snapshot) -> bool:
        """Find none."""
        self.calls.append(f"a file in {snapshot.id}")
        return False

    def restore(
        self, snapshot: Snapshot, includes: Sequence[str], target: Path, report: Report
    ) -> CommandResult:
        """Answer."""
        report(Progress(1.0, len(includes), len(includes), 0, 0))
        return self._answer(f"restore {snapshot.id} to {target}")
