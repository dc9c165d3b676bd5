"""Backing up once by the plans of the document."""

from pathlib import Path

import pytest

from sidecar.engines.base import FailureClass
from sidecar.lib.errors import UsageError
from sidecar.runner.journal import Ended, RunOutcome
from sidecar.runner.once.once import Result
from sidecar.runner.once.plans import PlansStrategy, result_of
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
