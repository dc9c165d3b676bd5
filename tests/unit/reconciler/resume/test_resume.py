"""The guard: what becomes of a marker, and what it never does on a mere suspicion."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.document import DocumentView
from sidecar.docker.markers import DIRECTORY, Marker
from sidecar.docker.models import Container, ContainerState, Inventory, Mount, SwarmService
from sidecar.docker.stopped import NotedStop
from sidecar.labels.policy import Policy
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError
from sidecar.planner.plan import Pass, RenderedWorkload
from sidecar.planner.plans import render
from sidecar.planner.propose import DesiredState
from sidecar.reconciler.apply.context import GoodPass, LastPass
from sidecar.reconciler.apply.idle import IDLE, IdleCheck, IdleState, PlanActivity
from sidecar.reconciler.resume.resume import (
    MarkerAction,
    ResumeGuard,
    decide_container,
    decide_service,
    decide_torn,
    find_template,
)
from sidecar.reconciler.settings import Applying, ReconcilerSettings
from sidecar.reconciler.state import Memory
from tests.fakes.prepared_docker import PreparedDocker

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()
ID = "ab" * 32
SERVICE = "s1" * 12 + "x"
BUSY = IdleCheck(IdleState.BUSY, "p")
UNKNOWN = IdleCheck(IdleState.UNKNOWN, "nobody answers")
STOPPED = "2026-03-04T11:50:00.5Z"
NOTED = {"verb", "at", "seconds", "finished", "replicas"}


def marker(**fields: Any) -> Marker:
    """Make a marker that says all it should."""
    stop: dict[str, Any] = {"at": NOON - 601, "finished": STOPPED}
    stop |= {key: fields.pop(key) for key in NOTED & fields.keys()}
    values = {"plan": "p", "container": ID, "state": "running", "stop": NotedStop(**stop)}
    return Marker(**{"name": "web", "written_at": NOON - 601, **values, **fields})


def standing(status: str = "exited", finished: str = STOPPED, name: str = "web") -> ContainerState:
    """Make the container that the marker speaks of."""
    return ContainerState(ID, name, status, finished)


@pytest.mark.parametrize(
    ("said", "found", "template", "expected"),
    [
        ({}, standing(), "stop-start", MarkerAction.START),
        ({}, standing(), "quiesce-stop-start", MarkerAction.START),
        ({}, standing("paused"), "pause-unpause", MarkerAction.UNPAUSE),
        (
            {"finished": ""},
            standing("paused", "0001-01-01T00:00:00Z"),
            "pause-unpause",
            MarkerAction.UNPAUSE,
        ),
        ({"finished": ""}, standing(), "stop-start", MarkerAction.START),
        ({}, None, "stop-start", MarkerAction.DISCARD),
        ({}, standing(finished="2026-03-04T11:51:00Z"), "stop-start", MarkerAction.DISCARD),
        (
            {"finished": ""},
            standing(finished="2026-03-04T11:00:00Z"),
            "stop-start",
            MarkerAction.DISCARD,
        ),
        ({}, standing("paused", "2026-03-04T11:51:00Z"), "pause-unpause", MarkerAction.DISCARD),
        ({}, standing(), "", MarkerAction.DISCARD),
        ({}, standing(), "pause-unpause", MarkerAction.DISCARD),
        ({}, standing("paused"), "stop-start", MarkerAction.DISCARD),
        ({}, standing(), None, MarkerAction.WAIT),
        ({}, standing("removing"), "stop-start", MarkerAction.WAIT),
        ({}, standing("created"), "stop-start", MarkerAction.WAIT),
        ({}, standing("dead"), "stop-start", MarkerAction.WAIT),
        ({}, standing("running"), None, MarkerAction.STALE),
        ({"finished": ""}, standing("running"), "stop-start", MarkerAction.STALE),
        ({"finished": "", "at": NOON - 24}, standing("running"), "stop-start", MarkerAction.WAIT),
        ({"finished": "", "seconds": -1}, standing("running"), "stop-start", MarkerAction.WAIT),
        (
            {"finished": "", "seconds": -1, "at": NOON - 615},
            standing("running"),
            "stop-start",
            MarkerAction.DISCARD,
        ),
        (
            {"finished": ""},
            standing(finished="2026-03-04T11:50:25Z"),
            "stop-start",
            MarkerAction.DISCARD,
        ),
        ({}, standing("restarting"), "", MarkerAction.STALE),
        ({"name": "web.new", "finished": ""}, standing(), "stop-start", MarkerAction.STALE),
        ({"name": "web.new"}, standing(name="web.new"), "stop-start", MarkerAction.START),
    ],
)
def test_a_container_is_started_only_if_everything_matches(
    said: dict[str, Any], found: ContainerState | None, template: str | None, expected: MarkerAction
) -> None:
    """Id, state, the moment of the stop and the template have to agree."""
    assert expected is decide_container(marker(**said), found, template, NOON).action


@pytest.mark.parametrize(
    ("said", "found", "template", "expected"),
    [
        ({}, SwarmService(SERVICE, "web", 0), "swarm-scale", MarkerAction.SCALE),
        ({}, SwarmService(SERVICE, "web", 2), "swarm-scale", MarkerAction.STALE),
        ({}, SwarmService(SERVICE, "web", None), "swarm-scale", MarkerAction.DISCARD),
        ({"replicas": 0}, SwarmService(SERVICE, "web", 0), "swarm-scale", MarkerAction.DISCARD),
        ({}, SwarmService(SERVICE, "web", 0), "stop-start", MarkerAction.DISCARD),
        ({}, SwarmService(SERVICE, "web", 0), None, MarkerAction.WAIT),
        ({}, None, "swarm-scale", MarkerAction.DISCARD),
        ({"name": "web.new"}, SwarmService(SERVICE, "web", 0), "swarm-scale", MarkerAction.STALE),
    ],
)
def test_a_service_gets_its_replicas_only_if_everything_matches(
    said: dict[str, Any], found: SwarmService | None, template: str | None, expected: MarkerAction
) -> None:
    """It must still be at no replicas, and the marker must say how many it had."""
    spoken = marker(**{"container": SERVICE, "state": "scaled", "replicas": 3, **said})
    assert expected is decide_service(spoken, found, template, NOON).action


def test_a_torn_marker_is_discarded_and_half_written_litter_is_quietly_so() -> None:
    """Neither says what was stopped."""
    assert MarkerAction.DISCARD is decide_torn(marker(container="")).action
    assert MarkerAction.STALE is decide_torn(marker(container="", name="web.new")).action


def rendered(*containers: Container) -> tuple[RenderedWorkload, ...]:
    """Render the workloads of an inventory."""
    moment = datetime.fromtimestamp(NOON, UTC)
    return render(Pass(Inventory(containers), DocumentView((), ()), Policy(), moment)).workloads


def container(name: str = "web", identity: str = ID, **labels: str) -> Container:
    """Make a labelled container, with a template unless told otherwise."""
    said = {"enable": "true", "hooks.template": "stop-start"}
    said |= {key.replace("_", "."): value for key, value in labels.items()}
    own = {f"backrest.{key}": value for key, value in said.items() if value}
    return Container(identity, name, labels=own, mounts=(Mount("bind", f"/srv/{name}", "/data"),))


def test_the_template_is_that_of_the_containers_workload_now() -> None:
    """None where the labels are in doubt: a marker is not given up for that."""
    assert "stop-start" == find_template(marker(), rendered(container()))
    assert "" == find_template(marker(), rendered(container(identity="cd" * 32)))
    assert "" == find_template(marker(), rendered(container(hooks_template="")))
    project = {"com.docker.compose.project": "p"}
    one, other = (
        container(name, identity, hooks_template=template, group="g")
        for name, identity, template in (
            ("web", ID, "stop-start"),
            ("db", "cd" * 32, "pause-unpause"),
        )
    )
    grouped = [
        Container(
            c.id, c.name, labels={**c.labels, **project, "com.docker.compose.service": c.name}
        )
        for c in (one, other)
    ]
    assert find_template(marker(), rendered(*grouped)) is None


def inspected(status: str = "exited", finished: str = STOPPED, name: str = "web") -> dict[str, Any]:
    """Make the engine's answer about a container."""
    return {"Id": ID, "Name": f"/{name}", "State": {"Status": status, "FinishedAt": finished}}


