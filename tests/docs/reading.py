"""Reads blocks without running them: each language with its own parser, commands with click's."""

import configparser
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import yaml

from sidecar.backrest.engine_options import ENGINE_OPTIONS
from sidecar.cli.commands.main import cli
from sidecar.cli.runner.main import cli as runner_cli
from sidecar.reconciler.healthcheck import HEALTHCHECK
from sidecar.runner.healthcheck import HEALTHCHECK as RUNNER_HEALTHCHECK
from tests.docs.blocks import Block


@dataclass(frozen=True, slots=True)
class Program:
    """A command line of ours: its name, its service in our Compose files, how its variables begin.

    `default` is the command that runs where none is named. Its image is called as it is.
    """

    name: str
    service: str
    prefix: str
    group: click.Group
    healthcheck: frozenset[str]
    default: str = ""

    @property
    def image(self) -> str:
        """Its image's name without a tag."""
        return f"ghcr.io/backrest-sidecar/{self.name}"


SIDECAR = Program(
    "backrest-sidecar",
    "sidecar",
    "BACKREST_SIDECAR_",
    cli,
    frozenset(HEALTHCHECK.variables),
    "reconcile",
)
RUNNER = Program(
    "backrest-runner",
    "runner",
    "BACKREST_RUNNER_",
    runner_cli,
    frozenset(RUNNER_HEALTHCHECK.variables),
)
PROGRAMS = (SIDECAR, RUNNER)
# What separates simple commands, once shlex has cut the punctuation off the words.
_BETWEEN = re.compile(r"[|&;()<>]+")
_WORDS_OF_COMPOSE = ({"compose"}, {"docker-compose"})


class _Loader(yaml.SafeLoader):
    """Takes Compose's own tags, `!reset` and `!override`."""


