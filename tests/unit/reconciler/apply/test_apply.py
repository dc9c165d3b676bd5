"""Making the runner notice, against a Backrest that saves, dies and misbehaves on order."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi
from sidecar.backrest.compare import differs
from sidecar.backrest.document import Document, parse_document
from sidecar.docker.client import DockerClient
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError
from sidecar.planner.propose import DesiredState
from sidecar.reconciler.apply.apply import Applier, pause_after
from sidecar.reconciler.apply.by_restart import guess_written_at, restart_wait
from sidecar.reconciler.apply.context import (
    LOADED,
    ApplyConnections,
    GoodPass,
    LastPass,
    StablePeriod,
)
from sidecar.reconciler.apply.idle import IDLE, IdleCheck, IdleState, StableTwice, is_due
from sidecar.reconciler.recorder import PassRecorder, history_of
from sidecar.reconciler.settings import (
    Applying,
    ApplyVia,
    BackrestLogin,
    Lifetime,
    ReconcilerSettings,
)
from sidecar.reconciler.state import ApplyTrouble, Memory
from tests.fakes.fake_backrest import FakeBackrest, Fault

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()
AUTH = {"users": [{"name": "admin", "passwordBcrypt": "JDJhJDEw"}]}
DOCUMENT: dict[str, Any] = {
    "modno": 3,
    "version": 6,
    "instance": "here",
    "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64, "password": "repo-secret"}],
    "plans": [{"id": "mine", "repo": "r", "paths": ["/m"], "schedule": {"cron": "0 3 * * *"}}],
    "auth": AUTH,
}
WEB = "backrest_sidecar_web"


@dataclass
class Clock:
    """Time that passes only when told."""

    now: float = NOON

    def __call__(self) -> float:
        """Return it, as monotonic and as unix seconds alike."""
        return self.now


@dataclass
class Bench:
    """An applier, its Backrest, and what it told."""

    config: Path
    clock: Clock
    fake: FakeBackrest
    memory: Memory
    applier: Applier
    connections: ApplyConnections
    last_pass: LastPass
    told: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    restarted: list[float] = field(default_factory=list)
    drift: list[Mapping[str, object]] = field(default_factory=list)

    @property
    def results(self) -> list[str]:
        """What was told, in order."""
        return [result for result, _ in self.told]

    @property
    def plans(self) -> list[str]:
        """The ids of the plans that Backrest holds."""
        return [plan["id"] for plan in self.fake.cached.get("plans", [])]

    def want(self, *names: str, **labels: str) -> None:
        """Wish for plans of these containers from now on."""
        self.want_beside(None, frozenset(), *names, **labels)

    def want_beside(
        self, runner: Document | None, settled: frozenset[str], *names: str, **labels: str
    ) -> None:
        """Wish for them beside a runner's document; `settled` may end their move."""
        containers = tuple(_container(name, labels) for name in names)
        moment = datetime.fromtimestamp(self.clock.now, UTC)
        history = None
        if runner is not None:
            history = history_of(self.memory.state, Lifetime(grace=1e9), {})
        desired = DesiredState(
            Inventory(containers), Policy(), moment, history=history, runner=runner, settled=settled
        )
        self.last_pass.set(GoodPass(desired, self.clock.now))

    def step(self) -> float:
        """Make one step, and keep what came of it; return the seconds to wait."""
        wait, events = self.applier.step()
        for event in events:
            if event.result == "restarted":
                self.restarted.append(self.clock.now)
            elif event.result == "drift":
                self.drift.append(event.facts)
            else:
                self.told.append((event.result, event.facts))
        return wait

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, step by step as the applier asks for it."""
        end = self.clock.now + seconds
        for _ in range(2000):
            wait = max(0.05, self.step())
            if until() or self.clock.now + wait > end:
                break
            self.clock.now += wait
        else:
            pytest.fail("it never waits")
        if not until():
            self.clock.now = max(self.clock.now, end)

    def run_until(self, result: str) -> None:
        """Let time pass until this is told."""
        self.run(3600, lambda: result in self.results)
        assert result in self.results


def _container(name: str, labels: Mapping[str, str]) -> Container:
    own = {"backrest.enable": "true", **{f"backrest.{k}": v for k, v in labels.items()}}
    return Container(name, name, labels=own, mounts=(Mount("bind", f"/srv/{name}", "/data"),))


class BackrestContainer(DockerClient):
    """The engine of a machine on which the fake Backrest is the runner's container."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("unix:///nowhere.sock")
        self.clock = clock
        self.started = clock.now - 1000
        self.fake: FakeBackrest | None = None
        self.processes = ["/backrest"]
        self.restarts = 0
        self.is_away = False

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Answer an inspection or a `top`."""
        del method
        if self.is_away:
            raise InventoryError("the engine is away")
        if path.endswith("/top"):
            listed = [[line] for line in self.processes]
            return json.dumps({"Titles": ["CMD"], "Processes": listed}).encode()
        moment = datetime.fromtimestamp(self.started, UTC).isoformat()
        state = {"Running": True, "StartedAt": moment}
        environment = {"Env": ["TZ=UTC"]}
        answer = {"Id": "e" * 64, "Name": "/backrest", "State": state, "Config": environment}
        return json.dumps(answer).encode()

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Restart it."""
        del body, method, timeout
        assert path.endswith("/restart?t=15")
        self.restarts += 1
        self.started = self.clock.now
        if self.fake is not None:
            self.fake.restart()
        return b""


