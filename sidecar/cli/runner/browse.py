"""ls, find, cat, diff, stats: looking into snapshots, without a lock and without a change."""

import os
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sidecar.backrest.engine_name import EngineName
from sidecar.cli.exits import ATTENTION, FAILED
from sidecar.cli.options import Flag
from sidecar.cli.output.terminal import terminal_width
from sidecar.cli.output.text import echo, printable
from sidecar.cli.runner.inspect import output_option
from sidecar.cli.runner.options import (
    document_options,
    log_options,
    name_argument,
    program_options,
)
from sidecar.cli.runner.settings import build_settings
from sidecar.lib.errors import SidecarError
from sidecar.lib.text import counted

if TYPE_CHECKING:
    from sidecar.engines.base import Snapshot
    from sidecar.runner.browse import OwnCommand, PlanBrowser

# Without variables: what is set for a daemon is no choice of a snapshot.
_flag = partial(click.option, cls=Flag)
_at_option = _flag(
    "--at",
    metavar="TIME|SNAPSHOT",
    default="latest",
    help="Which snapshot: a day, a time, yesterday, an id, or latest.",
)
_repo_option = _flag(
    "--repo", metavar="REPO", default="", help="For a plan that the document has no more."
)


def _browsing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    return _repo_option(document_options(program_options(log_options(function))))


@click.command()
@name_argument("name", "SERVICE|PLAN")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@_at_option
@_flag("-R", "--recursive", is_flag=True, help="List all that is in folders, too.")
@output_option
@_browsing_options
def ls(
    name: str, paths: tuple[str, ...], at: str, recursive: bool, output: str, **flags: Any
) -> None:
    """List what a snapshot holds, at paths as the container sees them.

    Without a path it lists what the plan saves. TIME is 2024-05-01 (to its end), yesterday,
    or '2024-05-01 13:00'; SNAPSHOT an id, or its beginning.

    Nothing is locked, created or changed.

    \b
    Examples:
      backrest-runner ls media/db
      backrest-runner ls media/db /var/lib/postgresql --at yesterday
      backrest-runner ls web --recursive --output json
    """
    from sidecar.cli.output.listing import name_snapshot, show_entries
    from sidecar.runner.browse import list_entries, opened_plan

    with opened_plan(build_settings(flags), os.environ, name, flags["repo"]) as browser:
        snapshot = _choose(browser, at)
        inside = browser.inside(snapshot)
        wanted = [inside.find(path) for path in paths if path != "/"] or inside.roots()
        if output == "table":
            echo(f"{name_snapshot(snapshot)}:")
        found = list_entries(browser, snapshot, wanted, is_deep=recursive)
        show_entries(found, inside.shown, output, terminal_width())


@click.command()
@name_argument("name", "SERVICE|PLAN")
@click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True)
@_flag(
    "--at", metavar="TIME|SNAPSHOT", help="Only in this snapshot: a day, a time, an id, or latest."
)
@_flag("-i", "--ignore-case", is_flag=True, help="Take upper and lower case as the same.")
@output_option
@_browsing_options
def find(
    name: str,
    patterns: tuple[str, ...],
    at: str | None,
    ignore_case: bool,
    output: str,
    **flags: Any,
) -> None:
    """Find files and folders by name in the snapshots of a plan, the newest first.

    A pattern has `*`, `?` and `[...]`. It is compared with the name; with a slash in it, with the
    whole path as the container sees it.

    Exit status: 0 something was found; 3 nothing was; 1 it could not be looked for.

    \b
    Examples:
      backrest-runner find media/db '*.conf'
      backrest-runner find web '/data/*/invoice*' --at yesterday
    """
    from sidecar.cli.output.listing import show_found
    from sidecar.runner.browse import find_entries, opened_plan

    with opened_plan(build_settings(flags), os.environ, name, flags["repo"]) as browser:
        snapshots = browser.snapshots()[::-1] if at is None else (_choose(browser, at),)
        found = find_entries(browser, snapshots, patterns, ignores_case=ignore_case)
        count = show_found(found, output, terminal_width())
    if not count:
        if output == "table":
            echo(f"nothing is called so in {counted(len(snapshots), 'snapshot')}")
        raise click.exceptions.Exit(ATTENTION)


@click.command()
@name_argument("name", "SERVICE|PLAN")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@_at_option
@_browsing_options
def cat(name: str, paths: tuple[str, ...], at: str, **flags: Any) -> None:
    """Write the content of files of a snapshot to standard output, byte for byte.

    A terminal is given text only: anything else goes to a file or to another program.

    \b
    Examples:
      backrest-runner cat web /data/notes.txt
      backrest-runner cat media/db /dumps/all.sql --at yesterday
    """
    from sidecar.cli.output.listing import ContentWriter
    from sidecar.runner.browse import opened_plan

    with opened_plan(build_settings(flags), os.environ, name, flags["repo"]) as browser:
        snapshot = _choose(browser, at)
        inside = browser.inside(snapshot)
        for path in [inside.find(path) for path in paths]:
            browser.engine.read_file(snapshot, path, ContentWriter().write)


