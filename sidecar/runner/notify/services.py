"""What the services that Backrest has itself are sent: a message → an HTTP request. Pure.

Their payloads are those of Backrest. All other services are Apprise's (see `shoutrrr`).
"""

import html
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sidecar.lib.errors import SidecarError
from sidecar.runner.notify.messages import MOST_TEXT, HttpRequest, NotificationMessage, Request, cut

Builder = Callable[[NotificationMessage], Request]
"""Makes the request that sends a message."""

_DISCORD, _TELEGRAM = 2000, 4096
_TITLE = 250
_PLAIN = "text/plain; charset=utf-8"


class Unusable(SidecarError):
    """A notification that can never be sent as it is written; the text holds no secret."""


def check_http(address: str, what: str) -> str:
    """Return an http(s) address without blanks around it. Raises Unusable."""
    try:
        parts = urlsplit(address.strip())
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_usable = False
    if not is_usable:
        raise Unusable(f"{what} is no http(s) address", "write https://...")
    return address.strip()


def discord(url: str) -> Builder:
    """Post to a Discord webhook."""
    return lambda message: _json(url, {"content": cut(message.text, _DISCORD)})


def slack(url: str) -> Builder:
    """Post to a Slack webhook; a text that is JSON is taken for a whole payload."""

    def build(message: NotificationMessage) -> Request:
        if len(message.text) <= 2 * MOST_TEXT and _is_json(message.text):
            return HttpRequest(url, message.text)
        return _json(url, {"text": cut(message.text)})

    return build


def gotify(base: str, token: str, priority: int) -> Builder:
    """Post to a Gotify server; the token stands in a header, so that no log of it shows it."""
    url = f"{base.rstrip('/')}/message"
    headers = (("X-Gotify-Key", token),)

    def build(message: NotificationMessage) -> Request:
        held = {"message": cut(message.text), "title": cut(message.title, _TITLE)}
        return _json(url, {**held, "priority": priority}, headers)

    return build


def telegram(token: str, chat: str) -> Builder:
    """Post to a Telegram chat; in our own words nothing is taken for markup."""
    url = f"https://api.telegram.org/bot{token}/sendMessage"

    def build(message: NotificationMessage) -> Request:
        text = cut(message.text, _TELEGRAM)
        if message.is_default:
            text = cut(html.escape(text, quote=False), _TELEGRAM)
        return _json(url, {"chat_id": chat, "text": text, "parse_mode": "HTML"})

    return build


def healthchecks(url: str) -> Builder:
    """Ping a check: `/start`, `/fail` or `/log` behind its address, nothing for a success."""

    def build(message: NotificationMessage) -> Request:
        return HttpRequest(_with_sign(url, _sign(message.event)), cut(message.text), _PLAIN)

    return build


def _sign(event: str) -> str:
    if event.endswith("_START"):
        return "start"
    if event.endswith("_ERROR"):
        return "fail"
    return "log" if event == "CONDITION_SNAPSHOT_END" else ""


def _with_sign(url: str, sign: str) -> str:
    parts = urlsplit(url)
    path = "/".join((parts.path.rstrip("/"), sign)) if sign else parts.path
    return urlunsplit(parts._replace(path=path))


def _json(
    url: str, value: Mapping[str, Any], headers: tuple[tuple[str, str], ...] = ()
) -> HttpRequest:
    return HttpRequest(url, json.dumps(value, ensure_ascii=False), headers=headers)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
