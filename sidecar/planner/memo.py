"""Memos: results by their inputs, so that a pass computes only what is new since the last.

The planner is pure, so a memo changes nothing but the time. Inputs are compared as values;
most are the same objects as last time, which makes that quick.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Memo(Generic[T]):
    """Remembers inputs and result of one step, by a key (such as that of the workload).

    What passes no longer ask for is forgotten once it is more than half.
    """

    __slots__ = ("_asked", "_known")

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[object, ...], T]] = {}
        self._asked = 0

    def recall(
        self, key: Hashable, inputs: tuple[object, ...], make: Callable[..., T], *arguments: Any
    ) -> T:
        """Return what `make` gave for equal inputs, else call it with the arguments."""
        self._asked += 1
        found = self._known.get(key)
        if found is None or found[0] != inputs:
            found = self._known[key] = (inputs, make(*arguments))
        return found[1]

    def begin_pass(self) -> None:
        """Forget all if the last pass asked for less than half of it."""
        if len(self._known) > 2 * self._asked:
            self._known.clear()
        self._asked = 0


class ItemMemo(Generic[S, T]):
    """Remembers what follows from an item alone, by its identity: items must never change."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[S], T]) -> None:
        self._make = make
        self._known: dict[int, tuple[S, T]] = {}

    def recall_all(self, items: Sequence[S]) -> list[T]:
        """Return what follows from each item."""
        known, make = self._known, self._make
        if len(known) > 2 * len(items):
            known.clear()
        results: list[T] = []
        for item in items:
            found = known.get(id(item))
            # A remembered item stays in memory, so nothing else can have its identity.
            if found is None:
                found = known[id(item)] = (item, make(item))
            results.append(found[1])
        return results
