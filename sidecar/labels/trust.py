"""The labels of a container under our prefix, without those that its image may not decide."""

import json
from collections.abc import Mapping

from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import resolve_label
from sidecar.labels.values import parse_list, strip_quotes
from sidecar.lib.spec_error import SpecInvalid


def own_labels(
    labels: Mapping[str, str], container: str, image_labels: Mapping[str, str], policy: Policy
) -> tuple[dict[str, str], list[Problem]]:
    """Give the labels under the prefix, and the problems with those that came from the image.

    `container` is its name, for the problems.
    """
    prefix, cut = policy.label_prefix, len(policy.label_prefix)
    own = {key[cut:]: value for key, value in labels.items() if key.startswith(prefix)}
    if not "".join((*own, *own.values())).isascii():
        own = {_text(key): _text(value) for key, value in own.items()}
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


def _text(value: str) -> str:
    """Replace lone surrogates, which no document can hold, the way an engine does."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _allowed_from_image(name: str, value: str) -> str | None:
    """What an image may say with this label: all, nothing (None), or all but `host:` paths."""
    label, index = resolve_label(name)
    if label is None or not (label.trusted or label.field == "include"):
        return value
    if label.trusted:
        return None
    try:
        text = value.strip()
        items = parse_list(text, keep_quotes=False) if index < 0 else (strip_quotes(text),)
    except SpecInvalid:
        return value  # told when the label is parsed
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
