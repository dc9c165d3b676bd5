"""The files beside the document while it is replaced, and recovery from what a crash left.

`.NAME.sidecar-RANDOM.part` is new content being written. It was never the document,
so whatever is in it is ours and is removed.

`.NAME.sidecar-RANDOM.BASE.NEW.swap` takes part in the exchange. The name tells what it
may hold: BASE and NEW are the first 32 hex digits of the digests of what was read and of
what is to be written. So it needs no record elsewhere to know, whenever we were killed:

- it holds NEW: not exchanged, or exchanged back. It is removed.
- it holds BASE: the exchange is done and this is the old document. It is removed.
- it holds something else: another program's save, displaced in the moment between our
  last check and the exchange. If the document is still our NEW, it goes back; if that has
  been saved again since, both are worth something, and it is kept under a visible name.
"""

import os
import re
import secrets
import stat
from dataclasses import dataclass

from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError
from sidecar.reconciler.store.read import DocumentFile, FileIdentity, explained

_DIGITS = 32
_EXCHANGES = 50


@dataclass(frozen=True, slots=True)
class Swap:
    """A file whose name contains the digests of base and new content; `random` makes it unique."""

    name: str
    random: str
    base: str
    new: str

    def may_go(self, found: FileIdentity) -> bool:
        """Return whether the file holds our content, or the old document: it can be removed."""
        return found.digest[:_DIGITS] in (self.base, self.new)


def new_part_name(file: DocumentFile) -> str:
    """Return a name for content that is still being written."""
    return f"{_prefix(file)}{secrets.token_hex(8)}.part"


def swap_for(file: DocumentFile, part: str, base: str, new: str) -> Swap:
    """Return the name under which the finished `part` may be exchanged."""
    random = part.removeprefix(_prefix(file)).removesuffix(".part")
    base, new = base[:_DIGITS], new[:_DIGITS]
    return Swap(f"{_prefix(file)}{random}.{base}.{new}.swap", random, base, new)


def are_left(file: DocumentFile) -> bool:
    """Return whether anything of a write lies beside the document; the write may go on."""
    with explained(file.path, "read"):
        names = atomic.list_names(file.directory)
        return any(_has_part_name(file, name) or _parse_swap(file, name) for name in names)


def recover(file: DocumentFile) -> list[str]:
    """Finish or undo what a killed process left beside the document; return notices for people.

    The lock on the directory must be held: nothing found here is then in use.
    """
    notices: list[str] = []
    with explained(file.path, "replace"):
        for name in atomic.list_names(file.directory):
            if _is_part(file, name):
                atomic.remove(file.directory, name)
            elif swap := _parse_swap(file, name):
                notices += _recover_swap(file, swap)
    return notices


def put_back(file: DocumentFile, swap: Swap, ours: FileIdentity) -> None:
    """Make the newest foreign save the document again, where `ours` has displaced one.

    Others may save meanwhile, and each such save is newer than the one just put back,
    so that one is put back in turn. Afterwards `swap` holds our content or a save that
    its own writer has replaced.
    """
    placed = ours
    for _ in range(_EXCHANGES):
        held = file.identity(swap.name)
        if held is None or file.identity() != placed:
            return
        atomic.exchange(file.directory, swap.name, file.name)
        if file.identity(swap.name) == placed:
            return
        placed = held
    raise StoreError(
        f"{file.path} is saved by another program without a pause",
        f"its latest content may be in {swap.name} beside it",
    )


def drop_superseded(file: DocumentFile, swap: Swap, ours: FileIdentity) -> list[str]:
    """Remove what `swap` holds after `put_back`: a save whose own writer has saved again.

    Keep it where no document replaces it, or where it is no plain file; return a notice then.
    """
    held = file.identity(swap.name)
    if held is None or held == ours:
        return []
    if held.digest and file.identity() is not None:
        atomic.remove(file.directory, swap.name)
        return []
    return [_keep_aside(file, swap)]


def _keep_aside(file: DocumentFile, swap: Swap) -> str:
    """Keep a foreign save that cannot be the document any more under a visible name."""
    visible = f"{file.name}.displaced-{swap.random}"
    atomic.rename_new(file.directory, swap.name, visible)
    return (
        f"a save of {file.path} by another program met a write of ours, and what stands there "
        f"now is not ours to replace: its content is kept in {file.path.parent / visible}"
    )


def _recover_swap(file: DocumentFile, swap: Swap) -> list[str]:
    held = file.identity(swap.name)
    if held is None:
        return []
    notices: list[str] = []
    document = file.identity()
    if not swap.may_go(held) and document and document.digest[:_DIGITS] == swap.new:
        put_back(file, swap, document)
        held = file.identity(swap.name) or held
        if swap.may_go(held):
            notices.append(f"an interrupted write had displaced a save of {file.path}: it is back")
    if swap.may_go(held):
        atomic.remove(file.directory, swap.name)
    else:
        notices.append(_keep_aside(file, swap))
    return notices


def _prefix(file: DocumentFile) -> str:
    return f".{file.name}.sidecar-"


def _has_part_name(file: DocumentFile, name: str) -> bool:
    return bool(re.fullmatch(re.escape(_prefix(file)) + r"[0-9a-f]{16}\.part", name))


def _is_part(file: DocumentFile, name: str) -> bool:
    if not _has_part_name(file, name):
        return False
    return stat.S_ISREG(os.lstat(name, dir_fd=file.directory).st_mode)


def _parse_swap(file: DocumentFile, name: str) -> Swap | None:
    digest = f"([0-9a-f]{{{_DIGITS}}})"
    pattern = rf"{re.escape(_prefix(file))}([0-9a-f]{{16}})\.{digest}\.{digest}\.swap"
    found = re.fullmatch(pattern, name)
    return Swap(name, found[1], found[2], found[3]) if found else None
