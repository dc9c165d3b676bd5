"""How the backups fare: per workload its plan, its runs, and what is not as it should be."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.document import parse_document
from sidecar.backrest.operations import Operation, OperationEnd, PastRun, Status
from sidecar.cli.output.status import notes_json, render_notes
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import InventoryError, StoreError, UsageError
from sidecar.planner.lifecycle import Orphans, PlanHistory
from sidecar.planner.propose import DesiredState, Proposal, propose
from sidecar.reconciler.settings import BackrestLogin, InventorySource, ReconcilerSettings
from sidecar.reconciler.state import State
from sidecar.reconciler.status import (
    NextRun,
    StatusReport,
    WorkloadStatus,
    gather_status,
    run_status,
)
from tests.fakes.fake_backrest import FakeBackrest

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UNIX = NOW.timestamp()
HOUR, DAY = 3600.0, 86400.0
WEB, DB, OLD = (f"backrest_sidecar_{name}" for name in ("shop_web", "shop_db", "shop_old"))
SECRET = "swordfish"
JSON_KEYS = ["config", "log_known", "log_trouble", "waits", "plans"]
PLAN_KEYS = [
    *("workload", "plan", "owner", "written", "last_run", "running_since", "next_run_computed"),
    *("loaded", "orphan", "orphan_since", "disabled", "drift", "runners_document"),
    *("former_repositories", "problems"),
]


def container(service: str, **labels: str) -> Container:
    """A labelled container of the project `shop` with one volume."""
    mount = Mount("volume", f"/v/{service}/_data", "/data", service, "local")
    own = {f"backrest.{key}": value for key, value in labels.items()}
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": service}
    enabled = {"backrest.enable": "true", **own, **compose}
    return Container(f"{service}-id", f"shop-{service}-1", labels=enabled, mounts=(mount,))


def document(*plans: str, **changed: Any) -> bytes:
    """A document that holds these plans as they are rendered, but for what is `changed`."""
    stand = [
        {
            "id": plan,
            "repo": "r",
            "paths": [f"/v/{plan.rpartition('_')[2]}/_data"],
            "schedule": {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"},
            "retention": {"policyTimeBucketed": {"daily": 7, "weekly": 4}},
            **changed,
        }
        for plan in plans
    ]
    repo = {"id": "r", "uri": f"rest:https://u:{SECRET}@h/", "guid": "a" * 64, "password": SECRET}
    root = {"modno": 1, "version": 6, "instance": "i", "repos": [repo], "plans": stand}
    return json.dumps(root).encode()


def previewed(
    content: bytes, *containers: Container, history: PlanHistory | None = None, **policy: Any
) -> Proposal:
    """What a pass over this document would do."""
    rules = replace(Policy(), default_schedule="0 2 * * *", **policy)
    inventory = Inventory(containers)
    return propose(parse_document(content), DesiredState(inventory, rules, NOW, history=history))


def backup(number: int, status: Status, start: float, **more: Any) -> Operation:
    """A backup of WEB; `start` relative to now."""
    end = UNIX + start + 60 if status.has_ended else 0.0
    made = Operation(number, number, WEB, "r", status, "backup", UNIX + start, end)
    return replace(made, **more)


def row_of(report: StatusReport, plan: str) -> WorkloadStatus:
    """The row of a plan."""
    return next(row for row in report.rows if row.plan == plan)


def gathered(*operations: Operation, content: bytes | None = None) -> StatusReport:
    """A report about WEB alone, with these operations in Backrest's log."""
    proposal = previewed(content or document(WEB), container("web"))
    return gather_status(proposal, operations, State(), NOW)


def notes(report: StatusReport) -> str:
    """What is told beside the answer."""
    return "\n".join(render_notes(report))


