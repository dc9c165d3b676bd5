"""What came of the same inputs last time: a pass over a thousand plans thinks about the new one.

Everything here is pure, so remembering changes nothing but the time it takes. Inputs are
compared as values; that they mostly are the very same objects makes that quick.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Memo(Generic[T]):
    """Remembers for one step, by a key of the thing it is about, inputs and result.

    What passes no longer ask for is forgotten when it is most of what is remembered.
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
    """Remembers what follows from a thing alone, by its identity: it must never change."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[S], T]) -> None:
        self._make = make
        self._known: dict[int, tuple[S, T]] = {}

    def recall_all(self, things: Sequence[S]) -> list[T]:
        """Return what follows from each thing."""
        known, make = self._known, self._make
        if len(known) > 2 * len(things):
            known.clear()
        results: list[T] = []
        for thing in things:
            found = known.get(id(thing))
            # Remembered things live on, so nothing else can have their identity.
            if found is None:
                found = known[id(thing)] = (thing, make(thing))
            results.append(found[1])
        return results
