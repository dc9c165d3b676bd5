"""`backrest-sidecar status` beside either runner: the same answer, of what each of them tells."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from sidecar.backrest.operations import Status
from sidecar.cli.commands.everyday import read_status
from sidecar.engines.base import Stats
from sidecar.labels.policy import Policy
from sidecar.reconciler.settings import BackrestLogin, InventorySource, ReconcilerSettings
from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from tests.fakes.fake_backrest import FakeBackrest

WEB = "backrest_sidecar_shop_web"
PLAN = {
    "id": WEB,
    "repo": "r",
    "paths": ["/v/web/_data"],
    "schedule": {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"},
    "retention": {"policyTimeBucketed": {"daily": 7, "weekly": 4}},
}


def listed(service: str, **labels: str) -> dict[str, Any]:
    """A container of the project `shop` with one volume, as Docker lists it."""
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": service}
    own = {f"backrest.{key}": value for key, value in labels.items()}
    mount = {"Type": "volume", "Name": service, "Source": f"/v/{service}/_data"}
    return {
        "Id": f"{service}-id",
        "Names": [f"/shop-{service}-1"],
        "Labels": {**own, **compose},
        "Mounts": [{**mount, "Destination": "/data"}],
    }


@pytest.fixture
def settings(tmp_path: Path) -> ReconcilerSettings:
    """A document with the plan of `web`, and a list of containers with `web` alone."""
    repo = {"id": "r", "uri": "/r", "guid": "a" * 64, "password": "x"}
    root = {"modno": 1, "version": 6, "instance": "i", "repos": [repo], "plans": [PLAN]}
    (tmp_path / "config.json").write_text(json.dumps(root))
    made = ReconcilerSettings(
        tmp_path / "config.json",
        policy=replace(Policy(), default_schedule="0 2 * * *"),
        source=InventorySource(inventory=tmp_path / "list.json"),
    )
    show(made, listed("web", enable="true"))
    return made


def show(settings: ReconcilerSettings, *containers: dict[str, Any]) -> None:
    """Let these be the containers."""
    assert settings.source.inventory is not None
    settings.source.inventory.write_text(json.dumps(containers))


def read(settings: ReconcilerSettings) -> tuple[dict[str, Any], str, int]:
    """Return the answer as JSON, its last line, and the exit status, of which all tell the same."""
    shown, status = read_status(settings, "UTC", "json", is_wide=False)
    text, of_text = read_status(settings, "UTC", "table", is_wide=False)
    assert status == of_text
    assert json.loads(shown)["everything_protected"] is (status == 0)
    return json.loads(shown), click.unstyle(text).splitlines()[-1], status


def journal(settings: ReconcilerSettings) -> None:
    """Let backrest-runner have run the plan an hour ago."""
    now = time.time()
    with Journal(settings.config.parent / ".runner" / "journal.sqlite") as made:
        job = Job(JobKind.BACKUP, WEB, "r")
        number = made.runs.begin(job, RunCause.SCHEDULE, now - 3660, "")
        stats = Stats(files_processed=5, bytes_processed=50)
        made.runs.end(number, Ended(RunOutcome.SUCCESS, now - 3600, "a" * 64, stats))


def test_beside_backrest_its_log_tells(settings: ReconcilerSettings) -> None:
    """A service that it has saved is protected, with its size and its place in the queue."""
    with FakeBackrest(settings.config) as fake:
        asking = replace(settings, access=BackrestLogin(fake.url))
        before, line, status = read(asking)
        assert ("never_saved", 3) == (before["services"][0]["state"], status)
        fake.begin(WEB)
        fake.finish(WEB)
        shown, line, status = read(asking)
    assert ("1 of 1 service protected, newest 0 s ago", 0) == (line, status)
    (service,) = shown["services"]
    assert ("shop/web", "protected", 4096, 3) == tuple(
        service[key] for key in ("service", "state", "size", "files")
    )
    assert service["next_run"] is not None


def test_beside_the_runner_its_journal_tells(settings: ReconcilerSettings) -> None:
    """Without any address."""
    journal(settings)
    shown, line, status = read(settings)
    assert ("1 of 1 service protected, newest 1 h ago", 0) == (line, status)
    assert (50, "config.json") == tuple(shown["services"][0][key] for key in ("size", "document"))


def test_what_nobody_tells_is_unknown_and_status_3(settings: ReconcilerSettings) -> None:
    """Backrest was not asked, and there is no runner; a missing login tells no more."""
    shown, line, status = read(settings)
    assert ("0 of 1 service protected, newest –", 3) == (line, status)
    assert ("unknown", "give --backrest-url, or start backrest-runner") == tuple(
        shown["services"][0][key] for key in ("state", "hint")
    )
    root = json.loads(settings.config.read_text())
    auth = {"users": [{"name": "admin", "passwordBcrypt": "JDJhJDEw"}]}
    settings.config.write_text(json.dumps({**root, "auth": auth}))
    with FakeBackrest(settings.config, password="right") as fake:
        shown, line, status = read(replace(settings, access=BackrestLogin(fake.url)))
    assert ("unknown", 3) == (shown["services"][0]["state"], status)
    assert "asks for a login" in shown["services"][0]["why"]
    assert shown["log_trouble"] is not None


def test_an_address_that_does_not_answer_is_never_all_well(settings: ReconcilerSettings) -> None:
    """Also where the journal tells of everything."""
    journal(settings)
    shown, line, status = read(replace(settings, access=BackrestLogin("http://127.0.0.1:9")))
    assert ("1 of 1 service protected, newest 1 h ago", 3) == (line, status)
    assert "unreachable" == shown["log_trouble"]


def test_a_data_mount_in_no_plan_is_named(settings: ReconcilerSettings) -> None:
    """Unless a label says that it be left out."""
    journal(settings)
    show(settings, listed("web", enable="true"), listed("redis"), listed("cache", enable="false"))
    shown, line, status = read(settings)
    assert "1 of 2 services protected, newest 1 h ago; in no plan: shop/redis /data" == line
    assert (3, ["shop/redis"]) == (status, [one["service"] for one in shown["in_no_plan"]])


def test_labels_with_a_mistake_protect_nothing(settings: ReconcilerSettings) -> None:
    """The plan that stands runs on, but nobody knows whether it is what was meant."""
    journal(settings)
    show(settings, listed("web", enable="true", schedule="sometimes"))
    shown, _, status = read(settings)
    (service,) = shown["services"]
    assert ("blocked", 3) == (service["state"], status)
    assert service["why"].startswith("schedule.invalid: ")


def test_a_new_service_has_no_plan_yet(settings: ReconcilerSettings) -> None:
    """It is there after the next pass."""
    journal(settings)
    show(settings, listed("web", enable="true"), listed("db", enable="true"))
    shown, _, status = read(settings)
    states = {one["service"]: one["state"] for one in shown["services"]}
    assert ({"shop/web": "protected", "shop/db": "no_plan"}, 3) == (states, status)


def test_a_failed_run_of_backrest_is_told(settings: ReconcilerSettings) -> None:
    """The snapshot before it is still there."""
    with FakeBackrest(settings.config) as fake:
        for status in (Status.SUCCESS, Status.ERROR):
            fake.begin(WEB)
            fake.finish(WEB, status)
        shown, line, status_3 = read(replace(settings, access=BackrestLogin(fake.url)))
    assert line.endswith("; last run failed: shop/web")
    assert ("protected", "failed", 3) == (
        shown["services"][0]["state"],
        shown["services"][0]["last_failure"],
        status_3,
    )
