"""A process whose threads all update one document at the same time.

usage: many_updates.py PATH NAME THREADS UPDATES SECONDS

Each thread adds UPDATES entries of its own, one by one, to the list `entries`. SECONDS is
how long each waits right before an exchange of names, which makes wide the one moment in
which a foreign save is displaced. Prints a JSON object: `written` updates, `exchanges`
made for them (more than updates where a foreign save had to be put back), `lost`: own
entries that were gone though no foreign save had come in between, and `errors`: those
that were still there when the update had been tried five times.
"""

import json
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError
from sidecar.reconciler.store.replace import Store
from tests.fakes.store_update import update

PASSES = 5


class Thread:
    """Adds its entries and watches that they stay until a foreign save takes them away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self.present: list[str] = []
        self.foreign = -1

    def run(self, path: Path, updates: int) -> Counter[str]:
        """Add all entries, one by one, and return the counts."""
        for number in range(updates):
            self.put(path, f"{self.name}-{number}")
        return self.counts

    def put(self, path: Path, entry: str) -> None:
        """Try again after an error, as the next pass of a reconciler would."""
        for attempt in range(PASSES):
            try:
                self.counts["written"] += update(Store(path), partial(self.add, entry))
            except StoreError as error:
                if attempt == PASSES - 1:
                    self.counts[f"error: {error}"] += 1
            else:
                return

    def add(self, entry: str, content: bytes) -> bytes:
        """Append the entry, and count own entries that are gone without a foreign save."""
        document = json.loads(content)
        if document["foreign"] == self.foreign:
            there = set(document["entries"])
            self.counts["lost"] += sum(old not in there for old in self.present if old != entry)
        document["entries"].append(entry)
        self.foreign = document["foreign"]
        self.present = [old for old in document["entries"] if old.startswith(self.name + "-")]
        return json.dumps(document).encode()


def slow_exchanges(seconds: float, counts: Counter[str]) -> None:
    """Wait before each exchange of names, and count them."""
    exchange = atomic.exchange
    never = threading.Event()

    def exchange_slowly(directory: int, one: str, other: str) -> bool:
        counts["exchanges"] += 1
        never.wait(seconds)
        return exchange(directory, one, other)

    atomic.exchange = exchange_slowly


def main(path: Path, name: str, threads: int, updates: int, seconds: float) -> None:
    """Run all threads and print what they counted."""
    counts: Counter[str] = Counter()
    slow_exchanges(seconds, counts)
    with ThreadPoolExecutor(threads) as pool:
        runs = [pool.submit(Thread(f"{name}-{n}").run, path, updates) for n in range(threads)]
    for run in runs:
        counts += run.result()
    errors = [key for key in counts if key.startswith("error")]
    shown = {key: counts[key] for key in ("written", "exchanges", "lost")}
    print(json.dumps(shown | {"errors": errors}))  # noqa: T201 - a script


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
