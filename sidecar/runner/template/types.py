"""The types that values in templates have. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sidecar.runner.template.values import Values

# Always of the type that the check found: texts are str, numbers, durations (nanoseconds)
# and events (their numbers) int, lists tuples of str, statistics None where there are none.
Evaluate = Callable[[Values], Any]


class Type(Enum):
    """What a value is, in words for people."""

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
    MIXED = "a value of one type or another"


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression whose type is known, and where it stands."""

    type: Type
    evaluate: Evaluate
    position: int
