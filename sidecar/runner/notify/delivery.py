"""The queue of notifications: sent at once, and again later if that does not work.

A thread of its own sends them, so that no backup waits for a server. Messages wait in the
journal and survive the runner; what the journal cannot take is tried once from memory.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.lib.threads import Closable
from sidecar.runner.journal import Journal, Posted
from sidecar.runner.notify.addresses import check_addresses
from sidecar.runner.notify.messages import (
    Failure,
    QueuedMessage,
    Request,
    fit_message,
    parse_message,
    render_message,
)

PAUSES = (60.0, 300.0, 1800.0, 7200.0)
"""Seconds after which a message is tried again; after the last of them it is dropped."""
POLL_SECONDS = 15.0
"""How often it checks whether a message that waits is due."""
CLOSE_SECONDS = 10.0
"""How long messages are sent while it closes; what is left then waits for the next start."""
_MOST = 1000
_MOST_FRESH = 100

_log = logging.getLogger(__name__)


class Sender(Protocol):
    """What sends one request."""

    def send(self, request: Request) -> Failure | None:
        """Send it; None if that succeeded. Raises nothing."""
        ...

    def check(self, urls: Sequence[str]) -> Sequence[str]:
        """Return for each Apprise URL what is wrong with it; empty: nothing. Raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many messages of a pass were sent, put off and dropped, and how many still wait."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message that waits; `posted` None: the journal could not take it."""

    message: QueuedMessage
    posted: Posted | None = None


class DeliveryQueue(Closable):
    """Takes messages and sends them: in a thread of its own once `start` was called.

    That first checks `urls`, the addresses of --notify-url. `now` gives unix seconds.
    """

    def __init__(
        self,
        journal: Journal,
        sender: Sender,
        now: Callable[[], float] = time.time,
        urls: Sequence[str] = (),
    ) -> None:
        self.unusable: tuple[str, ...] = ()
        """A sentence for each address that cannot be used; known once they are checked."""
        self._urls = urls
        self._journal = journal
        self._sender = sender
        self._now = now
        self._fresh: deque[QueuedMessage] = deque(maxlen=_MOST_FRESH)
        self._sending = threading.Lock()
        self._posting = threading.Lock()
        self._wake = threading.Event()
        self._is_closing = False
        self._closes_at = math.inf
        self._thread = threading.Thread(target=self._run, name="courier")

    def start(self) -> None:
        """Start the thread, which first sends what a former runner left."""
        self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """End the thread, and send what is due, if that does not take long."""
        self._closes_at = self._now() + CLOSE_SECONDS
        self._is_closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self.deliver()

    def post(self, message: QueuedMessage) -> None:
        """Queue a message; raises nothing."""
        fitting = fit_message(message)
        with self._posting:
            self._journal.outbox.post(render_message(fitting), message.at)
            self._fresh.append(fitting)
        self._wake.set()

    def deliver(self) -> Delivered:
        """Send what is due now; raises nothing."""
        with self._sending:
            return self._send_all(*self._read_waiting())

    def _read_waiting(self) -> tuple[list[_Waiting], set[int]]:
        """Return all messages that wait, oldest first, and the journal's numbers of those due."""
        # What is posted meanwhile must not be seen in one place and missed in the other.
        with self._posting:
            fresh = tuple(self._fresh)
            self._fresh.clear()
            try:
                waiting = self._join(fresh)
                return waiting, {
                    posted.id for posted in self._journal.outbox.due(self._now(), _MOST)
                }
            except SidecarError as error:
                log_event(_log, logging.ERROR, "outbox.unreadable", reason=error.message)
                return [_Waiting(message) for message in fresh], set()

    def _join(self, fresh: Iterable[QueuedMessage]) -> list[_Waiting]:
        """Join what the journal has and what it could not take."""
        waiting: list[_Waiting] = []
        for posted in self._journal.outbox.due(math.inf, _MOST):
            message = parse_message(posted.body)
            if message is None:
                log_event(_log, logging.ERROR, "outbox.unknown", message=posted.id)
                self._journal.outbox.sent(posted.id)
            else:
                waiting.append(_Waiting(message, posted))
        known = {one.message for one in waiting}
        return waiting + [_Waiting(message) for message in fresh if message not in known]

    def _send_all(self, waiting: Sequence[_Waiting], due: set[int]) -> Delivered:
        down: dict[str, Failure] = {}
        results: list[str] = []
        for number, one in enumerate(waiting):
            if _is_over(one, waiting[number + 1 :]):
                results.append(self._drop(one, "it is over by now"))
            elif self._now() > self._closes_at or (one.posted and one.posted.id not in due):
                results.append("waiting")
            else:
                # A server that has just failed is not waited for again in this pass.
                to = one.message.to
                failure = down.get(to) or self._sender.send(one.message.request)
                if failure is not None and failure.is_down:
                    down[to] = failure
                results.append(self._put_off(one, failure) if failure else self._sent(one))
        counts = {word: results.count(word) for word in set(results)}
        return Delivered(
            counts.get("sent", 0),
            counts.get("failed", 0),
            counts.get("dropped", 0),
            counts.get("waiting", 0) + counts.get("failed", 0),
        )

    def _sent(self, one: _Waiting) -> str:
        log_event(_log, logging.DEBUG, "notify.sent", to=one.message.to, about=one.message.about)
        if one.posted is not None:
            self._journal.outbox.sent(one.posted.id)
        return "sent"

    def _put_off(self, one: _Waiting, failure: Failure) -> str:
        tries = len(PAUSES) if one.posted is None else one.posted.failures
        if one.posted is None or failure.is_final or tries >= len(PAUSES):
            return self._drop(one, failure.reason)
        pause = PAUSES[tries]
        self._journal.outbox.failed(one.posted.id, self._now() + pause)
        fields = {"to": one.message.to, "about": one.message.about, "seconds": pause}
        log_event(_log, logging.WARNING, "notify.failed", reason=failure.reason, **fields)
        return "failed"

    def _drop(self, one: _Waiting, reason: str) -> str:
        if one.posted is not None:
            self._journal.outbox.sent(one.posted.id)
        fields = {"to": one.message.to, "about": one.message.about, "reason": reason}
        log_event(_log, logging.ERROR, "notify.dropped", **fields)
        return "dropped"

    def check(self) -> None:
        """Check the addresses, and log what is wrong with them."""
        self.unusable = check_addresses(self._urls, self._sender.check)
        for sentence in self.unusable:
            log_event(_log, logging.ERROR, "notify.unusable", reason=sentence)

    def _run(self) -> None:
        self.check()
        waiting = 0
        while not self._is_closing:
            self._wake.wait(POLL_SECONDS if waiting else None)
            self._wake.clear()
            waiting = self.deliver().waiting


def _is_over(one: _Waiting, later: Sequence[_Waiting]) -> bool:
    """Return whether it announces the start of a run whose end is queued behind it.

    It was tried and failed. Sent now, it would come after the end, and a service such as
    Healthchecks would take the run for one that never ends.
    """
    if not one.message.is_start or one.posted is None or not one.posted.failures:
        return False
    subject = (one.message.to, one.message.about)
    return any((other.message.to, other.message.about) == subject for other in later)
