"""Problems: what is wrong with one workload, as data with a stable reason code."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.model.quote import without_credentials


class Severity(StrEnum):
    """How much of what was asked is rendered.

    ERROR: no new plan, an existing one stays as it is. DEGRADED: rendered with
    less than was asked. WARNING: rendered as asked.
    """

    ERROR = "error"
    DEGRADED = "degraded"
    WARNING = "warning"


# The severity that a reason has unless the place that finds it says otherwise
# (label.unknown near `keep` or `paths.` and mount.unsupported of a default mount do).
SEVERITIES: Mapping[str, Severity] = {
    "label.invalid": Severity.ERROR,
    "label.reserved": Severity.ERROR,
    "group.conflict": Severity.ERROR,
    "repo.missing": Severity.ERROR,
    "repo.unresolved": Severity.ERROR,
    "schedule.invalid": Severity.ERROR,
    "keep.invalid": Severity.ERROR,
    "paths.empty": Severity.ERROR,
    "hook.template-unknown": Severity.ERROR,
    "label.unknown": Severity.DEGRADED,
    "path.unmapped": Severity.DEGRADED,
    "path.escape": Severity.DEGRADED,
    "path.invisible": Severity.DEGRADED,
    "mount.unsupported": Severity.DEGRADED,
    "hook.forbidden": Severity.DEGRADED,
    "secret.missing": Severity.DEGRADED,
    "plan.id-collision": Severity.WARNING,
    "plan.renamed": Severity.WARNING,
    "repo.assumed": Severity.WARNING,
    "keep.within-ignored": Severity.WARNING,
    "keep.overridden": Severity.WARNING,
    "path.shared": Severity.WARNING,
    "volume.anonymous": Severity.WARNING,
    "label.from-image": Severity.WARNING,
    "secret.literal": Severity.WARNING,
    "hook.self-empty": Severity.WARNING,
    "hook.template-off": Severity.WARNING,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about one workload.

    `reason` is a key of SEVERITIES; `workload` its natural key; `container` and
    `label` name where to look; `message` says what is wrong and `hint` what to
    write instead. Neither may hold a secret.
    """

    reason: str
    message: str
    hint: str = ""
    workload: str = ""
    container: str = ""
    label: str = ""
    severity: Severity = Severity.ERROR

    @property
    def blocks(self) -> bool:
        """Whether the workload gets no new plan because of this."""
        return self.severity is Severity.ERROR


def problem_of(
    reason: str,
    message: str,
    hint: str = "",
    *,
    workload: str = "",
    container: str = "",
    label: str = "",
    severity: Severity | None = None,
) -> Problem:
    """Build a problem with the severity that its reason has by default."""
    return Problem(
        reason=reason,
        message=without_credentials(message),
        hint=without_credentials(hint),
        workload=workload,
        container=container,
        label=label,
        severity=severity or SEVERITIES[reason],
    )
