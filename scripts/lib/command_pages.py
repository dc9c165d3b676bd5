"""The pages about commands: their flags, the variables, the exit statuses."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from page_text import code, page, prose, table
from sidecar.cli.commands.main import cli
from sidecar.cli.exits import RUNNER_STATUSES, STATUSES
from sidecar.cli.options import Flag
from sidecar.cli.runner.main import cli as runner_cli
from sidecar.cli.variables import (
    OF_BACKRESTS_CONTAINER,
    SECRET_FILES,
    VARIABLES,
    VariableSource,
)
from sidecar.lib import errors
from sidecar.reconciler.healthcheck import HEALTHCHECK
from sidecar.runner.healthcheck import HEALTHCHECK as RUNNER_HEALTHCHECK

_HEAD = ("flag", "value", "default", "variable", "meaning")
_STATUS = re.compile(r"Exit status(?:, ([^:]*))?: ((?:.|\n(?!\n))*)")
_DEFAULT = re.compile(r"\s*\[default: (.*?)\]")
_NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Program:
    """A command line of ours: its name, its commands, its page, and what `healthcheck` says."""

    name: str
    group: click.Group
    page: str
    statuses: Mapping[int, str]
    healthcheck: str


SIDECAR = Program("backrest-sidecar", cli, "commands.md", STATUSES, HEALTHCHECK.help)
RUNNER = Program(
    "backrest-runner", runner_cli, "runner-commands.md", RUNNER_STATUSES, RUNNER_HEALTHCHECK.help
)
_ABOUT_FLAGS = (
    "Each flag has a variable; the flag wins where both are given, and of several variables "
    "the first. A switch takes `1`, `true`, `yes` or `on` there, and `0`, `false`, `no` or "
    "`off`; a flag that may be repeated takes values with blanks between them. A duration is "
    "`90s`, `10m`, `1h30m`, `7d` or plain seconds."
)


def render_commands() -> str:
    """Write the page of the sidecar's commands."""
    return _commands_page(
        SIDECAR,
        "Commands and flags",
        f"{_ABOUT_FLAGS} Flags without a command are those of `reconcile`.",
    )


def render_runner_commands() -> str:
    """Write the page of the runner's commands."""
    return _commands_page(
        RUNNER,
        "Commands and flags of backrest-runner",
        "The [bundled runner](../how-to/runner.md) executes the plans of a `config.json` without "
        f"Backrest. {_ABOUT_FLAGS} What a restore is to do has flags only: no variable that is "
        "set for the daemon may let data be overwritten.",
    )


def _commands_page(program: Program, title: str, intro: str) -> str:
    """Write a page of commands: first what each is, last the flags that they share."""
    return page(
        title,
        intro,
        *(_command(program, name, command) for name, command in program.group.commands.items()),
        "## Flags that several commands share",
        *(_topic(topic, flags) for topic, flags in _topics(program).items()),
    )


def render_variables() -> str:
    """Write the page of all variables and secret files."""
    return page(
        "Variables and secret files",
        "## Of the flags",
        "Of several the first one that is set counts, and the flag before all.",
        _variables_table(SIDECAR),
        "## Of the flags of backrest-runner",
        "None of them reaches restic or a hook; all other variables of the runner do.",
        _variables_table(RUNNER),
        "## Beside the flags",
        _sources("variable", VARIABLES),
        "## Of Backrest's container",
        "They are not read by the sidecar's own process, but matter in the runner.",
        _sources("variable", OF_BACKRESTS_CONTAINER),
        "## Secret files",
        "No secret is a flag, because flags are seen by everyone on the machine.",
        _sources("flag", SECRET_FILES),
    )


def _variables_table(program: Program) -> str:
    flags: dict[str, Any] = {}
    variables: dict[str, dict[str, None]] = {}
    for _, flag in _all_flags(program):
        if names := _variables(flag):
            flags[flag.opts[0]] = flag
            # A flag may have an older variable in one command only.
            variables.setdefault(flag.opts[0], {}).update(dict.fromkeys(names))
    rows = (
        (", ".join(map(code, variables[name])), code(name), _meaning(flag))
        for name, flag in sorted(flags.items())
    )
    return table(("variable", "flag", "meaning"), rows)


def render_exit_codes() -> str:
    """Write the page of the exit statuses."""
    failures = errors.SidecarError.__subclasses__()
    failures = [kind for kind in failures if kind.__module__ == errors.__name__]
    return page(
        "Exit codes",
        _statuses_table(SIDECAR),
        "## By command",
        _statuses_by_command(SIDECAR),
        "## What ends with 1",
        "Standard error says what is wrong (`Error: ...`) and what to do (`→ ...`):",
        "\n".join(f"- {_first_line(kind)}" for kind in failures),
        "## Of backrest-runner",
        _statuses_table(RUNNER),
        _statuses_by_command(RUNNER),
    )


def _statuses_table(program: Program) -> str:
    rows = ((code(str(key)), text) for key, text in program.statuses.items())
    return table(("status", "meaning"), rows)


def _statuses_by_command(program: Program) -> str:
    rows = (
        (f"[`{name}`]({program.page}#{name})", _statuses(command))
        for name, command in program.group.commands.items()
    )
    return table(("command", "status"), rows)


