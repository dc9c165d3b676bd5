"""Shoutrrr's addresses (`service://...`) → those of Apprise, which sends to them. Pure.

Only a webhook of any kind (`generic://`) is posted to as it is: what its receiver wants to get
is for the address to say, and Apprise's own webhooks have a form of their own.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

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
    r"(?:(?P<kind>xox[a-z]|hook)[-:]|:?)"
    r"(?P<first>[A-Za-z0-9]+)[-/,](?P<second>[A-Za-z0-9]+)[-/,](?P<third>[A-Za-z0-9]+)"
)
_WORKFLOW = re.compile(
    r"https://(?P<place>[A-Za-z0-9.-]+(?::[0-9]{1,5})?)"
    r"(?P<is_power>/powerautomate/automations/direct(?:/cu/(?P<route>[0-9]+))?)?"
    r"/workflows/(?P<workflow>[A-Za-z0-9_-]+)/triggers/manual/paths/invoke/?\?(?P<query>.+)"
)
_IMPLICIT_PORT = "465"
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
class _ByApprise:
    """A message to an Apprise URL, to the `second` one if the first does not work.

    `title` replaces that of messages; `form` is what a template writes: text, html or markdown.
    """

    url: str = field(repr=False)
    title: str = ""
    second: str = field(default="", repr=False)
    form: str = "text"

    def __call__(self, message: NotificationMessage) -> Request:
        form = "text" if message.is_default else self.form
        title, level = self.title or message.title, level_of(message.event)
        return AppriseRequest(self.url, title, cut(message.text), self.second, form, level)


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

    def named(self, **names: str) -> dict[str, str]:
        """Return the options that are there, under the names that the service has for them."""
        return {theirs: value for ours, theirs in names.items() if (value := self.option(ours))}

    def place(self) -> str:
        """Return the host and its port as they stand in an address. Raises Unusable."""
        # An encoded question mark must not begin options, of which some name files to send.
        return quote(self.require("host"), safe="[]:") + (f":{self.port}" if self.port else "")


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
    number, token = _quoted(parts.require("host")), _quoted(parts.require("user"))
    options = parts.named(username="botname", avatar="avatar_url", thread_id="thread")
    return _ByApprise(_with_options(f"discord://{number}/{token}/", options), form="markdown")


def _slack(parts: ServiceAddress) -> Builder:
    """Write by a webhook, or as a bot (`xoxb-...`) into the channel that is the host."""
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
    place = "/".join(pieces)
    if (found["kind"] or "").startswith("xox"):
        place = f"{'-'.join((found['kind'], *pieces))}/+{_quoted(parts.require('host'))}"
    return _ByApprise(f"slack://{_quoted(name) + '@' if name else ''}{place}", form="markdown")


def _telegram(parts: ServiceAddress) -> Builder:
    token = f"{_quoted(parts.require('user'))}:{_quoted(parts.require('password'))}"
    named = parts.option("chats") or parts.option("channels")
    chats = [chat.strip() for chat in named.split(",") if chat.strip()]
    if not chats:
        raise Unusable("a telegram address names no chat", "add ?chats=...")
    options = {} if parts.is_off("preview") else {"preview": "yes"}
    if parts.is_off("notification"):
        options["silent"] = "yes"
    url = f"tgram://{token}/{'/'.join(map(_quoted, chats))}/"
    mode = parts.option("parsemode").lower().removesuffix("v2")
    form = mode if mode in ("html", "markdown") else "text"
    return _ByApprise(_with_options(url, options), form=form)


def _gotify(parts: ServiceAddress) -> Builder:
    path = "/".join(map(_quoted, parts.require_path()))
    priority = parts.option("priority") or "0"
    if not priority.lstrip("-").isdecimal():
        raise Unusable("priority of a gotify address is no number")
    scheme = "gotify" if parts.is_on("disabletls") else "gotifys"
    url = _with_options(f"{scheme}://{parts.place()}/{path}", {"priority": priority})
    return _ByApprise(url, parts.option("title"))


def _ntfy(parts: ServiceAddress) -> Builder:
    is_plain = parts.is_on("disabletls") or parts.option("scheme") == "http"
    topics = "/".join(map(_quoted, parts.require_path()))
    names = ("priority", "click", "attach", "filename", "delay", "email", "actions")
    options = parts.named(**{name: name for name in names}, tags="xtags", icon="avatar_url")
    login = ""
    if parts.user and parts.password:
        login = f"{_quoted(parts.user)}:{_quoted(parts.password)}@"
    elif parts.password:
        options["token"] = parts.password
    url = f"{'ntfy' if is_plain else 'ntfys'}://{login}{parts.place()}/{topics}"
    return _ByApprise(_with_options(url, options), parts.option("title"))


def _pushover(parts: ServiceAddress) -> Builder:
    token, user = _quoted(parts.require("password")), _quoted(parts.require("host"))
    devices = "/".join(_quoted(one.strip()) for one in parts.option("devices").split(","))
    url = f"pover://{user}@{token}/{devices}"
    return _ByApprise(_with_options(url, parts.named(priority="priority")), parts.option("title"))


def _teams(parts: ServiceAddress) -> Builder:
    """Post to a workflow; of its address only what leads there is taken over."""
    found = _WORKFLOW.fullmatch(parts.option("host"))
    query = dict(parse_qsl(found["query"])) if found else {}
    if found is None or not query.get("sig"):
        raise Unusable(
            "a teams address has no workflow, and the older connectors have ended",
            "write teams://?host=https%3A%2F%2F..., the whole address of the workflow",
        )
    options = {"signature": query["sig"]}
    if version := query.get("api-version"):
        options["ver"] = version
    if found["is_power"]:
        options["pa"] = "yes"
    if found["route"]:
        options["route"] = found["route"]
    url = _with_options(f"workflows://{found['place']}/{found['workflow']}/", options)
    return _ByApprise(url, parts.option("title"), form="markdown")


def _mattermost(parts: ServiceAddress) -> Builder:
    token, *channel = parts.require_path()
    bot = f"{_quoted(parts.user)}@" if parts.user else ""
    options = {"channel": channel[0]} if channel else {}
    if "://" in (icon := parts.option("icon")):
        options |= {"image": "yes", "icon_url": icon}
    scheme = "mmost" if parts.is_on("disabletls") else "mmosts"
    url = f"{scheme}://{bot}{parts.place()}/{_quoted(token)}"
    return _ByApprise(_with_options(url, options), form="markdown")


def _rocketchat(parts: ServiceAddress) -> Builder:
    path = parts.require_path()
    if len(path) < 2:
        raise Unusable("a rocketchat address has no token of two parts")
    channel = parts.fragment or (path[2] if len(path) > 2 else "")
    if channel and not channel.startswith("@"):
        channel = f"#{channel}"
    scheme = "rocket" if parts.is_on("disabletls") else "rockets"
    url = f"{scheme}://{parts.place()}/{_quoted(channel)}"
    return _ByApprise(_with_options(url, {"webhook": f"{path[0]}/{path[1]}"}), form="markdown")


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
    is_plain = parts.scheme == "generic+http" or parts.is_on("disabletls")
    url = f"{'http' if is_plain else 'https'}://{parts.place()}{parts.raw_path}"
    return _Generic(url + (f"?{urlencode(kept)}" if kept else ""), headers, extra, options)


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
    return _ByApprise(url, parts.option("subject") or parts.option("title"), other)


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
    port = "" if parts.port else ":25"
    return _with_options(f"{scheme}://{login}{parts.place()}{port}/", options)


def _matrix(parts: ServiceAddress) -> Builder:
    """Write into rooms of a Matrix server."""
    scheme = "matrix" if parts.is_on("disabletls") else "matrixs"
    password = _quoted(parts.require("password"))
    login = f"{_quoted(parts.user)}:{password}" if parts.user else password
    rooms = (parts.option("rooms") or parts.option("room")).split(",")
    named = [room if room[0] in "#!" else f"#{room}" for room in rooms if room]
    path = "/".join(map(_quoted, named))
    # Otherwise Apprise may take the address for one of a bridge.
    return _ByApprise(f"{scheme}://{login}@{parts.place()}/{path}?mode=off", parts.option("title"))


def _with_options(url: str, options: Mapping[str, str]) -> str:
    return f"{url}?{urlencode(options)}" if options else url


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
