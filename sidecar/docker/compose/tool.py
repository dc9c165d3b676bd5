"""Run Docker Compose to resolve files: the plugin, or the older program."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.lib.errors import InventoryError

_PROBE_SECONDS = 20.0
_MAX_LINES = 20
_WARNING = re.compile(
    r'(?:time="[^"]*" )?level=warning msg="(?P<quoted>(?:[^"\\]|\\.)*)".*|WARNING: (?P<plain>.*)'
)


@dataclass(frozen=True, slots=True)
class ComposeTool:
    """An installed Compose: the words that call it, and the first line of its `version`."""

    command: tuple[str, ...]
    version: str

    @property
    def name(self) -> str:
        """Its name for people: `docker compose`."""
        return " ".join((Path(self.command[0]).name, *self.command[1:]))

    @property
    def is_legacy(self) -> bool:
        """Whether it is docker-compose 1, which knows neither `name` nor newer keys."""
        return re.search(r"version v?1\.", self.version) is not None


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a program printed: standard output, and the lines of standard error."""

    status: int
    text: str
    lines: tuple[str, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """The first lines, warnings as their text alone."""
        return tuple([_WARNING.sub(_message, line) for line in self.lines[:_MAX_LINES]])

    @property
    def errors(self) -> tuple[str, ...]:
        """The last lines that are no warnings: what went wrong stands at the end."""
        errors = [line for line in self.lines if not _WARNING.match(line)]
        return tuple(errors[-_MAX_LINES:]) or self.complaints


def find_tool(environment: Mapping[str, str]) -> ComposeTool | None:
    """Find `docker compose`, else `docker-compose`, on the PATH of `environment`."""
    for command in (("docker", "compose"), ("docker-compose",)):
        program = shutil.which(command[0], path=environment.get("PATH", os.defpath))
        if program is None:
            continue
        words = (program, *command[1:])
        try:
            answer = run_program((*words, "version"), environment, _PROBE_SECONDS)
        except InventoryError:
            # A program that cannot even print its version cannot be used.
            continue
        if answer.status == 0:
            return ComposeTool(words, answer.text.partition("\n")[0].strip())
    return None


def run_config(
    tool: ComposeTool, files: Sequence[Path], environment: Mapping[str, str], timeout: float
) -> ToolOutput:
    """Run `config`, which merges and resolves `files`, within `timeout` seconds."""
    chosen = [word for file in files for word in ("-f", str(file))]
    return run_program((*tool.command, *chosen, "config"), environment, timeout)


def run_program(
    command: Sequence[str], environment: Mapping[str, str], timeout: float
) -> ToolOutput:
    """Run a program that only reads; raise InventoryError if it does not start or end.

    It gets its own process group, because a plugin outlives a killed `docker`.
    """
    shown = f"`{' '.join((Path(command[0]).name, *command[1:]))}`"
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise InventoryError(f"{shown} could not be started: {error.strerror}") from None
    with process:
        try:
            output, complaints = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise InventoryError(f"{shown} did not end within {timeout:g} s") from None
    lines = [line for line in complaints.decode("utf-8", "replace").splitlines() if line.strip()]
    return ToolOutput(process.returncode, output.decode("utf-8", "replace"), tuple(lines))


def _message(match: re.Match[str]) -> str:
    """Return the text of a warning: `time="…" level=warning msg="…"`, or `WARNING: …`."""
    quoted = match["quoted"]
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["plain"]
