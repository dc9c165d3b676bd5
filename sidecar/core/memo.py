"""What came of the same inputs last time: a pass over a thousand plans thinks about the new one.

Everything here is pure, so remembering changes nothing but the time it takes. Inputs are
compared as values; that they mostly are the very same objects makes that quick.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sidecar.model.rules import Checked

T = TypeVar("T")


class Memo(Generic[T]):
    """Remembers for one step, by a key of the thing it is about, inputs and result.

    What passes no longer ask for is forgotten when it is most of what is remembered.
    """

    __slots__ = ("_asked", "_known")

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[object, ...], T]] = {}
        self._asked = 0

    def recall(self, key: Hashable, inputs: tuple[object, ...], make: Callable[[], T]) -> T:
        """Give what `make` gave for equal inputs, else call it."""
        self._asked += 1
        found = self._known.get(key)
        if found is None or found[0] != inputs:
            found = self._known[key] = (inputs, make())
        return found[1]

    def begin_pass(self) -> None:
        """Forget all if the last pass asked for less than half of it."""
        if len(self._known) > 2 * self._asked:
            self._known.clear()
        self._asked = 0


@dataclass(frozen=True, slots=True)
class Memos:
    """The memory of one kind of pass, by step; not thread-safe."""

    placed: Memo[Any] = field(default_factory=Memo)
    units: Memo[Any] = field(default_factory=Memo)
    drafts: Memo[Any] = field(default_factory=Memo)
    plans: Memo[Any] = field(default_factory=Memo)
    edits: Memo[Any] = field(default_factory=Memo)
    checked: Checked = field(default_factory=Checked)

    def begin_pass(self) -> None:
        """Forget what the last pass did not ask for."""
        for memo in (self.placed, self.units, self.drafts, self.plans, self.edits):
            memo.begin_pass()
