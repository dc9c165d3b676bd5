"""How a command ends: by its exit status, with what went wrong in words on standard error.

Exit statuses: what scripts may rely on.
"""

import os
import sys
from collections.abc import Mapping, Sequence

import click

from sidecar.lib.errors import SidecarError

FAILED = 1
"""The status of every failure, also of a wrong flag."""


def run_group(group: click.Group, name: str, args: Sequence[str] | None) -> int:
    """Run the command line of the program `name`, and give its exit status."""
    try:
        status = group.main(args, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return FAILED
    except click.Abort:
        return FAILED
    except SidecarError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  → {error.hint}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; the result may be cut, so no success.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status if isinstance(status, int) else 0


FAILED, CHANGED, PROBLEMS = 1, 2, 3
STATUSES: Mapping[int, str] = {
    0: "done, and nothing needs attention",
    FAILED: "it could not be done, or what was looked at is broken; also a wrong flag",
    CHANGED: "done, and something was or would be changed, where `--detailed-exitcode` asks for it",
    PROBLEMS: "done, but something needs attention: labels with problems, a backup with warnings",
}
"""What each status means; a command that has less of them says so in its help."""
