"""Judge whether what stands still was stopped by us, and what follows. Pure.

Whoever stops something notes it first: what it does, when, and how long the container has.
The note gets the moment of the stop only when the command has returned, so a note without it
means that a stop may be under way: the engine goes on with it, whoever asked for it died.
Nobody sends a second stop, for a second SIGTERM ends many programs hard. The hook scripts judge
by the same rule, in shell (`sidecar.planner.scripts`).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

DEFAULT_SECONDS = 10
"""What Docker gives a container to stop, unless it has a limit of its own."""
ENDLESS = -1
"""The limit of a container that is never ended by force."""

_LONGEST_SECONDS = 600
_SLACK = 15
_STANDING = frozenset({"exited", "paused"})
_FRACTION = re.compile(r"\.(\d{1,6})\d*")


class StopVerb(StrEnum):
    """What was done so that nothing writes any more."""

    STOP = "stop"
    PAUSE = "pause"
    SCALE = "scale"
    UNKNOWN = ""
    """A version before this one did not note it."""


class Verdict(StrEnum):
    """What follows for a container or a service that was about to be stopped."""

    WAIT = "wait"
    """The stop may still be under way, or the state is none that lasts."""
    START = "start"
    UNPAUSE = "unpause"
    SCALE = "scale"
    NOTHING = "nothing"
    """It runs: nothing was stopped, or somebody has started it."""
    UNENDING = "unending"
    """It has no limit and still runs after ten minutes: nobody waits any longer."""
    SOMEBODY_ELSE = "somebody-else"
    """Somebody else has the last word: it stays as it is."""


@dataclass(frozen=True, slots=True)
class NotedStop:
    """A stop as it was noted before it began.

    Attributes:
        at: when the command was given, in unix seconds; 0 where that was not noted.
        seconds: how long the container has to stop, ENDLESS for ever.
        finished: when it had stopped, as Docker writes it; empty unless the command returned.
        replicas: those of a service before.
    """

    verb: StopVerb = StopVerb.UNKNOWN
    at: float = 0.0
    seconds: int = DEFAULT_SECONDS
    finished: str = ""
    replicas: int = 0

    @property
    def until(self) -> float:
        """The moment by which the container has stopped, in unix seconds, if it ever does."""
        seconds = _LONGEST_SECONDS if self.seconds == ENDLESS else self.seconds
        return self.at + seconds + _SLACK

    def may_still_stop(self, now: float) -> bool:
        """Return whether the container may still be about to stop."""
        return not self.finished and now < self.until


def judge_container(stop: NotedStop, status: str, finished: str, now: float) -> Verdict:
    """Return what follows for a container.

    `status` and `finished` (its last end) are Docker's words, `now` is in unix seconds.
    """
    if status in {"running", "restarting"}:
        return _judge_running(stop, now)
    if status not in _STANDING:
        return Verdict.WAIT
    is_paused = status == "paused"
    if stop.verb is not StopVerb.UNKNOWN and is_paused != (stop.verb is StopVerb.PAUSE):
        return Verdict.SOMEBODY_ELSE
    if not _is_ours(stop, finished, is_paused=is_paused):
        return Verdict.SOMEBODY_ELSE
    return Verdict.UNPAUSE if is_paused else Verdict.START


def judge_service(stop: NotedStop, replicas: int, now: float) -> Verdict:
    """Return what follows for a Swarm service that has so many replicas now."""
    return _judge_running(stop, now) if replicas else Verdict.SCALE


def _judge_running(stop: NotedStop, now: float) -> Verdict:
    if stop.may_still_stop(now):
        return Verdict.WAIT
    is_unending = not stop.finished and stop.seconds == ENDLESS
    return Verdict.UNENDING if is_unending else Verdict.NOTHING


def _is_ours(stop: NotedStop, finished: str, *, is_paused: bool) -> bool:
    if stop.finished:
        return stop.finished == finished
    # Docker keeps the time of a stop, but none of a pause.
    return is_paused or not stop.at or int(stop.at) <= parse_moment(finished) <= stop.until


def parse_moment(text: str) -> float:
    """Parse Docker's RFC 3339 time into unix seconds; 0 for none, or what is no time."""
    try:
        # At most six digits: below Python 3.12 more are refused.
        moment = datetime.fromisoformat(_FRACTION.sub(_microseconds, text))
    except ValueError:
        return 0.0
    # Docker writes the year 1 for what has never happened.
    return moment.timestamp() if moment.year > 1 and moment.tzinfo is not None else 0.0


def _microseconds(match: re.Match[str]) -> str:
    return f".{match[1]:0<6}"
