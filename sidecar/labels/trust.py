"""What labels may not do: labels that an image brings, and labels under a strict hook policy.

Images carry labels too, so a label that runs commands or chooses host paths is ignored when
it comes from the image. Where the hook policy is not `all`, templates (`{{`) are taken out of
lists; `flags` does the same for `backup-flags`.
"""

import json
from collections.abc import Mapping

from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import resolve_label
from sidecar.labels.spec import LabelSpec
from sidecar.labels.values import parse_list, strip_quotes
from sidecar.lib.text import SpecInvalid

# The list labels outside hooks and flags; the planner checks those of hooks when it makes the
# hooks.
_LISTS = {
    "include": "paths.include",
    "exclude": "paths.exclude",
    "iexclude": "paths.iexclude",
}


def own_labels(
    labels: Mapping[str, str], container: str, image_labels: Mapping[str, str], policy: Policy
) -> tuple[dict[str, str], list[Problem]]:
    """Return the labels under the prefix, and the problems with those that came from the image.

    `container` is its name, for the problems.
    """
    prefix, cut = policy.label_prefix, len(policy.label_prefix)
    own = {key[cut:]: value for key, value in labels.items() if key.startswith(prefix)}
    if not "".join((*own, *own.values())).isascii():
        own = {_without_surrogates(key): _without_surrogates(value) for key, value in own.items()}
    if not own or policy.trust_image_labels or not image_labels:
        return own, []
    problems: list[Problem] = []
    for name in sorted(own):
        if image_labels.get(prefix + name) == own[name]:
            allowed = _allowed_from_image(name, own.pop(name))
            if allowed is not None:
                own[name] = allowed
            if own.get(name) != image_labels[prefix + name]:
                problems.append(_from_image(prefix + name, container))
    return own, problems


def _without_surrogates(value: str) -> str:
    """Replace lone surrogates, which no document can hold, as Docker does."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _allowed_from_image(name: str, value: str) -> str | None:
    """Return what an image may set with this label: all, None, or all but `host:` paths."""
    label, index = resolve_label(name)
    if label is None or not (label.trusted or label.field == "include"):
        return value
    if label.trusted:
        return None
    try:
        text = value.strip()
        items = parse_list(text, keep_quotes=False) if index < 0 else (strip_quotes(text),)
    except SpecInvalid:
        return value  # reported when the label is parsed
    allowed = [item for item in items if not item.startswith("host:")]
    if len(allowed) == len(items):
        return value
    return json.dumps(allowed) if allowed else None


def _from_image(label: str, container: str) -> Problem:
    return problem_of(
        "label.from-image",
        f"{label} comes from the image of {container}, not from you: it is ignored",
        "set it on the service with a value of your own, or pass --trust-image-labels",
        container=container,
        label=label,
    )


def without_templates(spec: LabelSpec, policy: Policy) -> tuple[LabelSpec, list[Problem]]:
    """Take out list items with a template of the runner (`{{`), unless the policy is `all`."""
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
