"""Getting letters there: at once, and again later if that does not work.

A thread of its own sends them, so that no backup waits for a server. What waits lies in the
journal and survives the runner; what the journal cannot take is tried from memory.

Sending in a process of its own.

It bounds what a server can do to us by dawdling, keeps what libraries log and raise to
itself, and what they need of memory is given back.
"""

import json
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.lib.process import ProcessRunner
from sidecar.lib.threads import Closable
from sidecar.runner.journal import Posted
from sidecar.runner.notify.messages import (
    Failure,
    HttpRequest,
    QueuedMessage,
    Request,
    fit_message,
    parse_message,
    render_message,
)

_SECONDS = 40.0
_ROOT = Path(__file__).parents[3]
_MODULE = "sidecar.runner.notify"


class Sender(Protocol):
    """What sends one request."""

    def send(self, request: Request) -> Failure | None:
        """Send it; None if that succeeded. Raises nothing."""
        ...


class ProcessSender:
    """Sends by a program; `seconds` is how long it may take in all.

    The runner should be one that nothing else stops: what is told last is told at the end.
    """

    def __init__(self, runner: ProcessRunner, seconds: float = _SECONDS) -> None:
        self._runner = runner
        self._seconds = seconds

    def send(self, request: Request) -> Failure | None:
        """Send it; None if that succeeded. Raises nothing."""
        kind = "post" if isinstance(request, HttpRequest) else "apprise"
        answer = self._ask({"kind": kind, "request": asdict(request)})
        if isinstance(answer, Failure):
            return answer
        reason = str(answer.get("reason", ""))
        return Failure(reason, bool(answer.get("is_down"))) if reason else None

    def check(self, urls: Sequence[str]) -> tuple[str, ...]:
        """Say for each Apprise URL what is wrong with it; empty: nothing."""
        answer = self._ask({"urls": list(urls)})
        if isinstance(answer, Failure):
            return (answer.reason,) * len(urls)
        return tuple(map(str, answer.get("wrong", ())))

    def _ask(self, question: dict[str, Any]) -> dict[str, Any] | Failure:
        try:
            completed = self._runner.run(
                [sys.executable, "-m", _MODULE],
                env=_environment(),
                script=json.dumps(question).encode(),
                timeout=self._seconds,
            )
        except OSError:
            return Failure("the program that sends could not be started")
        if completed.timed_out:
            return Failure("it did not answer in time", is_down=True)
        try:
            answer = json.loads(completed.out)
        except ValueError:
            answer = None
        return answer if isinstance(answer, dict) else Failure("the program that sends failed")


def _environment() -> dict[str, str]:
    """Find our own modules, and no others that lie where we are."""
    paths = (str(_ROOT), os.environ.get("PYTHONPATH", ""))
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}


PAUSES = (60.0, 300.0, 1800.0, 7200.0)
"""Seconds after which a letter is tried again; after the last of them it is dropped."""
LOOK_SECONDS = 15.0
"""How often it looks whether one that waits is due."""
CLOSE_SECONDS = 10.0
"""After how long at the end no further letter is begun: it waits for the next start."""
_MOST = 1000
_MOST_FRESH = 100

_log = logging.getLogger(__name__)


