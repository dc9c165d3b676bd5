"""Running a plan by hand: which one is meant, and how the run ended."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.document import parse_document
from sidecar.backrest.operations import OperationEnd, Status
from sidecar.cli.exits import status_of_operation
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.planner.propose import DesiredState, Proposal, propose
from sidecar.reconciler.backup import (
    BackupRequest,
    BackupResult,
    BackupWatch,
    WaitTimer,
    resolve_plan,
    run_backup,
)
from sidecar.reconciler.settings import BackrestLogin, InventorySource, ReconcilerSettings
from tests.fakes.fake_backrest import HOOK_SCRIPT, FakeBackrest, Fault

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WEB = "backrest_sidecar_shop_web"
SECRET = "swordfish"
PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"


def container(project: str, service: str, **labels: str) -> Container:
    """A labelled container with one volume."""
    own = {"backrest.enable": "true", PROJECT: project, SERVICE: service}
    own |= {f"backrest.{key}": value for key, value in labels.items()}
    name = f"{project}-{service}-1"
    mount = Mount("volume", f"/v/{name}/_data", "/data", name, "local")
    return Container(name, name, labels=own, mounts=(mount,))


def document(*plans: str) -> dict[str, Any]:
    """A document with these plans, each scheduled."""
    return {
        "modno": 1,
        "version": 6,
        "instance": "i",
        "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64}],
        "plans": [
            {"id": plan, "repo": "r", "paths": ["/p"], "schedule": {"cron": "0 2 * * *"}}
            for plan in plans
        ],
    }


def proposal_of(*containers: Container) -> Proposal:
    """What these containers ask for."""
    content = json.dumps(document()).encode()
    return propose(parse_document(content), DesiredState(Inventory(containers), Policy(), NOW))


CROWD = proposal_of(
    container("shop", "web"),
    container("shop", "db"),
    container("blog", "web"),
    container("blog", "cache", group="stores"),
    container("blog", "queue", group="stores"),
)
IDS = {item.workload.key: item.plan_id for item in CROWD.rendered.workloads}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("shop/web", "shop/web"),
        ("blog/web", "blog/web"),
        ("db", "shop/db"),
        ("shop-db-1", "shop/db"),
        ("blog-web-1", "blog/web"),
        ("stores", "blog/stores"),
        ("queue", "blog/stores"),
    ],
)
def test_workload_is_found_by_key_service_or_container(name: str, key: str) -> None:
    """The service alone is enough where only one workload has it."""
    assert IDS[key] == resolve_plan(name, IDS.values(), CROWD)


def test_plan_id_comes_first() -> None:
    """Also one that is not ours, and one that is called like a service."""
    assert "db" == resolve_plan("db", ["db", *IDS.values()], CROWD)


def test_ambiguous_name_is_refused_with_the_choice() -> None:
    """Nothing runs by chance."""
    with pytest.raises(UsageError) as caught:
        resolve_plan("web", IDS.values(), CROWD)
    assert (
        f"'web' may mean blog/web (plan {IDS['blog/web']}), shop/web (plan {IDS['shop/web']})"
        == caught.value.message
    )


def test_misspelt_name_gets_a_suggestion() -> None:
    """From plans and workloads alike."""
    with pytest.raises(UsageError) as caught:
        resolve_plan("shop/wbe", IDS.values(), CROWD)
    assert "did you mean shop/web" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        resolve_plan("stroes", IDS.values(), CROWD)
    assert "stores" in caught.value.hint


def test_quite_another_name_gets_the_list() -> None:
    """A long one is cut."""
    with pytest.raises(UsageError) as caught:
        resolve_plan("xyzzy", ["one", "two"], proposal_of())
    assert "there are one, two" == caught.value.hint
    with pytest.raises(UsageError) as caught:
        resolve_plan("xyzzy", [f"plan{number:02}" for number in range(20)], proposal_of())
    assert caught.value.hint.endswith("plan11 and 8 more")
    with pytest.raises(UsageError) as caught:
        resolve_plan("xyzzy", [], proposal_of())
    assert "there is none at all" == caught.value.hint


def test_workload_whose_plan_is_not_loaded_is_told() -> None:
    """Backrest could only say that it does not know it."""
    with pytest.raises(UsageError) as caught:
        resolve_plan("shop/web", [IDS["shop/db"]], CROWD)
    assert "Backrest has no plan of shop/web yet" == caught.value.message


@dataclass
class World:
    """A fake Backrest, and a clock that moves only while we pause; then the next step is made."""

    fake: FakeBackrest
    steps: list[Callable[[], object]] = field(default_factory=list)
    seconds: float = 0.0
    pauses: int = 0

    def pause(self, seconds: float) -> None:
        """Let time pass, and the next thing happen."""
        self.seconds += seconds
        self.pauses += 1
        if self.steps:
            self.steps.pop(0)()

    def run(self, timeout: float | None = None) -> BackupResult:
        """Run WEB."""
        clock = WaitTimer(Clocks(monotonic=lambda: self.seconds), self.pause)
        with BackrestApi(self.fake.url, timeout=5.0) as api:
            return BackupWatch(api, WEB, timeout, clock).run()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A Backrest with two plans, whose calls to run one break off once it began."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(document(WEB, "other")))
    with FakeBackrest(config) as fake:
        fake.order(Fault.DROP_ANSWER, "Backup")
        yield World(fake)


@pytest.mark.parametrize(
    ("status", "ending", "code"),
    [
        (Status.SUCCESS, OperationEnd.SUCCESS, 0),
        (Status.WARNING, OperationEnd.WARNING, 3),
        (Status.ERROR, OperationEnd.FAILED, 1),
        (Status.USER_CANCELLED, OperationEnd.CANCELLED, 1),
        (Status.SYSTEM_CANCELLED, OperationEnd.CANCELLED, 1),
    ],
)
def test_exit_code_tells_the_outcome(
    tmp_path: Path, status: Status, ending: OperationEnd, code: int
) -> None:
    """Also where Backrest answers the call with an error because the run failed."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(document(WEB)))
    with FakeBackrest(config) as fake:
        fake.backups_end = (status, f"restic: rest:https://u:{SECRET}@host is gone")
        world = World(fake)
        result = world.run()
    assert (ending, code, 0) == (result.ending, status_of_operation(result.ending), world.pauses)
    assert "restic: rest:https://********@host is gone" == result.message
    assert result.words.startswith(f"The run of {WEB} ended after 0 s: {ending}.\nrestic: ")


