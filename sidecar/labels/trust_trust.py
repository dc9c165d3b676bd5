"""What labels may not do where the hook policy does not trust them fully."""

from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.spec import LabelSpec

# The list labels outside hooks; those of hooks are judged where hooks are made.
_LISTS = {
    "include": "paths.include",
    "exclude": "paths.exclude",
    "iexclude": "paths.iexclude",
    "backup_flags": "backup-flags",
}


def without_templates(spec: LabelSpec, policy: Policy) -> tuple[LabelSpec, list[Problem]]:
    """Take list items that hold a runner's template out, unless labels are trusted."""
    if policy.hook_policy is HookPolicy.ALL:
        return spec, []
    kept: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for field, name in _LISTS.items():
        items: tuple[str, ...] = getattr(spec, field) or ()
        allowed = tuple(item for item in items if "{{" not in item)
        if len(allowed) != len(items):
            kept[field] = allowed
            problems.append(_forbidden(policy.label_prefix + name, policy))
    return spec._replace(**kept), problems  # type: ignore[arg-type]  # the fields are lists


def _forbidden(label: str, policy: Policy) -> Problem:
    return problem_of(
        "hook.forbidden",
        f"{label} holds {{{{, which is not allowed under --hook-policy {policy.hook_policy}",
        "write it without {{, or run the sidecar with --hook-policy all",
        label=label,
    )
