"""The first run of a plan with a pause, against a Backrest that starts anew each day."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi
from sidecar.backrest.operations import Operation, Status
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.clocks import Clocks
from sidecar.planner.propose import DesiredState, Planner
from sidecar.reconciler.apply.context import GoodPass, LastPass
from sidecar.reconciler.apply.first_run import FirstRuns, begun_plans, pauses_of
from sidecar.reconciler.state import FirstRun, Memory, State
from sidecar.schedule.parse import period_of
from tests.fakes.fake_backrest import FakeBackrest, Fault

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()
DAY = 86400.0
WEB, DB = "backrest_sidecar_web", "backrest_sidecar_db"
PAUSE = {"maxFrequencyDays": 2, "clock": "CLOCK_LAST_RUN_TIME"}
DOCUMENT: dict[str, Any] = {
    "modno": 3,
    "version": 6,
    "instance": "here",
    "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64, "password": "repo-secret"}],
    "plans": [{"id": "mine", "repo": "r", "paths": ["/m"], "schedule": PAUSE}],
}


@dataclass
class Clock:
    """Time that passes only when told."""

    now: float = NOON

    def __call__(self) -> float:
        """Return it, as monotonic and as unix seconds alike."""
        return self.now


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Bench:
    """A Backrest, a memory on a disk, and the containers that are there."""

    folder: Path
    clock: Clock
    fake: FakeBackrest
    api: BackrestApi
    first_runs: FirstRuns
    desired: DesiredState
    last_pass: LastPass = field(default_factory=LastPass)

    def __post_init__(self) -> None:
        """Begin after a pass."""
        self.last_pass.set(GoodPass(self.desired, self.clock.now))

    @property
    def memory(self) -> Memory:
        """What is on the disk."""
        return Memory(self.folder)

    @property
    def asked(self) -> int:
        """How often Backrest was asked for a run."""
        return self.fake.asked.count("Backup")

    def want(self, **schedules: str) -> None:
        """Ask for plans of these containers, with these schedules."""
        self.desired = _desired(schedules, self.clock.now)
        self.last_pass.set(GoodPass(self.desired, self.clock.now))

    def load(self) -> None:
        """Have Backrest load what is asked for, as the applier does."""
        after = Planner().propose(self.api.get_config(), self.desired, served=True).after
        self.api.set_config(after.content)

    def restart_sidecar(self, api: BackrestApi | None = None) -> None:
        """Begin a new process with what the disk holds."""
        self.first_runs = FirstRuns(
            Memory(self.folder),
            api or self.api,
            "backrest_sidecar_",
            self.last_pass,
            Clocks(self.clock, self.clock),
        )

    def live(self, days: float, *, restarts: bool = True) -> None:
        """Let days pass; Backrest is started anew at the end of each, and the sidecar too."""
        for _ in range(int(days * 24)):
            self.first_runs.step()
            self.clock.now += 3600
            self.fake.begin_due()
            if restarts and (self.clock.now - NOON) % DAY == 0:
                self.fake.restart()
                self.restart_sidecar()


def _desired(schedules: dict[str, str], now: float) -> DesiredState:
    containers = tuple(
        Container(
            name,
            name,
            labels={"backrest.enable": "true", "backrest.schedule": schedule},
            mounts=(Mount("bind", f"/srv/{name}", "/data"),),
        )
        for name, schedule in schedules.items()
    )
    return DesiredState(Inventory(containers), Policy(), datetime.fromtimestamp(now, UTC))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A Backrest that has just loaded a plan of `every 2d`, beside a person's own one."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(DOCUMENT))
    clock = Clock()
    with FakeBackrest(config, now=clock) as fake:
        fake.backups_end = (Status.SUCCESS, "")
        api = BackrestApi(fake.url, timeout=5.0)
        folder = tmp_path / ".sidecar"
        desired = _desired({"web": "every 2d"}, NOON)
        made = Bench(
            folder, clock, fake, api, FirstRuns(Memory(None), None, "", LastPass()), desired
        )
        made.load()
        made.restart_sidecar()
        yield made
        api.close()


def _runs(bench: Bench, plan_id: str = WEB) -> list[Operation]:
    return [
        found
        for found in bench.api.operations()
        if found.is_backup and found.plan_id == plan_id and found.status is not Status.PENDING
    ]


def test_a_backrest_that_starts_each_day_runs_it_after_two(bench: Bench) -> None:
    """Not before its pause is over, and once; a person's own plan is left alone."""
    bench.live(2)
    assert _runs(bench) == []
    bench.live(4)
    assert [Status.SUCCESS] == [run.status for run in _runs(bench)][:1]
    assert 1 == bench.asked
    assert _runs(bench, "mine") == []
    assert bench.fake.hurt == []


