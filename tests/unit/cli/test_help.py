"""The help of every command, on a terminal of the usual width."""

from collections.abc import Callable, Sequence

import click
import pytest

from sidecar.cli.commands.main import cli as sidecar
from sidecar.cli.commands.main import run_cli as run_sidecar
from sidecar.cli.group import CommandTable
from sidecar.cli.runner.main import cli as runner
from sidecar.cli.runner.main import run_cli as run_runner
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


@pytest.mark.parametrize("text", [*HELP.values(), *CHECKS.values()], ids=[*HELP, *CHECKS])
def test_each_help_has_an_example(text: str) -> None:
    """People read that first."""
    checks = [name for name in HELP if name.endswith("healthcheck")]

    assert "Example" in text or text in [HELP[name] for name in checks]


@pytest.mark.parametrize("group", [sidecar, runner], ids=["sidecar", "runner"])
def test_the_commands_are_listed_as_click_does_in_groups(group: CommandTable) -> None:
    """They are written of the table of commands, and click's of what each says of itself."""
    plain = click.Group(group.name, commands=dict(group.commands))
    for width in (WIDTH, 200):
        context = click.Context(group, terminal_width=width)
        ours, theirs = (context.make_formatter() for _ in range(2))
        group.format_commands(context, ours)
        plain.format_commands(click.Context(plain), theirs)
        rows = [line for line in ours.getvalue().splitlines() if line.startswith("  ")]

        assert sorted(theirs.getvalue().splitlines()[1:]) == sorted(rows)


@pytest.mark.parametrize("group", [sidecar, runner], ids=["sidecar", "runner"])
def test_only_the_version_is_in_no_group(group: CommandTable) -> None:
    """A new command says what it is for."""
    text = group.get_help(click.Context(group, terminal_width=WIDTH))

    assert "More:\n  version" in text
    assert 1 == len(text.partition("More:\n")[2].splitlines())
    assert text.index("Every day:") < text.index("The service:")


@pytest.mark.parametrize("run_cli", [run_sidecar, run_runner])
def test_without_any_word_the_help_is_shown(
    run_cli: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a status that is no success: who relied on a command notices that none was run."""
    assert 1 == run_cli([])
    assert "Every day:" in capsys.readouterr().err


@pytest.mark.parametrize("group", [sidecar, runner], ids=["sidecar", "runner"])
@pytest.mark.parametrize("begun", ["", "re", "--", "none"])
def test_commands_are_completed_as_click_does(group: CommandTable, begun: str) -> None:
    """The same names with the same help, and the flags of the program."""
    plain = click.Group(group.name, commands=dict(group.commands), params=group.params)
    ours = group.shell_complete(click.Context(group), begun)
    theirs = plain.shell_complete(click.Context(plain), begun)

    assert [(one.value, one.help) for one in theirs] == [(one.value, one.help) for one in ours]
