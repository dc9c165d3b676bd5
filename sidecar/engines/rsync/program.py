"""Run rsync and ssh."""

from collections.abc import Callable
from dataclasses import replace

from sidecar.engines.base import Command, OnStart, PieceTaker
from sidecar.engines.options import CommandTimeouts
from sidecar.engines.program import CommandRunner
from sidecar.lib.process import ChildOptions, Completed, ProcessRunner

_MOST_KEPT = 1 << 20
# The records of all snapshots of a plan are one output.
_MOST_READ = 1 << 26
_SHORT = ChildOptions(keep=_MOST_READ)
# rsync says nothing of files that it links.
_LONG = ChildOptions(returns_end_lines=True, lives_by_work=True, keep=_MOST_KEPT)


class RsyncProgram:
    """Runs command lines; `limits` tell how long they are waited for."""

    def __init__(
        self, runner: ProcessRunner, on_start: OnStart | None, limits: CommandTimeouts
    ) -> None:
        self._commands = CommandRunner("rsync", runner, on_start)
        self._limits = limits

    def run(
        self,
        command: Command,
        *,
        on_line: Callable[[bytes], None] | None = None,
        on_piece: PieceTaker | None = None,
        script: bytes = b"",
        is_short: bool = False,
    ) -> Completed:
        """Run a command to its end; `script` is its standard input.

        `on_piece` gets the output as it is; it is a content, of which the result has nothing.
        One that does nothing for too long is ended. Raises EngineError if it cannot be started.
        """
        limits = self._limits
        patience = self._commands.runner.silence_timeout(limits.probe if is_short else limits.stall)

        def take(line: bytes) -> None:
            patience.renew()
            if on_line is not None:
                on_line(line)

        def take_piece(piece: bytes) -> None:
            if on_piece is not None:
                on_piece(piece)
            patience.renew()

        if on_piece is not None:
            options = replace(_LONG, on_piece=take_piece, keep=1)
            done = self._commands.run(command, patience, options=options)
            return replace(done, out=b"")
        return self._commands.run(
            command,
            patience,
            take,
            script=script,
            options=_SHORT if is_short else _LONG,
        )


def was_ended(done: Completed) -> bool:
    """Return whether a program did not end by itself."""
    return done.stopped or done.timed_out
