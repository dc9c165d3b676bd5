"""Notifications: what each service is sent, how shoutrrr's addresses are read, what is told."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.reading import Repo, RunHook, RunPlan
from sidecar.engines.base import Stats
from sidecar.runner.journal import RunOutcome
from sidecar.runner.notify.actions import resolve_notification
from sidecar.runner.notify.messages import (
    MOST_BYTES,
    AppriseRequest,
    HttpRequest,
    Notice,
    NoticeEvent,
    NotificationMessage,
    QueuedMessage,
    Request,
    RunNotifier,
    cut,
    fit_message,
    level_of,
    name_address,
    occasion_of,
    parse_message,
    render_message,
    render_notice,
)
from sidecar.runner.notify.services import Unusable
from sidecar.runner.notify.shoutrrr import translate_shoutrrr
from sidecar.runner.template import TemplateError, Values

NOW = datetime(2031, 4, 5, 6, 7, 8, tzinfo=UTC)
MESSAGE = NotificationMessage(
    "a title", "what <happened>", "CONDITION_SNAPSHOT_ERROR", is_default=False
)
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


def post_of(address: str) -> tuple[str, Any]:
    """Return where a shoutrrr address posts, and what, decoded if it is JSON."""
    request = translate_shoutrrr(address)(MESSAGE)
    assert isinstance(request, HttpRequest)
    is_json = request.content_type == "application/json"
    return request.url, json.loads(request.body) if is_json else request.body


TEXT = "what <happened>"


@pytest.mark.parametrize(
    ("address", "url", "body"),
    [
        ("discord://ToKen@123", "https://discord.com/api/webhooks/123/ToKen", {"content": TEXT}),
        (
            "discord://t@1?thread_id=9&username=Bot",
            "https://discord.com/api/webhooks/1/t?thread_id=9",
            {"content": TEXT, "username": "Bot"},
        ),
        ("slack://hook:TA-BB-cC@webhook", "https://hooks.slack.com/services/TA/BB/cC", {"text": TEXT}),
        ("slack://hook-TA-BB-cC@webhook", "https://hooks.slack.com/services/TA/BB/cC", {"text": TEXT}),
        ("slack://TA-BB-cC@webhook", "https://hooks.slack.com/services/TA/BB/cC", {"text": TEXT}),
        (
            "slack://bot@TA/BB/cC",
            "https://hooks.slack.com/services/TA/BB/cC",
            {"text": TEXT, "username": "bot"},
        ),
        (
            "telegram://12:aB@telegram?chats=@here&notification=no&preview=No",
            "https://api.telegram.org/bot12:aB/sendMessage",
            {
                "chat_id": "@here",
                "text": TEXT,
                "disable_notification": True,
                "disable_web_page_preview": True,
            },
        ),
        (
            "telegram://12:aB@telegram?channels=1&parseMode=html",
            "https://api.telegram.org/bot12:aB/sendMessage",
            {"chat_id": "1", "text": TEXT, "parse_mode": "HTML"},
        ),
        (
            "gotify://Host.example:8443/sub/Atoken?priority=5&title=T",
            "https://Host.example:8443/sub/message",
            {"message": TEXT, "title": "T", "priority": 5},
        ),
        (
            "gotify://host/Atoken?disableTLS=yes",
            "http://host/message",
            {"message": TEXT, "title": "a title", "priority": 0},
        ),
        ("ntfy://ntfy.sh/My-Topic", "https://ntfy.sh/My-Topic", TEXT),
        ("ntfy://host:80/t?scheme=http", "http://host:80/t", TEXT),
        (
            "pushover://shoutrrr:aToken@uSer/?devices=a,b&priority=1",
            "https://api.pushover.net/1/messages.json",
            {"token": "aToken", "user": "uSer", "title": "a title", "device": "a,b", "priority": "1", "message": TEXT},
        ),
        (
            "mattermost://bot@chat.example:8065/tOken/town?icon=smile&disabletls=yes",
            "http://chat.example:8065/hooks/tOken",
            {"text": TEXT, "username": "bot", "channel": "town", "icon_emoji": "smile"},
        ),
        ("mattermost://h/t?icon=https://i/i.png", "https://h/hooks/t", {"text": TEXT, "icon_url": "https://i/i.png"}),
        (
            "rocketchat://bot@chat.example/tA/tB/room",
            "https://chat.example/hooks/tA/tB",
            {"text": TEXT, "username": "bot", "channel": "#room"},
        ),
        ("rocketchat://chat/a/b/@me", "https://chat/hooks/a/b", {"text": TEXT, "channel": "@me"}),
        ("rocketchat://chat/a/b#room", "https://chat/hooks/a/b", {"text": TEXT, "channel": "#room"}),
        ("generic://Host:8080/Path?x=1", "https://Host:8080/Path?x=1", TEXT),
        ("generic://host/a/?disabletls=yes", "http://host/a/", TEXT),
        ("generic+http://host/a%2Fb", "http://host/a%2Fb", TEXT),
        ("generic+https://host/a?__title=own&title=T", "https://host/a?title=own", TEXT),
        (
            "generic://host/p?template=json&titleKey=head&messageKey=text&title=T&$extra=1",
            "https://host/p",
            {"text": TEXT, "head": "T", "extra": "1"},
        ),
    ],
)  # fmt: skip
def test_a_shoutrrr_address_becomes_a_request(address: str, url: str, body: Any) -> None:
    """Case is kept, where names of hosts would lose it."""
    assert (url, body) == post_of(address)


def test_a_teams_address_posts_a_card() -> None:
    """To the workflow that is the address's only option."""
    url, body = post_of("teams://?host=https%3A%2F%2Fflow.example%2Fx%3Fsig%3D1&title=T")

    assert "https://flow.example/x?sig=1" == url
    assert ["T", TEXT] == [line["text"] for line in body["attachments"][0]["content"]["body"]]


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        (
            "ntfy://h/t?title=Own&tags=a,b&priority=high",
            {"Title": "Own", "Tags": "a,b", "Priority": "high"},
        ),
        ("ntfy://u:p@h/t", {"Title": "a title", "Authorization": "Basic dTpw"}),
        ("ntfy://:tk_1@h/t", {"Title": "a title", "Authorization": "Bearer tk_1"}),
        ("generic://h/?@Authorization=Bearer+x", {"Authorization": "Bearer x"}),
        ("generic://h/?@a=1&method=put", {"a": "1"}),
    ],
)
def test_headers_of_a_shoutrrr_address(address: str, headers: dict[str, str]) -> None:
    """Options and logins of services that take them there."""
    request = translate_shoutrrr(address)(MESSAGE)

    assert isinstance(request, HttpRequest)
    assert headers == dict(request.headers)
    assert ("PUT" if "put" in address else "POST") == request.method


