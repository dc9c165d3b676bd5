"""Runs a page as a story: writes its files, runs its commands, compares what they print."""

import io
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.cli.commands.main import run_cli
from tests.docs.blocks import ROOT, Block, Command, Where
from tests.docs.reading import is_compose, parse_block

_SECONDS = 60.0
_PAUSE = 0.5
_DATE = r"[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d(?: [A-Z+-]\S*)?"
_QUOTED = re.compile(r"'[^']*'|\"[^\"$`\\]*\"")
_SHELL = re.compile(r"[|&;<>()$`\\\"'*?\[\]{}~!#\n]")
# What bash changes on its own, and what belongs to the story's machinery.
_OF_BASH = {"_", "SHLVL", "PWD", "OLDPWD", "STORY_LEFT"}
_OURS = ("BACKREST_", "DOCKER_", "COMPOSE_")
_SCRIPT = """\
trap 'status=$?; { pwd; env -0; } >"$STORY_LEFT"; exit $status' EXIT
"""


class StoryError(AssertionError):
    """A story that does not go as its page tells it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended: what it printed, without and with what it said of errors."""

    status: int
    output: str
    both: str

    def shows(self, expected: str) -> bool:
        """Return whether a page shows what was printed; the log beside it may be left out."""
        shown = expected.strip()
        return not shown or matches(expected, self.output) or matches(expected, self.both)


class _Both(io.StringIO):
    """Standard output that is also seen where standard error goes."""

    def __init__(self, beside: io.StringIO) -> None:
        super().__init__()
        self._beside = beside

    def write(self, text: str) -> int:
        """Write to both, so the order of the two is kept."""
        self._beside.write(text)
        return super().write(text)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a story is told.

    `variables` are added to the environment, `prefix` goes before each command of the shell,
    `seconds` is what it may take. `aliases` tell how things that a page names are called
    here, page → here: they are put into commands and taken out of what is printed.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    seconds: float = _SECONDS
    aliases: Mapping[str, str] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """Call things as they are called here."""
        for name, alias in self.aliases.items():
            text = text.replace(name, alias)
        return text

    def as_told(self, text: str) -> str:
        """Call things as the page calls them."""
        for name, alias in self.aliases.items():
            text = text.replace(alias, name)
        return text