def test_without_that_backrest_would_never_run_it(bench: Bench) -> None:
    """The reason for all this, and what is left where there is no API."""
    bench.first_runs = FirstRuns(Memory(bench.folder), None, "backrest_sidecar_", bench.last_pass)
    for _ in range(10):
        assert bench.first_runs.step().wait > 0
        bench.clock.now += DAY
        bench.fake.begin_due()
        bench.fake.restart()
    assert _runs(bench) == []
    assert not bench.folder.exists()


def test_a_run_that_is_there_is_enough(bench: Bench) -> None:
    """Whoever started it, and however it ended."""
    bench.fake.begin(WEB)
    bench.fake.finish(WEB, Status.ERROR, "no space")
    bench.live(1, restarts=False)
    bench.clock.now += 2 * DAY
    # Backrest's own run is due by now: its queue is made anew first.
    bench.fake.restart()
    bench.live(1, restarts=False)
    assert 0 == bench.asked
    assert bench.memory.state.first_runs[WEB].is_over


def test_one_that_fails_is_not_tried_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Once, whatever comes of it; the log tells what to do."""
    bench.fake.backups_end = (Status.ERROR, "no space")
    with caplog.at_level("INFO"):
        bench.live(4)
    assert 1 == bench.asked
    events = [record.getMessage() for record in caplog.records]
    assert ["plan.first-run", "plan.first-run-failed"] == [
        name for name in events if name.startswith("plan.first")
    ]
    assert [Status.ERROR] == [run.status for run in _runs(bench)][:1]


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.DROP, Fault.DROP_ANSWER])
def test_it_is_asked_for_once_whatever_becomes_of_the_call(bench: Bench, fault: Fault) -> None:
    """A call that was lost is told; it is not made again."""
    bench.fake.order(fault, "Backup")
    bench.live(6)
    assert 1 == bench.asked
    assert bench.memory.state.first_runs[WEB].is_over


def test_nothing_is_asked_while_anything_runs_or_is_due(bench: Bench) -> None:
    """What waits in the queue of Backrest is lost at its next start or save."""
    bench.first_runs.step()
    bench.fake.begin("mine")
    bench.clock.now += 2 * DAY - 3600
    bench.fake.restart()
    bench.fake.begin("mine")
    bench.live(0.5, restarts=False)
    assert 0 == bench.asked
    bench.fake.finish("mine")
    bench.live(0.1, restarts=False)
    assert 1 == bench.asked


def test_a_plan_whose_change_waits_is_not_run_as_it_was(bench: Bench) -> None:
    """The old retention would delete what the new one keeps."""
    bench.first_runs.step()
    bench.clock.now += 2 * DAY + 1
    bench.fake.restart()
    bench.want(web="every 3d")
    bench.live(0.5, restarts=False)
    assert 0 == bench.asked
    bench.want(web="every 2d")
    bench.live(0.1, restarts=False)
    assert 1 == bench.asked


def test_an_orphan_is_not_run(bench: Bench) -> None:
    """Nobody asks for it any more."""
    bench.want()
    bench.live(4)
    assert 0 == bench.asked


def test_one_after_the_other(bench: Bench) -> None:
    """The plan that was seen first is the first."""
    bench.first_runs.step()
    bench.clock.now += 3600
    bench.want(web="every 2d", db="every 3d")
    bench.load()
    bench.fake.backups_end = None
    bench.first_runs.step()
    bench.clock.now += 4 * DAY
    bench.fake.restart()
    bench.live(0.2, restarts=False)
    assert [WEB] == bench.fake.in_progress()
    bench.fake.finish(WEB)
    bench.fake.backups_end = (Status.SUCCESS, "")
    bench.live(0.2, restarts=False)
    assert 2 == bench.asked
    assert 1 == len(_runs(bench, DB))


def test_what_is_gone_is_forgotten(bench: Bench) -> None:
    """A plan that comes again is a new one."""
    bench.first_runs.step()
    assert {WEB: FirstRun(NOON)} == bench.memory.state.first_runs
    bench.clock.now += 3600
    bench.fake.save_from_ui(lambda tab: tab.update(plans=[]))
    bench.first_runs.step()
    assert {} == bench.memory.state.first_runs


def test_a_clock_that_was_set_back_puts_off_one_period_at_most(bench: Bench) -> None:
    """Nothing was seen in the future."""
    bench.memory.change(first_runs={WEB: FirstRun(NOON + 99 * DAY)})
    bench.first_runs.step()
    assert {WEB: FirstRun(NOON)} == bench.memory.state.first_runs


def test_nothing_is_asked_that_cannot_be_remembered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the next start it would be asked for again."""
    bench.first_runs.step()
    bench.clock.now += 3 * DAY
    bench.fake.restart()
    monkeypatch.setattr("sidecar.reconciler.state.write_small", _full)
    bench.first_runs.step()
    assert 0 == bench.asked
    monkeypatch.undo()
    bench.clock.now += 120
    bench.first_runs.step()
    assert 1 == bench.asked


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


