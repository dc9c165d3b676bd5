"""What reaches a terminal or the log of a workflow: no command, no colour that is not wanted."""

import io
import json
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.output.text import (
    can_redraw,
    choose_colour,
    echo,
    prepare_streams,
    printable,
    without_commands,
)


@given(st.text(alphabet=":# [\n\r\tx\x0b\u2028\x85"))
def test_no_line_is_a_command_of_a_workflow(text: str) -> None:
    """GitHub trims each line before it looks, and takes a carriage return for its end."""
    for line in without_commands(text).replace("\r", "\n").split("\n"):
        assert not line.strip().startswith("::")
        assert "##[" not in line


@pytest.mark.parametrize("text", ["::x", " :: x", "a\n  ::x"])
def test_a_colour_in_front_hides_no_command(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken out where nobody sees it."""
    echo(click.style(text, bold=True))

    assert not any(line.strip().startswith("::") for line in capsys.readouterr().out.split("\n"))


@pytest.mark.parametrize("text", ["a::b", "http://x", "f: ::1", ":x", "# [x]", "##x"])
def test_what_is_no_command_stays_as_it_is(text: str) -> None:
    """Addresses have colons too."""
    assert text == without_commands(text)


@pytest.mark.parametrize("text", ["::add-mask::x", "  ::stop-commands::t", "a\n::error::x"])
def test_what_is_printed_is_made_harmless(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also what no `printable` has seen; our own annotations are commands on purpose."""
    echo(text)
    echo(text, err=True)
    shown, told = capsys.readouterr()
    echo(text, form="github")

    assert (without_commands(text) + "\n",) * 2 == (shown, told)
    assert f"{text}\n" == capsys.readouterr().out


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\rb", "a\nb", "\u202ex", "a\x00"])
def test_printable_leaves_nothing_that_a_terminal_obeys(text: str) -> None:
    """A character of control is shown as one that stands for it."""
    assert printable(text).isprintable()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437", "utf-8"])
@pytest.mark.parametrize("text", ["a → b – c ✓ …", "naïve ☃ 😀", "\ud800"])
def test_no_encoding_ends_a_program(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str
) -> None:
    """Arrows and dashes have an ASCII form, JSON has escapes for all of Unicode."""
    for form in ("text", "json"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        prepare_streams()
        echo(json.dumps(text, ensure_ascii=False) if form == "json" else text, form=form)
        stream.flush()
        written = stream.buffer.getvalue().decode(encoding)
        if form == "json":
            assert text == json.loads(written)
        elif encoding == "ascii" and "→" in text:
            assert "a -> b - c + ...\n" == written


@pytest.mark.parametrize("char", ["\x9b", "\x7f", "\u202e", "\u2028", "\U000e0001", "\x1b", "\n"])
def test_json_holds_nothing_that_a_terminal_obeys(
    char: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has escapes for it, and means the same."""
    value = {f"a{char}b": [f"{char}→ ü"]}
    for indent in (None, 2):
        echo(json.dumps(value, ensure_ascii=False, indent=indent), form="json")
        written = capsys.readouterr().out
        assert value == json.loads(written)
        assert "→ ü" in written
        assert all(line.isprintable() for line in written.split("\n"))


COLOURS = [
    ({}, None),
    ({"NO_COLOR": ""}, None),
    ({"NO_COLOR": "1"}, False),
    ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ({"FORCE_COLOR": "1"}, True),
    ({"FORCE_COLOR": "0"}, None),
    ({"TERM": "dumb"}, False),
    ({"TERM": "dumb", "FORCE_COLOR": "3"}, True),
    ({"TERM": "xterm"}, None),
]


@pytest.mark.parametrize(("environ", "expected"), COLOURS)
def test_colours_are_as_people_ask_for_them(environ: dict[str, str], expected: bool | None) -> None:
    """By the variables that most programs know."""
    assert expected is choose_colour(environ)


def test_a_dumb_terminal_gets_lines_instead_of_a_bar() -> None:
    """It would show the characters that move its cursor."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert can_redraw(Terminal(), {"TERM": "xterm"})
    assert not can_redraw(Terminal(), {"TERM": "dumb"})
    assert not can_redraw(io.StringIO(), {})
