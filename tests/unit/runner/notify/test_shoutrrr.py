"""Shoutrrr's addresses: how they are read, and which request is made of a message."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.runner.notify.messages import (
    AppriseRequest,
    HttpRequest,
    NotificationMessage,
    Request,
)
from sidecar.runner.notify.services import Unusable
from sidecar.runner.notify.shoutrrr import translate_shoutrrr

MESSAGE = NotificationMessage(
    "a title", "what <happened>", "CONDITION_SNAPSHOT_ERROR", is_default=False
)


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
