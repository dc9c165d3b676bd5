"""Two hundred concurrent updates, alone and beside a program that knows no locks."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from sidecar.reconciler.store.replace import Store
from tests.fakes.store_update import update

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "fakes"

PROCESSES, THREADS, UPDATES = 4, 5, 10
ENTRIES = {
    f"{process}-{thread}-{number}"
    for process in range(PROCESSES)
    for thread in range(THREADS)
    for number in range(UPDATES)
}


@dataclass
class Totals:
    """What all updating processes counted."""

    written: int = 0
    exchanges: int = 0
    lost: int = 0
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Make a document that is long: such content is torn more easily."""
    path = tmp_path / "config" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"foreign": 0, "padding": "x" * 200_000, "entries": []}))
    return path


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process from the fakes, with pipes to and from it."""
    return subprocess.Popen(
        [sys.executable, str(FAKES / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def run_updates(config: Path, seconds: float) -> Totals:
    """Run all updates at once, in processes with threads, and add up what they counted."""
    children = [
        start("many_updates.py", config, process, THREADS, UPDATES, seconds)
        for process in range(PROCESSES)
    ]
    totals = Totals()
    for child in children:
        counted = json.loads(child.communicate()[0])
        totals.written += counted["written"]
        totals.exchanges += counted["exchanges"]
        totals.lost += counted["lost"]
        totals.errors += counted["errors"]
    return totals


@contextmanager
def reading(config: Path) -> Iterator[list[str]]:
    """Read without a pause while the body runs; give a list of everything that was wrong."""
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        plainly = False
        while not done.is_set():
            plainly = not plainly
            try:
                content = config.read_bytes() if plainly else Store(config).read().content
                json.loads(content)["entries"]
            except (OSError, ValueError, KeyError) as error:
                wrong.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    yield wrong
    done.set()
    reader.join()


def pass_over(config: Path) -> int:
    """Put in what is missing of ours, entry by entry, as reconciles would; count the writes."""

    def put_in(entry: str, content: bytes) -> bytes | None:
        document = json.loads(content)
        if entry in document["entries"]:
            return None
        document["entries"].append(entry)
        return json.dumps(document).encode()

    return sum(update(Store(config), partial(put_in, entry)) for entry in sorted(ENTRIES))


@pytest.mark.timeout(60)
def test_no_update_of_ours_is_lost(config: Path) -> None:
    """Each of two hundred concurrent updates is in the document at the end, exactly once."""
    with reading(config) as wrong:
        totals = run_updates(config, seconds=0)
    assert totals == Totals(written=200, exchanges=200)
    assert sorted(json.loads(config.read_bytes())["entries"]) == sorted(ENTRIES)
    assert list(config.parent.iterdir()) == [config]
    assert wrong == []


@pytest.mark.timeout(60)
def test_no_save_of_a_program_without_locks_is_lost(config: Path) -> None:
    """A writer that saves from memory keeps each save; ours come back at the next pass.

    Its saves take our entries away, since it does not know them: that is no loss of an
    update, and one more pass puts them in again. The one after has nothing to do.
    """
    foreign = start("foreign_writer.py", config, 0.03)
    with reading(config) as wrong:
        totals = run_updates(config, seconds=0.002)
        saves = foreign.communicate()[0].strip()
    assert (foreign.returncode, totals.lost, totals.errors) == (0, 0, [])
    assert totals.written == 200
    assert totals.exchanges > 200, "no save was ever displaced: the moment is not wide enough"
    assert wrong == []
    assert pass_over(config) <= 200
    before = config.stat().st_mtime_ns
    assert pass_over(config) == 0
    assert config.stat().st_mtime_ns == before
    document = json.loads(config.read_bytes())
    assert (sorted(document["entries"]), str(document["foreign"])) == (sorted(ENTRIES), saves)
    assert list(config.parent.iterdir()) == [config]
