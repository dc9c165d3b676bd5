"""Document × `Rendered` → `Changes`: which owned plans are new, edited, orphaned, unchanged."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from sidecar.backrest.document import Document, PlanEdit
from sidecar.backrest.jsontext import Object
from sidecar.backrest.normal import normalise_plan
from sidecar.backrest.plan import Plan
from sidecar.labels.policy import Policy
from sidecar.planner.memo import Memo
from sidecar.planner.plans import Rendered
from sidecar.schedule.parse import pause_of

_ALWAYS = ("repo", "paths", "excludes", "hooks")
_DEFAULTED = ("schedule", "retention")
_LABELLED = ("iexcludes", "backup_flags")
OWNED_KEYS = (*_ALWAYS, *_DEFAULTED, *_LABELLED)
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a pass would write: new plans, edits of existing ones; ids are sorted."""

    added: tuple[Plan, ...]
    edits: tuple[PlanEdit, ...]
    orphaned: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...] = ()

    @property
    def updated(self) -> tuple[str, ...]:
        """The ids of the plans that are edited."""
        return tuple(edit.id for edit in self.edits)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.added and not self.edits and not self.removed


def diff_plans(
    document: Document,
    rendered: Rendered,
    policy: Policy,
    broken: Mapping[str, frozenset[str]] | None = None,
    contested: Mapping[str, frozenset[str]] | None = None,
    memo: Memo[PlanEdit | None] | None = None,
) -> Changes:
    """Compare owned plans in Backrest's normal form, in the keys that are ours.

    `broken` names, by plan id, keys that Backrest would refuse as they are: they
    are replaced whoever set them. `contested` names keys that are left as they are.
    """
    existing = document.plans
    broken, contested = broken or {}, contested or {}
    recall = (memo or Memo()).recall
    added: list[Plan] = []
    edits: list[PlanEdit] = []
    for plan in sorted(rendered.plans, key=lambda item: item.id):
        raw = existing.get(plan.id)
        if raw is None:
            added.append(plan)
            continue
        faulty = broken.get(plan.id, _NOTHING)
        inputs = (raw, plan, policy, faulty)
        if edit := recall(plan.id, inputs, edit_of, *inputs):
            if plan.id in contested:
                edit = _without(edit, contested[plan.id] - faulty)
            if edit.settings or edit.removals:
                edits.append(edit)
    edits += _enforced(existing, rendered)
    edits.sort(key=lambda edit: edit.id)
    edited = {edit.id for edit in edits}
    owned = sorted(plan_id for plan_id in existing if plan_id.startswith(policy.plan_id_prefix))
    return Changes(
        tuple(added),
        tuple(edits),
        tuple(plan_id for plan_id in owned if plan_id not in rendered.claimed),
        tuple(p for p in owned if p in rendered.claimed and p not in edited),
    )


def _enforced(existing: Mapping[str, Object], rendered: Rendered) -> Iterator[PlanEdit]:
    """Yield edits that remove what the hook policy forbids from plans that an error keeps."""
    for item in rendered.workloads:
        raw = existing.get(item.plan_id)
        if item.permitted is not None and raw is not None:
            have = normalise_plan(raw)
            changed = {k: v for k, v in item.permitted.items() if have.get(k, []) != v}
            settings = {key: value for key, value in changed.items() if value}
            if changed:
                yield PlanEdit(item.plan_id, settings, tuple(changed.keys() - settings.keys()))


def edit_of(raw: Object, plan: Plan, policy: Policy, broken: frozenset[str]) -> PlanEdit | None:
    """Return the edit that makes `raw` equal to `plan` in the keys that are ours; None: it is."""
    have, want = normalise_plan(raw), plan.to_json()
    settings: dict[str, Any] = {}
    removals: list[str] = []
    for key in OWNED_KEYS:
        if not _is_ours(key, plan, policy, broken):
            continue
        wanted = want.get(key)
        if have.get(key) == wanted and key not in broken:
            continue
        if key == "schedule" and key not in broken and _is_default_pause(have, plan, policy):
            continue
        if wanted is None:
            removals.append(key)
        else:
            settings[key] = wanted
    if not settings and not removals:
        return None
    return PlanEdit(plan.id, settings, tuple(removals))


def _is_default_pause(have: Mapping[str, Any], plan: Plan, policy: Policy) -> bool:
    """Return whether the default, an `every`, stands in the plan as the pause that it once was."""
    if "schedule" in plan.labelled:
        return False
    pause = pause_of(policy.default_schedule)
    return pause is not None and have.get("schedule") == pause.to_json()


def _without(edit: PlanEdit, keys: frozenset[str]) -> PlanEdit:
    settings = {key: value for key, value in edit.settings.items() if key not in keys}
    return PlanEdit(edit.id, settings, tuple(key for key in edit.removals if key not in keys))


def joined(one: Changes, other: Changes, moved: AbstractSet[str]) -> Changes:
    """Join the changes of two documents; `moved` are plans whose move from one to the other ends.

    A plan that is added to one and stands in the other counts as edited.
    """
    parts = (one, other)
    ids = {key for part in parts for key in (*part.updated, *part.unchanged, *part.orphaned)}
    added = [plan for part in parts for plan in part.added]
    moving = [PlanEdit(plan.id, {"repo": plan.repo}, ()) for plan in added if plan.id in ids]
    edits = _join(_join(one.edits, other.edits), moving)
    touched = {edit.id for edit in edits}
    return Changes(
        tuple(sorted((p for p in added if p.id not in ids), key=lambda plan: plan.id)),
        edits,
        tuple(sorted({*one.orphaned, *other.orphaned})),
        tuple(sorted({*one.unchanged, *other.unchanged} - touched)),
        tuple(sorted({*one.removed, *other.removed} - moved)),
    )


def with_more(changes: Changes, more: Iterable[PlanEdit], removed: tuple[str, ...]) -> Changes:
    """Add edits and removals; where two edits set the same key, the first counts."""
    edits = _join(changes.edits, more)
    touched = {edit.id for edit in edits}
    unchanged = tuple(plan_id for plan_id in changes.unchanged if plan_id not in touched)
    return replace(changes, edits=edits, unchanged=unchanged, removed=removed)


def _join(edits: Iterable[PlanEdit], more: Iterable[PlanEdit]) -> tuple[PlanEdit, ...]:
    joined = {edit.id: edit for edit in edits}
    for edit in more:
        first = joined.get(edit.id)
        if first is None:
            joined[edit.id] = edit
        else:
            rest = _without(edit, frozenset((*first.settings, *first.removals)))
            joined[edit.id] = PlanEdit(
                edit.id, {**first.settings, **rest.settings}, (*first.removals, *rest.removals)
            )
    return tuple(joined[plan_id] for plan_id in sorted(joined))


def _is_ours(key: str, plan: Plan, policy: Policy, broken: frozenset[str]) -> bool:
    if key in _ALWAYS or key in plan.labelled or key in broken:
        return True
    return key in _DEFAULTED and policy.enforce_defaults
