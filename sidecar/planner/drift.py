"""Drift: owned keys that somebody else edits, and when we stop putting them back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sidecar.backrest.plan import Plan
from sidecar.planner.propose import Proposal

PLAN = "plan"
"""Stands for the key when a whole plan was removed."""

# A key that had to be put back so often within so many seconds is left alone for the rest.
_MAX_REPAIRS = 3
_PERIOD = 600.0
_REST = 3600.0


@dataclass(frozen=True, slots=True, order=True)
class Drift:
    """One owned key of one plan whose value is not the one that we wrote last."""

    plan: str
    key: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What was written, and how often it had to be put back; times in monotonic seconds.

    `asserted`: the plans that were in the document after a pass, as they were rendered.
    `put_back`: when a drift was put back lately. `resting`: since when one is left alone.
    """

    asserted: Mapping[str, Plan] = field(default_factory=dict)
    put_back: Mapping[Drift, tuple[float, ...]] = field(default_factory=dict)
    resting: Mapping[Drift, float] = field(default_factory=dict)

    @property
    def contested(self) -> dict[str, frozenset[str]]:
        """The keys, by plan, that somebody else keeps changing: we leave them as they are."""
        found: dict[str, frozenset[str]] = {}
        for drift in self.resting:
            found[drift.plan] = found.get(drift.plan, frozenset()) | {drift.key}
        return found

    def after(self, proposal: Proposal, now: float) -> "Watch":
        """Return the watch after a pass that left the document as proposed."""
        plans = {plan.id: plan for plan in proposal.rendered.plans}
        plans |= {key: plan for key, plan in self.asserted.items() if not proposal.concerns(key)}
        put_back = {
            drift: tuple(t for t in times if now - t < _PERIOD)
            for drift, times in self.put_back.items()
        }
        for drift in find_drift(self, proposal):
            put_back[drift] = (*put_back.get(drift, ()), now)
        given_up = {
            drift: now
            for drift, times in put_back.items()
            if len(times) >= _MAX_REPAIRS and drift.key != PLAN
        }
        return Watch(
            plans,
            {d: t for d, t in put_back.items() if t and d not in given_up},
            {**self._still_resting(plans, now), **given_up},
        )

    def forgiving(self) -> "Watch":
        """Return the watch that puts everything back again: others have read our values."""
        return replace(self, put_back={}, resting={})

    def _still_resting(self, plans: Mapping[str, Plan], now: float) -> dict[Drift, float]:
        """Return what is still left alone: its labels did not change, and the rest is not over."""
        return {
            drift: since
            for drift, since in self.resting.items()
            if now - since < _REST and plans.get(drift.plan) == self.asserted.get(drift.plan)
        }


def find_drift(watch: Watch, proposal: Proposal) -> tuple[Drift, ...]:
    """List what a pass puts back although the labels ask for the same as in the last pass."""
    changes = proposal.all_changes
    plans = {plan.id: plan for plan in proposal.rendered.plans}
    found = [
        Drift(edit.id, key)
        for edit in changes.edits
        if edit.id in plans and watch.asserted.get(edit.id) == plans[edit.id]
        if edit.id not in proposal.placement.moving
        for key in (*edit.settings, *edit.removals)
    ]
    found += [Drift(p.id, PLAN) for p in changes.added if watch.asserted.get(p.id) == p]
    return tuple(sorted(found))
