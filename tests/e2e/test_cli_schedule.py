"""`schedule` as people call it."""

import json
import socket
from pathlib import Path

import pytest

from sidecar.backrest.workloads import WorkloadRecord, render_workloads
from sidecar.cli.commands.main import run_cli

CONFIG = str(Path(__file__).parents[2] / "testdata" / "lint" / "config.json")
TOKYO = ("--config", CONFIG, "--timezone", "Asia/Tokyo")


def test_week_shows_the_plan_that_nobody_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    """Plans made by hand are in the document, so they are shown."""
    assert 0 == run_cli(["schedule", "--hours", "168", *TOKYO])
    shown = capsys.readouterr().out
    assert shown.startswith("1 run from ")
    assert "time zone Asia/Tokyo (--timezone)" in shown
    assert "04:15 JST  by-hand  1            Sundays at 04:15" in shown
    assert 1 == sum(line.endswith("1  #") for line in shown.splitlines())


@pytest.mark.parametrize(("form", "present"), [("timeline", False), ("table", True)])
def test_one_form_alone(capsys: pytest.CaptureFixture[str], form: str, present: bool) -> None:
    """The timeline has no words of schedules, the table has."""
    assert 0 == run_cli(["schedule", "--hours", "168", "--output", form, *TOKYO])
    shown = capsys.readouterr().out
    assert (present, not present) == ("Sundays at 04:15" in shown, "one mark is" in shown)


def test_plans_are_named_as_people_know_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are asked for, by the names that the sidecar has written."""
    repo = {"id": "r", "uri": "/r", "password": "-", "autoInitialize": True}
    plans = [
        {"id": f"p_{name}", "repo": "r", "paths": ["/d"], "schedule": {"cron": "0 2 * * *"}}
        for name in ("db", "web")
    ]
    document = {"version": 6, "instance": "here", "repos": [repo], "plans": plans}
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "state").mkdir()
    names = [
        WorkloadRecord(f"media/{name}", name, "media", plan=f"p_{name}") for name in ("db", "web")
    ]
    (tmp_path / "state" / "workloads.json").write_bytes(render_workloads(names))
    flags = ("--config", str(tmp_path / "config.json"), "--state-dir", str(tmp_path / "state"))
    words = ["schedule", "db", *flags, "--timezone", "UTC", "--output"]

    assert 0 == run_cli([*words, "table"])
    shown = capsys.readouterr().out
    assert ("media/db" in shown, "media/web" in shown, "p_db" in shown) == (True, False, False)
    assert 0 == run_cli([*words, "table", "--wide"])
    assert "p_db" in capsys.readouterr().out
    assert 0 == run_cli([*words, "json", "media/web"])
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {"media/db", "media/web"} == {run["name"] for run in runs}
    assert 1 == run_cli(["schedule", "media/bd", *flags])
    assert "did you mean media/db" in capsys.readouterr().err


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    assert 0 == run_cli(["schedule", "--hours", "168", "--output", "json", *TOKYO])
    shown = json.loads(capsys.readouterr().out)
    assert ["by-hand"] == [run["plan"] for run in shown["runs"]]
    assert shown["runs"][0]["time"].endswith("T04:15:00+09:00")


def test_without_a_runner_the_zone_is_this_machines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that is shown, because the runner's may be another."""
    monkeypatch.setenv("TZ", "America/Lima")
    with socket.socket() as taken:
        # Bound but not listening: a port that surely refuses.
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert 0 == run_cli(["schedule", "--config", CONFIG, "--docker-sock", address])
    shown = capsys.readouterr().out
    assert "time zone America/Lima (this machine's, because no engine answers)" in shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config", CONFIG, "--timezone", "Mars"], "--timezone 'Mars' is no time zone"),
        (["--config", CONFIG, "--hours", "0"], "'--hours'"),
        (["--config", "gone.json", "--timezone", "UTC"], "gone.json does not exist"),
    ],
)
def test_failures_are_status_1(
    capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    """Each with one sentence of what is wrong."""
    assert 1 == run_cli(["schedule", *flags])
    assert message in capsys.readouterr().err
