"""restore and verify: bringing data back, and proving that it could be done."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sidecar.cli.exits import ATTENTION, FAILED, SUCCESS, worst
from sidecar.cli.names import resolve_name, shown_names
from sidecar.cli.options import Flag, lines_option
from sidecar.cli.output.text import echo, printable
from sidecar.cli.runner.options import (
    docker_option,
    document_options,
    log_options,
    name_argument,
    option,
    program_options,
)
from sidecar.cli.runner.settings import build_settings, read_names_for

if TYPE_CHECKING:
    from sidecar.cli.output.restore import Consent
    from sidecar.engines.base import Report
    from sidecar.runner.restore.restore import RestorePlan
    from sidecar.runner.verify.verify import Verification

# These flags have no variables: one that is set for the daemon must not let data be overwritten.
_ARGUMENTS = "backrest.arguments"
_flag = partial(click.option, cls=Flag)


class _Restore(click.Command):
    """A command that can be given on as it was written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse them, and keep them as they are."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Restore)
@name_argument("words", "SERVICE... [CONTAINER-PATH]...", nargs=-1, required=True)
@_flag(
    "--at",
    metavar="TIME|SNAPSHOT",
    help="The newest that is not after this time or day; or the id of a snapshot.",
)
@_flag(
    "--to",
    metavar="[DIR]",
    is_flag=False,
    flag_value="",
    help="Restore to a folder of each service below DIR.  [default: /restored if it is there, "
    "else ./restored]",
)
@_flag("--yes", is_flag=True, help="Do not ask; replace what is there, stop what uses it.")
@_flag("--dry-run", is_flag=True, help="Say what would be restored, and restore nothing.")
@_flag("--snapshot", metavar="ID", default="latest", help="Which one, also another plan's.")
@_flag("--path", "paths", multiple=True, help="Only this path of the snapshot; may be repeated.")
@_flag("--target", type=click.Path(file_okay=False), help="Restore to this folder itself.")
@_flag(
    "--path-map",
    multiple=True,
    metavar="PATH=PLACE",
    help="Restore PATH of the snapshot, or what lies below it, to PLACE; may be repeated.",
)
@_flag(
    "--database",
    is_flag=True,
    help="Load the dump of a template into the server that it was made of.",
)
@_flag("--in-place", is_flag=True, help="Replace what is there by what the snapshot holds.")
@_flag("--stop", is_flag=True, help="Stop what uses it, also for single files; start it again.")
@_flag("--stop-timeout", metavar="DURATION", default="10s", help="How long each has for that.")
@_flag(
    "--force",
    "overwrite",
    is_flag=True,
    help="Overwrite what has the same name in a folder; go on though space seems short, rights "
    "are missing, a run is due, or no engine can be asked who uses the data.",
)
@_flag("--repo", metavar="REPO", default="", help="For a plan that the document has no more.")
@document_options
@program_options
@docker_option
@log_options
def restore(words: tuple[str, ...], dry_run: bool, stop_timeout: str, **flags: Any) -> None:
    """Bring the data of services back, from their latest snapshots if nothing else is said.

    A SERVICE is project/service, the service alone, a container, a group or a plan id; `project/`
    is all of a project. A CONTAINER-PATH is a file or folder as the service sees it. What would
    happen is shown first. On a terminal it is done if you agree; elsewhere what is there is only
    replaced with --yes or --in-place.

    A folder is replaced: what the snapshot does not hold is deleted, files that the plan excludes
    too, and whoever uses it stands still for a moment. A single file is replaced while everything
    runs. All is restored aside first and moved in when it is whole, of several services at once,
    so the disk must hold it twice for a while.

    The latest is the newest that holds a file and is not more than a day ahead of the clock;
    any other is restored by its id.

    TIME is yesterday or 2026-11-20 (to its end), 2026-11-20T03:10 or 2026-11-20T03:10Z.

    With --database the dump that a template makes is loaded into the server in the service's
    container: it runs on, but for Redis, which starts anew. The dump is fetched and looked at
    first, and all is shown; then you are asked, or write --yes. PostgreSQL and SQLite take it as a
    whole or not at all; MariaDB and MySQL table by table.

    With --to each path lies below DIR/SERVICE as it lies in the container. With --target the
    contents of a folder lie in it, not nested; a file by its name; of several paths each by its
    full path.

    What was restored is compared with the snapshot: owners, permissions, times, extended
    attributes. Without the rights to give them back, nothing that lives here is touched, unless
    --force is given. Nor is it while a run of the plan is at work or due.

    Exit status: 0 restored, or a dry run; 3 restored, but not with all owners, permissions and
    attributes; 1 not, and nothing was touched unless it says so.

    \b
    Examples:
      backrest-runner restore web --dry-run
      backrest-runner restore web /data/page.html --at yesterday
      backrest-runner restore shop/db shop/web --at 2026-11-20T03:10
      backrest-runner restore web --to
      backrest-runner restore shop/db --database --at yesterday
    """
    from sidecar.cli.output.restore import Consent

    can_ask = not flags["yes"] and _is_on_terminal()
    consent = Consent(flags["yes"], can_ask, dry_run)
    if flags["database"]:
        _load(words, flags, stop_timeout, consent)
    else:
        _restore(words, flags, stop_timeout, consent)