def _command(program: Program, name: str, command: click.Command) -> str:
    if name == "healthcheck":
        return f"## healthcheck\n\n```text\n{program.healthcheck.rstrip()}\n```"
    description, examples = _split_help(command)
    own = [flag for flag in _flags(command) if not flag.topic]
    shared = list(dict.fromkeys(flag.topic for flag in _flags(command) if flag.topic))
    status = f"Exit status: {_statuses(command)}."
    parts = [f"## {name}", *map(prose, (*description, status)), _usage(program, name, command)]
    if own:
        parts.append(table(_HEAD, map(_row, own)))
    if shared:
        links = ", ".join(f"[{topic}](#{_slug(topic)})" for topic in shared)
        parts.append(prose(f"{'And' if own else 'It takes'} the flags about {links}."))
    if examples:
        shown = "\n".join(f"$ {line}" for line in examples)
        parts.append(f"<!-- parsed -->\n```console\n{shown}\n```")
    return "\n\n".join(parts)


def _usage(program: Program, name: str, command: click.Command) -> str:
    with click.Context(command, info_name=f"{program.name} {name}") as context:
        words = " ".join(command.collect_usage_pieces(context))
    return f"```text\n{program.name} {name} {words}".rstrip() + "\n```"


def _split_help(command: click.Command) -> tuple[list[str], list[str]]:
    """Split the help of a command into its description and the lines of its examples."""
    # A line of an example that goes on in the next one is one line.
    text = re.sub(r"\\\n\s*", "", inspect.cleandoc(command.help or ""))
    paragraphs = text.replace("\b\n", "").split("\n\n")
    description = [
        part for part in paragraphs if not (_STATUS.match(part) or part.startswith("Examples:"))
    ]
    examples = [part for part in paragraphs if part.startswith("Examples:")]
    return [" ".join(part.split()) for part in description], [
        line.strip() for part in examples for line in part.splitlines()[1:]
    ]


def _statuses(command: click.Command) -> str:
    text = inspect.cleandoc(command.help or "")
    found = _STATUS.search(text)
    if command.name == "healthcheck":
        return "0 the daemon is well; 1 it is not"
    if found and found[1]:
        return f"{' '.join(found[2].split()).rstrip('.')} ({found[1]})"
    return " ".join(found[2].split()).rstrip(".") if found else "0 done; 1 failed"


def _topics(program: Program) -> dict[str, dict[str, list[tuple[str, Flag]]]]:
    """Gather the shared flags: topic → flag → the commands that take it."""
    topics: dict[str, dict[str, list[tuple[str, Flag]]]] = {}
    for name, flag in _all_flags(program):
        if flag.topic:
            topics.setdefault(flag.topic, {}).setdefault(flag.opts[0], []).append((name, flag))
    return topics


def _topic(topic: str, flags: Mapping[str, list[tuple[str, Flag]]]) -> str:
    rows = []
    for takers in flags.values():
        flag, value, _, *rest = _row(takers[0][1])
        rows.append((flag, value, _common_default(takers), *rest))
    return f"### {topic[0].upper()}{topic[1:]}\n\n{table(_HEAD, rows)}"


def _common_default(takers: Iterable[tuple[str, Flag]]) -> str:
    """Return the default of a flag; where commands differ, the others beside it."""
    named: dict[str, list[str]] = {}
    for name, flag in takers:
        named.setdefault(_default(flag), []).append(name)
    (usual, _), *others = named.items()
    more = "; ".join(f"{', '.join(names)}: {default}" for default, names in others)
    return f"{usual} ({more})" if more else usual


def _all_flags(program: Program) -> Iterator[tuple[str, Flag]]:
    for name, command in program.group.commands.items():
        for flag in _flags(command):
            yield name, flag


def _flags(command: click.Command) -> list[Flag]:
    return [parameter for parameter in command.params if isinstance(parameter, Flag)]


def _row(flag: Flag) -> tuple[str, ...]:
    names = ", ".join(map(code, (*flag.opts, *flag.secondary_opts)))
    variables = ", ".join(map(code, _variables(flag)))
    return names, _value(flag), _default(flag), variables, _meaning(flag)


def _variables(flag: Flag) -> list[str]:
    given = [flag.envvar] if isinstance(flag.envvar, str) else list(flag.envvar or ())
    return [*given, flag.negation] if flag.negation else given


def _meaning(flag: Flag) -> str:
    return _DEFAULT.sub("", flag.help or "")


def _value(flag: Flag) -> str:
    kind = flag.type
    if flag.is_flag:
        return "switch"
    if isinstance(kind, click.Choice):
        return ", ".join(map(code, kind.choices))
    if isinstance(kind, click.IntRange):
        return f"number, {kind.min} or more" if kind.max is None else f"{kind.min} to {kind.max}"
    words = flag.metavar or ("path" if isinstance(kind, click.Path) else "text")
    # A form such as HOST=RUNNER is shown as it is; a plain word is one of ours.
    shown = words.lower() if words.isalpha() else code(words)
    return f"{shown}, repeated" if flag.multiple else shown


def _default(flag: Flag) -> str:
    if flag.required:
        return "required"
    if written := _DEFAULT.search(flag.help or ""):
        return written[1]
    if isinstance(flag.show_default, str):
        # Of two flags the one that holds unless the other is given; else the values in words.
        return code(flag.opts[0]) if flag.secondary_opts else flag.show_default
    given = flag.default
    return (
        code(str(given))
        if isinstance(given, str | int | Path) and given not in ("", False)
        else _NOTHING
    )


def _sources(head: str, sources: Iterable[VariableSource]) -> str:
    return table((head, "read for"), ((code(one.name), one.purpose) for one in sources))


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]


def _slug(topic: str) -> str:
    return re.sub(r"[^\w -]", "", topic.lower()).replace(" ", "-")
