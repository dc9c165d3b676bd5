"""Shoutrrr's addresses: `service://...` → what makes a request of a message. Pure."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from sidecar.runner.notify import services
from sidecar.runner.notify.mailbox import matrix, slack_bot, smtp, telegram_chats
from sidecar.runner.notify.messages import Message, Post, Request, cut
from sidecar.runner.notify.parts import Parts, read_parts
from sidecar.runner.notify.services import Builder, Unusable

_SLACK_TOKEN = re.compile(
    r"(?:(?P<kind>xox.|hook)[-:]|:?)(?P<first>\w+)[-/,](?P<second>\w+)[-/,](?P<third>\w+)", re.ASCII
)
_TELEGRAM_MODES = {"html": "HTML", "markdown": "Markdown", "markdownv2": "MarkdownV2"}


def translate_shoutrrr(address: str) -> Builder:
    """Find out how to tell the service of an address. Raises Unusable, without the address."""
    parts = read_parts(address)
    service = _SERVICES.get(parts.scheme)
    if service is None:
        raise Unusable(
            f"the service {parts.scheme!r} of a shoutrrr address is not supported",
            f"use one of {', '.join(_SERVICES)}, or --notify-url",
        )
    return service(parts)


def _discord(parts: Parts) -> Builder:
    if parts.path:
        raise Unusable("a discord address with a path is not supported", "use actionDiscord")
    number, token = parts.need("host"), parts.need("user")
    url = f"https://discord.com/api/webhooks/{_quoted(number)}/{_quoted(token)}"
    if thread := parts.option("thread_id"):
        url += f"?thread_id={_quoted(thread.strip())}"
    return services.discord(url, **parts.named(username="username", avatar="avatar_url"))


def _slack(parts: Parts) -> Builder:
    name = parts.option("botname") or parts.option("username")
    token = "/".join((parts.need("host"), *parts.path))
    if parts.path:
        name = parts.user or name
    else:
        token = ":".join(filter(None, (parts.need("user"), parts.password)))
    found = _SLACK_TOKEN.fullmatch(token)
    if found is None:
        raise Unusable("a slack address has no token of three parts")
    pieces = found.group("first", "second", "third")
    if (found["kind"] or "").startswith("xox"):
        return slack_bot("-".join((found["kind"], *pieces)), parts.need("host"), name)
    url = "https://hooks.slack.com/services/" + "/".join(pieces)
    return services.slack(url, **({"username": name} if name else {}))


def _telegram(parts: Parts) -> Builder:
    token = f"{parts.need('user')}:{parts.need('password')}"
    named = parts.option("chats") or parts.option("channels")
    chats = [chat.strip() for chat in named.split(",") if chat.strip()]
    if not chats:
        raise Unusable("a telegram address names no chat", "add ?chats=...")
    mode = _TELEGRAM_MODES.get(parts.option("parsemode").lower(), "")
    if len(chats) > 1:
        return telegram_chats(token, chats, mode.lower(), is_silent=parts.is_off("notification"))
    fields: dict[str, Any] = {}
    if parts.is_off("notification"):
        fields["disable_notification"] = True
    if parts.is_off("preview"):
        fields["disable_web_page_preview"] = True
    return services.telegram(token, chats[0], mode, **fields)


def _gotify(parts: Parts) -> Builder:
    *folders, token = parts.need_path()
    base = parts.web("".join(f"/{_quoted(folder)}" for folder in folders))
    return services.gotify(base, token, parts.number("priority", 0), parts.option("title"))


_NTFY = {
    "title": "Title",
    "priority": "Priority",
    "tags": "Tags",
    "click": "Click",
    "attach": "Attach",
    "filename": "Filename",
    "delay": "Delay",
    "email": "Email",
    "icon": "Icon",
    "actions": "Actions",
}


def _ntfy(parts: Parts) -> Builder:
    scheme = parts.option("scheme") or "https"
    is_plain = parts.is_on("disabletls") or scheme == "http"
    url = parts.web("/" + "/".join(map(_quoted, parts.need_path())), is_plain=is_plain)
    headers = parts.named(**_NTFY)
    if parts.password:
        headers["Authorization"] = _login(parts)
    return services.ntfy(url, headers)


def _login(parts: Parts) -> str:
    if not parts.user:
        return f"Bearer {parts.password}"
    plain = f"{parts.user}:{parts.password}".encode()
    return f"Basic {base64.b64encode(plain).decode()}"


def _pushover(parts: Parts) -> Builder:
    fields = parts.named(devices="device", priority="priority", title="title")
    return services.pushover(parts.need("password"), parts.need("host"), **fields)


def _teams(parts: Parts) -> Builder:
    address = parts.option("host")
    if not address.startswith("https://"):
        raise Unusable(
            "a teams address has no workflow, and the older connectors have ended",
            "write teams://?host=https%3A%2F%2F..., the whole address of the workflow",
        )
    return services.teams(services.check_http(address, "host"), parts.option("title"))


def _mattermost(parts: Parts) -> Builder:
    token, *channel = parts.need_path()
    fields = {"username": parts.user} if parts.user else {}
    if channel:
        fields["channel"] = channel[0]
    if icon := parts.option("icon"):
        fields["icon_url" if "://" in icon else "icon_emoji"] = icon
    return services.chat_hook(parts.web(f"/hooks/{_quoted(token)}"), **fields)


def _rocketchat(parts: Parts) -> Builder:
    path = parts.need_path()
    if len(path) < 2:
        raise Unusable("a rocketchat address has no token of two parts")
    fields = {"username": parts.user} if parts.user else {}
    channel = parts.fragment or (path[2] if len(path) > 2 else "")
    if channel:
        fields["channel"] = channel if channel.startswith("@") else f"#{channel}"
    return services.chat_hook(parts.web(f"/hooks/{_quoted(path[0])}/{_quoted(path[1])}"), **fields)


_GENERIC = ("contenttype", "disabletls", "template", "title", "titlekey", "messagekey", "method")


@dataclass(frozen=True, slots=True)
class _Generic:
    """A webhook of any kind, as its address describes it."""

    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    extra: Mapping[str, str] = field(repr=False)
    options: Mapping[str, str] = field(repr=False)

    def __call__(self, message: Message) -> Request:
        method = self.options.get("method", "POST").upper()
        if not self.options.get("template"):
            return Post(self.url, cut(message.text), "text/plain", self.headers, method)
        held = {self.options.get("messagekey", "message"): cut(message.text), **self.extra}
        if title := self.options.get("title"):
            held[self.options.get("titlekey", "title")] = title
        kind = self.options.get("contenttype", "application/json")
        return Post(self.url, json.dumps(held, ensure_ascii=False), kind, self.headers, method)


def _generic(parts: Parts) -> Builder:
    """Options, headers (@name) and further values ($name) leave the query; the rest stays."""
    options = {name: parts.option(name) for name in _GENERIC if parts.option(name)}
    if options.get("template", "json").lower() != "json":
        raise Unusable("the template of a generic address is not json", "leave it out")
    rest = [(name, value) for name, value in parts.query if name.lower() not in _GENERIC]
    headers = tuple((name[1:], value) for name, value in rest if name.startswith("@"))
    extra = {name[1:]: value for name, value in rest if name.startswith("$")}
    # A name with two underscores in front is one of the webhook's own that an option also has.
    kept = [(name.removeprefix("__"), value) for name, value in rest if name[:1] not in "@$"]
    url = parts.web(parts.raw_path, is_plain=_is_plain(parts))
    return _Generic(url + (f"?{urlencode(kept)}" if kept else ""), headers, extra, options)


def _is_plain(parts: Parts) -> bool:
    return parts.scheme == "generic+http" or parts.is_on("disabletls")


_SERVICES: Final[Mapping[str, Callable[[Parts], Builder]]] = {
    "discord": _discord,
    "slack": _slack,
    "telegram": _telegram,
    "gotify": _gotify,
    "ntfy": _ntfy,
    "smtp": smtp,
    "pushover": _pushover,
    "teams": _teams,
    "matrix": matrix,
    "mattermost": _mattermost,
    "rocketchat": _rocketchat,
    "generic": _generic,
    "generic+https": _generic,
    "generic+http": _generic,
}


def _quoted(text: str) -> str:
    return quote(text, safe="")
