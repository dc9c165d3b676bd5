"""Restoring and verifying: flags → a request, and what is shown of its plan and its end."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from sidecar.backrest.reading import RunPlan
from sidecar.cli.output.text import aligned, echo, printable
from sidecar.lib.text import counted, render_size, short_id
from sidecar.lib.zones import local_zone
from sidecar.runner.journal import Ended, RunOutcome
from sidecar.runner.restore.choose import RestoreRequest, parse_moment, parse_path_map
from sidecar.runner.restore.places import Step
from sidecar.runner.restore.restore import RestorePlan
from sidecar.runner.verify.verify import Verification


def read_request(
    plan: RunPlan, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> RestoreRequest:
    """Return what is requested of a plan, without the instance's name; raises UsageError."""
    zone, _ = local_zone(environ)
    at, target = flags["at"], flags["target"]
    wanted = {
        "snapshot": flags["snapshot"],
        "at": None if at is None else parse_moment(at, zone),
        "paths": flags["paths"],
        # Made absolute and no more: a link in it is not ours to resolve.
        "target": "" if target is None else os.path.abspath(target),  # noqa: PTH100
        "path_map": parse_path_map(flags["path_map"]),
        "in_place": flags["in_place"],
        "stop": flags["stop"],
        "force": flags["overwrite"],
    }
    return RestoreRequest(plan, "", **wanted)


def show_plan(plan: RestorePlan, *, is_dry: bool) -> None:
    """Show what will be done, or would be."""
    snapshot = plan.snapshot
    moment = f"{snapshot.time.astimezone():%Y-%m-%d %H:%M %Z}"
    size = f"{counted(plan.files, 'file')}, {render_size(plan.bytes)}"
    echo(f"snapshot {short_id(snapshot.id)} of {moment}: {size}")
    if plan.passed_over:
        echo(f"  {click.style('not the newest', fg='yellow')}: {plan.passed_over}")
    for line in aligned([_cells(step) for step in plan.steps]):
        echo(f"  {line}")
    if plan.users:
        names = ", ".join(one.name for one in plan.users)
        echo(f"  stops and starts {printable(names)}")
    if is_dry:
        echo("nothing was restored: this was a dry run")


def _cells(step: Step) -> tuple[str, ...]:
    item = step.item
    return (
        printable(item.source),
        f"→ {printable(item.place)}",
        f"{step.existing.value} is there: {step.effect.value}",
    )


@contextmanager
def explain_interrupt() -> Iterator[None]:
    """Show what is there now, if somebody interrupts the block."""
    try:
        yield
    except KeyboardInterrupt:
        echo("interrupted: what was there is there, or all that was restored", err=True)
        raise


def show_ended(plan: str, ended: Ended) -> None:
    """Show that it was done, and what is not as it was."""
    stats = ended.stats
    size = "" if stats is None else f": {counted(stats.files_processed, 'file')}"
    echo(f"{printable(plan)} is restored from snapshot {short_id(ended.snapshot)}{size}")
    if ended.outcome is RunOutcome.WARNING:
        echo(f"  {click.style('warning', fg='yellow')}: {printable(ended.reason)}")


def render_verification(found: Verification) -> str:
    """Write what a verification found: a line, and one more for each file."""
    name = printable(found.plan)
    lines = [f"  {printable(one)}" for one in found.differences]
    lines += [f"  the same: {printable(path)}" for path in found.same]
    lines += [f"  restored, changed since: {printable(path)}" for path in found.changed]
    lines += [f"  left out: {found.left_out}"] if found.left_out else []
    snapshot = f"snapshot {short_id(found.snapshot)}" if found.snapshot else "no snapshot"
    seed = f"{snapshot}, seed {found.seed}"
    if found.lost:
        head = "" if found.is_root else "as this user "
        lines.append(f"  {head}{printable(found.lost)}")
    if found.passed_over:
        lines.insert(0, f"  {click.style('not the newest', fg='yellow')}: {found.passed_over}")
    if found.differences:
        head = click.style("not verified", fg="red")
    elif found.is_good:
        head = click.style("verified", fg="green")
    else:
        head = f"{click.style('not verified', fg='yellow')}: {found.note}"
    return "\n".join((f"{name}: {head} ({seed})", *lines))
