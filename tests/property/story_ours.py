"""Our side of the daemon's story: the real parts, stepped by hand, and what may happen to them.

No thread of ours runs and nobody sleeps. Whatever has an effect passes a point, at which
the story may kill the process: from then on nothing of it has an effect any more, as if
it had been SIGKILL.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest.mock import patch

from sidecar.backrest.api import BackrestApi
from sidecar.docker.client import DockerClient
from sidecar.labels.policy import Policy
from sidecar.lib import files as atomic
from sidecar.lib.backoff import Backoff
from sidecar.lib.clocks import Clocks
from sidecar.lib.write_file import write_small
from sidecar.reconciler import state
from sidecar.reconciler.apply.apply import Applier
from sidecar.reconciler.apply.context import ApplyConnections, LastPass, Stepper
from sidecar.reconciler.apply.idle import PlanActivity
from sidecar.reconciler.apply.thread import pass_on
from sidecar.reconciler.loop import ReconcileLoop
from sidecar.reconciler.reconcile import Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.report import ReconcilerReport
from sidecar.reconciler.resume.resume import ResumeGuard
from sidecar.reconciler.settings import (
    Applying,
    ApplyVia,
    BackrestLogin,
    InventorySource,
    ReconcilerSettings,
)
from sidecar.reconciler.state import Memory
from sidecar.reconciler.trigger import DuePass, PassTrigger
from tests.property.story_host import Host

_EFFECTS = ("create_new", "write_all", "replace", "exchange", "rename_new", "remove")
_POINTS = ("write_all", "replace", "exchange", "remove", "state", "SetConfig", "restart", "start")
POINTS = tuple(f"{when} {name}" for name in _POINTS for when in ("before", "after"))
"""Where something may happen to our process."""
ANY = "any"
"""Stands for all points."""
_MOST_STEPS = 3000


class Killed(BaseException):
    """Our process has ended right here."""


@dataclass
class Fate:
    """What happens to a process of ours: once, at the `left`-th time that a point is passed."""

    point: str = ""
    left: int = 0
    act: Callable[[], None] | None = None
    is_dead: bool = False
    passed: int = 0
    """How many points were passed."""
    full: set[str] = field(default_factory=set)
    """What cannot be written: `document`, `state`."""

    def order(self, point: str, act: Callable[[], None] | None, left: int = 0) -> None:
        """Let this happen at that point; None: we are killed there."""
        self.point, self.act, self.left = point, act, left

    def withdraw(self) -> None:
        """Let nothing happen."""
        self.point, self.act, self.is_dead = "", None, False

    def passes(self, point: str) -> None:
        """Go by a point."""
        if self.is_dead:
            raise Killed
        self.passed += 1
        if self.point not in {point, ANY}:
            return
        if self.left:
            self.left -= 1
            return
        act, self.point = self.act, ""
        if act is None:
            self.is_dead = True
            raise Killed
        act()

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        """Go by both points of an effect."""
        self.passes(f"before {name}")
        yield
        self.passes(f"after {name}")

    def wrapped(self, name: str, what: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose effect goes by its points, or finds the disk full."""
        kind = {"write_all": "document", "state": "state"}.get(name)

        @wraps(what)
        def call(*args: Any, **named: Any) -> Any:
            with self.around(name):
                if kind in self.full:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return what(*args, **named)

        return call


class _Api(BackrestApi):
    """Backrest's API, whose calls go by points."""

    fate: Fate

    def get_config(self) -> bytes:
        """Ask, unless we are dead."""
        with self.fate.around("GetConfig"):
            return super().get_config()

    def set_config(self, content: bytes) -> bytes:
        """Save, unless we are dead."""
        with self.fate.around("SetConfig"):
            return super().set_config(content)


