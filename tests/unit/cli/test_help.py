"""The help of every command, on a terminal of the usual width."""

import click
import pytest

from sidecar.cli.commands.main import cli as sidecar
from sidecar.cli.runner.main import cli as runner
from sidecar.reconciler.healthcheck import HEALTHCHECK
from sidecar.runner.healthcheck import HEALTHCHECK as RUNNER_HEALTHCHECK

WIDTH = 80
HELP = {
    f"{name} {command}": one.get_help(click.Context(one, info_name=command, terminal_width=WIDTH))
    for name, group in (("sidecar", sidecar), ("runner", runner))
    for command, one in group.commands.items()
}
CHECKS = {"sidecar": HEALTHCHECK.help, "runner": RUNNER_HEALTHCHECK.help}


@pytest.mark.parametrize("text", [*HELP.values(), *CHECKS.values()], ids=[*HELP, *CHECKS])
def test_no_line_of_a_help_is_wider_than_a_terminal(text: str) -> None:
    """Also where an example or a list of statuses is printed as it is written."""
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
