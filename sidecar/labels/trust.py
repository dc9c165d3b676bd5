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
from sidecar.labels.spec import LARGEST_LABEL, MOST_ITEMS, LabelSpec
from sidecar.labels.values import parse_list, strip_quotes
from sidecar.lib.text import SpecInvalid, quoted

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

    `image` is the id of its image; `destinations` are those of its mounts; `links` are the
    paths in them that were seen to be symbolic links.
    """

    name: str
    labels: Mapping[str, str]
    image: str = ""
    destinations: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


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
        if image_labels is not None and image_labels.get(prefix + name) != value:
            continue
        allowed = _allowed_from_image(name, value, container)
        if allowed == value or (is_missing and name in _CLAIMS):
            continue
        ignored[name] = own.pop(name)
        if allowed is not None:
            own[name] = allowed
        if not is_missing:
            problems.append(_from_image(prefix, name, value, container))
    if is_missing:
        problems.append(_missing_image(container))
    return OwnLabels(own, problems, ignored)


def _without_surrogates(value: str) -> str:
    """Replace lone surrogates, which no document can hold, as Docker does."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _allowed_from_image(name: str, value: str, container: LabelSource) -> str | None:
    """Return what an image may set with this label: paths within the container's own mounts.

    None for nothing at all.
    """
    label, index = resolve_label(name)
    if label is None or label.field not in _PATHS:
        return None
    try:
        items = _items(value, is_indexed=index >= 0)
    except SpecInvalid:
        return value  # reported when the label is parsed
    roots = [f"{destination.rstrip('/')}/" for destination in container.destinations]
    is_pattern = label.field != "include"
    allowed = [item for item in items if _lies_in(item, roots, is_pattern=is_pattern)]
    if not is_pattern:
        allowed = [item for item in allowed if not _link_of(item, container.links)]
    if len(allowed) == len(items):
        return value
    return json.dumps(allowed) if allowed else None


def _items(value: str, *, is_indexed: bool) -> tuple[str, ...]:
    """Split a list of paths; raises SpecInvalid."""
    text = value.strip()
    return (strip_quotes(text),) if is_indexed else parse_list(text, keep_quotes=False)


def paths_of_image(
    labels: Mapping[str, str], image_labels: Mapping[str, str] | None, prefix: str
) -> tuple[str, ...]:
    """Return the container paths that only the image says are to be backed up, in normal form.

    `image_labels` None: Docker has the image no more, so that each label may be its own. None
    where there are so many that the label is refused.
    """
    said = {
        full: value
        for full, value in labels.items()
        if full.startswith(f"{prefix}paths.include")
        if image_labels is None or image_labels.get(full) == value
    }
    if not said or sum(map(len, said.values())) > LARGEST_LABEL:
        return ()
    found: list[str] = []
    for full in sorted(said):
        label, index = resolve_label(full.removeprefix(prefix))
        if label is None or label.field != "include":
            continue
        try:
            found += _items(said[full], is_indexed=index >= 0)
        except SpecInvalid:
            continue
    if len(found) > MOST_ITEMS:
        return ()
    return tuple([_normal(item) for item in found if _is_plain(item)])


def _is_plain(item: str) -> bool:
    """Return whether an item is an absolute path that leads nowhere through `..`."""
    return item.startswith("/") and "\0" not in item and ".." not in item.split("/")


def _normal(path: str) -> str:
    """Return a path without `.`, doubled slashes and one at its end; `..` stays."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _link_of(item: str, links: Sequence[str]) -> str:
    """Return the link through which a path passes, or which it is; empty if through none."""
    path = _normal(item) + "/"
    return next((link for link in links if path.startswith(f"{link}/")), "")


def _lies_in(item: str, roots: Sequence[str], *, is_pattern: bool) -> bool:
    """Return whether a path, or the literal directory of a pattern, lies in one of `roots`."""
    path = item
    if is_pattern:
        path = item.removeprefix("!")
        if wildcard := _WILDCARD.search(path):
            path = path[: path.rfind("/", 0, wildcard.start()) + 1]
    if not path.startswith("/") or not _is_plain(f"/{item}"):
        return False
    normal = f"{_normal(path).rstrip('/')}/"
    return any(normal.startswith(root) for root in roots)


def _from_image(prefix: str, name: str, value: str, container: LabelSource) -> Problem:
    label, index = resolve_label(name)
    full = prefix + name
    what = "it is ignored"
    if label is not None and label.field in _PATHS:
        what = "only container paths within its own mounts are taken from it"
        if link := _named_link(label.field, value, index, container.links):
            what += f", and {quoted(link)} is a symbolic link, which may lead anywhere"
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
        f"{full} comes from the image of {container.name}, not from you: {what}",
        f"{hint}; or pass --trust-image-labels",
        container=container.name,
        label=full,
    )


def _named_link(field: str, value: str, index: int, links: Sequence[str]) -> str:
    """Return the first link through which a path of an include label passes."""
    if field != "include" or not links:
        return ""
    return next(
        filter(None, (_link_of(i, links) for i in _items(value, is_indexed=index >= 0))), ""
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
