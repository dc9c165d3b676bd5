"""Problems and their severities."""

import pytest

from sidecar.labels.problem import SEVERITIES, Severity, problem_of


@pytest.mark.parametrize("reason", SEVERITIES)
def test_a_problem_has_its_reason_s_severity(reason: str) -> None:
    """Unless another severity is given."""
    assert problem_of(reason, "message").severity is SEVERITIES[reason]
    assert problem_of(reason, "message", severity=Severity.WARNING).severity is Severity.WARNING


def test_only_errors_block() -> None:
    """Degraded and warning still give a plan."""
    assert [problem_of("keep.invalid", "", severity=severity).blocks for severity in Severity] == [
        True,
        False,
        False,
    ]
