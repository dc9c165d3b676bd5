"""Making way for what a restic before 0.17 restores: it replaces files, and nothing else."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from sidecar.engines.base import Entry

_KINDS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR}


def make_way(entries: Iterable[Entry], target: Path) -> None:
    """Remove links and the like that stand below `target` where an entry is to come.

    A folder is never removed, nor a file where a file comes. What cannot be removed is left
    for restic to tell.
    """
    for entry in entries:
        path = os.path.join(target, entry.path.lstrip("/"))  # noqa: PTH118 - of any bytes
        with contextlib.suppress(OSError):
            present = stat.S_IFMT(os.lstat(path).st_mode)
            if present not in (stat.S_IFDIR, _KINDS.get(entry.kind)):
                os.unlink(path)  # noqa: PTH108
