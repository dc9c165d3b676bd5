"""Whether a run may begin: what is asked of a repository before it, and what is believed."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.backrest.reading import Repo
from sidecar.engines.base import CommandResult, EngineError, FailureClass, ResultKind, failed
from sidecar.runner.gate import RepositoryGate
from sidecar.runner.job.upkeep import Prober
from sidecar.runner.journal import Ended, RunOutcome
from tests.fakes.made_engines import MadeEngines

GUID, OTHER = "a" * 64, "b" * 64
NAS = Repo("nas", "sftp:nas:/backup")
MINUTE = 60.0


@dataclass
class World:
    """A gate before one repository that answers, or not, and the time."""

    now: float = 1000.0
    answer: EngineError | str = GUID
    created: CommandResult | None = None
    probed: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        known: Any = SimpleNamespace(guid=lambda _: "")
        self.prober = Prober(MadeEngines(lambda _: self), known, lambda: self.now)
        initialiser: Any = SimpleNamespace(ensure=lambda _: self.created)
        self.gate = RepositoryGate(self.prober, initialiser, {}, lambda: self.now)

    def probe(self) -> str:
        """Answer as the engine of the repository."""
        self.probed.append(self.now)
        if isinstance(self.answer, EngineError):
            raise self.answer
        return self.answer

    def refusal(self, repo: Repo = NAS, *, is_asked_for: bool = False) -> FailureClass | None:
        """Return the class of why a run may not begin."""
        found = self.gate.refusal(repo, is_asked_for=is_asked_for)
        assert found is None or found.kind is ResultKind.FAILED
        return None if found is None else found.failure

    def ends(self, outcome: RunOutcome, failure: FailureClass | None = None) -> None:
        """Let a run on the repository end."""
        self.gate.note(NAS, Ended(outcome, self.now, failure=failure, reason="why"))


@pytest.fixture
def world() -> World:
    """Return one whose repository answers."""
    return World()


def away(failure: FailureClass = FailureClass.NETWORK) -> EngineError:
    """What the engine says of a repository that does not answer."""
    return EngineError(failure, "it cannot be reached")


def test_one_that_answers_is_asked_once_in_five_minutes(world: World) -> None:
    """Also if a clock was set back meanwhile, or the entry was changed."""
    for world.now in (1000.0, 1299.0, 1300.0, 900.0):
        assert world.refusal() is None
    assert [1000.0, 1300.0, 900.0] == world.probed
    assert world.refusal(replace(NAS, password="new")) is None
    assert 4 == len(world.probed)


def test_a_good_run_tells_as_much_as_a_probe(world: World) -> None:
    """That of the same entry; one that failed for another reason tells nothing."""
    world.ends(RunOutcome.WARNING)
    assert world.refusal() is None
    assert [] == world.probed
    world.ends(RunOutcome.FAILED, FailureClass.SOURCE_MISSING)
    assert world.refusal() is None
    assert [] == world.probed
    assert world.refusal(replace(NAS, password="new")) is None
    assert 1 == len(world.probed)


@pytest.mark.parametrize("failure", [FailureClass.NETWORK, FailureClass.AUTH])
def test_one_that_does_not_answer_refuses_the_run(world: World, failure: FailureClass) -> None:
    """Health tells it, too."""
    world.answer = away(failure)
    assert failure is world.refusal()
    assert world.prober.is_away("nas")


def test_one_that_was_away_a_moment_ago_is_not_waited_for_again(world: World) -> None:
    """Ten plans must not hold a worker for a minute each; a person who asks gets an answer."""
    world.answer = away()
    for world.now in (1000.0, 1059.0):
        assert FailureClass.NETWORK is world.refusal()
    assert [1000.0] == world.probed
    assert FailureClass.NETWORK is world.refusal(is_asked_for=True)
    world.answer = GUID
    world.now += MINUTE
    assert world.refusal() is None
    assert not world.prober.is_away("nas")


def test_a_run_that_lost_its_repository_tells_that_it_is_away(world: World) -> None:
    """The next runs let others pass, until it answers."""
    world.ends(RunOutcome.SUCCESS)
    world.ends(RunOutcome.FAILED, FailureClass.TIMEOUT)
    assert world.prober.is_away("nas")
    assert FailureClass.TIMEOUT is world.refusal()
    assert [] == world.probed


def test_another_repository_than_expected_answers_all_the_same(world: World) -> None:
    """Health tells that; a run is Backrest's business, too, which saves there."""
    assert world.refusal(replace(NAS, guid=OTHER)) is None
    assert world.prober.is_away("nas")


def test_a_folder_that_is_there_is_not_asked(world: World, tmp_path: Path) -> None:
    """It answers at once or not at all."""
    (tmp_path / "config").touch()
    assert world.refusal(Repo("nas", str(tmp_path))) is None
    assert [] == world.probed


def test_one_that_is_created_needs_no_further_question(world: World) -> None:
    """One that cannot be created refuses the run, with the reason."""
    world.created = CommandResult(ResultKind.SUCCESS)
    assert world.refusal() is None
    world.created = failed(FailureClass.REPO_NOT_FOUND, "is it mounted?")
    assert FailureClass.REPO_NOT_FOUND is world.refusal()
    assert [] == world.probed
    assert world.prober.is_away("nas")
