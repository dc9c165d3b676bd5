"""The health of a daemon: findings, each something that is wrong, and what they mean together.

Both programs judge facts of their own and give a `Health`. Pages show it, the heartbeat
carries it to `healthcheck`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sidecar.lib.duration import render_duration

_SPARE = 30.0


class HealthAspect(StrEnum):
    """What can be false of a daemon."""

    ALIVE = "alive"
    """Its main loop moves."""
    READY = "ready"
    """It can do its work."""
    HEALTHY = "healthy"
    """Nobody has to look after it, or after what it has done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong; whoever reaches a page may read it, so it holds no secret.

    Attributes:
        reason: a stable code, for example `plan-late`.
        sentence: what is wrong, in words.
        about: the plan, repository, path or container; empty for the daemon itself.
        breaks: what is false as long as this is so.
    """

    reason: str
    sentence: str
    about: str = ""
    breaks: tuple[HealthAspect, ...] = (HealthAspect.HEALTHY,)


@dataclass(frozen=True, slots=True)
class Health:
    """All that is wrong; nothing if there is no finding."""

    findings: tuple[Finding, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is wrong, in words."""
        return tuple(one.sentence for one in self.findings)

    def against(self, aspect: HealthAspect) -> tuple[str, ...]:
        """Return in words why an aspect is false; nothing if it is true."""
        return tuple(one.sentence for one in self.findings if aspect in one.breaks)

    @property
    def is_alive(self) -> bool:
        """Whether the main loop moves."""
        return not self.against(HealthAspect.ALIVE)

    @property
    def is_ready(self) -> bool:
        """Whether the daemon can do its work."""
        return not self.against(HealthAspect.READY)

    @property
    def is_healthy(self) -> bool:
        """Whether nobody has to look after it."""
        return not self.against(HealthAspect.HEALTHY)


def allowance(interval: float) -> float:
    """Return after how many seconds without a beat a daemon hangs that beats each `interval`.

    Both parts are in the text of `backrest-sidecar healthcheck --help`.
    """
    return 3 * interval + _SPARE


def judge_process(beat_age: float, interval: float, *, is_stopping: bool) -> Iterator[Finding]:
    """Yield what is wrong with the process of any daemon that last beat `beat_age` seconds ago."""
    if is_stopping:
        yield Finding(
            "stopping", "it is stopping", breaks=(HealthAspect.READY, HealthAspect.HEALTHY)
        )
    if beat_age > allowance(interval):
        sentence = f"the main loop has not moved for {render_duration(beat_age)}"
        yield Finding("loop-stalled", sentence, breaks=tuple(HealthAspect))
