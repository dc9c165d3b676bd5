"""Shoutrrr's addresses (`service://...`): what they say → a builder of requests. Pure.

Most services take one HTTP request (see `services`). Mail, Matrix, Slack's bots and several
chats of Telegram take more than one: Apprise makes those, so its address is written here.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from sidecar.runner.notify import services
from sidecar.runner.notify.addresses import ENCODING
from sidecar.runner.notify.messages import (
    AppriseRequest,
    HttpRequest,
    NotificationMessage,
    Request,
    cut,
    level_of,
)
from sidecar.runner.notify.services import Builder, Unusable

_ON = frozenset({"yes", "true", "1", "y", "on"})
_OFF = frozenset({"no", "false", "0", "n", "off"})
_HOST = re.compile(r"(?P<host>[^:\[\]]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}")
_SLACK_TOKEN = re.compile(
    r"(?:(?P<kind>xox.|hook)[-:]|:?)(?P<first>\w+)[-/,](?P<second>\w+)[-/,](?P<third>\w+)", re.ASCII
)
_TELEGRAM_MODES = {"html": "HTML", "markdown": "Markdown", "markdownv2": "MarkdownV2"}
_IMPLICIT_PORT = "465"
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
_GENERIC = ("contenttype", "disabletls", "template", "title", "titlekey", "messagekey", "method")


def translate_shoutrrr(address: str) -> Builder:
    """Return the builder for an address, such as `ntfy://host/topic`.

    Raises Unusable, which does not show the address.
    """
    parts = parse_address(address)
    service = _SERVICES.get(parts.scheme)
    if service is None:
        raise Unusable(
            f"the service {parts.scheme!r} of a shoutrrr address is not supported",
            f"use one of {', '.join(_SERVICES)}, or --notify-url",
        )
    return service(parts)


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """The parts of an address, decoded but as they are written; what is not there is empty."""

    scheme: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    host: str = field(repr=False)
    port: str = field(repr=False)
    path: tuple[str, ...] = field(repr=False)
    query: tuple[tuple[str, str], ...] = field(repr=False)
    fragment: str = field(repr=False)
    raw_path: str = field(repr=False)

    def require(self, name: str) -> str:
        """Return the user, the password or the host. Raises Unusable if it is empty."""
        found = {"user": self.user, "password": self.password, "host": self.host}[name]
        if not found:
            raise Unusable(f"a {self.scheme} address lacks a part: there is no {name} in it")
        return found

    def require_path(self) -> tuple[str, ...]:
        """Return the parts of the path, of which there is one at least. Raises Unusable."""
        if not self.path:
            raise Unusable(f"a {self.scheme} address has nothing behind its host")
        return self.path

    def option(self, name: str) -> str:
        """Return an option of the query; case does not matter in its name."""
        return next((value for key, value in self.query if key.lower() == name), "")

    def is_on(self, name: str) -> bool:
        """Return whether an option says yes."""
        return self.option(name).lower() in _ON

    def is_off(self, name: str) -> bool:
        """Return whether an option says no."""
        return self.option(name).lower() in _OFF

    def number(self, name: str, default: int) -> int:
        """Return an option that is a whole number. Raises Unusable."""
        text = self.option(name)
        try:
            return int(text) if text else default
        except ValueError:
            raise Unusable(f"{name} of a {self.scheme} address is no number") from None

    def named(self, **names: str) -> dict[str, str]:
        """Return the options that are there, under the names that the service has for them."""
        return {theirs: value for ours, theirs in names.items() if (value := self.option(ours))}

    def web_address(self, path: str, *, is_plain: bool | None = None) -> str:
        """Return the http(s) address of a path at this host. Raises Unusable."""
        plain = self.is_on("disabletls") if is_plain is None else is_plain
        port = f":{self.port}" if self.port else ""
        return f"{'http' if plain else 'https'}://{self.require('host')}{port}{path}"


def parse_address(address: str) -> ServiceAddress:
    """Parse an address. Raises Unusable, which does not show it."""
    try:
        split = urlsplit(address.strip())
        query = tuple(parse_qsl(split.query, keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise Unusable("a shoutrrr address is no address", ENCODING) from None
    scheme = split.scheme.lower()
    if not _SCHEME.fullmatch(scheme) or not address.strip()[len(scheme) :].startswith("://"):
        raise Unusable("a shoutrrr address names no service", "write SERVICE://...")
    login, _, place = split.netloc.rpartition("@")
    found = _HOST.fullmatch(place)
    if found is None:
        message = f"a {scheme} address has no host, or no port, that could be one"
        raise Unusable(message, ENCODING)
    user, _, password = login.partition(":")
    path = tuple(unquote(part) for part in split.path.split("/") if part)
    return ServiceAddress(
        scheme,
        unquote(user),
        unquote(password),
        unquote(found["host"]),
        found["port"] or "",
        path,
        query,
        unquote(split.fragment),
        split.path,
    )


def _discord(parts: ServiceAddress) -> Builder:
    if parts.path:
        raise Unusable("a discord address with a path is not supported", "use actionDiscord")
    number, token = parts.require("host"), parts.require("user")
    url = f"https://discord.com/api/webhooks/{_quoted(number)}/{_quoted(token)}"
    if thread := parts.option("thread_id"):
        url += f"?thread_id={_quoted(thread.strip())}"
    return services.discord(url, **parts.named(username="username", avatar="avatar_url"))


def _slack(parts: ServiceAddress) -> Builder:
    name = parts.option("botname") or parts.option("username")
    token = "/".join((parts.require("host"), *parts.path))
    if parts.path:
        name = parts.user or name
    else:
        token = ":".join(filter(None, (parts.require("user"), parts.password)))
    found = _SLACK_TOKEN.fullmatch(token)
    if found is None:
        raise Unusable("a slack address has no token of three parts")
    pieces = found.group("first", "second", "third")
    if (found["kind"] or "").startswith("xox"):
        return _slack_bot("-".join((found["kind"], *pieces)), parts.require("host"), name)
    url = "https://hooks.slack.com/services/" + "/".join(pieces)
    return services.slack(url, **({"username": name} if name else {}))


def _telegram(parts: ServiceAddress) -> Builder:
    token = f"{parts.require('user')}:{parts.require('password')}"
    named = parts.option("chats") or parts.option("channels")
    chats = [chat.strip() for chat in named.split(",") if chat.strip()]
    if not chats:
        raise Unusable("a telegram address names no chat", "add ?chats=...")
    mode = _TELEGRAM_MODES.get(parts.option("parsemode").lower(), "")
    if len(chats) > 1:
        return _telegram_chats(token, chats, mode.lower(), is_silent=parts.is_off("notification"))
    fields: dict[str, Any] = {}
    if parts.is_off("notification"):
        fields["disable_notification"] = True
    if parts.is_off("preview"):
        fields["disable_web_page_preview"] = True
    return services.telegram(token, chats[0], mode, **fields)


def _gotify(parts: ServiceAddress) -> Builder:
    *folders, token = parts.require_path()
    base = parts.web_address("".join(f"/{_quoted(folder)}" for folder in folders))
    return services.gotify(base, token, parts.number("priority", 0), parts.option("title"))


def _ntfy(parts: ServiceAddress) -> Builder:
    scheme = parts.option("scheme") or "https"
    is_plain = parts.is_on("disabletls") or scheme == "http"
    url = parts.web_address("/" + "/".join(map(_quoted, parts.require_path())), is_plain=is_plain)
    headers = parts.named(**_NTFY)
    if parts.password:
        headers["Authorization"] = _login(parts)
    return services.ntfy(url, headers)


def _login(parts: ServiceAddress) -> str:
    if not parts.user:
        return f"Bearer {parts.password}"
    plain = f"{parts.user}:{parts.password}".encode()
    return f"Basic {base64.b64encode(plain).decode()}"


def _pushover(parts: ServiceAddress) -> Builder:
    fields = parts.named(devices="device", priority="priority", title="title")
    return services.pushover(parts.require("password"), parts.require("host"), **fields)


def _teams(parts: ServiceAddress) -> Builder:
    address = parts.option("host")
    if not address.startswith("https://"):
        raise Unusable(
            "a teams address has no workflow, and the older connectors have ended",
            "write teams://?host=https%3A%2F%2F..., the whole address of the workflow",
        )
    return services.teams(services.check_http(address, "host"), parts.option("title"))


def _mattermost(parts: ServiceAddress) -> Builder:
    token, *channel = parts.require_path()
    fields = {"username": parts.user} if parts.user else {}
    if channel:
        fields["channel"] = channel[0]
    if icon := parts.option("icon"):
        fields["icon_url" if "://" in icon else "icon_emoji"] = icon
    return services.chat_hook(parts.web_address(f"/hooks/{_quoted(token)}"), **fields)


def _rocketchat(parts: ServiceAddress) -> Builder:
    path = parts.require_path()
    if len(path) < 2:
        raise Unusable("a rocketchat address has no token of two parts")
    fields = {"username": parts.user} if parts.user else {}
    channel = parts.fragment or (path[2] if len(path) > 2 else "")
    if channel:
        fields["channel"] = channel if channel.startswith("@") else f"#{channel}"
    return services.chat_hook(
        parts.web_address(f"/hooks/{_quoted(path[0])}/{_quoted(path[1])}"), **fields
    )


@dataclass(frozen=True, slots=True)
class _Generic:
    """A webhook of any kind, as its address describes it."""

    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    extra: Mapping[str, str] = field(repr=False)
    options: Mapping[str, str] = field(repr=False)

    def __call__(self, message: NotificationMessage) -> Request:
        method = self.options.get("method", "POST").upper()
        if not self.options.get("template"):
            return HttpRequest(self.url, cut(message.text), "text/plain", self.headers, method)
        held = {self.options.get("messagekey", "message"): cut(message.text), **self.extra}
        if title := self.options.get("title"):
            held[self.options.get("titlekey", "title")] = title
        kind = self.options.get("contenttype", "application/json")
        return HttpRequest(
            self.url, json.dumps(held, ensure_ascii=False), kind, self.headers, method
        )


def _generic(parts: ServiceAddress) -> Builder:
    """Options, headers (@name) and further values ($name) leave the query; the rest stays."""
    options = {name: parts.option(name) for name in _GENERIC if parts.option(name)}
    if options.get("template", "json").lower() != "json":
        raise Unusable("the template of a generic address is not json", "leave it out")
    rest = [(name, value) for name, value in parts.query if name.lower() not in _GENERIC]
    headers = tuple((name[1:], value) for name, value in rest if name.startswith("@"))
    extra = {name[1:]: value for name, value in rest if name.startswith("$")}
    # A name with two underscores in front is one of the webhook's own that an option also has.
    kept = [(name.removeprefix("__"), value) for name, value in rest if name[:1] not in "@$"]
    url = parts.web_address(parts.raw_path, is_plain=_is_plain(parts))
    return _Generic(url + (f"?{urlencode(kept)}" if kept else ""), headers, extra, options)


def _is_plain(parts: ServiceAddress) -> bool:
    return parts.scheme == "generic+http" or parts.is_on("disabletls")


def _smtp(parts: ServiceAddress) -> Builder:
    """Send mail. With a login TLS is a must; without one it is used where the server has it."""
    sender, receivers = _mails(parts, "fromaddress", "from"), _mails(parts, "toaddresses", "to")
    if not sender or not receivers:
        raise Unusable("an smtp address names no sender or no receiver", "add ?from=...&to=...")
    if parts.option("auth").lower() == "oauth2":
        raise Unusable("OAuth2 is not supported for mail", "use a password for applications")
    if name := parts.option("fromname"):
        sender = f"{name} <{sender}>"
    options = {"from": sender, "to": receivers}
    if parts.is_on("skiptlsverify"):
        options["verify"] = "no"
    first, second = _modes(parts)
    url = _mail_address(parts, {**options, "mode": first})
    other = _mail_address(parts, {**options, "mode": second}) if second else ""
    return _by_apprise(url, parts.option("subject") or parts.option("title"), other)


def _mails(parts: ServiceAddress, *names: str) -> str:
    # A plus sign in an address is read as a blank.
    return next((found.replace(" ", "+") for name in names if (found := parts.option(name))), "")


def _modes(parts: ServiceAddress) -> tuple[str, str]:
    """Return how the connection is secured, and how else if that does not work."""
    wanted = parts.option("encryption").lower()
    if wanted == "implicittls" or (wanted in ("", "auto") and parts.port == _IMPLICIT_PORT):
        return "ssl", ""
    starts = "usestarttls" if parts.option("usestarttls") else "starttls"
    if wanted == "none" or (parts.is_off(starts) and wanted != "explicittls"):
        return "insecure", ""
    is_must = wanted == "explicittls" or parts.is_on("requirestarttls") or _has_login(parts)
    return "starttls", "" if is_must else "insecure"


def _has_login(parts: ServiceAddress) -> bool:
    return bool(parts.user) and parts.option("auth").lower() != "none"


def _mail_address(parts: ServiceAddress, options: dict[str, str]) -> str:
    scheme = "mailto" if options["mode"] == "insecure" else "mailtos"
    login = f"{_quoted(parts.user)}:{_quoted(parts.password)}@" if _has_login(parts) else ""
    place = f"{parts.require('host')}:{parts.port or '25'}"
    return f"{scheme}://{login}{place}/?{urlencode(options)}"


def _matrix(parts: ServiceAddress) -> Builder:
    """Write into rooms of a Matrix server."""
    scheme = "matrix" if parts.is_on("disabletls") else "matrixs"
    password = _quoted(parts.require("password"))
    login = f"{_quoted(parts.user)}:{password}" if parts.user else password
    rooms = (parts.option("rooms") or parts.option("room")).split(",")
    named = [room if room[0] in "#!" else f"#{room}" for room in rooms if room]
    port = f":{parts.port}" if parts.port else ""
    path = "/".join(map(_quoted, named))
    # Otherwise Apprise may take the address for one of a bridge.
    url = f"{scheme}://{login}@{parts.require('host')}{port}/{path}?mode=off"
    return _by_apprise(url, parts.option("title"))


def _slack_bot(token: str, channel: str, name: str) -> Builder:
    """Write into a channel of Slack as a bot."""
    bot = f"{_quoted(name)}@" if name else ""
    return _by_apprise(f"slack://{bot}{_quoted(token)}/+{_quoted(channel)}", "")


def _telegram_chats(token: str, chats: Sequence[str], form: str, *, is_silent: bool) -> Builder:
    """Write into several chats of Telegram; `form` is html, markdown, markdownv2 or empty."""
    path = "/".join(map(_quoted, chats))
    url = f"tgram://{token}/{path}/{'?silent=yes' if is_silent else ''}"
    return _by_apprise(url, "", form="text" if not form else form.removesuffix("v2"))


def _by_apprise(url: str, title: str, second: str = "", form: str = "text") -> Builder:
    def build(message: NotificationMessage) -> AppriseRequest:
        level = level_of(message.event)
        kind = "text" if message.is_default else form
        return AppriseRequest(url, title or message.title, cut(message.text), second, kind, level)

    return build


def _quoted(text: str) -> str:
    return quote(text, safe="")


_SERVICES: Final[Mapping[str, Callable[[ServiceAddress], Builder]]] = {
    "discord": _discord,
    "slack": _slack,
    "telegram": _telegram,
    "gotify": _gotify,
    "ntfy": _ntfy,
    "smtp": _smtp,
    "pushover": _pushover,
    "teams": _teams,
    "matrix": _matrix,
    "mattermost": _mattermost,
    "rocketchat": _rocketchat,
    "generic": _generic,
    "generic+https": _generic,
    "generic+http": _generic,
}
