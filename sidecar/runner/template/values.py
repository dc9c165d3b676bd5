"""What a template can speak of: the values of one event. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sidecar.backrest.messages import CONDITIONS
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import Stats

OF_REPOSITORY: Final = "_system_"
"""The id of the plan, as Backrest shows it, where an event belongs to a repository alone."""

NUMBERS: Final[Mapping[str, int]] = {name: number for number, name in CONDITIONS.items()}
"""The number of each event by its name."""

_NANOSECONDS = 1_000_000_000
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Values:
    """What is known when hooks run: `now` is aware, `seconds` how long it took so far.

    `task` says what is done, in a few words, `event` is the name of a condition. `plan`
    is None where only a repository is concerned. `stats` are None unless a backup was
    tried: after a failed one they are all zero. `error` is empty if there was none.
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
        """How long it took, as Go counts."""
        return round(self.seconds * _NANOSECONDS)

    @property
    def known_plan(self) -> RunPlan:
        """The plan, or one that has nothing but the id which stands for a repository."""
        return self.plan or RunPlan(OF_REPOSITORY, "")


def event_name(event: str) -> str:
    """Give the words for a condition's name: `snapshot error`; any error is `error`."""
    if NUMBERS.get(event, 0) == 0:
        return _UNKNOWN
    words = event.removeprefix("CONDITION_").lower().replace("_", " ")
    return "error" if words == "any error" else words


def is_error(event: str) -> bool:
    """Whether Backrest calls this event an error; only snapshots and any error count."""
    return event in {"CONDITION_ANY_ERROR", "CONDITION_SNAPSHOT_ERROR"}
