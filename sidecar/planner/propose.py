"""One pass: document' = merge(document, render(inventory, policy)), checked before the write."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple

from sidecar.backrest.document import (
    LARGEST,
    Document,
    PlanEdit,
    carry_plan,
    joined_view,
    merge_plans,
    parse_document,
)
from sidecar.backrest.jsontext import Object
from sidecar.backrest.rules import CheckedPlans, check_document, check_version
from sidecar.backrest.shape import DocumentFault
from sidecar.docker.models import Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import DocumentError
from sidecar.planner.diff import OWNED_KEYS, Changes, diff_plans, edit_of, joined, with_more
from sidecar.planner.documents import (
    NO_RUNNER,
    Placement,
    RunnerDocumentError,
    check_repositories,
    limited,
    place_plans,
    with_moving,
)
from sidecar.planner.ids import Owners
from sidecar.planner.lifecycle import (
    Ageing,
    PlanHistory,
    StandingPlans,
    age_plans,
    is_disabled,
    schedule_of_plan,
)
from sidecar.planner.plan import Pass
from sidecar.planner.plans import Memos, Rendered, render

_MIB = 1 << 20
_SHOWN_FAULTS = 5
# The meaning of a document is checked once its shape is right, so one repair may uncover
# the next fault; a few repairs are enough to replace every key.
_MAX_REPAIRS = 4
_NO_KEYS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RunnerProposal:
    """What one pass would write into the runner's document: `after` is `before` for nothing."""

    before: Document
    after: Document
    changes: Changes


@dataclass(frozen=True)
class Proposal:
    """What one pass would write, and why: `after` is `before` when nothing changes.

    `before`, `after` and `changes` are those of config.json, `runner` has those of the runner's
    document, None without one. `placement` says which plan belongs where.
    """

    before: Document
    after: Document
    rendered: Rendered
    changes: Changes
    ageing: Ageing | None = None
    runner: RunnerProposal | None = None
    placement: Placement = NO_RUNNER
    is_part: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything would be written."""
        return self.after is not self.before or self.changes_runner

    @property
    def changes_runner(self) -> bool:
        """Whether the runner's document would be written."""
        return self.runner is not None and self.runner.after is not self.runner.before

    @cached_property
    def all_changes(self) -> Changes:
        """The changes of both documents; a plan that moves is neither new nor removed."""
        if self.runner is None:
            return self.changes
        return joined(self.changes, self.runner.changes, self.placement.ended)

    @cached_property
    def standing(self) -> Mapping[str, Object]:
        """All plans that stand in the documents before the pass, by id."""
        runner = None if self.runner is None else self.runner.before
        return _standing(self.before, runner, self.placement)

    @cached_property
    def plans(self) -> Mapping[str, Object]:
        """All plans that would stand in the documents after the pass, by id."""
        runner = None if self.runner is None else self.runner.after
        return _standing(self.after, runner, self.placement)

    def concerns(self, plan_id: str) -> bool:
        """Return whether this proposal says what is to be written about a plan."""
        return not self.is_part or (plan_id in self.placement.of_runner) is (
            self.runner is not None
        )

    def of_config(self) -> "Proposal":
        """Return the part that concerns config.json."""
        if self.runner is None:
            return self
        ids = frozenset((*self.before.plans, *self.after.plans)) - self.placement.of_runner
        return self._part(ids | self.placement.leaving, None)

    def of_runner(self) -> "Proposal":
        """Return the part that concerns the runner's document."""
        ids = self.placement.of_runner - self.placement.leaving
        part = self._part(ids, self.runner)
        return replace(part, after=self.before, changes=NO_CHANGES)

    def _part(self, ids: frozenset[str], runner: RunnerProposal | None) -> "Proposal":
        of_runner = self.placement.of_runner
        rendered = limited(self.rendered, of_runner, is_runners=runner is not None)
        ageing = None if self.ageing is None else self.ageing.limited(ids)
        return replace(self, rendered=rendered, ageing=ageing, runner=runner, is_part=True)


NO_CHANGES = Changes((), (), (), ())


