"""What labels may not do: labels that an image brings, and labels under a strict hook policy.

Images carry labels too. Of those that come from the image only paths within the container's
own mounts are believed. Where the hook policy is not `all`, templates (`{{`) are taken out of
lists; `flags` does the same for `backup-flags`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem, Severity, problem_of
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
_PATHS = frozenset({"include", "exclude", "iexclude"})
# What says which plan is a container's: it keeps that plan as it is while its image is gone.
_CLAIMS = frozenset({"enable", "group", "id"})
_WILDCARD = re.compile(r"[*?\[\\]")
_SHOWN = 60


class LabelSource(NamedTuple):
    """A container as far as its labels are concerned.

    `image` is the id of its image; `destinations` are those of its mounts.
    """

    name: str
    labels: Mapping[str, str]
    image: str = ""
    destinations: tuple[str, ...] = ()


class OwnLabels(NamedTuple):
    """The labels of a container under the prefix, without it, as far as they are believed.

    `problems` are those with labels that came from the image; `ignored` are these labels.
    """

    labels: dict[str, str]
    problems: list[Problem]
    ignored: Mapping[str, str]


def own_labels(
    container: LabelSource,
    image_labels: Mapping[str, str] | None,
    policy: Policy,
    *,
    is_missing: bool = False,
) -> OwnLabels:
    """Return the labels under the prefix, without those that only the image says.

    `image_labels` are None where nobody knows them; `is_missing`: because Docker has the
    image no more, so that each label may have been the image's.
    """
    labels = container.labels
    prefix, cut = policy.label_prefix, len(policy.label_prefix)
    own = {key[cut:]: value for key, value in labels.items() if key.startswith(prefix)}
    if not "".join((*own, *own.values())).isascii():
        own = {_without_surrogates(key): _without_surrogates(value) for key, value in own.items()}
    if not own or policy.trust_image_labels or image_labels == {}:
        return OwnLabels(own, [], {})
    if image_labels is None and not is_missing:
        problems = [_unknown_image(container)] if container.image else []
        return OwnLabels(own, problems, {})
    problems = []
    ignored: dict[str, str] = {}
    for name in sorted(own):
        value = own[name]
        said = value if image_labels is None else image_labels.get(prefix + name)
        if said is None or _without_surrogates(said) != value:
            continue
        allowed = _allowed_from_image(name, value, container.destinations)
        if allowed == value or (is_missing and name in _CLAIMS):
            continue
        ignored[name] = own.pop(name)
        if allowed is not None:
            own[name] = allowed
        if not is_missing:
            problems.append(_from_image(prefix, name, value, container.name))
    if is_missing:
        problems.append(_missing_image(container))
    return OwnLabels(own, problems, ignored)


def _without_surrogates(value: str) -> str:
    """Replace lone surrogates, which no document can hold, as Docker does."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _allowed_from_image(name: str, value: str, destinations: Sequence[str]) -> str | None:
    """Return what an image may set with this label: paths within the container's own mounts.

    None for nothing at all.
    """
    label, index = resolve_label(name)
    if label is None or label.field not in _PATHS:
        return None
    try:
        text = value.strip()
        items = parse_list(text, keep_quotes=False) if index < 0 else (strip_quotes(text),)
    except SpecInvalid:
        return value  # reported when the label is parsed
    roots = [f"{destination.rstrip('/')}/" for destination in destinations]
    is_pattern = label.field != "include"
    allowed = [item for item in items if _lies_in(item, roots, is_pattern=is_pattern)]
    if len(allowed) == len(items):
        return value
    return json.dumps(allowed) if allowed else None


def _lies_in(item: str, roots: Sequence[str], *, is_pattern: bool) -> bool:
    """Return whether a path, or the literal directory of a pattern, lies in one of `roots`."""
    path = item
    if is_pattern:
        path = item.removeprefix("!")
        if wildcard := _WILDCARD.search(path):
            path = path[: path.rfind("/", 0, wildcard.start()) + 1]
    if not path.startswith("/") or "\0" in item or ".." in item.split("/"):
        return False
    parts = [part for part in path.split("/") if part not in ("", ".")]
    normal = "/" + "".join(f"{part}/" for part in parts)
    return any(normal.startswith(root) for root in roots)


def _from_image(prefix: str, name: str, value: str, container: str) -> Problem:
    label, index = resolve_label(name)
    full = prefix + name
    what = "it is ignored"
    if label is not None and label.field in _PATHS:
        what = "only container paths within its own mounts are taken from it"
    if label is None:
        hint = "write a label of your own on the service"
    elif not label.is_list:
        shown = value.strip() if len(value) <= _SHOWN else "VALUE"
        hint = f'if you want it, write {full}: " {shown}" on the service'
        hint += " (the blank makes the value yours)"
    elif index < 0:
        hint = f"if you want it, write each item on the service as {full}.0, {full}.1, ..."
    else:
        hint = f"if you want it, write it on the service as {prefix}{label.name}"
    return problem_of(
        "label.from-image",
        f"{full} comes from the image of {container}, not from you: {what}",
        f"{hint}; or pass --trust-image-labels",
        container=container,
        label=full,
    )


def _unknown_image(container: LabelSource) -> Problem:
    return problem_of(
        "label.from-image",
        f"the labels of the image of {container.name} are not known: "
        "those that come from it count as yours",
        "save the list with --save-inventory, which has them",
        container=container.name,
    )


def _missing_image(container: LabelSource) -> Problem:
    return problem_of(
        "label.from-image",
        f"the image of {container.name} was removed, so nobody can tell which labels are "
        "its own: none that needs trust is believed, and a standing plan stays without hooks",
        "create the container anew (`docker compose up --force-recreate`), "
        "or pass --trust-image-labels",
        container=container.name,
        severity=Severity.ERROR,
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
