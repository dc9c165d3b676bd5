"""Edits on JSON text: what is not named keeps every byte, space and spelling.

Where things stand in a document's text, and where they stand after edits of it.

A document of a thousand plans is decoded once. After an edit only what was written is
decoded: everything else has moved, and is the same object as before.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from pydantic_core import to_json

from sidecar.backrest.jsontext import Member, Object, members, members_between, skip_space, value_at

_INDENTED = re.compile(r"\n *")


class Edit(NamedTuple):
    """Replace the characters from `start` to `end` by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is laid out: `unit` is one step of indentation, None for one line."""

    unit: str | None

    @property
    def colon(self) -> str:
        """What stands between a key and its value."""
        return ":" if self.unit is None else ": "

    def line(self, depth: int) -> str:
        """What stands between a bracket or comma and the next member."""
        return "" if self.unit is None else "\n" + self.unit * depth


def style_of(text: str) -> Style:
    """Read the style off the first member of the root object; an empty one gets two spaces."""
    start = text.index("{") + 1
    first = skip_space(text, start)
    space = text[start:first]
    if "\n" in space and text[first] != "}":
        return Style(space[space.rindex("\n") + 1 :])
    return Style("  " if text[first] == "}" else None)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits that do not overlap, in any order."""
    pieces: list[str] = []
    position = 0
    for start, end, new in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        pieces += (text[position:start], new)
        position = end
    return "".join((*pieces, text[position:]))


def render_json(value: Any, style: Style, depth: int) -> str:
    """Write plain dicts, lists, strings, ints and bools at a depth of the text."""
    if style.unit is None:
        return to_json(value).decode()
    line, unit = style.line(depth), style.unit
    # No string holds a raw line break, so every one of them begins a line of ours.
    if unit and not unit.strip(" "):
        return to_json(value, indent=len(unit)).decode().replace("\n", line)
    text = to_json(value, indent=1).decode()
    return _INDENTED.sub(lambda match: line + unit * (match.end() - match.start() - 1), text)


def edit_object(
    text: str,
    start: int,
    settings: Mapping[str, Any],
    removals: Iterable[str],
    style: Style,
    depth: int,
    found: Sequence[Member] | None = None,
) -> list[Edit]:
    """Set and remove members of the object at `start`; `depth` is that of its members.

    `found` are its members, where they are known already. A key that stands there more
    than once is set in its first place and removed from the others.
    """
    gone = set(removals)
    pending = dict(settings)
    edits: list[Edit] = []
    kept: Member | None = None
    found = members(text, start) if found is None else found
    for index, member in enumerate(found):
        if member.key in pending:
            new = render_json(pending.pop(member.key), style, depth)
            edits.append(Edit(member.start, member.end, new))
            gone.add(member.key)
            kept = member
        elif member.key in gone:
            edits.append(_removal(found, index, kept))
        else:
            kept = member
    at = kept.end if kept else start + 1
    return [*edits, *_additions(pending, at, bool(kept), style, depth)]


def _removal(found: Sequence[Member], index: int, kept: Member | None) -> Edit:
    """Remove a member with the comma that it no longer needs."""
    member = found[index]
    if kept is not None:
        return Edit(found[index - 1].end, member.end, "")
    following = found[index + 1].key_start if index + 1 < len(found) else member.end
    return Edit(member.key_start, following, "")


def _additions(
    pending: Mapping[str, Any], at: int, follows: bool, style: Style, depth: int
) -> list[Edit]:
    if not pending:
        return []
    line = style.line(depth)
    inside = [
        f"{line}{encode_basestring(k)}{style.colon}{render_json(v, style, depth)}"
        for k, v in pending.items()
    ]
    return [Edit(at, at, ("," if follows else "") + ",".join(inside))]


def insert_items(
    text: str,
    start: int,
    found: Sequence[Member],
    items: Sequence[tuple[int, Any]],
    style: Style,
    depth: int,
) -> list[Edit]:
    """Insert values into the array at `start`, each before the element of its index.

    `found` are the elements that stand there, `items` are (index, value); an index of the
    array's length appends. `depth` is that of the elements.
    """
    line = style.line(depth)
    edits: list[Edit] = []
    behind: list[str] = []
    for index, value in items:
        new = render_json(value, style, depth)
        if index < len(found):
            at = found[index].start
            edits.append(Edit(at, at, f"{new},{line}"))
        else:
            behind.append(line + new)
    if behind and found:
        edits.append(Edit(found[-1].end, found[-1].end, "," + ",".join(behind)))
    elif behind:
        edits.append(
            Edit(start + 1, _closing(text, start), ",".join(behind) + style.line(depth - 1))
        )
    return edits


