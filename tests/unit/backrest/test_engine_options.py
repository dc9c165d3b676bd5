"""The options of the engines in the flags of a repository."""

from collections.abc import Mapping

import pytest

from sidecar.backrest.engine_name import EngineName
from sidecar.backrest.engine_options import ENGINE_OPTIONS, parse_options
from sidecar.lib.text import SpecInvalid

RSYNC = EngineName.RSYNC


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], {}),
        (["--flat", "--bwlimit", "2m"], {"--flat": "", "--bwlimit": "2m"}),
        (["--bwlimit=1.5MiB"], {"--bwlimit": "1.5MiB"}),
        (["--bwlimit=1", "--bwlimit", "2"], {"--bwlimit": "2"}),
        (["--ssh", "ssh -p 22 -i /k=y"], {"--ssh": "ssh -p 22 -i /k=y"}),
        (["--ssh=ssh -o A=b"], {"--ssh": "ssh -o A=b"}),
        (["--no-owner", "--full-copies"], {"--no-owner": "", "--full-copies": ""}),
    ],
)
def test_options_are_read_with_their_values(words: list[str], found: Mapping[str, str]) -> None:
    """A value follows as a word of its own, or after `=`."""
    assert found == parse_options(RSYNC, words)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--flatt"], "--flatt is no option of rsync", "did you mean --flat? Else write of these"),
        (["--x"], "--x is no option of rsync", "write of these: --flat, --full-copies"),
        (["--x=secret"], "--x is no option of rsync", "--bwlimit"),
        (["secret"], "a word of the flags is no option of rsync", "--ssh"),
        (["--flat=secret"], "--flat takes no value", "write --flat alone"),
        (["--flat", "secret"], "--flat takes no value", "write --flat alone"),
        (["--ssh", "ssh", "-p"], "--ssh has a value of more than one word", "'ssh -p 22'"),
        (["--ssh", "ssh", "secret"], "--ssh has a value of more than one word", "quote it, as in"),
        (["--bwlimit"], "--bwlimit has no value", "write --bwlimit 2m"),
        (["--bwlimit=secret"], "--bwlimit has a value that is no RATE", "write --bwlimit 2m"),
        (["--ssh", ""], "--ssh has no value", "write --ssh 'ssh -p 22'"),
    ],
)
def test_a_wrong_option_is_told_without_its_value(
    words: list[str], message: str, hint: str
) -> None:
    """The message names the option, the hint what is known."""
    with pytest.raises(SpecInvalid) as refusal:
        parse_options(RSYNC, words)

    assert message == refusal.value.message
    assert hint in refusal.value.hint
    assert "secret" not in refusal.value.message + refusal.value.hint


def test_an_engine_without_options_refuses_all() -> None:
    """Then there is none to be named."""
    with pytest.raises(SpecInvalid, match="--level is no option of dar") as refusal:
        parse_options(EngineName.DAR, ["--level", "1"])

    assert "leave it out" == refusal.value.hint


def test_each_example_is_right() -> None:
    """What a hint says to write is accepted."""
    for engine, options in ENGINE_OPTIONS.items():
        for option in options:
            words = [option.name, *filter(None, [option.example])]

            assert {option.name: option.example} == parse_options(engine, words)
