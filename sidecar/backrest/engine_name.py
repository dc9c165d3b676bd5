"""Which backup program a repository is for: the scheme of its URI tells."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# restic refuses these as "invalid backend", so they cannot be repositories of its own.
_SCHEME: Final = re.compile(r"(rsync|dar):|(duplicity)\+")
_NEARLY: Final = re.compile(_SCHEME.pattern, re.IGNORECASE)
_OVER: Final = re.compile(r"rsync(?:\+[a-z]+:|://)", re.IGNORECASE)
_OF_RSYNC: Final = "write rsync:USER@HOST:/PATH, which goes over ssh, or rsync:/PATH"


class EngineName(StrEnum):
    """A backup program."""

    RESTIC = "restic"
    RSYNC = "rsync"
    DAR = "dar"
    DUPLICITY = "duplicity"


RUNNABLE: Final = frozenset({EngineName.RESTIC, EngineName.RSYNC})
"""The engines that this version can run: nothing of a repository of another one is run."""


@dataclass(frozen=True, slots=True)
class SchemeFault:
    """Why the scheme of a URI is of no use, as in `begins with ...`, and what to write instead."""

    message: str
    hint: str


def check_scheme(uri: str) -> SchemeFault | None:
    """Return why the scheme of a URI is none, where it is nearly one of ours; it is not shown."""
    if (over := _OVER.match(uri)) is not None:
        if over[0].endswith("://"):
            return SchemeFault("is that of an rsync daemon, which cannot keep snapshots", _OF_RSYNC)
        return SchemeFault(f"begins with `{over[0]}`, which is no scheme", _OF_RSYNC)
    if uri.startswith("duplicity:"):
        return SchemeFault("begins with `duplicity:`, which is no scheme", "write duplicity+URL")
    nearly = _NEARLY.match(uri)
    if nearly is None or _SCHEME.match(uri):
        return None
    small = nearly[0].lower()
    return SchemeFault(f"begins with `{nearly[0]}`", f"write it in small letters: `{small}`")


def is_hidden(uri: str) -> bool:
    """Return whether a variable, `${NAME}`, hides the scheme of a URI from whoever lacks it."""
    return uri.startswith("${")


def engine_of(uri: str) -> EngineName:
    """Return the engine of a repository by its URI, in which `${NAME}` is expanded already.

    For example `rsync:/backup` is of rsync, `duplicity+sftp://host/x` of duplicity. Whatever
    has no scheme of ours is of restic.
    """
    found = _SCHEME.match(uri)
    return EngineName(found[1] or found[2]) if found else EngineName.RESTIC