@click.command()
@name_argument("name", "SERVICE|PLAN")
@click.argument("older", metavar="[OLDER]", required=False)
@click.argument("newer", metavar="[NEWER]", required=False)
@output_option
@_browsing_options
def diff(name: str, older: str | None, newer: str | None, output: str, **flags: Any) -> None:
    """Show what was added, removed or changed from one snapshot to another.

    With one snapshot it is compared with the plan's one before it, without any the latest is.
    Each is a day, a time, yesterday, an id, or latest. Whether a file has changed restic tells by
    the content, rsync by size and time. Owners and permissions are not compared.

    \b
    Examples:
      backrest-runner diff web
      backrest-runner diff web 2024-05-01 latest
    """
    from sidecar.cli.output.listing import show_changes
    from sidecar.runner.browse import opened_plan

    with opened_plan(build_settings(flags), os.environ, name, flags["repo"]) as browser:
        if newer is None:
            after = _choose(browser, older or "latest")
            before = browser.before(after)
        else:
            before, after = _choose(browser, older or ""), _choose(browser, newer)
        changes = browser.engine.changes(before, after)
        show_changes(before, after, changes, browser.inside(after).shown, output)


@click.command()
@name_argument("names", "[SERVICE|PLAN|REPO]...", repos=True, nargs=-1)
@_flag("--no-size", is_flag=True, help="Do not count what they take: that may take minutes.")
@output_option
@document_options
@program_options
@log_options
def stats(names: tuple[str, ...], no_size: bool, output: str, **flags: Any) -> None:
    """Show how many snapshots there are, of when, and how much they take; of all plans.

    The size is that of the newest snapshot. What it takes in the repository is the space of all of
    them, each content once. Of a plan that is what its snapshots need, also where others need it
    too. Restic counts it, and of rsync's a repository on this machine.

    Exit status: 0 all are known; 1 of one nothing is.

    \b
    Examples:
      backrest-runner stats
      backrest-runner stats media/db store --no-size
    """
    from sidecar.cli.output.listing import render_uses
    from sidecar.runner.browse import count_snapshots

    uses = tuple(count_snapshots(build_settings(flags), os.environ, names, has_size=not no_size))
    echo(render_uses(uses, output, terminal_width()), form=output)
    failed = [one for one in uses if one.reason]
    for one in failed:
        echo(f"{printable(one.name)}: {printable(one.reason)}", err=True)
    if failed:
        raise click.exceptions.Exit(FAILED)


@click.command()
@name_argument("name", "SERVICE|PLAN|REPO", repos=True)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, resolve_path=True))
@document_options
@program_options
@log_options
def mount(name: str, folder: str, **flags: Any) -> None:
    """Mount the snapshots of a plan or a repository on a folder, until it is interrupted.

    Restic can; it needs FUSE, in a container the device /dev/fuse and the capability SYS_ADMIN.
    Snapshots of rsync are folders already. No lock is held: what a prune deletes meanwhile cannot
    be read.

    \b
    Examples:
      backrest-runner mount media/db /mnt
    """
    from sidecar.runner.browse import mount_command

    _become(mount_command(build_settings(flags), os.environ, name, folder))


def _own_program(engine: EngineName, about: str) -> click.Command:
    """Return the command that runs an engine's own program on a repository."""

    @click.command(name=engine.value, help=about)
    @document_options
    @program_options
    @log_options
    @name_argument("repo", "REPO", plans=False, repos=True)
    @click.argument("words", metavar="-- [WORD]...", nargs=-1, type=click.UNPROCESSED)
    def run(repo: str, words: tuple[str, ...], **flags: Any) -> None:
        from sidecar.runner.browse import own_command

        _become(own_command(build_settings(flags), os.environ, engine, repo, words))

    return run


restic = _own_program(
    EngineName.RESTIC,
    """Run restic itself on a repository, with its address, its password and its flags.

    What it prints and its exit status are its own. Beside a runner that works on the repository it
    waits for nobody: it has its own locks.

    \b
    Examples:
      backrest-runner restic store -- snapshots
      backrest-runner restic store -- find --long 'invoice*'
    """,
)
rsync = _own_program(
    EngineName.RSYNC,
    """Run rsync itself on a repository, over its ssh where it has one.

    A word that begins with `repo:/` is a path in the repository. What it prints and its exit status
    are its own. It takes no lock: change nothing in the repository.

    \b
    Examples:
      backrest-runner rsync disk -- --list-only repo:/web/snapshots/
      backrest-runner rsync disk -- -a repo:/web/snapshots/latest/ /tmp/web/
    """,
)


def _become(command: "OwnCommand") -> None:
    """Let a program take the place of this process: its output and its end are its own."""
    sys.stdout.flush()
    try:
        os.execvpe(command.argv[0], command.argv, command.environ)  # noqa: S606 - no shell
    except OSError as error:
        message = f"{command.argv[0]} cannot be started: {error.strerror}"
        raise SidecarError(message, "install it, or say where it is") from None


def _choose(browser: "PlanBrowser", text: str) -> "Snapshot":
    """Return the snapshot that a text means; what newer was passed over is told."""
    from sidecar.lib.zones import local_zone
    from sidecar.runner.restore.choose import parse_point

    zone, _ = local_zone(os.environ)
    found = browser.choose(parse_point(text, zone, datetime.now(zone).date()))
    if found.passed_over:
        echo(f"not the newest: {printable(found.passed_over)}", err=True)
    return found.snapshot