Build = Callable[..., Bench]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Make benches with settings of their own."""
    made: list[Bench] = []

    def make(document: Mapping[str, Any] = DOCUMENT, **applying: Any) -> Bench:
        config = tmp_path / f"{len(made)}" / "config.json"
        config.parent.mkdir()
        config.write_text(json.dumps(document))
        clock = Clock()
        fake = FakeBackrest(config, now=clock)
        fake.start()
        if applying.get("via") is ApplyVia.AUTO:
            applying["engine"] = BackrestContainer(clock)
            applying["engine"].fake = fake
        bench = _bench(config, clock, fake, Memory(None), applying)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.connections.close()
        bench.fake.kill()


def _bench(
    config: Path, clock: Clock, fake: FakeBackrest, memory: Memory, applying: dict[str, Any]
) -> Bench:
    access = BackrestLogin(fake.url, "admin", "swordfish")
    engine = applying.pop("engine", None) or DockerClient(f"unix://{config.parent}/nobody.sock")
    wanted = Applying(**{"enabled": True, "via": ApplyVia.API, **applying})
    settings = ReconcilerSettings(config, access=access, applying=wanted)
    login = (access.url, access.user, access.password)
    connections = ApplyConnections(
        engine, BackrestApi(*login, timeout=2.0), BackrestApi(*login, timeout=2.0)
    )
    last_pass = LastPass()
    applier = Applier(
        settings,
        PassRecorder(memory),
        connections,
        last_pass,
        clocks=Clocks(clock, clock),
    )
    return Bench(config, clock, fake, memory, applier, connections, last_pass)


def test_a_wish_reaches_backrest_once_it_is_settled(build: Build) -> None:
    """One SetConfig, not before the quiet period is over, with everything foreign kept."""
    bench = build()
    before = bench.fake.cached
    bench.want("web")
    bench.run(9.9)
    assert WEB not in bench.plans
    bench.run(30)
    assert ["applied"] == bench.results
    assert bench.plans == [WEB, "mine"]
    assert 1 == bench.fake.asked.count("SetConfig")
    after = bench.fake.cached
    assert before["modno"] + 1 == after["modno"]
    for key in ("repos", "auth", "sync", "instance"):
        assert before[key] == after[key]
    assert bench.fake.hurt == []


def test_a_storm_gives_one_apply(build: Build) -> None:
    """Wishes that follow each other within the quiet period are applied together."""
    bench = build()
    for count in range(1, 8):
        bench.want(*(f"c{index}" for index in range(count)))
        bench.run(8)
    bench.run(60)
    assert 1 == bench.fake.asked.count("SetConfig")
    assert 8 == len(bench.plans)


def test_a_storm_without_end_is_applied_all_the_same(build: Build) -> None:
    """What never settles is let through after a while."""
    bench = build()
    for count in range(40):
        bench.want("web", "db", keep=f"last={count % 2 + 1}")
        bench.run(5)
    assert 1 <= bench.fake.asked.count("SetConfig") <= 2


def test_nothing_to_change_is_nothing_to_send(build: Build) -> None:
    """The same wish again, pass after pass, is a question and no save."""
    bench = build()
    bench.want("web")
    bench.run(60)
    for _ in range(5):
        bench.want("web")
        bench.run(60)
    assert 1 == bench.fake.asked.count("SetConfig")
    assert ["applied"] == bench.results
    assert LOADED == bench.memory.state.written_at


def _of_runner(*plans: Mapping[str, Any]) -> Document:
    nas = {"id": "nas", "uri": "rsync:/nas", "autoInitialize": True}
    document = {"version": 6, "instance": "here", "repos": [nas], "plans": plans}
    return parse_document(json.dumps(document).encode())


def test_backrest_is_not_told_of_what_stands_in_the_runners_document(build: Build) -> None:
    """A change of that document alone is a question, and neither a save nor an event."""
    bench = build()
    bench.want("web")
    bench.run(60)
    bench.want_beside(_of_runner(), frozenset(), "web")
    bench.run(60)
    moved = {"id": f"{WEB[:-3]}db", "repo": "nas", "paths": ["/srv/db"]}
    bench.want_beside(_of_runner(moved), frozenset(), "web")
    bench.run(60)

    assert 1 == bench.fake.asked.count("SetConfig")
    assert ["applied"] == bench.results


def test_a_plan_moves_out_of_backrests_document_by_one_save(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays until it stands there; a second save, for which Backrest is busy, is not needed."""
    caplog.set_level(logging.INFO)
    bench = build()
    bench.want("web")
    bench.run(60)
    plan = next(plan for plan in bench.fake.cached["plans"] if plan["id"] == WEB)
    bench.want_beside(_of_runner(), frozenset(), "web", repo="nas")
    bench.run(60)
    assert 1 == bench.fake.asked.count("SetConfig")

    there = _of_runner({**plan, "repo": "nas"})
    bench.want_beside(there, frozenset(), "web", repo="nas")
    bench.run(60)
    assert ["mine"] == bench.plans
    assert {} == bench.memory.state.disabled
    assert 2 == bench.fake.asked.count("SetConfig")
    assert ["applied"] * 2 == bench.results
    assert 1 == [record.message for record in caplog.records].count("plan.moved")


