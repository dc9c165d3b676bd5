"""What goes wrong, told to people by commands that end: in words, and once."""

import json
import logging
from collections.abc import Iterator

import pytest

from sidecar.cli.output.warnings import hold_back, start_messages, tell_held
from sidecar.lib.log import leave_out, log_event

LOGGER = logging.getLogger("sidecar.tests")
HOOK = {"hook": "hook 1 of plan web", "status": 3, "output": "no", "on": "START"}


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Leave the loggers as they were."""
    root = logging.getLogger("sidecar")
    before = root.handlers[:], root.level, root.propagate
    yield
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def read(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error since the last time; nothing is ever on standard output."""
    out, err = capsys.readouterr()
    assert "" == out
    return err.splitlines()


def test_an_event_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """What it means, why, and what it is about; what to do stands below."""
    start_messages("warn", None)
    log_event(LOGGER, logging.WARNING, "run.waits", repo="nas", locked_by="restic", hint="wait")
    log_event(LOGGER, logging.ERROR, "repository.not-created", repo="nas", reason="no disk")
    log_event(LOGGER, logging.WARNING, "hook.ended", **HOOK)
    LOGGER.warning("a sentence of its own")

    assert [
        "warning: others have locked the repository: nothing is stopped yet (repo nas, locked by restic)",
        "  → wait",
        "error: a repository could not be made: no disk (repo nas)",
        "warning: hook 1 of plan web has ended with status 3: no (on START)",
        "warning: a sentence of its own",
    ] == read(capsys)


def test_a_document_that_cannot_be_used_is_not_said_to_be_executed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A command reads it once: there is no earlier state that could be."""
    start_messages("warn", None)
    fields = {"reason": "there is no document at a.json", "hint": "write --config config.json"}
    log_event(LOGGER, logging.ERROR, "document.refused", **fields, executed="none")

    assert [
        "error: nothing of a document is used: there is no document at a.json",
        "  → write --config config.json",
    ] == read(capsys)


def test_who_asks_for_a_log_gets_one(capsys: pytest.CaptureFixture[str]) -> None:
    """By its form, or by a level at which more is told than what goes wrong."""
    for level, form in (("warn", "text"), ("info", None)):
        start_messages(level, form)
        log_event(LOGGER, logging.WARNING, "run.waits", repo="nas")
        (line,) = read(capsys)
        assert line.endswith('warn  run.waits repo="nas"')
    start_messages("warn", "json")
    log_event(LOGGER, logging.WARNING, "run.waits", repo="nas")
    assert "run.waits" == json.loads(read(capsys)[0])["event"]


def test_nothing_in_an_event_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs and labels have written it."""
    start_messages("warn", None)
    log_event(LOGGER, logging.WARNING, "run.waits", reason="\x1b[2J{repo}\r", hint="\x07x")

    assert all(line.isprintable() for line in read(capsys))


def test_what_the_end_of_a_run_says_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that failed, and was the reason; one that was not is told."""
    start_messages("warn", None)
    leave_out(lambda event, _: event == "run.ended")
    hold_back()
    log_event(LOGGER, logging.WARNING, "hook.ended", **HOOK)
    log_event(LOGGER, logging.WARNING, "hook.ended", **{**HOOK, "hook": "hook 2 of plan web"})
    log_event(LOGGER, logging.WARNING, "run.waits", repo="nas")
    log_event(LOGGER, logging.ERROR, "run.ended", reason="x")
    assert 1 == len(read(capsys))
    tell_held("backup web: failed: hook 1 of plan web: exit code 3")
    assert ["warning: hook 2 of plan web has ended with status 3: no (on START)"] == read(capsys)
    tell_held()
    assert [] == read(capsys)


def test_beside_other_runs_it_waits_for_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """The end of another says nothing of it."""
    start_messages("warn", None)
    hold_back()
    log_event(LOGGER, logging.ERROR, "repository.not-created", repo="nas", reason="no disk")
    log_event(LOGGER, logging.WARNING, "hook.ended", **HOOK)
    tell_held("backup db: success", others_run=True)
    tell_held("backup web: failed: no disk", others_run=True)
    assert [] == read(capsys)
    tell_held()
    assert ["warning: hook 1 of plan web has ended with status 3: no (on START)"] == read(capsys)
