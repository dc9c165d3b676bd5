"""Hooks that notify: the settings of an action → its templates and a builder of requests. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.backrest.reading import RunHook
from sidecar.runner.notify import services
from sidecar.runner.notify.messages import NotificationMessage, Request
from sidecar.runner.notify.services import Builder, Unusable, check_http
from sidecar.runner.notify.shoutrrr import translate_shoutrrr
from sidecar.runner.template import Template, Values, event_name, parse_template

_SUMMARY = parse_template("{{ .Summary }}")
_Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotifyAction:
    """A hook that notifies: `kind` is the service, for people."""

    kind: str
    _build: Builder = field(repr=False)
    _text: Template
    _title: Template | None
    _is_default: bool

    def request(self, values: Values) -> Request:
        """Make the request for an event; never raises."""
        title = f"{values.task}: {event_name(values.event)}"
        if self._title is not None:
            title = self._title.render(values)
        text = self._text.render(values)
        return self._build(NotificationMessage(title, text, values.event, self._is_default))


def _webhook(service: Callable[[str], Builder]) -> Callable[[_Settings], Builder]:
    return lambda settings: service(check_http(settings.get("webhookUrl", ""), "webhookUrl"))


def _gotify(settings: _Settings) -> Builder:
    base = check_http(settings.get("baseUrl", ""), "baseUrl")
    token = _secret(settings, "token")
    return services.gotify(base, token, settings.get("priority", 0))


def _telegram(settings: _Settings) -> Builder:
    token, chat = _secret(settings, "botToken"), settings.get("chatId", "")
    if not chat:
        raise Unusable("chatId is empty")
    return services.telegram(token, chat)


def _secret(settings: _Settings, name: str) -> str:
    token = str(settings.get(name, "")).strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Unusable(f"{name} is empty, or no token")
    return token


def _shoutrrr(settings: _Settings) -> Builder:
    return translate_shoutrrr(settings.get("shoutrrrUrl", ""))


_ACTIONS: Final[Mapping[str, Callable[[_Settings], Builder]]] = {
    "actionDiscord": _webhook(services.discord),
    "actionSlack": _webhook(services.slack),
    "actionHealthchecks": _webhook(services.healthchecks),
    "actionGotify": _gotify,
    "actionTelegram": _telegram,
    "actionShoutrrr": _shoutrrr,
}


def resolve_notification(hook: RunHook) -> NotifyAction:
    """Return what a hook sends and where. Raises Unusable or TemplateError."""
    kind = hook.action.removeprefix("action").lower()
    make = _ACTIONS.get(hook.action)
    if make is None:
        what = f"the action {hook.action} is not supported" if hook.action else "it has no action"
        raise Unusable(what, "use actionShoutrrr with a generic:// address for a webhook")
    text = hook.settings.get("template", "")
    title = hook.settings.get("titleTemplate", "")
    is_default = not text.strip(" ")
    return NotifyAction(
        kind,
        make(hook.settings),
        _SUMMARY if is_default else parse_template(text),
        parse_template(title) if title.strip(" ") else None,
        is_default,
    )
