"""What is done for a repository, with an engine that answers as it is told."""

from dataclasses import dataclass, field, replace

import pytest

from sidecar.backrest.engine_name import EngineName
from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, ForgetPolicy, PrunePolicy, Repo, Timing
from sidecar.engines.base import (
    CommandResult,
    EngineError,
    FailureClass,
    HeldLock,
    ResultKind,
    Upkeep,
)
from sidecar.runner.job import upkeep
from sidecar.runner.job.upkeep import Probed, Prober
from sidecar.runner.repositories import KnownRepositories, create_repository
from tests.fakes.made_engines import MadeEngines

GUID = "a" * 64
OTHER = "b" * 64
DONE = CommandResult(ResultKind.SUCCESS)
GONE = EngineError(FailureClass.REPO_NOT_FOUND, "it is gone", "look for it")


@dataclass
class Answering:
    """An engine that keeps what it was asked for; `guid` empty: there is no repository."""

    guid: str = GUID
    asked: list[object] = field(default_factory=list)

    def forget_all(self, keep: Retention) -> CommandResult:
        """Keep what was asked for."""
        self.asked.append(keep)
        return DONE

    def prune(self, policy: PrunePolicy) -> CommandResult:
        """Keep what was asked for."""
        self.asked.append(policy)
        return DONE

    def check(self, policy: CheckPolicy) -> CommandResult:
        """Keep what was asked for."""
        self.asked.append(policy)
        return DONE

    def unlock(self) -> CommandResult:
        """Keep what was asked for."""
        self.asked.append("unlock")
        return DONE

    def locks(self) -> tuple[HeldLock, ...]:
        """Find none."""
        self.asked.append("locks")
        return ()

    def initialise(self) -> str:
        """Create it."""
        self.asked.append("initialise")
        self.guid = self.guid or OTHER
        return self.guid

    def probe(self) -> str:
        """Return its id, or say that it is gone."""
        self.asked.append("probe")
        if not self.guid:
            raise GONE
        return self.guid


class Known(KnownRepositories):
    """Repositories that all have had one id."""

    def __init__(self, guid: str) -> None:
        self._guid = guid

    def guid(self, repo: str) -> str:
        """Return it."""
        del repo
        return self._guid


@pytest.fixture
def engine() -> Answering:
    """Return one whose repository exists."""
    return Answering()


def test_locks_are_removed_where_that_is_asked_for(engine: Answering) -> None:
    """And nowhere else."""
    assert None is upkeep.run_unlock(engine, Repo("r"))
    assert DONE == upkeep.run_unlock(engine, Repo("r", auto_unlock=True))
    assert ["unlock"] == engine.asked


def test_a_repository_without_a_past_is_created(engine: Answering) -> None:
    """Its id is returned to whoever keeps it."""
    engine.guid = ""
    assert OTHER == create_repository(engine, "")
    assert ["initialise"] == engine.asked


def test_a_repository_that_existed_is_never_created_anew(engine: Answering) -> None:
    """Its disk may not be mounted: an empty one in its place would look like a good one."""
    assert GUID == create_repository(engine, "the journal says so")
    engine.guid = ""
    reason = (
        "it is gone; one was there before (the journal says so), so none is created: "
        "`restic init` makes a new one"
    )
    with pytest.raises(EngineError) as caught:
        create_repository(engine, "the journal says so")
    assert (FailureClass.REPO_NOT_FOUND, reason) == (caught.value.failure, caught.value.message)
    with pytest.raises(EngineError, match="a new one needs another folder and another id"):
        create_repository(engine, "the journal says so", EngineName.RSYNC)
    assert ["probe"] * 3 == engine.asked


def test_a_repository_that_cannot_be_asked_is_not_said_to_be_gone() -> None:
    """It may be there."""
    failure = EngineError(FailureClass.NETWORK, "no answer")

    class Silent(Answering):
        """An engine that reaches nothing."""

        def probe(self) -> str:
            """Fail."""
            raise failure

    with pytest.raises(EngineError, match=r"^no answer$"):
        create_repository(Silent(), "so")


