"""Where things stand in a document's text, before and after edits of it.

A document of a thousand plans is decoded once. After edits only what they wrote is
decoded: everything else has moved, and is the same object as before.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from sidecar.backrest.edit import Edit
from sidecar.backrest.jsontext import Member, Object, members, members_between, value_at

_PLANS: Final = "plans"


class Layout(NamedTuple):
    """The members of the root object, and the elements of its list of plans (None: no list).

    Their values are the same objects as in the decoded root, not copies.
    """

    top: tuple[Member, ...]
    plans: tuple[Member, ...] | None

    @property
    def holder(self) -> Member | None:
        """The member that holds the plans: of several of its name the last counts."""
        return next((member for member in reversed(self.top) if member.key == _PLANS), None)


def layout_of(text: str, root: Object) -> Layout:
    """Return where the members of a decoded document stand in its text."""
    top = members(text, text.index("{"))
    listed = root.get(_PLANS)
    if not isinstance(listed, list):
        return Layout(tuple(top), None)
    top = [m._replace(value=listed) if m.key == _PLANS else m for m in top]
    holder = next(member for member in reversed(top) if member.key == _PLANS)
    found = zip(members(text, holder.start), listed, strict=True)
    return Layout(tuple(top), tuple(member._replace(value=value) for member, value in found))


def follow_edits(layout: Layout, edits: Iterable[Edit], text: str) -> tuple[Object, Layout] | None:
    """Return the root and the layout of `text`, the result of `edits` on the text of `layout`.

    Edits may only write whole values, or new members and elements. Return None where there
    is no list of plans, or more than one: then the whole text must be decoded.
    """
    holder, keys = layout.holder, {member.key for member in layout.top}
    if holder is None or layout.plans is None or len(layout.top) != len(keys):
        return None
    shift = _Shift(edits)
    plans = tuple(_follow(layout.plans, shift, text, holder.start + 1, keyed=False))
    top = list(_follow(layout.top, shift, text, text.index("{") + 1, keyed=True))
    listed = [member.value for member in plans]
    top = [m._replace(value=listed) if m.key == _PLANS else m for m in top]
    return Object([(m.key, m.value) for m in top]), Layout(tuple(top), plans)


class _Shift:
    """Maps offsets before the edits to offsets after them."""

    def __init__(self, edits: Iterable[Edit]) -> None:
        ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
        grown = (len(edit.text) - (edit.end - edit.start) for edit in ordered)
        self._starts = [edit.start for edit in ordered]
        self._ends = [edit.end for edit in ordered]
        self._moved = list(accumulate(grown, initial=0))

    def start(self, position: int) -> int:
        """Return the new offset of a beginning: what is inserted right there moves it."""
        return position + self._moved[bisect_right(self._ends, position)]

    def end(self, position: int) -> int:
        """Return the new offset of an end: what is inserted right there does not move it."""
        return position + self._moved[bisect_left(self._starts, position)]

    def touches(self, member: Member) -> bool:
        """Return whether anything is written inside a member."""
        index = bisect_right(self._ends, member.start)
        return index < len(self._starts) and self._starts[index] < member.end


def _follow(
    found: Sequence[Member], shift: _Shift, text: str, opened: int, *, keyed: bool
) -> Iterator[Member]:
    """Yield the members after the edits; `opened` is the old offset behind their bracket."""
    old_position, position = opened, shift.end(opened)
    for member in found:
        key, value, key_start, start, end = member
        new_key, new_start, new_end = shift.start(key_start), shift.start(start), shift.end(end)
        if new_key - position != key_start - old_position:
            yield from members_between(text, position, new_key, keyed=keyed)
        if shift.touches(member) and not (keyed and key == _PLANS):
            value, new_end = value_at(text, new_start)
        yield Member(key, value, new_key, new_start, new_end)
        old_position, position = end, new_end
    yield from members_between(text, position, len(text), keyed=keyed)