def test_quiet_workload_has_its_runs_and_nothing_else() -> None:
    """Plan, last run, next run; no drift, no problem, no orphan."""
    report = gathered(
        backup(1, Status.SUCCESS, -DAY),
        backup(2, Status.SUCCESS, -HOUR, snapshot_id="abc"),
        backup(3, Status.PENDING, 14 * HOUR),
    )
    run = PastRun(UNIX - HOUR, UNIX - HOUR + 60, OperationEnd.SUCCESS)
    (row,) = report.rows
    assert ("shop/web", WEB, True) == (row.workload, row.plan, row.is_written)
    assert run == row.runs.last == row.runs.good
    assert NextRun(UNIX + 14 * HOUR, is_computed=False) == row.next
    assert ((), (), False, False) == (row.drift, row.problems, row.is_orphan, row.is_unloaded)
    assert not report.needs_attention


def test_last_good_run_is_told_beside_a_failed_one() -> None:
    """A warning counts as good: something was saved."""
    row = gathered(
        backup(1, Status.SUCCESS, -2 * DAY),
        backup(2, Status.WARNING, -DAY),
        backup(3, Status.ERROR, -HOUR),
        backup(4, Status.USER_CANCELLED, -HOUR / 2),
    ).rows[0]
    assert row.runs.last is not None
    assert row.runs.good is not None
    assert (OperationEnd.CANCELLED, OperationEnd.WARNING) == (
        row.runs.last.ending,
        row.runs.good.ending,
    )


@pytest.mark.parametrize(
    ("status", "needs_attention"),
    [
        (Status.SUCCESS, False),
        (Status.WARNING, False),
        (Status.ERROR, True),
        (Status.USER_CANCELLED, True),
        (Status.SYSTEM_CANCELLED, True),
    ],
)
def test_failed_last_run_needs_attention(status: Status, needs_attention: bool) -> None:
    """An older failure does not."""
    log = [backup(1, Status.ERROR, -DAY), backup(2, status, -HOUR)]
    assert needs_attention is gathered(*log).needs_attention


def test_only_backups_of_this_instance_count() -> None:
    """Checks, dry runs and copies of other instances' operations say nothing of a plan."""
    row = gathered(
        backup(1, Status.ERROR, -HOUR, kind="check"),
        backup(2, Status.ERROR, -HOUR, is_dry_run=True),
        backup(3, Status.ERROR, -HOUR, is_foreign=True),
        backup(4, Status.ERROR, -HOUR, plan_id="another"),
    ).rows[0]
    assert row.runs.last is None


def test_running_plan_is_shown_so() -> None:
    """Its next run is not in the queue then, and that is no fault."""
    report = gathered(backup(1, Status.IN_PROGRESS, -30))
    (row,) = report.rows
    assert UNIX - 30 == row.runs.running_since
    assert not row.is_unloaded
    assert row.next is not None
    assert row.next.is_computed


def test_plan_without_a_place_in_the_queue_is_not_loaded() -> None:
    """The next run is computed from the schedule, in the zone that is asked for."""
    report = gathered()
    (row,) = report.rows
    assert notes_json(report)["plans"][0]["loaded"] is False
    assert NextRun(datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp(), is_computed=True) == row.next
    assert row.is_unloaded


@pytest.mark.parametrize("schedule", [{"disabled": True}, {}, {"cron": "?"}, "broken"])
def test_plan_that_never_runs_has_no_next_run(schedule: Any) -> None:
    """Nor one whose schedule cannot be read here."""
    proposal = previewed(document(WEB), container("web"))
    broken = parse_document(document(WEB, schedule=schedule))
    shown = replace(proposal, before=broken)
    row = gather_status(shown, [], State(), NOW).rows[0]
    assert (None, False) == (row.next, row.is_unloaded)


def test_nothing_is_claimed_when_the_log_is_not_known() -> None:
    """The schedule is; whether Backrest has loaded it is not."""
    proposal = previewed(document(WEB), container("web"))
    report = gather_status(proposal, None, State(), NOW)
    report = replace(report, trouble="unreachable", words="gone")
    (row,) = report.rows
    assert row.next is not None
    assert row.next.is_computed
    assert not row.is_unloaded
    assert report.needs_attention
    shown = notes_json(report)
    assert (False, "unreachable") == (shown["log_known"], shown["log_trouble"])
    assert shown["plans"][0]["loaded"] is None


