"""The queue of notifications: what is sent when, in which order, and what outlives the runner."""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.runner.journal import Journal
from sidecar.runner.notify.delivery import CLOSE_SECONDS, PAUSES, Delivered, DeliveryQueue
from sidecar.runner.notify.messages import (
    Failure,
    HttpRequest,
    QueuedMessage,
    Request,
    render_message,
)

DOWN = Failure("it answered 503", is_down=True)
REFUSED = Failure("it answered 400")


@dataclass
class ScriptedSender:
    """Sends nothing, but fails as it is told to, by address; keeps what it was given."""

    failures: dict[str, Failure] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    has_sent: threading.Event = field(default_factory=threading.Event)

    def send(self, request: Request) -> Failure | None:
        """Fail or not."""
        self.tried.append(f"{request.url} {request.body}")
        self.has_sent.set()
        return self.failures.get(request.url)

    def check(self, urls: Sequence[str]) -> tuple[str, ...]:
        """Find fault with the addresses that fail."""
        return tuple(self.failures[url].reason if url in self.failures else "" for url in urls)


@dataclass
class Ground:
    """A journal, a clock, a sender, and the queue between them."""

    path: Path
    now: float = 1000.0
    sender: ScriptedSender = field(default_factory=ScriptedSender)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start as a runner does."""
        self.journal = Journal(self.path, now=lambda: self.now)
        self.delivery = DeliveryQueue(self.journal, self.sender, lambda: self.now)

    def post(
        self, body: str, to: str = "a", *, is_start: bool = False, about: str = "plan web"
    ) -> None:
        """Post a message."""
        self.delivery.post(
            QueuedMessage(to, about, HttpRequest(f"https://{to}/secret", body), self.now, is_start)
        )

    def fail(self, *places: str, failure: Failure = DOWN) -> None:
        """Let these fail, and no others."""
        self.sender.failures = {f"https://{place}/secret": failure for place in places}

    def tried(self) -> list[str]:
        """Return what was tried since it was last asked."""
        found = [one.removeprefix("https://").replace("/secret", "") for one in self.sender.tried]
        self.sender.tried.clear()
        return found


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """Return a ground; its journal is closed in the end."""
    ground = Ground(tmp_path / "journal.sqlite")
    yield ground
    ground.journal.close()


def test_messages_are_sent_in_order_and_forgotten(ground: Ground) -> None:
    """Once each."""
    ground.post("1")
    ground.post("2", "b")

    assert Delivered(sent=2) == ground.delivery.deliver()
    assert ["a 1", "b 2"] == ground.tried()
    assert Delivered() == ground.delivery.deliver()


def test_a_message_that_fails_is_tried_again_and_dropped_in_the_end(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """After a minute, five, thirty and two hours; then it is told and gone."""
    ground.post("1")
    ground.fail("a")

    assert Delivered(failed=1, waiting=1) == ground.delivery.deliver()
    for pause in PAUSES[:-1]:
        ground.now += pause - 1
        assert Delivered(waiting=1) == ground.delivery.deliver()
        ground.now += 1
        assert Delivered(failed=1, waiting=1) == ground.delivery.deliver()
    ground.now += PAUSES[-1]
    assert Delivered(dropped=1) == ground.delivery.deliver()
    assert Delivered() == ground.delivery.deliver()

    assert (60.0, 300.0, 1800.0, 7200.0) == PAUSES
    assert 5 == len(ground.tried())
    assert ["notify.failed"] * 4 + ["notify.dropped"] == [
        record.message for record in caplog.records
    ]
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def test_one_that_is_sent_at_last_is_forgotten(ground: Ground) -> None:
    """Servers come back."""
    ground.post("1")
    ground.fail("a")
    ground.delivery.deliver()
    ground.fail()
    ground.now += PAUSES[0]

    assert Delivered(sent=1) == ground.delivery.deliver()
    assert Delivered() == ground.delivery.deliver()


def test_a_server_that_is_down_is_asked_once_in_a_pass(ground: Ground) -> None:
    """Ten messages to it must not take ten times as long; others are not held up."""
    for number in range(3):
        ground.post(f"{number}")
    ground.post("x", "b")
    ground.fail("a")

    assert Delivered(sent=1, failed=3, waiting=3) == ground.delivery.deliver()
    assert ["a 0", "b x"] == ground.tried()


def test_a_message_that_is_refused_holds_up_no_other(ground: Ground) -> None:
    """It may be the only one that the server does not like."""
    ground.post("1")
    ground.post("2")
    ground.fail("a", failure=REFUSED)

    ground.delivery.deliver()

    assert ["a 1", "a 2"] == ground.tried()


def test_what_can_never_work_is_not_tried_again(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """It is given up at once, and told."""
    ground.post("1")
    ground.fail("a", failure=Failure("it answered 404", is_final=True))

    assert Delivered(dropped=1) == ground.delivery.deliver()
    assert "notify.dropped" in [record.getMessage() for record in caplog.records]
    assert Delivered() == ground.delivery.deliver()


def test_addresses_are_checked_at_the_start(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """Long before something has to be told."""
    ground.sender.failures = {"odd://secret": Failure("it is not understood")}
    queue = DeliveryQueue(
        ground.journal, ground.sender, lambda: ground.now, ["json://h/", "odd://secret"]
    )
    queue.start()
    queue.close()

    assert ("--notify-url 2 (odd) cannot be used: it is not understood",) == queue.unusable
    assert "notify.unusable" in [record.getMessage() for record in caplog.records]
    assert "secret" not in caplog.text


def test_a_beginning_is_not_told_after_the_end(ground: Ground) -> None:
    """A check would take the run for one that never ends."""
    ground.post("start", is_start=True)
    ground.fail("a")
    ground.delivery.deliver()
    ground.tried()
    ground.fail()
    ground.now += 20
    ground.post("other", about="plan db")
    ground.post("end")

    assert Delivered(sent=2, dropped=1) == ground.delivery.deliver()
    ground.now += PAUSES[0]
    assert Delivered() == ground.delivery.deliver()
    assert ["a other", "a end"] == ground.tried()


def test_a_beginning_that_was_not_tried_yet_comes_first(ground: Ground) -> None:
    """Where a run takes no time both are told, in order."""
    ground.post("start", is_start=True)
    ground.post("end")

    ground.delivery.deliver()

    assert ["a start", "a end"] == ground.tried()


def test_a_beginning_that_is_still_true_is_tried_again(ground: Ground) -> None:
    """While it runs people may want to know."""
    ground.post("start", is_start=True)
    ground.fail("a")
    ground.delivery.deliver()
    ground.fail()
    ground.now += PAUSES[0]

    assert Delivered(sent=1) == ground.delivery.deliver()


def test_messages_outlive_the_runner(ground: Ground) -> None:
    """What it could not send any more the next one sends."""
    ground.post("1")
    ground.journal.close()
    ground.begin()

    assert Delivered(sent=1) == ground.delivery.deliver()
    assert ["a 1"] == ground.tried()


def test_without_a_journal_messages_are_tried_once(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is what one wants to be told of most."""
    ground.journal.close()
    ground.post("1")
    ground.post("2", "b")
    ground.fail("b")

    assert Delivered(sent=1, dropped=1) == ground.delivery.deliver()
    assert ["a 1", "b 2"] == ground.tried()
    assert "outbox.unreadable" in [record.message for record in caplog.records]
    assert Delivered() == ground.delivery.deliver()
    ground.begin()


