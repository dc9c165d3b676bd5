"""Loading dumps into databases: flags → what is wanted, and what is shown of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

from sidecar.cli.output.text import echo, printable, printable_lines
from sidecar.lib.duration import render_duration
from sidecar.lib.errors import UsageError
from sidecar.lib.text import render_size
from sidecar.runner.restore.database import LoadPlan, unknown_state
from sidecar.runner.restore.group import RestoreSelection


def check_selection(selection: RestoreSelection, flags: Mapping[str, Any]) -> None:
    """Raise UsageError for what has no meaning with --database."""
    for what, is_given in (
        ("a path", bool(selection.paths or selection.usual.paths)),
        ("--to", flags["to"] is not None),
        ("--target", flags["target"] is not None),
        ("--path-map", bool(flags["path_map"])),
        ("--in-place", flags["in_place"]),
        ("--stop", flags["stop"]),
    ):
        if is_given:
            hint = "without --database files are restored, the dump's too"
            raise UsageError(f"{what} and --database contradict each other", hint)


def show_load(plan: LoadPlan, now: datetime, *, is_dry: bool) -> None:
    """Show what loading a dump would do, and what stands in the way of it."""
    dump, facts, snapshot = plan.dump, plan.facts, plan.dump.snapshot
    moment = f"{snapshot.time.astimezone():%Y-%m-%d %H:%M %Z}"
    age = render_duration((now - snapshot.time).total_seconds())
    echo(f"{printable(plan.name)}: snapshot {snapshot.short} of {moment}, {age} old")
    if dump.passed_over:
        echo(f"  {click.style('not the newest', fg='yellow')}: {printable(dump.passed_over)}")
    record = dump.record
    echo(f"  {printable(record.path)}: {render_size(dump.size)}, whole, by {record.template}")
    who = f" as {facts.user}" if facts.user else ""
    echo(printable(f"  → {facts.name} in {plan.container.name}{who}"))
    for line in plan.effects:
        echo(f"  {printable(line)}")
    if plan.is_restarted:
        echo(f"  stops and starts {printable(plan.container.name)}")
    for error in plan.obstacles:
        echo(f"  {click.style('in the way', fg='red')}: {printable_lines(error.message)}")
        if error.hint:
            echo(f"    → {printable_lines(error.hint)}")
    if is_dry:
        echo("nothing was loaded: this was a dry run")


@contextmanager
def explain_interrupted_load(plan: LoadPlan) -> Iterator[None]:
    """Show in what state the server may be, if somebody interrupts the block."""
    try:
        yield
    except KeyboardInterrupt:
        echo(f"interrupted: {printable(unknown_state(plan))}", err=True)
        raise
