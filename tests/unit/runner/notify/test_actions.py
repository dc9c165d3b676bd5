"""Hooks that notify: what each service is sent."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.backrest.reading import Repo, RunHook, RunPlan
from sidecar.runner.notify.actions import resolve_notification
from sidecar.runner.notify.messages import HttpRequest
from sidecar.runner.notify.services import Unusable
from sidecar.runner.template import TemplateError, Values

NOW = datetime(2031, 4, 5, 6, 7, 8, tzinfo=UTC)
URL = "https://host.example/hook/secret"


def values(event: str = "CONDITION_SNAPSHOT_ERROR", error: str = "a < b") -> Values:
    """Return the values of an event."""
    plan = RunPlan("web", "main", ("/data",))
    return Values('backup for plan "web"', Repo("main"), plan, NOW, event, error=error)


def sent(
    action: str, settings: Mapping[str, Any], event: str = "CONDITION_SNAPSHOT_ERROR"
) -> HttpRequest:
    """Return what a hook with this action posts."""
    request = resolve_notification(RunHook(frozenset(), action, settings)).request(values(event))
    assert isinstance(request, HttpRequest)
    return request


def test_discord_gets_its_content() -> None:
    """And not more than it takes."""
    post = sent("actionDiscord", {"webhookUrl": URL, "template": "{{ .Task }} " + "x" * 3000})

    assert (URL, "application/json") == (post.url, post.content_type)
    content = json.loads(post.body)["content"]
    assert (2000, 'backup for plan "web" xxx', " …") == (len(content), content[:25], content[-2:])


def test_slack_gets_a_text() -> None:
    """By default the summary."""
    text = json.loads(sent("actionSlack", {"webhookUrl": URL}).body)["text"]

    assert text.startswith('backup for plan "web": snapshot error\n')
    assert "Error: a < b\n" in text


@pytest.mark.parametrize("body", ['{"blocks": [{"text": "x"}]}', "[1]"])
def test_slack_gets_json_as_it_stands(body: str) -> None:
    """A template may make a whole payload."""
    assert body == sent("actionSlack", {"webhookUrl": URL, "template": body}).body


def test_gotify_gets_its_token_in_a_header() -> None:
    """So that no log of requests holds it."""
    settings = {"baseUrl": "https://gotify.example/base/", "token": "Atoken", "priority": 7}

    post = sent("actionGotify", {**settings, "titleTemplate": "of {{ .Plan.Id }}", "template": "m"})

    assert ("https://gotify.example/base/message", (("X-Gotify-Key", "Atoken"),)) == (
        post.url,
        post.headers,
    )
    assert {"message": "m", "title": "of web", "priority": 7} == json.loads(post.body)
    title = json.loads(sent("actionGotify", settings).body)["title"]
    assert 'backup for plan "web": snapshot error' == title


def test_telegram_gets_html_from_templates_and_plain_words_from_us() -> None:
    """A template may use markup; in our own words nothing may be taken for it."""
    settings = {"botToken": "12:ab", "chatId": "-100"}

    own = sent("actionTelegram", settings)
    theirs = json.loads(
        sent("actionTelegram", {**settings, "template": "<b>{{ .Error }}</b>"}).body
    )

    assert "https://api.telegram.org/bot12:ab/sendMessage" == own.url
    assert "Error: a &lt; b\n" in json.loads(own.body)["text"]
    assert {"chat_id": "-100", "text": "<b>a < b</b>", "parse_mode": "HTML"} == theirs


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("CONDITION_SNAPSHOT_START", "/ping/uuid/start"),
        ("CONDITION_PRUNE_START", "/ping/uuid/start"),
        ("CONDITION_ANY_ERROR", "/ping/uuid/fail"),
        ("CONDITION_CHECK_ERROR", "/ping/uuid/fail"),
        ("CONDITION_SNAPSHOT_END", "/ping/uuid/log"),
        ("CONDITION_SNAPSHOT_SUCCESS", "/ping/uuid"),
        ("CONDITION_SNAPSHOT_WARNING", "/ping/uuid"),
        ("CONDITION_SNAPSHOT_SKIPPED", "/ping/uuid"),
    ],
)
def test_healthchecks_is_pinged_where_the_event_belongs(event: str, path: str) -> None:
    """As Backrest does it, with or without a template; a query stays."""
    post = sent("actionHealthchecks", {"webhookUrl": "https://hc.example/ping/uuid?rid=1"}, event)

    assert (path, "rid=1") == (urlsplit(post.url).path, urlsplit(post.url).query)
    assert post.content_type.startswith("text/plain")


def test_healthchecks_may_end_with_a_slash() -> None:
    """It does not become two."""
    post = sent("actionHealthchecks", {"webhookUrl": "https://hc.example/u/", "template": "t"})

    assert ("https://hc.example/u/fail", "t") == (post.url, post.body)


@pytest.mark.parametrize(
    ("action", "settings"),
    [
        ("actionDiscord", {}),
        ("actionDiscord", {"webhookUrl": "secret"}),
        ("actionSlack", {"webhookUrl": "ftp://host/secret"}),
        ("actionSlack", {"webhookUrl": "https:///secret"}),
        ("actionHealthchecks", {"webhookUrl": "https://host:secret/"}),
        ("actionHealthchecks", {"webhookUrl": "https://[secret/"}),
        ("actionGotify", {"baseUrl": URL}),
        ("actionGotify", {"baseUrl": URL, "token": "secret secret"}),
        ("actionGotify", {"baseUrl": URL, "token": "secret\nX-Other: 1"}),
        ("actionTelegram", {"botToken": "secret"}),
        ("actionTelegram", {"chatId": "1"}),
        ("actionShoutrrr", {"shoutrrrUrl": "secret"}),
        ("actionShoutrrr", {}),
        ("actionWebhook", {"webhookUrl": URL}),
        ("", {}),
    ],
)
def test_what_can_never_be_sent_is_told_without_its_secrets(
    action: str, settings: Mapping[str, Any]
) -> None:
    """A fault is found when the document is read."""
    with pytest.raises(Unusable) as told:
        resolve_notification(RunHook(frozenset(), action, settings))

    assert "secret" not in str(told.value)


@pytest.mark.parametrize("field", ["template", "titleTemplate"])
def test_templates_of_notifications_are_checked(field: str) -> None:
    """Both of them."""
    settings = {"baseUrl": URL, "token": "t", field: "{{ .Nothing }}"}

    with pytest.raises(TemplateError):
        resolve_notification(RunHook(frozenset(), "actionGotify", settings))
