"""How far a run is, for people: a bar on a terminal, now and then a line elsewhere."""

import io
import json
import re

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sidecar.cli.output.runs import ProgressLine, render_end_json, render_last_json, render_line
from sidecar.cli.output.text import aligned, printable
from sidecar.engines.base import Progress, Stats
from sidecar.lib.duration import parse_duration, render_duration
from sidecar.lib.text import render_size
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import RunFinished
from sidecar.runner.journal import Ended, Run, RunCause, RunOutcome

HALF = Progress(0.5, 10, 20, 1_500_000, 3_000_000, 90.0)


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_terminal_shows_a_line_that_is_drawn_anew() -> None:
    """And it is cleared away before anything else is said."""
    stream = Terminal()
    line = ProgressLine(stream)
    line.show("backup \x07web", HALF)
    assert (
        "\r\x1b[Kbackup \N{REPLACEMENT CHARACTER}web  ━━━━━━━·······   50%  "
        "1.5 MB of 3.0 MB  10 of 20 files  1 min left"
    ) == re.sub(r"\x1b\[\d+m", "", stream.getvalue())
    line.clear()
    line.clear()
    assert 2 == stream.getvalue().count("\r\x1b[K")


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("FORCE_COLOR", "")])
def test_a_line_has_colours_unless_nobody_wants_them(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The bar is told from what is left by its form too."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, value)
    stream = Terminal()
    ProgressLine(stream).show("backup web", HALF)

    assert (variable == "NO_COLOR") is ("\x1b[32m" not in stream.getvalue())


def test_runs_side_by_side_share_the_line() -> None:
    """One that has ended makes room for the others."""
    stream = Terminal()
    line = ProgressLine(stream)
    line.show("backup web", HALF)
    line.show("backup db", HALF)
    line.end("backup web")
    line.show("backup db", HALF)
    shown = re.sub(r"\x1b\[\d+m", "", stream.getvalue()).split("\r\x1b[K")

    assert "backup web 50%  backup db 50%" == shown[2]
    assert "" == shown[3]
    assert shown[4].startswith("backup db  ━")


@given(
    st.dictionaries(st.text(), st.floats(0, 1), min_size=1, max_size=4),
    st.integers(8, 200),
)
def test_progress_is_never_wider_than_the_terminal(shares: dict[str, float], width: int) -> None:
    """A second line would stay when the first is drawn anew."""
    running = {
        printable(name): Progress(share, 10**6, 10**7, 10**15, 10**16, 1e6)
        for name, share in shares.items()
    }
    line = click.unstyle(render_line(running, width))

    assert cell_len(line) <= width
    assert line.isprintable()


def test_elsewhere_there_is_a_line_each_half_minute() -> None:
    """Logs are not filled with bars."""
    stream, now = io.StringIO(), [0.0]
    line = ProgressLine(stream, lambda: now[0])
    for second in range(0, 91, 5):
        now[0] = float(second)
        line.show("backup web", Progress(0.0, 0, 0, 0, 0))
    line.clear()
    assert ["backup web 0%, 0 B of 0 B, 0 of 0 files"] * 3 == stream.getvalue().splitlines()


def test_columns_line_up_whatever_their_colour() -> None:
    """Without blanks at the end of a line."""
    rows = [("a", "bcd", "e"), (click.style("long", fg="red"), "b", "")]
    assert ["a     bcd  e", f"{click.style('long', fg='red')}  b"] == list(aligned(rows))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (1e21, "1000000.0 PB")],
)
def test_sizes_are_in_the_unit_that_suits_them(size: float, text: str) -> None:
    """As disks are sold."""
    assert text == render_size(size)


def test_a_terminal_obeys_nothing_that_is_shown() -> None:
    """Ids and reasons may hold anything."""
    assert "a b" == printable("a b")
    assert "\x1b" not in printable("\x1b[31mred\n")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1h30m", 5400.0), ("500ms", 0.5), (" 2w ", 1_209_600.0)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """Plain numbers are seconds."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1x", "1h 30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """With the text that is none."""
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5.0, "0 s"), (59.9, "59 s"), (3_601.0, "1 h"), (200_000.0, "2 d")]
)
def test_durations_are_told_in_their_largest_unit(seconds: float, text: str) -> None:
    """Nobody asks for the minutes of two days."""
    assert text == render_duration(seconds)


def test_the_end_of_a_run_is_an_object_on_one_line() -> None:
    """With the same keys whoever ran it, and null for what is not known."""
    job = Job(JobKind.BACKUP, "web\n", "r")
    stats = Stats(files_processed=2, bytes_added=3, bytes_processed=4)
    ended = Ended(RunOutcome.SUCCESS, 12.5, "abc", stats)
    here = render_end_json(job, RunFinished(Run(1, job, RunCause.MANUAL, 10.0, ended=ended)))
    daemon = {"outcome": "success", "seconds": 2.5, "files": 2, "size": 4, "added": 3}
    there = render_last_json(job, {**daemon, "snapshot": "abc", "last": True, "reason": ""})
    none = json.loads(render_end_json(job, RunFinished(reason="the runner stops")))

    assert here == there
    assert "\n" not in here
    assert {
        "kind": "backup",
        "of": "web\n",
        "outcome": "success",
        "failure": None,
        "reason": None,
        "seconds": 2.5,
        "files": 2,
        "size": 4,
        "added": 3,
        "snapshot": "abc",
    } == json.loads(here)
    assert (None, "the runner stops") == (none["outcome"], none["reason"])
