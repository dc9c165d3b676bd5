"""Label texts → `LabelSpec` and problems, driven by the registry."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.labels.registry import LABELS, REGISTRY, Label, resolve_label, suggest_label
from sidecar.labels.values import (
    check_size,
    has_wrong_negation,
    is_split_inside_lines,
    parse_list,
    strip_quotes,
)
from sidecar.lib.text import SpecInvalid, quoted

MOST_ITEMS = 256
_PATTERNS = frozenset({"exclude", "iexclude"})
_SUSPICIOUS = re.compile(r"[; ]/")
_HOOK_FIELDS = frozenset(
    {label.field for label in LABELS if label.name.startswith(("snapshot-", "exec."))}
    | {"template", "notify"}
)


class LabelSpec(NamedTuple):
    """The parsed labels of one workload; None for a label that is not there.

    A named tuple, because thousands are made in each pass: the cheapest frozen record.
    `asks_for_hooks`: at least one label makes hooks.
    """

    enable: bool = False
    group: str | None = None
    id: str | None = None
    repo: str | None = None
    schedule: str | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    iexclude: tuple[str, ...] | None = None
    keep: str | None = None
    snapshot_start: tuple[str, ...] | None = None
    snapshot_end: tuple[str, ...] | None = None
    snapshot_success: tuple[str, ...] | None = None
    snapshot_error: tuple[str, ...] | None = None
    snapshot_warning: tuple[str, ...] | None = None
    snapshot_skipped: tuple[str, ...] | None = None
    exec_start: tuple[str, ...] | None = None
    exec_end: tuple[str, ...] | None = None
    exec_user: str | None = None
    template: str | None = None
    on_error: str = "fatal"
    dump_path: str | None = None
    dump_user: str | None = None
    dump_database: str | None = None
    quiesce: bool = False
    notify: tuple[str, ...] = ()
    notify_on: tuple[str, ...] | None = None
    backup_flags: tuple[str, ...] | None = None
    asks_for_hooks: bool = False


def parse_labels(labels: Mapping[str, str], prefix: str) -> tuple[LabelSpec, list[Problem]]:
    """Parse label names (without prefix) and values into a spec and its problems.

    `prefix` is only used to name labels in problems. Never raises.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    lists: dict[str, dict[int, str]] = {}
    for name, value in labels.items():
        label, index = resolve_label(name)
        if label is None:
            problems.append(_unknown(name, prefix, is_enabled="enable" in labels))
        elif label.is_list:
            lists.setdefault(label.name, {})[index] = value.strip()
        else:
            values[label.field], found = _parse(label, value.strip(), prefix)
            problems += found
    for name, texts in lists.items():
        label = REGISTRY[name]
        values[label.field], found = _parse(label, texts, prefix)
        problems += found
    fields = {name: value for name, value in values.items() if value is not None}
    if not _HOOK_FIELDS.isdisjoint(fields):
        fields["asks_for_hooks"] = True
    return LabelSpec(**fields), problems


def _parse(label: Label, text: str | dict[int, str], prefix: str) -> tuple[Any, Sequence[Problem]]:
    """Return the value of a label, None where it cannot be read, and the problems with it."""
    warnings: Sequence[Problem] = ()
    try:
        if isinstance(text, str):
            return label.parse(_scalar(text)), ()
        items = _parse_items(label, text)
        warnings = _list_warnings(label, text, items, prefix)
        return label.parse(items), warnings
    except SpecInvalid as error:
        return None, (*warnings, _invalid(label, prefix, error))


def _scalar(text: str) -> str:
    """Return a value; raises SpecInvalid where its author's quotes have become part of it."""
    check_size((text,))
    if strip_quotes(text) != text:
        raise SpecInvalid(
            f"the quotes are part of the value {quoted(text)}",
            "leave them out; in a Compose file, quote all of NAME=VALUE or the value of a map",
        )
    return text


def _parse_items(label: Label, texts: dict[int, str]) -> tuple[str, ...]:
    """Return the items of a list label: those of the plain label, then the indexed ones."""
    check_size(texts.values())
    plain: tuple[str, ...] = ()
    if -1 in texts:
        plain = parse_list(texts[-1], keep_quotes=label.keeps_quotes, by_line=not label.is_commands)
    indexed = [texts[index] for index in sorted(texts) if index >= 0]
    if not label.keeps_quotes:
        indexed = [strip_quotes(text) for text in indexed]
    items = (*plain, *[text for text in indexed if text])
    if len(items) > MOST_ITEMS:
        raise SpecInvalid(
            f"the list has {len(items)} items, more than {MOST_ITEMS}",
            "name folders in place of what they hold",
        )
    return items


def _list_warnings(
    label: Label, texts: dict[int, str], items: Iterable[str], prefix: str
) -> list[Problem]:
    """Warn of values that were probably meant to be split, or not to be split."""
    name = prefix + label.name
    if label.is_commands and is_split_inside_lines(texts.get(-1, "")):
        return [
            problem_of(
                "list.split-command",
                f"{name}: a command of several lines was split at a comma",
                f"write each command as a label of its own: {name}.0, {name}.1, ...",
                label=name,
            )
        ]
    found: list[Problem] = []
    if label.name.startswith("paths."):
        suspicious = next(filter(_SUSPICIOUS.search, items), None)
        if suspicious is not None:
            found.append(
                problem_of(
                    "list.suspicious",
                    f"{name}: {quoted(suspicious)} is one path, although it looks like two",
                    "separate paths with commas, or write one per line",
                    label=name,
                )
            )
    if label.field in _PATTERNS:
        negated = next(filter(has_wrong_negation, items), None)
        if negated is not None:
            found.append(
                problem_of(
                    "list.suspicious",
                    f"{name}: in {quoted(negated)} the ! is a character like any other",
                    "write [^a] for all characters but a",
                    label=name,
                )
            )
    return found


def _invalid(label: Label, prefix: str, error: SpecInvalid) -> Problem:
    name = prefix + label.name
    hint = error.hint.replace("NAME", name)
    return problem_of("label.invalid", f"{name}: {error.message}", hint, label=name)


def _unknown(name: str, prefix: str, *, is_enabled: bool) -> Problem:
    full = prefix + name
    if name == "plan" or name.startswith("plan."):
        return problem_of(
            "label.reserved",
            f"{full} is reserved for later use",
            f"remove it; the labels of a plan are {prefix}schedule, {prefix}keep and so on",
            label=full,
        )
    meant = suggest_label(name)
    hint = f"did you mean {prefix}{meant}?" if meant else "remove it; see the label reference"
    if meant == "enable" and not is_enabled:
        return problem_of(
            "label.unknown",
            f"{full} is no label of ours: this service is not backed up",
            hint,
            label=full,
            severity=Severity.ERROR,
        )
    is_error = meant == "keep" or meant.startswith("paths.")
    return problem_of(
        "label.unknown",
        f"{full} is no label of ours",
        hint,
        label=full,
        severity=Severity.ERROR if is_error else None,
    )
