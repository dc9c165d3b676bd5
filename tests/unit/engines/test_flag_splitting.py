"""Flags of plans that are not ours are split exactly as Backrest splits them."""

import random

from sidecar.engines.access import split_flag
from sidecar.engines.base import EngineError
from tests.fakes import google_shlex

SIGNS = "ab-=#'\"\\ \t\r\n,$`\u00a0"


def test_splitting_agrees_with_backrest() -> None:
    """Over generated strings, comments, escapes and unclosed quotes among them."""
    chance = random.Random(7)  # noqa: S311  # not for secrets: the same strings each time
    open_ones = 0
    for _ in range(30_000):
        text = "".join(chance.choices(SIGNS, k=chance.randint(0, 12)))
        expected = google_shlex.split(text)
        try:
            found = list(split_flag(text))
        except EngineError:
            open_ones += 1
            assert expected is None, text
        else:
            assert found == expected, text
    assert 1_000 < open_ones < 29_000
