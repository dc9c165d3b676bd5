"""Labels whose prefix is nearly ours: nothing else would ever tell that they do nothing."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import resolve_label

_SEPARATORS = ".-_:/"
_SEPARATOR = re.compile(r"[.\-_:/]")
_MAX_DISTANCE = 2
# Shorter prefixes are near to too many words.
_MIN_LENGTH = 5
# Longer than any label of ours: whoever writes a label must not make a pass take long.
_LONGEST = 200
_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})


def misspelt_prefixes(labels: Mapping[str, str], prefix: str) -> Iterator[Problem]:
    """Yield a warning for each label that is one of ours but for its prefix.

    That is another case or separator (`Backrest.Enable`, `backrest_enable`), a slip
    (`backrset.enable`), `backrest.io/enable`, and `backrest: "true"`.
    """
    for label, value in labels.items():
        meant = meant_label(label, prefix)
        if not meant and value.strip().lower() in _TRUE and _is_bare(label, prefix):
            meant = f"{prefix}enable"
        if meant:
            yield problem_of(
                "label.prefix-typo",
                f"{label} does nothing: labels of ours begin with {prefix}",
                f"did you mean {meant}?",
                label=label,
            )


@lru_cache(maxsize=65536)
def meant_label(label: str, prefix: str) -> str:
    """Return the label of ours that one with another prefix means, the empty string if none."""
    domain = f"{prefix.rstrip(_SEPARATORS)}.io/"
    if len(label) > len(prefix) + _LONGEST:
        return ""
    if label.startswith(prefix) and not label.startswith(domain):
        return ""
    for match in _SEPARATOR.finditer(label):
        name = _own_name(label[match.end() :])
        if name and _is_near(label[: match.start()], match[0], prefix):
            return prefix + name
    return ""


def _own_name(written: str) -> str:
    """Return the name of a label of ours that is written in any case and with any separators."""
    lower = written.lower()
    for name in (lower, lower.replace("_", "-"), re.sub(r"[-_:]", ".", lower)):
        if resolve_label(name)[0] is not None:
            return name
    return ""


def _is_near(head: str, separator: str, prefix: str) -> bool:
    stem, found = prefix.rstrip(_SEPARATORS).lower(), head.lower()
    if separator == "/":
        return found in {stem, f"{stem}.io"}
    if found == stem:
        return True
    return len(stem) >= _MIN_LENGTH and _distance(found, stem) <= _MAX_DISTANCE


def _is_bare(label: str, prefix: str) -> bool:
    return label.lower() == prefix.rstrip(_SEPARATORS).lower()


def _distance(one: str, other: str) -> int:
    """Return how many letters must be added, removed or replaced to make one of the other."""
    if abs(len(one) - len(other)) > _MAX_DISTANCE:
        return _MAX_DISTANCE + 1
    row = list(range(len(other) + 1))
    for line, letter in enumerate(one, 1):
        above, row[0] = row[0], line
        for column, wanted in enumerate(other, 1):
            cost = min(row[column] + 1, row[column - 1] + 1, above + (letter != wanted))
            above, row[column] = row[column], cost
    return row[-1]
