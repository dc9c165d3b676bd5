"""Addresses of --notify-url: what is wrong with them is told at the start, and not shown."""

from collections.abc import Sequence

import pytest

from sidecar.runner.notify.addresses import ENCODING, check_addresses, fault_of_form

ENDED = f"a sign in its user or password ends it: {ENCODING}"
PERCENT = f"a % in it is not the begin of an encoded sign: {ENCODING}"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("mailtos://me:pass@smtp.example.org?to=me@example.org", ""),
        ("mailtos://me:p%2Fw%23d@smtp.example.org:587/?to=me@example.org", ""),
        ("tgram://123456:ABC-def/-100/@channel", ""),
        ("slack://A/B/C/@me", ""),
        ("json://[::1]:8080/x", ""),
        ("https://discord.com/api/webhooks/1/2", ""),
        ("mailtos://me:pa/ss@smtp.example.org?to=me@example.org", ENDED),
        ("mailtos://me:pa#ss@smtp.example.org", ENDED),
        ("ntfys://me:pa?ss@ntfy.example.org/topic", ENDED),
        ("mailtos://me:100%@smtp.example.org", PERCENT),
        ("mailtos://me:50%of@smtp.example.org", PERCENT),
        ("json://[::1/x", ENDED),
        ("json://a]b@[c/x", "it is no address: its brackets do not match"),
        ("nonsense", "it is no address: write SERVICE://..."),
        ("://x", "it is no address: write SERVICE://..."),
    ],
)
def test_the_form_of_an_address_is_checked(url: str, fault: str) -> None:
    """The signs that have to be encoded are named with what to write for each."""
    assert fault == fault_of_form(url)


def test_each_address_that_cannot_be_used_is_told_by_its_number() -> None:
    """Only those whose form is right are asked about; nothing of a secret is in the sentence."""
    asked: list[str] = []

    def check(urls: Sequence[str]) -> list[str]:
        asked.extend(urls)
        return ["", "it is not understood"]

    urls = ["json://h/", "mailtos://me:s3cr#t@h", "odd://s3cret"]

    assert (
        f"--notify-url 2 (mailtos) cannot be used: {ENDED}",
        "--notify-url 3 (odd) cannot be used: it is not understood",
    ) == check_addresses(urls, check)
    assert ["json://h/", "odd://s3cret"] == asked


def test_without_an_address_nobody_is_asked() -> None:
    """Asking starts a program."""
    assert () == check_addresses((), lambda _: pytest.fail("asked"))