def test_run_goes_on_when_the_connection_breaks(world: World) -> None:
    """It is followed in the log until it ends."""
    world.steps = [lambda: None, lambda: world.fake.finish(WEB, Status.WARNING, "Partial backup")]
    result = world.run()
    assert (OperationEnd.WARNING, "Partial backup", 2) == (
        result.ending,
        result.message,
        world.pauses,
    )
    assert 1 == world.fake.asked.count("Backup")


def test_earlier_runs_are_not_taken_for_ours(world: World) -> None:
    """Nor the next run that the schedule has queued, nor a run of another plan."""
    world.fake.begin(WEB)
    world.fake.finish(WEB, Status.ERROR, "yesterday")
    world.fake.begin("other")
    world.steps = [
        lambda: world.fake.finish("other", Status.ERROR, "another"),
        lambda: world.fake.finish(WEB, Status.SUCCESS, "ours"),
    ]
    result = world.run()
    assert (OperationEnd.SUCCESS, "ours") == (result.ending, result.message)


def test_run_by_schedule_that_ends_meanwhile_is_not_ours(world: World) -> None:
    """Ours waits behind it; the next one by schedule is queued before ours began."""
    world.fake.begin(WEB)
    world.steps = [
        lambda: world.fake.finish(WEB, Status.ERROR, "by schedule"),
        lambda: world.fake.finish(WEB, Status.SUCCESS, "by hand"),
    ]
    assert "by hand" == world.run().message


