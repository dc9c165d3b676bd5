"""The heartbeat: what it holds, when it counts, and what `healthcheck` makes of any file."""

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
from sidecar.reconciler.healthcheck import HEALTHCHECK
from sidecar.runner.healthcheck import HEALTHCHECK as RUNNER_HEALTHCHECK
from sidecar.service.health import Finding, Health, HealthAspect, allowance
from sidecar.service.healthcheck import FILE, Healthcheck, check_heartbeat, has_heartbeat
from sidecar.service.heartbeat import Heartbeat
from tests.fakes.log_listener import Listener

NOW = 1_780_000_000.0
MOST = allowance(60.0)
LATE = Finding("plan-late", "the plan web was never saved", "web")
LOST = Finding("docker-lost", "the engine is not connected", breaks=(HealthAspect.READY,))


def beaten(directory: Path, *findings: Finding, interval: float = 60.0) -> Path:
    """Make a heartbeat in a directory."""
    Heartbeat(directory, interval).beat(NOW, Health(findings))
    return directory


@pytest.fixture
def told() -> Iterator[list[logging.LogRecord]]:
    """What the module logs."""
    records: list[logging.LogRecord] = []
    listener = Listener(records)
    logger = logging.getLogger("sidecar.service.heartbeat")
    logger.addHandler(listener)
    yield records
    logger.removeHandler(listener)


def test_a_beat_tells_times_process_and_findings(tmp_path: Path) -> None:
    """It is a small JSON object that only its owner can read, and nothing is left beside it."""
    beaten(tmp_path / "state", LATE)
    file = tmp_path / "state" / FILE
    assert {
        "pid": os.getpid(),
        "at": NOW,
        "due": NOW + MOST,
        "healthy": False,
        "findings": [{"reason": LATE.reason, "about": "web", "sentence": LATE.sentence}],
        "more": 0,
    } == json.loads(file.read_text())
    assert [FILE] == os.listdir(tmp_path / "state")
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_the_end_takes_the_heartbeat_away(tmp_path: Path) -> None:
    """Then the check fails at once, instead of minutes later; a second end does no harm."""
    heartbeat = Heartbeat(tmp_path, 60.0)
    heartbeat.beat(NOW, Health())
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
    heartbeat = Heartbeat(blocked, 60.0)
    heartbeat.beat(NOW, Health())
    heartbeat.beat(NOW, Health())
    heartbeat.end()
    assert ["pulse.not-saved"] == [record.getMessage() for record in told]
    blocked.unlink()
    heartbeat.beat(NOW, Health())
    (blocked / FILE).unlink()
    blocked.rmdir()
    blocked.write_text("again")
    heartbeat.beat(NOW, Health())
    assert 2 == len(told)


@pytest.mark.parametrize(
    ("interval", "later", "expected"),
    [
        (60.0, 0.0, True),
        (60.0, MOST, True),
        (60.0, MOST + 1, False),
        (60.0, -MOST, True),
        (60.0, -MOST - 1, False),
        (600.0, 1800.0, True),
    ],
)
def test_a_beat_counts_for_three_intervals_and_half_a_minute(
    tmp_path: Path, interval: float, later: float, expected: bool
) -> None:
    """A daemon that hangs says nothing new; nor may the clock be far off."""
    beaten(tmp_path, interval=interval)
    assert expected == check_heartbeat(tmp_path, NOW + later)[0]


def test_the_words_say_what_is_wrong(tmp_path: Path) -> None:
    """Also what keeps a daemon that lives from being ready."""
    assert (True, "all is well") == check_heartbeat(beaten(tmp_path), NOW)
    assert check_heartbeat(tmp_path, NOW + 300)[1].startswith("the last beat was 300 s ago")
    assert "300 s in the future" in check_heartbeat(tmp_path, NOW - 300)[1]
    expected = (True, f"alive, but not ready:\n{LOST.sentence}")
    assert expected == check_heartbeat(beaten(tmp_path, LOST), NOW)
    expected = (False, f"{LATE.sentence}\n{LOST.sentence}")
    assert expected == check_heartbeat(beaten(tmp_path, LATE, LOST), NOW)


def test_a_thousand_findings_are_told_by_their_first(tmp_path: Path) -> None:
    """Docker keeps four kilobytes of what a check prints, and the file stays small as well."""
    beaten(tmp_path, *(Finding("plan-late", f"plan {n} is late") for n in range(1000)))
    healthy, words = check_heartbeat(tmp_path, NOW)
    lines = words.splitlines()
    assert (False, "plan 0 is late") == (healthy, lines[0])
    assert (11, "and 990 more") == (len(lines), lines[-1])
    assert (tmp_path / FILE).stat().st_size < 16 * 1024


