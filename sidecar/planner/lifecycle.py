"""Owned plans over time: orphans after their grace, plans switched off, workloads that return.

A plan without its workload is an orphan. Nothing is done about it before the grace has
passed, nor while suspiciously many are orphans at once: if Docker loses its containers,
their backups must not end too.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from sidecar.backrest.document import PlanEdit
from sidecar.backrest.jsontext import Object
from sidecar.backrest.normal import normalise_plan
from sidecar.labels.policy import Policy
from sidecar.planner.ids import Owner, owner_of
from sidecar.planner.plans import Rendered, ids_of
from sidecar.schedule.fires import EARLIEST

T = TypeVar("T")

_DISABLED = {"disabled": True}
_FEW, _SOME = 2, 4
# For this many seconds a plan that was enabled again is kept enabled. A runner that has not
# read the change writes back the old plan at its next save, and then no backup would run.
_KEEP_ENABLED = 86_400.0


class Orphans(StrEnum):
    """What is done with a plan whose workload is gone for longer than the grace."""

    DISABLE = "disable"
    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class PlanHistory:
    """What earlier passes saw, and what the operator wants done about it.

    Attributes:
        orphans: since when (unix seconds) a plan is one.
        accepted: orphans that may be disabled or removed although they are many.
        accepting: accept the orphans that there are now.
        disabled: the schedule, as JSON, that a plan had when it was disabled.
        disabling: those of `disabled` for which it is unknown whether that was written.
        enabling: the schedule that a plan got back when its workload returned, and when
            (unix seconds).
        action: what is done with orphans after the grace.
        grace: in seconds.
        contested: owned keys, by plan, that somebody else keeps changing.
        quiesced: plans whose workload a running backup has stopped: Docker may not list it.
        may_disable: whether the schedule of a disabled plan can be remembered.
        owners: whose a plan is.
        take_over: plans that another than their owner may go on with.
        stopped: ids of containers that a running backup has stopped.
        former: the repositories that a plan was saved to before it moved to the other document.
    """

    orphans: Mapping[str, float] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    accepting: bool = False
    disabled: Mapping[str, Any] = field(default_factory=dict)
    disabling: frozenset[str] = frozenset()
    enabling: Mapping[str, tuple[Any, float]] = field(default_factory=dict)
    action: Orphans = Orphans.DISABLE
    grace: float = 0.0
    contested: Mapping[str, frozenset[str]] = field(default_factory=dict)
    quiesced: frozenset[str] = frozenset()
    may_disable: bool = True
    owners: Mapping[str, Owner] = field(default_factory=dict)
    take_over: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()
    former: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class StandingPlans(NamedTuple):
    """The plans that stand in the documents, as JSON by id.

    `leaving`: those that are moving out of config.json; `ended`: those whose move ends with this
    pass, each with the repository that it leaves.
    """

    plans: Mapping[str, Object]
    leaving: frozenset[str] = frozenset()
    ended: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Ageing:
    """What a pass does to plans because of their age, and the history to remember.

    `held`: the orphans that are left as they are because they are too many at once.
    `history`: what it was decided by. `former`: repositories that plans have moved away from.
    `plans`: those that this is limited to, None: all.
    """

    edits: tuple[PlanEdit, ...] = ()
    removed: tuple[str, ...] = ()
    orphans: Mapping[str, float] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    disabled: Mapping[str, Any] = field(default_factory=dict)
    enabling: Mapping[str, tuple[Any, float]] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    owners: Mapping[str, Owner] = field(default_factory=dict)
    history: PlanHistory = field(default_factory=PlanHistory)
    former: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    plans: frozenset[str] | None = None

    def limited(self, plans: frozenset[str]) -> "Ageing":
        """Return what is to be remembered once only these plans are written.

        Of all others that is what the history says; nothing is done to them.
        """
        history = self.history

        def joined(now: Mapping[str, T], before: Mapping[str, T]) -> dict[str, T]:
            kept = {key: value for key, value in before.items() if key not in plans}
            return {key: value for key, value in now.items() if key in plans} | kept

        return replace(
            self,
            edits=tuple(edit for edit in self.edits if edit.id in plans),
            removed=tuple(key for key in self.removed if key in plans),
            orphans=joined(self.orphans, history.orphans),
            accepted=(self.accepted & plans) | (history.accepted - plans),
            disabled=joined(self.disabled, history.disabled),
            enabling=joined(self.enabling, history.enabling),
            owners=joined(self.owners, history.owners),
            former=joined(self.former, history.former),
            plans=plans,
        )

    @property
    def disables(self) -> bool:
        """Whether a schedule is taken from a plan, so that it has to be remembered."""
        return any(edit.settings.get("schedule") == _DISABLED for edit in self.edits)


def age_plans(
    standing: StandingPlans, rendered: Rendered, policy: Policy, history: PlanHistory, now: float
) -> Ageing:
    """Decide which owned plans are disabled, removed or enabled again; `now` in unix seconds.

    A plan that moves out of config.json is disabled there, so that Backrest stops to run it.
    """
    leaving = standing.leaving - standing.ended.keys()
    owned = [key for key in standing.plans if key.startswith(policy.plan_id_prefix)]
    off = frozenset(_switched_off(owned, rendered, policy))
    there = rendered.claimed | off | history.quiesced
    lost = [key for key in owned if key not in there]
    remembered = history.disabled.keys() - (standing.leaving & standing.ended.keys())
    disabled = {key: history.disabled[key] for key in owned if key in remembered}
    orphans = {key: _since(history.orphans.get(key, now), now) for key in lost}
    known = history.accepted.union(lost if history.accepting else ())
    accepted = known & frozenset(lost)
    doubtful = [key for key in lost if key not in accepted]
    held: tuple[str, ...] = ()
    if _are_suspicious(len(doubtful), len(owned) - len(accepted)):
        held = tuple(sorted(key for key in doubtful if key not in disabled))
    expired = [key for key in lost if now - orphans[key] >= history.grace and key not in held]
    removed: tuple[str, ...] = ()
    ending: list[str] = []
    if history.action is Orphans.REMOVE:
        removed = tuple(sorted(expired))
    elif history.action is Orphans.DISABLE:
        ending = expired
    again = history.disabling | off | leaving
    here = [key for key in owned if key in rendered.claimed and key not in leaving]
    returned = [key for key in here if key in disabled]
    enabling = _enabling(here, rendered, history, now)
    enabling |= {key: (disabled[key], now) for key in returned if not _is_labelled(key, rendered)}
    ending = [*sorted(off | leaving), *ending] if history.may_disable else []
    ended = dict(_disabling(standing.plans, ending, disabled.keys() - again))
    disabled |= ended
    edits = [
        *_enable(standing.plans, enabling),
        *(PlanEdit(key, {"schedule": _DISABLED}, ()) for key in ended),
    ]
    gone = frozenset((*removed, *returned))
    return Ageing(
        edits=tuple(edits),
        removed=removed,
        orphans={key: since for key, since in orphans.items() if key not in gone},
        accepted=accepted - gone,
        disabled={key: schedule for key, schedule in disabled.items() if key not in gone},
        enabling=enabling,
        held=held,
        owners=_owners(standing.plans, rendered, history, removed),
        history=history,
        former=_former(standing, rendered, history, removed),
    )


def _former(
    standing: StandingPlans, rendered: Rendered, history: PlanHistory, removed: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return the repositories that each plan has left, but for the one that it goes to now."""
    known = {key: repos for key, repos in history.former.items() if key in standing.plans}
    for key, repo in standing.ended.items():
        known[key] = (*known.get(key, ()), repo)
    now = {plan.id: plan.repo for plan in rendered.plans} if known else {}
    left = {
        key: tuple(sorted({*repos} - {now.get(key, "")}))
        for key, repos in known.items()
        if key not in removed
    }
    return {key: repos for key, repos in left.items() if repos}


