"""What hooks have left stopped is started by the runner, but never under a run that needs it."""

import logging
from pathlib import Path

import pytest

from sidecar.backrest.reading import RunHook, RunPlan
from sidecar.lib.errors import InventoryError, StoreError
from sidecar.runner.hooks.resume import MarkerResumer
from sidecar.runner.job.running import RunningPlans
from tests.fakes.prepared_docker import PreparedDocker

AT = 1_772_625_000
ID, OTHER = "ab" * 32, "cd" * 32
FIVE = "2026-03-04T11:50:05Z"


class Bench:
    """A folder with markers, and what looks at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ".quiesced"
        self.folder.mkdir()
        self.engine = PreparedDocker({})
        self.plans = RunningPlans()
        self.time = AT + 60.0
        self.resumer = MarkerResumer(
            (folder, folder / "other"), lambda: self.engine, self.plans, lambda: self.time
        )

    def mark(
        self, name: str = "web", identity: str = ID, verb: str = "stop", **more: object
    ) -> Path:
        """Leave a marker."""
        said = {"plan": "p", "container": identity, "state": "running", "verb": verb}
        said |= {"at": str(AT), "timeout": "4"} | {key: str(more[key]) for key in more}
        path = self.folder / name
        path.write_text("".join(f"{key}={value}\n" for key, value in said.items()))
        return path

    def hold(
        self, status: str, finished: str = FIVE, identity: str = ID, name: str = "web"
    ) -> None:
        """Have the engine hold the container."""
        state = {"Status": status, "FinishedAt": finished}
        self.engine.answers[f"/containers/{identity}/json"] = {
            "Id": identity,
            "Name": f"/{name}",
            "State": state,
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty one."""
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("verb", "status", "finished", "done", "event"),
    [
        ("stop", "exited", FIVE, [f"/containers/{ID}/start"], "container.start"),
        ("pause", "paused", "", [f"/containers/{ID}/unpause"], "container.start"),
        ("stop", "running", FIVE, [], ""),
        ("stop", "exited", "2026-03-04T11:50:20Z", [], "container.left"),
        ("stop", "paused", FIVE, [], "container.left"),
    ],
)
def test_what_a_marker_names_is_settled(
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    verb: str,
    status: str,
    finished: str,
    done: list[str],
    event: str,
) -> None:
    """Ours runs again, what somebody else did stays, and the marker goes."""
    caplog.set_level(logging.INFO)
    path = bench.mark(verb=verb)
    bench.hold(status, finished)

    assert () == bench.resumer.resume()

    assert done == bench.engine.done
    assert [event] * bool(event) == [record.message for record in caplog.records]
    assert not path.exists()


@pytest.mark.parametrize(("name", "done"), [("web.new", [f"/containers/{ID}/start"]), ("web", [])])
def test_a_name_that_ends_as_a_part_did_is_told_by_the_container(
    bench: Bench, name: str, done: list[str]
) -> None:
    """An older version was writing the marker of `web` as `web.new`; a container may be called so."""
    path = bench.mark("web.new")
    bench.hold("exited", name=name)

    assert () == bench.resumer.resume()

    assert done == bench.engine.done
    assert not path.exists()


def test_a_service_gets_its_replicas_back(bench: Bench) -> None:
    """As the marker has them."""
    path = bench.mark(".service@web", ID[:25], "scale", replicas=3, finished=AT)
    spec = {"Name": "web", "Mode": {"Replicated": {"Replicas": 0}}}
    bench.engine.answers[f"/services/{ID[:25]}"] = {
        "ID": ID[:25],
        "Version": {"Index": 4},
        "Spec": spec,
    }

    assert () == bench.resumer.resume()

    [done] = bench.engine.done
    assert done.startswith(f"/services/{ID[:25]}/update?version=4 ")
    assert '"Replicas": 3' in done
    assert not path.exists()


def test_a_stop_that_may_be_under_way_is_left_to_the_next_look(bench: Bench) -> None:
    """Until it has stopped, or did not in its time."""
    path = bench.mark()
    bench.hold("running")
    bench.time = AT + 18
    assert () == bench.resumer.resume()
    assert path.exists()
    bench.hold("exited")
    assert () == bench.resumer.resume()
    assert [f"/containers/{ID}/start"] == bench.engine.done


