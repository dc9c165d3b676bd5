"""Notices: what the operator is notified of, and where."""

from datetime import UTC, datetime

from sidecar.engines.base import Stats
from sidecar.runner.journal import RunOutcome
from sidecar.runner.notify.addresses import name_address
from sidecar.runner.notify.notices import (
    Notice,
    NoticeEvent,
    RunNotifier,
    event_of,
    render_notice,
)
from tests.fakes.message_list import MessageList

NOW = datetime(2031, 4, 5, 6, 7, 8, tzinfo=UTC)


NOTICE = Notice(
    NoticeEvent.ERROR,
    "backup",
    "plan web",
    "failed",
    NOW,
    "the disk is full",
    3725.4,
    Stats(2, 1, 0, 3, 1500, 2_500_000),
    "4bba301e",
    datetime(2031, 4, 1, 2, 0, tzinfo=UTC),
    datetime(2031, 4, 6, 2, 0, tzinfo=UTC),
)


def test_a_notice_is_one_clear_message() -> None:
    """What, why, how long, how much, and when again."""
    title, body = render_notice(NOTICE, "nas")

    assert "backup of plan web failed on nas" == title
    assert [
        "Backup of plan web: failed",
        "Reason: the disk is full",
        "Time: 2031-04-05 06:07+00:00",
        "Duration: 1 h 2 min 5 s",
        "Size: 2.5 MB in 3 files",
        "Added: 1.5 kB (2 new and 1 changed files)",
        "Snapshot: 4bba301e",
        "Last success: 2031-04-01 02:00+00:00",
        "Next: 2031-04-06 02:00+00:00",
        "Host: nas",
    ] == body.splitlines()


def test_a_notice_says_no_more_than_is_known() -> None:
    """Most of it may be unknown."""
    notice = Notice(NoticeEvent.START, "prune", "repository main", "began", NOW, seconds=0.2)

    assert (
        "Prune of repository main: began\nTime: 2031-04-05 06:07+00:00\nDuration: 0 s\nHost: nas"
        == render_notice(notice, "nas")[1]
    )


def test_notices_go_to_every_address_of_the_events_asked_for() -> None:
    """And on no other; an address is called by its number where it must not be shown."""
    messages = MessageList()
    urls = ("mailtos://u:secret@h", "json://host/secret")
    notifier = RunNotifier(urls, {NoticeEvent.ERROR, NoticeEvent.MISSED}, "nas", messages)

    notifier.announce(NOTICE)
    notifier.announce(Notice(NoticeEvent.SUCCESS, "backup", "plan web", "succeeded", NOW))

    assert ["--notify-url 1 (mailtos)", "--notify-url 2 (json)"] == [
        message.to for message in messages
    ]
    assert [False, False] == [message.is_start for message in messages]
    assert list(urls) == [message.request.url for message in messages]
    assert "secret" not in repr((notifier, messages))


def test_an_address_that_is_none_has_a_number_only() -> None:
    """It may be a secret that was pasted into the wrong place."""
    assert ("--notify-url 1", "--notify-url 2") == (
        name_address("secret", 1),
        name_address("http://[", 2),
    )


def test_every_outcome_is_an_event() -> None:
    """Errors are what failed or was interrupted."""
    found = {outcome: event_of(outcome) for outcome in RunOutcome}

    assert {RunOutcome.FAILED, RunOutcome.INTERRUPTED} == {
        outcome for outcome, event in found.items() if event is NoticeEvent.ERROR
    }