def _owners(
    standing: Mapping[str, Object],
    rendered: Rendered,
    history: PlanHistory,
    removed: tuple[str, ...],
) -> dict[str, Owner]:
    """Return whose each plan is: of who has it now, else of who had it last."""
    plans = {*standing, *(plan.id for plan in rendered.plans)} - {*removed}
    owners = {key: owner for key, owner in history.owners.items() if key in plans}
    for item in rendered.workloads:
        if item.plan_id in plans:
            owners[item.plan_id] = owner_of(item.workload)
    return owners


def _since(remembered: float, now: float) -> float:
    return min(remembered, now) if remembered >= EARLIEST else now


def _are_suspicious(orphans: int, plans: int) -> bool:
    """Return whether so many of the plans lost their workload that it looks like an accident."""
    if plans >= _SOME:
        return orphans * 2 > plans
    return orphans == plans >= _FEW


def _switched_off(owned: Iterable[str], rendered: Rendered, policy: Policy) -> Iterator[str]:
    """Yield the plans without a claim whose workload is there but is not enabled."""
    free = frozenset(owned) - rendered.claimed
    for workload in rendered.unlabelled if free else ():
        if "enable" in workload.labels:
            yield from free.intersection(ids_of(workload, policy))


def _disabling(
    standing: Mapping[str, Object], plan_ids: Iterable[str], done: AbstractSet[str]
) -> Iterator[tuple[str, Any]]:
    """Yield the plans to disable, but not those `done`, each with its schedule.

    A plan is disabled once: later edits are the user's.
    """
    for plan_id in plan_ids:
        schedule = schedule_of_plan(standing[plan_id])
        if plan_id not in done and schedule != _DISABLED:
            yield plan_id, schedule


def _enabling(
    here: Iterable[str], rendered: Rendered, history: PlanHistory, now: float
) -> dict[str, tuple[Any, float]]:
    """Return what was enabled lately and has to be kept so, of the plans whose workload is here."""
    return {
        key: (schedule, since)
        for key in here
        if key in history.enabling
        for schedule, since in (history.enabling[key],)
        if abs(now - since) < _KEEP_ENABLED and not _is_labelled(key, rendered)
    }


def _is_labelled(plan_id: str, rendered: Rendered) -> bool:
    """Return whether a label decides the plan's schedule: then none has to be remembered."""
    return any(plan.id == plan_id and "schedule" in plan.labelled for plan in rendered.plans)


def _enable(
    standing: Mapping[str, Object], enabling: Mapping[str, tuple[Any, float]]
) -> Iterator[PlanEdit]:
    """Give plans their schedule back, unless somebody has set another one meanwhile."""
    for plan_id, (before, _) in enabling.items():
        if is_disabled(standing[plan_id]):
            settings = {} if before is None else {"schedule": before}
            yield PlanEdit(plan_id, settings, () if settings else ("schedule",))


def is_disabled(plan: Object) -> bool:
    """Return whether the schedule of a plan says that it is never to run by itself."""
    return bool(schedule_of_plan(plan) == _DISABLED)


def schedule_of_plan(plan: Object) -> Any:
    """Return the schedule of a plan in Backrest's normal form; None without one."""
    return normalise_plan(plan).get("schedule")
