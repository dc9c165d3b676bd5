"""The outcome of a pass for people: per workload what is backed up, when, and what is wrong."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import click

from sidecar.backrest.document import PlanEdit
from sidecar.backrest.jsontext import Object
from sidecar.backrest.mask import mask_string
from sidecar.backrest.normal import normalise_plan
from sidecar.backrest.plan import Retention, Schedule
from sidecar.cli.output.problems import nothing_labelled, problem_lines
from sidecar.cli.output.terminal import folded
from sidecar.cli.output.text import printable
from sidecar.planner.lifecycle import Orphans, PlanHistory
from sidecar.planner.plan import RenderedWorkload
from sidecar.reconciler.reconcile import PassOutcome
from sidecar.schedule.describe import describe_retention, describe_schedule
from sidecar.schedule.fires import backrest_fires
from sidecar.schedule.parse import schedule_of

RESTART_NOTE = "The runner sees that at once; Backrest reads it only when it starts: restart it."
NEVER_RUN = (
    "Backrest counts that from its own start until the plan has run for the first time",
    (
        "→ a daemon with --backrest-url has it run once then; without one, run it by hand where "
        "Backrest is restarted more often"
    ),
)
"""About a plan with a pause: what is the case, and what to do."""
_BUCKETS = ("hourly", "daily", "weekly", "monthly", "yearly")
_FAR = timedelta(days=4 * 366)
_PARTS = {
    "paths": "paths",
    "excludes": "excludes",
    "iexcludes": "excludes",
    "schedule": "schedule",
    "retention": "retention",
    "repo": "repository",
    "backup_flags": "flags",
    "hooks": "hooks",
}
"""Keys of a plan that are ours, and what their rows are called."""


def render_table(outcome: PassOutcome, now: datetime, width: int | None = None) -> str:
    """Write the outcome for people; `now` is aware, in the zone that next runs are shown in.

    `width` is that of the terminal; None: none shows it.
    """
    lines = [line for block in _blocks(outcome, now, width) for line in (*block, "")]
    summary = [folded(line, width, "  ") for line in _summary(outcome)]
    return "\n".join([*lines, *summary])


def _blocks(outcome: PassOutcome, now: datetime, width: int | None) -> Iterator[Sequence[str]]:
    proposal = outcome.proposal
    changes, plans = proposal.all_changes, proposal.plans
    updated = {edit.id: ", ".join(_changed_parts(edit)) for edit in changes.edits}
    unchanged = frozenset(changes.unchanged)
    never_run = frozenset(outcome.never_run)
    for item in proposal.rendered.workloads:
        plan = plans.get(item.plan_id)
        heading = _heading(item, updated, unchanged)
        notes = NEVER_RUN if item.plan_id in never_run else ()
        shown = [
            line
            for title, values in _plan_rows(item, plan, now, notes)
            for line in _row(title, values, width)
        ]
        yield [heading, *shown, *problem_lines(item.problems, width=width)]
    if proposal.rendered.unlabelled and not proposal.rendered.has_labels:
        yield [folded(nothing_labelled(f"{outcome.policy.label_prefix}enable"), width)]
    if outcome.backrest.is_awaited:
        name = outcome.policy.runner_container
        yield [
            f"Backrest's container {name} was never seen: plans keep their paths, new ones wait.",
            "  → start it, or say what it sees with --path-map or --volume-prefix",
        ]
    if proposal.rendered.ignored:
        yield ["not backed up:", *problem_lines(proposal.rendered.ignored, width=width)]
    if changes.orphaned:
        yield _orphan_lines(outcome, now)


def _orphan_lines(outcome: PassOutcome, now: datetime) -> list[str]:
    """Write what happens to the plans without a workload."""
    proposal, history = outcome.proposal, outcome.desired.history
    if proposal.ageing is None or history is None:
        names = ", ".join(proposal.all_changes.orphaned)
        return [f"plans without a workload, left as they are: {names}"]
    lines = ["plans without a workload:"]
    lines += [
        f"  {plan_id}: {_orphan_words(plan_id, outcome, now)}"
        for plan_id in proposal.all_changes.orphaned
    ]
    if proposal.ageing.held:
        lines += [
            "  So many at once look like an accident, so nothing is done about them.",
            "  → if it is none, confirm with `backrest-sidecar reconcile --accept-orphans`",
        ]
    return lines


def _orphan_words(plan_id: str, outcome: PassOutcome, now: datetime) -> str:
    ageing, history = outcome.ageing, outcome.desired.history or PlanHistory()
    if plan_id in ageing.removed:
        return "removed" if outcome.written else "would be removed"
    if plan_id in ageing.disabled:
        return "disabled, and enabled again when its workload returns"
    if plan_id in ageing.held or history.action is Orphans.KEEP:
        return "left as it is"
    end = datetime.fromtimestamp(ageing.orphans.get(plan_id, 0.0) + history.grace, now.tzinfo)
    return f"left as it is until {end:%Y-%m-%d %H:%M %Z}, then {history.action}d"


def _changed_parts(edit: PlanEdit) -> list[str]:
    """Return which parts of a plan an edit changes, as the rows of the table are called."""
    keys = {*edit.settings, *edit.removals}
    ours = dict.fromkeys(title for key, title in _PARTS.items() if key in keys)
    return [*ours, *sorted(keys - _PARTS.keys())]


def _change_counts(edits: Sequence[PlanEdit]) -> str:
    """Return how many plans change in which parts, for example `12 in hooks, 1 in schedule`."""
    counts = Counter(" and ".join(_changed_parts(edit)) for edit in edits)
    return ", ".join(f"{count} in {parts}" for parts, count in counts.most_common())


def _heading(item: RenderedWorkload, updated: Mapping[str, str], unchanged: Container[str]) -> str:
    state = "as it was"
    if item.plan_id in updated:
        state = f"changed: {updated[item.plan_id]}"
    elif item.plan is None:
        state = "blocked, the plan stays as it is" if item.plan_id in unchanged else "no plan"
    elif item.plan_id not in unchanged:
        state = "new"
    name = click.style(printable(item.workload.key), bold=True)
    return f"{name}  plan {item.plan_id or '–'} ({state})"


def _plan_rows(
    item: RenderedWorkload, plan: Object | None, now: datetime, about_schedule: Sequence[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the parts of a plan, each with its title."""
    if plan is None:
        return
    yield "paths", _path_lines(item, plan)
    yield "excludes", [*_texts(plan, "excludes"), *_texts(plan, "iexcludes")]
    yield "schedule", [_schedule_line(plan, now), *about_schedule]
    yield "retention", [_retention_line(plan)]
    yield "repository", [str(plan.get("repo", ""))]
    yield "flags", [mask_string(flag, "backup_flags") for flag in _texts(plan, "backup_flags")]
    yield "hooks", [_hook_line(hook) for hook in plan.get("hooks") or []]


