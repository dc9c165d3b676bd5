"""What waits: plans that Backrest has not loaded, what a backup left stopped, edits by hand."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi
from sidecar.backrest.document import parse_document
from sidecar.docker.client import DockerClient
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import InventoryError
from sidecar.planner.propose import DesiredState, Planner
from sidecar.reconciler.settings import InventorySource, ReconcilerSettings
from sidecar.reconciler.state import RunnerSeen, State
from sidecar.reconciler.waits import Wait, WaitFinder, WaitKind, find_waits
from tests.fakes.fake_backrest import FakeBackrest

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UNIX = NOW.timestamp()
WEB = "backrest_sidecar_web"
TITLES = ["PID", "PPID", "CMD"]
RESTS = [
    ["10", "9", "/sbin/tini -- /docker-entrypoint /backrest"],
    ["11", "10", "/docker-entrypoint /backrest"],
    ["12", "11", "/backrest"],
]
WORKS = [*RESTS, ["13", "12", "/bin/restic backup --json /x"]]


class Engine(DockerClient):
    """A Docker with one backrest container, whose processes are given."""

    def __init__(self, processes: list[list[str]], *, is_running: bool = True) -> None:
        super().__init__("unix:///nowhere.sock")
        self.processes = processes
        self.is_running = is_running
        self.is_away = False

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Answer an inspection or a `top`."""
        del method
        if self.is_away:
            raise InventoryError("the engine is away")
        if path.endswith("/top"):
            return json.dumps({"Titles": TITLES, "Processes": self.processes}).encode()
        started = datetime.fromtimestamp(UNIX - 1000, UTC).isoformat()
        state = {"Running": self.is_running, "StartedAt": started}
        return json.dumps({"Id": "e" * 64, "Name": "/backrest", "State": state}).encode()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document without plans."""
    path = tmp_path / "config.json"
    repo = {"id": "r", "uri": "/r", "guid": "a" * 64}
    path.write_text(json.dumps({"modno": 1, "version": 6, "instance": "i", "repos": [repo]}))
    return path


@pytest.fixture
def fake(config: Path) -> Iterator[FakeBackrest]:
    """A Backrest that has read it."""
    with FakeBackrest(config, now=lambda: UNIX) as started:
        yield started


def wanted() -> DesiredState:
    """One container that asks for a plan."""
    mount = Mount("bind", "/srv/web", "/data")
    container = Container("web", "web", labels={"backrest.enable": "true"}, mounts=(mount,))
    return DesiredState(Inventory((container,)), Policy(), NOW)


def finder(config: Path, engine: Engine | None, **fields: Any) -> WaitFinder:
    """A finder without an API, over a state with these fields."""
    settings = ReconcilerSettings(config)
    return WaitFinder(settings, State(**fields), engine, None, UNIX)


def test_plans_that_backrest_has_not_loaded_wait(config: Path, fake: FakeBackrest) -> None:
    """They are named, with what keeps Backrest busy."""
    with BackrestApi(fake.url) as api:
        waits = WaitFinder(ReconcilerSettings(config), State(), Engine(RESTS), api, UNIX)
        served = parse_document(api.get_config())
        assert [Wait(WaitKind.CHANGE, (WEB,))] == list(waits.changes(wanted(), served))
        fake.begin("other")
        (wait,) = waits.changes(wanted(), served)
        assert "other" in wait.because
        assert "other" in wait.words
        loaded = Planner().propose(served.content, wanted(), served=True).after
        assert [] == list(waits.changes(wanted(), loaded))


@pytest.mark.parametrize(
    ("processes", "because"), [(RESTS, ""), (WORKS, "restic")], ids=["rests", "works"]
)
def test_without_an_api_a_write_after_the_start_waits(
    config: Path, processes: list[list[str]], because: str
) -> None:
    """The official image's own processes keep nobody waiting."""
    engine = Engine(processes)
    (wait,) = finder(config, engine, written_at=UNIX - 500).find(wanted(), None)
    assert (WaitKind.CHANGE, because) == (wait.kind, wait.because)
    assert not wait.needs_attention
    assert () == finder(config, engine, written_at=UNIX - 1500).find(None, None)
    assert () == finder(config, engine).find(None, None)
    assert () == finder(config, None, written_at=UNIX - 500).find(None, None)
    stopped = Engine(processes, is_running=False)
    assert () == finder(config, stopped, written_at=UNIX - 500).find(None, None)


def test_what_a_dead_run_left_stopped_is_named(config: Path) -> None:
    """A young marker is not; that of a run that goes on names the process."""
    marker = config.parent / ".quiesced" / "web"
    marker.parent.mkdir()
    marker.write_text("plan=p\ncontainer=abc\n")
    os.utime(marker, (UNIX - 10, UNIX - 10))
    seen = RunnerSeen("backrest", ())
    assert () == finder(config, Engine(RESTS), runner=seen).find(None, None)
    os.utime(marker, (UNIX - 400, UNIX - 400))
    (dead,) = finder(config, Engine(RESTS), runner=seen).find(None, None)
    assert (WaitKind.STOPPED, ("web (plan p)",), "") == (dead.kind, dead.names, dead.because)
    assert dead.needs_attention
    (runs,) = finder(config, Engine(WORKS), runner=seen).find(None, None)
    assert ("restic", False) == (runs.because, runs.needs_attention)
    (alone,) = finder(config, None).find(None, None)
    assert "" == alone.because


def test_an_edit_that_backrest_has_not_read_is_told(config: Path, fake: FakeBackrest) -> None:
    """A save in its interface would undo it."""
    with BackrestApi(fake.url) as api:
        served = parse_document(api.get_config())
    assert [] == list(finder(config, None).edits(served))
    edited = json.loads(config.read_text())
    edited["repos"][0]["uri"] = "/other"
    config.write_text(json.dumps(edited))
    (wait,) = finder(config, None).edits(served)
    assert (WaitKind.EDIT, True) == (wait.kind, wait.needs_attention)
    assert "restart Backrest" in wait.words


def test_what_cannot_be_asked_is_left_out(config: Path, fake: FakeBackrest) -> None:
    """Neither Docker nor Backrest has to answer."""
    engine = Engine(WORKS)
    engine.is_away = True
    assert () == finder(config, engine, written_at=UNIX).find(wanted(), None)
    (config.parent / ".quiesced").write_text("")
    assert () == finder(config, Engine(RESTS)).find(None, None)
    broken = parse_document(b'{"modno": 1, "version": 99}')
    assert [] == list(finder(config, None).changes(wanted(), broken))
    settings = ReconcilerSettings(config, source=InventorySource(inventory=config))
    with_url = replace(settings, access=replace(settings.access, url=fake.url))
    (wait,) = find_waits(with_url, wanted(), State())
    assert (WEB,) == wait.names
    nobody = replace(settings, access=replace(settings.access, url="http://127.0.0.1:1"))
    assert () == find_waits(nobody, wanted(), State())


def test_many_names_are_cut() -> None:
    """The rest is counted."""
    names = tuple(f"p{number}" for number in range(11))
    assert "p7 and 3 more" in Wait(WaitKind.CHANGE, names).words
