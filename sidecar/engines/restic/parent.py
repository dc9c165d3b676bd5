"""Find the parent of a backup, asking the repository only where it is needed."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import CommandResult, EngineError, ResultKind, Snapshot
from sidecar.engines.restic import commands as argv
from sidecar.engines.restic.failures import is_without_parent
from sidecar.engines.restic.features import Features
from sidecar.engines.restic.listing import parse_snapshots
from sidecar.engines.restic.program import Program
from sidecar.engines.restic.recent import RecentSnapshots

# Of an id of 64. Given a whole one, some restics ask the storage for it again and again, for
# minutes, if it is gone; for its beginning they look into the list.
_ENOUGH_DIGITS = 32


@dataclass(frozen=True, slots=True)
class EarlierSnapshots:
    """What is known of a plan's snapshots before its backup.

    `parent` is an id, its beginning, or empty; `listed` are all but the forged ones, None if
    the repository need not be asked; `is_current`: it was asked just now.
    """

    parent: str
    forged: tuple[Snapshot, ...] = ()
    listed: tuple[Snapshot, ...] | None = None
    is_current: bool = False

    def without(self, made: str) -> "EarlierSnapshots":
        """Return it without the snapshot that the backup itself has made, an id or its beginning.

        What was asked while it ran may hold that one too.
        """
        if not made or self.listed is None:
            return self
        return replace(self, listed=tuple(one for one in self.listed if not one.is_called(made)))


class ParentFinder:
    """Runs backups of one repository, each with a parent.

    Where snapshots are forgotten after a backup, forged ones have to be known; the list that
    another run has asked for will do. Where there is none, but the journal knows a parent, the
    repository is asked while the backup runs: all that its answer decides comes after that.
    """

    def __init__(self, program: Program, recent: RecentSnapshots) -> None:
        self._program = program
        self._recent = recent

    def back_up(
        self,
        plan: RunPlan,
        instance: str,
        known: str,
        features: Features,
        save: Callable[[str], CommandResult],
    ) -> tuple[CommandResult, EarlierSnapshots]:
        """Return how `save`, which gets the parent, ended, and what was there before.

        `known` is a snapshot that an earlier run of the plan has made, or empty. If it is gone,
        `save` is called again with another one. Raises EngineError, also if a backup has worked
        and the repository does not answer what else it holds: nothing may be forgotten then.
        """
        known = known[:_ENOUGH_DIGITS]
        earlier = self._find(plan, instance, known, features)
        if earlier is None:
            done, earlier = self._ask_beside(plan, instance, known, save)
            is_first = True
        else:
            done, is_first = save(earlier.parent), not earlier.is_current
        if is_first and is_without_parent(done.reason):
            if not earlier.is_current:
                earlier = self._ask(plan, instance)
            done = save(earlier.parent)
        return done, earlier.without(done.snapshot)

    def _find(
        self, plan: RunPlan, instance: str, known: str, features: Features
    ) -> EarlierSnapshots | None:
        """Find the parent of a backup; None: it is `known`, and the repository is to be asked.

        No list of before will do for a plan that saves nothing if its parent is the same: that
        parent has to be the plan's newest snapshot.
        """
        repo = self._program.repo
        is_compared = argv.skips_unchanged(plan, features)
        sets_tags = argv.sets_tags(self._program.access, plan)
        if known and not (is_compared or sets_tags or _is_forgotten_of(plan, repo)):
            return EarlierSnapshots(known)
        listed = None if sets_tags else self._recent.last(repo, plan.id if is_compared else "")
        if listed is None and known and not (is_compared or sets_tags):
            return None
        if listed is None or (is_compared and not any(one.is_called(known) for one in listed)):
            return self._ask(plan, instance)
        found = _earlier(listed, plan, instance)
        return replace(found, parent=known) if known and not is_compared else found

    def _ask_beside(
        self, plan: RunPlan, instance: str, known: str, save: Callable[[str], CommandResult]
    ) -> tuple[CommandResult, EarlierSnapshots]:
        """Ask the repository while the backup runs, and once more if only that has failed."""
        with ThreadPoolExecutor(1, "restic-snapshots") as beside:
            answer: Future[EarlierSnapshots] = beside.submit(
                self._ask, plan, instance, is_recorded=False
            )
            done = save(known)
        # Whether the answer holds what was made meanwhile is not known.
        self._recent.note_saved(self._program.repo, plan.id)
        try:
            return done, answer.result()
        except EngineError:
            if done.kind is ResultKind.FAILED:
                return done, EarlierSnapshots(known)
        return done, self._ask(plan, instance)

    def _ask(self, plan: RunPlan, instance: str, *, is_recorded: bool = True) -> EarlierSnapshots:
        command = argv.render_snapshots(self._program.access, ())

        def ask() -> tuple[Snapshot, ...]:
            return parse_snapshots(self._program.read(command, is_recorded=is_recorded))

        listed = self._recent.keep(self._program.repo, ask)
        return replace(_earlier(listed, plan, instance), is_current=True)


def _earlier(listed: Iterable[Snapshot], plan: RunPlan, instance: str) -> EarlierSnapshots:
    tags = set(argv.split_tags(argv.plan_tags(plan.id, instance)))
    own = [one for one in listed if tags.issubset(one.tags)]
    # Files that a forged parent claims to hold unchanged would not be read.
    listed = tuple(one for one in own if not one.is_forged)
    parent = listed[-1].id if listed else ""
    return EarlierSnapshots(parent, tuple(one for one in own if one.is_forged), listed)


def _is_forgotten_of(plan: RunPlan, repo: Repo) -> bool:
    """Return whether snapshots of the plan are forgotten after its backup."""
    keep = plan.retention
    return keep is not None and not keep.keep_all and not repo.overrides_retention
