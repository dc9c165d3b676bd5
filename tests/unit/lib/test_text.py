"""Texts of others, without the secrets in them."""

import pytest

from sidecar.lib.text import hosts_only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no address: a://", "no address: a://********"),
        ("nothing at all", "nothing at all"),
        ('Post "https://h:1/api/TOKEN": refused', 'Post "https://h:1/********": refused'),
        ("http://h/message?token=X and http://h?t=X", "http://h/******** and http://h/********"),
        ("http://u:TOKEN@h/ http://h", "http://********@h http://h"),
        ("discord://TOKEN@123 slack://hook:TOKEN@w", "discord://******** slack://********"),
        ("generic+https://h/TOKEN", "generic+https://********"),
        (
            '{"error": "at \\"HTTPS://h/TOKEN\\": no"}',
            '{"error": "at \\"HTTPS://h/********\\": no"}',
        ),
    ],
)
def test_of_an_address_only_the_server_is_left(text: str, expected: str) -> None:
    """A webhook's path lets anyone post, and a token may stand anywhere in other addresses."""
    assert expected == hosts_only(text)
