"""Notifications: `notify` items → Backrest's notification hooks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sidecar.backrest.plan import Condition, Hook
from sidecar.labels.registry import resolve_label
from sidecar.labels.values import parse_list, strip_quotes
from sidecar.lib.text import SpecInvalid, closest

_EVENTS = {
    "error": Condition.ANY_ERROR,
    "warning": Condition.SNAPSHOT_WARNING,
    "success": Condition.SNAPSHOT_SUCCESS,
    "start": Condition.SNAPSHOT_START,
}
# kind → (action, the field that holds the address)
_ACTIONS = {
    "healthchecks": ("actionHealthchecks", "webhookUrl"),
    "shoutrrr": ("actionShoutrrr", "shoutrrrUrl"),
    "discord": ("actionDiscord", "webhookUrl"),
    "slack": ("actionSlack", "webhookUrl"),
    "gotify": ("actionGotify", "baseUrl"),
}
# What addresses of these services have in them.
_HOSTS = (
    ("hc-ping.com", "healthchecks"),
    ("healthchecks", "healthchecks"),
    ("/ping/", "healthchecks"),
    ("discord", "discord"),
    ("hooks.slack.com", "slack"),
    ("gotify", "gotify"),
)
_FORMS = "healthchecks:URL, shoutrrr:URL, discord:URL, slack:URL or gotify:URL@TOKEN"


class SecretMissing(Exception):
    """A secret reference that could not be resolved; the text is the reference."""


@dataclass(frozen=True, slots=True)
class NotifyItem:
    """One parsed `notify` item; `url` and `token` are literals or secret references."""

    kind: str
    url: str
    token: str = ""

    @property
    def references(self) -> tuple[str, ...]:
        """The secret references among its parts."""
        return tuple(part for part in (self.url, self.token) if is_reference(part))

    @property
    def has_literal(self) -> bool:
        """Whether the part that lets anyone post stands in the label itself."""
        return not is_reference(self.token or self.url)


def is_reference(text: str) -> bool:
    """Return whether a value refers to a secret instead of being one."""
    return text.startswith(("file:", "env:"))


def find_references(labels: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Collect the secret references of all `notify` labels; pairs are (name, value)."""
    found: set[str] = set()
    for name, value in labels:
        label, index = resolve_label(name)
        if label is not None and label.name == "notify":
            found.update(_references_in(value.strip(), split=index < 0))
    return frozenset(found)


def _references_in(value: str, *, split: bool) -> Iterator[str]:
    try:
        items = parse_list(value, keep_quotes=False) if split else (strip_quotes(value),)
        for item in items:
            yield from parse_notification(item).references
    except SpecInvalid:
        return  # reported when the label itself is parsed


def parse_notification(item: str) -> NotifyItem:
    """Parse one `notify` item. Raises SpecInvalid, whose texts hold no part of it."""
    kind, _, address = item.partition(":")
    kind, address = kind.strip(), address.strip()
    if kind not in _ACTIONS:
        raise SpecInvalid(
            "an item has no known kind in front of its first colon",
            f"{_kind_meant(kind, address)}write {_FORMS}",
        )
    token = ""
    if kind == "gotify":
        address, at, token = (part.strip() for part in address.rpartition("@"))
        if not at or not token:
            raise SpecInvalid("a gotify item has no token", "write gotify:URL@TOKEN")
    if not is_reference(address):
        _check_address(kind, address)
    return NotifyItem(kind, address, token)


def _kind_meant(kind: str, address: str) -> str:
    """Return a hint with the kind that was meant: by its name, or by a bare address."""
    name, equals, _ = kind.partition("=")
    if equals or not address.startswith("//"):
        meant = closest(name, _ACTIONS) or _service_of(kind)
        return f"did you mean {meant}:? Else " if meant else ""
    if kind not in ("http", "https"):
        return "write shoutrrr: in front of the address; else "
    meant = _service_of(address)
    return f"write {meant}: in front of the address; else " if meant else ""


def _service_of(address: str) -> str:
    """Return the kind whose services have such addresses, the empty string if none is known."""
    text = address.lower()
    return next((name for part, name in _HOSTS if part in text), "")


def _check_address(kind: str, address: str) -> None:
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if kind == "shoutrrr":
        if not parts.scheme or not address.partition("://")[2]:
            raise SpecInvalid("a shoutrrr item has no service URL", "write shoutrrr:SERVICE://...")
    elif parts.scheme not in ("http", "https") or not parts.netloc:
        raise SpecInvalid(f"a {kind} item has no http(s) URL", f"write {kind}:https://...")


def render_notification(
    notification: NotifyItem, events: Iterable[str], secrets: Mapping[str, str]
) -> Hook:
    """Return the hook of one notification; a failing one never fails a backup.

    `events` are words of `notify.on`. Raises SecretMissing for a reference that
    `secrets` does not hold or that holds no URL.
    """
    action, field = _ACTIONS[notification.kind]
    url = _resolve(notification.url, secrets)
    try:
        _check_address(notification.kind, url)
    except SpecInvalid:
        raise SecretMissing(notification.url) from None
    settings = {field: url}
    if notification.token:
        settings["token"] = _resolve(notification.token, secrets)
    conditions = tuple(dict.fromkeys(_EVENTS[event] for event in events))
    return Hook(conditions, action, settings)


def _resolve(part: str, secrets: Mapping[str, str]) -> str:
    if not is_reference(part):
        return part
    if part not in secrets:
        raise SecretMissing(part)
    return secrets[part]