def _is_on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _load(
    words: Sequence[str], flags: Mapping[str, Any], stop_timeout: str, consent: "Consent"
) -> None:
    from datetime import UTC, datetime

    from sidecar.cli.output.database import check_selection, explain_interrupted_load, show_load
    from sidecar.cli.output.restore import read_selection
    from sidecar.lib.errors import UsageError
    from sidecar.runner.restore.command import RestoreOptions, prepared_load
    from sidecar.runner.settings import parse_seconds
    from sidecar.service.signals import interruptible

    now = datetime.now(UTC)
    selection = read_selection(words, flags, os.environ, consent, now)
    check_selection(selection, flags)
    options = RestoreOptions(consent.is_dry, int(parse_seconds("--stop-timeout", stop_timeout)))
    settings = build_settings(flags)
    with interruptible(), prepared_load(settings, os.environ, selection, options) as prepared:
        plan = prepared.plan
        show_load(plan, now, is_dry=consent.is_dry)
        if consent.is_dry:
            return
        for error in plan.obstacles:
            raise error
        if not consent.is_possible:
            raise UsageError("what is there would be replaced: nothing was touched", "write --yes")
        if consent.can_ask and not click.confirm("Load this?", default=False, err=True):
            echo("nothing was touched", err=True)
            raise click.exceptions.Exit(FAILED)
        with explain_interrupted_load(plan):
            prepared.run(force=flags["overwrite"])
    shown = f"{plan.container.name} has the dump of snapshot {plan.dump.snapshot.short}"
    echo(printable(f"{plan.name}: {shown}"))