def test_a_running_operation_is_never_hurt(build: Build) -> None:
    """While anything is in progress nothing is sent; after `wait` that is told once."""
    bench = build(wait=1800.0)
    bench.fake.begin("mine")
    bench.want("web")
    bench.run(1700)
    assert bench.results == []
    bench.run(7200)
    assert ["waiting"] == bench.results
    assert "mine" in str(bench.told[0][1]["because"])
    bench.fake.finish("mine")
    bench.run_until("applied")
    assert bench.fake.hurt == []
    assert WEB in bench.plans


def test_what_is_due_soon_is_waited_for(build: Build) -> None:
    """A save would reset the queue right before a backup begins."""
    bench = build(
        {**DOCUMENT, "plans": [{**DOCUMENT["plans"][0], "schedule": {"cron": "1 12 * * *"}}]}
    )
    bench.want("web")
    bench.run(50)
    assert bench.results == []
    bench.clock.now = NOON + 61
    bench.fake.begin_due()
    bench.fake.finish("mine")
    bench.run_until("applied")


def test_a_save_from_the_interface_in_between_is_kept(build: Build) -> None:
    """A stale modno is read again and merged again, at once."""
    bench = build()
    original = bench.connections.api.set_config if bench.connections.api else None
    assert original is not None
    saves = iter([True, True, False])

    def set_config(content: bytes) -> bytes:
        if next(saves, False):
            bench.fake.save_from_ui(
                lambda tab: tab.update(instance=f"i{bench.fake.asked.count('SetConfig')}")
            )
        return original(content)

    bench.connections.api.set_config = set_config  # type: ignore[method-assign, union-attr]
    bench.want("web")
    bench.run_until("applied")
    assert 3 == bench.fake.asked.count("SetConfig")
    assert WEB in bench.plans
    assert "i1" == bench.fake.cached["instance"]


