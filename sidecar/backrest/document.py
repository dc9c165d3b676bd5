"""Backrest's config.json: its text kept verbatim, views of it, and the merge of our plans.

`parse_document` makes a `Document` of bytes; `merge_plans` returns the next one, in which
nothing but the given plans and `modno` differs by a byte.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from sidecar.backrest.edit import (
    Edit,
    Style,
    apply_edits,
    edit_object,
    insert_items,
    remove_items,
    style_of,
)
from sidecar.backrest.engine_name import EngineName, engine_of
from sidecar.backrest.jsontext import Member, NotJson, Object, decode, parse_integer
from sidecar.backrest.layout import Layout, follow_edits, layout_of
from sidecar.backrest.messages import REPO, value_of
from sidecar.backrest.plan import Plan
from sidecar.backrest.rules import check_engine, is_active
from sidecar.lib.errors import DocumentError

LARGEST = 64 * 1024 * 1024
"""Bytes that a document may have; what is larger is something else put there by mistake."""

_MAX_MODNO = 2**31 - 1
# Depth of the members of a plan: root object, list of plans, plan.
_PLAN_MEMBERS = 3
_RESTORE = (
    "restore one of Backrest's config.json.bak.* files beside it, or start with an empty folder"
)


_SAVE_PLAIN = "save it as UTF-8 without a byte order mark"
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "UTF-8",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan that stands in the document."""

    id: str
    repo: str
    paths: tuple[str, ...]
    backup_flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepoView:
    """A repository; `overrides_retention` when its own forget policy is active.

    `not_restic`: why no restic can use it; empty if one can.
    """

    id: str
    overrides_retention: bool = False
    not_restic: str = ""
    engine: EngineName = EngineName.RESTIC


@dataclass(frozen=True, slots=True)
class DocumentView:
    """The plans and repositories of a document, in its order; the first of an id counts."""

    plans: tuple[PlanView, ...] = ()
    repos: tuple[RepoView, ...] = ()
    plan_by_id: dict[str, PlanView] = field(init=False, compare=False, repr=False)
    repo_by_id: dict[str, RepoView] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan_by_id", {plan.id: plan for plan in reversed(self.plans)})
        object.__setattr__(self, "repo_by_id", {repo.id: repo for repo in reversed(self.repos)})


def joined_view(view: DocumentView, runner: DocumentView) -> DocumentView:
    """Return the plans and repositories of config.json and of the runner's document as one view.

    Of a plan that stands in both, that of config.json counts. Repositories of any engine are
    of use in the runner's document.
    """
    usable = [replace(repo, not_restic="") if repo.not_restic else repo for repo in runner.repos]
    return DocumentView((*view.plans, *runner.plans), (*view.repos, *usable))


@dataclass(frozen=True, slots=True)
class PlanEdit:
    """A change of one plan that stands in the document: keys to set and keys to remove."""

    id: str
    settings: Mapping[str, Any]
    removals: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """One version of the document; `text` is its every character."""

    text: str

    @cached_property
    def root(self) -> Object:
        """The decoded document. Raises DocumentError when it is no JSON object."""
        if not self.text.strip():
            raise DocumentError("the document is empty", _RESTORE)
        try:
            root = decode(self.text)
        except NotJson as error:
            where = _place_of(self.text, error.position)
            raise DocumentError(f"the document is not JSON: {where}: {error}", _RESTORE) from None
        if not isinstance(root, Object):
            raise DocumentError("the document is not a JSON object", _RESTORE)
        return root

    @cached_property
    def plans(self) -> dict[str, Object]:
        """The raw plans by id; of repeated ids the first."""
        listed = self.root.get("plans")
        found: dict[str, Object] = {}
        for plan in listed if isinstance(listed, list) else ():
            if isinstance(plan, Object) and type(plan.get("id")) is str:
                found.setdefault(plan["id"], plan)
        return found

    @cached_property
    def content(self) -> bytes:
        """The text as it stands in the file."""
        return self.text.encode()

    @cached_property
    def layout(self) -> Layout:
        """Where the members of the root and the plans stand in the text."""
        return layout_of(self.text, self.root)

    def edited(self, edits: Sequence[Edit]) -> "Document":
        """Return the document after edits of its text; only what they write is decoded.

        Edits may only write whole values, or new members and elements.
        """
        after = Document(apply_edits(self.text, edits))
        if (followed := follow_edits(self.layout, edits, after.text)) is not None:
            # Where a cached property finds its value, so that it is not computed.
            after.__dict__["root"], after.__dict__["layout"] = followed
            views = self.view.plans
            after.__dict__["_known_views"] = {v.id: (self.plans[v.id], v) for v in views}
        return after

    @cached_property
    def _known_views(self) -> Mapping[str, tuple[Object, PlanView]]:
        """The views of the document that this one was edited from: plan and view by id."""
        return {}

    def _plan_view(self, plan_id: str, plan: Object) -> PlanView:
        known = self._known_views.get(plan_id)
        return known[1] if known and known[0] is plan else _plan_view(plan_id, plan)

    @cached_property
    def view(self) -> DocumentView:
        """The plans and repositories, of which the planner makes the next ones."""
        repos = self.root.get("repos")
        return DocumentView(
            tuple(self._plan_view(plan_id, plan) for plan_id, plan in self.plans.items()),
            tuple(
                _repo_view(repo)
                for repo in (repos if isinstance(repos, list) else ())
                if isinstance(repo, Object) and type(repo.get("id")) is str and repo["id"]
            ),
        )