def remove_items(found: Sequence[Member], indexes: Iterable[int]) -> list[Edit]:
    """Remove elements of an array, of which `found` are all, and their commas."""
    gone = frozenset(indexes)
    edits: list[Edit] = []
    kept: Member | None = None
    for index, member in enumerate(found):
        if index in gone:
            edits.append(_removal(found, index, kept))
        else:
            kept = member
    return edits


def _closing(text: str, start: int) -> int:
    return skip_space(text, start + 1)


PLANS = "plans"


class Layout(NamedTuple):
    """The members of the root object, and the elements of its list of plans (None: no list).

    Values are those of the decoded root, not copies.
    """

    top: tuple[Member, ...]
    plans: tuple[Member, ...] | None

    @property
    def holder(self) -> Member | None:
        """The member that holds the plans: of several of its name the last counts."""
        return next((member for member in reversed(self.top) if member.key == PLANS), None)


def layout_of(text: str, root: Object) -> Layout:
    """Find where the members of a decoded document stand."""
    top = members(text, text.index("{"))
    listed = root.get(PLANS)
    if not isinstance(listed, list):
        return Layout(tuple(top), None)
    top = [m._replace(value=listed) if m.key == PLANS else m for m in top]
    holder = next(member for member in reversed(top) if member.key == PLANS)
    found = zip(members(text, holder.start), listed, strict=True)
    return Layout(tuple(top), tuple(member._replace(value=value) for member, value in found))


def follow_edits(layout: Layout, edits: Iterable[Edit], text: str) -> tuple[Object, Layout] | None:
    """Return the root and the layout of `text`, which these edits made of what `layout` describes.

    Edits may only write whole values, or new members and elements. None where there is no
    list of plans, or more than one: then everything is to be decoded.
    """
    holder = layout.holder
    if holder is None or layout.plans is None or len(layout.top) != len({*_keys(layout)}):
        return None
    shift = _Shift(edits)
    plans = tuple(_follow(layout.plans, shift, text, holder.start + 1, keyed=False))
    top = list(_follow(layout.top, shift, text, text.index("{") + 1, keyed=True))
    listed = [member.value for member in plans]
    top = [m._replace(value=listed) if m.key == PLANS else m for m in top]
    return Object([(m.key, m.value) for m in top]), Layout(tuple(top), plans)


def _keys(layout: Layout) -> Iterator[str]:
    return (member.key for member in layout.top)


class _Shift:
    """How far edits move what stands between and behind them."""

    def __init__(self, edits: Iterable[Edit]) -> None:
        ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
        grown = (len(edit.text) - (edit.end - edit.start) for edit in ordered)
        self._starts = [edit.start for edit in ordered]
        self._ends = [edit.end for edit in ordered]
        self._moved = list(accumulate(grown, initial=0))

    def start(self, position: int) -> int:
        """Where the beginning of something went: what is written before it moves it."""
        return position + self._moved[bisect_right(self._ends, position)]

    def end(self, position: int) -> int:
        """Where the end of something went: what is written behind it does not move it."""
        return position + self._moved[bisect_left(self._starts, position)]

    def touches(self, member: Member) -> bool:
        """Return whether anything is written inside a member."""
        index = bisect_right(self._ends, member.start)
        return index < len(self._starts) and self._starts[index] < member.end


def _follow(
    found: Sequence[Member], shift: _Shift, text: str, opened: int, *, keyed: bool
) -> Iterator[Member]:
    """Return the members after the edits; `opened` is where the text before them was behind."""
    # What is written right there comes behind it.
    old_position, position = opened, shift.end(opened)
    for member in found:
        key, value, key_start, start, end = member
        new_key, new_start, new_end = shift.start(key_start), shift.start(start), shift.end(end)
        if new_key - position != key_start - old_position:
            yield from members_between(text, position, new_key, keyed=keyed)
        if shift.touches(member) and not (keyed and key == PLANS):
            value, new_end = value_at(text, new_start)
        yield Member(key, value, new_key, new_start, new_end)
        old_position, position = end, new_end
    yield from members_between(text, position, len(text), keyed=keyed)