def markers_in(folder: Path) -> Path:
    """Make the folder of markers."""
    markers = folder / DIRECTORY
    markers.mkdir()
    return markers


def settings_of(markers: Path) -> ReconcilerSettings:
    """Return those of a document beside this folder of markers."""
    return ReconcilerSettings(markers.parent / "config.json", applying=Applying(guard_after=300.0))


@dataclass
class Bench:
    """A guard with a hand-made engine, and what it told."""

    directory: Path
    engine: PreparedDocker
    now: float = NOON
    look: IdleCheck = IDLE
    asked: list[frozenset[str]] = field(default_factory=list)
    told: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    last_pass: LastPass = field(default_factory=LastPass)

    def __post_init__(self) -> None:
        """Make the guard."""
        self.guard = ResumeGuard(
            settings_of(self.directory),
            self.engine,
            self,
            self.last_pass,
            Clocks(lambda: self.now, lambda: self.now),
        )

    def check(self, plans: frozenset[str]) -> IdleCheck:
        """Say what runs."""
        self.asked.append(plans)
        return self.look

    def mark(self, name: str = "web", age: float = 601.0, **fields: str) -> Path:
        """Leave a marker."""
        said = {"plan": "p", "container": ID, "state": "running", "finished": STOPPED, **fields}
        path = self.directory / name
        path.write_text("".join(f"{key}={value}\n" for key, value in said.items() if value))
        os.utime(path, (self.now - age, self.now - age))
        return path

    def render(self, *workloads: RenderedWorkload) -> None:
        """Let these be what the last good pass rendered."""
        desired = DesiredState(Inventory(), Policy(), datetime.now(UTC))
        self.last_pass.set(GoodPass(desired, self.now, workloads))

    def step(self) -> float:
        """Make one step, and keep what came of it; return the seconds to wait."""
        wait, events = self.guard.step()
        self.told += [(event.result, event.facts) for event in events]
        return wait

    def run(self, seconds: float = 6.0) -> None:
        """Let time pass as the guard asks for it."""
        end = self.now + seconds
        for _ in range(2000):
            self.now += self.step()
            if self.now > end:
                return
        pytest.fail("it never waits")

    @property
    def results(self) -> list[str]:
        """What was told, in order."""
        return [result for result, _ in self.told]