def _standing(
    config: Document, runner: Document | None, placement: Placement
) -> Mapping[str, Object]:
    """Return the plans of both documents; of one that is in both, the one where it belongs."""
    if runner is None:
        return config.plans
    moved = {key: runner.plans[key] for key in placement.of_runner if key in runner.plans}
    return {**runner.plans, **config.plans, **moved}


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What containers and flags ask for: all that a proposal depends on, but for config.json.

    A pass proposes for the file, or for the document that Backrest's API serves, or for both
    after another: the desired state is the same, so it is gathered once. `now` is aware.
    `runner_mounts` are those of the backrest container, None where host paths are taken as
    they are. Without a `history` orphans are only reported. `runner` is the runner's document,
    None without one; `settled` are plans that move and that Backrest does not run any more.
    """

    inventory: Inventory
    policy: Policy
    now: datetime
    runner_mounts: tuple[Mount, ...] | None = None
    accept_version: int | None = None
    history: PlanHistory | None = None
    runner: Document | None = None
    settled: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[object, ...]:
        """What the outcome depends on: of the time only the day, and whose grace is over."""
        expired: frozenset[str] = frozenset()
        if self.history is not None:
            last = self.now.timestamp() - self.history.grace
            expired = frozenset(k for k, since in self.history.orphans.items() if since <= last)
        mounts, version = self.runner_mounts, self.accept_version
        # The inventory last: it is the longest to compare.
        day = self.now.date()
        documents = (self.runner, self.settled)
        known = (self.history, expired)
        return (self.policy, day, mounts, version, *known, *documents, self.inventory)


class Planner:
    """Makes proposals, and returns the last one again where the inputs are equal.

    So a pass in which nothing changed costs a comparison. Nothing else is carried over.
    Not thread-safe: each thread has its own.
    """

    def __init__(self) -> None:
        self._inputs: tuple[object, ...] = ()
        self._proposal: Proposal | None = None
        self._memos = Memos()

    def propose(self, content: bytes, desired: DesiredState, *, served: bool = False) -> Proposal:
        """Propose for the bytes of a document; see the function of this name."""
        inputs = (content, served, desired.key)
        if self._proposal is None or self._inputs != inputs:
            document = self._document(content)
            self._proposal = propose(document, desired, served=served, memos=self._memos)
            self._inputs = inputs
        return self._proposal

    def _document(self, content: bytes) -> Document:
        """Decode a document, unless it is one of the two of the last proposal."""
        last = self._proposal
        for known in (last.after, last.before) if last is not None else ():
            if known.content == content:
                return known
        return parse_document(content)


def propose(
    document: Document,
    desired: DesiredState,
    *,
    served: bool = False,
    memos: Memos | None = None,
) -> Proposal:
    """Render, merge and check one pass; pure.

    `document` is config.json. `served`: as Backrest's API served it, see `merge_plans`; then the
    proposal is the part that concerns it. `memos` may be kept from pass to pass.

    Raises DocumentError when Backrest would refuse the document also after the
    merge, which repairs faults in the keys that we render, and RunnerDocumentError when the
    runner's document cannot be used.
    """
    _check_usable(document, desired.accept_version)
    runner, view = desired.runner, document.view
    if runner is not None:
        _check_runner(runner, document, desired.accept_version)
        view = joined_view(view, runner.view)
    memos = memos or Memos()
    memos.begin_pass()
    policy, now, history = desired.policy, desired.now, desired.history
    past = history or PlanHistory()
    owners = Owners(past.owners, past.take_over)
    this = Pass(desired.inventory, view, policy, now, desired.runner_mounts)
    rendered = render(this, memos, owners, past.stopped)
    placement = NO_RUNNER
    if runner is not None:
        placement = place_plans(document, runner, rendered, policy, desired.settled, served=served)
        rendered = with_moving(rendered, placement, view)
    ageing = None
    if history is not None:
        standing = _standing_plans(document, runner, placement)
        ageing = age_plans(standing, rendered, policy, history, now.timestamp())
    if runner is None:
        merge = _Merge(document, rendered, desired, ageing, memos, memos.checked)
        after, changes = merge.merged(served=served)
        return Proposal(document, after, rendered, changes, ageing)
    there = _Merge(
        document,
        limited(rendered, placement.of_runner, is_runners=False),
        desired,
        ageing,
        memos,
        memos.checked,
        runner,
        placement,
    )
    after, changes = there.merged(served=served)
    theirs = _Merge(
        runner,
        limited(rendered, placement.of_runner, is_runners=True),
        desired,
        ageing,
        memos,
        memos.checked_of_runner,
        document,
        placement,
        is_runners=True,
    )
    with_runner = RunnerProposal(runner, *theirs.merged())
    proposal = Proposal(document, after, rendered, changes, ageing, with_runner, placement)
    return proposal.of_config() if served else proposal


def _check_usable(document: Document, accept_version: int | None) -> None:
    if fault := check_version(document.root, accept_version):
        raise DocumentError(fault.message, fault.hint)
    if not isinstance(document.root.get("plans") or [], list):
        raise DocumentError("`plans` is no list", "nothing was written: restore the list of plans")


def _check_runner(runner: Document, config: Document, accept_version: int | None) -> None:
    try:
        _check_usable(runner, accept_version)
    except DocumentError as error:
        raise RunnerDocumentError(error.message, error.hint) from None
    check_repositories(config, runner)


def _standing_plans(
    config: Document, runner: Document | None, placement: Placement
) -> StandingPlans:
    if runner is None:
        return StandingPlans(config.plans)
    plans = {**_standing(config, runner, placement)}
    # What Backrest has to let go is read where it stands.
    plans |= {key: config.plans[key] for key in placement.kept}
    left = {key: config if key in placement.leaving else runner for key in placement.ended}
    repos = {key: document.view.plan_by_id[key].repo for key, document in left.items()}
    return StandingPlans(plans, placement.leaving, repos)


class _Merge(NamedTuple):
    """The merge of rendered plans into one document; `other` is the other one, if there is one."""

    document: Document
    rendered: Rendered
    desired: DesiredState
    ageing: Ageing | None
    memos: Memos
    checked: CheckedPlans
    other: Document | None = None
    placement: Placement = NO_RUNNER
    is_runners: bool = False

    def merged(self, *, served: bool = False) -> tuple[Document, Changes]:
        """Return the document after the merge, and its changes. Raises DocumentError."""
        history, policy = self.desired.history, self.desired.policy
        document, rendered = self.document, self.rendered
        contested = history.contested if history else {}
        edits, removed = self._edits(), self._removed()
        broken: dict[str, frozenset[str]] = {}
        for _ in range(_MAX_REPAIRS):
            changes = diff_plans(document, rendered, policy, broken, contested, self.memos.edits)
            changes = with_more(changes, edits, removed)
            carried = self._carried(changes, broken)
            after = merge_plans(
                document,
                changes.added,
                changes.edits,
                changes.removed,
                served=served,
                carried=carried,
            )
            faults = self._faults(after, self.desired.now.date(), served=served)
            more = _broken_keys(faults, after, rendered)
            if not more:
                break
            keys = broken | more
            broken = {key: broken.get(key, _NO_KEYS) | more.get(key, _NO_KEYS) for key in keys}
        error = RunnerDocumentError if self.is_runners else DocumentError
        if faults:
            who = "backrest-runner" if self.is_runners else "Backrest"
            refusal = _refusal(faults, after, changes)
            raise error(f"{who} would refuse this document: {refusal}", _hint(faults))
        if after is not document and len(after.text) > LARGEST // 4:
            _check_size(after, error)
        return after, changes

    def _faults(self, after: Document, today: date, *, served: bool) -> list[DocumentFault]:
        return check_document(
            after.root, today, served=served, any_engine=self.is_runners, checked=self.checked
        )

    def _edits(self) -> list[PlanEdit]:
        """Return what becomes of the document's plans over time, and of those that move."""
        plans = self.document.plans
        found = [
            edit
            for edit in (self.ageing.edits if self.ageing is not None else ())
            if edit.id in plans and self._is_here(edit.id)
        ]
        edited = {edit.id for edit in found}
        return [*found, *(edit for edit in self._returned() if edit.id not in edited)]

    def _returned(self) -> Iterator[PlanEdit]:
        """Yield the schedules of plans that were disabled to move away, and have come back."""
        if self.is_runners or self.other is None:
            return
        for plan_id in sorted(self.placement.arriving):
            plan, other = self.document.plans[plan_id], self.other.plans[plan_id]
            if is_disabled(plan) and not is_disabled(other):
                schedule = schedule_of_plan(other)
                settings = {} if schedule is None else {"schedule": schedule}
                yield PlanEdit(plan_id, settings, () if settings else ("schedule",))

    def _is_here(self, plan_id: str) -> bool:
        """Return whether what ageing says of a plan is to be done in this document."""
        here = (plan_id in self.placement.of_runner) is self.is_runners
        return here if plan_id not in self.placement.kept else not self.is_runners

    def _removed(self) -> tuple[str, ...]:
        aged = self.ageing.removed if self.ageing is not None else ()
        moved = self.placement.arriving if self.is_runners else self.placement.leaving
        removed = {*aged, *(moved & self.placement.ended)}
        return tuple(sorted(removed & self.document.plans.keys()))

    def _carried(
        self, changes: Changes, broken: Mapping[str, frozenset[str]]
    ) -> Mapping[str, dict[str, Any]]:
        """Return the new plans that come from the other document, with all that is not ours."""
        other = self.other
        if other is None:
            return {}
        carried: dict[str, dict[str, Any]] = {}
        for plan in changes.added:
            raw = other.plans.get(plan.id)
            if raw is None:
                continue
            faulty = broken.get(plan.id, _NO_KEYS)
            edit = edit_of(raw, plan, self.desired.policy, faulty) or PlanEdit(plan.id, {}, ())
            carried[plan.id] = carry_plan(other, edit)
            enabling = self.ageing.enabling if self.ageing is not None else {}
            if plan.id in enabling and is_disabled(raw) and "schedule" not in plan.labelled:
                schedule, _ = enabling[plan.id]
                carried[plan.id].pop("schedule", None)
                carried[plan.id] |= {} if schedule is None else {"schedule": schedule}
        return carried


