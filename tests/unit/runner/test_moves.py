"""Plans that move between documents and repositories: each fire is answered once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import RunCause, RunOutcome
from sidecar.runner.union import DocumentChoice
from tests.fakes.stepped_runner import RUN_SECONDS, SteppedRunner

HOUR = 3600.0
NOON = 1_780_056_000.0
"""Noon of a day in UTC."""
THERE = Job(JobKind.BACKUP, "web", "store")
HERE = Job(JobKind.BACKUP, "web", "disk")
OFF = {"disabled": True}


@dataclass
class World:
    """A runner over two documents, and a clock."""

    folder: Path
    choice: DocumentChoice = DocumentChoice.ALL
    now: float = NOON

    def __post_init__(self) -> None:
        self.write_config("web")
        self.write_runner()
        self.runner = SteppedRunner(self.folder, self.choice, lambda: self.now)

    def write_config(self, *plans: str, schedule: Any = None) -> None:
        """Write Backrest's document with these plans."""
        self._write("config.json", "store", plans, schedule)

    def write_runner(self, *plans: str) -> None:
        """Write the runner's document with these plans."""
        self._write("runner.json", "disk", plans, None)

    def _write(self, name: str, repo: str, plans: tuple[str, ...], schedule: Any) -> None:
        when = schedule or {"cron": "0 * * * *"}
        document = {
            "modno": 1,
            "version": 6,
            "instance": "here",
            "repos": [{"id": repo, "uri": f"/{repo}", "password": "x", "autoInitialize": True}],
            "plans": [
                {"id": plan, "repo": repo, "paths": ["/data"], "schedule": when} for plan in plans
            ],
        }
        (self.folder / name).write_text(json.dumps(document))

    def poll(self, seconds: float = 0.0) -> set[Job]:
        """Let time pass and the runner make a pass; return what waits for a worker."""
        self.now += seconds
        self.runner.poll()
        return set(self.runner.waiting)

    def run(self, job: Job, outcome: RunOutcome = RunOutcome.SUCCESS) -> None:
        """Run what waits."""
        self.runner.end(self.runner.begin(job), outcome)
        self.now += RUN_SECONDS