PLACE = f"/containers/{ID}/json"
START = f"/containers/{ID}/start"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A stopped container whose labels ask for a stop."""
    made = Bench(markers_in(tmp_path), PreparedDocker({PLACE: inspected()}))
    made.render(*rendered(container()))
    return made


def test_what_a_dead_run_left_stopped_is_started_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning, and the marker is gone."""
    path = bench.mark()
    bench.run(60)
    assert [START] == bench.engine.done
    assert [("resumed", {"container": "web", "plan": "p", "verb": "start"})] == bench.told
    assert not path.exists()
    assert {frozenset({"p", "backrest_sidecar_web"})} == set(bench.asked)
    assert ["guard.resumed"] == [r.message for r in caplog.records if r.levelno == logging.WARNING]


def test_a_young_marker_belongs_to_its_run(bench: Bench) -> None:
    """Nobody is asked before it is old enough; then it is looked after in time."""
    bench.mark(age=10)
    bench.run(200)
    assert bench.asked == []
    bench.run(120)
    assert [START] == bench.engine.done


def test_a_marker_from_the_future_gets_old_as_well(bench: Bench) -> None:
    """The clock was set back, or is another one: what we watched counts."""
    bench.mark(age=-100_000, finished=STOPPED)
    bench.run(280)
    assert bench.asked == []
    bench.run(60)
    assert [START] == bench.engine.done


