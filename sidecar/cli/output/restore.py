"""Restoring and verifying: flags → what is wanted, and what is shown of its plan and its end."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sidecar.backrest.reading import RunPlan
from sidecar.cli.output.terminal import folded, terminal_width
from sidecar.cli.output.text import aligned, echo, printable, printable_lines
from sidecar.lib.duration import render_duration
from sidecar.lib.errors import UsageError
from sidecar.lib.text import counted, render_size, short_id
from sidecar.lib.zones import local_zone
from sidecar.runner.journal import Ended, RunOutcome
from sidecar.runner.restore.choose import (
    LATEST,
    RestoreRequest,
    parse_path_map,
    parse_point,
    place_of,
)
from sidecar.runner.restore.group import RestoreGroup, RestorePart, RestoreSelection
from sidecar.runner.restore.places import Step
from sidecar.runner.restore.restore import RestorePlan
from sidecar.runner.verify.verify import Verification

_INDENT = 2
_IN_THE_WAY = "in the way"

RESTORED = "/restored"
"""Where the Compose files mount the folder `./restored`."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What may happen without being asked: `is_given` once and for all, or by `can_ask`."""

    is_given: bool = False
    can_ask: bool = False
    is_dry: bool = False

    @property
    def is_possible(self) -> bool:
        """Whether what is there may be replaced if somebody agrees; a dry run tells of that."""
        return self.is_given or self.can_ask or self.is_dry


def read_selection(
    words: Sequence[str],
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    consent: Consent,
    now: datetime,
) -> RestoreSelection:
    """Return what is wanted: names, paths that begin with `/`, and flags. Raises UsageError."""
    names = tuple(one for one in words if not one.startswith("/"))
    paths = tuple(one for one in words if one.startswith("/"))
    if not names:
        raise UsageError("no service is named", "backrest-runner restore SERVICE [PATH]")
    folder, target = _folder(flags), flags["target"]
    if folder and (target is not None or flags["path_map"]):
        raise UsageError("--to and --target or --path-map contradict each other", "choose one")
    if folder and flags["in_place"]:
        raise UsageError("--to and --in-place contradict each other", "leave one of them out")
    is_here = not folder and target is None
    snapshot, at = _point(flags, environ, now)
    usual = RestoreRequest(
        RunPlan("", ""),
        "",
        snapshot=snapshot,
        at=at,
        paths=flags["paths"],
        # Made absolute and no more: a link in it is not ours to resolve.
        target="" if target is None else os.path.abspath(target),  # noqa: PTH100
        path_map=parse_path_map(flags["path_map"]),
        in_place=flags["in_place"] or (is_here and consent.is_possible),
        stop=flags["stop"] or consent.is_possible,
        stop_for_files=flags["stop"],
        force=flags["overwrite"],
    )
    return RestoreSelection(names, paths, usual, folder, flags["repo"])


def _folder(flags: Mapping[str, Any]) -> str:
    """Return the folder of --to; without a value that of the Compose files, else ./restored."""
    given: str | None = flags["to"]
    if given is None:
        return ""
    usual = RESTORED if Path(RESTORED).is_dir() else RESTORED.lstrip("/")
    return os.path.abspath(given or usual)  # noqa: PTH100


def _point(
    flags: Mapping[str, Any], environ: Mapping[str, str], now: datetime
) -> tuple[str, datetime | None]:
    """Return the name of a snapshot, and the time it has to be of. Raises UsageError."""
    snapshot, at = flags["snapshot"], flags["at"]
    if at is None:
        return snapshot, None
    zone, _ = local_zone(environ)
    point = parse_point(at, zone, now.astimezone(zone).date())
    if isinstance(point, datetime):
        return snapshot, point
    if snapshot != LATEST:
        raise UsageError("--snapshot and --at name a snapshot both", "leave one of them out")
    return point, None


def show_group(
    group: RestoreGroup, now: datetime, *, is_dry: bool, in_another: bool = False
) -> None:
    """Show what will be done, or would be, and what stands in the way.

    `in_another`: by a container of its own, for this one can only read there.
    """
    for part in group.parts:
        _show_plan(part, now)
    if in_another:
        echo("  done by a container of its own, which may write there, and lives as long as that")
    for error in (error for part in group.parts for error in part.plan.obstacles):
        head = click.style(_IN_THE_WAY, fg="red")
        echo(_folded_lines(f"  {_IN_THE_WAY}: ", error.message).replace(_IN_THE_WAY, head, 1))
        if error.hint:
            echo(_folded_lines("    → ", error.hint))
    if is_dry:
        echo("nothing was restored: this was a dry run")


