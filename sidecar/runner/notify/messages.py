"""What is to be sent, as values and as the text in which it waits. Pure.

Addresses hold tokens: they stand in no `repr`, and nowhere but in the journal, which only
its owner can read.

What the runner itself tells of its runs, whatever the hooks of a plan say. Pure.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.engines.base import Stats
from sidecar.runner.journal import RunOutcome

MOST_TEXT: Final = 20_000
"""Characters of a message at most."""
MOST_BYTES: Final = 60_000
"""Bytes of a letter that waits at most."""
_LEVELS = {"error": "failure", "warning": "warning", "missed": "warning", "success": "success"}
_CUT = " …"


@dataclass(frozen=True, slots=True)
class NotificationMessage:
    """What there is to tell: `event` is a condition's name or an occasion.

    `is_default`: the words are ours, so that they hold no markup of any service.
    """

    title: str
    text: str
    event: str = ""
    is_default: bool = True


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An HTTP request with a body."""

    url: str = field(repr=False)
    body: str = field(repr=False)
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class AppriseRequest:
    """A message to an Apprise URL; to the second one if the first does not work.

    `form` is text, html or markdown, `level` info, success, warning or failure.
    """

    url: str = field(repr=False)
    title: str = field(repr=False)
    body: str = field(repr=False)
    second: str = field(default="", repr=False)
    form: str = "text"
    level: str = "info"


Request = HttpRequest | AppriseRequest


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it could not be sent, without any part of an address.

    `is_down`: the server cannot be reached or is in trouble, so that others would fail too.
    """

    reason: str
    is_down: bool = False


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A request on its way: `to` is what people call its destination, `about` what it concerns.

    `is_start`: it tells that something began, which nobody needs to know once it is over.
    `at`: since when it is on its way, in unix seconds.
    """

    to: str
    about: str
    request: Request = field(repr=False)
    at: float
    is_start: bool = False


def cut(text: str, most: int = MOST_TEXT) -> str:
    """Shorten a text, and show that it was."""
    return text if len(text) <= most else text[: max(0, most - len(_CUT))] + _CUT[:most]


def level_of(event: str) -> str:
    """Return how grave an event is, in Apprise's words."""
    plain = event.lower()
    return next((level for word, level in _LEVELS.items() if word in plain), "info")


