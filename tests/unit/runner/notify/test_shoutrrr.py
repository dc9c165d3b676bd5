"""Shoutrrr's addresses: how they are read, and which request is made of a message."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

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
def test_a_generic_address_becomes_a_request(address: str, url: str, body: Any) -> None:
    """Case is kept, where names of hosts would lose it."""
    assert (url, body) == post_of(address)


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("generic://h/?@Authorization=Bearer+x", {"Authorization": "Bearer x"}),
        ("generic://h/?@a=1&method=put", {"a": "1"}),
    ],
)
def test_headers_of_a_generic_address(address: str, headers: dict[str, str]) -> None:
    """Options whose names begin so."""
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
    ],
)  # fmt: skip
def test_a_mail_or_a_room_becomes_an_address_of_apprise(
    address: str, url: str, second: str
) -> None:
    """A mail has a second one, for servers without TLS."""
    request = translate_shoutrrr(address)(MESSAGE)

    assert AppriseRequest(url, "a title", TEXT, second, level="failure") == request


FLOW = "triggers/manual/paths/invoke?api-version=1&sig=S&template=/etc/passwd"
WORKFLOW = f"https://flow.example:443/workflows/0a/{FLOW}"
DIRECT = f"https://flow.example/powerautomate/automations/direct/cu/7/workflows/0a/{FLOW}"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("discord://ToKen@123", "discord://123/ToKen/"),
        (
            "discord://t@1?thread_id=9&username=Bot&avatar=https://i/x.png",
            "discord://1/t/?botname=Bot&avatar_url=https%3A%2F%2Fi%2Fx.png&thread=9",
        ),
        ("slack://hook:TA-BB-cC@webhook", "slack://TA/BB/cC"),
        ("slack://hook-TA-BB-cC@webhook", "slack://TA/BB/cC"),
        ("slack://TA-BB-cC@webhook", "slack://TA/BB/cC"),
        ("slack://bot@TA/BB/cC", "slack://bot@TA/BB/cC"),
        ("slack://xoxb:12-34-aB@C012", "slack://xoxb-12-34-aB/+C012"),
        ("slack://xoxb-12-34-aB@C012?botname=b", "slack://b@xoxb-12-34-aB/+C012"),
        ("telegram://12:aB@telegram?chats=@here&preview=No", "tgram://12:aB/%40here/"),
        (
            "telegram://12:aB@telegram?channels=@a,-1&notification=no",
            "tgram://12:aB/%40a/-1/?preview=yes&silent=yes",
        ),
        (
            "gotify://Host.example:8443/sub/Atoken?priority=5",
            "gotifys://Host.example:8443/sub/Atoken?priority=5",
        ),
        ("gotify://host/Atoken?disableTLS=yes", "gotify://host/Atoken?priority=0"),
        ("ntfy://ntfy.sh/My-Topic", "ntfys://ntfy.sh/My-Topic"),
        ("ntfy://host:80/t?scheme=http", "ntfy://host:80/t"),
        ("ntfy://h/t?tags=a,b&priority=high", "ntfys://h/t?priority=high&xtags=a%2Cb"),
        ("ntfy://u:p%40@h/t", "ntfys://u:p%40@h/t"),
        ("ntfy://:tk_1@h/t", "ntfys://h/t?token=tk_1"),
        (
            "pushover://shoutrrr:aToken@uSer/?devices=a,b&priority=1",
            "pover://uSer@aToken/a/b?priority=1",
        ),
        (
            "mattermost://bot@chat.example:8065/tOken/town?icon=smile&disabletls=yes",
            "mmost://bot@chat.example:8065/tOken?channel=town",
        ),
        (
            "mattermost://h/t?icon=https://i/i.png",
            "mmosts://h/t?image=yes&icon_url=https%3A%2F%2Fi%2Fi.png",
        ),
        (
            "rocketchat://bot@chat.example/tA/tB/room",
            "rockets://chat.example/%23room?webhook=tA%2FtB",
        ),
        ("rocketchat://chat/a/b/@me", "rockets://chat/%40me?webhook=a%2Fb"),
        ("rocketchat://chat/a/b#room", "rockets://chat/%23room?webhook=a%2Fb"),
        ("rocketchat://chat/a/b?disabletls=yes", "rocket://chat/?webhook=a%2Fb"),
        (
            f"teams://?host={quote(WORKFLOW, safe='')}",
            "workflows://flow.example:443/0a/?signature=S&ver=1",
        ),
        (
            f"teams://?host={quote(DIRECT, safe='')}",
            "workflows://flow.example/0a/?signature=S&ver=1&pa=yes&route=7",
        ),
    ],
)
def test_an_address_of_a_chat_or_a_push_service_becomes_one_of_apprise(
    address: str, url: str
) -> None:
    """Case is kept, where names of hosts would lose it."""
    request = translate_shoutrrr(address)(MESSAGE)

    assert isinstance(request, AppriseRequest)
    assert (url, "a title", TEXT, "", "failure") == (
        request.url,
        request.title,
        request.body,
        request.second,
        request.level,
    )


SNEAKY = "x%3Ftemplate%3D%2Fetc%2Fpasswd%26a%3D"


@pytest.mark.parametrize(
    "address",
    [
        f"discord://{SNEAKY}@{SNEAKY}?username={SNEAKY}",
        f"slack://{SNEAKY}@TA/BB/cC",
        f"slack://xoxb:12-34-aB@{SNEAKY}?botname={SNEAKY}",
        f"telegram://{SNEAKY}:{SNEAKY}@telegram?chats={SNEAKY}",
        f"gotify://{SNEAKY}/{SNEAKY}",
        f"ntfy://{SNEAKY}:{SNEAKY}@{SNEAKY}/{SNEAKY}?click={SNEAKY}",
        f"pushover://shoutrrr:{SNEAKY}@{SNEAKY}?devices={SNEAKY}",
        f"mattermost://{SNEAKY}@{SNEAKY}/{SNEAKY}/{SNEAKY}",
        f"rocketchat://{SNEAKY}/{SNEAKY}/{SNEAKY}/{SNEAKY}",
        f"smtp://{SNEAKY}:{SNEAKY}@{SNEAKY}/?from={SNEAKY}&to={SNEAKY}",
        f"matrix://{SNEAKY}:{SNEAKY}@{SNEAKY}?rooms={SNEAKY}",
        f"teams://?host={quote(WORKFLOW, safe='')}&template=/etc/passwd",
    ],
)
def test_no_part_of_an_address_becomes_an_option_of_apprise(address: str) -> None:
    """Labels may hold addresses, and Apprise has options that send a file of this machine."""
    request = translate_shoutrrr(address)(MESSAGE)

    assert isinstance(request, AppriseRequest)
    for url in (request.url, request.second):
        assert "template" not in dict(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("discord://t@1", "markdown"),
        ("slack://TA-BB-cC@webhook", "markdown"),
        ("mattermost://h/t", "markdown"),
        ("rocketchat://h/a/b", "markdown"),
        ("telegram://12:aB@telegram?chats=1", "text"),
        ("telegram://12:aB@telegram?chats=1&parseMode=HTML", "html"),
        ("telegram://12:aB@telegram?chats=1&parseMode=MarkdownV2", "markdown"),
        ("ntfy://h/t", "text"),
    ],
)
def test_a_template_may_use_the_markup_of_its_service(address: str, form: str) -> None:
    """In our own words nothing is taken for any."""
    build = translate_shoutrrr(address)
    ours, theirs = build(replace(MESSAGE, is_default=True)), build(MESSAGE)

    assert isinstance(ours, AppriseRequest)
    assert isinstance(theirs, AppriseRequest)
    assert ("text", form) == (ours.form, theirs.form)


@pytest.mark.parametrize(
    "address", ["gotify://h/t?title=T", "ntfy://h/t?title=T", "smtp://h/?from=a@b&to=c@d&subject=T"]
)
def test_an_address_may_have_a_title_of_its_own(address: str) -> None:
    """It replaces that of the message."""
    request = translate_shoutrrr(address)(MESSAGE)

    assert isinstance(request, AppriseRequest)
    assert "T" == request.title


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
        "teams://?host=https%3A%2F%2Fflow.example%2Fx%3Fsig%3Dsecret",
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
