"""An entry of flags is split as Backrest splits it."""

import pytest

from sidecar.backrest.flag_words import split_entry


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", ()),
        ("--flat  --bwlimit\t2m ", ("--flat", "--bwlimit", "2m")),
        ("--ssh 'ssh -p 22'", ("--ssh", "ssh -p 22")),
        ('--ssh="ssh -i \\"k\\""', ('--ssh=ssh -i "k"',)),
        (r"a\ b", ("a b",)),
        ("a # b", ("a",)),
        ("a # b\nc", ("a", "c")),
        ("a#b", ("a#b",)),
        ("''", ("",)),
        ("--ssh 'x", None),
        ("x\\", None),
    ],
)
def test_words_stand_between_white_space(entry: str, words: tuple[str, ...] | None) -> None:
    """Quotes and backslashes keep it within a word; what is left open gives none."""
    assert words == split_entry(entry)