def test_wait_is_bounded_by_the_timeout(world: World) -> None:
    """The run goes on, and that is told."""
    result = world.run(timeout=5.0)
    assert (None, 1, 5.0) == (result.ending, status_of_operation(result.ending), world.seconds)
    assert f"The run of {WEB} goes on; its end was not waited for." == result.words


def test_run_that_loses_its_place_in_the_queue_has_failed(world: World) -> None:
    """A save empties the queue; Backrest never answers the call then."""
    world.fake.begin("other")
    world.steps = [lambda: world.fake.save_from_ui(dict.copy)]
    result = world.run()
    assert (OperationEnd.FAILED, 1) == (result.ending, status_of_operation(result.ending))
    assert "out of its queue" in result.message


def test_cancelled_run_has_failed(world: World) -> None:
    """Here while it waits behind another, where Backrest leaves the call without an answer."""
    other = world.fake.begin("other")
    world.steps = [lambda: world.fake.cancel(other + 1)]
    result = world.run()
    assert (OperationEnd.CANCELLED, 1) == (result.ending, status_of_operation(result.ending))


def test_run_whose_next_try_was_forgotten_has_failed(world: World) -> None:
    """It is pending for ever, with an end; seen twice, for it is so for a moment before a try."""
    world.steps = [
        lambda: world.fake.finish(WEB, Status.PENDING, "start hook: retry"),
        lambda: None,
    ]
    result = world.run()
    assert (OperationEnd.FAILED, "start hook: retry") == (result.ending, result.message)
    assert 2 == world.pauses


def test_run_that_died_with_backrest_has_failed(world: World) -> None:
    """Backrest is away for a while; at its next start it says what became of the run."""
    world.steps = [world.fake.kill, lambda: None, world.fake.start]
    result = world.run()
    assert OperationEnd.FAILED is result.ending
    assert "restarted" in result.message


def test_backrest_that_does_not_come_back_is_an_error(world: World) -> None:
    """After three minutes; nobody knows how the run ended."""
    world.steps = [world.fake.kill]
    with pytest.raises(ApiError) as caught:
        world.run()
    assert ApiTrouble.UNREACHABLE is caught.value.kind
    assert 180 <= world.seconds < 190


def test_call_that_did_not_come_through_is_an_error(world: World) -> None:
    """No run of ours begins, so there is none to wait for."""
    world.fake._faults.ordered.clear()
    world.fake.order(Fault.DROP, "Backup")
    with pytest.raises(ApiError) as caught:
        world.run()
    assert ApiTrouble.UNREACHABLE is caught.value.kind
    assert 10 <= world.seconds < 15


def test_unknown_plan_is_an_error_at_once(world: World) -> None:
    """Backrest may not have loaded it."""
    world.fake.save_from_ui(lambda config: config["plans"].pop(0))
    with pytest.raises(ApiError) as caught:
        world.run()
    assert "does not know" in caught.value.message
    assert 0 == world.pauses


