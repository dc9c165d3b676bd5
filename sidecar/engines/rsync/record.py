"""The record beside a snapshot: what it is, as JSON of one line. Pure."""

import json
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any

_VERSION = 1


def plan_tags(plan: str, instance: str) -> tuple[str, str]:
    """Return the two tags that mark the snapshots of a plan: `plan:web`, `created-by:nas`."""
    return f"plan:{plan}", f"created-by:{instance}"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a snapshot.

    Attributes:
        name: of its folder.
        time: when it was begun, with the offset of the zone that was local then.
        paths: absolute ones, as the runner saw them.
        tags: of its plan and instance.
        files: how many regular files it holds; None: it was not counted.
        size: the sum of the sizes of what it holds, likewise.
        root: the absolute path that its folder is a copy of.
        faked: whether owners and modes lie in attributes, for the other side was not root.
    """

    name: str
    time: datetime
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    files: int | None = None
    size: int | None = None
    root: str = "/"
    faked: bool = False

    def to_json(self) -> bytes:
        """Return the content of its file."""
        plain = {
            "version": _VERSION,
            "name": self.name,
            "time": self.time.isoformat(),
            "paths": self.paths,
            "tags": self.tags,
            "files": self.files,
            "size": self.size,
            "root": self.root,
            "faked": self.faked,
        }
        return json.dumps(plain).encode() + b"\n"


def parse_record(line: bytes) -> Record | None:
    """Return the record in a line; None if it is none."""
    try:
        plain: dict[str, Any] = json.loads(line)
        record = Record(
            str(plain["name"]),
            datetime.fromisoformat(plain["time"]),
            tuple(map(str, plain["paths"])),
            tuple(map(str, plain["tags"])),
            _count(plain.get("files")),
            _count(plain.get("size")),
            str(plain["root"]),
            plain.get("faked") is True,
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_aware = record.time.tzinfo is not None
    # The first and the last year are too far away to be compared in all zones.
    return record if is_aware and MINYEAR < record.time.year < MAXYEAR else None


def _count(found: object) -> int | None:
    return found if isinstance(found, int) else None