def test_a_running_plan_keeps_its_containers_stopped(bench: Bench) -> None:
    """However old the marker: a backup may take days. One idle look is not enough."""
    bench.mark()
    bench.look = BUSY
    bench.run(86400 / 10)
    bench.look = IDLE
    bench.step()
    bench.look = BUSY
    bench.run(60)
    assert bench.engine.done == []
    assert ["waiting"] == bench.results
    assert (bench.directory / "web").exists()


def test_what_is_waited_for_is_told_after_two_minutes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the process that it waits for; a young run is nobody's trouble."""
    bench.mark()
    bench.look = IdleCheck(IdleState.BUSY, "restic")
    bench.run(110)
    assert bench.told == []
    bench.run(3600)
    assert [("waiting", {"container": "web", "plan": "p", "because": "restic"})] == bench.told
    assert ["guard.waiting"] == [r.message for r in caplog.records]


def test_the_unknown_changes_nothing_and_is_told_once(bench: Bench) -> None:
    """Neither a runner nor markers that cannot be asked lead to anything."""
    bench.mark()
    bench.look = UNKNOWN
    bench.run(600)
    assert [("blind", {"why": "nobody answers"})] == bench.told
    bench.look = IDLE
    bench.run(6)
    assert ["blind", "resumed"] == bench.results


def test_an_engine_that_cannot_be_asked_discards_nothing(bench: Bench) -> None:
    """It is tried again after pauses that get longer."""
    path = bench.mark()
    bench.engine.answers[PLACE] = InventoryError("the engine is away")
    bench.run(3000)
    assert 5 <= len(bench.results) <= 8
    assert {"failed"} == set(bench.results)
    assert path.exists()
    bench.engine.answers[PLACE] = inspected()
    bench.run(1000)
    assert [START] == bench.engine.done


def test_a_start_that_fails_keeps_the_marker(bench: Bench) -> None:
    """A port in use today may be free later."""
    path = bench.mark()
    bench.engine.answers[START] = InventoryError("port is in use")
    bench.run(20)
    assert ["failed"] == bench.results
    assert path.exists()


def test_before_the_first_good_pass_nothing_is_started_or_discarded(tmp_path: Path) -> None:
    """Without an inventory nobody knows which labels there are."""
    bench = Bench(markers_in(tmp_path), PreparedDocker({PLACE: inspected()}))
    path = bench.mark()
    bench.run(600)
    assert bench.engine.done == []
    assert bench.told == []
    assert path.exists()


@pytest.mark.parametrize(
    ("answer", "workloads"),
    [
        (None, rendered(container())),
        (inspected(finished="2026-03-04T11:55:00Z"), rendered(container())),
        (inspected(), ()),
    ],
    ids=["gone", "stopped again", "no template"],
)
def test_a_marker_that_does_not_hold_is_discarded_and_told(
    bench: Bench, answer: object, workloads: tuple[RenderedWorkload, ...]
) -> None:
    """What it speaks of stays as it is."""
    path = bench.mark()
    bench.engine.answers[PLACE] = answer
    bench.render(*workloads)
    bench.run(60)
    assert ["discarded"] == bench.results
    assert bench.told[0][1]["why"]
    assert bench.engine.done == []
    assert not path.exists()


def test_the_marker_of_what_runs_is_removed_quietly(bench: Bench) -> None:
    """Somebody started it; there is nothing to say."""
    path = bench.mark()
    bench.engine.answers[PLACE] = inspected("running")
    bench.run(60)
    assert bench.engine.done == []
    assert bench.told == []
    assert not path.exists()


