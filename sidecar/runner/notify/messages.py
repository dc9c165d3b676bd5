"""What is to be sent, as values and as the text in which it waits. Pure.

Addresses hold tokens: they stand in no `repr`, and nowhere but in the journal, which only
its owner can read.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

MOST_TEXT: Final = 20_000
"""Characters of a message at most."""
MOST_BYTES: Final = 60_000
"""Bytes of a letter that waits at most."""
_LEVELS = {"error": "failure", "warning": "warning", "missed": "warning", "success": "success"}
_CUT = " …"


@dataclass(frozen=True, slots=True)
class Message:
    """What there is to tell: `event` is a condition's name or an occasion.

    `is_default`: the words are ours, so that they hold no markup of any service.
    """

    title: str
    text: str
    event: str = ""
    is_default: bool = True


@dataclass(frozen=True, slots=True)
class Post:
    """An HTTP request with a body."""

    url: str = field(repr=False)
    body: str = field(repr=False)
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class ByApprise:
    """A message to an Apprise URL; to the second one if the first does not work.

    `form` is text, html or markdown, `level` info, success, warning or failure.
    """

    url: str = field(repr=False)
    title: str = field(repr=False)
    body: str = field(repr=False)
    second: str = field(default="", repr=False)
    form: str = "text"
    level: str = "info"


Request = Post | ByApprise


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it could not be sent, without any part of an address.

    `is_down`: the server cannot be reached or is in trouble, so that others would fail too.
    """

    reason: str
    is_down: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
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
    """Give how grave an event is, in Apprise's words."""
    plain = event.lower()
    return next((level for word, level in _LEVELS.items() if word in plain), "info")


def fit_letter(letter: Letter) -> Letter:
    """Cut the body of a letter that would be too long to wait."""
    while len(render_letter(letter)) > MOST_BYTES and letter.request.body:
        shorter = cut(letter.request.body, len(letter.request.body) // 2)
        letter = replace(letter, request=replace(letter.request, body=shorter))
    return letter


def render_letter(letter: Letter) -> str:
    """Give the text in which it waits."""
    kind = "post" if isinstance(letter.request, Post) else "apprise"
    return json.dumps({**asdict(letter), "kind": kind})


def parse_letter(text: str) -> Letter | None:
    """Read such a text; None if it is none of ours."""
    try:
        plain = json.loads(text)
        request = parse_request(plain["kind"], plain["request"])
        return Letter(
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
        return ByApprise(**plain)
    headers = tuple((str(name), str(value)) for name, value in plain["headers"])
    return Post(**{**plain, "headers": headers})