def test_a_save_each_time_is_a_failure_with_patience(build: Build) -> None:
    """After some attempts it is told, and tried again later."""
    bench = build()
    api = bench.connections.api
    assert api is not None
    original = api.set_config

    def set_config(content: bytes) -> bytes:
        bench.fake.save_from_ui(lambda tab: tab.update(instance="other"))
        return original(content)

    api.set_config = set_config  # type: ignore[method-assign]
    bench.want("web")
    bench.run_until("failed")
    assert 5 == bench.fake.asked.count("SetConfig")
    assert 1 == bench.memory.state.trouble.failures
    api.set_config = original  # type: ignore[method-assign]
    bench.run_until("applied")
    bench.run(10)
    assert ApplyTrouble() == bench.memory.state.trouble


def test_an_owned_key_edited_in_the_interface_is_put_back(build: Build) -> None:
    """A drift goes out with the next look, without another quiet period."""
    bench = build()
    bench.want("web")
    bench.run(60)
    bench.fake.save_from_ui(lambda tab: tab["plans"][0].update(paths=["/elsewhere"]))
    bench.run(60)
    [plan] = [plan for plan in bench.fake.cached["plans"] if plan["id"] == WEB]
    assert ["/srv/web"] == plan["paths"] or ["/elsewhere"] == plan["paths"]
    bench.want("web")
    bench.run(60)
    [plan] = [plan for plan in bench.fake.cached["plans"] if plan["id"] == WEB]
    assert ["/srv/web"] == plan["paths"]
    assert [{"plan": WEB, "key": "paths"}] == bench.drift


@pytest.mark.parametrize("key", ["auth", "sync"])
def test_a_document_that_lost_its_auth_or_sync_is_not_sent(build: Build, key: str) -> None:
    """What Backrest stopped to serve would be dropped for good; that is told instead."""
    bench = build()
    bench.want("web")
    bench.run_until("applied")
    # Backrest itself loses it, and saves that.
    bench.fake._cached.pop(key)
    bench.fake._write()
    saves = bench.fake.asked.count("SetConfig")
    bench.want("web", "db")
    bench.run_until("failed")
    assert f"`{key}`" in str(bench.told[-1][1]["reason"])
    assert saves == bench.fake.asked.count("SetConfig")


def test_an_edit_by_hand_that_backrest_has_not_read_is_not_undone(build: Build) -> None:
    """The cached configuration is older than the file: a save would drop the edit."""
    bench = build()
    edited = json.loads(bench.config.read_text())
    edited["repos"].append({"id": "by-hand", "uri": "/h", "guid": "b" * 64})
    bench.config.write_text(json.dumps(edited))
    bench.want("web")
    bench.run_until("foreign-edit")
    bench.run(600)
    assert ["foreign-edit"] == bench.results
    assert 0 == bench.fake.asked.count("SetConfig")
    bench.fake.restart()
    bench.run_until("applied")
    assert ["by-hand", "r"] == [repo["id"] for repo in bench.fake.cached["repos"]]
    assert WEB in bench.plans


def test_our_own_plans_in_the_file_are_no_edit_by_hand(build: Build) -> None:
    """What we wrote while Backrest did not answer does not count, nor does its modno."""
    bench = build()
    mine = {"id": WEB, "repo": "r", "paths": ["/old"]}
    document = json.loads(bench.config.read_text())
    document["plans"].append(mine)
    bench.config.write_text(json.dumps({**document, "modno": 77}))
    bench.want("web")
    bench.run_until("applied")
    assert "foreign-edit" not in bench.results


def test_a_broken_file_is_not_overwritten(build: Build) -> None:
    """Somebody is editing: what they have so far is theirs."""
    bench = build()
    bench.config.write_text(bench.config.read_text()[:-5])
    bench.want("web")
    bench.run_until("failed")
    assert 0 == bench.fake.asked.count("SetConfig")