def test_a_start_that_fails_is_tried_again(bench: Bench) -> None:
    """A port may be free later; it is told as long as it fails, and others are started."""
    bench.mark(finished=FIVE)
    bench.mark("db", OTHER, finished=FIVE)
    bench.hold("exited")
    bench.hold("exited", identity=OTHER)
    bench.engine.answers[f"/containers/{ID}/start"] = InventoryError("port is in use")

    assert ("web is stopped and could not be started: port is in use",) == bench.resumer.resume()
    assert [f"/containers/{OTHER}/start"] == bench.engine.done
    del bench.engine.answers[f"/containers/{ID}/start"]

    assert () == bench.resumer.resume()
    assert f"/containers/{ID}/start" == bench.engine.done[-1]
    assert [] == list(bench.folder.iterdir())


@pytest.mark.parametrize(
    ("plan", "command", "starts"),
    [("p", "", False), ("q", "name=web\nverb=stop", False), ("q", "name=db", True)],
)
def test_what_a_run_counts_on_stays_stopped(
    bench: Bench, plan: str, command: str, *, starts: bool
) -> None:
    """Its plan wrote the marker, or its hooks speak of the container."""
    path = bench.mark(finished=FIVE)
    bench.hold("exited")
    hook = RunHook(frozenset(), "actionCommand", {"command": command})

    with bench.plans.running(RunPlan(plan, "store", hooks=(hook,))):
        assert () == bench.resumer.resume()
        assert starts is not path.exists()
    assert () == bench.resumer.resume()

    assert [f"/containers/{ID}/start"] == bench.engine.done


def test_what_belongs_to_no_plan_holds_up_nothing(bench: Bench) -> None:
    """A prune stops nothing."""
    bench.mark(finished=FIVE)
    bench.hold("exited")
    with bench.plans.running(None):
        assert () == bench.resumer.resume()
    assert [f"/containers/{ID}/start"] == bench.engine.done


@pytest.mark.parametrize("name", ["web", ".service@web", ".new@web"])
def test_what_is_gone_or_was_never_stopped_loses_its_marker(bench: Bench, name: str) -> None:
    """Nothing can be started; a torn one names nothing."""
    bench.mark(name)
    bench.mark("torn", "")
    assert () == bench.resumer.resume()
    assert [] == bench.engine.done
    assert [] == list(bench.folder.iterdir())


def test_the_last_that_was_stopped_starts_first(bench: Bench) -> None:
    """What others need was stopped after them."""
    for name, identity in (("web", ID), ("db", OTHER)):
        bench.mark(name, identity, finished=FIVE)
        bench.hold("exited", identity=identity)
    assert () == bench.resumer.resume()
    assert [f"/containers/{one}/start" for one in (OTHER, ID)] == bench.engine.done


def test_markers_of_several_folders_are_settled(bench: Bench) -> None:
    """What stopped last starts first, wherever its marker is."""
    bench.mark(at=AT - 10)
    bench.hold("exited")
    bench.folder = bench.folder.parent / "other" / ".quiesced"
    bench.folder.mkdir(parents=True)
    path = bench.mark("db", OTHER)
    bench.hold("exited", identity=OTHER, name="db")

    assert () == bench.resumer.resume()

    assert {f"/containers/{one}/start" for one in (OTHER, ID)} == set(bench.engine.done)
    assert not path.exists()


def test_without_docker_it_is_told(tmp_path: Path) -> None:
    """And nothing is asked where there is nothing to start."""
    bench = Bench(tmp_path)
    resumer = MarkerResumer((tmp_path,), None, bench.plans)
    assert () == resumer.resume()
    path = bench.mark()
    (said,) = resumer.resume()
    assert "there is no Docker" in said
    assert path.exists()


def test_markers_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    """A link in place of their folder could lead anywhere."""
    (tmp_path / ".quiesced").symlink_to(tmp_path)
    with pytest.raises(StoreError):
        MarkerResumer((tmp_path,), None, RunningPlans()).resume()
