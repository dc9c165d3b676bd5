"""Services that take more than one request, which Apprise knows how to make. Pure."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from sidecar.runner.notify.messages import ByApprise, Message, cut, level_of
from sidecar.runner.notify.parts import Parts
from sidecar.runner.notify.services import Builder, Unusable

_IMPLICIT_PORT = "465"


def smtp(parts: Parts) -> Builder:
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


def _mails(parts: Parts, *names: str) -> str:
    # A plus sign in an address is read as a blank.
    return next((found.replace(" ", "+") for name in names if (found := parts.option(name))), "")


def _modes(parts: Parts) -> tuple[str, str]:
    """Give how the connection is secured, and how else if that does not work."""
    wanted = parts.option("encryption").lower()
    if wanted == "implicittls" or (wanted in ("", "auto") and parts.port == _IMPLICIT_PORT):
        return "ssl", ""
    starts = "usestarttls" if parts.option("usestarttls") else "starttls"
    if wanted == "none" or (parts.is_off(starts) and wanted != "explicittls"):
        return "insecure", ""
    is_must = wanted == "explicittls" or parts.is_on("requirestarttls") or _has_login(parts)
    return "starttls", "" if is_must else "insecure"


def _has_login(parts: Parts) -> bool:
    return bool(parts.user) and parts.option("auth").lower() != "none"


def _mail_address(parts: Parts, options: dict[str, str]) -> str:
    scheme = "mailto" if options["mode"] == "insecure" else "mailtos"
    login = f"{_quoted(parts.user)}:{_quoted(parts.password)}@" if _has_login(parts) else ""
    place = f"{parts.need('host')}:{parts.port or '25'}"
    return f"{scheme}://{login}{place}/?{urlencode(options)}"


def matrix(parts: Parts) -> Builder:
    """Write into rooms of a Matrix server."""
    scheme = "matrix" if parts.is_on("disabletls") else "matrixs"
    password = _quoted(parts.need("password"))
    login = f"{_quoted(parts.user)}:{password}" if parts.user else password
    rooms = (parts.option("rooms") or parts.option("room")).split(",")
    named = [room if room[0] in "#!" else f"#{room}" for room in rooms if room]
    port = f":{parts.port}" if parts.port else ""
    path = "/".join(map(_quoted, named))
    # Otherwise Apprise may take the address for one of a bridge.
    url = f"{scheme}://{login}@{parts.need('host')}{port}/{path}?mode=off"
    return _by_apprise(url, parts.option("title"))


def slack_bot(token: str, channel: str, name: str) -> Builder:
    """Write into a channel of Slack as a bot."""
    bot = f"{_quoted(name)}@" if name else ""
    return _by_apprise(f"slack://{bot}{_quoted(token)}/+{_quoted(channel)}", "")


def telegram_chats(token: str, chats: Sequence[str], form: str, *, is_silent: bool) -> Builder:
    """Write into several chats of Telegram; `form` is html, markdown, markdownv2 or empty."""
    path = "/".join(map(_quoted, chats))
    url = f"tgram://{token}/{path}/{'?silent=yes' if is_silent else ''}"
    return _by_apprise(url, "", form="text" if not form else form.removesuffix("v2"))


def _by_apprise(url: str, title: str, second: str = "", form: str = "text") -> Builder:
    def build(message: Message) -> ByApprise:
        level = level_of(message.event)
        kind = "text" if message.is_default else form
        return ByApprise(url, title or message.title, cut(message.text), second, kind, level)

    return build


def _quoted(text: str) -> str:
    return quote(text, safe="")