def _restore(
    words: Sequence[str], flags: Mapping[str, Any], stop_timeout: str, consent: "Consent"
) -> None:
    from datetime import UTC, datetime

    from sidecar.cli.output.restore import (
        explain_interrupt,
        is_confirmed,
        read_selection,
        show_ended,
        show_group,
    )
    from sidecar.cli.output.runs import ProgressLine, is_shown_at_end
    from sidecar.lib.log import leave_out
    from sidecar.runner.journal import RunOutcome
    from sidecar.runner.restore.another_container import execute, find_command
    from sidecar.runner.restore.command import RestoreOptions, prepared_restore
    from sidecar.runner.restore.restore import refuse_obstacles
    from sidecar.runner.settings import parse_seconds
    from sidecar.service.signals import interruptible

    now, line = datetime.now(UTC), ProgressLine()
    selection = read_selection(words, flags, os.environ, consent, now)
    options = RestoreOptions(consent.is_dry, int(parse_seconds("--stop-timeout", stop_timeout)))
    settings = build_settings(flags)

    with (
        interruptible(),
        explain_interrupt(),
        prepared_restore(settings, os.environ, selection, options) as group,
    ):
        arguments = click.get_current_context().meta[_ARGUMENTS]
        another = find_command(settings, os.environ, group, arguments)
        if another and not consent.is_dry:
            # That shows it, asks, and does it.
            execute(settings, os.environ, another)
        shown = group.in_another() if another else group
        show_group(shown, now, is_dry=consent.is_dry, in_another=bool(another))
        if consent.is_dry:
            return
        for part in group.parts:
            refuse_obstacles(part.plan)
        if consent.can_ask and not is_confirmed(group):
            echo("nothing was touched", err=True)
            raise click.exceptions.Exit(FAILED)
        names = {part.subject.plan.id: part.subject.name for part in group.parts}
        if len(group.parts) == 1:
            # Of several a later one may fail, and nobody would be shown how the first ended.
            leave_out(is_shown_at_end)

        def report_of(plan: "RestorePlan") -> "Report":
            line.clear()
            return partial(line.show, f"restore {names[plan.request.plan.id]}")

        ended = group.run(report_of)
        line.clear()
    for part, one in zip(group.parts, ended, strict=True):
        show_ended(part.subject.name, one)
    if any(one.outcome is not RunOutcome.SUCCESS for one in ended):
        raise click.exceptions.Exit(ATTENTION)


@click.command()
@name_argument("plans", "[SERVICE|PLAN]...", nargs=-1)
@option("--sample", type=click.IntRange(min=1), default=5, help="How many files of each plan.")
@option("--min-size", metavar="SIZE", default="1MB", help="Rather files of at least this size.")
@option("--max-size", metavar="SIZE", default="20MB", help="No file that is larger.")
@_flag("--seed", type=int, help="Choose the files that this number chose before.")
@option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to restore them to.  [default: scratch in the state folder]",
)
@lines_option
@document_options
@program_options
@log_options
def verify(
    plans: tuple[str, ...], sample: int, seed: int | None, output: str, **flags: Any
) -> None:
    """Restore files of the latest snapshot that chance chooses, and compare them byte for byte.

    All plans are verified if none is named. A file is compared with the live one; if that has
    changed since, with what the snapshot says of it, and restic has checked its content. If no
    file is as large as is wished, smaller ones are taken.

    The latest is the newest that holds a file and is not more than a day ahead of the clock.

    Exit status, of several plans the worst: 0 all is as it should be; 3 a snapshot that is
    newer was passed over, none holds a file, or rights are missing to give files back their
    owners, permissions or attributes; 1 something differs, or could not be restored.

    \b
    Examples:
      backrest-runner verify
      backrest-runner verify media/db --sample 20 --max-size 1GB
    """
    import secrets

    from sidecar.cli.output.restore import render_verification
    from sidecar.cli.output.runs import ProgressLine
    from sidecar.runner.restore.command import VerifyOptions, prepare_verifications
    from sidecar.runner.verify.sample import SampleLimits, parse_size
    from sidecar.service.signals import interruptible

    least = parse_size("--min-size", flags["min_size"])
    most = parse_size("--max-size", flags["max_size"])
    limits, scratch = SampleLimits(sample, least, most), flags["scratch"]
    settings, line = build_settings(flags), ProgressLine()
    names = read_names_for(settings)
    shown = shown_names(names)
    ids = [resolve_name(one, names) for one in plans]
    options = VerifyOptions(limits, secrets.randbits(32) if seed is None else seed, scratch)
    statuses = []
    prepared = prepare_verifications(settings, os.environ, ids, options)
    with interruptible(), closing(prepared):
        for one in prepared:
            name = shown.get(one.plan.id, one.plan.id)
            found = one.run(partial(line.show, f"verify {name}"))
            line.clear()
            echo(render_verification(found, name, output), form=output)
            statuses.append(_status_of(found))
    raise click.exceptions.Exit(worst(statuses))


def _status_of(found: "Verification") -> int:
    if found.is_good and found.is_faithful and not found.passed_over:
        return SUCCESS
    return ATTENTION if found.is_good or found.note else FAILED