def _check_size(document: Document, error: type[DocumentError]) -> None:
    """Refuse a document that would be too large to be read again; names its largest plan."""
    size = len(document.content)
    if size <= LARGEST:
        return
    sizes = {
        plan_id: len(json.dumps(plan, ensure_ascii=False).encode())
        for plan_id, plan in document.plans.items()
    }
    largest = max(sizes, key=sizes.__getitem__, default="")
    most = sizes.get(largest, 0) / _MIB
    raise error(
        f"the document would have {size / _MIB:.1f} MiB, more than {LARGEST >> 20}: "
        f"its largest plan is {largest} with {most:.1f} MiB",
        "nothing was written: shorten the labels of that plan's service, or remove plans",
    )


def _broken_keys(
    faults: list[DocumentFault], document: Document, rendered: Rendered
) -> dict[str, frozenset[str]]:
    """Return the faulty keys of plans that we render, by plan id; all of ours if none is named."""
    if not faults:
        return {}
    ours = {plan.id for plan in rendered.plans}
    ids = _plan_ids(document)
    broken: dict[str, frozenset[str]] = {}
    for fault in faults:
        index, key = _place_of(fault)
        if index is not None and (plan_id := ids[index]) in ours:
            keys = frozenset(OWNED_KEYS) & {key} if key else frozenset(OWNED_KEYS)
            broken[plan_id] = broken.get(plan_id, _NO_KEYS) | keys
    return broken


