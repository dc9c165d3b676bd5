"""What waits now: changes that Backrest has not loaded, what a backup left stopped, edits.

In come the desired state, what Backrest serves and what Docker answers. Out go waits, each
with the names that it concerns and what it waits for, for `status`, `doctor` and `backup`.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from sidecar.backrest.api import BackrestApi
from sidecar.backrest.compare import differs
from sidecar.backrest.document import Document, parse_document
from sidecar.docker.client import DockerClient
from sidecar.docker.markers import DIRECTORY, Marker, read_markers
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.planner.diff import Changes
from sidecar.planner.propose import DesiredState, propose
from sidecar.reconciler.apply.by_restart import has_read
from sidecar.reconciler.apply.container import BackrestContainer, find_backrest
from sidecar.reconciler.apply.context import LOADED
from sidecar.reconciler.apply.idle import DueSoon, IdleState, PlanActivity, check_backrest
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory, State
from sidecar.reconciler.store.replace import Store

_SHOWN = 8


class WaitKind(StrEnum):
    """What waits."""

    CHANGE = "change"
    """Plans that are wanted, and that Backrest has not loaded."""
    STOPPED = "stopped"
    """Containers that a backup stopped, longer ago than `--guard-after`."""
    EDIT = "edit"
    """An edit of the document by hand that Backrest has not read."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that waits: `names` are plans or containers, none where they are not known.

    `because` names the programs or plans that it waits for; empty if nothing is in the way.
    """

    kind: WaitKind
    names: tuple[str, ...] = ()
    because: str = ""

    @property
    def needs_attention(self) -> bool:
        """Whether it does not pass by itself."""
        return self.kind is not WaitKind.CHANGE and not self.because

    @property
    def words(self) -> str:
        """One sentence about it, and what to do."""
        names = f": {some_names(self.names)}" if self.names else ""
        busy = f"; it waits for {self.because}" if self.because else ""
        match self.kind:
            case WaitKind.CHANGE:
                hint = " → `daemon --apply` has it loaded, as does a restart of Backrest"
                return f"Backrest has not loaded what is wanted{names}{busy or hint}"
            case WaitKind.STOPPED:
                hint = " → the daemon starts it again; without one, see `docker ps --all`"
                return f"stopped by a backup, and not started again{names}{busy or hint}"
            case WaitKind.EDIT:
                hint = "restart Backrest; a save in its interface undoes the edit"
                return f"the document was edited by hand, and Backrest has not read it → {hint}"


def some_names(names: Iterable[str]) -> str:
    """Return the first names, and how many there are beyond them."""
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def find_waits(
    settings: ReconcilerSettings, desired: DesiredState | None, state: State
) -> tuple[Wait, ...]:
    """Return all that waits, asking Docker and Backrest; what cannot be asked is left out."""
    source, access = settings.source, settings.access
    asks_docker = source.inventory is None and not source.compose
    api = BackrestApi(access.url, access.user, access.password) if access.url else None
    connection = DockerClient(source.docker_sock) if asks_docker else None
    try:
        served = None
        if api is not None:
            with suppress(SidecarError):
                served = parse_document(api.get_config())
        return WaitFinder(settings, state, connection, api if served else None).find(
            desired, served
        )
    finally:
        if api is not None:
            api.close()
        if connection is not None:
            connection.close()


class WaitFinder:
    """Finds what waits; `connection` and `api` are None where nobody can be asked."""

    def __init__(
        self,
        settings: ReconcilerSettings,
        state: State,
        connection: DockerClient | None,
        api: BackrestApi | None,
        now: float | None = None,
    ) -> None:
        self._settings = settings
        self._state = state
        self._connection = connection
        self._api = api
        self._now = time.time() if now is None else now
        self._markers = settings.config.parent / DIRECTORY

    def find(self, desired: DesiredState | None, served: Document | None) -> tuple[Wait, ...]:
        """Return all that waits; `served` is None where Backrest does not tell."""
        return (*self.changes(desired, served), *self.stopped(), *self.edits(served))

    def changes(self, desired: DesiredState | None, served: Document | None) -> Iterator[Wait]:
        """Return the plans that Backrest has not loaded as they are wanted."""
        backrest = self._backrest()
        if desired is not None and served is not None:
            try:
                proposal = propose(served, desired, served=True)
            except SidecarError:
                return
            if proposal.after is proposal.before:
                return
            yield Wait(WaitKind.CHANGE, changed_plans(proposal.changes), self._because(backrest))
        elif backrest is not None and self._is_unread(backrest):
            yield Wait(WaitKind.CHANGE, (), self._because(backrest))

    def stopped(self) -> Iterator[Wait]:
        """Return the containers that a backup stopped longer ago than `--guard-after`."""
        try:
            markers = read_markers(self._markers)
        except SidecarError:
            return
        latest = self._now - self._settings.applying.guard_after
        for marker in markers:
            if marker.written_at <= latest:
                name = f"{marker.name} (plan {marker.plan or '?'})"
                yield Wait(WaitKind.STOPPED, (name,), self._run_of(marker))

    def edits(self, served: Document | None) -> Iterator[Wait]:
        """Return whether the file holds an edit that Backrest has not read."""
        if served is None:
            return
        with suppress(SidecarError):
            file = parse_document(Store(self._settings.config).read().content)
            if differs(file, served, self._settings.policy.plan_id_prefix):
                yield Wait(WaitKind.EDIT)

    def _is_unread(self, backrest: BackrestContainer) -> bool:
        written_at = self._state.written_at
        return (
            backrest.is_running
            and written_at > LOADED
            and not has_read(backrest, written_at, self._now)
        )

    def _backrest(self) -> BackrestContainer | None:
        if self._connection is None:
            return None
        try:
            return find_backrest(self._connection, self._settings.policy.runner_container)
        except InventoryError:
            return None

    def _because(self, backrest: BackrestContainer | None) -> str:
        """Return what keeps Backrest busy; empty if nothing does, or nobody can tell."""
        if self._connection is None or backrest is None or not backrest.is_running:
            return ""
        due = DueSoon(self._settings.config)
        check = check_backrest(self._api, self._connection, backrest, self._markers, due, self._now)
        return "" if check.state is IdleState.IDLE else check.because

    def _run_of(self, marker: Marker) -> str:
        """Return what still runs of the plan of a marker; empty if nothing does."""
        if self._connection is None:
            return ""
        clocks = Clocks(wall=lambda: self._now)
        # Only what runs matters: not whether there was a Backrest before.
        activity = PlanActivity(self._settings, Memory(None), self._connection, self._api, clocks)
        check = activity.check(frozenset({marker.plan} - {""}))
        return check.because if check.state is IdleState.BUSY else ""


def changed_plans(changes: Changes) -> tuple[str, ...]:
    """Return the ids of all plans that a proposal adds, changes or removes, sorted."""
    added = (plan.id for plan in changes.added)
    return tuple(sorted({*added, *changes.updated, *changes.removed}))
