"""The help of every command, on a terminal of the usual width."""

import click
import pytest

from sidecar.cli.commands.main import cli as sidecar
from sidecar.cli.group import CommandTable
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


@pytest.mark.parametrize("group", [sidecar, runner], ids=["sidecar", "runner"])
def test_the_list_of_commands_is_the_one_that_click_writes(group: CommandTable) -> None:
    """It is written of the table of commands, and click's of what each says of itself."""
    plain = click.Group(group.name, commands=dict(group.commands))
    for width in (WIDTH, 200):
        context = click.Context(group, terminal_width=width)
        ours, theirs = (context.make_formatter() for _ in range(2))
        group.format_commands(context, ours)
        plain.format_commands(click.Context(plain), theirs)

        assert theirs.getvalue() == ours.getvalue()


@pytest.mark.parametrize("group", [sidecar, runner], ids=["sidecar", "runner"])
@pytest.mark.parametrize("begun", ["", "re", "--", "none"])
def test_commands_are_completed_as_click_does(group: CommandTable, begun: str) -> None:
    """The same names with the same help, and the flags of the program."""
    plain = click.Group(group.name, commands=dict(group.commands), params=group.params)
    ours = group.shell_complete(click.Context(group), begun)
    theirs = plain.shell_complete(click.Context(plain), begun)

    assert [(one.value, one.help) for one in theirs] == [(one.value, one.help) for one in ours]