def test_answer_without_a_run_in_the_log_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backrest says that it went well, and knows nothing of it."""
    world.fake._faults.ordered.clear()
    world.fake.backups_end = (Status.SUCCESS, "")
    monkeypatch.setattr(world.fake, "_get_operations", lambda _: {})
    with pytest.raises(ApiError) as caught:
        world.run()
    assert "no run" in caught.value.message


def test_login_that_is_refused_while_waiting_is_an_error(world: World) -> None:
    """Waiting longer would not help."""
    world.steps = [lambda: world.fake.order(Fault.REFUSE_LOGIN, "GetOperations")]
    with pytest.raises(ApiError) as caught:
        world.run()
    assert ApiTrouble.REFUSED_LOGIN is caught.value.kind


def test_a_failed_hook_is_shown_with_what_it_said(world: World) -> None:
    """By its own log without the script, which may hold secrets; without one by its message."""
    world.fake.hook_logs = {"ref": f"rest:https://u:{SECRET}@host\nno such container: db"}

    def fail() -> None:
        world.fake.fail_hook(WEB, "exit status 1", "ref")
        world.fake.fail_hook(WEB, "exit status 2", "")
        world.fake.finish(WEB, Status.ERROR, "start hook failed")

    world.steps = [fail]
    message = world.run().message
    assert "no such container: db" in message
    assert "exit status 2" in message
    assert SECRET not in message
    assert HOOK_SCRIPT not in message
    assert "exit status 1" not in message


def test_the_address_of_a_notification_is_not_shown(world: World) -> None:
    """Backrest tells it where the message could not be sent, and whoever has it can post."""
    address = f"https://hooks.example.com/services/{SECRET}"

    def fail() -> None:
        world.fake.fail_hook(WEB, f'sending slack message to "{address}": refused', "")
        world.fake.finish(WEB, Status.ERROR, f'start hook: Post "{address}": refused')

    world.steps = [fail]
    message = world.run().message
    assert SECRET not in message
    assert 2 == message.count("https://hooks.example.com/")


def test_a_hook_that_failed_is_shown_after_a_success_too(world: World) -> None:
    """One whose failure is ignored may have left a container stopped."""
    world.fake.hook_logs = {"ref": "no such container: db"}

    def fail() -> None:
        world.fake.fail_hook(WEB, "exit status 1", "ref")
        world.fake.finish(WEB)

    world.steps = [fail]
    result = world.run()
    assert OperationEnd.SUCCESS is result.ending
    assert "A hook failed and said:\nno such container: db" == result.message


def test_a_log_that_cannot_be_had_leaves_the_message(world: World) -> None:
    """Backrest may have thrown it away, and says so in its place."""

    def fail() -> None:
        world.fake.fail_hook(WEB, "exit status 1", "gone")
        world.fake.finish(WEB, Status.ERROR, "start hook failed")

    world.steps = [fail]
    assert "exit status 1" in world.run().message


# From the settings


def test_plan_is_run_by_its_id_without_a_look_at_the_containers(world: World) -> None:
    """Backrest itself says which plans there are; neither engine nor document is needed."""
    world.fake._faults.ordered.clear()
    world.fake.backups_end = (Status.SUCCESS, "")
    nowhere = InventorySource(docker_sock="/nowhere/docker.sock")
    settings = ReconcilerSettings(
        Path("/nowhere"), source=nowhere, access=BackrestLogin(world.fake.url)
    )
    result = run_backup(settings, BackupRequest("other", 60.0), {})
    assert ("other", 0, "") == (result.plan, status_of_operation(result.ending), result.message)
    assert "ended after 0 s: success." in result.words


def shop(world: World, **labels: str) -> ReconcilerSettings:
    """Return settings for a list that holds the one container that WEB is of."""
    saved = world.fake.config.with_name("list.json")
    entry = container("shop", "web", **labels)
    mount = {"Type": "volume", "Name": "w", "Source": "/v/w/_data", "Destination": "/data"}
    listed = {
        "Id": entry.id,
        "Names": [f"/{entry.name}"],
        "Labels": dict(entry.labels),
        "Mounts": [mount],
    }
    saved.write_text(json.dumps([listed]))
    return ReconcilerSettings(
        world.fake.config,
        source=InventorySource(inventory=saved),
        access=BackrestLogin(world.fake.url),
    )


@dataclass
class Told:
    """What was told while a plan was run by hand."""

    sentences: list[str] = field(default_factory=list)

    def run(self, world: World, settings: ReconcilerSettings, **how: Any) -> BackupResult:
        """Run the plan of the container, which ends well at once."""
        world.fake._faults.ordered.clear()
        world.fake.backups_end = (Status.SUCCESS, "")
        timer = WaitTimer(Clocks(monotonic=lambda: world.seconds), world.pause)
        request = BackupRequest("web", tell=self.sentences.append, timer=timer, **how)
        return run_backup(settings, request, {})


def test_workload_is_run_by_its_key(world: World) -> None:
    """The containers tell which plan is meant."""
    assert WEB == Told().run(world, shop(world)).plan


def test_a_change_that_waits_is_applied_before_the_run(world: World) -> None:
    """Else the old retention would delete what the labels keep."""
    told = Told()
    result = told.run(world, shop(world, keep="daily=30"))
    assert OperationEnd.SUCCESS is result.ending
    calls = [call for call in world.fake.asked if call in {"SetConfig", "Backup"}]
    assert ["SetConfig", "Backup"] == calls
    (plan,) = (plan for plan in world.fake.cached["plans"] if plan["id"] == WEB)
    assert {"daily": 30} == plan["retention"]["policyTimeBucketed"]
    assert WEB in told.sentences[0]
    again = Told()
    again.run(world, shop(world, keep="daily=30"))
    assert [] == again.sentences


def test_a_new_plan_is_loaded_before_its_first_run(world: World) -> None:
    """Backrest does not know it yet."""
    world.fake.save_from_ui(lambda config: config["plans"].pop(0))
    assert ["other"] == [plan["id"] for plan in world.fake.cached["plans"]]
    assert OperationEnd.SUCCESS is Told().run(world, shop(world)).ending
    world.fake.save_from_ui(lambda config: config["plans"].pop(0))
    with pytest.raises(UsageError) as caught:
        Told().run(world, shop(world), waits=False)
    assert "Backrest has no plan of shop/web yet" == caught.value.message


def test_without_waiting_it_is_told_what_runs(world: World) -> None:
    """The plan as Backrest has it, with the keys that would change."""
    told = Told()
    assert OperationEnd.SUCCESS is told.run(world, shop(world, keep="daily=30"), waits=False).ending
    assert "SetConfig" not in world.fake.asked
    assert "retention" in told.sentences[0]


def test_a_busy_backrest_is_waited_for_and_told(world: World) -> None:
    """After two minutes with what runs; past the timeout nothing is run."""
    world.fake.begin("other")
    told = Told()
    with pytest.raises(ApiError) as caught:
        told.run(world, shop(world, keep="daily=30"), timeout=300.0)
    assert "--no-wait" in caught.value.hint
    assert any("other" in sentence for sentence in told.sentences)
    assert {"SetConfig", "Backup"}.isdisjoint(world.fake.asked)
    world.steps = [lambda: None, lambda: world.fake.finish("other")]
    assert OperationEnd.SUCCESS is Told().run(world, shop(world, keep="daily=30")).ending
    assert world.fake.hurt == []


def test_an_edit_by_hand_is_not_undone_for_a_run(world: World) -> None:
    """Backrest has not read it."""
    edited = json.loads(world.fake.config.read_text())
    edited["repos"][0]["uri"] = "/other"
    world.fake.config.write_text(json.dumps(edited))
    with pytest.raises(ApiError) as caught:
        Told().run(world, shop(world, keep="daily=30"))
    assert "edited by hand" in caught.value.message
    assert {"SetConfig", "Backup"}.isdisjoint(world.fake.asked)


def test_a_plan_of_ours_whose_labels_cannot_be_read_is_run_and_that_is_told(world: World) -> None:
    """Backrest has it; the containers are not there to be asked."""
    world.fake._faults.ordered.clear()
    world.fake.backups_end = (Status.SUCCESS, "")
    nowhere = InventorySource(docker_sock="/nowhere/docker.sock")
    settings = replace(shop(world), source=nowhere)
    told: list[str] = []
    result = run_backup(settings, BackupRequest(WEB, 60.0, tell=told.append), {})
    assert OperationEnd.SUCCESS is result.ending
    assert "as Backrest has it" in told[0]
    with pytest.raises(InventoryError):
        run_backup(settings, BackupRequest("web", 60.0, tell=told.append), {})


def test_backup_needs_an_address() -> None:
    """There is no other way to run a plan."""
    with pytest.raises(UsageError) as caught:
        run_backup(ReconcilerSettings(Path("config.json")), BackupRequest("web"), {})
    assert "--backrest-url" in caught.value.message