def test_policies_are_those_of_the_repository(engine: Answering) -> None:
    """Where it has none: a quarter unused, the structure only, and nothing is forgotten."""
    keep, prune, check = (
        Retention(daily=7),
        PrunePolicy(max_unused_bytes=1),
        CheckPolicy(read_data_subset_percent=5),
    )
    repo = Repo("r", prune=prune, check=check, forget=ForgetPolicy(Timing("0 1 * * *"), keep))
    for one in (repo, Repo("r")):
        upkeep.run_prune(engine, one)
        upkeep.run_check(engine, one)
    forgotten = upkeep.run_forget(engine, repo)
    refused = [
        upkeep.run_forget(engine, Repo("r")),
        upkeep.run_forget(engine, replace(repo, forget=ForgetPolicy())),
    ]

    assert [prune, check, PrunePolicy(max_unused_percent=25.0), CheckPolicy(), keep] == engine.asked
    assert DONE == forgotten
    assert {ResultKind.FAILED} == {done.kind for done in refused}


@pytest.mark.parametrize(
    ("guid", "expected", "reachable", "reason"),
    [
        (GUID, "", True, ""),
        (GUID, GUID, True, ""),
        (OTHER, GUID, False, "another repository stands at this address: bbbbbbbb instead of aaaaaaaa"),
        ("", GUID, False, "it is gone (look for it)"),
    ],
)  # fmt: skip
def test_a_probe_only_asks(guid: str, expected: str, reachable: bool, reason: str) -> None:
    """It never initialises, and sees when it is another repository."""
    engine = Answering(guid)
    probed = upkeep.probe(engine, expected, 5.0)

    assert (reachable, reason, guid, 5.0) == (
        probed.is_reachable,
        probed.reason,
        probed.guid,
        probed.at,
    )
    assert ["probe"] == engine.asked


def test_prober_asks_each_repository_once_an_hour(engine: Answering) -> None:
    """At once when it is new or was changed; a clock that was set back is no reason to be silent."""
    now = [1000.0]
    made: list[str] = []

    def engine_for(repo: Repo) -> Upkeep:
        made.append(repo.id)
        return engine

    prober = Prober(MadeEngines(engine_for), Known(""), lambda: now[0])
    one, two = Repo("one"), Repo("two", guid=GUID)
    due = []
    for now[0] in (1000.0, 1001.0, 4599.9, 4600.0, 0.0):
        due.append([repo.id for repo in prober.due((one, two))])
        for repo in prober.due((one, two)):
            prober.run(repo)
    changed = [repo.id for repo in prober.due((one, replace(two, password="new")))]

    assert [["one", "two"], [], [], ["one", "two"], ["one", "two"]] == due
    assert ["two"] == changed
    assert ["one", "two"] * 3 == made
    prober.keep_only([two])
    assert {"two": Probed(0.0, GUID)} == prober.last()


def test_a_failed_probe_is_repeated_each_minute_and_cleared_by_a_good_run(
    engine: Answering,
) -> None:
    """Else a network that was away for a minute makes the daemon unhealthy for an hour."""
    now = [1000.0]
    prober = Prober(MadeEngines(lambda _: engine), Known(OTHER), lambda: now[0])
    one, two = Repo("one"), Repo("two", guid=GUID)
    for repo in (one, two):
        prober.run(repo)
    assert {"one": False, "two": True} == {
        name: probed.is_reachable for name, probed in prober.last().items()
    }
    assert [True, False, False] == [prober.is_away(name) for name in ("one", "two", "three")]
    due = []
    for now[0] in (1059.9, 1060.0):
        due.append([repo.id for repo in prober.due((one, two))])
    assert [[], ["one"]] == due

    for name in ("one", "two", "three"):
        prober.succeeded(name)
    assert ["two"] == list(prober.last())
    assert not any(prober.is_away(name) for name in ("one", "two", "three"))
    assert (one,) == prober.due((one, two))
