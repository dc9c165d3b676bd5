"""Whether what stands still was stopped by us: one table for containers, one for services."""

from datetime import UTC, datetime

import pytest

from sidecar.docker.stopped import (
    ENDLESS,
    NotedStop,
    StopVerb,
    Verdict,
    judge_container,
    judge_service,
    parse_moment,
)

AT = 1_772_625_000.0
UNTIL = AT + 4 + 15
NEVER = "0001-01-01T00:00:00Z"
STOP = NotedStop(StopVerb.STOP, AT, 4)
PAUSE = NotedStop(StopVerb.PAUSE, AT, 0)
OLDER = NotedStop(StopVerb.UNKNOWN, AT, 10)
DONE = NotedStop(StopVerb.STOP, AT, 4, "2026-03-04T11:50:04.5Z")
ENDLESSLY = NotedStop(StopVerb.STOP, AT, ENDLESS)


def after(seconds: float) -> str:
    """Write the moment so many seconds after the command as Docker does."""
    return datetime.fromtimestamp(AT + seconds, UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("stop", "status", "finished", "now", "expected"),
    [
        (STOP, "running", NEVER, AT, Verdict.WAIT),
        (STOP, "running", NEVER, UNTIL - 1, Verdict.WAIT),
        (STOP, "restarting", NEVER, UNTIL - 1, Verdict.WAIT),
        (STOP, "running", NEVER, UNTIL, Verdict.NOTHING),
        (DONE, "running", DONE.finished, AT, Verdict.NOTHING),
        (ENDLESSLY, "running", NEVER, AT + 614, Verdict.WAIT),
        (ENDLESSLY, "running", NEVER, AT + 615, Verdict.UNENDING),
        (ENDLESSLY, "exited", after(615), AT + 999, Verdict.START),
        (STOP, "exited", after(0), AT, Verdict.START),
        (STOP, "exited", after(19), AT + 99, Verdict.START),
        (STOP, "exited", after(19.5), AT + 99, Verdict.SOMEBODY_ELSE),
        (STOP, "exited", after(-1), AT, Verdict.SOMEBODY_ELSE),
        (STOP, "exited", NEVER, AT, Verdict.SOMEBODY_ELSE),
        (DONE, "exited", DONE.finished, AT + 9e9, Verdict.START),
        (DONE, "exited", after(5), AT + 5, Verdict.SOMEBODY_ELSE),
        (STOP, "paused", NEVER, AT, Verdict.SOMEBODY_ELSE),
        (PAUSE, "paused", NEVER, AT + 9e9, Verdict.UNPAUSE),
        (PAUSE, "running", NEVER, AT + 14, Verdict.WAIT),
        (PAUSE, "running", NEVER, AT + 15, Verdict.NOTHING),
        (PAUSE, "exited", after(1), AT, Verdict.SOMEBODY_ELSE),
        (OLDER, "exited", after(1), AT, Verdict.START),
        (OLDER, "paused", NEVER, AT, Verdict.UNPAUSE),
        (NotedStop(), "exited", after(1), AT, Verdict.START),
        (STOP, "removing", NEVER, AT, Verdict.WAIT),
        (STOP, "created", NEVER, AT, Verdict.WAIT),
    ],
)
def test_a_container_is_ours_if_it_stopped_in_the_time_of_our_command(
    stop: NotedStop, status: str, finished: str, now: float, expected: Verdict
) -> None:
    """Its limit and 15 s after the command, unless the exact moment was noted."""
    assert expected is judge_container(stop, status, finished, now)


@pytest.mark.parametrize(
    ("finished", "replicas", "now", "expected"),
    [
        ("", 0, AT, Verdict.SCALE),
        ("", 2, AT + 14, Verdict.WAIT),
        ("", 2, AT + 15, Verdict.NOTHING),
        ("1772625000", 2, AT, Verdict.NOTHING),
        ("1772625000", 0, AT + 9e9, Verdict.SCALE),
    ],
)
def test_a_service_is_scaled_back_from_no_replicas(
    finished: str, replicas: int, now: float, expected: Verdict
) -> None:
    """One that has some may still be about to lose them."""
    stop = NotedStop(StopVerb.SCALE, AT, 0, finished, 2)
    assert expected is judge_service(stop, replicas, now)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-02T00:00:00Z", 86400.0),
        ("2026-01-02T04:04:05.5+01:00", 1767323045.5),
        ("2026-01-02T03:04:05Z", 1767323045.0),
        ("0001-01-01T00:00:00Z", 0.0),
        ("2026-01-02T03:04:05", 0.0),
        ("yesterday", 0.0),
        ("", 0.0),
    ],
)
def test_moments_are_unix_seconds(text: str, expected: float) -> None:
    """What has never happened, and what is no time, is 0."""
    assert expected == parse_moment(text)