class _Connection(DockerClient):
    """A connection to the engine, whose acts go by points."""

    fate: Fate

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Act, unless we are dead."""
        with self.fate.around("restart" if "/restart" in path else "start"):
            return super().act(path, body, method=method, timeout=timeout)


class SteppedTrigger(PassTrigger):
    """A trigger that is asked, not waited for."""

    def due_at(self) -> float:
        """Tell when there is something to do; in the past for now."""
        self._collect()
        self._waiter.wait(0.0)
        return self._debounce.due_at()

    def take(self) -> DuePass | None:
        """Take what is due by now."""
        return self._due(self._monotonic()) if self.due_at() <= self._monotonic() else None


class _Stream:
    """The event stream, as far as the loop knows it."""

    def __init__(self, host: Host, trigger: PassTrigger) -> None:
        self._host = host
        self._trigger = trigger

    @property
    def is_connected(self) -> bool:
        """Whether the engine is listened to."""
        return self._host.is_engine_up

    def reopen(self) -> None:
        """Listen anew: whatever was before is unknown."""
        self._trigger.hint(None)


class Ours:
    """One process of ours, from its start to its end, over a `host`."""

    def __init__(self, host: Host, via: ApplyVia, fate: Fate) -> None:
        self.host, self.fate = host, fate
        self.results: list[str] = []
        clock = host.clock
        access = BackrestLogin(host.backrest.url, "admin", "swordfish")
        self.settings = ReconcilerSettings(
            host.config,
            policy=Policy(),
            source=InventorySource(docker_sock=host.engine.address),
            access=BackrestLogin() if via is ApplyVia.RESTART else access,
            applying=Applying(enabled=True, via=via),
        )
        self._ends = ExitStack()
        self.memory = Memory(self.settings.state_directory)
        self._report = ReconcilerReport(lambda: clock.wall, lambda: clock.monotonic)
        self._backoff = Backoff(chance=lambda: 0.5)
        self.trigger = self._ends.enter_context(SteppedTrigger(monotonic=lambda: clock.monotonic))
        self._clocks = Clocks(lambda: clock.monotonic, lambda: clock.wall)
        self._recorder = PassRecorder(self.memory, is_applied=True, clocks=self._clocks)
        connections = self._connections()
        self._ends.callback(connections.close)
        self.last_pass = LastPass()
        self.applier = Applier(
            self.settings, self._recorder, connections, self.last_pass, clocks=self._clocks
        )
        self.guard = self._guard(connections)
        self.loop = ReconcileLoop(
            self.settings,
            Reconciler(self.settings, {}, self._recorder),
            self._report,
            applier=self.applier,
            events=_Stream(host, self.trigger),  # type: ignore[arg-type]
            clocks=self._clocks,
        )
        self._ends.callback(self.loop.close)
        self._good_since: float | None = None
        self._due = {"applier": 0.0, "guard": 0.0}
        host.on_hint, host.on_saved = self.trigger.hint, lambda: self.trigger.nudge("document")

    def _connections(self) -> ApplyConnections:
        connection = _Connection(self.host.engine.address)
        connection.fate = self.fate
        if not self.settings.access.url:
            return ApplyConnections(connection)
        access = self.settings.access
        apis = [_Api(access.url, access.user, access.password, timeout=2.0) for _ in range(2)]
        for api in apis:
            api.fate = self.fate
        return ApplyConnections(connection, *apis)

    def _guard(self, connections: ApplyConnections) -> ResumeGuard:
        connection = connections.connection
        activity = PlanActivity(
            self.settings, self.memory, connection, connections.api, self._clocks
        )
        return ResumeGuard(self.settings, connection, activity, self.last_pass, self._clocks)

    def close(self) -> None:
        """Drop everything."""
        self.host.on_hint, self.host.on_saved = lambda _: None, lambda: None
        self._ends.close()

    def _step(self, name: str, stepper: Stepper) -> None:
        """Make one step, as the thread of the daemon does."""
        now = self._clocks.monotonic()
        step = stepper.step()
        self._due[name] = now + max(0.05, step.wait)
        for event in step.events:
            self.results.append(event.result)
            pass_on(event, self._report, self.trigger)

    def next_due(self) -> float:
        """Tell when we have something to do, in monotonic seconds."""
        return min(self.trigger.due_at(), *self._due.values())

    def act(self) -> None:
        """Do what is due first: one pass, or one step of what concerns the runner."""
        now = self._clocks.monotonic()
        if (due := self.trigger.take()) is not None:
            self._pass(due)
        elif self._due["applier"] <= now:
            self._step("applier", self.applier)
        else:
            self._step("guard", self.guard)

    def _pass(self, due: DuePass) -> None:
        now = self._clocks.monotonic()
        good = self.loop.run(due).good
        if good is not None:
            self.last_pass.set(good)
        if self.last_pass.wait(0.0):
            self._due = dict.fromkeys(self._due, 0.0)
        if good is not None:
            self._good_since = self._good_since or now
            return
        well_for = 0.0 if self._good_since is None else now - self._good_since
        self._good_since = None
        self.trigger.resync_within(self._backoff.next_wait(well_for), "retry")


@contextmanager
def under(fate: Fate) -> Iterator[None]:
    """Let all effects of ours go by their points."""
    with ExitStack() as stack:
        for name in _EFFECTS:
            effect = fate.wrapped(name, getattr(atomic, name))
            stack.enter_context(patch.object(atomic, name, effect))
        small = fate.wrapped("state", write_small)
        stack.enter_context(patch.object(state, "write_small", small))
        stack.enter_context(patch.object(atomic, "sync_directory", lambda _: None))
        stack.enter_context(patch.object(os, "fsync", lambda _: None))
        yield
