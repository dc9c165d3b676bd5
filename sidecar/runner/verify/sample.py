"""Choosing files by chance: a few of very many, in one pass. Pure."""

import random
import re
from dataclasses import dataclass, field

from sidecar.engines.base import Entry
from sidecar.lib.errors import UsageError

MEGABYTE = 1_000_000

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SampleLimits:
    """How many files, and how large in bytes."""

    count: int = 5
    least: int = MEGABYTE
    most: int = 20 * MEGABYTE


@dataclass(slots=True)
class _Reservoir:
    """Reservoir sampling: holds `size` of all entries put in, each with the same chance."""

    size: int
    chance: random.Random
    seen: int = 0
    held: list[Entry] = field(default_factory=list)

    def put(self, entry: Entry) -> None:
        self.seen += 1
        if len(self.held) < self.size:
            self.held.append(entry)
        elif (place := self.chance.randrange(self.seen)) < self.size:
            self.held[place] = entry


class Sampler:
    """Takes entries one by one; `chosen` returns those that `chance` has picked.

    Files between the limits come first; if they are too few, smaller ones, then empty ones;
    if there is nothing else, the smallest of those that are larger.

    Attributes:
        unnamed: how many files were left out, for their names are no UTF-8.
    """

    def __init__(self, limits: SampleLimits, chance: random.Random) -> None:
        self._limits = limits
        self._reservoirs = [_Reservoir(limits.count, chance) for _ in range(3)]
        self._smallest_beyond: Entry | None = None
        self.unnamed = 0

    def add(self, entry: Entry) -> None:
        """Take an entry; only files count that can be named to the engine."""
        if entry.kind != "file":
            return
        if not entry.has_exact_path:
            self.unnamed += 1
            return
        if size_of(entry) > self._limits.most:
            known = self._smallest_beyond
            if known is None or size_of(entry) < size_of(known):
                self._smallest_beyond = entry
            return
        self._reservoirs[_rank(entry, self._limits)].put(entry)

    def chosen(self) -> tuple[Entry, ...]:
        """Return the chosen files, sorted by path."""
        found = [entry for one in self._reservoirs for entry in one.held][: self._limits.count]
        if not found and self._smallest_beyond is not None:
            found = [self._smallest_beyond]
        return tuple(sorted(found, key=lambda one: one.path))


def _rank(entry: Entry, limits: SampleLimits) -> int:
    if size_of(entry) >= limits.least:
        return 0
    return 1 if entry.size else 2


def size_of(entry: Entry) -> int:
    """Return the size of a file, in bytes; 0 where the engine does not tell it."""
    return entry.size or 0


def parse_size(flag: str, text: str) -> int:
    """Parse `500`, `20 MB`, `1.5GiB` into bytes; raises UsageError naming the flag."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise UsageError(f"{flag} {text!r} is no size", "write 500, 20MB or 1.5GiB")
    power = " kmgt".index(found[2].lower() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)
