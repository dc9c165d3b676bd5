"""What each service wants to be sent: a message → an HTTP request. Pure."""

import html
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sidecar.lib.errors import SidecarError
from sidecar.runner.notify.messages import MOST_TEXT, HttpRequest, NotificationMessage, Request, cut

Builder = Callable[[NotificationMessage], Request]
"""Makes the request that sends a message."""

_DISCORD, _TELEGRAM, _NTFY, _PUSHOVER = 2000, 4096, 3900, 1024
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


def discord(url: str, **fields: str) -> Builder:
    """Post to a Discord webhook; `fields` are added, such as `username`."""
    return lambda message: _json(url, {"content": cut(message.text, _DISCORD), **fields})


def slack(url: str, **fields: str) -> Builder:
    """Post to a Slack webhook; a text that is JSON is taken for a whole payload."""

    def build(message: NotificationMessage) -> Request:
        if len(message.text) <= 2 * MOST_TEXT and _is_json(message.text):
            return HttpRequest(url, message.text)
        return _json(url, {"text": cut(message.text), **fields})

    return build


def gotify(base: str, token: str, priority: int, title: str = "") -> Builder:
    """Post to a Gotify server; the token stands in a header, so that no log of it shows it."""
    url = f"{base.rstrip('/')}/message"
    headers = (("X-Gotify-Key", token),)

    def build(message: NotificationMessage) -> Request:
        held = {"message": cut(message.text), "title": cut(title or message.title, _TITLE)}
        return _json(url, {**held, "priority": priority}, headers)

    return build


def telegram(token: str, chat: str, mode: str = "HTML", **fields: Any) -> Builder:
    """Post to a Telegram chat; in our own words nothing is taken for markup."""
    url = f"https://api.telegram.org/bot{token}/sendMessage"

    def build(message: NotificationMessage) -> Request:
        text = cut(message.text, _TELEGRAM)
        if message.is_default and mode == "HTML":
            text = cut(html.escape(text, quote=False), _TELEGRAM)
        held: dict[str, Any] = {"chat_id": chat, "text": text, **fields}
        return _json(url, {**held, "parse_mode": mode} if mode else held)

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


def chat_hook(url: str, **fields: str) -> Builder:
    """Post to a webhook of Mattermost or Rocket.Chat."""
    return lambda message: _json(url, {"text": cut(message.text), **fields})


def teams(url: str, title: str = "") -> Builder:
    """Post a card to a workflow of Microsoft Teams."""

    def build(message: NotificationMessage) -> Request:
        lines = [{"type": "TextBlock", "text": cut(message.text), "wrap": True}]
        if title:
            lines.insert(0, {"type": "TextBlock", "text": title, "weight": "bolder", "wrap": True})
        schema = "http://adaptivecards.io/schemas/adaptive-card.json"
        card = {"type": "AdaptiveCard", "version": "1.4", "$schema": schema, "body": lines}
        kind = "application/vnd.microsoft.card.adaptive"
        return _json(
            url, {"type": "message", "attachments": [{"contentType": kind, "content": card}]}
        )

    return build


def ntfy(url: str, headers: Mapping[str, str]) -> Builder:
    """Post to a topic of ntfy; `headers` are its options."""

    def build(message: NotificationMessage) -> Request:
        title = headers.get("Title") or message.title
        held = {**headers, "Title": _one_line(cut(title, _TITLE))}
        return HttpRequest(url, cut(message.text, _NTFY), _PLAIN, tuple(held.items()))

    return build


def pushover(token: str, user: str, **fields: str) -> Builder:
    """Post to Pushover."""

    def build(message: NotificationMessage) -> Request:
        held = {"token": token, "user": user, "title": cut(message.title, _TITLE), **fields}
        url = "https://api.pushover.net/1/messages.json"
        return _json(url, {**held, "message": cut(message.text, _PUSHOVER)})

    return build


def _json(
    url: str, value: Mapping[str, Any], headers: tuple[tuple[str, str], ...] = ()
) -> HttpRequest:
    return HttpRequest(url, json.dumps(value, ensure_ascii=False), headers=headers)


def _one_line(text: str) -> str:
    """Return a text as one line."""
    return " ".join(text.split())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