STEPS: dict[str, Callable[[BackrestApi, pytest.MonkeyPatch], None]] = {
    "before it is remembered": lambda _, patch: patch.setattr(Memory, "_save", _die),
    "before the call": lambda api, patch: patch.setattr(api, "backup", _die),
    "after the call": lambda api, patch: patch.setattr(api, "backup", _after(api)),
}


def _die(*_: object, **__: object) -> None:
    raise Killed


def _after(api: BackrestApi) -> Callable[..., None]:
    original = api.backup

    def backup(plan_id: str, timeout: float | None) -> None:
        original(plan_id, timeout)
        raise Killed

    return backup


@pytest.mark.parametrize("step", STEPS)
def test_whenever_we_are_killed_it_runs_once_at_most(
    bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before it was remembered, it is asked for by the next process; later, never again."""
    bench.first_runs.step()
    bench.clock.now += 3 * DAY
    bench.fake.restart()
    with monkeypatch.context() as patch:
        STEPS[step](bench.api, patch)
        with pytest.raises(Killed):
            bench.first_runs.step()
    bench.restart_sidecar()
    bench.live(1, restarts=False)
    assert ({"before the call": 0}.get(step, 1)) == len(_runs(bench)[:2])
    assert bench.asked <= 1
    assert bench.memory.state.first_runs[WEB].is_over


def test_before_the_first_pass_nothing_is_known(bench: Bench) -> None:
    """Nothing is asked then."""
    waiting = FirstRuns(Memory(None), bench.api, "backrest_sidecar_", LastPass())
    assert waiting.step().wait > 0
    assert "Backup" not in bench.fake.asked


def test_steps_in_quick_succession_ask_once(bench: Bench) -> None:
    """Each pass wakes the thread: that is no reason to ask Backrest."""
    before = len(bench.fake.asked)
    waits = [bench.first_runs.step().wait for _ in range(5)]
    assert waits == [60.0] * 5
    assert before + 1 == len(bench.fake.asked)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"maxFrequencyHours": 5, "clock": "CLOCK_LAST_RUN_TIME"}, 5 * 3600.0),
        (PAUSE, 2 * DAY),
        ({"maxFrequencyDays": 2}, 0.0),
        ({"cron": "0 2 * * *", "clock": "CLOCK_LAST_RUN_TIME"}, 0.0),
        ({"maxFrequencyDays": "x", "clock": "CLOCK_LAST_RUN_TIME"}, 0.0),
        ({"disabled": True}, 0.0),
        (None, 0.0),
    ],
)
def test_only_a_pause_from_the_last_run_is_put_off(schedule: object, expected: float) -> None:
    """A cron does not move."""
    assert expected == period_of(schedule)


def test_only_plans_of_ours_count() -> None:
    """What a person has made in Backrest is theirs."""
    plans: dict[str, Any] = {
        WEB: {"schedule": PAUSE},
        "mine": {"schedule": PAUSE},
        DB: {"schedule": {}},
    }
    assert {WEB: 2 * DAY} == pauses_of(plans, "backrest_sidecar_")


@pytest.mark.parametrize(
    ("status", "end", "expected"),
    [
        (Status.PENDING, 0.0, False),
        (Status.PENDING, 5.0, True),
        (Status.IN_PROGRESS, 0.0, True),
        (Status.UNKNOWN, 0.0, True),
        (Status.SUCCESS, 5.0, True),
        (Status.WARNING, 5.0, True),
        (Status.ERROR, 5.0, True),
        (Status.SYSTEM_CANCELLED, 5.0, False),
        (Status.USER_CANCELLED, 5.0, False),
    ],
)
def test_what_was_only_queued_is_no_run(status: Status, end: float, *, expected: bool) -> None:
    """Backrest cancels what waits in its queue when it is started anew."""
    operation = Operation(1, 1, WEB, "r", status, "backup", 1.0, end)
    assert expected == (WEB in begun_plans([operation]))
    assert frozenset() == begun_plans([replace(operation, kind="prune")])
    assert frozenset() == begun_plans([replace(operation, is_foreign=True)])


def test_the_state_of_before_has_no_first_runs(tmp_path: Path) -> None:
    """It is read as one that remembers none."""
    (tmp_path / "state.json").write_text('{"engine_id": "E"}')
    assert State(engine_id="E") == Memory(tmp_path).state
