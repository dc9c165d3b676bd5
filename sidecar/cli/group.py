"""A program's commands as a table: the module of a command is imported when the command is used.

So the program's help, its completion and each command import what they need, and no more.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# What click leaves for a help: in a list beside what stands around it, and in a completion.
_AROUND, _COMPLETED = 6, 45


class CommandGroup(Enum):
    """What commands are for: the sections of a program's help, in their order."""

    EVERYDAY = "Every day"
    LABELS = "Labels and plans"
    SNAPSHOTS = "Snapshots"
    REPOSITORIES = "Repositories"
    SERVICE = "The service"
    MORE = "More"


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """Where a command is.

    Attributes:
        name: how people call it.
        module: its module, which has it under its own name, with `_` for `-`.
        help: the first sentence of its help.
        group: the section of the program's help in which it stands.
    """

    name: str
    module: str
    help: str
    group: CommandGroup = CommandGroup.MORE

    def shortened(self, width: int) -> str:
        """Return the help, cut as click does where it is longer than `width`."""
        import textwrap

        return textwrap.shorten(self.help, width, placeholder="...", break_on_hyphens=False)


class _TableCommands(Mapping[str, click.Command]):
    """The commands of a table, in its order; each is imported when it is looked up."""

    def __init__(self, table: Mapping[str, CommandEntry]) -> None:
        self._table = table

    def __getitem__(self, name: str) -> click.Command:
        module = importlib.import_module(self._table[name].module)
        return cast("click.Command", getattr(module, name.replace("-", "_")))

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


class CommandTable(click.Group):
    """A group of the commands of a table."""

    def __init__(self, *args: Any, table: Sequence[CommandEntry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = {one.name: one for one in table}
        # Click reads it only.
        self.commands = cast("dict[str, click.Command]", _TableCommands(self._table))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of each group, in the order of the table, and import none of them."""
        del ctx
        longest = max(map(len, self._table))
        width = formatter.width - _AROUND - longest
        for group in CommandGroup:
            rows = [
                (name.ljust(longest), one.shortened(width))
                for name, one in self._table.items()
                if one.group is group
            ]
            if rows:
                with formatter.section(group.value):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete the names of commands as click does, but import none of them."""
        from click.shell_completion import CompletionItem

        names = sorted(name for name in self._table if name.startswith(incomplete))
        found = [CompletionItem(one, help=self._table[one].shortened(_COMPLETED)) for one in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]
