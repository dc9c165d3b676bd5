"""Run the programs of an engine: the one place that starts them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sidecar.engines.base import Command, EngineError, FailureClass, OnStart
from sidecar.lib.process import Child, ChildOptions, Completed, ProcessRunner, SilenceTimeout

LineTaker = Callable[[bytes], None]
_USUAL = ChildOptions()


@dataclass(frozen=True, slots=True)
class CommandRunner:
    """Runs the commands of one program.

    Attributes:
        program: what people call it.
        runner: starts it.
        on_start: gets each child.
    """

    program: str
    runner: ProcessRunner
    on_start: OnStart | None = None

    def run(
        self,
        command: Command,
        patience: SilenceTimeout,
        on_line: LineTaker | None = None,
        *,
        script: bytes = b"",
        options: ChildOptions = _USUAL,
    ) -> Completed:
        """Run a command to its end; it is ended where `patience`, which `on_line` renews, runs out.

        `script` is its standard input. The child is told to the options' `on_start` first. Raises
        EngineError if it cannot be started.
        """

        def start(child: Child) -> None:
            for tell in (options.on_start, self.on_start):
                if tell is not None:
                    tell(child)

        try:
            return self.runner.run(
                command.argv,
                env=command.env,
                script=script,
                timeout=patience,
                on_line=on_line,
                options=replace(options, on_start=start),
            )
        except InterruptedError as error:
            message = f"{self.program} was not started: the runner stops"
            raise EngineError(FailureClass.INTERRUPTED, message) from error
        except OSError as error:
            name = error.filename or command.argv[0]
            message = f"{name} cannot be started: {error.strerror}"
            is_absent = isinstance(error, FileNotFoundError)
            hint = f"install {self.program}, or say where it is" if is_absent else ""
            raise EngineError(FailureClass.NO_PROGRAM, message, hint) from error