def _construct_tagged(loader: _Loader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return None


for _tag in ("!reset", "!override"):
    _Loader.add_multi_constructor(_tag, _construct_tagged)


def load_yaml(text: str) -> Any:
    """Load YAML, one document or several, then as a list; raises yaml.YAMLError.

    A key given twice is refused, as Compose does.
    """
    for node in yaml.compose_all(text, _Loader):
        _refuse_twins(node)
    documents = list(yaml.load_all(text, _Loader))
    return documents[0] if len(documents) == 1 else documents


def _refuse_twins(node: yaml.Node) -> None:
    below = [*node.value] if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(None, None, "twice a key", node.start_mark)
        below = [value for _, value in node.value]
    for one in below:
        _refuse_twins(one)


def _read_console(text: str) -> None:
    """A console block: its commands are looked at one by one."""
    if not text.startswith("$ "):
        raise ValueError("a console block begins with a command, `$ `")


def _read_ini(text: str) -> Any:
    """Units of systemd are nearly INI; a key may stand several times."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def _read_picture(text: str) -> None:
    if re.search(r"^\$ ", text, re.MULTILINE):
        raise ValueError("text is for pictures and formats: a command belongs into console")


def check_shell(text: str) -> None:
    """Let bash read a script without running it; raises ValueError."""
    done = subprocess.run(
        ["bash", "-n", "-c", text],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"bash cannot read {text!r}: {done.stderr.strip()}")


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "yaml": load_yaml,
    "json": json.loads,
    "toml": tomllib.loads,
    "ini": _read_ini,
    "console": _read_console,
    "sh": check_shell,
    "bash": check_shell,
    "text": _read_picture,
}
"""What each language is read with; any other is refused."""


def parse_block(block: Block) -> Any:
    """Read a block by its language; raises ValueError with its place."""
    if block.language not in PARSERS:
        known = ", ".join(PARSERS)
        raise ValueError(f"{block.place}: language {block.language!r} is none of {known}")
    try:
        return PARSERS[block.language](block.text)
    except (ValueError, yaml.YAMLError, configparser.Error) as error:
        raise ValueError(f"{block.place}: {error}") from error


def is_compose(tree: Any) -> bool:
    """Return whether a parsed block is a Compose file, or a part of one."""
    return isinstance(tree, dict) and isinstance(tree.get("services"), dict)


def command_lines(block: Block) -> Iterator[str]:
    """Yield the shell lines of a block: of a console its commands, of a script all."""
    if block.language == "console":
        yield from (command.text for command in block.commands)
    elif block.language in ("sh", "bash"):
        yield from block.text.replace("\\\n", " ").splitlines()


def our_calls(line: str, program: Program = SIDECAR) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program of ours in a line of shell.

    Also of one inside of a container: after the image's name, and after its service in
    `docker compose run`, where the entry point stands before them.
    """
    for words in _simple_commands(line):
        for number, word in enumerate(words):
            before = set(words[:number])
            is_run = word == program.service and "run" in before and _is_of_compose(before)
            is_image = re.fullmatch(rf"{program.image}(:[\w.-]+)?", word)
            if word == program.name or is_run or is_image:
                if "pull" not in before and not {"image", "build"} & before:
                    yield words[number + 1 :]
                break


def _is_of_compose(words: set[str]) -> bool:
    return any(of_compose & words for of_compose in _WORDS_OF_COMPOSE)


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if _BETWEEN.fullmatch(word):
            # After `>` stands a file, no word of the command.
            yield found
            found = []
        else:
            found.append(word)
    yield found


def check_call(arguments: Sequence[str], program: Program = SIDECAR) -> None:
    """Let click parse the arguments of a call, without running it; raises ValueError."""
    given = list(arguments)
    if not given or given[0] in ("--help", "-h", "--version"):
        return
    name, *rest = given if not given[0].startswith("-") else [program.default, *given]
    if name == "healthcheck":
        _check_healthcheck(rest, program)
    elif name not in program.group.commands:
        raise ValueError(f"{program.name} {name}: there is no such command")
    else:
        _check_flags(program.group.commands[name], rest, program)


def _check_flags(command: click.Command, given: list[str], program: Program) -> None:
    shown = shlex.join([program.name, str(command.name), *given])
    try:
        command.make_context(command.name, given).close()
    except click.exceptions.Exit:
        return  # --help ends early
    except click.ClickException as error:
        raise ValueError(f"{shown}: {error.format_message()}") from error


def _check_healthcheck(given: list[str], program: Program) -> None:
    flags = {word.partition("=")[0] for word in given if word.startswith("-")}
    if unknown := flags - program.healthcheck - {"-h", "--help"}:
        raise ValueError(f"{program.name} healthcheck: no option {', '.join(sorted(unknown))}")


def check_services(tree: Any) -> None:
    """Check command, health check and variables of our own services in a Compose file."""
    for service in tree["services"].values():
        if not isinstance(service, dict):
            continue
        image = str(service.get("image", ""))
        for program in PROGRAMS:
            if re.fullmatch(rf"(.*/)?{program.name}([:@].*)?", image):
                _check_service(service, program)


def _check_service(service: Mapping[str, Any], program: Program) -> None:
    if command := _words(service.get("command")):
        check_call(command, program)
    test = _words((service.get("healthcheck") or {}).get("test"))
    if program.name in test:
        check_call(test[test.index(program.name) + 1 :], program)
    check_variables(_names(service.get("environment") or ()))


def _words(given: Any) -> list[str]:
    text = given if isinstance(given, str) else ""
    return shlex.split(text) if text else [str(word) for word in given or ()]


def _names(environment: Any) -> set[str]:
    return {str(entry).partition("=")[0] for entry in environment}


def check_variables(names: set[str]) -> None:
    """Check that variables with a prefix of ours are ones that a flag reads; raises ValueError."""
    prefixes = tuple(program.prefix for program in PROGRAMS)
    ours = {name for name in names if name.startswith(prefixes)}
    if unknown := ours - known_variables():
        raise ValueError(f"no flag reads {', '.join(sorted(unknown))}")


def known_variables() -> set[str]:
    """All variables that our commands read."""
    read = {name for parameter in _parameters() for name in _variables_of(parameter)}
    return read | {
        "BACKREST_SIDECAR_BACKREST_PASSWORD",
        "BACKREST_SIDECAR_NO_INCLUDE_PROJECT_NAME",
        "BACKREST_SIDECAR_NO_EVENTS",
    }


def _parameters() -> Iterator[click.Parameter]:
    for program in PROGRAMS:
        for command in program.group.commands.values():
            yield from command.params


def _variables_of(parameter: click.Parameter) -> Sequence[str]:
    given = parameter.envvar
    return [given] if isinstance(given, str) else given or ()


def known_flags() -> set[str]:
    """All flags of all our commands, and the options of the engines in `flags`."""
    named = {
        name for parameter in _parameters() for name in (*parameter.opts, *parameter.secondary_opts)
    }
    options = {option.name for listed in ENGINE_OPTIONS.values() for option in listed}
    flags = {name for name in named if name.startswith("--")}
    return flags | options | {"--help", "--version"}