@pytest.mark.parametrize(
    ("address", "url", "second"),
    [
        (
            "smtp://u:p%40s@mail.example:587/?from=a@b.example&to=c@d.example",
            "mailtos://u:p%40s@mail.example:587/?from=a%40b.example&to=c%40d.example&mode=starttls",
            "",
        ),
        (
            "smtp://mail.example/?fromAddress=a%2Bx@b.example&toAddresses=c+y@d.example,e@f.example",
            "mailtos://mail.example:25/?from=a%2Bx%40b.example&to=c%2By%40d.example%2Ce%40f.example&mode=starttls",
            "mailto://mail.example:25/?from=a%2Bx%40b.example&to=c%2By%40d.example%2Ce%40f.example&mode=insecure",
        ),
        ("smtp://h:465/?from=a@b&to=c@d", "mailtos://h:465/?from=a%40b&to=c%40d&mode=ssl", ""),
        ("smtp://h:25/?from=a@b&to=c@d&starttls=no", "mailto://h:25/?from=a%40b&to=c%40d&mode=insecure", ""),
        ("smtp://h:25/?from=a@b&to=c@d&encryption=ImplicitTLS", "mailtos://h:25/?from=a%40b&to=c%40d&mode=ssl", ""),
        ("smtp://h:25/?from=a@b&to=c@d&encryption=ExplicitTLS", "mailtos://h:25/?from=a%40b&to=c%40d&mode=starttls", ""),
        ("smtp://h:25/?from=a@b&to=c@d&requireStartTLS=yes", "mailtos://h:25/?from=a%40b&to=c%40d&mode=starttls", ""),
        ("smtp://u:p@h:25/?from=a@b&to=c@d&auth=None&encryption=None", "mailto://h:25/?from=a%40b&to=c%40d&mode=insecure", ""),
        (
            "smtp://u:p@h:587/?from=a@b&to=c@d&fromname=The+Runner&skipTLSVerify=yes",
            "mailtos://u:p@h:587/?from=The+Runner+%3Ca%40b%3E&to=c%40d&verify=no&mode=starttls",
            "",
        ),
        ("matrix://u:p@m.example/?rooms=!Id:m.example,alias", "matrixs://u:p@m.example/%21Id%3Am.example/%23alias?mode=off", ""),
        ("matrix://:tok@m.example:80/?disableTLS=yes", "matrix://tok@m.example:80/?mode=off", ""),
        ("slack://xoxb:12-34-aB@C012", "slack://xoxb-12-34-aB/+C012", ""),
        ("slack://xoxb-12-34-aB@C012?botname=b", "slack://b@xoxb-12-34-aB/+C012", ""),
        ("telegram://12:aB@telegram?chats=@a,-1&notification=no", "tgram://12:aB/%40a/-1/?silent=yes", ""),
    ],
)  # fmt: skip
def test_a_shoutrrr_address_becomes_one_of_apprise(address: str, url: str, second: str) -> None:
    """Where one request is not enough."""
    request = translate_shoutrrr(address)(MESSAGE)

    assert AppriseRequest(url, "a title", TEXT, second, level="failure") == request


