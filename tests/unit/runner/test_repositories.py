"""Which repositories are created, and what keeps one from being created twice."""

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.engines.base import CommandResult, EngineError, FailureClass, ResultKind
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.markers import write_marker
from sidecar.runner.journal import Ended, Journal, Phase, Run, RunCause, RunOutcome
from sidecar.runner.repositories import FILE, Initialiser, KnownRepositories
from sidecar.runner.union import only_config
from tests.fakes.made_engines import MadeEngines

GUID = "a" * 64
REPO = Repo("store", "/repo", auto_initialise=True)
PLAN = RunPlan("web", "store")
WEB = Job(JobKind.BACKUP, "web", "store")


class Place:
    """An address at which a repository stands if it has a `guid`; a failure may be set."""

    def __init__(self, guid: str = "", failure: FailureClass | None = None) -> None:
        self.guid = guid
        self.failure = failure
        self.created = 0
        self.began, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def probe(self) -> str:
        """Read its id."""
        if not self.guid:
            raise EngineError(FailureClass.REPO_NOT_FOUND, "there is no repository")
        return self.guid

    def initialise(self) -> str:
        """Create it unless it is there."""
        self.began.set()
        assert self.answers.wait(20)
        if self.failure is not None:
            raise EngineError(self.failure, "it did not work")
        self.created += not self.guid
        self.guid = self.guid or GUID
        return self.guid


class World:
    """A state folder with a journal, and one place."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.place = Place()
        self.config = Config("here", (REPO,), (PLAN,))
        self.journal = Journal(self.path)

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.state / "journal.sqlite"

    @property
    def known(self) -> KnownRepositories:
        """What a runner that starts now knows."""
        return KnownRepositories(self.journal, ExecutedDocument(only_config(self.config)))

    def ensure(self, repo: Repo = REPO, place: Place | None = None) -> CommandResult | None:
        """Let a runner that starts now create a repository."""
        engine: Any = place or self.place
        return Initialiser(self.known, MadeEngines(lambda _: engine)).ensure(repo)

    def reopen(self) -> None:
        """Start with the journal's file as it is now."""
        self.journal.close()
        self.journal = Journal(self.path)

    def lose(self) -> None:
        """Lose the journal."""
        self.journal.close()
        for one in self.state.glob("journal.sqlite*"):
            one.unlink()
        self.journal = Journal(self.path)

    def end(self, job: Job = WEB, outcome: RunOutcome = RunOutcome.SUCCESS, **more: Any) -> Run:
        """Record a run."""
        number = self.journal.runs.begin(job, RunCause.MANUAL, 10.0, "")
        ended = Ended(outcome, 20.0, **more)
        self.journal.runs.end(number, ended)
        return Run(number, job, RunCause.MANUAL, 10.0, Phase.ENDING, ended)

    def refused(self) -> str:
        """Let a runner that starts now create a repository, which it must not; say why."""
        found = self.ensure()
        assert found is not None
        assert (FailureClass.REPO_NOT_FOUND, 0) == (found.failure, self.place.created)
        return found.reason


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A runner that was never started before."""
    world = World(tmp_path / "state")
    yield world
    world.journal.close()


def test_a_repository_is_created_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its id is known from then on, also after a restart; one that does not ask for it never."""
    caplog.set_level(logging.INFO)
    engine: Any = world.place
    initialiser = Initialiser(world.known, MadeEngines(lambda _: engine))
    assert initialiser.ensure(Repo("b")) is None
    assert initialiser.ensure(None) is None
    found = initialiser.ensure(REPO)
    assert found is not None
    assert ResultKind.SUCCESS is found.kind
    assert initialiser.ensure(REPO) is None
    assert world.ensure() is None
    assert 1 == world.place.created
    assert ["repository.ready"] == [record.message for record in caplog.records]
    assert GUID == world.known.guid("store")
    assert GUID == json.loads((world.state / FILE).read_text())["store"]


def test_a_repository_that_cannot_be_created_is_tried_again(world: World) -> None:
    """With each run, for whatever was in the way may be gone; a failed run is no past."""
    world.place.failure = FailureClass.NETWORK
    engine: Any = world.place
    initialiser = Initialiser(world.known, MadeEngines(lambda _: engine))
    for _ in range(2):
        found = initialiser.ensure(REPO)
        assert found is not None
        assert FailureClass.NETWORK is found.failure
    world.end(outcome=RunOutcome.FAILED)
    world.place.failure = None
    assert initialiser.ensure(REPO) is not None
    assert 1 == world.place.created


def test_a_repository_that_does_not_answer_keeps_no_other_from_being_created(world: World) -> None:
    """Each has a turn of its own; entries of one address share it."""
    hanging, other = Place(failure=FailureClass.TIMEOUT), Place()
    hanging.answers.clear()
    places: dict[str, Any] = {"store": hanging, "b": other}
    initialiser = Initialiser(world.known, MadeEngines(lambda repo: places[repo.id]))
    first = threading.Thread(target=initialiser.ensure, args=(REPO,))
    first.start()
    try:
        assert hanging.began.wait(20)
        found = initialiser.ensure(Repo("b", "/b", auto_initialise=True))
    finally:
        hanging.answers.set()
        first.join()
    assert found is not None
    assert ResultKind.SUCCESS is found.kind