def parse_document(content: bytes) -> Document:
    """Parse the bytes of a document; raises DocumentError where they are no JSON object."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            message = (
                f"the document is not JSON: it begins with a byte order mark (BOM, {encoding})"
            )
            raise DocumentError(message, _SAVE_PLAIN)
    try:
        document = Document(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        where = _place_of(content[: error.start].decode("utf-8"), None)
        message = f"the document is not UTF-8: {where}: byte 0x{content[error.start]:02x}"
        raise DocumentError(message, _RESTORE) from None
    document.root  # noqa: B018  # decoded now, so that nobody meets the error later
    return document


def merge_plans(
    document: Document,
    added: Sequence[Plan],
    edits: Sequence[PlanEdit],
    removed: Sequence[str] = (),
    *,
    served: bool = False,
    carried: Mapping[str, Any] | None = None,
) -> Document:
    """Return the document with plans added, edited and removed, and `modno` up by one.

    `removed` are ids. New plans are put before the first greater id. Nothing else changes
    by a byte; with nothing to change the document itself is returned. One that Backrest
    `served` keeps its `modno`: Backrest compares it with its own, and counts. `carried`: the
    whole JSON of new plans that come from another document.
    """
    if not added and not edits and not removed:
        return document
    if removed:
        document = Document(_without_plans(document, frozenset(removed)))
    text, layout, style = document.text, document.layout, style_of(document.text)
    settings: dict[str, Any] = {} if served else {"modno": _next_modno(document.root)}
    changes: list[Edit] = []
    if layout.plans is None or layout.holder is None:
        settings["plans"] = [item for _, item in _slots((), added, carried or {})]
    else:
        changes = _edit_changes(text, layout.plans, edits, style)
        ids = [_id_of(member.value) for member in layout.plans]
        items = list(_slots(ids, added, carried or {}))
        at = style.at(_PLAN_MEMBERS - 1)
        changes += insert_items(text, layout.holder.start, layout.plans, items, at)
    changes += edit_object(text, text.index("{"), settings, (), style, layout.top)
    return document.edited(changes)


def _place_of(text: str, position: int | None) -> str:
    """Return line and column of a position, None for the end, both counted from one."""
    before = text[:position]
    line = before.count("\n") + 1
    return f"line {line}, column {len(before) - before.rfind(chr(10))}"


def _plan_view(plan_id: str, plan: Object) -> PlanView:
    repo = plan.get("repo")
    return PlanView(
        plan_id,
        repo if type(repo) is str else "",
        _texts(plan.get("paths")),
        _texts(plan.get("backup_flags")),
    )


def _texts(listed: object) -> tuple[str, ...]:
    items = listed if isinstance(listed, list) else []
    return tuple(item for item in items if type(item) is str and item)


def _has_forget_policy(repo: Object) -> bool:
    """Return whether the repository forgets by itself: its forget schedule ever runs."""
    _, policy = value_of(repo, REPO, "forgetPolicy")
    schedule = policy.get("schedule") if isinstance(policy, Object) else None
    return isinstance(schedule, Object) and is_active(schedule)


def _repo_view(repo: Object) -> RepoView:
    uri = repo.get("uri")
    fault = check_engine(uri)
    engine = engine_of(uri) if type(uri) is str else EngineName.RESTIC
    reason = "" if fault is None else fault.message
    return RepoView(repo["id"], _has_forget_policy(repo), reason, engine)


def _next_modno(root: Object) -> int:
    value = root.get("modno")
    number = parse_integer(value, 32) if isinstance(value, str) else None
    # The number is only compared for equality: past the largest it starts anew.
    return 1 if number is None or number >= _MAX_MODNO else number + 1


def _without_plans(document: Document, removed: frozenset[str]) -> str:
    """Return the text without these plans and the commas that are no longer needed."""
    found = document.layout.plans or ()
    gone = [index for index, member in enumerate(found) if _id_of(member.value) in removed]
    return apply_edits(document.text, remove_items(found, gone))


def _id_of(plan: Any) -> str:
    plan_id = plan.get("id") if isinstance(plan, Object) else None
    return plan_id if type(plan_id) is str else ""


def carry_plan(document: Document, edit: PlanEdit) -> dict[str, Any]:
    """Return the JSON of a plan of this document, with an edit made, for another document."""
    text, plans = document.text, document.layout.plans or ()
    member = next(member for member in plans if _id_of(member.value) == edit.id)
    own = text[member.start : member.end]
    changes = edit_object(own, 0, edit.settings, edit.removals, Style(None))
    plan: dict[str, Any] = json.loads(apply_edits(own, changes))
    return plan


def _edit_changes(
    text: str, plans: Sequence[Member], edits: Sequence[PlanEdit], style: Style
) -> list[Edit]:
    by_id = {edit.id: edit for edit in edits}
    changes: list[Edit] = []
    for member in plans if by_id else ():
        edit = by_id.pop(_id_of(member.value), None)
        if edit is not None:
            at = style.at(_PLAN_MEMBERS)
            changes += edit_object(text, member.start, edit.settings, edit.removals, at)
    return changes


def _slots(
    ids: Sequence[str], added: Sequence[Plan], carried: Mapping[str, Any]
) -> Iterator[tuple[int, Any]]:
    """Yield (index, plan): before the first greater id, also where the ids are unsorted."""
    ordered = all(one <= other for one, other in pairwise(ids))
    for plan in sorted(added, key=lambda item: item.id):
        if ordered:
            index = bisect_right(ids, plan.id)
        else:
            index = next((i for i, other in enumerate(ids) if other > plan.id), len(ids))
        yield index, carried.get(plan.id) or plan.to_json()
