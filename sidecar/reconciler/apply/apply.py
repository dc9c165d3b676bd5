"""Making the runner notice what we want: the entrance to both ways, and their thread."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from sidecar.backrest.api import ApiError, ApiTrouble
from sidecar.lib.errors import SidecarError
from sidecar.reconciler.apply.by_api import NOTHING_TO_DO, ApiProbe, ApiStrategy
from sidecar.reconciler.apply.by_restart import RestartStrategy
from sidecar.reconciler.apply.context import (
    ApplyConnections,
    ApplyDependencies,
    ApplyReporter,
    Clocks,
    OnResult,
)
from sidecar.reconciler.apply.idle import Due, DueSoon
from sidecar.reconciler.desired_state import DesiredState
from sidecar.reconciler.settings import ApplyVia, ReconcilerSettings
from sidecar.reconciler.state import ApplyTrouble, Memory, State
from sidecar.reconciler.store.store import Store

_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 15 * 60.0
_MOST_DOUBLINGS = 10
_CLOSED_SECONDS = 3.0
_SHORTEST_STEP = 0.05
_STOP_SECONDS = 1.0
_SILENT = frozenset({ApiTrouble.UNREACHABLE, ApiTrouble.REFUSED_LOGIN})
# That it answers when we knock and falls silent when we ask is a failure as well.
_MOST_SILENCES = 4


class Applier:
    """The runner thread's work, step by step; `want` and `is_writer` are for any thread.

    `links` are used by this alone. `on_result` is told, once for each change of situation,
    `applied`, `failed`, `waiting`, `limited`, `refused`, `foreign-edit`,
    `unknown` and `no-runner`. `on_restarted`: the document is to be read again. `due`: see
    `applying.idle`.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        memory: Memory,
        connections: ApplyConnections,
        on_result: OnResult,
        on_restarted: Callable[[], None],
        *,
        due: Due | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._clocks = clocks or Clocks()
        self._reporter = ApplyReporter(on_result)
        due = due or DueSoon(settings.config)
        dependencies = ApplyDependencies(
            settings, memory, connections, self._reporter, due, self._clocks
        )
        self._settings = settings
        self._memory = memory
        self._restart = RestartStrategy(dependencies, on_restarted)
        self._api = (
            ApiStrategy(dependencies, connections.api) if connections.api is not None else None
        )
        uses_api = settings.applying.enabled and settings.applying.via is not ApplyVia.RESTART
        self._door = ApiProbe(connections.probe if uses_api else None, self._clocks.steady)
        self._lock = threading.Lock()
        self._desired: tuple[DesiredState, float] | None = None
        self._fallen_back: float | None = None
        self._silences = 0
        self.wake: Callable[[], None] = _nothing

    def want(self, desire: DesiredState, changed_at: float) -> None:
        """Take the newest wish; `changed_at`: monotonic time when it last differed."""
        with self._lock:
            self._desired = (desire, changed_at)
        self.wake()

    def is_writer(self) -> bool:
        """Tell whether Backrest is the writer now, so that nobody else may write the file."""
        return self._fallen_back is None and self._door.is_open()

    def step(self) -> float:
        """Do what can be done now; seconds until there may be more to do. Raises nothing."""
        if not self._settings.applying.enabled:
            return NOTHING_TO_DO
        if (pause := self._pause()) > 0:
            return pause
        try:
            return self._step()
        except ApiError as error:
            self._silences += 1
            if error.kind in _SILENT and self._silences < _MOST_SILENCES:
                self._close_door()
                return _CLOSED_SECONDS
            return self._fail(error)
        except SidecarError as error:
            return self._fail(error)

    def _step(self) -> float:
        if self._restart.is_under_way:
            return self._restart_step()
        if self._fallen_back is not None:
            return self._step_fallen_back(self._fallen_back)
        if self._settings.applying.via is ApplyVia.RESTART:
            return self._restart_step()
        if self._api is not None and self._door.is_open():
            return self._api_step(self._api)
        # Should it answer again, it may be another process with another document.
        if self._api is not None:
            self._api.reset()
        if self._settings.applying.via is ApplyVia.API:
            return _CLOSED_SECONDS
        return min(self._restart_step(), _CLOSED_SECONDS if self._api else NOTHING_TO_DO)

    def _api_step(self, api: ApiStrategy) -> float:
        with self._lock:
            desired = self._desired
        if desired is None:
            return NOTHING_TO_DO
        wait = api.step(*desired)
        if api.is_settled:
            self._silences = 0
            self._clear_trouble()
        if api.has_foreign_edit and self._settings.applying.via is ApplyVia.AUTO:
            self._fall_back()
        return wait

    def _restart_step(self, edited_at: float = 0.0) -> float:
        wait = self._restart.step(edited_at)
        if self._restart.is_settled:
            self._clear_trouble()
        return wait

    def _fall_back(self) -> None:
        """Let the file be written by us, and the runner read it by a restart."""
        runner = self._restart.find()
        if runner is not None and runner.is_running:
            self._fallen_back = runner.started_at

    def _step_fallen_back(self, started_at: float) -> float:
        runner = self._restart.find()
        if runner is None or runner.started_at != started_at:
            self._fallen_back = None
            if self._api is not None:
                self._api.reset()
            return 0.0
        # Its time may be an old one: an editor or `cp -p` gives it as it likes.
        mtime = Store(self._settings.config).read().identity.mtime_ns / 1e9
        return self._restart_step(max(mtime, started_at))

    def _close_door(self) -> None:
        self._door.shut()
        if self._api is not None:
            self._api.reset()

    def _pause(self) -> float:
        """Seconds to wait after a failure; bounded, should the clock have been set back."""
        left = self._memory.state.trouble.not_before - self._clocks.wall()
        return min(left, _LONGEST_PAUSE)

    def _fail(self, error: SidecarError) -> float:
        wall = self._clocks.wall()

        def failed(state: State) -> State:
            failures = state.trouble.failures + 1
            trouble = ApplyTrouble(failures, wall + pause_after(failures), error.message)
            return replace(state, trouble=trouble)

        self._memory.update(failed)
        facts = {"reason": error.message, "hint": error.hint}
        self._reporter.tell("failed", logging.WARNING, error.message, **facts)
        return self._pause()

    def _clear_trouble(self) -> None:
        if self._memory.state.trouble.failures:
            self._memory.change(trouble=ApplyTrouble())
            self._reporter.forget()


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 30, doubling, at most 15 minutes."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))


def _nothing() -> None:
    """Wake nobody."""


class ApplyThread:
    """Calls steps in turn, each when it wants to be called, until it is stopped."""

    def __init__(self, steps: Sequence[Callable[[], float]], name: str = "apply") -> None:
        self._steps = steps
        self._event = threading.Event()
        self._is_stopping = False
        # A call to an engine that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin with the first step at once."""
        self._thread.start()

    def wake(self) -> None:
        """Call the steps now, because there is news."""
        self._event.set()

    def stop(self) -> bool:
        """End after the step that runs; True if that took less than a second."""
        self._is_stopping = True
        self._event.set()
        self._thread.join(_STOP_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        due = [0.0] * len(self._steps)
        is_woken = False
        while not self._is_stopping:
            for index, step in enumerate(self._steps):
                now = time.monotonic()
                if (is_woken or now >= due[index]) and not self._is_stopping:
                    due[index] = now + max(_SHORTEST_STEP, step())
            self._event.wait(max(_SHORTEST_STEP, min(due) - time.monotonic()))
            if is_woken := self._event.is_set():
                self._event.clear()
