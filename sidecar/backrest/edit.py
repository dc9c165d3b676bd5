"""Edit JSON as text: what is not named keeps every byte, space and spelling.

`edit_object`, `insert_items` and `remove_items` return edits, `apply_edits` applies them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from sidecar.backrest.jsontext import Member, members, skip_space

_INDENTED = re.compile(r"\n *")


class Edit(NamedTuple):
    """Replace the characters from `start` to `end` by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Style:
    """How members are laid out: `unit` is one step of indentation, None for one line.

    `depth` is that of the members.
    """

    unit: str | None
    depth: int = 1

    @property
    def colon(self) -> str:
        """The text between a key and its value."""
        return ":" if self.unit is None else ": "

    @property
    def line(self) -> str:
        """The text between a bracket or comma and the next member."""
        return "" if self.unit is None else "\n" + self.unit * self.depth

    def at(self, depth: int) -> "Style":
        """Return how members of another depth are laid out."""
        return Style(self.unit, depth)


def style_of(text: str) -> Style:
    """Return the style of the first member of the root object; an empty one gets two spaces."""
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


def render_json(value: Any, style: Style) -> str:
    """Render plain dicts, lists, strings, ints and bools as the value of a member looks."""
    # Imported where something is written: most commands only read.
    from pydantic_core import to_json  # noqa: PLC0415

    if style.unit is None:
        return to_json(value).decode()
    line, unit = style.line, style.unit
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
    found: Sequence[Member] | None = None,
) -> list[Edit]:
    """Return the edits that set and remove members of the object at `start`.

    `found` are its members, where they are known already. A key that stands there more than
    once is set in its first place and removed from the others.
    """
    gone = set(removals)
    pending = dict(settings)
    edits: list[Edit] = []
    kept: Member | None = None
    found = members(text, start) if found is None else found
    for index, member in enumerate(found):
        if member.key in pending:
            new = render_json(pending.pop(member.key), style)
            edits.append(Edit(member.start, member.end, new))
            gone.add(member.key)
            kept = member
        elif member.key in gone:
            edits.append(_removal(found, index, kept))
        else:
            kept = member
    at = kept.end if kept else start + 1
    return [*edits, *_additions(pending, at, bool(kept), style)]


def _removal(found: Sequence[Member], index: int, kept: Member | None) -> Edit:
    """Return the edit that removes a member, with the comma that it no longer needs."""
    member = found[index]
    if kept is not None:
        return Edit(found[index - 1].end, member.end, "")
    following = found[index + 1].key_start if index + 1 < len(found) else member.end
    return Edit(member.key_start, following, "")


def _additions(pending: Mapping[str, Any], at: int, follows: bool, style: Style) -> list[Edit]:
    if not pending:
        return []
    inside = [
        f"{style.line}{encode_basestring(k)}{style.colon}{render_json(v, style)}"
        for k, v in pending.items()
    ]
    return [Edit(at, at, ("," if follows else "") + ",".join(inside))]


def insert_items(
    text: str,
    start: int,
    found: Sequence[Member],
    items: Sequence[tuple[int, Any]],
    style: Style,
) -> list[Edit]:
    """Return the edits that insert values into the array at `start`.

    `found` are the elements that stand there, `items` are (index, value): each is put before
    the element of its index, and one with the array's length as index is appended.
    """
    line = style.line
    edits: list[Edit] = []
    behind: list[str] = []
    for index, value in items:
        new = render_json(value, style)
        if index < len(found):
            at = found[index].start
            edits.append(Edit(at, at, f"{new},{line}"))
        else:
            behind.append(line + new)
    if behind and found:
        edits.append(Edit(found[-1].end, found[-1].end, "," + ",".join(behind)))
    elif behind:
        inside = ",".join(behind) + style.at(style.depth - 1).line
        edits.append(Edit(start + 1, skip_space(text, start + 1), inside))
    return edits


def remove_items(found: Sequence[Member], indexes: Iterable[int]) -> list[Edit]:
    """Return the edits that remove elements of an array, with their commas; `found` are all."""
    gone = frozenset(indexes)
    edits: list[Edit] = []
    kept: Member | None = None
    for index, member in enumerate(found):
        if index in gone:
            edits.append(_removal(found, index, kept))
        else:
            kept = member
    return edits
