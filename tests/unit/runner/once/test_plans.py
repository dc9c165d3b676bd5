"""Backing up once by the plans of the document."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import FailureClass, Progress
from sidecar.lib.errors import UsageError
from sidecar.runner.due import Job
from sidecar.runner.job.progress import Event, ProgressHub, RunFinished
from sidecar.runner.journal import Ended, Run, RunCause, RunOutcome
from sidecar.runner.once.once import Result
from sidecar.runner.once.plans import OpenPlans, PlansStrategy, result_of
from sidecar.runner.settings import RunnerSettings


def test_a_document_without_an_enabled_plan_is_no_backup(tmp_path: Path) -> None:
    """A backup of nothing must not look like one that went well."""
    config = tmp_path / "config.json"
    config.write_text('{"modno": 1, "version": 6, "instance": "i"}')
    with pytest.raises(UsageError, match="no enabled plan"):
        PlansStrategy(RunnerSettings(config), {}, lambda *_: None).prepare()


@pytest.mark.parametrize(
    ("result", "outcome", "failure"),
    [
        (Result.DONE, RunOutcome.SUCCESS, None),
        (Result.DONE, RunOutcome.CANCELLED, FailureClass.HOOK),
        (Result.FAILED, RunOutcome.CANCELLED, FailureClass.INTERRUPTED),
        (Result.WARNING, RunOutcome.WARNING, FailureClass.HOOK),
        (Result.FAILED, RunOutcome.FAILED, FailureClass.HOOK),
    ],
)
def test_a_plan_that_its_hook_skips_has_not_failed(
    result: Result, outcome: RunOutcome, failure: FailureClass | None
) -> None:
    """As with `run`: the hook said that there is nothing to back up."""
    assert result is result_of(Ended(outcome, 5.0, failure=failure))
    assert Result.FAILED is result_of(None)


class InstantPool:
    """A pool whose runs are halfway and then over as soon as they are submitted."""

    def __init__(self, hub: ProgressHub) -> None:
        self._hub = hub

    def start(self) -> None:
        """It has no threads."""

    def submit(self, job: Job, trigger: RunCause) -> None:
        """Run the job."""
        self._hub.begin(job)
        self._hub.publish(job, Progress(0.5, 1, 2, 3, 4))
        ended = Ended(RunOutcome.SUCCESS, 5.0)
        self._hub.set_end(job, RunFinished(Run(1, job, trigger, 2.0, ended=ended)))
        self._hub.finish(job)

    def close(self, seconds: float) -> bool:
        """Nothing runs any more."""
        return seconds > 0


def test_how_far_each_plan_is_is_shown_before_its_end() -> None:
    """Hours may lie between the two."""
    shown: list[tuple[str, str]] = []

    def show(job: Job, event: Event) -> None:
        shown.append((job.subject, type(event).__name__))

    plans = (RunPlan("web", "r"), RunPlan("db", "r"))
    prepared: Any = SimpleNamespace(plans=plans, show=show)
    hub, parts = ProgressHub(), SimpleNamespace()
    pool: Any = InstantPool(hub)
    result = OpenPlans(prepared, parts, hub, pool).run()  # type: ignore[arg-type]

    assert Result.DONE is result
    assert [
        (plan, event) for plan in ("web", "db") for event in ("Progress", "RunFinished")
    ] == shown