def test_new_plan_is_not_written_yet() -> None:
    """It has no run and no next run, whatever its schedule says."""
    proposal = previewed(document(), container("web"))
    report = gather_status(proposal, [], State(), NOW)
    assert (False, None) == (report.rows[0].is_written, report.rows[0].next)


def test_drift_names_the_keys_that_would_change() -> None:
    """By name only, not what they say."""
    report = gathered(content=document(WEB, paths=["/elsewhere"], excludes=["x"]))
    assert ("excludes", "paths") == report.rows[0].drift
    table = notes(report)
    assert "would change: excludes, paths" in table
    assert "/elsewhere" not in table


def test_orphan_is_told_with_its_age() -> None:
    """The age is what was remembered; a new orphan has none yet."""
    since = {OLD: UNIX - 2 * DAY}
    history = PlanHistory(orphans=since, action=Orphans.KEEP, grace=9 * DAY)
    proposal = previewed(document(DB, OLD, WEB), container("web"), history=history)
    report = gather_status(proposal, [], State(orphans=since), NOW)
    assert [WEB, DB, OLD] == [row.plan for row in report.rows]
    assert [False, True, True] == [row.is_orphan for row in report.rows]
    assert [None, None, UNIX - 2 * DAY] == [row.orphan_since for row in report.rows]
    table = notes(report)
    assert "no workload for 2 d" in table
    assert not report.needs_attention


def test_disabled_orphan_is_told_so() -> None:
    """We disabled it; its schedule is remembered."""
    proposal = previewed(document(OLD, schedule={"disabled": True}))
    state = State(disabled={OLD: {"cron": "0 2 * * *"}})
    report = gather_status(proposal, [], state, NOW)
    assert row_of(report, OLD).is_disabled
    assert "no workload; disabled" in notes(report)


def test_problems_are_told_by_reason() -> None:
    """A warning alone needs no attention, an error does."""
    broken = previewed(document(WEB), container("web", schedule="sometimes"))
    report = gather_status(broken, [], State(), NOW)
    assert ["schedule.invalid"] == [problem.reason for problem in report.rows[0].problems]
    assert report.needs_attention
    table = notes(report)
    assert "schedule.invalid" in table
    assert "reconcile --dry-run" in table
    shared = previewed(document(WEB, "mine_web"), container("web"))
    warned = gather_status(shared, [], State(), NOW)
    assert ["path.shared"] == [problem.reason for problem in warned.rows[0].problems]
    assert not warned.needs_attention


def test_json_has_stable_keys_and_no_secret() -> None:
    """Ids, reasons and times; no message, command, address or path of a mount."""
    web = container(
        "web",
        **{
            "hook.start": f"curl https://u:{SECRET}@host/{SECRET}",
            "schedule": f"https://u:{SECRET}@host",
        },
    )
    proposal = previewed(document(WEB, OLD), web)
    report = gather_status(
        proposal,
        [backup(1, Status.ERROR, -HOUR, message=f"restic -r rest:https://u:{SECRET}@h")],
        State(),
        NOW,
    )
    text = json.dumps(notes_json(report), indent=2)
    shown = json.loads(text)
    assert JSON_KEYS == list(shown)
    assert [PLAN_KEYS, PLAN_KEYS] == [list(plan) for plan in shown["plans"]]
    assert {
        "start": "2026-11-21T11:00:00+00:00",
        "end": "2026-11-21T11:01:00+00:00",
        "outcome": "failed",
    } == shown["plans"][0]["last_run"]
    assert {"reason", "severity", "label"} == set(shown["plans"][0]["problems"][0])
    assert [None, True] == [shown["plans"][1]["workload"], shown["plans"][1]["orphan"]]
    for secret in (SECRET, "://", "curl", "/v/web"):
        assert secret not in text
        assert secret not in notes(report)


def test_a_plan_with_nothing_to_tell_has_no_note() -> None:
    """One that Backrest has not loaded has."""
    quiet = gathered(backup(1, Status.SUCCESS, -HOUR), backup(2, Status.PENDING, HOUR))
    assert "" == notes(quiet)
    assert "shop/web: not loaded by Backrest" == notes(gathered())


