"""Decide which names of a tree the exclude patterns of a plan leave out, as restic does. Pure.

Of the patterns that match a path the last one counts. A pattern matches a path if it matches the
path or a folder above it: an absolute one from the root on, a relative one at any component.
Whoever walks a tree does not look into a folder that is left out, so a later `!` takes back nothing
that is in it.

For each folder it is known how far each pattern has come (`Place`), so that a name is looked up
and not compared with every pattern.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from sidecar.engines.excludes.pattern import (
    Component,
    Kind,
    Pattern,
    lowered,
    lowered_text,
    parse_pattern,
)

# Of each list of patterns; trees have few folders in which the patterns have come differently far.
_MOST_POSITIONS: Final = 1000
_NONE: Final = -1
_ANY_NAME: Final = Component(Kind.PREFIX)


class ExcludeMatcher:
    """Decides by patterns: those of `--exclude`, and those of `--iexclude`, each in their order.

    Raises SpecInvalid for patterns with which restic refuses to back up.
    """

    def __init__(self, excludes: Sequence[str] = (), iexcludes: Sequence[str] = ()) -> None:
        exact = [parse_pattern(text) for text in excludes if text]
        folded = [parse_pattern(lowered_text(text)) for text in iexcludes if text]
        self._root = Place(
            _Automaton(exact).root, _Automaton(folded).root if folded else None, is_left_out=False
        )

    def place(self, path: bytes) -> "Place":
        """Return the place of an absolute path; what lies above it need not be taken itself."""
        place = self._root
        for name in path.split(b"/"):
            if name:
                place = place.below(name)
        return place


class Place:
    """A path as the patterns see it; `is_left_out` is about itself, not about what is above it."""

    __slots__ = ("_exact", "_folded", "is_left_out")

    def __init__(
        self, exact: "_Position", folded: "_Position | None", *, is_left_out: bool
    ) -> None:
        self._exact = exact
        self._folded = folded
        self.is_left_out = is_left_out

    def leaves_out(self, name: bytes) -> bool:
        """Return whether an entry of this folder is left out."""
        if self._exact.excludes(name):
            return True
        return self._folded is not None and self._folded.excludes(lowered(name))

    def decider(self) -> Callable[[bytes], bool] | None:
        """Return what `leaves_out` tells of names, for who has many; None: it keeps all."""
        if self._folded is not None:
            return self.leaves_out
        return None if self._exact.keeps_all else self._exact.excludes

    def below(self, name: bytes) -> "Place":
        """Return the place of an entry of this folder."""
        exact = self._exact.below(name)
        folded = None if self._folded is None else self._folded.below(lowered(name))
        is_left_out = exact.is_excluded or (folded is not None and folded.is_excluded)
        return Place(exact, folded, is_left_out=is_left_out)


class _State(NamedTuple):
    """How far a pattern has come.

    Attributes:
        pattern: its number.
        matched: how many of its components have been matched.
        debt: how many names it still owes, see `Pattern.has_debts`.
        before: how many names stand before what it matches, as far as that counts.
    """

    pattern: int
    matched: int
    debt: int = 0
    before: int = 0


class _Reached(NamedTuple):
    """The last pattern that matches a path, and the states from which names below it go on.

    `depth` is how many names the path has, with the root, as far as that counts.
    """

    last: int
    states: frozenset[_State]
    depth: int


class _Automaton:
    """The patterns of one list, side by side."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._lengths = [len(pattern.components) for pattern in patterns]
        self._first = [_first_any_depth(pattern) for pattern in patterns]
        relative = [n for n, pattern in enumerate(patterns) if not pattern.is_absolute]
        absolute = [n for n, pattern in enumerate(patterns) if pattern.is_absolute]
        self._indebted = [n for n in relative if patterns[n].has_debts]
        self._most_depth = max((len(patterns[n].components) for n in self._indebted), default=0)
        plain = [n for n in relative if not patterns[n].has_debts]
        starts = [state for n in plain for state in self._arrive(_State(n, 0))]
        self.anywhere = [self.table(starts)] if starts else []
        self._positions: dict[_Reached, _Position] = {}
        starts = [state for n in absolute for state in self._arrive(_State(n, 0))]
        self.root = self.position(self.reached(starts, _NONE, 1))

    def _arrive(self, state: _State) -> Iterator[_State]:
        """Yield a state, and those after it that are reached because `**` may match no name."""
        components = self._patterns[state.pattern].components
        while state.matched < len(components):
            if components[state.matched].kind is not Kind.ANY_DEPTH:
                yield state
                return
            if self._first[state.pattern] < state.matched:
                state = state._replace(debt=state.debt + 1)
            yield state
            state = state._replace(matched=state.matched + 1)
        yield _State(state.pattern, state.matched, max(0, state.debt - state.before))

    def _steps(self, state: _State) -> Iterator[tuple[Component, list[_State]]]:
        """Yield with which names a state goes on, and to which states."""
        components = self._patterns[state.pattern].components
        component = components[state.matched] if state.matched < len(components) else None
        following = state._replace(matched=state.matched + 1)
        if component is None:
            yield _ANY_NAME, [state._replace(debt=state.debt - 1)]
        elif component.kind is Kind.ANY_DEPTH:
            paid = max(0, state.debt - 1)
            onward = self._arrive(following._replace(debt=paid))
            yield _ANY_NAME, [state._replace(debt=paid), *onward]
        else:
            yield component, list(self._arrive(following))

    def table(self, states: Iterable[_State]) -> "_NameTable":
        """Return what names lead to from some states."""
        return _NameTable(step for state in states for step in self._steps(state))

    def last(self, states: Iterable[_State], last: int) -> int:
        """Return the last pattern that is complete in these states, or `last`."""
        for state in states:
            if state.pattern > last and self._is_complete(state):
                last = state.pattern
        return last

    def _is_complete(self, state: _State) -> bool:
        return not state.debt and state.matched == self._lengths[state.pattern]

    def reached(self, states: Sequence[_State], last: int, depth: int) -> _Reached:
        """Return what some states mean below a place where `last` was the last pattern."""
        last = self.last(states, last)
        depth = min(depth, self._most_depth)
        starts = [_State(number, 0, before=depth) for number in self._indebted]
        going = [*states, *(state for start in starts for state in self._arrive(start))]
        onward = (state for state in going if state.pattern > last)
        return _Reached(last, frozenset(_without_worse(onward)), depth)

    def is_excluded(self, last: int) -> bool:
        """Return whether a path is left out of which this is the last pattern."""
        return last != _NONE and not self._patterns[last].is_negated

    def position(self, reached: _Reached) -> "_Position":
        """Return the position of a path, the same one for all that are alike."""
        position = self._positions.get(reached)
        if position is None:
            if len(self._positions) == _MOST_POSITIONS:
                self._positions.clear()
            position = self._positions[reached] = _Position(self, reached)
        return position


