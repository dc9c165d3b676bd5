"""The thread that steps whatever acts on Backrest and Docker, and passes on what came of it."""

import threading
import time
from collections.abc import Sequence

from sidecar.reconciler.apply.context import ApplyEvent, GuardEvent, LastPass, Stepper
from sidecar.reconciler.report import ApplyResult, ReconcilerReport
from sidecar.reconciler.trigger import PassTrigger

_SHORTEST_STEP = 0.05
_STOP_SECONDS = 1.0
_RESULTS = frozenset(ApplyResult)
_LOGINS = {"refused-login": True, "accepted-login": False}


class ApplyThread:
    """Calls steppers in turn until it is stopped, each after the seconds that it returned last.

    A new pass wakes it: then all are called. What comes of their steps goes to `report`, and
    to `trigger` where a pass has to look again.
    """

    def __init__(
        self,
        steppers: Sequence[Stepper],
        last_pass: LastPass,
        report: ReconcilerReport,
        trigger: PassTrigger,
    ) -> None:
        self._steppers = steppers
        self._last_pass = last_pass
        self._report = report
        self._trigger = trigger
        self._is_stopping = False
        # A daemon thread: a call to a Docker that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="apply", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, with the first step at once."""
        self._thread.start()

    def stop(self) -> bool:
        """Stop after the step that runs; return whether that took less than a second."""
        self._is_stopping = True
        self._last_pass.wake()
        self._thread.join(_STOP_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        due = [0.0] * len(self._steppers)
        is_woken = False
        while not self._is_stopping:
            for index, stepper in enumerate(self._steppers):
                now = time.monotonic()
                if (is_woken or now >= due[index]) and not self._is_stopping:
                    step = stepper.step()
                    due[index] = now + max(_SHORTEST_STEP, step.wait)
                    for event in step.events:
                        pass_on(event, self._report, self._trigger)
            is_woken = self._last_pass.wait(max(_SHORTEST_STEP, min(due) - time.monotonic()))


def pass_on(event: ApplyEvent | GuardEvent, report: ReconcilerReport, trigger: PassTrigger) -> None:
    """Report what came of a step, and have a pass made where that may have changed something."""
    if isinstance(event, GuardEvent):
        if event.result == "resumed":
            report.guarded(1)
        return
    result, facts = event.result, event.facts
    if result == ApplyResult.FOREIGN_EDIT:
        trigger.nudge("foreign edit")
    if result in _RESULTS:
        report.applied(result, time.time())
    elif result in _LOGINS:
        report.login_refused(_LOGINS[result])
    elif result == "drift":
        report.drift(str(facts["plan"]), str(facts["key"]))
    elif result == "restarted":
        trigger.nudge("restarted")
