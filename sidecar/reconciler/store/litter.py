"""The files that stand beside the document while it is replaced, and what they tell after a crash.

`.NAME.sidecar-RANDOM.part` is new content being written. It was never the document,
so whatever is in it is ours and can go.

`.NAME.sidecar-RANDOM.BASE.NEW.swap` takes part in the exchange. The name tells what it
may hold: BASE and NEW are the first 32 hex digits of the digests of what was read and of
what is to be written. So it needs no record elsewhere to know, whenever we were killed:

- it holds NEW: not exchanged, or exchanged back. It can go.
- it holds BASE: the exchange is done and this is the old document. It can go.
- it holds something else: another program's save, displaced in the moment between our
  last look and the exchange. If the document is still our NEW, it goes back; if that has
  been saved again since, both are worth something, and it is kept under a visible name.
"""

import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError
from sidecar.reconciler.store.place import DocumentFile, FileIdentity, explained

_DIGITS = 32
_TURNS = 50


@dataclass(frozen=True, slots=True)
class Swap:
    """A name that tells base and new content; `random` sets it apart from all others."""

    name: str
    random: str
    base: str
    new: str

    def may_go(self, found: FileIdentity) -> bool:
        """Return whether what the file holds is our own or stands for nothing any more."""
        return found.digest[:_DIGITS] in (self.base, self.new)


def new_part_name(place: DocumentFile) -> str:
    """Return a name for content that is still being written."""
    return f"{_prefix(place)}{secrets.token_hex(8)}.part"


def swap_for(place: DocumentFile, part: str, base: str, new: str) -> Swap:
    """Return the name under which the finished `part` may be exchanged."""
    random = part.removeprefix(_prefix(place)).removesuffix(".part")
    base, new = base[:_DIGITS], new[:_DIGITS]
    return Swap(f"{_prefix(place)}{random}.{base}.{new}.swap", random, base, new)


def recover(place: DocumentFile, on_notice: Callable[[str], None]) -> None:
    """Finish or undo what a killed process left beside the document.

    The lock on the directory must be held: nothing found here is then in use.
    """
    with explained(place.path, "replace"):
        for name in atomic.list_names(place.directory):
            if _is_part(place, name):
                atomic.remove(place.directory, name)
            elif swap := _parse_swap(place, name):
                _recover_swap(place, swap, on_notice)


def put_back(place: DocumentFile, swap: Swap, ours: FileIdentity) -> None:
    """Make the newest foreign save the document again, where `ours` has displaced one.

    Others may save meanwhile, and each such save is newer than the one just put back,
    so what comes out is put back in turn. Afterwards `swap` holds our content or a save
    that its own writer has replaced.
    """
    placed = ours
    for _ in range(_TURNS):
        held = place.look(swap.name)
        if held is None or place.look() != placed:
            return
        atomic.exchange(place.directory, swap.name, place.name)
        if place.look(swap.name) == placed:
            return
        placed = held
    raise StoreError(
        f"{place.path} is saved by another program without a pause",
        f"its latest content may be in {swap.name} beside it",
    )


def drop_superseded(
    place: DocumentFile, swap: Swap, ours: FileIdentity, on_notice: Callable[[str], None]
) -> None:
    """After `put_back`: remove what `swap` holds, a save whose own writer has saved again.

    It is kept instead where nothing has come in its stead, or where it is no plain file.
    """
    held = place.look(swap.name)
    if held is None or held == ours:
        return
    if held.digest and place.look() is not None:
        atomic.remove(place.directory, swap.name)
    else:
        keep_aside(place, swap, on_notice)


def keep_aside(place: DocumentFile, swap: Swap, on_notice: Callable[[str], None]) -> None:
    """Keep a foreign save that cannot be the document any more where people see it."""
    visible = f"{place.name}.displaced-{swap.random}"
    atomic.rename_new(place.directory, swap.name, visible)
    on_notice(
        f"a save of {place.path} by another program met a write of ours, and what stands there "
        f"now is not ours to replace: its content is kept in {place.path.parent / visible}"
    )


def _recover_swap(place: DocumentFile, swap: Swap, on_notice: Callable[[str], None]) -> None:
    held = place.look(swap.name)
    if held is None:
        return
    document = place.look()
    if not swap.may_go(held) and document and document.digest[:_DIGITS] == swap.new:
        put_back(place, swap, document)
        held = place.look(swap.name) or held
        if swap.may_go(held):
            on_notice(f"an interrupted write had displaced a save of {place.path}: it is back")
    if swap.may_go(held):
        atomic.remove(place.directory, swap.name)
    else:
        keep_aside(place, swap, on_notice)


def _prefix(place: DocumentFile) -> str:
    return f".{place.name}.sidecar-"


def _is_part(place: DocumentFile, name: str) -> bool:
    if not re.fullmatch(re.escape(_prefix(place)) + r"[0-9a-f]{16}\.part", name):
        return False
    return stat.S_ISREG(os.lstat(name, dir_fd=place.directory).st_mode)


def _parse_swap(place: DocumentFile, name: str) -> Swap | None:
    digest = f"([0-9a-f]{{{_DIGITS}}})"
    pattern = rf"{re.escape(_prefix(place))}([0-9a-f]{{16}})\.{digest}\.{digest}\.swap"
    found = re.fullmatch(pattern, name)
    return Swap(name, found[1], found[2], found[3]) if found else None