@contextmanager
def opened(folder: Path, choice: DocumentChoice) -> Iterator[World]:
    """Make a world, and close it."""
    made = World(folder, choice)
    try:
        yield made
    finally:
        made.runner.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a runner that executes both documents."""
    with opened(tmp_path, DocumentChoice.ALL) as made:
        yield made


@pytest.fixture
def companion(tmp_path: Path) -> Iterator[World]:
    """Return a runner beside a Backrest."""
    with opened(tmp_path, DocumentChoice.RUNNER) as made:
        yield made


def test_what_the_old_place_has_answered_the_new_one_does_not_answer_again(world: World) -> None:
    """And the next fire is answered where the plan is by then, once."""
    world.poll()
    assert {THERE} == world.poll(HOUR)
    world.run(THERE)
    world.write_runner("web")
    assert set() == world.poll(60)
    world.write_config()
    assert set() == world.poll(60)
    assert {HERE} == world.poll(HOUR)
    assert [] == world.runner.missed


def test_what_waited_for_a_worker_is_due_anew_where_the_plan_is_now(world: World) -> None:
    """The old job is not run any more, and whoever follows it is told."""
    world.poll()
    assert {THERE} == world.poll(HOUR)
    world.write_runner("web")
    world.write_config()
    assert {THERE, HERE} == world.poll(10)
    told: list[Any] = []
    with world.runner.hub.subscribe(THERE, told.append):
        world.runner.jobs.run(THERE, RunCause.SCHEDULE)
        world.runner.hub.finish(THERE)
    assert "has moved to another repository" in told[-1].reason
    assert () == world.runner.journal.runs.list()


def test_a_fire_while_the_old_plan_is_disabled_is_answered_by_the_new_one(world: World) -> None:
    """The sidecar disables it before it is removed, so that nobody runs it meanwhile."""
    world.poll()
    world.poll(HOUR)
    world.run(THERE)
    world.write_runner("web")
    world.write_config("web", schedule=OFF)
    assert set() == world.poll(HOUR - 120)
    assert set() == world.poll(120)
    world.write_config()
    assert {HERE} == world.poll(10)


def test_what_was_to_be_tried_again_is_tried_where_the_plan_is_now(world: World) -> None:
    """Whether it has failed before the move or since."""
    world.poll()
    world.poll(HOUR)
    world.run(THERE, RunOutcome.FAILED)
    world.write_runner("web")
    world.write_config()
    assert set() == world.poll()
    assert {HERE} == world.poll(900)
    world.run(HERE)
    history = world.runner.journal.past.history()
    assert {} == history.retries


def test_a_run_that_fails_after_its_plan_has_moved_is_tried_again_there(world: World) -> None:
    """It was under way meanwhile."""
    world.poll()
    world.poll(HOUR)
    world.write_runner("web")
    world.write_config()
    world.run(THERE, RunOutcome.FAILED)
    world.poll()
    world.write_runner("web", "db")
    world.poll()
    assert HERE in world.runner.journal.past.history().retries
    assert HERE in world.poll(900)


@pytest.mark.parametrize("is_back", [False, True])
def test_what_moves_while_the_runner_is_down_is_made_up_for_once(
    world: World, is_back: bool
) -> None:
    """As if it had stayed where it was; also back to where it was long before."""
    before, after = (HERE, THERE) if is_back else (THERE, HERE)
    if is_back:
        world.poll()
        world.poll(HOUR)
        world.run(THERE)
        world.write_runner("web")
        world.write_config()
    world.poll()
    world.poll(HOUR)
    world.run(before)
    world.write_runner(*([] if is_back else ["web"]))
    world.write_config(*(["web"] if is_back else []))
    world.now += 3 * HOUR
    world.runner.start()
    assert {after} == world.poll()
    assert [2] == [one.count for one in world.runner.missed]


def test_a_plan_that_was_gone_for_a_while_begins_anew(world: World) -> None:
    """Nobody wanted it to be run meanwhile."""
    world.poll()
    world.poll(HOUR)
    world.run(THERE)
    world.write_config()
    world.poll(5 * HOUR)
    world.write_runner("web")
    assert set() == world.poll(5 * HOUR)
    assert {HERE} == world.poll(HOUR)
    assert [] == world.runner.missed


def test_a_companion_takes_a_plan_from_backrest_for_its_next_fire(companion: World) -> None:
    """Until it is gone from there Backrest runs it, and answers its fires."""
    companion.poll()
    assert set() == companion.poll(HOUR)
    companion.write_runner("web")
    assert set() == companion.poll(HOUR)
    companion.write_config()
    assert set() == companion.poll(10)
    assert {HERE} == companion.poll(HOUR)
    assert [] == companion.runner.missed


def test_a_companion_gives_a_plan_to_backrest_and_takes_it_back(companion: World) -> None:
    """What Backrest has answered meanwhile is neither missed nor made up for."""
    companion.write_config()
    companion.write_runner("web")
    companion.poll()
    assert {HERE} == companion.poll(HOUR)
    companion.run(HERE)
    companion.write_config("web")
    assert set() == companion.poll(HOUR - 120)
    companion.write_runner()
    assert set() == companion.poll(3 * HOUR)
    companion.write_runner("web")
    companion.write_config()
    assert set() == companion.poll(10)
    assert {HERE} == companion.poll(HOUR)
    assert [] == companion.runner.missed


def test_what_was_due_when_backrest_took_a_plan_is_still_run_by_the_companion(
    companion: World,
) -> None:
    """Backrest knows nothing of that fire; it goes to the old repository, as it was."""
    companion.write_config()
    companion.write_runner("web")
    companion.poll()
    companion.now += HOUR
    companion.write_config("web")
    assert {HERE} == companion.poll()
    documents = companion.runner.document.now.documents
    found = documents.config_of(HERE)
    assert found is not None
    assert "disk" == getattr(found.plan("web"), "repo", "")
    assert "" == companion.runner.document.now.blocker(HERE)
    companion.run(HERE)
    assert set() == companion.poll(HOUR)


def test_what_backrest_takes_while_it_waits_to_be_tried_again_is_tried_once_more(
    companion: World,
) -> None:
    """Backrest does not know that it has failed."""
    companion.write_config()
    companion.write_runner("web")
    companion.poll()
    companion.poll(HOUR)
    companion.run(HERE, RunOutcome.FAILED)
    companion.write_config("web")
    assert {HERE} == companion.poll()
    companion.run(HERE)
    assert set() == companion.poll(HOUR)
