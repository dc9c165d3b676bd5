"""Events as they are logged."""

import json
import logging
from collections.abc import Iterator

import pytest

from sidecar.lib.log import leave_out, log_event, start_logging


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Leave the loggers as they were."""
    root = logging.getLogger("sidecar")
    before = root.handlers[:], root.level, root.propagate
    yield
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def logged(form: str, capsys: pytest.CaptureFixture[str], **fields: object) -> str:
    """Return what one event writes."""
    start_logging("info", form)
    log_event(logging.getLogger("sidecar.tests"), logging.INFO, "run.ended", **fields)
    return capsys.readouterr().err


def test_text_can_be_read_by_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Arrows and names of all languages as they are; strings are told from numbers."""
    line = logged("text", capsys, plan="büro", reason="locked → wait", tries=2)

    assert line.endswith('info  run.ended plan="büro" reason="locked → wait" tries=2\n')


def test_what_cannot_be_seen_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Ends of lines, controls of terminals, turns of direction, bytes that are no UTF-8."""
    line = logged("text", capsys, reason="a\nb\x1b[31m\u202e\udcff\U000e0001")

    assert line.endswith('reason="a\\nb\\u001b[31m\\u202e\\udcff\\udb40\\udc01"\n')


def test_json_is_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever reads it, whatever encoding it takes it for."""
    line = logged("json", capsys, reason="locked → wait")

    assert line.isascii()
    assert json.loads(line)["reason"] == "locked → wait"


@pytest.mark.parametrize(
    ("level", "form", "lines"), [("warn", "text", 1), ("info", "text", 2), ("warn", "json", 2)]
)
def test_what_is_shown_otherwise_is_left_out_for_people(
    level: str, form: str, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asks for more gets it, and programs get all."""
    start_logging(level, form)
    leave_out(lambda event, fields: event == "run.ended" and "again" not in fields)
    logger = logging.getLogger("sidecar.tests")
    log_event(logger, logging.WARNING, "run.ended", reason="locked")
    log_event(logger, logging.WARNING, "run.ended", reason="locked", again="soon")
    assert lines == len(capsys.readouterr().err.splitlines())
