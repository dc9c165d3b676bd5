"""A program that saves the document from memory and knows no locks, as Backrest does.

usage: foreign_writer.py PATH SECONDS

Reads PATH once. Then, every SECONDS, it counts `foreign` up in memory, writes that to a
new file and renames it over PATH. Nobody else changes `foreign`, so after each save it
looks until it finds its own count in PATH again: another writer may displace a save for
a moment, but a save that does not come back was lost. Stops when standard input ends;
the last line of output is the last count, or `lost COUNT`, with exit 1.
"""

import json
import os
import select
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 10


def save(path: Path, document: dict[str, object]) -> None:
    """Rename a new file over the document."""
    beside = path.parent / f".{path.name}.tmp{os.getpid()}"
    beside.write_text(json.dumps(document))
    beside.rename(path)


def stands(path: Path, count: int) -> bool:
    """Return whether the save number `count` is the document, or is again before patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while json.loads(path.read_text())["foreign"] != count:
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def main(path: Path, seconds: float) -> int:
    """Save until standard input ends; return the exit code."""
    document = json.loads(path.read_text())
    while not select.select([sys.stdin], [], [], seconds)[0]:
        document["foreign"] += 1
        save(path, document)
        if not stands(path, document["foreign"]):
            print("lost", document["foreign"])  # noqa: T201 - a script
            return 1
    print(document["foreign"])  # noqa: T201 - a script
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