def _folded_lines(head: str, text: str) -> str:
    """Return a text of lines behind a head, folded where the terminal is too narrow."""
    lines = f"{head}{printable_lines(text)}".splitlines()
    return "\n".join(folded(line, terminal_width(), "      ") for line in lines)


def _show_plan(part: RestorePart, now: datetime) -> None:
    plan, snapshot = part.plan, part.plan.snapshot
    moment = f"{snapshot.time.astimezone():%Y-%m-%d %H:%M %Z}"
    age = render_duration((now - snapshot.time).total_seconds())
    size = f"{counted(plan.files, 'file')}, {render_size(plan.bytes)}"
    name = printable(part.subject.name)
    about = f"{name}: snapshot {short_id(snapshot.id)} of {moment}, {age} old: {size}"
    echo(folded(about, terminal_width(), "  "))
    if plan.passed_over:
        echo(f"  {click.style('not the newest', fg='yellow')}: {plan.passed_over}")
    for line in _step_lines(plan, terminal_width()):
        echo(f"  {line}")
    for verb, users in (("stops and starts", plan.users), ("goes on running:", plan.witnesses)):
        if users:
            echo(f"  {verb} {printable(', '.join(one.name for one in users))}")
    for disk in plan.space:
        sizes = f"{render_size(disk.needed)} of {render_size(disk.free)} that are free"
        echo(f"  needs {sizes} on the disk of {printable(disk.place)}")


def _step_lines(plan: RestorePlan, width: int | None) -> list[str]:
    """Write a line for each step; where a terminal is too narrow for one, each part has its own."""
    rows = [_cells(step, plan.request) for step in plan.steps]
    lines = list(aligned(rows))
    if width is None or max(map(len, lines)) + _INDENT <= width:
        return lines
    return [line for first, *more in rows for line in (first, *(f"  {one}" for one in more))]


def _cells(step: Step, request: RestoreRequest) -> tuple[str, ...]:
    item = step.item
    return (
        printable(place_of(item.source, request.inside)),
        f"→ {printable(item.place)}",
        f"{step.existing.value} is there: {step.effect.value}",
    )


def is_confirmed(group: RestoreGroup) -> bool:
    """Ask whether to go on; False is also what is answered by the end of the input."""
    what = "this" if len(group.parts) == 1 else f"these {len(group.parts)} services"
    return click.confirm(f"Restore {what}?", default=False, err=True)


@contextmanager
def explain_interrupt() -> Iterator[None]:
    """Show what is there now, if somebody interrupts the block."""
    try:
        yield
    except KeyboardInterrupt:
        echo("interrupted: what was there is there, or all that was restored", err=True)
        raise


def show_ended(name: str, ended: Ended) -> None:
    """Show that it was done, and what is not as it was."""
    stats = ended.stats
    size = "" if stats is None else f": {counted(stats.files_processed, 'file')}"
    echo(f"{printable(name)} is restored from snapshot {short_id(ended.snapshot)}{size}")
    if ended.outcome is RunOutcome.WARNING:
        echo(f"  {click.style('warning', fg='yellow')}: {printable(ended.reason)}")


def _verification_json(found: Verification) -> str:
    verdict = "failed" if found.differences else "verified" if found.is_good else "unknown"
    shown = {
        "plan": found.plan,
        "outcome": verdict,
        "snapshot": found.snapshot or None,
        "seed": found.seed,
        "same": found.same,
        "changed": found.changed,
        "differences": found.differences,
        "note": found.note or None,
        "passed_over": found.passed_over or None,
        "lost": found.lost or None,
        "left_out": found.left_out or None,
    }
    return json.dumps(shown, ensure_ascii=False)


def render_verification(found: Verification, name: str, form: str = "text") -> str:
    """Write what a verification of the plan of that name found.

    `form` is text, a line and one for each file, or json, an object on one line.
    """
    if form == "json":
        return _verification_json(found)
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
    return "\n".join((f"{printable(name)}: {head} ({seed})", *lines))
