"""The heartbeat: what it says, when it counts, and what the quick check makes of any file."""

import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.lib.write_file import write_small
from sidecar.reconciler.heartbeat import (
    ReconcilerHeartbeat,
    allowance,
    check_heartbeat,
    run_healthcheck,
)
from sidecar.reconciler.report import ReconcilerStatus
from sidecar.service.heartbeat import FILE

NOW = 1_780_000_000.0
MOST = allowance(60.0)


def facts(**known: Any) -> ReconcilerStatus:
    """Return the facts of a daemon that is well, but for what is said."""
    ages = {"uptime": 1000.0, "good_age": 1.0, "docker": True, "document": True}
    return ReconcilerStatus(60.0, **{"now": NOW, **ages, **known})


def beaten(directory: Path, **known: Any) -> Path:
    """Make a heartbeat in a directory."""
    ReconcilerHeartbeat(directory).beat(**facts(**known).heartbeat())
    return directory


class Listener(logging.Handler):
    """Collects what is logged."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._records.append(record)


@pytest.fixture
def told() -> Iterator[list[logging.LogRecord]]:
    """What the module logs."""
    records: list[logging.LogRecord] = []
    listener = Listener(records)
    logger = logging.getLogger("sidecar.service.heartbeat")
    logger.addHandler(listener)
    yield records
    logger.removeHandler(listener)


def test_a_beat_tells_times_interval_process_and_reasons(tmp_path: Path) -> None:
    """It is a small JSON object that only its owner can read, and nothing is left beside it."""
    beaten(tmp_path / "state", is_stopping=True)
    file = tmp_path / "state" / FILE
    assert {
        "beat": NOW,
        "good": NOW - 1,
        "started": NOW - 1000,
        "interval": 60.0,
        "pid": os.getpid(),
        "reasons": ["it is stopping", "no pass has ended yet"],
    } == json.loads(file.read_text())
    assert [FILE] == os.listdir(tmp_path / "state")
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_the_end_takes_the_heartbeat_away(tmp_path: Path) -> None:
    """Then the check fails at once, instead of minutes later; a second end does no harm."""
    heartbeat = ReconcilerHeartbeat(tmp_path)
    heartbeat.beat(**facts().heartbeat())
    heartbeat.end()
    heartbeat.end()
    healthy, words = check_heartbeat(tmp_path, NOW)
    assert (False, True) == (healthy, words.startswith("no heartbeat in"))


def test_a_beat_that_cannot_be_written_is_told_once(
    tmp_path: Path, told: list[logging.LogRecord]
) -> None:
    """The daemon goes on; after a beat that was written a new failure is told again."""
    blocked = tmp_path / "state"
    blocked.write_text("no directory")
    heartbeat = ReconcilerHeartbeat(blocked)
    heartbeat.beat(**facts().heartbeat())
    heartbeat.beat(**facts().heartbeat())
    heartbeat.end()
    assert ["pulse.not-saved"] == [record.getMessage() for record in told]
    blocked.unlink()
    heartbeat.beat(**facts().heartbeat())
    (blocked / FILE).unlink()
    blocked.rmdir()
    blocked.write_text("again")
    heartbeat.beat(**facts().heartbeat())
    assert 2 == len(told)


@pytest.mark.parametrize(
    ("later", "known", "expected"),
    [
        (0.0, {}, True),
        (MOST - 2, {}, True),
        (MOST + 1, {}, False),
        (-MOST, {}, True),
        (-MOST - 1, {}, False),
        (0.0, {"good_age": MOST}, True),
        (0.0, {"good_age": MOST + 1}, False),
        (0.0, {"good_age": None, "uptime": MOST}, True),
        (0.0, {"good_age": None, "uptime": MOST + 1}, False),
        (0.0, {"interval": 600.0, "good_age": 1800.0}, True),
    ],
)
def test_well_is_a_late_beat_and_a_good_pass_or_a_late_start(
    tmp_path: Path, later: float, known: dict[str, Any], expected: bool
) -> None:
    """Each within three intervals and half a minute, by the interval of the daemon."""
    if "interval" in known:
        status = ReconcilerStatus(**{"now": NOW, "uptime": 9e3, **known})
        ReconcilerHeartbeat(tmp_path).beat(**status.heartbeat())
    else:
        beaten(tmp_path, **known)
    assert expected == check_heartbeat(tmp_path, NOW + later)[0]


def test_the_words_say_what_is_wrong(tmp_path: Path) -> None:
    """Also what keeps a daemon that lives from being ready."""
    beaten(tmp_path, docker=False)
    why = "the engine is not connected; no pass has ended yet"
    assert (True, f"alive, but not ready: {why}") == check_heartbeat(tmp_path, NOW)
    assert check_heartbeat(tmp_path, NOW + 300)[1].startswith("the last beat was 300 s ago")
    assert "300 s in the future" in check_heartbeat(tmp_path, NOW - 300)[1]
    beaten(tmp_path, good_age=500.0, docker=False)
    assert (False, f"500 s since the last good pass: {why}") == check_heartbeat(tmp_path, NOW)
    beaten(tmp_path, good_age=None, docker=False)
    expected = (False, f"1000 s since the start, without a good pass: {why}")
    assert expected == check_heartbeat(tmp_path, NOW)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"beat": true, "good": null, "started": 1, "interval": 60, "reasons": []}',
        b'{"beat": NaN, "good": null, "started": 1, "interval": 60, "reasons": []}',
        b'{"beat": 1e400, "good": null, "started": 1, "interval": 60, "reasons": []}',
        b'{"beat": 1, "good": "x", "started": 1, "interval": 60, "reasons": []}',
        b'{"beat": 1, "good": null, "started": 1, "interval": 60, "reasons": 5}',
    ],
)
def test_what_is_no_heartbeat_is_not_well(tmp_path: Path, content: bytes) -> None:
    """Whatever lies there, the check says so and does not break."""
    (tmp_path / FILE).write_bytes(content)
    healthy, words = check_heartbeat(tmp_path, 1.0)
    assert (False, True) == (healthy, "is none" in words)


def test_a_heartbeat_that_cannot_be_read_is_not_well(tmp_path: Path) -> None:
    """The words say why."""
    (tmp_path / FILE).mkdir()
    expected = (False, f"the heartbeat in {tmp_path} cannot be read: it is a directory, not a file")
    assert expected == check_heartbeat(tmp_path, NOW)


@pytest.mark.parametrize("durable", [True, False])
def test_a_small_file_is_replaced_or_left_as_it_was(tmp_path: Path, durable: bool) -> None:
    """In either case nothing stays beside it."""
    write_small(tmp_path / "state", "file", b"old", durable=durable)
    write_small(tmp_path / "state", "file", b"new", durable=durable)
    assert b"new" == (tmp_path / "state" / "file").read_bytes()
    (tmp_path / "state" / "in the way").mkdir()
    with pytest.raises(OSError, match="in the way"):
        write_small(tmp_path / "state", "in the way", b"x", durable=durable)
    assert {"file", "in the way"} == set(os.listdir(tmp_path / "state"))


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists)


@given(st.sampled_from(["beat", "good", "started", "interval", "reasons"]), JSON)
def test_the_check_never_breaks(key: str, value: Any) -> None:
    """Any JSON in any place of a heartbeat gives a verdict in words."""
    found: dict[str, Any] = {
        "beat": NOW,
        "good": None,
        "started": NOW,
        "interval": 60.0,
        "reasons": [],
    }
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / FILE).write_text(json.dumps({**found, key: value}))
        healthy, words = check_heartbeat(Path(directory), NOW)
    assert healthy in (True, False)
    assert words


# The command


def test_the_state_directory_lies_beside_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is named; a flag wins over its variable, ours over the older one."""
    monkeypatch.setattr("time.time", lambda: NOW)
    beaten(tmp_path / ".sidecar")
    beaten(tmp_path / "other")
    config, other = str(tmp_path / "config.json"), str(tmp_path / "other")
    ours = {"BACKREST_SIDECAR_CONFIG": config, "BACKREST_CONFIG": "/nowhere/config.json"}
    for arguments, environment in (
        (["--config", config], {}),
        ([f"--config={config}"], {"BACKREST_CONFIG": "/nowhere/config.json"}),
        ([], {"BACKREST_CONFIG": config}),
        ([], ours),
        ([], {**ours, "BACKREST_SIDECAR_STATE_DIR": ""}),
        (["--state-dir", other], {}),
        ([], {"BACKREST_SIDECAR_STATE_DIR": other, "BACKREST_CONFIG": "/nowhere/config.json"}),
        ([f"--state-dir={other}"], {"BACKREST_SIDECAR_STATE_DIR": "/nowhere"}),
    ):
        assert 0 == run_healthcheck(arguments, environment), (arguments, environment)
    monkeypatch.chdir(tmp_path)
    assert 0 == run_healthcheck([], {})
    assert 1 == run_healthcheck(["--state-dir", "elsewhere"], {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("no heartbeat in elsewhere")


def test_odd_names_are_told_in_ascii(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name of bytes that are no text cannot break the check."""
    assert 1 == run_healthcheck(["--state-dir", str(tmp_path / "caf\udce9")], {})
    assert "caf\\udce9" in capsys.readouterr().out


def test_help_is_a_success_and_says_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Short or long."""
    for flag in ("-h", "--help"):
        assert 0 == run_healthcheck([flag], {})
        said = capsys.readouterr().out
        assert {"--config", "--state-dir"} <= set(said.split())


@pytest.mark.parametrize("arguments", [["--config"], ["--nonsense"], ["here"], ["--help=1"], [""]])
def test_a_wrong_flag_fails(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """With a sentence on standard error and nothing on standard output."""
    assert 1 == run_healthcheck(arguments, {})
    said = capsys.readouterr()
    assert ("", True) == (said.out, said.err.startswith("Error: "))