def test_what_is_no_message_is_told_and_forgotten(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """Another version may have left it."""
    ground.journal.outbox.post("something else", 1.0)

    assert Delivered() == ground.delivery.deliver()
    assert ["outbox.unknown"] == [record.message for record in caplog.records]
    assert () == ground.journal.outbox.due(ground.now)


def test_nobody_else_can_read_what_waits(ground: Ground) -> None:
    """There are addresses with tokens in it."""
    ground.post("1")

    assert 0o600 == ground.path.stat().st_mode & 0o777


def test_a_thread_sends_at_once(ground: Ground) -> None:
    """Nobody who posts waits for a server."""
    ground.delivery.start()
    ground.post("1")

    assert ground.sender.has_sent.wait(20)
    ground.delivery.close()
    assert ["a 1"] == ground.tried()


def test_a_thread_begins_with_what_a_former_runner_left(ground: Ground) -> None:
    """Without being asked."""
    ground.journal.outbox.post(
        render_message(QueuedMessage("a", "plan web", HttpRequest("https://a/secret", "old"), 1.0)),
        1.0,
    )
    ground.delivery.start()

    assert ground.sender.has_sent.wait(20)
    ground.delivery.close()
    assert ["a old"] == ground.tried()


def test_what_is_posted_last_is_sent_at_the_end(ground: Ground) -> None:
    """Also where no thread was ever started, for a single run."""
    ground.post("1")
    ground.delivery.close()

    assert ["a 1"] == ground.tried()


def test_the_end_does_not_wait_for_all_servers(ground: Ground) -> None:
    """What would take too long waits for the next start."""

    class Slow(ScriptedSender):
        def send(self, request: Request) -> Failure | None:
            ground.now += CLOSE_SECONDS / 2 + 1
            return super().send(request)

    ground.sender = Slow()
    ground.delivery = DeliveryQueue(ground.journal, ground.sender, lambda: ground.now)
    for number in range(5):
        ground.post(f"{number}")
    ground.delivery.close()

    assert ["a 0", "a 1"] == ground.tried()
    assert 3 == len(ground.journal.outbox.due(ground.now))


def test_messages_of_the_same_words_are_two_messages(ground: Ground) -> None:
    """Each was asked for."""
    ground.post("1")
    ground.now += 1
    ground.post("1")

    assert Delivered(sent=2) == ground.delivery.deliver()


def test_long_messages_are_sent_once(ground: Ground) -> None:
    """What waits is what is remembered, cut or not."""
    ground.post("ä" * 50_000)

    assert Delivered(sent=1) == ground.delivery.deliver()
    assert Delivered() == ground.delivery.deliver()


def test_what_waits_is_plain_rows(ground: Ground) -> None:
    """The journal keeps them in the order in which they came."""
    ground.post("1")
    ground.post("2")
    with sqlite3.connect(ground.path) as connection:
        rows = connection.execute("SELECT body FROM outbox ORDER BY id").fetchall()
    connection.close()

    assert ['"body": "1"' in rows[0][0], '"body": "2"' in rows[1][0]] == [True, True]


def test_sending_is_told_on_request(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    """By what people call it."""
    caplog.set_level(logging.DEBUG)
    ground.post("1")
    ground.delivery.deliver()

    assert [{"to": "a", "about": "plan web"}] == [
        record.__dict__["fields"] for record in caplog.records
    ]
