"""A process that makes one update or creates the file, to be killed at any system call.

usage: one_update.py update PATH [SAVE...]    append `+ours` to the file unless it has it
       one_update.py create PATH

Each SAVE is a file that another process renames over PATH just before our first, second,
... exchange of names: the moment that no look beforehand can guard. So what happens to
such a save does not depend on luck. Exit 0, or 1 with the error on standard error.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError
from sidecar.reconciler.store.replace import Store
from tests.fakes.store_update import update


def add_ours(content: bytes) -> bytes | None:
    """Do what a reconciler does: put ours in unless it is there."""
    return None if b"+ours" in content else content + b"+ours"


def save_before_exchanges(path: Path, saves: Iterator[str]) -> None:
    """Have one of `saves` renamed over the document before each exchange."""
    exchange = atomic.exchange

    def exchange_after_save(directory: int, one: str, other: str) -> bool:
        if save := next(saves, None):
            subprocess.run(["mv", "-f", save, str(path)], check=True)
        return exchange(directory, one, other)

    atomic.exchange = exchange_after_save


def main(action: str, path: Path, saves: list[str]) -> int:
    """Do the one thing; return the exit code."""
    save_before_exchanges(path, iter(saves))
    try:
        if action == "create":
            Store(path).create(b"created")
        else:
            update(Store(path), add_ours)
    except StoreError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a script
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
