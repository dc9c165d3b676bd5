"""Apply the desired state: choose between API and restart, step by step."""

import logging

from sidecar.backrest.api import ApiError, ApiTrouble
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import SidecarError
from sidecar.reconciler.apply.by_api import NOTHING_TO_DO, ApiProbe, ApiStrategy
from sidecar.reconciler.apply.by_restart import RestartStrategy
from sidecar.reconciler.apply.context import (
    ApplyConnections,
    ApplyDependencies,
    ApplyReporter,
    LastPass,
    StepResult,
)
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import ApplyVia, ReconcilerSettings
from sidecar.reconciler.state import ApplyTrouble
from sidecar.reconciler.store.replace import Store

_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 15 * 60.0
_MOST_DOUBLINGS = 10
_UNREACHABLE_SECONDS = 3.0
_SILENT = frozenset({ApiTrouble.UNREACHABLE, ApiTrouble.REFUSED_LOGIN})
# An API that answers the probe and fails the call so often in a row is a failure as well.
_MOST_SILENCES = 4


class Applier:
    """Makes Backrest load what is desired, step by step.

    `step` is for one thread, `is_backrest_writer` is for any. `connections` are used by nobody
    else. `last_pass` tells what is desired. The events of a step are, once for each change of
    situation, `applied`, `failed`, `waiting`, `limited`, `refused`, `foreign-edit`, `unknown`
    or `no-runner`, and `refused-login` or `accepted-login`; `restarted` when the document is
    to be read again; `drift` for each key of a plan that was put back.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        recorder: PassRecorder,
        connections: ApplyConnections,
        last_pass: LastPass,
        *,
        clocks: Clocks | None = None,
    ) -> None:
        self._clocks = clocks or Clocks()
        self._reporter = ApplyReporter()
        dependencies = ApplyDependencies(
            settings, recorder, connections, self._reporter, self._clocks
        )
        self._settings = settings
        self._memory = recorder.memory
        self._restart = RestartStrategy(dependencies)
        self._api = (
            ApiStrategy(dependencies, connections.api) if connections.api is not None else None
        )
        uses_api = settings.applying.enabled and settings.applying.via is not ApplyVia.RESTART
        self._probe = ApiProbe(connections.probe if uses_api else None, self._clocks)
        self._last_pass = last_pass
        self._fallback_started_at: float | None = None
        self._silences = 0
        self._is_login_refused = False

    def is_backrest_writer(self) -> bool:
        """Return whether Backrest is the writer now, so that nobody else may write the file."""
        return self._fallback_started_at is None and self._probe.answers()

    def step(self) -> StepResult:
        """Do what can be done now. Raises nothing: a failure is reported and kept in the state."""
        if not self._settings.applying.enabled:
            return StepResult(NOTHING_TO_DO)
        if (pause := self._pause()) > 0:
            return StepResult(pause)
        wait = self._attempt()
        self._report_login()
        return StepResult(wait, self._reporter.take())

    def _attempt(self) -> float:
        try:
            return self._step()
        except ApiError as error:
            self._silences += 1
            if error.kind in _SILENT and self._silences < _MOST_SILENCES:
                self._note_silence()
                return _UNREACHABLE_SECONDS
            return self._fail(error)
        except SidecarError as error:
            return self._fail(error)

    def _report_login(self) -> None:
        """Report once that our login is refused, and once that it is not any more."""
        if self._probe.is_login_refused != self._is_login_refused:
            self._is_login_refused = not self._is_login_refused
            self._reporter.note("refused-login" if self._is_login_refused else "accepted-login")

    def _step(self) -> float:
        if self._restart.is_restarting:
            return self._restart_step()
        if self._fallback_started_at is not None:
            return self._step_fallen_back(self._fallback_started_at)
        if self._settings.applying.via is ApplyVia.RESTART:
            return self._restart_step()
        if self._api is not None and self._probe.answers():
            return self._api_step(self._api)
        # When it answers again, it may be another process with another document.
        if self._api is not None:
            self._api.reset()
        if self._settings.applying.via is ApplyVia.API:
            return _UNREACHABLE_SECONDS
        return min(self._restart_step(), _UNREACHABLE_SECONDS if self._api else NOTHING_TO_DO)

    def _api_step(self, api: ApiStrategy) -> float:
        good = self._last_pass.good
        if good is None:
            return NOTHING_TO_DO
        wait = api.step(good.desired, good.changed_at)
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
        """Write the file ourselves from now on, and let Backrest read it by a restart."""
        backrest = self._restart.find()
        if backrest is not None and backrest.is_running:
            self._fallback_started_at = backrest.started_at

    def _step_fallen_back(self, started_at: float) -> float:
        backrest = self._restart.find()
        if backrest is None or backrest.started_at != started_at:
            self._fallback_started_at = None
            if self._api is not None:
                self._api.reset()
            return 0.0
        # The file's time may be an old one: an editor or `cp -p` sets it.
        mtime = Store(self._settings.config).read().identity.mtime_ns / 1e9
        return self._restart_step(max(mtime, started_at))

    def _note_silence(self) -> None:
        self._probe.note_failure()
        if self._api is not None:
            self._api.reset()

    def _pause(self) -> float:
        """Return the seconds to wait after a failure; bounded, as the clock may be set back."""
        left = self._memory.state.trouble.not_before - self._clocks.wall()
        return min(left, _LONGEST_PAUSE)

    def _fail(self, error: SidecarError) -> float:
        wall = self._clocks.wall()
        with self._memory.turn() as state:
            failures = state.trouble.failures + 1
            trouble = ApplyTrouble(failures, wall + pause_after(failures), error.message)
            self._memory.change(trouble=trouble)
        facts = {"reason": error.message, "hint": error.hint}
        self._reporter.report("failed", logging.WARNING, error.message, **facts)
        return self._pause()

    def _clear_trouble(self) -> None:
        if self._memory.state.trouble.failures:
            self._memory.change(trouble=ApplyTrouble())
            self._reporter.forget()


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: 30, doubling, at most 900."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
