"""Others' locks: waited for before anything is stopped."""

import threading
from dataclasses import dataclass, field, replace

import pytest

from sidecar.engines.base import CommandResult, EngineError, FailureClass, HeldLock, failed
from sidecar.runner.job.lock_wait import wait_for_locks
from tests.fakes.passing_time import PassingTime
from tests.fakes.scripted_docker import ScriptedEngine

SHARED = HeldLock("aa", "nas", 12, 100.0)
EXCLUSIVE = HeldLock("bb", "nas", 13, 90.0, is_exclusive=True)
Held = list[tuple[HeldLock, ...]]


@dataclass
class Waiting:
    """A wait for locks that are seen one after the other."""

    held: Held
    calls: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    most_waits: int = 1000

    def run(
        self, seconds: float, *, is_alone: bool = False, plan: str = ""
    ) -> CommandResult | None:
        """Wait."""
        engine = ScriptedEngine(self.calls, {}, held=self.held)
        self.stopping = PassingTime(self.wait)
        return wait_for_locks(
            engine, seconds, self.stopping, repo="store", is_alone=is_alone, plan=plan
        )

    def wait(self, seconds: float) -> None:
        """Let the time pass; the runner is asked to end after so many waits."""
        self.waits.append(seconds)
        if len(self.waits) == self.most_waits:
            self.stopping.set()


def test_without_locks_nothing_is_waited_for() -> None:
    """One look, and no more."""
    waiting = Waiting([()])

    assert waiting.run(600) is None
    assert (["locks"], []) == (waiting.calls, waiting.waits)


def test_a_backup_waits_for_exclusive_locks_only() -> None:
    """Others may save at the same time."""
    waiting = Waiting([(SHARED,)])

    assert waiting.run(600) is None
    assert ["locks"] == waiting.calls


def test_a_backup_waits_for_whoever_saves_the_same_plan() -> None:
    """Where an engine locks the snapshots of one plan: those of others are in nobody's way."""
    locked = replace(SHARED, plan="web")
    refused, free = Waiting([(locked,)] * 3).run(0, plan="web"), Waiting([(locked,)])

    assert refused is not None
    assert FailureClass.LOCKED is refused.failure
    assert free.run(0, plan="db") is None
    assert ["locks"] == free.calls


def test_what_needs_the_repository_for_itself_waits_for_every_lock() -> None:
    """A lock that nobody holds any more is removed meanwhile."""
    waiting = Waiting([(SHARED,), (SHARED,), (SHARED,), ()])

    assert waiting.run(600, is_alone=True) is None
    assert ["locks", "unlock", "locks"] * 2 == waiting.calls
    assert [30.0] == waiting.waits


def test_the_wait_has_an_end(caplog: pytest.LogCaptureFixture) -> None:
    """The run fails before anything was stopped, and says who is in the way."""
    waiting = Waiting([(SHARED, EXCLUSIVE)] * 20)

    reason = "the repository is locked by PID 13 on nas, also after 1 min: nothing was stopped"
    assert failed(FailureClass.LOCKED, reason) == waiting.run(70)
    assert [30.0, 30.0, 10.0] == waiting.waits
    assert ["run.waits"] == [record.message for record in caplog.records]


def test_who_does_not_want_to_wait_is_told_at_once() -> None:
    """--lock-wait 0."""
    waiting = Waiting([(EXCLUSIVE,)] * 2)

    reason = "the repository is locked by PID 13 on nas: nothing was stopped"
    assert failed(FailureClass.LOCKED, reason) == waiting.run(0)
    assert [] == waiting.waits


def test_the_wait_ends_with_the_runner() -> None:
    """Somebody asked it to end."""
    waiting = Waiting([(EXCLUSIVE,)] * 20)
    waiting.most_waits = 2

    assert waiting.run(600) is not None
    assert [30.0, 30.0] == waiting.waits


def test_of_a_repository_that_cannot_be_asked_nothing_is_known() -> None:
    """A START hook may be what mounts it."""

    @dataclass
    class Silent(ScriptedEngine):
        def locks(self) -> tuple[HeldLock, ...]:
            raise EngineError(FailureClass.REPO_NOT_FOUND, "it is not there")

    stopping = threading.Event()

    assert wait_for_locks(Silent([]), 600, stopping, repo="store", is_alone=False) is None