def _plan_ids(document: Document) -> list[str]:
    """Return the ids of the plans by index; empty where there is none that could be ours."""
    listed = document.root.get("plans")
    plans = listed if isinstance(listed, list) else []
    ids = (plan.get("id") if isinstance(plan, dict) else None for plan in plans)
    return [plan_id if type(plan_id) is str else "" for plan_id in ids]


def _place_of(fault: DocumentFault) -> tuple[int | None, str]:
    """Return the index and key of the plan that a fault lies in, by its pointer."""
    _, *steps = fault.pointer.split("/", maxsplit=4)
    if len(steps) < len(("plans", "0")) or steps[0] != "plans":
        return None, ""
    return int(steps[1]), "".join(steps[2:3])


def _refusal(faults: list[DocumentFault], after: Document, changes: Changes) -> str:
    pointers = (_original_pointer(fault, after, changes) for fault in faults[:_SHOWN_FAULTS])
    shown = "; ".join(f"{at}: {fault.message}" for at, fault in zip(pointers, faults, strict=False))
    more = len(faults) - _SHOWN_FAULTS
    rest = f"; and {more} more" if more > 0 else ""
    return f"{shown}{rest}"


def _original_pointer(fault: DocumentFault, after: Document, changes: Changes) -> str:
    """Return where a fault is in the file as it is, without the plans that we would insert."""
    index, _ = _place_of(fault)
    if index is None:
        return fault.pointer
    new = {plan.id for plan in changes.added}
    before = sum(plan_id not in new for plan_id in _plan_ids(after)[:index])
    return fault.pointer.replace(f"/plans/{index}", f"/plans/{before}", 1)


def _hint(faults: list[DocumentFault]) -> str:
    return next((fault.hint for fault in faults if fault.hint), "correct it; nothing was written")
