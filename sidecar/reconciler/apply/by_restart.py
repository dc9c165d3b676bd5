"""Applying by a restart of the runner's container, which then reads the document anew.

Nothing is remembered of moments: the runner has to be restarted when our last write of
the document is not older than its process. Whoever restarts it, that ends the matter.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from sidecar.backrest.document import parse_document
from sidecar.docker.containers import start_container
from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.lib.log import log_event
from sidecar.reconciler.apply import container as engine
from sidecar.reconciler.apply.container import Runner
from sidecar.reconciler.apply.context import LOADED, ApplyDependencies, BusyTimer, StablePeriod
from sidecar.reconciler.apply.idle import APART, IdleState, StableTwice, look_by_either
from sidecar.reconciler.state import State
from sidecar.reconciler.store.store import Store

_log = logging.getLogger(__name__)

HOUR = 3600.0
MOST_RESTARTS = 4

_LOOK_SECONDS = 15.0
_POLL_SECONDS = 0.5
_STAYS_SECONDS = 2.0
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A restart that was asked for; times are monotonic."""

    before: Runner
    written_at: float
    until: float
    seen: Runner | None = None
    seen_at: float = 0.0


class RestartStrategy:
    """Restarts the runner when it rests and has not read what we wrote.

    A step raises InventoryError when the restart itself failed. `on_restarted` is called
    when the runner runs again: it may have rewritten the document while it started.
    """

    def __init__(self, dependencies: ApplyDependencies, on_restarted: Callable[[], None]) -> None:
        self._dependencies = dependencies
        self._on_restarted = on_restarted
        self._twice = StableTwice()
        self._patience = BusyTimer(dependencies.reporter, dependencies.settings.applying.wait)
        self._settling = StablePeriod(dependencies.settings.applying.settle)
        self._awaited: _Awaited | None = None
        self._known: Runner | None = None
        self._is_settled = False
        self._is_blind = False

    @property
    def is_settled(self) -> bool:
        """Whether the runner had read everything, or does not run, at the last step."""
        return self._is_settled

    @property
    def is_under_way(self) -> bool:
        """Whether a restart was asked for and has not ended."""
        return self._awaited is not None

    def step(self, edited_at: float = 0.0) -> float:
        """Do what can be done now; seconds until there may be more to do.

        `edited_at`: when somebody else last wrote what the runner has to read too.
        """
        self._is_settled = False
        if self._awaited is not None:
            return self._await(self._awaited)
        runner = self.find()
        if runner is None:
            return _LOOK_SECONDS
        self._notice(runner)
        if not runner.is_running:
            return self._revive(runner)
        written_at = max(self._written_at(runner), edited_at)
        if _has_read(runner, written_at, self._dependencies.clocks.wall()):
            self._rest()
            return _LOOK_SECONDS
        return self._prepare(runner, written_at)

    def find(self) -> Runner | None:
        """Inspect the runner's container; None when it is absent or nobody answers."""
        name = self._dependencies.settings.policy.runner_container
        try:
            found = engine.find_runner(self._dependencies.connections.connection, name)
        except InventoryError as error:
            self._is_blind = True
            self._dependencies.reporter.tell("unknown", logging.WARNING, reason=error.message)
            return None
        if self._is_blind:
            self._is_blind = False
            self._dependencies.reporter.forget()
        if found is None and self._dependencies.memory.state.written_at > LOADED:
            # Without a container it has nothing to forget: it reads the file when it starts.
            self._dependencies.reporter.tell("no-runner", logging.WARNING, container=name)
        return found

    def _written_at(self, runner: Runner) -> float:
        """When we last wrote the document; worked out once where that is not known."""
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
        guess = guess_written_at(mtime, runner.started_at, has_ours=has_ours)
        state = self._dependencies.memory.update(
            lambda now: now if now.written_at else replace(now, written_at=guess)
        )
        return state.written_at

    def _notice(self, runner: Runner) -> None:
        """Whoever restarted the runner: it may have rewritten the document by that."""
        if runner.is_running:
            if self._known is not None and is_newer(runner, self._known):
                self._on_restarted()
            self._known = runner

    def _rest(self) -> None:
        self._is_settled = True
        self._twice.forget()
        self._patience.over()
        self._settling.done()

    def _prepare(self, runner: Runner, written_at: float) -> float:
        """Wait for the storm to pass, for a seat in this hour, and for the runner to rest."""
        now, wall = self._dependencies.clocks.steady(), self._dependencies.clocks.wall()
        own = self._dependencies.settings.policy.own_container_id
        if runner.is_container(own):
            facts = {"container": runner.name, "hint": "name the runner by --backrest-container"}
            self._dependencies.reporter.tell("refused", logging.ERROR, **facts)
            return _LOOK_SECONDS
        if (left := self._settling.left(written_at, now)) > 0:
            self._twice.forget()
            return left
        if self._has_no_seat():
            return _LOOK_SECONDS
        look = look_by_either(
            self._dependencies.connections.api,
            self._dependencies.connections.connection,
            runner,
            self._dependencies.markers,
            self._dependencies.due,
            wall,
        )
        if look.rest is not IdleState.IDLE:
            self._patience.busy(look.because, now)
        if not self._twice.agrees(look, now):
            return APART if look.rest is IdleState.IDLE else _LOOK_SECONDS
        self._restart(runner, written_at)
        return _POLL_SECONDS

    def _restart(self, runner: Runner, written_at: float) -> None:
        self._twice.forget()
        timeout = self._dependencies.settings.applying.restart_timeout
        # Before it is done: should we die meanwhile, it counts all the same.
        self._count_restart()
        log_event(_log, logging.INFO, "backrest.restart", container=runner.name)
        engine.restart(self._dependencies.connections.connection, runner, timeout)
        until = self._dependencies.clocks.steady() + _START_SECONDS
        self._awaited = _Awaited(runner, written_at, until)

    def _has_no_seat(self) -> bool:
        """Return whether this hour has had its restarts; that is told."""
        left = restart_wait(
            self._dependencies.memory.state.restarts, self._dependencies.clocks.wall()
        )
        if left > 0:
            self._dependencies.reporter.tell("limited", logging.WARNING, seconds=round(left))
        return left > 0

    def _count_restart(self) -> None:
        wall = self._dependencies.clocks.wall()

        def counted(state: State) -> State:
            recent = [moment for moment in state.restarts if abs(wall - moment) < HOUR]
            return replace(state, restarts=(*recent, wall))

        self._dependencies.memory.update(counted)

    def _await(self, awaited: _Awaited) -> float:
        """See the runner run, and still run some moments later."""
        now = self._dependencies.clocks.steady()
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

    def _done(self, awaited: _Awaited, found: Runner) -> None:
        # Whatever the clocks say: what was written before the restart has been read.
        def loaded(state: State) -> State:
            if state.written_at not in (awaited.written_at, 0.0):
                return state
            return replace(state, written_at=min(state.written_at, found.started_at - 1.0))

        self._dependencies.memory.update(loaded)
        self._rest()
        self._dependencies.reporter.forget()
        self._dependencies.reporter.tell(
            "applied", logging.INFO, way="restart", container=found.name
        )
        self._notice(found)

    def _revive(self, runner: Runner) -> float:
        """Start the runner if it was a restart of ours that left it stopped."""
        state = self._dependencies.memory.state
        timeout = self._dependencies.settings.applying.restart_timeout
        if not was_stopped_by_us(state, runner, timeout):
            self._rest()
            return _LOOK_SECONDS
        if self._has_no_seat():
            return _LOOK_SECONDS
        self._count_restart()
        start_container(self._dependencies.connections.connection, runner.id)
        until = self._dependencies.clocks.steady() + _START_SECONDS
        self._awaited = _Awaited(runner, state.written_at, until)
        return _POLL_SECONDS