class OutboxStore(Protocol):
    """Where letters wait; times are unix seconds. See the journal."""

    def post(self, body: str, at: float) -> None:
        """Keep a letter, due at once."""
        ...

    def due(self, now: float, limit: int = ...) -> tuple[Posted, ...]:
        """List those that are due, oldest first. Raises SidecarError."""
        ...

    def sent(self, message: int) -> None:
        """Forget one."""
        ...

    def failed(self, message: int, again: float) -> None:
        """Record that it failed, and when it is due again."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of a pass: how many were sent, put off and dropped, and how many still wait."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    """A letter as it waits; `posted` None: the journal has not got it."""

    message: QueuedMessage
    posted: Posted | None = None


class DeliveryQueue(Closable):
    """Takes letters and sends them, once `start` was called in a thread of its own.

    `now` gives unix seconds.
    """

    def __init__(
        self, outbox: OutboxStore, sender: Sender, now: Callable[[], float] = time.time
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._now = now
        self._fresh: deque[QueuedMessage] = deque(maxlen=_MOST_FRESH)
        self._lock = threading.Lock()
        self._gate = threading.Lock()
        self._wake = threading.Event()
        self._is_closing = False
        self._closes_at = math.inf
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send, those first that a former runner left."""
        self._thread = threading.Thread(target=self._run, name="courier")
        self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """End the thread, and send what is due, if that does not take long."""
        self._closes_at = self._now() + CLOSE_SECONDS
        self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self.deliver()

    def post(self, message: QueuedMessage) -> None:
        """Take a letter; raises nothing."""
        fitting = fit_message(message)
        with self._gate:
            self._outbox.post(render_message(fitting), message.at)
            self._fresh.append(fitting)
        self._wake.set()

    def deliver(self) -> Delivered:
        """Send what is due now; raises nothing."""
        with self._lock:
            return self._send_all(*self._look())

    def _look(self) -> tuple[list[_Held], set[int]]:
        """List all that waits, oldest first, and which of it is due."""
        # What is posted meanwhile must not be seen in one place and missed in the other.
        with self._gate:
            fresh = tuple(self._fresh)
            self._fresh.clear()
            try:
                held = self._held(fresh)
                return held, {posted.id for posted in self._outbox.due(self._now(), _MOST)}
            except SidecarError as error:
                log_event(_log, logging.ERROR, "outbox.unreadable", reason=error.message)
                return [_Held(message) for message in fresh], set()

    def _held(self, fresh: Iterable[QueuedMessage]) -> list[_Held]:
        """Join what the journal has and what it could not take."""
        held: list[_Held] = []
        for posted in self._outbox.due(math.inf, _MOST):
            message = parse_message(posted.body)
            if message is None:
                log_event(_log, logging.ERROR, "outbox.unknown", message=posted.id)
                self._outbox.sent(posted.id)
            else:
                held.append(_Held(message, posted))
        known = {one.message for one in held}
        return held + [_Held(message) for message in fresh if message not in known]

    def _send_all(self, held: Sequence[_Held], due: set[int]) -> Delivered:
        down: dict[str, Failure] = {}
        results: list[str] = []
        for number, one in enumerate(held):
            if _is_over(one, held[number + 1 :]):
                results.append(self._forget(one, "it is over by now"))
            elif self._now() > self._closes_at or (one.posted and one.posted.id not in due):
                results.append("waiting")
            else:
                results.append(self._send(one, down))
        counts = {word: results.count(word) for word in set(results)}
        return Delivered(
            counts.get("sent", 0),
            counts.get("failed", 0),
            counts.get("dropped", 0),
            counts.get("waiting", 0) + counts.get("failed", 0),
        )

    def _send(self, one: _Held, down: dict[str, Failure]) -> str:
        """Send it, unless its server has just failed; a pass must not wait for it each time."""
        message = one.message
        failure = down.get(message.to) or self._sender.send(message.request)
        if failure is None:
            log_event(_log, logging.DEBUG, "notify.sent", to=message.to, about=message.about)
            if one.posted is not None:
                self._outbox.sent(one.posted.id)
            return "sent"
        if failure.is_down:
            down[message.to] = failure
        return self._put_off(one, failure)

    def _put_off(self, one: _Held, failure: Failure) -> str:
        tries = len(PAUSES) if one.posted is None else one.posted.failures
        if one.posted is None or tries >= len(PAUSES):
            return self._forget(one, failure.reason)
        pause = PAUSES[tries]
        self._outbox.failed(one.posted.id, self._now() + pause)
        fields = {"to": one.message.to, "about": one.message.about, "seconds": pause}
        log_event(_log, logging.WARNING, "notify.failed", reason=failure.reason, **fields)
        return "failed"

    def _forget(self, one: _Held, reason: str) -> str:
        if one.posted is not None:
            self._outbox.sent(one.posted.id)
        fields = {"to": one.message.to, "about": one.message.about, "reason": reason}
        log_event(_log, logging.ERROR, "notify.dropped", **fields)
        return "dropped"

    def _run(self) -> None:
        waiting = 0
        while not self._is_closing:
            self._wake.wait(LOOK_SECONDS if waiting else None)
            self._wake.clear()
            waiting = self.deliver().waiting


def _is_over(one: _Held, later: Sequence[_Held]) -> bool:
    """Return whether it tells of a beginning, too late: the end is about to be told or was.

    A check that is told of the beginning last would take the run for one that never ends.
    """
    if not one.message.is_start or one.posted is None or not one.posted.failures:
        return False
    message = one.message
    return any((it.message.to, it.message.about) == (message.to, message.about) for it in later)
