"""Which backup program a repository is for: the scheme of its URI tells."""

import re
from enum import StrEnum
from typing import Final

# restic refuses these as "invalid backend", so they cannot be repositories of its own.
_SCHEME: Final = re.compile(r"(rsync|dar):|(duplicity)\+")


class EngineName(StrEnum):
    """A backup program."""

    RESTIC = "restic"
    RSYNC = "rsync"
    DAR = "dar"
    DUPLICITY = "duplicity"


def engine_of(uri: str) -> EngineName:
    """Return the engine of a repository by its URI, in which `${NAME}` is expanded already.

    For example `rsync:/backup` is of rsync, `duplicity+sftp://host/x` of duplicity. Whatever
    has no scheme of ours is of restic.
    """
    found = _SCHEME.match(uri)
    return EngineName(found[1] or found[2]) if found else EngineName.RESTIC
