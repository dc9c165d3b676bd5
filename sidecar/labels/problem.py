"""Problems: what is wrong with one workload, as data with a stable reason code."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.lib.text import without_credentials


class Severity(StrEnum):
    """How much of what was asked is rendered.

    ERROR: no new plan, an existing one stays as it is. DEGRADED: a plan with
    less than the labels ask for. WARNING: the plan that they ask for.
    """

    ERROR = "error"
    DEGRADED = "degraded"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Reason:
    """What a reason means: its severity, and in words for the reference when it is reported.

    Whoever reports a problem may give another severity: label.unknown near `keep` or
    `paths.` and mount.unsupported of a default mount have one.
    """

    severity: Severity
    when: str


REASONS: Mapping[str, Reason] = {
    "label.invalid": Reason(Severity.ERROR, "a value outside the grammar"),
    "label.reserved": Reason(Severity.ERROR, "`backrest.plan.*` is kept for later"),
    "group.conflict": Reason(Severity.ERROR, "members of a group say different things"),
    "repo.missing": Reason(Severity.ERROR, "the named repository is not in the document"),
    "repo.unresolved": Reason(Severity.ERROR, "the document has no repository at all"),
    "repo.not-restic": Reason(
        Severity.ERROR,
        "the repository is of another program than restic, and of no use to Backrest",
    ),
    "schedule.invalid": Reason(
        Severity.ERROR,
        "not a schedule that both schedulers read alike, or one that never fires",
    ),
    "keep.invalid": Reason(Severity.ERROR, "not a retention"),
    "paths.empty": Reason(Severity.ERROR, "nothing is left to back up"),
    "plan.moving": Reason(
        Severity.WARNING,
        "the plan is on its way between config.json and the runner's document, and stands in both",
    ),
    "plan.id-taken": Reason(
        Severity.ERROR,
        "the plan of that id belongs to another workload, which is still there, or the hook "
        "policy does not allow to go on with it",
    ),
    "hook.template-unknown": Reason(Severity.ERROR, "no such template"),
    "label.unknown": Reason(
        Severity.DEGRADED,
        "no such label; an error where `enable`, `keep` or `paths.` was probably meant",
    ),
    "path.unmapped": Reason(Severity.DEGRADED, "a path that lies in no mount"),
    "path.escape": Reason(Severity.DEGRADED, "a path that leaves its mount through `..`"),
    "path.link": Reason(
        Severity.DEGRADED,
        "a path that is a symbolic link: it would be saved in place of what it leads to; told by "
        "`lint` and `reconcile --dry-run`, where the host's files can be seen",
    ),
    "path.invisible": Reason(Severity.DEGRADED, "a path that the runner does not see"),
    "mount.unsupported": Reason(
        Severity.DEGRADED,
        "a mount whose data is not in a directory of the host; a warning where no label names it",
    ),
    "hook.forbidden": Reason(
        Severity.DEGRADED,
        "the hook policy does not allow it, or it would stop the runner",
    ),
    "secret.missing": Reason(Severity.DEGRADED, "a secret reference that leads nowhere"),
    "list.suspicious": Reason(
        Severity.WARNING,
        "an item of a list that probably means something else to restic than to its author",
    ),
    "list.split-command": Reason(
        Severity.WARNING,
        "a command of several lines that a comma splits",
    ),
    "schedule.every-minute": Reason(Severity.WARNING, "every minute of the hours that it names"),
    "plan.id-collision": Reason(Severity.WARNING, "two workloads come to the same plan id"),
    "plan.renamed": Reason(Severity.WARNING, "a new plan continues one that lost its workload"),
    "plan.taken-over": Reason(
        Severity.WARNING,
        "a workload goes on with the plan of another, which is gone",
    ),
    "repo.assumed": Reason(Severity.WARNING, "several repositories, and nobody says which"),
    "keep.within-ignored": Reason(Severity.WARNING, "`within` works with `backup-once` only"),
    "keep.overridden": Reason(Severity.WARNING, "the repository has a forget policy of its own"),
    "path.shared": Reason(
        Severity.WARNING, "two plans back up the same path, or one what lies in a path of the other"
    ),
    "data.live-database": Reason(
        Severity.WARNING,
        "the files of a database, which are copied while it writes them",
    ),
    "volume.anonymous": Reason(
        Severity.WARNING,
        "an anonymous volume, whose history ends with its container",
    ),
    "label.prefix-typo": Reason(
        Severity.WARNING,
        "a label of ours but for its prefix, which does nothing",
    ),
    "label.from-image": Reason(
        Severity.WARNING,
        "a label that the image brought, which is ignored; an error for the `id` of a standing "
        "plan, and where the image was removed",
    ),
    "lint.misplaced": Reason(
        Severity.WARNING,
        "a label at a place that lasts no longer than its container, as a pod's own",
    ),
    "label.swarm-service": Reason(
        Severity.WARNING,
        "labels that stand on a Swarm service and not on its containers, and are not read",
    ),
    "secret.literal": Reason(
        Severity.WARNING,
        "an address or token that stands in the label itself",
    ),
    "hook.self-empty": Reason(Severity.WARNING, "`docker stop` or `docker start` without a name"),
    "hook.auto-remove": Reason(
        Severity.WARNING,
        "a stop would remove the container (`--rm`): its backups fail before they stop it",
    ),
    "hook.template-off": Reason(
        Severity.WARNING,
        "your own start or end commands take the template's place",
    ),
}
SEVERITIES: Mapping[str, Severity] = {name: reason.severity for name, reason in REASONS.items()}
"""The severity of each reason, unless who reports it gives another."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about one workload.

    `reason` is a key of REASONS; `workload` its natural key; `container` and
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
    container: str = "",
    label: str = "",
    severity: Severity | None = None,
) -> Problem:
    """Build a problem, of no workload yet, with the severity that its reason has by default."""
    return Problem(
        reason=reason,
        message=without_credentials(message),
        hint=without_credentials(hint),
        container=container,
        label=label,
        severity=severity or SEVERITIES[reason],
    )
