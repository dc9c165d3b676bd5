"""Apply by a restart of the backrest container, which then reads the document anew.

Level-triggered: Backrest has to be restarted when our last write of the document is not
older than its process. If somebody else restarts it, nothing is left to do.
"""

import logging
from dataclasses import dataclass, replace

from sidecar.backrest.document import parse_document
from sidecar.docker.containers import start_container
from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.lib.log import log_event
from sidecar.reconciler.apply.container import BackrestContainer, find_backrest, restart
from sidecar.reconciler.apply.context import LOADED, ApplyDependencies, BusyTimer, StablePeriod
from sidecar.reconciler.apply.idle import APART, IdleState, StableTwice, check_backrest
from sidecar.reconciler.state import State
from sidecar.reconciler.store.replace import Store

HOUR = 3600.0
MOST_RESTARTS = 4
"""Restarts in an hour."""

_CHECK_SECONDS = 15.0
_POLL_SECONDS = 0.5
_STAYS_SECONDS = 2.0
_START_SECONDS = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A restart that was asked for; times are monotonic."""

    before: BackrestContainer
    written_at: float
    until: float
    seen: BackrestContainer | None = None
    seen_at: float = 0.0


class RestartStrategy:
    """Restarts Backrest when it is idle and has not read what we wrote.

    A step raises InventoryError when the restart itself failed. `restarted` is reported
    when Backrest runs again: it may have rewritten the document while it started.
    """

    def __init__(self, dependencies: ApplyDependencies) -> None:
        self._dependencies = dependencies
        self._twice = StableTwice()
        self._busy_timer = BusyTimer(dependencies.reporter, dependencies.settings.applying.wait)
        self._stable_period = StablePeriod(dependencies.settings.applying.settle)
        self._awaited: _Awaited | None = None
        self._known: BackrestContainer | None = None
        self._is_settled = False
        self._is_unknown = False

    @property
    def is_settled(self) -> bool:
        """Whether Backrest had read everything, or did not run, at the last step."""
        return self._is_settled

    @property
    def is_restarting(self) -> bool:
        """Whether a restart was asked for and has not ended."""
        return self._awaited is not None

    def step(self, edited_at: float = 0.0) -> float:
        """Do what can be done now; return the seconds until there may be more to do.

        `edited_at`: the unix time when somebody else last wrote what Backrest has to read too.
        """
        self._is_settled = False
        if self._awaited is not None:
            return self._await(self._awaited)
        backrest = self.find()
        if backrest is None:
            return _CHECK_SECONDS
        self._notice_restart(backrest)
        if not backrest.is_running:
            return self._start_again(backrest)
        written_at = max(self._written_at(backrest), edited_at)
        if has_read(backrest, written_at, self._dependencies.clocks.wall()):
            self._settle()
            return _CHECK_SECONDS
        return self._restart_if_idle(backrest, written_at)

    def find(self) -> BackrestContainer | None:
        """Inspect the backrest container; None when it is absent or Docker does not answer."""
        name = self._dependencies.settings.policy.runner_container
        try:
            found = find_backrest(self._dependencies.connections.connection, name)
        except InventoryError as error:
            self._is_unknown = True
            self._dependencies.reporter.report("unknown", logging.WARNING, reason=error.message)
            return None
        if self._is_unknown:
            self._is_unknown = False
            self._dependencies.reporter.forget()
        if found is None and self._dependencies.memory.state.written_at > LOADED:
            # Where there is no container, the next one reads the file when it starts.
            self._dependencies.reporter.report("no-runner", logging.WARNING, container=name)
        return found

    def _written_at(self, backrest: BackrestContainer) -> float:
        """Return when we last wrote the document; guessed once where that is not known."""
        known = self._dependencies.memory.state.written_at
        if known:
            return known
        try:
            stored = Store(self._dependencies.settings.config).read()
            plans = parse_document(stored.content).plans
        except SidecarError:
            return 0.0
        prefix = self._dependencies.settings.policy.plan_id_prefix
        has_ours = any(plan_id.startswith(prefix) for plan_id in plans)
        mtime = stored.identity.mtime_ns / 1e9
        guess = guess_written_at(mtime, backrest.started_at, has_ours=has_ours)
        with self._dependencies.memory.turn() as state:
            return self._dependencies.memory.change(written_at=state.written_at or guess).written_at

    def _notice_restart(self, backrest: BackrestContainer) -> None:
        """Report it if this is another process than before, whoever restarted it."""
        if backrest.is_running:
            if self._known is not None and is_newer(backrest, self._known):
                self._dependencies.reporter.note("restarted")
            self._known = backrest

    def _settle(self) -> None:
        self._is_settled = True
        self._twice.forget()
        self._busy_timer.over()
        self._stable_period.done()

    def _restart_if_idle(self, backrest: BackrestContainer, written_at: float) -> float:
        """Restart when writes have settled, the hour's limit allows it and Backrest is idle."""
        now, wall = self._dependencies.clocks.monotonic(), self._dependencies.clocks.wall()
        own = self._dependencies.settings.policy.own_container_id
        if backrest.is_container(own):
            facts = {"container": backrest.name, "hint": "name the runner by --backrest-container"}
            self._dependencies.reporter.report("refused", logging.ERROR, **facts)
            return _CHECK_SECONDS
        if (left := self._stable_period.left(written_at, now)) > 0:
            self._twice.forget()
            return left
        if self._is_limit_reached():
            return _CHECK_SECONDS
        check = check_backrest(
            self._dependencies.connections.api,
            self._dependencies.connections.connection,
            backrest,
            self._dependencies.markers,
            self._dependencies.due,
            wall,
        )
        if check.state is not IdleState.IDLE:
            self._busy_timer.busy(check.because, now)
        if not self._twice.agrees(check, now):
            return APART if check.state is IdleState.IDLE else _CHECK_SECONDS
        self._restart(backrest, written_at)
        return _POLL_SECONDS

    def _restart(self, backrest: BackrestContainer, written_at: float) -> None:
        self._twice.forget()
        timeout = self._dependencies.settings.applying.restart_timeout
        # Counted before it is done: should we die meanwhile, it counts all the same.
        self._count_restart()
        log_event(_log, logging.INFO, "backrest.restart", container=backrest.name)
        restart(self._dependencies.connections.connection, backrest, timeout)
        until = self._dependencies.clocks.monotonic() + _START_SECONDS
        self._awaited = _Awaited(backrest, written_at, until)

    def _is_limit_reached(self) -> bool:
        """Return whether this hour has had its restarts; report it if so."""
        left = restart_wait(
            self._dependencies.memory.state.restarts, self._dependencies.clocks.wall()
        )
        if left > 0:
            self._dependencies.reporter.report("limited", logging.WARNING, seconds=round(left))
        return left > 0

    def _count_restart(self) -> None:
        wall = self._dependencies.clocks.wall()
        with self._dependencies.memory.turn() as state:
            recent = [moment for moment in state.restarts if abs(wall - moment) < HOUR]
            self._dependencies.memory.change(restarts=(*recent, wall))

    def _await(self, awaited: _Awaited) -> float:
        """Wait until Backrest runs, and still runs two seconds later."""
        now = self._dependencies.clocks.monotonic()
        found = self.find()
        runs = found is not None and found.is_running and is_newer(found, awaited.before)
        if found is not None and runs:
            seen = awaited.seen
            if seen is None or seen.started_at != found.started_at:
                self._awaited = replace(awaited, seen=found, seen_at=now)
            elif now - awaited.seen_at >= _STAYS_SECONDS:
                self._awaited = None
                self._done(awaited, found)
                return 0.0
        if now < awaited.until:
            return _POLL_SECONDS
        self._awaited = None
        raise InventoryError(
            f"the container {awaited.before.name} does not stay up after its restart",
            "its log tells why",
        )

    def _done(self, awaited: _Awaited, found: BackrestContainer) -> None:
        # Two machines' clocks may differ: what was written before the restart has been read.
        with self._dependencies.memory.turn() as state:
            if state.written_at in (awaited.written_at, 0.0):
                written_at = min(state.written_at, found.started_at - 1.0)
                self._dependencies.memory.change(written_at=written_at)
        self._settle()
        self._dependencies.reporter.forget()
        self._dependencies.reporter.report(
            "applied", logging.INFO, way="restart", container=found.name
        )
        self._notice_restart(found)

    def _start_again(self, backrest: BackrestContainer) -> float:
        """Start Backrest if it was a restart of ours that left it stopped."""
        state = self._dependencies.memory.state
        timeout = self._dependencies.settings.applying.restart_timeout
        if not was_stopped_by_us(state, backrest, timeout):
            self._settle()
            return _CHECK_SECONDS
        if self._is_limit_reached():
            return _CHECK_SECONDS
        self._count_restart()
        start_container(self._dependencies.connections.connection, backrest.id)
        until = self._dependencies.clocks.monotonic() + _START_SECONDS
        self._awaited = _Awaited(backrest, state.written_at, until)
        return _POLL_SECONDS


