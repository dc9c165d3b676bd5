"""The values of one event that templates can name, the types they have, and `.Summary`. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from sidecar.backrest.messages import CONDITIONS
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import Stats
from sidecar.lib.text import counted
from sidecar.runner.template.go import format_size, format_time, show_float

_OF_REPOSITORY: Final = "_system_"
"""The id of the plan, as Backrest shows it, of an event of a repository alone."""

NUMBERS: Final[Mapping[str, int]] = {name: number for number, name in CONDITIONS.items()}
"""The number of each event by its name."""

_NANOSECONDS = 1_000_000_000
_UNKNOWN = "unknown"
_WITH_STATS = frozenset(
    {"CONDITION_SNAPSHOT_END", "CONDITION_SNAPSHOT_WARNING", "CONDITION_SNAPSHOT_SUCCESS"}
)


@dataclass(frozen=True, slots=True)
class Values:
    """What is known when hooks run.

    Attributes:
        task: what is done, in a few words.
        repo: the repository.
        plan: the plan; None if the event belongs to a repository alone.
        now: an aware datetime.
        event: the name of a condition: `CONDITION_SNAPSHOT_START`.
        snapshot: the id of the new snapshot.
        stats: what a backup counted, all zero after a failed one; None for other jobs.
        seconds: how long the run took so far.
        error: why the run failed; empty if it did not.
    """

    task: str
    repo: Repo
    plan: RunPlan | None
    now: datetime
    event: str = ""
    snapshot: str = ""
    stats: Stats | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def nanoseconds(self) -> int:
        """How long the run took, in nanoseconds, as Go counts."""
        return round(self.seconds * _NANOSECONDS)

    @property
    def known_plan(self) -> RunPlan:
        """The plan, or one with nothing but the id that stands for a repository."""
        return self.plan or RunPlan(_OF_REPOSITORY, "")


# The value has the type that the check found: texts are str; numbers, durations (nanoseconds)
# and events (their numbers) int; lists tuples of str; statistics None if there are none.
Evaluate = Callable[[Values], Any]


class Type(Enum):
    """The type of a value, in words for people."""

    TEXT = "a text"
    NUMBER = "a number"
    FRACTION = "a number with a fraction"
    TRUTH = "true or false"
    TIME = "a time"
    DURATION = "a duration"
    EVENT = "an event"
    LIST = "a list"
    STATS = "the statistics"
    PLAN = "the plan"
    REPO = "the repository"
    EITHER = "a value of one type or another, each of which can be shown"
    MIXED = "a value of one type or another"


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression whose type is known, and its position in the text."""

    type: Type
    evaluate: Evaluate
    position: int
    literal: str | None = None
    """The text in quotes that it is; None if it is none."""


@dataclass(frozen=True, slots=True)
class Either:
    """A value whose type is only known when it is evaluated; as true as the value."""

    type: Type
    value: Any

    def __bool__(self) -> bool:
        """Return whether the value counts as true."""
        return bool(self.value)


def event_name(event: str) -> str:
    """Return a condition's name in words: `snapshot error`; any error is `error`."""
    if NUMBERS.get(event, 0) == 0:
        return _UNKNOWN
    words = event.removeprefix("CONDITION_").lower().replace("_", " ")
    return "error" if words == "any error" else words


def is_error(event: str) -> bool:
    """Return whether Backrest calls this event an error; only snapshots and any error count."""
    return event in {"CONDITION_ANY_ERROR", "CONDITION_SNAPSHOT_ERROR"}


def summarise(values: Values) -> str:
    """Return what happened in several lines, each ended by a newline."""
    return "".join(f"{line}\n" for line in _lines(values))


def _lines(values: Values) -> Iterator[str]:
    yield f"{values.task}: {event_name(values.event)}"
    yield f"Time: {format_time(values.now)}"
    yield f"Repository: {values.repo.id}"
    if values.plan is not None:
        yield f"Plan: {values.plan.id}"
    if values.event == "CONDITION_SNAPSHOT_START":
        yield from (f"Path: {path}" for path in values.known_plan.paths)
    if values.snapshot:
        yield f"Snapshot: {values.snapshot}"
    if values.error:
        yield f"Error: {values.error}"
    elif values.stats is not None and values.event in _WITH_STATS:
        yield from _stats_lines(values.stats)


def _stats_lines(stats: Stats) -> Iterator[str]:
    yield f"Added: {format_size(stats.bytes_added)}"
    files = counted(stats.files_processed, "file")
    yield f"Processed: {format_size(stats.bytes_processed)} in {files}"
    yield _render_counts("Files", stats.files_new, stats.files_changed, stats.files_unmodified)
    yield _render_counts("Folders", stats.dirs_new, stats.dirs_changed, stats.dirs_unmodified)
    if stats.data_blobs is not None:
        yield f"Blobs: {stats.data_blobs} of data, {stats.tree_blobs or 0} of folders"
    yield f"Duration: {show_float(stats.seconds)} s"


def _render_counts(what: str, new: int, changed: int, unmodified: int) -> str:
    return f"{what}: {new} new, {changed} changed, {unmodified} unmodified"
