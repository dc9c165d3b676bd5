"""Exit statuses: what scripts may rely on."""

from collections.abc import Iterable, Mapping

from sidecar.runner.journal import Outcome

SUCCESS, FAILED, WARNINGS = 0, 1, 3
STATUSES: Mapping[int, str] = {
    SUCCESS: "done, and nothing needs attention",
    FAILED: "it could not be done, or a run failed; also a wrong flag",
    WARNINGS: "done, but something needs attention: a run ended with warnings",
}
"""What each status means."""

_BADNESS = (SUCCESS, WARNINGS, FAILED)


def exit_of(outcome: Outcome | None) -> int:
    """Give the status for the end of a run; None: there was none."""
    if outcome is Outcome.WARNING:
        return WARNINGS
    return SUCCESS if outcome is not None and outcome.is_good else FAILED


def worst(statuses: Iterable[int]) -> int:
    """Give the worst of several."""
    return max(statuses, key=_BADNESS.index, default=SUCCESS)