def has_read(backrest: BackrestContainer, written_at: float, wall: float) -> bool:
    """Return whether Backrest has read, at unix time `wall`, what was written.

    One that started in the future did so before the clock was set back: then it is not
    known which of start and write came first.
    """
    is_sure = backrest.started_at <= wall or written_at <= LOADED
    return is_sure and written_at < backrest.started_at


def guess_written_at(mtime: float, started_at: float, *, has_ours: bool) -> float:
    """Return when we may have written, where the state was lost: the file's time, or LOADED.

    A file without plans of ours was not written by us, and one that is older than
    Backrest's process has been read. Else it may be ours, or Backrest saved it: one restart
    too many while Backrest is idle harms nobody, a plan that is never run does. The answer
    is remembered, so that later saves by Backrest do not raise the question again.
    """
    return mtime if has_ours and mtime >= started_at else LOADED


def restart_wait(restarts: tuple[float, ...], wall: float) -> float:
    """Return the seconds until one more restart is within the limit of an hour; 0 for now."""
    # After the clock was set back some times lie in the future: they count as well.
    recent = sorted(moment for moment in restarts if abs(wall - moment) < HOUR)
    if len(recent) < MOST_RESTARTS:
        return 0.0
    return min(HOUR, recent[-MOST_RESTARTS] + HOUR - wall)


def is_newer(found: BackrestContainer, before: BackrestContainer) -> bool:
    """Return whether this is another process than before, or another container."""
    return found.id != before.id or found.started_at != before.started_at


def was_stopped_by_us(state: State, backrest: BackrestContainer, timeout: float) -> bool:
    """Return whether a failed restart of ours, and nothing else, left Backrest stopped."""
    if not state.trouble.failures or not state.restarts:
        return False
    since = backrest.finished_at - state.restarts[-1]
    return 0 <= since <= timeout + _START_SECONDS
