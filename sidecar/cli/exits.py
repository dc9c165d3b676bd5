"""The exit statuses of both programs, which scripts may rely on, and where errors become one."""

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from sidecar.cli.output.text import (
    CannotWriteError,
    choose_colour,
    echo,
    prepare_streams,
    printable_lines,
)
from sidecar.lib.errors import SidecarError

if TYPE_CHECKING:
    from sidecar.backrest.operations import OperationEnd
    from sidecar.engines.base import FailureClass
    from sidecar.runner.journal import RunOutcome

SUCCESS, FAILED, CHANGED, ATTENTION = 0, 1, 2, 3
STATUSES: Mapping[int, str] = {
    SUCCESS: "done, and nothing needs attention",
    FAILED: "it could not be done, or what was looked at is broken; also a wrong flag",
    CHANGED: "done, and something was or would be changed, where `--detailed-exitcode` asks for it",
    ATTENTION: "done, but something needs attention: labels with problems, something "
    "that is not backed up, a backup with warnings",
}
"""What each status of backrest-sidecar means; a command that has fewer says so in its help."""
RUNNER_STATUSES: Mapping[int, str] = {
    SUCCESS: "done, and nothing needs attention",
    FAILED: "it could not be done, or a run failed; also a wrong flag",
    ATTENTION: "done, but something needs attention: something is not backed up, a run ended with "
    "warnings",
}
"""What each status of backrest-runner means."""

_FROM_GOOD_TO_BAD = (SUCCESS, ATTENTION, FAILED)


def status_of(outcome: "RunOutcome | None", failure: "FailureClass | None" = None) -> int:
    """Return the status for the end of a run; None: there was no run, or nothing failed."""
    # The journal is imported by commands that have an outcome, not by all.
    from sidecar.engines.base import FailureClass
    from sidecar.runner.journal import RunOutcome

    if outcome is RunOutcome.CANCELLED and failure is FailureClass.HOOK:
        # A hook said that there is nothing to back up.
        return SUCCESS
    if outcome is RunOutcome.WARNING:
        return ATTENTION
    return SUCCESS if outcome is not None and outcome.is_good else FAILED


def status_of_operation(ending: "OperationEnd | None") -> int:
    """Return the status for the end of a run by Backrest; None: it was not waited for."""
    from sidecar.backrest.operations import OperationEnd

    if ending is OperationEnd.WARNING:
        return ATTENTION
    return SUCCESS if ending is OperationEnd.SUCCESS else FAILED


def worst(statuses: Iterable[int]) -> int:
    """Return the worst of several; without any there was nothing to do, which is a success."""
    return max(statuses, key=_FROM_GOOD_TO_BAD.index, default=SUCCESS)


def run_group(group: click.Group, name: str, args: Sequence[str] | None) -> int:
    """Run the command line of the program `name` and return its exit status.

    An error is written to standard error: what is wrong, then what to do.
    """
    try:
        prepare_streams()
        colour = choose_colour(os.environ)
        status = group.main(args, prog_name=name, standalone_mode=False, color=colour)
    except click.ClickException as error:
        error.show()
        return FAILED
    except click.Abort:
        return FAILED
    except SidecarError as error:
        if isinstance(error, CannotWriteError):
            _let_go(sys.stdout)
        with contextlib.suppress(CannotWriteError):
            echo(f"Error: {printable_lines(error.message)}", err=True)
            if hint := error.hint or _advice(error):
                echo(f"  → {printable_lines(hint)}", err=True)
            return FAILED
        _let_go(sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; the result may be cut, so no success.
        _let_go(sys.stdout)
        return FAILED
    return status if isinstance(status, int) else SUCCESS


def _let_go(stream: TextIO) -> None:
    """Let what a stream has not written yet go nowhere, as it would fail once more at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _advice(error: SidecarError) -> str:
    """Return what to do about a repository that cannot be used, or nothing."""
    # Only a failure needs the engines; most commands have none.
    from sidecar.engines.base import EngineError
    from sidecar.runner.advice import ADVICE

    return ADVICE.get(error.failure, "") if isinstance(error, EngineError) else ""