def _row(title: str, values: Sequence[str], width: int | None) -> Iterator[str]:
    for index, value in enumerate(values):
        line = f"  {'' if index else title:10} {printable(value)}"
        yield folded(line, width, " " * 15)


def _texts(plan: dict[str, Any], key: str) -> list[str]:
    return [str(text) for text in plan.get(key) or []]


def _path_lines(item: RenderedWorkload, plan: Object) -> list[str]:
    known = {entry.runner: entry.container for entry in item.paths.entries}
    paths = _texts(plan, "paths")
    shown = [f"{known[path]} → {path}" if path in known else path for path in paths]
    covered = [entry for entry in item.paths.entries if entry.runner not in paths and item.plan]
    return shown + [f"{entry.container} → {entry.runner} (inside another)" for entry in covered]


def _schedule_line(plan: Object, now: datetime) -> str:
    schedule = schedule_of(plan.get("schedule") or {})
    return "never: it has no schedule" if schedule is None else _schedule_words(schedule, now)


@lru_cache(maxsize=4096)
def _schedule_words(schedule: Schedule, now: datetime) -> str:
    # Thousands of plans have a few hundred schedules.
    words = describe_schedule(schedule)
    fires = backrest_fires(schedule, now, now + _FAR, 1)
    return f"{words}, next {fires[0]:%a %Y-%m-%d %H:%M %Z}" if fires else words


def _retention_line(plan: Object) -> str:
    retention = _retention_of(plan.get("retention") or {})
    if retention is None:
        return "everything is kept: no retention is set"
    return _retention_words(retention)


def _retention_of(raw: Mapping[str, Any]) -> Retention | None:
    """Read a retention as it stands in a document; None when it keeps by no rule."""
    normal = normalise_plan({"retention": raw}).get("retention")
    if not isinstance(normal, dict):
        return None
    if normal.get("policyKeepAll"):
        return Retention(keep_all=True)
    if isinstance(last := normal.get("policyKeepLastN"), int):
        return Retention(last=last)
    buckets = normal.get("policyTimeBucketed")
    if not isinstance(buckets, dict):
        return None
    counts = {name: buckets[name] for name in _BUCKETS if isinstance(buckets.get(name), int)}
    last = buckets.get("keepLastN", 0)
    return Retention(last=last if isinstance(last, int) else 0, **counts)


_retention_words = lru_cache(maxsize=1024)(describe_retention)


def _hook_line(hook: Any) -> str:
    events = ", ".join(_event_words(str(name)) for name in hook.get("conditions") or [])
    action = next((key for key in hook if key.startswith("action")), "")
    command = hook.get("actionCommand", {}).get("command")
    if not command:
        return f"on {events}: {action.removeprefix('action')}"
    first = mask_string(command.split("\n", 1)[0], "command").removeprefix("# ")
    return f"on {events}: {first}"


@lru_cache(maxsize=64)
def _event_words(name: str) -> str:
    event = name.removeprefix("CONDITION_").removeprefix("SNAPSHOT_")
    return event.lower().replace("_", " ")


def _summary(outcome: PassOutcome) -> list[str]:
    proposal, changes = outcome.proposal, outcome.proposal.all_changes
    ways = _change_counts(changes.edits)
    details = [f"Changed: {ways}; `--output diff` shows how."] if len(changes.edits) > 1 else []
    counts = (
        f"{len(changes.added)} new, {len(changes.edits)} changed, "
        f"{len(changes.unchanged)} as they were, {len(changes.orphaned)} without a workload"
    )
    if outcome.written:
        is_backrests = outcome.config in outcome.written
        verb = "is" if len(outcome.written) == 1 else "are"
        written = f"{' and '.join(outcome.written)} {verb} written: {counts}."
        return [written, *details, *([RESTART_NOTE] if is_backrests else [])]
    names = [outcome.config] if proposal.after is not proposal.before else []
    names += [outcome.runner_config] if proposal.changes_runner else []
    if names:
        would = f"{' and '.join(names)} would be written: {counts}. Nothing was written."
        return [would, *details]
    both = " and ".join(filter(None, (outcome.config, outcome.runner_config)))
    verb = "stay as they are" if outcome.runner_config else "stays as it is"
    return [f"{both} {verb}: {counts}."]