def test_containers_start_in_the_order_of_their_dependencies(bench: Bench) -> None:
    """The database before what needs it."""
    other = "cd" * 32
    compose = {"com.docker.compose.project": "p"}
    web, database = container("web", group="g"), container("db", other, group="g")
    labels = {
        "web": {"com.docker.compose.service": "web", "com.docker.compose.depends_on": "db:x:true"},
        "db": {"com.docker.compose.service": "db"},
    }
    bench.render(
        *rendered(
            *(
                Container(c.id, c.name, labels={**c.labels, **compose, **labels[c.name]})
                for c in (web, database)
            )
        )
    )
    bench.engine.answers[f"/containers/{other}/json"] = {**inspected(name="db"), "Id": other}
    bench.mark("a-web")
    bench.mark("z-db", container=other)
    bench.run(20)
    assert [f"/containers/{other}/start", START] == bench.engine.done


def test_a_service_without_containers_tells_its_template_itself(bench: Bench) -> None:
    """At no replicas the inventory has nothing of it; its whole specification goes back."""
    place = f"/services/{SERVICE}"
    labels = {"backrest.enable": "true", "backrest.hooks.template": "swarm-scale"}
    spec = {
        "Name": "web",
        "Mode": {"Replicated": {"Replicas": 0}},
        "TaskTemplate": {"ContainerSpec": {"Labels": labels, "Image": "x"}, "ForceUpdate": 7},
    }
    bench.engine.answers[place] = {"ID": SERVICE, "Version": {"Index": 42}, "Spec": spec}
    bench.render()
    bench.mark(container=SERVICE, state="scaled", replicas="3", finished="")
    bench.run(60)
    [done] = bench.engine.done
    path, _, body = done.partition(" ")
    assert f"{place}/update?version=42" == path
    assert {**spec, "Mode": {"Replicated": {"Replicas": 3}}} == json.loads(body)
    assert ["resumed"] == bench.results


def test_markers_that_cannot_be_read_are_told(bench: Bench) -> None:
    """A link in place of the directory could lead anywhere."""
    linked = bench.directory / DIRECTORY
    linked.symlink_to(bench.directory)
    guard = ResumeGuard(settings_of(linked), bench.engine, bench, LastPass())
    first, second = guard.step(), guard.step()
    assert 30 == first.wait == second.wait
    assert (["blind"], []) == ([event.result for event in first.events], second.events)


RUNNER = {"Id": "ef" * 32, "Name": "/backrest", "State": {"Running": True}}
TOP = f"/containers/{'ef' * 32}/top"
FIND = "/containers/backrest/json"


@pytest.mark.parametrize(
    ("answers", "is_known", "expected"),
    [
        (
            {FIND: RUNNER, TOP: {"Titles": ["CMD"], "Processes": [["/backrest"]]}},
            True,
            IdleState.IDLE,
        ),
        ({FIND: RUNNER, TOP: {"Titles": ["CMD"], "Processes": [["restic"]]}}, True, IdleState.BUSY),
        ({FIND: RUNNER, TOP: InventoryError("403")}, True, IdleState.UNKNOWN),
        ({FIND: {**RUNNER, "State": {"Running": False}}}, True, IdleState.IDLE),
        ({FIND: InventoryError("away")}, True, IdleState.UNKNOWN),
        ({}, True, IdleState.IDLE),
        ({}, False, IdleState.UNKNOWN),
    ],
    ids=["rests", "works", "no top", "dead", "no engine", "absent", "never seen"],
)
def test_without_an_api_the_container_tells_whether_plans_run(
    answers: Mapping[str, Any], *, is_known: bool, expected: IdleState
) -> None:
    """A dead or absent runner runs nothing; one that was never seen may be elsewhere."""
    settings = ReconcilerSettings(Path("config.json"), runner_named=is_known)
    activity = PlanActivity(settings, Memory(None), PreparedDocker(answers), None)
    assert expected is activity.check(frozenset({"p"})).state