def test_what_to_do_about_one_that_is_gone_is_its_engines(world: World) -> None:
    """Also where its address is a variable as a whole: restic's command makes no other's."""
    world.end()
    engine: Any = world.place
    repo = replace(REPO, uri="${PLACE}")
    found = [
        Initialiser(world.known, MadeEngines(lambda _: engine), environ).ensure(repo)
        for environ in ({"PLACE": "rsync:/x"}, {"PLACE": "/x"})
    ]

    assert [False, True] == ["restic init" in one.reason for one in found if one is not None]


def test_an_id_outlives_the_journal(world: World) -> None:
    """In the file beside it."""
    world.ensure()
    world.place = Place()
    world.lose()

    assert world.ensure() is None

    assert (0, GUID) == (world.place.created, world.known.guid("store"))
    assert GUID == world.journal.findings.guid("store")


def test_an_id_of_before_there_was_the_file_comes_into_it(world: World) -> None:
    """At the next start."""
    world.journal.findings.set_guid("store", GUID)

    assert world.ensure() is None

    assert GUID == json.loads((world.state / FILE).read_text())["store"]


def test_one_of_another_name_at_the_same_address_is_not_created_again(world: World) -> None:
    """It was renamed in the document while its disk was not mounted; the address stays secret."""
    world.ensure()
    world.end()
    world.place = Place()
    renamed = replace(REPO, id="renamed")
    found = world.ensure(renamed)
    elsewhere = world.ensure(replace(renamed, uri="/other"), Place())

    assert found is not None
    assert (FailureClass.REPO_NOT_FOUND, 0) == (found.failure, world.place.created)
    assert f"the id at its address was {GUID[:8]}" in found.reason
    assert elsewhere is not None
    assert ResultKind.SUCCESS is elsewhere.kind
    assert REPO.uri not in (world.state / FILE).read_text()


@pytest.mark.parametrize("address", ["//repo/", "local:/repo"])
def test_an_address_is_known_however_it_is_spelled(world: World, address: str) -> None:
    """The document was written anew while the disk was away: another name, another slash."""
    world.ensure()
    world.end()
    world.place = Place()
    found = world.ensure(replace(REPO, id="renamed", uri=address))

    assert found is not None
    assert (FailureClass.REPO_NOT_FOUND, 0) == (found.failure, world.place.created)


def test_runs_that_used_a_repository_tell_of_it(world: World) -> None:
    """It did not ask to be created then, so nobody kept its id; only failures tell nothing."""
    world.end(Job(JobKind.PRUNE, "store", "store"))
    assert "the journal has runs that used it" in world.refused()
    world.lose()
    world.end(outcome=RunOutcome.FAILED, snapshot="abcdef")
    assert "the journal has runs that used it" in world.refused()


def test_a_journal_that_was_set_aside_may_know_it(world: World) -> None:
    """What could be read of it is in the new one, and that need not be all."""
    world.journal.close()
    with sqlite3.connect(world.path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    os.truncate(world.path, 1000)
    world.journal = Journal(world.path)

    reason = world.refused()

    (aside,) = world.state.glob("journal.sqlite.broken-*")
    assert f"({aside} is a journal that was set aside" in reason
    aside.rename(world.state / "journal.sqlite.broken-by-me")
    assert world.ensure() is not None
    assert 1 == world.place.created


def test_a_marker_that_no_journal_explains_tells_of_it(world: World) -> None:
    """The journal was lost, and the file with it."""
    write_marker(world.state, world.end())
    world.lose()

    assert f"({world.state}/web.success tells that web was saved before)" in world.refused()


def test_a_plan_may_move_to_a_new_repository(world: World) -> None:
    """Its marker is of the one before, as the journal tells."""
    write_marker(world.state, world.end(WEB._replace(repo="old")))

    assert world.ensure() is not None

    assert 1 == world.place.created


def test_markers_of_other_plans_do_not_count(world: World) -> None:
    """They save elsewhere."""
    other = RunPlan("db", "nas")
    world.config = Config("here", (REPO,), (PLAN, other))
    write_marker(world.state, world.end(Job(JobKind.BACKUP, "db", "nas")))
    world.lose()

    assert world.ensure() is not None

    assert 1 == world.place.created


@pytest.mark.parametrize("content", ["{", "[]", '{"store": 5}', "[" * 100_000])
def test_a_file_that_cannot_be_read_may_know_it(world: World, content: str) -> None:
    """It is not written over either."""
    (world.state / FILE).write_text(content)

    assert f"{world.state / FILE} cannot be read" in world.refused()
    world.known.remember(Repo("other"), GUID)

    assert content == (world.state / FILE).read_text()
    assert ("", GUID) == (world.known.guid("store"), world.known.guid("other"))


def test_a_repository_with_a_past_that_is_there_is_known_from_then_on(world: World) -> None:
    """As after the loss of everything but a marker."""
    write_marker(world.state, world.end())
    world.lose()
    world.place.guid = GUID

    found = world.ensure()

    assert found is not None
    assert (ResultKind.SUCCESS, 0) == (found.kind, world.place.created)
    assert GUID == world.known.guid("store")


def test_an_id_that_cannot_be_kept_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal has it all the same."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("sidecar.runner.repositories.write_small", refuse)

    world.ensure()

    assert ["repository.not-noted"] == [record.message for record in caplog.records]
    assert GUID == world.journal.findings.guid("store")


def test_where_the_journal_cannot_be_read_nothing_is_created(world: World) -> None:
    """The repository may have existed."""
    world.journal._database._connection.close()

    assert world.ensure() is None

    assert 0 == world.place.created
