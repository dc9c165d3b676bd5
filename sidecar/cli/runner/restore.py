"""restore and verify: bringing data back, and proving that it could be done."""

import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sidecar.cli.exits import ATTENTION, FAILED, SUCCESS, worst
from sidecar.cli.options import Flag
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import (
    docker_option,
    document_options,
    log_options,
    option,
    program_options,
)
from sidecar.cli.runner.settings import build_settings

if TYPE_CHECKING:
    from sidecar.runner.restore.choose import RestoreRequest
    from sidecar.runner.verify.verify import Verification

# These flags have no variables: one that is set for the daemon must not let data be overwritten.
_flag = partial(click.option, cls=Flag)


@click.command()
@click.argument("plan")
@_flag("--snapshot", metavar="ID", default="latest", help="Which one, also another plan's.")
@_flag("--at", metavar="TIME", help="The newest that is not after this time or day.")
@_flag("--path", "paths", multiple=True, help="Only this path of it; may be repeated.")
@_flag("--target", type=click.Path(file_okay=False), help="Restore to this folder instead.")
@_flag(
    "--path-map",
    multiple=True,
    metavar="PATH=PLACE",
    help="Restore PATH of the snapshot, or what lies below it, to PLACE; may be repeated.",
)
@_flag("--in-place", is_flag=True, help="Replace what is there by what the snapshot holds.")
@_flag("--stop", is_flag=True, help="Stop containers that use it, and start them afterwards.")
@_flag("--stop-timeout", metavar="DURATION", default="10s", help="How long each has for that.")
@_flag(
    "--force",
    "overwrite",
    is_flag=True,
    help="Overwrite what has the same name in --target; go on though space seems short, rights "
    "are missing, or no engine can be asked who uses the data.",
)
@_flag("--repo", metavar="REPO", default="", help="For a plan that the document has no more.")
@_flag("--dry-run", is_flag=True, help="Say what would be restored, and restore nothing.")
@document_options
@program_options
@docker_option
@log_options
def restore(plan: str, dry_run: bool, stop_timeout: str, repo: str, **flags: Any) -> None:
    """Bring the data of a plan back, from its latest snapshot if nothing else is said.

    It goes back to where it lives, if nothing is there, or only an empty folder. What is
    there is replaced with --in-place: then what the snapshot does not hold is deleted, files
    that the plan excludes too. All is restored aside first and moved in when it is whole, so
    the disk must hold it twice for a while, and whoever uses it stands still for seconds only.

    The latest is the newest that holds a file and is not more than a day ahead of the clock;
    any other is restored by its id.

    With --target the contents of a folder come to lie in it, not nested; a file by its name;
    of several paths each below it by its full path.

    TIME is 2024-05-01 (to its end), '2024-05-01 13:00' or 2024-05-01T13:00Z.

    What was restored is compared with the snapshot: owners, permissions, times, extended
    attributes. Without the rights to give them back, nothing that lives here is touched, unless
    --force is given.

    Exit status: 0 restored; 3 restored, but not with all owners, permissions and attributes;
    1 not, and nothing was touched unless it says so.

    \b
    Examples:
      backrest-runner restore web --dry-run
      backrest-runner restore web --in-place --stop
      backrest-runner restore web --at 2024-05-01 --path /data --target /tmp/web
    """
    from sidecar.backrest.reading import RunPlan
    from sidecar.cli.output.restore import read_request

    request = read_request(RunPlan(plan, repo), flags, os.environ)
    _restore(build_settings(flags), request, stop_timeout, is_dry=dry_run)


def _restore(settings: Any, request: "RestoreRequest", stop_timeout: str, *, is_dry: bool) -> None:
    from sidecar.cli.output.restore import explain_interrupt, show_ended, show_plan
    from sidecar.cli.output.runs import ProgressLine
    from sidecar.runner.journal import RunOutcome
    from sidecar.runner.restore.command import RestoreOptions, prepared_restore
    from sidecar.runner.settings import parse_seconds
    from sidecar.service.signals import interruptible

    line, plan = ProgressLine(), request.plan.id
    options = RestoreOptions(is_dry, int(parse_seconds("--stop-timeout", stop_timeout)))
    ended = None
    with (
        interruptible(),
        explain_interrupt(),
        prepared_restore(settings, os.environ, request, options) as prepared,
    ):
        show_plan(prepared.plan, is_dry=is_dry)
        if not is_dry:
            ended = prepared.run(partial(line.show, f"restore {plan}"))
    line.clear()
    if ended is not None:
        show_ended(plan, ended)
        if ended.outcome is not RunOutcome.SUCCESS:
            raise click.exceptions.Exit(ATTENTION)


@click.command()
@click.argument("plans", metavar="[PLAN]...", nargs=-1)
@option("--sample", type=click.IntRange(min=1), default=5, help="How many files of each plan.")
@option("--min-size", metavar="SIZE", default="1MB", help="Rather files of at least this size.")
@option("--max-size", metavar="SIZE", default="20MB", help="No file that is larger.")
@_flag("--seed", type=int, help="Choose the files that this number chose before.")
@option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to restore them to.  [default: scratch in the state folder]",
)
@document_options
@program_options
@log_options
def verify(plans: tuple[str, ...], sample: int, seed: int | None, **flags: Any) -> None:
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
      backrest-runner verify web --sample 20 --max-size 1GB
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
    options = VerifyOptions(limits, secrets.randbits(32) if seed is None else seed, scratch)
    statuses = []
    prepared = prepare_verifications(settings, os.environ, plans, options)
    with interruptible(), closing(prepared):
        for one in prepared:
            found = one.run(partial(line.show, f"verify {one.plan.id}"))
            line.clear()
            echo(render_verification(found))
            statuses.append(_status_of(found))
    raise click.exceptions.Exit(worst(statuses))


def _status_of(found: "Verification") -> int:
    if found.is_good and found.is_faithful and not found.passed_over:
        return SUCCESS
    return ATTENTION if found.is_good or found.note else FAILED
