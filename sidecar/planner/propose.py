"""One pass: document' = merge(document, render(inventory, policy)), checked before the write."""

import json
from dataclasses import dataclass
from datetime import datetime

from sidecar.backrest.document import LARGEST, Document, merge_plans, parse_document
from sidecar.backrest.rules import check_document, check_version
from sidecar.backrest.shape import DocumentFault
from sidecar.docker.models import Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import DocumentError
from sidecar.planner.diff import OWNED_KEYS, Changes, diff_plans, with_more
from sidecar.planner.ids import Owners
from sidecar.planner.lifecycle import Ageing, PlanHistory, age_plans
from sidecar.planner.plan import Pass
from sidecar.planner.plans import Memos, Rendered, render

_MIB = 1 << 20
_SHOWN_FAULTS = 5
# The meaning of a document is checked once its shape is right, so one repair may uncover
# the next fault; a few repairs are enough to replace every key.
_MAX_REPAIRS = 4
_NO_KEYS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one pass would write, and why: `after` is `before` when nothing changes."""

    before: Document
    after: Document
    rendered: Rendered
    changes: Changes
    ageing: Ageing | None = None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What containers and flags ask for: all that a proposal depends on, but for the document.

    A pass proposes for the file, or for the document that Backrest's API serves, or for both
    after another: the desired state is the same, so it is gathered once. `now` is aware.
    `runner_mounts` are those of the backrest container, None where host paths are taken as
    they are. Without a `history` orphans are only reported.
    """

    inventory: Inventory
    policy: Policy
    now: datetime
    runner_mounts: tuple[Mount, ...] | None = None
    accept_version: int | None = None
    history: PlanHistory | None = None

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
        return (self.policy, day, mounts, version, self.history, expired, self.inventory)


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

    `served`: as Backrest's API served it, see `merge_plans`. `memos` may be kept from pass
    to pass.

    Raises DocumentError when Backrest would refuse the document also after the
    merge, which repairs faults in the keys that we render.
    """
    if fault := check_version(document.root, desired.accept_version):
        raise DocumentError(fault.message, fault.hint)
    if not isinstance(document.root.get("plans") or [], list):
        raise DocumentError("`plans` is no list", "nothing was written: restore the list of plans")
    memos = memos or Memos()
    memos.begin_pass()
    policy, now, history = desired.policy, desired.now, desired.history
    past = history or PlanHistory()
    owners = Owners(past.owners, past.take_over)
    this = Pass(desired.inventory, document.view, policy, now, desired.runner_mounts)
    rendered = render(this, memos, owners, past.stopped)
    ageing = None
    if history is not None:
        ageing = age_plans(document, rendered, policy, history, now.timestamp())
    contested = history.contested if history else {}
    broken: dict[str, frozenset[str]] = {}
    for _ in range(_MAX_REPAIRS):
        changes = diff_plans(document, rendered, policy, broken, contested, memos.edits)
        if ageing is not None:
            changes = with_more(changes, ageing.edits, ageing.removed)
        after = merge_plans(document, changes.added, changes.edits, changes.removed, served=served)
        faults = check_document(after.root, now.date(), served=served, checked=memos.checked)
        more = _broken_keys(faults, after, rendered)
        if not more:
            break
        broken = {key: broken.get(key, _NO_KEYS) | more.get(key, _NO_KEYS) for key in broken | more}
    if faults:
        raise DocumentError(_refusal(faults, after, changes), _hint(faults))
    if after is not document and len(after.text) > LARGEST // 4:
        _check_size(after)
    return Proposal(document, after, rendered, changes, ageing)


def _check_size(document: Document) -> None:
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
    raise DocumentError(
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
    return f"Backrest would refuse this document: {shown}{rest}"


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