@pytest.mark.parametrize(
    "address",
    [
        "",
        "secret",
        "://secret",
        "nosuch://secret@host",
        "logger://",
        "discord://secret@1/raw",
        "discord://secret",
        "discord://@1",
        "slack://secret@webhook",
        "slack://a/b",
        "slack://",
        "telegram://12:secret@telegram",
        "telegram://secret@telegram?chats=1",
        "gotify://secret",
        "gotify://host/secret?priority=much",
        "gotify://ho[st/secret",
        "gotify://host:port/secret",
        "ntfy://u:secret@host",
        "pushover://shoutrrr:secret@",
        "pushover://user",
        "teams://secret@tenant/x/y?host=organization",
        "teams://?host=http%3A%2F%2Fsecret",
        "mattermost://secret",
        "rocketchat://host/secret",
        "smtp://u:secret@host/?to=a@b",
        "smtp://u:secret@host/?from=a@b",
        "smtp://u:secret@host/?from=a@b&to=a@b&auth=OAuth2",
        "matrix://secret@host",
        "matrix://u:secret@",
        "generic://host/?template=secret",
        "generic://",
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_it(address: str) -> None:
    """Also the addresses of services that are not known here."""
    with pytest.raises(Unusable) as told:
        translate_shoutrrr(address)(MESSAGE)

    assert "secret" not in str(told.value)


PIECES = st.sampled_from(
    ["discord", "slack", "telegram", "gotify", "ntfy", "smtp", "matrix", "teams", "generic", "://",
     "rocketchat", "/", "@", ":", "?", "&", "=", "#", "%", "[", "]", "a", "1", "from", "to", "chats",
     "ä", " ", "\n", "host"]
)  # fmt: skip


def read(address: str) -> Request | Unusable:
    """Return what an address makes of a message, or say why nothing."""
    try:
        return translate_shoutrrr(address)(MESSAGE)
    except Unusable as error:
        return error


@given(st.lists(PIECES, max_size=14).map("".join))
def test_any_address_is_either_used_or_told(address: str) -> None:
    """Nothing else comes out of reading one."""
    assert isinstance(read(address), HttpRequest | AppriseRequest | Unusable)


LETTERS = [
    QueuedMessage(
        "discord of hook 1",
        "plan web",
        HttpRequest(URL, "a body ä", headers=(("A", "b"),)),
        5.5,
        True,
    ),
    QueuedMessage(
        "x",
        "y",
        AppriseRequest("mailto://u:secret@h", "t\ud800", "b", "second", "html", "failure"),
        1.0,
    ),
]


@pytest.mark.parametrize("message", LETTERS, ids=["post", "apprise"])
def test_a_letter_survives_waiting(message: QueuedMessage) -> None:
    """It comes back as it was, and never shows what is secret."""
    text = render_message(message)

    assert text.isascii()
    assert message == parse_message(text)
    assert "secret" not in repr(message)


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"kind": "post"}', '{"kind": "apprise", "request": {"a": 1}}']
)
def test_what_is_no_letter_is_none(text: str) -> None:
    """The journal may hold what another version wrote."""
    assert parse_message(text) is None