def test_a_file_that_was_never_written_holds_no_edit(build: Build) -> None:
    """Backrest runs on its own default until its first save."""
    bench = build()
    bench.config.unlink()
    bench.want("web")
    bench.run_until("applied")
    assert bench.config.exists()


def test_a_save_that_is_not_put_into_effect_is_sent_once_more(build: Build) -> None:
    """Backrest may keep its old queue after a save; the plans' next runs tell."""
    bench = build()
    bench.fake.order(Fault.UNAPPLIED, "SetConfig")
    bench.want("web")
    bench.run(120)
    assert 2 == bench.fake.asked.count("SetConfig")
    assert ["applied"] == bench.results
    assert bench.fake.begin(WEB) > 0


def test_a_save_that_never_takes_effect_is_told(build: Build) -> None:
    """Naming the plans; it is tried again, with pauses."""
    bench = build()
    bench.fake.order(Fault.UNAPPLIED, "SetConfig", times=4)
    bench.want("web")
    bench.run(600)
    assert ["applied", "failed"] == bench.results
    assert f"Backrest does not schedule {WEB}" == bench.told[-1][1]["reason"]
    assert 5 == bench.fake.asked.count("SetConfig")


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.DROP_ANSWER])
def test_dying_in_the_middle_of_a_save_heals(build: Build, fault: Fault) -> None:
    """Return whether the save had an effect is seen by asking again."""
    bench = build()
    bench.fake.order(fault, "SetConfig")
    bench.want("web")
    bench.run(15)
    bench.fake.kill()
    bench.run(60)
    assert not bench.applier.is_backrest_writer()
    bench.fake.start()
    bench.run(60)
    assert bench.applier.is_backrest_writer()
    assert WEB in bench.plans
    assert 0 == bench.memory.state.trouble.failures


def test_silence_at_one_call_only_is_told(build: Build) -> None:
    """It answers when we knock and fails when we ask: that may not go on unseen."""
    bench = build()
    bench.fake.order(Fault.DROP, "GetOperations", times=50)
    bench.want("web")
    bench.run_until("failed")
    assert 0 == bench.fake.asked.count("SetConfig")


def test_silence_is_counted_also_while_the_other_way_has_its_turn(build: Build) -> None:
    """With auto the restart way steps in between; that is no success of the API."""
    bench = build(via=ApplyVia.AUTO)
    bench.fake.order(Fault.DROP, "GetOperations", times=50)
    bench.want("web")
    for _ in range(40):
        bench.step()
        bench.clock.now += 1.0
    assert "failed" in bench.results


def test_an_engine_that_comes_and_goes_is_told_each_time(build: Build) -> None:
    """Two outages are two pieces of news, and each is one."""
    bench = build(via=ApplyVia.AUTO)
    bench.fake.kill()
    engine = engine_of(bench)
    for _ in range(2):
        engine.is_away = True
        bench.run(100)
        engine.is_away = False
        bench.run(100)
    assert ["unknown", "unknown"] == bench.results


def test_a_refused_login_makes_us_the_writer(build: Build) -> None:
    """An API that does not accept us is none: the file is written directly."""
    bench = build()
    assert bench.applier.is_backrest_writer()
    bench.fake.order(Fault.REFUSE_LOGIN, times=20)
    bench.clock.now += 5
    assert not bench.applier.is_backrest_writer()