@dataclass
class Story:
    """The state between two commands: the folder, and the environment."""

    folder: Path
    environment: dict[str, str]
    stage: Stage = field(default_factory=Stage)
    times: list[tuple[str, float]] = field(default_factory=list)
    """Each command that was run, and how many seconds until it went as told."""
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        """Remember where the story began."""
        self.folder = self.folder.resolve()
        self.root = self.folder

    def tell(self, block: Block) -> None:
        """Run one block: write its file, lint it, or run its commands in their order."""
        if block.language == "console":
            for command in block.commands:
                self._run(block, command)
            return
        tree = parse_block(block)
        if block.file:
            self._write(block)
        if is_compose(tree):
            self._lint(block)

    def _write(self, block: Block) -> None:
        file = (self.folder / block.file).resolve()
        if not file.is_relative_to(self.root):
            raise StoryError(f"{block.place}: {block.file} lies outside of the story")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{block.text}\n")

    def _lint(self, block: Block) -> None:
        file = self.folder / (block.file or f"block-at-line-{block.line}.yaml")
        file.write_text(f"{block.text}\n")
        arguments = ["lint", "--config", str(self.root / "no-document"), "--compose", str(file)]
        ending = self._call(arguments)
        if not block.file:
            file.unlink()
        if ending.status != block.status:
            raise StoryError(f"{block.place}: lint ends with {ending.status}\n{ending.both}")

    def _run(self, block: Block, command: Command) -> None:
        begun = time.monotonic()
        ends = begun + (self.stage.seconds if command.again else 0.0)
        while wrong := self._wrong(command):
            if time.monotonic() > ends:
                raise StoryError(f"{block.page}:{command.line}: $ {command.text}\n{wrong}")
            select.select([], [], [], _PAUSE)
        self.times.append((command.text, time.monotonic() - begun))

    def _wrong(self, command: Command) -> str:
        """Run a command, and say what of it is not as told."""
        arguments = plain_arguments(command.text)
        # What listens on the stage is heard from within its network only.
        if arguments is None or (self.stage.prefix and "127.0.0.1" in command.text):
            ending = self._shell(self.stage.here(command.text))
        elif arguments[:1] == ["daemon"]:
            return "a daemon does not end; mark it parsed"
        else:
            ending = self._call([self.stage.here(argument) for argument in arguments])
        if ending.status != command.status:
            return f"ends with {ending.status}, not {command.status}\n{ending.both}"
        if not ending.shows(command.expected):
            return f"prints\n{ending.both}\nand not\n{command.expected}"
        return ""

    def _call(self, arguments: list[str]) -> Ending:
        """Run a command of ours in this process."""
        both = io.StringIO()
        output = _Both(both)
        with (
            _standing_in(self.folder, self.environment),
            redirect_stdout(output),
            redirect_stderr(both),
        ):
            try:
                status = run_cli(arguments)
            except SystemExit as end:  # healthcheck ends by itself
                status = int(end.code or 0)
        return Ending(status, *map(self.stage.as_told, (output.getvalue(), both.getvalue())))

    def _shell(self, line: str) -> Ending:
        """Run a line of shell; where it leaves folder and environment the next one goes on."""
        left = self.root.parent / f"{self.root.name}.left"
        with subprocess.Popen(
            [*self.stage.prefix, "bash", "-c", _SCRIPT + line],
            cwd=self.folder,
            env=self.environment | {"STORY_LEFT": str(left)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                texts = process.communicate(timeout=self.stage.seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise StoryError(
                    f"$ {line}\ndoes not end within {self.stage.seconds:g} s"
                ) from None
        self._go_on_from(left.read_text(errors="surrogateescape"))
        output, beside = (self.stage.as_told(text.decode("utf-8", "replace")) for text in texts)
        return Ending(process.returncode, output, output + beside)

    def _go_on_from(self, left: str) -> None:
        folder, _, entries = left.partition("\n")
        self.folder = Path(folder)
        pairs = (entry.split("=", 1) for entry in entries.split("\0") if "=" in entry)
        self.environment = {name: value for name, value in pairs if name not in _OF_BASH}


def begin_story(folder: Path, stage: Stage = Stage()) -> Story:
    """Begin a story in an empty folder, our programs on its PATH.

    No engine is in reach, unless the stage names one.
    """
    programs = folder.parent / f"{folder.name}.bin"
    programs.mkdir()
    folder.mkdir(exist_ok=True)
    _install(programs / "backrest-sidecar", sys.executable, "-m", "sidecar")
    _install(programs / "backrest-runner", sys.executable, "-m", "sidecar.runner")
    if "DOCKER_HOST" in stage.variables and (docker := shutil.which("docker")):
        client = str(Path(__file__).with_name("docker_client.py"))
        _install(programs / "docker", sys.executable, client, docker)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    variables = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DOCKER_HOST": f"unix://{programs}/no-engine.sock",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    return Story(folder, {**kept, **variables, **stage.variables}, stage)


def _install(program: Path, *words: str) -> None:
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)


def told_blocks(blocks: tuple[Block, ...], *, engine: bool) -> Iterator[Block]:
    """Choose what runs: everything but what is only parsed, or also not what needs an engine."""
    for block in blocks:
        if block.where is Where.ANYWHERE or (engine and block.where is Where.ENGINE):
            yield block


def plain_arguments(line: str) -> list[str] | None:
    """Return the arguments of a plain `backrest-sidecar` line; None if it takes a shell."""
    if not line.startswith("backrest-sidecar ") or _SHELL.search(_QUOTED.sub("", line)):
        return None
    return shlex.split(line)[1:]


def matches(expected: str, printed: str) -> bool:
    """Compare, with the wildcards of the conventions; blanks at the ends do not count."""
    lines = [line.rstrip() for line in expected.strip("\n").split("\n")]
    pattern = "".join(map(_pattern_of, lines))
    return re.fullmatch(pattern, f"{_tidy(printed)}\n" if printed.strip() else "") is not None


def _pattern_of(line: str) -> str:
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    parts = re.split(r"(NEXT RUN|\.\.\.)", line)
    known = {"NEXT RUN": _DATE, "...": ".*"}
    return "".join(known.get(part) or re.escape(part) for part in parts) + r"\n"


def _tidy(printed: str) -> str:
    return "\n".join(line.rstrip() for line in printed.strip("\n").split("\n"))


@contextmanager
def _standing_in(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    before, where = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)
