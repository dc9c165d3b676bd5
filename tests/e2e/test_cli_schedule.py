"""`schedule` as people call it."""

import json
import socket
from pathlib import Path

import pytest

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