def test_a_refused_login_is_told_at_once_with_what_to_set(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """And once that it is accepted again."""
    bench = build()
    bench.want("web")
    bench.fake.order(Fault.REFUSE_LOGIN, times=3)
    bench.run(1)
    assert ["refused-login"] == bench.results
    told = [r for r in caplog.records if r.message == "apply.refused-login"]
    assert "--backrest-user" in told[0].__dict__["fields"]["hint"]
    bench.run(60)
    assert ["refused-login", "accepted-login", "applied"] == bench.results


def test_what_is_waited_for_is_told_after_two_minutes(build: Build) -> None:
    """By default, with what runs."""
    bench = build()
    bench.fake.begin("mine")
    bench.want("web")
    bench.run(125)
    assert bench.results == []
    bench.run(30)
    assert ["waiting"] == bench.results
    assert "mine" in str(bench.told[0][1]["because"])


def test_the_answer_to_a_knock_is_kept_for_a_moment(build: Build) -> None:
    """The main loop may ask at every pass."""
    bench = build()
    for _ in range(10):
        assert bench.applier.is_backrest_writer()
    assert 1 == bench.fake.asked.count("GetConfig")


@pytest.mark.parametrize("applying", [{"enabled": False}, {"via": ApplyVia.RESTART}])
def test_who_does_not_use_the_api_writes_the_file(build: Build, applying: dict[str, Any]) -> None:
    """Without applying through the API Backrest is not even asked."""
    bench = build(**applying)
    bench.want("web")
    bench.run(60)
    assert not bench.applier.is_backrest_writer()
    assert bench.fake.asked == []


def engine_of(bench: Bench) -> BackrestContainer:
    """Return the bench's engine."""
    assert isinstance(bench.connections.connection, BackrestContainer)
    return bench.connections.connection


def write(bench: Bench, document: Mapping[str, Any]) -> None:
    """Write the file as the main loop does."""
    bench.memory.change(written_at=bench.clock.now)
    bench.config.write_text(json.dumps(document))
    os.utime(bench.config, (bench.clock.now, bench.clock.now))


def test_auto_uses_the_api_while_it_answers(build: Build) -> None:
    """Nothing is restarted then, also when something of ours was written before."""
    bench = build(via=ApplyVia.AUTO)
    write(bench, json.loads(bench.config.read_text()))
    bench.want("web")
    bench.run(120)
    assert ["applied"] == bench.results
    assert {"way": "api", "added": 1, "updated": 0, "drift": 0} == bench.told[0][1]
    assert 0 == engine_of(bench).restarts
    # What Backrest has is not waited for by the other way, should the API fall silent.
    bench.fake.kill()
    bench.run(600)
    assert 0 == engine_of(bench).restarts


def test_auto_restarts_what_has_no_api(build: Build) -> None:
    """Idle is judged by the processes then; the document is read at the start."""
    bench = build(via=ApplyVia.AUTO)
    bench.fake.order(Fault.REFUSE_LOGIN, times=100_000)
    engine = engine_of(bench)
    engine.processes = ["/backrest", "/bin/restic backup"]
    bench.want("web")
    assert not bench.applier.is_backrest_writer()
    plans = [*DOCUMENT["plans"], {"id": WEB, "repo": "r", "paths": ["/w"]}]
    write(bench, {**json.loads(bench.config.read_text()), "plans": plans})
    bench.run(300)
    assert 0 == engine.restarts
    engine.processes = ["/backrest"]
    bench.run_until("applied")
    assert 1 == engine.restarts
    assert WEB in bench.plans
    assert bench.restarted
    bench.run(600)
    assert 1 == engine.restarts


def test_what_is_written_after_the_clock_was_set_back_is_applied_too(build: Build) -> None:
    """A Backrest that seems to have started in the future has not read what came later."""
    bench = build(via=ApplyVia.AUTO)
    bench.fake.order(Fault.REFUSE_LOGIN, times=100_000)
    engine = engine_of(bench)
    engine.started = bench.clock.now
    bench.clock.now -= 7200
    bench.want("web")
    plans = [*DOCUMENT["plans"], {"id": WEB, "repo": "r", "paths": ["/w"]}]
    write(bench, {**json.loads(bench.config.read_text()), "plans": plans})
    bench.run_until("applied")
    assert 1 == engine.restarts
    assert WEB in bench.plans
    bench.run(600)
    assert 1 == engine.restarts


def test_auto_lets_an_edit_by_hand_be_read_by_a_restart(build: Build) -> None:
    """Until then the file is ours to write, and the running operation is waited for."""
    bench = build(via=ApplyVia.AUTO)
    edited = json.loads(bench.config.read_text())
    edited["instance"] = "by hand"
    bench.config.write_text(json.dumps(edited))
    # An editor may give the file any time it likes.
    os.utime(bench.config, (NOON - 9999, NOON - 9999))
    bench.want("web")
    assert bench.applier.is_backrest_writer()
    bench.run_until("foreign-edit")
    assert not bench.applier.is_backrest_writer()
    bench.fake.begin("mine")
    bench.run(300)
    assert 0 == engine_of(bench).restarts
    bench.fake.finish("mine")
    bench.run(300)
    assert bench.fake.hurt == []
    assert 1 == engine_of(bench).restarts
    assert "by hand" == bench.fake.cached["instance"]
    assert bench.applier.is_backrest_writer()
    assert ["api", "restart"] == sorted(str(f.get("way")) for r, f in bench.told if r == "applied")
    assert WEB in bench.plans


FULL: dict[str, Any] = {
    **DOCUMENT,
    "sync": {"identity": {"keyId": "k", "ed25519priv": "secret", "ed25519pub": "public"}},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"modno": 99}, False),
        ({"unknown": 1}, False),
        ({"version": "6"}, False),
        ({"version": 6.0}, False),
        ({"plans": [*DOCUMENT["plans"], {"id": WEB, "paths": ["/x"]}]}, False),
        ({"plans": [{**DOCUMENT["plans"][0], "skip_if_unchanged": False, "hooks": []}]}, False),
        ({"repos": [{**DOCUMENT["repos"][0], "prune_policy": None}]}, False),
        ({"auth": {"users": [{"name": "admin", "password_bcrypt": "JDJhJDEw"}]}}, False),
        ({"sync": {}}, False),
        ({"sync": None}, False),
        ({"instance": "elsewhere"}, True),
        ({"version": 5}, True),
        ({"plans": []}, True),
        ({"plans": [{**DOCUMENT["plans"][0], "paths": ["/n"]}]}, True),
        ({"plans": [{**DOCUMENT["plans"][0], "hooks": [{"onError": 1}]}]}, True),
        ({"auth": None}, True),
        ({"auth": {"users": [*AUTH["users"], {"name": "eve", "passwordBcrypt": "x"}]}}, True),
        ({"sync": {"identity": {"keyId": "other"}}}, True),
        ({"repos": []}, True),
    ],
)
def test_a_file_and_what_is_served_are_compared_by_meaning(
    change: dict[str, Any], *, expected: bool
) -> None:
    """Spelling, order, masks, secrets that are not served, and what is ours make no difference."""
    users = [{"name": "admin", "passwordBcrypt": "********"}]
    served = {**FULL, "auth": {"users": users}, "sync": {"identity": {"keyId": "k"}}}
    file = parse_document(json.dumps({**FULL, **change}).encode())
    assert expected == differs(
        file, parse_document(json.dumps(served).encode()), "backrest_sidecar_"
    )


