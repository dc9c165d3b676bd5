"""Tables fit the terminal that shows them, and nothing that is shown is obeyed by it."""

import io
import os
import pty

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.output.terminal import (
    Column,
    Meaning,
    Styled,
    styled,
    table,
    terminal_width,
)
from tests.unit.cli.output.screens import FOLDER, SCREENS, WIDTHS, drawn

COLUMNS = (
    Column("plan", has_prefix=True),
    Column("size", drop=1, is_number=True),
    Column("outcome"),
    Column("reason", drop=2, folds=True),
)
ROWS = [
    ("sidecar-media-redis", "9 B", Styled("success", Meaning.GOOD), ""),
    ("sidecar-media-web", "10 GB", Styled("failed", Meaning.BAD), "the disk of the host is full"),
]
HOSTILE = "[bold red]x[/] :smile: \x1b[2J\x07\r\u202eend"


def shown(width: int | None, *rows: tuple[str | Styled, ...]) -> list[str]:
    """The lines of a table of these rows, without colours."""
    return click.unstyle(table(COLUMNS, rows or ROWS, width)).splitlines()


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_as_it_was_looked_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After a change that is meant: `screens.py` writes the files anew."""
    monkeypatch.setenv("TZ", "UTC")

    assert (FOLDER / f"{name}.txt").read_text(encoding="utf-8") == drawn(name)


def test_each_file_of_a_screen_has_its_table() -> None:
    """None is left of a table that is gone."""
    assert sorted(SCREENS) == sorted(file.stem for file in FOLDER.iterdir())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_no_line_of_a_table_is_wider_than_the_terminal(name: str, width: int) -> None:
    """It would be broken in the middle of a word."""
    rows = click.unstyle(SCREENS[name](width)).splitlines()

    assert [] == [row for row in rows if len(row) > width and not row.startswith("    ")]


def test_a_pipe_gets_all_of_it() -> None:
    """Today's scripts read it: nothing is folded, cut or left out, however long it is."""
    reason = "long " * 100

    assert [
        "plan  size  outcome  reason",
        f"web   1 B   failed   {reason}".rstrip(),
    ] == shown(None, ("web", "1 B", "failed", reason))


def test_where_it_fits_nothing_is_left_out() -> None:
    """Also not a prefix that could be."""
    assert [
        "plan                  size  outcome  reason",
        "sidecar-media-redis    9 B  success",
        "sidecar-media-web    10 GB  failed   the disk of the host is full",
    ] == shown(66)


def test_first_the_prefix_goes() -> None:
    """And is told, once."""
    assert [
        "plan     size  outcome  reason",
        "…redis    9 B  success",
        "…web    10 GB  failed   the disk of the host is full",
        "… in plan is sidecar-media-",
    ] == shown(60)


def test_then_long_texts_are_folded() -> None:
    """To no less than what can be read."""
    assert [
        "plan     size  outcome  reason",
        "…redis    9 B  success",
        "…web    10 GB  failed   the disk of the host is",
        "                        full",
        "… in plan is sidecar-media-",
    ] == shown(48)


def test_then_columns_go_by_their_order() -> None:
    """Those that are left out are named."""
    assert [
        "plan    outcome  reason",
        "…redis  success",
        "…web    failed   the disk of the host is",
        "                 full",
        "… in plan is sidecar-media-",
        "too narrow for: size",
    ] == shown(41)
    assert "too narrow for: size, reason" == shown(30)[-1]


def test_at_last_each_text_has_a_line() -> None:
    """Nothing is left out then; a text that is empty needs no line."""
    assert [
        "plan     sid",
        "         eca",
        "         r-m",
        "         edi",
        "         a-r",
        "         edi",
        "         s",
        "size     9 B",
        "outcome  suc",
        "         ces",
        "         s",
    ] == shown(12, ROWS[0])


def test_of_one_row_no_prefix_is_taken() -> None:
    """It would be its whole name."""
    assert "sidecar-media-web  10 GB  failed" == shown(41, (*ROWS[1][:3], ""))[1]


def test_wide_characters_take_two_columns() -> None:
    """As a terminal shows them."""
    assert ["plan  size  outcome  reason", "数据   1 B  failed   x"] == shown(
        27, ("数据", "1 B", "failed", "x")
    )


@pytest.mark.parametrize("width", [None, 10, 60, 200])
def test_no_text_is_obeyed(width: int | None) -> None:
    """Neither by the terminal nor as markup."""
    drawn_table = table(COLUMNS, [(HOSTILE, "1 B", Styled(HOSTILE, Meaning.BAD), HOSTILE)], width)
    text = "".join(click.unstyle(drawn_table).split())

    assert all(char.isprintable() for char in text)
    assert "[boldred]" in text or width == 10
    assert "\x1b" not in click.unstyle(drawn_table)
    assert "\x1b" not in click.unstyle(styled(HOSTILE, Meaning.HINT))


def test_lines_below_a_row_stay_with_it() -> None:
    """In every form."""
    for width in (None, 60, 12):
        text = table(COLUMNS, ROWS, width, [["one\x07"], ["two", "three"]])
        lines = click.unstyle(text).splitlines()

        assert lines.index("    one\N{REPLACEMENT CHARACTER}") < lines.index("    two")
        assert lines.index("    two") + 1 == lines.index("    three")


def test_colours_are_those_of_a_meaning_on_terminals_and_beside() -> None:
    """What is bad is red, in a pipe that wants colours too; `echo` takes them out elsewhere."""
    red = click.style("failed", fg="red")

    assert red in table(COLUMNS, ROWS, None)
    assert red in table(COLUMNS, ROWS, 80)
    assert red == styled("failed", Meaning.BAD)


@given(
    st.lists(st.tuples(st.text(), st.text(), st.text(), st.text()), min_size=1, max_size=5),
    st.integers(20, 120),
)
def test_any_text_fits(rows: list[tuple[str, str, str, str]], width: int) -> None:
    """Whatever labels and programs hold."""
    from rich.cells import cell_len

    assert all(cell_len(line) <= width for line in shown(width, *rows))


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS is believed more; a pipe has none."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width(io.StringIO()) is None

    master, slave = pty.openpty()
    with os.fdopen(master, "rb", 0), os.fdopen(slave, "w") as stream:
        assert terminal_width(stream) is None
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 97, 0, 0))
        assert 97 == terminal_width(stream)
        monkeypatch.setenv("COLUMNS", "61")
        assert 61 == terminal_width(stream)
        monkeypatch.setenv("COLUMNS", "0")
        assert 97 == terminal_width(stream)
