"""Messages and progress of restic, of 0.14 and of current versions."""

import json

import pytest

from sidecar.engines.base import Progress
from sidecar.engines.restic.messages import ProgressParser, parse_message, parse_output
from sidecar.lib.process import SilenceTimeout

SUMMARY = (
    b'{"message_type":"summary","files_new":1,"files_changed":2,"files_unmodified":3,'
    b'"dirs_new":8,"tree_blobs":9,"data_added":4,"total_files_processed":6,"total_bytes_processed":7,"total_duration":0.5,'
    b'"snapshot_id":"3f6d16f7"}\n'
)


class Clock:
    """Time that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def status(**counts: object) -> bytes:
    """Say how far it is."""
    return json.dumps({"message_type": "status", **counts}).encode()


def test_progress_is_read_from_backup_and_restore() -> None:
    """What is zero is left out by restic; a fraction is one."""
    reports: list[Progress] = []
    parser = ProgressParser(reports.append, None, Clock(), every=0.0)
    parser.take(
        status(
            percent_done=0.25,
            files_done=1,
            total_files=4,
            bytes_done=10,
            total_bytes=40,
            seconds_remaining=9,
        )
    )
    parser.take(
        status(percent_done=1.5, files_restored=2, total_files=2, bytes_restored=8, total_bytes=8)
    )
    parser.take(status())
    parser.take(SUMMARY)
    parser.take(b"plain words")

    assert [
        Progress(0.25, 1, 4, 10, 40, 9.0),
        Progress(1.0, 2, 2, 8, 8),
        Progress(0.0, 0, 0, 0, 0),
        Progress(1.0, 6, 6, 7, 7),
    ] == reports


def test_reports_are_throttled() -> None:
    """The first at once, then one a second at most; the end in any case."""
    clock, reports = Clock(), list[Progress]()
    parser = ProgressParser(reports.append, None, clock, every=1.0)
    for tenth in range(31):
        clock.now = tenth / 10
        parser.take(status(files_done=tenth))
    parser.take(SUMMARY)

    assert [0, 10, 20, 30, 6] == [report.files for report in reports]


def test_only_what_moves_renews_the_patience() -> None:
    """Seconds that go by are no movement; counts, errors and other words are."""
    clock = Clock()
    patience = SilenceTimeout(10.0, clock)
    parser = ProgressParser(None, patience, clock)
    moved = []
    for line in (
        status(seconds_elapsed=1, files_done=1),
        status(seconds_elapsed=2, files_done=1),
        status(seconds_elapsed=3, files_done=1, error_count=1),
        b"[0:01] 10.00%  1 / 10 packs",
        b"[0:11] 10.00%  1 / 10 packs",
        b"[0:21] 20.00%  2 / 10 packs",
    ):
        clock.now += 1
        before = patience.ends
        parser.take(line)
        moved.append(patience.ends != before)

    assert [True, False, True, True, False, True] == moved


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b'{"message_type":"error"}', b'{"item":1,"error":2}']
)
def test_messages_without_what_they_should_have(line: bytes) -> None:
    """They are shown, not stumbled over."""
    output = parse_output(line, line)

    assert output.lines
    assert output.summary is None


def test_a_line_of_any_depth_ends_nothing() -> None:
    """It is no message, and what a program prints stops no run."""
    assert parse_message('{"a":' + "[" * 100_000) is None