def test_what_another_instance_shares_is_its_own_to_change() -> None:
    """Backrest leaves out what belongs to a peer that it does not know."""
    shared = {"id": "s", "uri": "/s", "originInstanceId": "peer"}
    plan = {"id": "theirs", "repo": "s", "paths": ["/s"]}
    more = {"repos": [*DOCUMENT["repos"], shared], "plans": [*DOCUMENT["plans"], plan]}
    file = parse_document(json.dumps({**DOCUMENT, **more}).encode())
    assert not differs(file, parse_document(json.dumps(DOCUMENT).encode()), "x_")


def test_lists_that_backrest_sorts_are_compared_without_their_order() -> None:
    """Its rewrite of a document is no edit; the order of hooks has a meaning."""
    plan = {"id": "p", "paths": ["/b", "/a"], "hooks": [{"onError": 1}, {"onError": 2}]}
    repo = {"id": "r", "env": ["B=1", "A=2"]}
    one = {"plans": [plan, {"id": "a"}], "repos": [repo, {"id": "b"}]}
    other = {
        "plans": [{"id": "a"}, {**plan, "paths": ["/a", "/b"]}],
        "repos": [{"id": "b"}, {**repo, "env": ["A=2", "B=1"]}],
    }
    turned = {**one, "plans": [{**plan, "hooks": plan["hooks"][::-1]}, {"id": "a"}]}
    first, second, third = (parse_document(json.dumps(d).encode()) for d in (one, other, turned))
    assert not differs(first, second, "x_")
    assert differs(first, third, "x_")


