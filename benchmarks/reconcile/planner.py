"""The core's share: labels to plans to the document's text, without any file or process."""

import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.measure import Step, rounds_of
from benchmarks.reconcile.stack import document, inventory_of, saved_list
from benchmarks.table import Row
from sidecar.backrest.document import Document, merge_plans, parse_document
from sidecar.backrest.jsontext import decode
from sidecar.backrest.rules import check_document
from sidecar.docker.answers import parse_saved
from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.planner.diff import diff_plans
from sidecar.planner.plan import Pass
from sidecar.planner.plans import render

_NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_POLICY = Policy()
GOAL_MICROSECONDS = 60
# As many calls a round as make one of a few milliseconds out of the shortest.
_LEAST_CONTAINERS = 1_000


@dataclass(frozen=True, slots=True)
class _World:
    """What the steps of one size work on: a list, and a document before and after."""

    saved: bytes
    new: str
    standing: str

    def check(self) -> None:
        if faults := check_document(decode(self.standing), _NOW.date()):
            raise RuntimeError(f"the benchmark's document is refused: {faults[0].message}")

    def read_list(self) -> Inventory:
        return parse_saved(self.saved, "the benchmark's list")


class _Pass:
    """The core's work over one document; every call starts as cold as a command does."""

    def __init__(self, inventory: Inventory, text: str) -> None:
        self._inventory = inventory
        self._content = text.encode()
        self.prepare()

    def prepare(self) -> None:
        """Decode the document anew and forget what earlier calls found out."""
        _forget()
        self._start = parse_document(self._content)

    def run(self) -> Document:
        rendered = render(Pass(self._inventory, self._start.view, _POLICY, _NOW))
        changes = diff_plans(self._start, rendered, _POLICY)
        return merge_plans(self._start, changes.added, changes.edits)


def planner_rows(sizes: tuple[int, ...], rounds: int) -> list[Row]:
    """Measure every size in the same rounds; the last row tells how the work grows."""
    worlds = {size: _world(size) for size in sizes}
    steps: dict[str, Step] = {}
    for size, world in worlds.items():
        steps |= _steps(size, world)
    taken = rounds_of(steps, rounds, time.process_time)
    rows: list[Row] = []
    for title, kind, goal in _KINDS:
        rows += [_row(title, size, taken, kind, goal=goal) for size in sizes]
    return [*rows, *_growth_rows(sizes, taken)]


_KINDS = (
    ("core, all plans new", "new", True),
    ("core, nothing changes", "same", True),
    ("decode and check the document", "check", False),
    ("read the saved list", "list", False),
)


def _world(size: int) -> _World:
    inventory, new = inventory_of(size), document()
    standing = _Pass(inventory, new).run().text
    if _Pass(inventory, standing).run().text != standing:
        raise RuntimeError("a second pass would write again")
    return _World(saved_list(size), new, standing)


def _steps(size: int, world: _World) -> dict[str, Step]:
    calls = max(1, _LEAST_CONTAINERS // size)
    inventory = world.read_list()
    new, same = _Pass(inventory, world.new), _Pass(inventory, world.standing)
    return {
        f"floor {size}": Step(lambda: json.loads(world.saved), calls),
        f"new {size}": Step(new.run, calls, new.prepare),
        f"same {size}": Step(same.run, calls, same.prepare),
        f"check {size}": Step(world.check, calls, _forget),
        f"list {size}": Step(world.read_list, calls),
    }


def _forget() -> None:
    """Empty the caches of everything that only computes; raises LookupError if there are none."""
    pure = ("sidecar.backrest.", "sidecar.labels.", "sidecar.planner.", "sidecar.schedule.")
    caches = [
        value
        for name, module in list(sys.modules.items())
        if name.startswith(pure)
        for value in vars(module).values()
        if hasattr(value, "cache_clear")
    ]
    if not caches:
        raise LookupError("no module with a cache is named so: the figures would be too good")
    for cache in caches:
        cache.cache_clear()


def _row(title: str, size: int, taken: dict[str, float], kind: str, *, goal: bool) -> Row:
    figure, floor = (taken[f"{name} {size}"] / size * 1e6 for name in (kind, "floor"))
    return Row(
        title,
        size,
        f"{figure:.1f} µs a container",
        f"{floor:.1f} (json.loads of the list)",
        figure / floor,
        f"≤ {GOAL_MICROSECONDS} µs" if goal else "",
        figure <= GOAL_MICROSECONDS if goal else None,
    )


def _growth_rows(sizes: tuple[int, ...], taken: dict[str, float]) -> list[Row]:
    """Compare the largest size with the one before: 1.00 is linear."""
    small, large = sizes[-2:]
    rows: list[Row] = []
    for title, kind, _ in _KINDS[:2]:
        few, many = (taken[f"{kind} {size}"] / size for size in (small, large))
        what = f"{title}: growth, {large:,} against {small:,}"
        figure, floor = f"{many * 1e6:.1f} µs a container", f"{few * 1e6:.1f}"
        rows.append(Row(what, large, figure, floor, many / few, "≤ 1.25", many <= few * 1.25))
    return rows
