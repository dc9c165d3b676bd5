"""What labels decide about `backup-once`: which containers it stops, and what it keeps.

What is kept becomes restic's own flags (`--keep-daily 7`): unlike a plan in Backrest,
`backup-once` also takes time spans and short spellings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sidecar.docker.models import PROJECT, SERVICE, Container, Inventory
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import FALSE_WORDS, TRUE_WORDS, parse_bool
from sidecar.labels.retention import KEYS, WITHIN_KEYS, parse_retention
from sidecar.lib.text import SpecInvalid
from sidecar.planner.workload import ONEOFF, Workload, group_workloads

_SHORT = {key[0]: key for key in KEYS[1:]}
_SHORT_WITHIN = {f"within-{letter}": f"within-{key}" for letter, key in _SHORT.items()}
_SPELLINGS = _SHORT | _SHORT_WITHIN
# The grammar of labels wants a count, because Backrest knows no spans; restic needs none.
_ANY_COUNT = "last=1"


@dataclass(frozen=True, slots=True)
class KeepRule:
    """What is kept of a service: its folder in snapshots, `[PROJECT/]SERVICE`, and the flags."""

    folder: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnceLabels:
    """The ids of the containers to stop, what is kept of services, and what is wrong."""

    to_stop: tuple[str, ...] = ()
    keep_rules: tuple[KeepRule, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class QuiesceLabel:
    """The label that asks for a container to be stopped; `value` None: any value does."""

    key: str
    value: str | None

    def is_on(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels ask for it; raises SpecInvalid if neither true nor false.

        All spellings of true are one value, and so are those of false.
        """
        found = labels.get(self.key)
        if found is None or self.value is None:
            return found is not None
        if self.value.lower() in TRUE_WORDS | FALSE_WORDS:
            return parse_bool(found.strip()) == parse_bool(self.value)
        return found.strip() == self.value


def parse_quiesce_label(text: str, prefix: str) -> QuiesceLabel:
    """Parse `KEY=VALUE` or `KEY`; an empty text means a true `quiesce` under the prefix."""
    key, equals, value = (text or f"{prefix}quiesce=true").partition("=")
    return QuiesceLabel(key.strip(), value.strip() if equals else None)


def read_once_labels(inventory: Inventory, policy: Policy, quiesce: QuiesceLabel) -> OnceLabels:
    """Read the labels of an inventory; never raises for their values."""
    ids, problems = _find_to_stop(inventory.containers, policy, quiesce)
    rules: dict[str, KeepRule] = {}
    for workload in group_workloads(inventory, policy):
        try:
            flags = _keep_flags(workload)
        except _LabelInvalid as invalid:
            problems.append(invalid.problem(workload, policy))
            continue
        for folder in _folders(workload, policy) if flags else ():
            rules[folder] = KeepRule(folder, flags)
    return OnceLabels(ids, tuple(rules.values()), tuple(problems))


def _find_to_stop(
    containers: Iterable[Container], policy: Policy, quiesce: QuiesceLabel
) -> tuple[tuple[str, ...], list[Problem]]:
    ids, problems = [], []
    for one in containers:
        # A `run` container carries its service's labels, and we cannot stop ourselves.
        if one.labels.get(ONEOFF) in {"True", "true"} or one.id == policy.own_container_id:
            continue
        try:
            if quiesce.is_on(one.labels):
                ids.append(one.id)
        except SpecInvalid as error:
            message = f"{quiesce.key} of {one.name}: {error.message}; it is not stopped"
            problems.append(
                problem_of(
                    "label.invalid", message, error.hint, container=one.name, label=quiesce.key
                )
            )
    return tuple(ids), problems


class _LabelInvalid(Exception):
    """A label of a workload that cannot be read."""

    def __init__(self, reason: str, label: str, error: SpecInvalid) -> None:
        super().__init__(label)
        self._reason, self._label, self._error = reason, label, error

    def problem(self, workload: Workload, policy: Policy) -> Problem:
        """Return it as a problem of the workload."""
        name = policy.label_prefix + self._label
        message = f"{name} of {workload.key}: {self._error.message}; nothing of it is forgotten"
        problem = problem_of(self._reason, message, self._error.hint, label=name)
        return replace(problem, workload=workload.key)


def _keep_flags(workload: Workload) -> tuple[str, ...]:
    """Return the keep flags of a workload, none if not enabled or kept whole.

    Raises _LabelInvalid.
    """
    enable, keep = (workload.labels.get(name, "").strip() for name in ("enable", "keep"))
    if not enable or not keep:
        return ()
    try:
        is_enabled = parse_bool(enable)
    except SpecInvalid as error:
        raise _LabelInvalid("label.invalid", "enable", error) from None
    if not is_enabled:
        return ()
    try:
        return render_keep_flags(keep)
    except SpecInvalid as error:
        raise _LabelInvalid("keep.invalid", "keep", error) from None


def render_keep_flags(text: str) -> tuple[str, ...]:
    """Return the `--keep-*` flags of a keep label; none for `all`: nothing is forgotten.

    Spans (`within=30d`) may stand alone, and `h d w m y` for the words that begin so.
    Raises SpecInvalid as `parse_retention` does.
    """
    pairs = [_parse_pair(item) for item in text.split(",")]
    spelt = ",".join(f"{key}={value}" if equals else key for key, equals, value in pairs)
    are_spans = all(key in WITHIN_KEYS for key, _, _ in pairs)
    retention, _ = parse_retention(f"{spelt},{_ANY_COUNT}" if are_spans else spelt)
    if retention.keep_all:
        return ()
    return tuple(word for key, _, value in pairs for word in (f"--keep-{key}", value))


def _parse_pair(item: str) -> tuple[str, str, str]:
    key, equals, value = (part.strip() for part in item.partition("="))
    return _SPELLINGS.get(key, key), equals, value


def _folders(workload: Workload, policy: Policy) -> list[str]:
    """Return the folders of the workload's services, each once."""
    folders: dict[str, None] = {}
    for one in workload.containers:
        service = one.labels.get(SERVICE) or workload.swarm_service or one.name
        project = one.labels.get(PROJECT, "") if policy.include_project_name else ""
        folders[f"{project}/{service}" if project else service] = None
    return list(folders)