# From the settings


@pytest.fixture
def settings(tmp_path: Path) -> ReconcilerSettings:
    """A document with WEB, and a saved list with its container and that of DB."""
    (tmp_path / "config.json").write_bytes(document(WEB))
    entries = [
        {
            "Id": one.id,
            "Names": [f"/{one.name}"],
            "Labels": dict(one.labels),
            "Mounts": [
                {"Type": "volume", "Name": m.name, "Source": m.source, "Destination": "/data"}
                for m in one.mounts
            ],
        }
        for one in (container("web"), container("db"))
    ]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    source = InventorySource(inventory=tmp_path / "list.json")
    return ReconcilerSettings(tmp_path / "config.json", source=source)


@pytest.fixture
def fake(settings: ReconcilerSettings) -> Iterator[FakeBackrest]:
    """A Backrest with that document."""
    with FakeBackrest(settings.config) as running:
        yield running


def test_status_asks_backrest_for_the_runs(
    settings: ReconcilerSettings, fake: FakeBackrest
) -> None:
    """One question, and nothing is written."""
    fake.begin(WEB)
    fake.finish(WEB, Status.WARNING)
    before = settings.config.read_bytes()
    report = run_status(replace(settings, access=BackrestLogin(fake.url)), {}, "UTC")
    row = row_of(report, WEB)
    assert row.runs.last is not None
    assert (OperationEnd.WARNING, None) == (row.runs.last.ending, report.trouble)
    assert row.next is not None
    assert not row.next.is_computed
    assert {"GetOperations", "GetConfig"} == set(fake.asked)
    assert before == settings.config.read_bytes()


def test_status_without_an_address_knows_no_runs(settings: ReconcilerSettings) -> None:
    """That is nobody's fault."""
    report = run_status(settings, {}, "UTC")
    assert ("none", False, None) == (report.trouble, report.needs_attention, report.runs)


def test_status_tells_of_a_backrest_that_refuses_us(settings: ReconcilerSettings) -> None:
    """What is known without it is shown."""
    auth = {"users": [{"name": "admin", "passwordBcrypt": "JDJhJDEw"}]}
    settings.config.write_text(json.dumps({**json.loads(document(WEB)), "auth": auth}))
    with FakeBackrest(settings.config, password=SECRET) as fake:
        access = BackrestLogin(fake.url, "admin", "wrong")
        report = run_status(replace(settings, access=access), {}, "Europe/Berlin")
    assert ("refused-login", True) == (report.trouble, report.needs_attention)
    assert [DB, WEB] == [row.plan for row in report.rows]
    assert "refused our user name or password" in report.words
    assert "wrong" not in report.words + report.hint


def test_status_needs_the_document_and_the_containers(settings: ReconcilerSettings) -> None:
    """Without them nothing can be said: unknown is not empty."""
    with pytest.raises(StoreError):
        run_status(replace(settings, config=settings.config.with_name("none")), {}, "UTC")
    nowhere = InventorySource(docker_sock="/nowhere/docker.sock")
    with pytest.raises(InventoryError):
        run_status(replace(settings, source=nowhere), {}, "UTC")
    with pytest.raises(UsageError):
        run_status(settings, {}, "Mars/Olympus")


def test_a_renamed_plan_is_told_until_the_old_one_is_gone() -> None:
    """Also after the new plan was written, when the planner has nothing to warn of any more."""
    both = json.loads(document(WEB))
    old = {**both["plans"][0], "id": OLD}
    both["plans"].append(old)
    report = gather_status(
        previewed(json.dumps(both).encode(), container("web")), None, State(), NOW
    )
    row = row_of(report, WEB)
    assert ["plan.renamed"] == [problem.reason for problem in row.problems]
    assert OLD in row.problems[0].message
    assert not row.needs_attention
    alone = gather_status(previewed(document(WEB), container("web")), None, State(), NOW)
    assert () == row_of(alone, WEB).problems
