"""Label texts → `LabelSpec` and problems, driven by the registry."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.labels.registry import LABELS, REGISTRY, Label, resolve_label, suggest_label
from sidecar.labels.values import parse_list, strip_quotes
from sidecar.lib.text import SpecInvalid

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
    fields: dict[str, Any] = {}
    lists: dict[str, dict[int, str]] = {}
    for name, value in labels.items():
        label, index = resolve_label(name)
        if label is None:
            problems.append(_unknown(name, prefix))
        elif label.is_list:
            lists.setdefault(label.name, {})[index] = value.strip()
        else:
            _parse_into(fields, label, value.strip(), prefix, problems)
    for name, texts in lists.items():
        _parse_into(fields, REGISTRY[name], texts, prefix, problems)
    if not _HOOK_FIELDS.isdisjoint(fields):
        fields["asks_for_hooks"] = True
    return LabelSpec(**fields), problems


def _parse_into(
    fields: dict[str, Any],
    label: Label,
    text: str | dict[int, str],
    prefix: str,
    problems: list[Problem],
) -> None:
    try:
        value = text if isinstance(text, str) else _parse_items(label, text)
        fields[label.field] = label.parse(value)
    except SpecInvalid as error:
        problems.append(_invalid(label, prefix, error))


def _parse_items(label: Label, texts: dict[int, str]) -> tuple[str, ...]:
    """Return the items of a list label: those of the plain label, then the indexed ones."""
    plain = parse_list(texts[-1], keep_quotes=label.keeps_quotes) if -1 in texts else ()
    indexed = [texts[index] for index in sorted(texts) if index >= 0]
    if not label.keeps_quotes:
        indexed = [strip_quotes(text) for text in indexed]
    return (*plain, *[text for text in indexed if text])


def _invalid(label: Label, prefix: str, error: SpecInvalid) -> Problem:
    name = prefix + label.name
    hint = error.hint.replace("NAME", name)
    return problem_of("label.invalid", f"{name}: {error.message}", hint, label=name)


def _unknown(name: str, prefix: str) -> Problem:
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
    is_error = meant == "keep" or meant.startswith("paths.")
    return problem_of(
        "label.unknown",
        f"{full} is no label of ours",
        hint,
        label=full,
        severity=Severity.ERROR if is_error else None,
    )