def _without_worse(states: Iterable[_State]) -> Iterator[_State]:
    """Yield of states that differ only in what they owe those that no other is better than."""
    most_before: dict[tuple[int, int], int] = {}
    for state in sorted(states, key=lambda state: (state.debt, -state.before)):
        place = state.pattern, state.matched
        if most_before.get(place, -1) < state.before:
            most_before[place] = state.before
            yield state


def _first_any_depth(pattern: Pattern) -> int:
    """Return the place of the first `**`, behind the end where none owes a name."""
    kinds = [component.kind for component in pattern.components]
    return kinds.index(Kind.ANY_DEPTH) if pattern.has_debts else len(kinds)


class _Position:
    """How far the patterns of one list have come at a path."""

    __slots__ = ("_automaton", "_reached", "_tables", "is_excluded")

    def __init__(self, automaton: _Automaton, reached: _Reached) -> None:
        self._automaton = automaton
        self._reached = reached
        here = [automaton.table(reached.states)] if reached.states else []
        self._tables = [*automaton.anywhere, *here]
        self.is_excluded = automaton.is_excluded(reached.last)

    @property
    def keeps_all(self) -> bool:
        """Whether no pattern can leave out an entry of this folder."""
        return not self._tables and not self.is_excluded

    def excludes(self, name: bytes) -> bool:
        """Return whether the patterns leave out an entry of this folder."""
        last = before = self._reached.last
        for table in self._tables:
            if found := table.find(name):
                last = self._automaton.last(found, last)
        return self.is_excluded if last == before else self._automaton.is_excluded(last)

    def below(self, name: bytes) -> "_Position":
        """Return the position of an entry of this folder."""
        return self._automaton.position(self._below(self._find(name)))

    def _below(self, found: Sequence[_State]) -> _Reached:
        return self._automaton.reached(found, self._reached.last, self._reached.depth + 1)

    def _find(self, name: bytes) -> Sequence[_State]:
        found: Sequence[_State] = ()
        for table in self._tables:
            found = [*found, *more] if (more := table.find(name)) else found
        return found


class _NameTable:
    """What names lead to from some states. Looks up what is literal, which is most of it."""

    __slots__ = ("_exact", "_globs", "_prefixes", "_suffixes")

    def __init__(self, steps: Iterable[tuple[Component, list[_State]]]) -> None:
        self._exact: dict[bytes, list[_State]] = {}
        self._prefixes: dict[int, dict[bytes, list[_State]]] = {}
        self._suffixes: dict[int, dict[bytes, list[_State]]] = {}
        # With what a name has to hold, as text: to seek that in bytes takes ten times as long.
        self._globs: list[tuple[str, bytes, list[_State]]] = []
        for component, states in steps:
            text = component.text
            if component.kind is Kind.LITERAL:
                self._exact.setdefault(text, []).extend(states)
            elif component.kind is Kind.GLOB:
                self._globs.append((component.needed, text, states))
            else:
                is_prefix = component.kind is Kind.PREFIX
                texts = (self._prefixes if is_prefix else self._suffixes).setdefault(len(text), {})
                texts.setdefault(text, []).extend(states)

    def find(self, name: bytes) -> Sequence[_State]:
        """Return the states to which a name leads."""
        found: Sequence[_State] = self._exact.get(name, ())
        for length, texts in self._prefixes.items():
            if name[:length] in texts:
                found = [*found, *texts[name[:length]]]
        for length, texts in self._suffixes.items():
            if name[-length:] in texts:
                found = [*found, *texts[name[-length:]]]
        if self._globs:
            text = name.decode("latin-1")
            for _, glob, states in [one for one in self._globs if one[0] in text]:
                if _compiled(glob).match(name):
                    found = [*found, *states]
        return found


@lru_cache(maxsize=4096)
def _compiled(expression: bytes) -> re.Pattern[bytes]:
    """Compile an expression when the first name needs it: most never do."""
    return re.compile(expression, re.DOTALL)