def test_a_letter_that_is_too_long_is_cut() -> None:
    """And may wait then."""
    long = fit_message(QueuedMessage("x", "y", HttpRequest(URL, "ä€" * 30_000), 1.0))

    assert len(render_message(long)) <= MOST_BYTES
    assert long.request.body.endswith(" …")
    assert long == fit_message(long)


def test_a_text_is_cut_where_it_is_too_long() -> None:
    """Not one character earlier."""
    assert ("abcd", "ab …", "") == (cut("abcd", 4), cut("abcde", 4), cut("abc", 0))


def test_levels_follow_the_event() -> None:
    """So that services show errors in red."""
    events = ("CONDITION_ANY_ERROR", "warning", "missed", "CONDITION_PRUNE_SUCCESS", "start")

    assert ["failure", "warning", "warning", "success", "info"] == [level_of(one) for one in events]


NOTICE = Notice(
    NoticeEvent.ERROR,
    "backup",
    "plan web",
    "failed",
    NOW,
    "the disk is full",
    3725.4,
    Stats(2, 1, 0, 3, 1500, 2_500_000),
    "4bba301e",
    datetime(2031, 4, 1, 2, 0, tzinfo=UTC),
    datetime(2031, 4, 6, 2, 0, tzinfo=UTC),
)


def test_a_notice_is_one_clear_message() -> None:
    """What, why, how long, how much, and when again."""
    title, body = render_notice(NOTICE, "nas")

    assert "backup of plan web failed on nas" == title
    assert [
        "Backup of plan web: failed",
        "Reason: the disk is full",
        "Time: 2031-04-05 06:07+00:00",
        "Duration: 1 h 2 min 5 s",
        "Size: 2.5 MB in 3 files",
        "Added: 1.5 kB (2 new and 1 changed files)",
        "Snapshot: 4bba301e",
        "Last success: 2031-04-01 02:00+00:00",
        "Next: 2031-04-06 02:00+00:00",
        "Host: nas",
    ] == body.splitlines()


def test_a_notice_tells_no_more_than_is_known() -> None:
    """Most of it may be unknown."""
    notice = Notice(NoticeEvent.START, "prune", "repository main", "began", NOW, seconds=0.2)

    assert (
        "Prune of repository main: began\nTime: 2031-04-05 06:07+00:00\nDuration: 0 s\nHost: nas"
        == render_notice(notice, "nas")[1]
    )


def test_notices_go_to_every_address_on_the_occasions_asked_for() -> None:
    """And on no other; an address is called by its number where it must not be shown."""
    messages: list[QueuedMessage] = []
    urls = ("mailtos://u:secret@h", "json://host/secret")
    announcer = RunNotifier(urls, {NoticeEvent.ERROR, NoticeEvent.MISSED}, "nas", messages.append)

    announcer.announce(NOTICE)
    announcer.announce(Notice(NoticeEvent.SUCCESS, "backup", "plan web", "succeeded", NOW))

    assert ["--notify-url 1 (mailtos)", "--notify-url 2 (json)"] == [
        message.to for message in messages
    ]
    assert [False, False] == [message.is_start for message in messages]
    assert list(urls) == [message.request.url for message in messages]
    assert "secret" not in repr((announcer, messages))


def test_an_address_that_is_none_has_a_number_only() -> None:
    """It may be a secret that was pasted into the wrong place."""
    assert ("--notify-url 1", "--notify-url 2") == (
        name_address("secret", 1),
        name_address("http://[", 2),
    )


def test_every_outcome_is_an_occasion() -> None:
    """Errors are what failed or was interrupted."""
    found = {outcome: occasion_of(outcome) for outcome in RunOutcome}

    assert {RunOutcome.FAILED, RunOutcome.INTERRUPTED} == {
        outcome for outcome, occasion in found.items() if occasion is NoticeEvent.ERROR
    }