def fit_message(message: QueuedMessage) -> QueuedMessage:
    """Cut the body of a letter that would be too long to wait."""
    while len(render_message(message)) > MOST_BYTES and message.request.body:
        shorter = cut(message.request.body, len(message.request.body) // 2)
        message = replace(message, request=replace(message.request, body=shorter))
    return message


def render_message(message: QueuedMessage) -> str:
    """Return the text in which it waits."""
    kind = "post" if isinstance(message.request, HttpRequest) else "apprise"
    return json.dumps({**asdict(message), "kind": kind})


def parse_message(text: str) -> QueuedMessage | None:
    """Read such a text; None if it is none of ours."""
    try:
        plain = json.loads(text)
        request = parse_request(plain["kind"], plain["request"])
        return QueuedMessage(
            str(plain["to"]),
            str(plain["about"]),
            request,
            float(plain["at"]),
            plain["is_start"] is True,
        )
    except (ValueError, TypeError, KeyError):
        return None


def parse_request(kind: str, plain: dict[str, Any]) -> Request:
    """Read a request's fields; raises TypeError, ValueError or KeyError if they are none."""
    if kind == "apprise":
        return AppriseRequest(**plain)
    headers = tuple((str(name), str(value)) for name, value in plain["headers"])
    return HttpRequest(**{**plain, "headers": headers})


_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000.0


class NoticeEvent(StrEnum):
    """What there is to tell about."""

    ERROR = "error"
    WARNING = "warning"
    SUCCESS = "success"
    START = "start"
    MISSED = "missed"


_OCCASIONS = {
    RunOutcome.SUCCESS: NoticeEvent.SUCCESS,
    RunOutcome.SKIPPED: NoticeEvent.SUCCESS,
    RunOutcome.WARNING: NoticeEvent.WARNING,
    RunOutcome.CANCELLED: NoticeEvent.WARNING,
    RunOutcome.FAILED: NoticeEvent.ERROR,
    RunOutcome.INTERRUPTED: NoticeEvent.ERROR,
}


def occasion_of(outcome: RunOutcome) -> NoticeEvent:
    """Return what the end of a run is an occasion for."""
    return _OCCASIONS[outcome]


@dataclass(frozen=True, slots=True)
class Notice:
    """What is known of it: `what` and `about` name the work, `result` says in a word what came.

    Moments are aware, `seconds` is how long it took. `reason` holds no secret.
    """

    occasion: NoticeEvent
    what: str
    """Such as `backup`."""
    about: str
    """Such as `plan web`."""
    result: str
    """Such as `failed`."""
    at: datetime
    reason: str = ""
    seconds: float | None = None
    stats: Stats | None = None
    snapshot: str = ""
    last_success: datetime | None = None
    next_fire: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunNotifier:
    """Tells notices to every address (Apprise URLs) if they are of an occasion that is asked for.

    `host` is how people know this machine; `post` sees to it that letters are sent.
    """

    urls: Sequence[str] = field(repr=False)
    occasions: Collection[NoticeEvent]
    host: str
    post: Callable[[QueuedMessage], None]

    def announce(self, notice: Notice) -> None:
        """Tell it; raises nothing."""
        if notice.occasion not in self.occasions:
            return
        title, body = render_notice(notice, self.host)
        for number, url in enumerate(self.urls, 1):
            request = AppriseRequest(url, title, body, level=level_of(notice.occasion))
            is_start = notice.occasion is NoticeEvent.START
            to = name_address(url, number)
            self.post(QueuedMessage(to, notice.about, request, notice.at.timestamp(), is_start))


def name_address(url: str, number: int) -> str:
    """Return what an address of `--notify-url` is called where it must not be shown."""
    try:
        scheme = urlsplit(url.strip()).scheme
    except ValueError:
        scheme = ""
    return f"--notify-url {number} ({scheme})" if scheme else f"--notify-url {number}"


def render_notice(notice: Notice, host: str) -> tuple[str, str]:
    """Return the title and the text of a notice."""
    title = f"{notice.what} of {notice.about} {notice.result} on {host}"
    return cut(title, 200), cut("\n".join(_lines(notice, host)))


def _lines(notice: Notice, host: str) -> Iterator[str]:
    yield f"{notice.what.capitalize()} of {notice.about}: {notice.result}"
    if notice.reason:
        yield f"Reason: {notice.reason}"
    yield f"Time: {_moment(notice.at)}"
    if notice.seconds is not None:
        yield f"Duration: {_duration(notice.seconds)}"
    if notice.stats is not None:
        yield from _sizes(notice.stats)
    if notice.snapshot:
        yield f"Snapshot: {notice.snapshot}"
    if notice.last_success is not None:
        yield f"Last success: {_moment(notice.last_success)}"
    if notice.next_fire is not None:
        yield f"Next: {_moment(notice.next_fire)}"
    yield f"Host: {host}"


def _sizes(stats: Stats) -> Iterator[str]:
    yield f"Size: {_size(stats.bytes_processed)} in {stats.files_processed} files"
    changes = f"{stats.files_new} new and {stats.files_changed} changed files"
    yield f"Added: {_size(stats.bytes_added)} ({changes})"


def _moment(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def _size(size: int) -> str:
    number, step = float(size), 0
    while number >= _STEP and step < len(_UNITS) - 1:
        number /= _STEP
        step += 1
    return f"{number:.1f} {_UNITS[step]}" if step else f"{size} B"


def _duration(seconds: float) -> str:
    whole = round(max(0.0, seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