@pytest.mark.parametrize(
    "content",
    [
        {"beat": NOW, "good": None, "started": NOW, "interval": 60.0, "pid": 1, "reasons": []},
        {"beat": NOW, "pid": 1, "reasons": ["the document is broken"]},
    ],
    ids=["sidecar", "runner"],
)
def test_a_beat_of_the_version_before_is_unknown_until_the_next(
    tmp_path: Path, content: dict[str, object]
) -> None:
    """It is there after an upgrade for which the daemon was killed."""
    (tmp_path / FILE).write_text(json.dumps(content))
    expected = (False, "the heartbeat is that of another version: unknown until the next beat")
    assert expected == check_heartbeat(tmp_path, NOW)
    assert check_heartbeat(beaten(tmp_path), NOW)[0]


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
        b'{"at": true, "due": 9, "more": 0, "healthy": true, "findings": []}',
        b'{"at": NaN, "due": 9, "more": 0, "healthy": true, "findings": []}',
        b'{"at": 1e400, "due": 9, "more": 0, "healthy": true, "findings": []}',
        b'{"at": 1, "due": "x", "more": 0, "healthy": true, "findings": []}',
        b'{"at": 1, "due": 1e300, "more": 0, "healthy": true, "findings": []}',
        b'{"at": 1, "due": 9, "more": null, "healthy": true, "findings": []}',
        b'{"at": 1, "due": 9, "more": 0, "healthy": true, "findings": 5}',
        b'{"at": 1, "due": 9, "more": 0, "healthy": true, "findings": [{}]}',
        b'{"at": 1, "due": 9, "more": 0, "healthy": true, "findings": ["x"]}',
        b'{"at": 1, "due": 9, "more": 0, "findings": []}',
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


@given(st.sampled_from(["beat", "at", "due", "more", "healthy", "findings"]), JSON)
def test_the_check_never_breaks(key: str, value: Any) -> None:
    """Any JSON in any place of a heartbeat gives a verdict in words."""
    found: dict[str, Any] = {
        "at": NOW,
        "due": NOW + MOST,
        "healthy": True,
        "findings": [],
        "more": 0,
    }
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / FILE).write_text(json.dumps({**found, key: value}))
        healthy, words = check_heartbeat(Path(directory), NOW)
    assert healthy in (True, False)
    assert words


# The command


@pytest.mark.parametrize(
    ("check", "folder", "prefix"),
    [
        (HEALTHCHECK, ".sidecar", "BACKREST_SIDECAR_"),
        (RUNNER_HEALTHCHECK, ".runner", "BACKREST_RUNNER_"),
    ],
    ids=["sidecar", "runner"],
)
def test_the_state_directory_lies_beside_the_document(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    check: Healthcheck,
    folder: str,
    prefix: str,
) -> None:
    """Unless it is named; a flag wins over its variable, ours over the older one."""
    monkeypatch.setattr("time.time", lambda: NOW)
    beaten(tmp_path / folder)
    beaten(tmp_path / "other")
    config, other = str(tmp_path / "config.json"), str(tmp_path / "other")
    ours = {f"{prefix}CONFIG": config, "BACKREST_CONFIG": "/nowhere/config.json"}
    for arguments, environment in (
        (["--config", config], {}),
        ([f"--config={config}"], {"BACKREST_CONFIG": "/nowhere/config.json"}),
        ([], {"BACKREST_CONFIG": config}),
        ([], ours),
        ([], {**ours, f"{prefix}STATE_DIR": ""}),
        (["--state-dir", other], {}),
        ([], {f"{prefix}STATE_DIR": other, "BACKREST_CONFIG": "/nowhere/config.json"}),
        ([f"--state-dir={other}"], {f"{prefix}STATE_DIR": "/nowhere"}),
    ):
        assert 0 == check.run(arguments, environment), (arguments, environment)
    monkeypatch.chdir(tmp_path)
    assert 0 == check.run([], {})
    assert 1 == check.run(["--state-dir", "elsewhere"], {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("no heartbeat in elsewhere")


def test_odd_names_are_told_in_ascii(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name of bytes that are no text cannot break the check."""
    assert 1 == HEALTHCHECK.run(["--state-dir", str(tmp_path / "caf\udce9")], {})
    assert "caf\\udce9" in capsys.readouterr().out


@pytest.mark.parametrize("check", [HEALTHCHECK, RUNNER_HEALTHCHECK], ids=["sidecar", "runner"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_a_success_and_says_the_flags(
    capsys: pytest.CaptureFixture[str], check: Healthcheck, flag: str
) -> None:
    """Short or long."""
    assert 0 == check.run([flag], {})
    said = capsys.readouterr().out
    assert {"--config", "--state-dir"} <= set(said.split())


@pytest.mark.parametrize("arguments", [["--config"], ["--nonsense"], ["here"], ["--help=1"], [""]])
def test_a_wrong_flag_fails(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """With a sentence on standard error and nothing on standard output."""
    assert 1 == HEALTHCHECK.run(arguments, {})
    said = capsys.readouterr()
    assert ("", True) == (said.out, said.err.startswith("Error: "))


def test_only_what_is_surely_absent_is_no_heartbeat(tmp_path: Path) -> None:
    """What cannot be looked at may be there."""
    assert not has_heartbeat(tmp_path)
    (tmp_path / "daemon").write_text("")
    assert has_heartbeat(tmp_path / "daemon")
    (tmp_path / FILE).write_text("{")
    assert has_heartbeat(tmp_path)