def test_failures_are_remembered_across_a_restart_of_ours(build: Build, tmp_path: Path) -> None:
    """A new process keeps to the pause of the one before."""
    bench = build()
    memory = Memory(tmp_path / "state")
    memory.change(trouble=ApplyTrouble(3, NOON + 100, "x"))
    again = _bench(bench.config, bench.clock, bench.fake, memory, {})
    again.want("web")
    again.run(95)
    assert again.results == []
    again.run_until("applied")
    again.run(10)
    assert ApplyTrouble() == Memory(tmp_path / "state").state.trouble
    again.connections.close()


def test_a_clock_set_back_shortens_the_pause() -> None:
    """No pause is longer than the longest, whatever was remembered."""
    assert [30, 60, 120, 240, 480, 900, 900] == [pause_after(n) for n in range(1, 8)]
    assert 900 == pause_after(10_000)


def test_a_file_older_than_the_process_has_been_read() -> None:
    """Where the state was lost the file's own time decides, if plans of ours are in it."""
    assert LOADED == guess_written_at(10.0, 20.0, has_ours=True)
    assert LOADED == guess_written_at(30.0, 20.0, has_ours=False)
    assert 30.0 == guess_written_at(30.0, 20.0, has_ours=True)
    assert 20.0 == guess_written_at(20.0, 20.0, has_ours=True)


def test_four_restarts_an_hour_and_no_more() -> None:
    """The fifth waits until the first is an hour old; a clock set back does not free it."""
    assert 0 == restart_wait((1.0, 2.0, 3.0), 10.0)
    assert 3600 - 9 == restart_wait((1.0, 2.0, 3.0, 4.0), 10.0)
    assert 0 == restart_wait((1.0, 2.0, 3.0, 4.0), 3700.0)
    assert 0 < restart_wait((1001.0, 1002.0, 1003.0, 1004.0), 10.0) <= 3600


def test_idle_needs_two_looks_apart() -> None:
    """One look, two quick ones, and two with work in between are not enough."""
    twice = StableTwice()
    assert not twice.agrees(IDLE, 0)
    assert not twice.agrees(IDLE, 4)
    assert not twice.agrees(IdleCheck(IdleState.BUSY), 5)
    assert not twice.agrees(IDLE, 6)
    assert not twice.agrees(IdleCheck(IdleState.UNKNOWN), 10)
    assert not twice.agrees(IDLE, 20)
    assert twice.agrees(IDLE, 25)


def test_settling_counts_from_the_last_change() -> None:
    """A change known to be older needs less; a version that stays is settled."""
    settling = StablePeriod(10)
    assert 10 == settling.left(1.0, 100.0)
    assert 5 == settling.left(1.0, 105.0)
    assert 10 == settling.left(2.0, 106.0)
    assert 4 == settling.left(3.0, 107.0, changed=101.0)
    assert 0 == settling.left(3.0, 111.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"cron": "1 12 * * *"}, True),
        ({"cron": "3 12 * * *"}, False),
        ({"disabled": True}, False),
        ({"maxFrequencyHours": 1}, False),
        ({"cron": "what"}, False),
    ],
)
def test_plans_and_upkeep_are_due_two_minutes_ahead(
    schedule: dict[str, Any], *, expected: bool
) -> None:
    """A plan and a repository's prune, check or forget count alike."""
    moments = [datetime.fromtimestamp(NOON, UTC)]
    plan = {"version": 6, "plans": [{"id": "p", "schedule": schedule}]}
    assert expected == is_due(parse_document(json.dumps(plan).encode()), moments)
    for policy in ("prunePolicy", "checkPolicy", "forgetPolicy"):
        repo = {"version": 6, "repos": [{"id": "r", policy: {"schedule": schedule}}]}
        assert expected == is_due(parse_document(json.dumps(repo).encode()), moments)
