"""Notification messages and the requests that send them, and the text in which they wait. Pure.

Addresses hold tokens: they stand in no `repr`, and nowhere but in the journal, which only
its owner can read.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Protocol

MOST_TEXT: Final = 20_000
"""Characters of a message at most."""
MOST_BYTES: Final = 60_000
"""Bytes of a queued message at most."""
_LEVELS = {"error": "failure", "warning": "warning", "missed": "warning", "success": "success"}
_CUT = " …"


@dataclass(frozen=True, slots=True)
class NotificationMessage:
    """A title and a text for people.

    `event` is a condition of Backrest (`CONDITION_SNAPSHOT_ERROR`) or the value of a
    `NoticeEvent`. `is_default`: the words are ours, so that they hold no markup of any service.
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
    `is_final`: it would fail each time.
    """

    reason: str
    is_down: bool = False
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A request on its way: `to` is what people call its destination, `about` what it concerns.

    `is_start`: it announces that something began, which nobody needs to know once it is over.
    `at`: since when it is on its way, in unix seconds.
    """

    to: str
    about: str
    request: Request = field(repr=False)
    at: float
    is_start: bool = False


class MessageQueue(Protocol):
    """Takes messages that are to be sent."""

    def post(self, message: QueuedMessage) -> None:
        """Queue a message; raises nothing."""


def cut(text: str, most: int = MOST_TEXT) -> str:
    """Shorten a text, and show that it was."""
    return text if len(text) <= most else text[: max(0, most - len(_CUT))] + _CUT[:most]


def level_of(event: str) -> str:
    """Return how grave an event is: failure, warning, success or info, as Apprise names it."""
    plain = event.lower()
    return next((level for word, level in _LEVELS.items() if word in plain), "info")


def fit_message(message: QueuedMessage) -> QueuedMessage:
    """Return a message that is not too long to wait in the journal: its body is cut."""
    while len(render_message(message)) > MOST_BYTES and message.request.body:
        shorter = cut(message.request.body, len(message.request.body) // 2)
        message = replace(message, request=replace(message.request, body=shorter))
    return message


def render_message(message: QueuedMessage) -> str:
    """Return the JSON in which it waits."""
    kind = "post" if isinstance(message.request, HttpRequest) else "apprise"
    return json.dumps({**asdict(message), "kind": kind})


def parse_message(text: str) -> QueuedMessage | None:
    """Read what `render_message` wrote; None if it is anything else."""
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