def _has_read(runner: Runner, written_at: float, wall: float) -> bool:
    """Return whether a runner read what was written, at unix time `wall`.

    One that started in the future did so before the clock was set back: that it is later
    than a write says nothing.
    """
    is_sure = runner.started_at <= wall or written_at <= LOADED
    return is_sure and written_at < runner.started_at


def guess_written_at(mtime: float, started_at: float, *, has_ours: bool) -> float:
    """Work out when we wrote, where the state was lost: the file's own time, or LOADED.

    A file without plans of ours is none of our writing, and one that is older than the
    runner's process has been read. Else it may be ours, or Backrest saved it: one restart
    too many while the runner rests harms nobody, a plan that is never run does. The answer
    is remembered, so that later saves by Backrest do not raise the question again.
    """
    return mtime if has_ours and mtime >= started_at else LOADED


def restart_wait(restarts: tuple[float, ...], wall: float) -> float:
    """Seconds until one more restart is within the limit of an hour; 0 for now."""
    # A clock that was set back makes times of the future: they count as well.
    recent = sorted(moment for moment in restarts if abs(wall - moment) < HOUR)
    if len(recent) < MOST_RESTARTS:
        return 0.0
    return min(HOUR, recent[-MOST_RESTARTS] + HOUR - wall)


def is_newer(found: Runner, before: Runner) -> bool:
    """Tell whether this is another process than before; also of a container made anew."""
    return found.id != before.id or found.started_at != before.started_at


def was_stopped_by_us(state: State, runner: Runner, timeout: float) -> bool:
    """Tell whether a failed restart of ours, and nothing else, left the runner stopped."""
    if not state.trouble.failures or not state.restarts:
        return False
    since = runner.finished_at - state.restarts[-1]
    return 0 <= since <= timeout + _START_SECONDS
