"""Messages as they wait in the journal: whole, readable and not too long."""

import pytest

from sidecar.runner.notify.messages import (
    MOST_BYTES,
    AppriseRequest,
    HttpRequest,
    QueuedMessage,
    cut,
    fit_message,
    level_of,
    parse_message,
    render_message,
)

URL = "https://host.example/hook/secret"


QUEUED = [
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


@pytest.mark.parametrize("message", QUEUED, ids=["post", "apprise"])
def test_a_message_survives_waiting(message: QueuedMessage) -> None:
    """It comes back as it was, and never shows what is secret."""
    text = render_message(message)

    assert text.isascii()
    assert message == parse_message(text)
    assert "secret" not in repr(message)


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"kind": "post"}', '{"kind": "apprise", "request": {"a": 1}}']
)
def test_what_is_no_message_is_none(text: str) -> None:
    """The journal may hold what another version wrote."""
    assert parse_message(text) is None


def test_a_message_that_is_too_long_is_cut() -> None:
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
