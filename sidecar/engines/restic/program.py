"""Run restic on a repository, and read how it ends."""

import math
import signal
from dataclasses import replace
from functools import cached_property, partial

from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import (
    Command,
    CommandResult,
    EngineError,
    FailureClass,
    OnStart,
    PieceTaker,
    Report,
    ResultKind,
)
from sidecar.engines.masking import masking_of
from sidecar.engines.program import CommandRunner, LineTaker
from sidecar.engines.restic import commands as argv
from sidecar.engines.restic.access import ResticAccess, resolve_restic_access
from sidecar.engines.restic.features import FeatureMemo, Features
from sidecar.engines.restic.interpret import FinishedCommand, Verb, interpret
from sidecar.engines.restic.messages import ProgressParser
from sidecar.engines.restic.options import ResticOptions
from sidecar.engines.restic.retrying import RetryWatch
from sidecar.lib.process import (
    MOST_KEPT,
    ChildOptions,
    Completed,
    ProcessRunner,
    SilenceTimeout,
)

_MEMO = FeatureMemo()
_VERSION_SECONDS = 30.0
# A list of a hundred thousand snapshots is one line.
_MOST_LISTED = 1 << 26
_RETRYING_SHARE = 1 / 6
# Restic before 0.16 removes its lock at SIGINT, but ends at once by SIGTERM.
_ASKS = (signal.SIGINT, signal.SIGTERM)


class Program:
    """Runs commands of one restic on one repository, in the repository's environment."""

    def __init__(
        self,
        repo: Repo,
        runner: ProcessRunner,
        options: ResticOptions,
        on_start: OnStart | None,
    ) -> None:
        self.repo = repo
        self.limits = options.limits
        self._records = options.locking.records
        self._runner = runner
        self._environ = options.environ
        self._name = options.restic
        self._commands = CommandRunner("restic", runner, on_start)
        self._unrecorded = CommandRunner("restic", runner)

    @cached_property
    def access(self) -> ResticAccess:
        """How the repository is reached. Raises EngineError."""
        return resolve_restic_access(self.repo, self._environ, self._name, self.features)

    def features(self) -> Features:
        """Return what this restic can do. Raises EngineError if it cannot be started."""
        return _features(self._runner, self._name, self._environ.get("PATH"))

    def judge(
        self,
        command: Command,
        verb: Verb = Verb.OTHER,
        *,
        plan: RunPlan | None = None,
        report: Report | None = None,
        seconds: float | None = None,
    ) -> CommandResult:
        """Run a command that may take a lock, and interpret how it ends.

        It may go `seconds` without a sign of progress, else as long as all commands. Raises
        EngineError if it cannot be started.
        """
        patience = self._runner.silence_timeout(seconds or self.limits.stall)
        progress = ProgressParser(report, patience, self.limits.monotonic, self.limits.every)
        # Forget answers in one line that names every snapshot; a restore may have an error for
        # each entry, and only all of them tell that it has restored all contents.
        keep = _MOST_LISTED if verb in {Verb.FORGET, Verb.RESTORE} else MOST_KEPT
        watch = self._watch(patience, seconds)
        completed = self._run(command, patience, progress.take, keep, watch.take, may_lock=True)
        return self._interpret(verb, completed, patience, plan, watch)

    def read(
        self,
        command: Command,
        *,
        seconds: float | None = None,
        on_line: LineTaker | None = None,
        is_recorded: bool = True,
    ) -> bytes:
        """Run a command and return its output. Raises EngineError also if it fails.

        It may take `seconds`. With `on_line`, which gets each line, this is the limit of the
        pause between two lines, and only the last part of the output is returned. `on_start` is
        told of it if it `is_recorded`: of two at once, only the one that may hold a lock.
        """
        patience = self._runner.silence_timeout(seconds or self.limits.stall)
        watch = self._watch(patience, seconds)

        def take(line: bytes) -> None:
            patience.renew()
            if on_line is not None:
                on_line(line)

        on_each, keep = (take, MOST_KEPT) if on_line else (None, _MOST_LISTED)
        completed = self._run(command, patience, on_each, keep, watch.take, is_recorded=is_recorded)
        done = self._interpret(Verb.OTHER, completed, patience, None, watch)
        _require_success(done)
        return completed.out

    def copy(self, command: Command, take: PieceTaker) -> None:
        """Run a command whose output is a content, and pass that on as it is.

        No message repeats any of it. It may go as long between two pieces as all commands between
        two lines. Raises EngineError also if it fails.
        """
        patience = self._runner.silence_timeout(self.limits.stall)
        watch = self._watch(patience, None)

        def take_piece(piece: bytes) -> None:
            take(piece)
            patience.renew()

        completed = self._run(command, patience, None, 1, watch.take, on_piece=take_piece)
        done = self._interpret(Verb.OTHER, replace(completed, out=b""), patience, None, watch)
        _require_success(done)

    def _watch(self, patience: SilenceTimeout, seconds: float | None) -> RetryWatch:
        """Return what ends the wait where restic tries the same again and again."""
        retrying = min(self.limits.retrying, (seconds or math.inf) * _RETRYING_SHARE)
        return RetryWatch(retrying, patience.expire, self.limits.monotonic)

    def _interpret(
        self,
        verb: Verb,
        completed: Completed,
        patience: SilenceTimeout,
        plan: RunPlan | None,
        watch: RetryWatch,
    ) -> CommandResult:
        masking = masking_of(self.repo, self.access, plan)
        ending = FinishedCommand(completed, masking, patience.seconds or 0.0, watch.cause)
        return interpret(verb, ending)

    def _run(
        self,
        command: Command,
        patience: SilenceTimeout,
        on_line: LineTaker | None = None,
        keep: int = MOST_KEPT,
        on_error_line: LineTaker | None = None,
        *,
        may_lock: bool = False,
        is_recorded: bool = True,
        on_piece: PieceTaker | None = None,
    ) -> Completed:
        records = self._records if may_lock else None
        inherited = () if records is None else records.inherited
        commands = self._commands if is_recorded else self._unrecorded
        return commands.run(
            command,
            patience,
            on_line,
            options=ChildOptions(
                _ASKS,
                inherited,
                on_error_line,
                on_start=None if records is None else partial(records.note, self.repo.id),
                keep=keep,
                on_piece=on_piece,
            ),
        )


def _require_success(done: CommandResult) -> None:
    if done.kind is not ResultKind.SUCCESS:
        failure = done.failure or FailureClass.UNKNOWN
        raise EngineError(failure, done.reason, excerpt=done.excerpt)


def find_restic(runner: ProcessRunner, options: ResticOptions) -> Features:
    """Return what the restic of the options can do. Raises EngineError if it cannot be started."""
    return _features(runner, options.restic, options.environ.get("PATH"))


def _features(runner: ProcessRunner, name: str, path: str | None) -> Features:
    command, commands = argv.render_version(name), CommandRunner("restic", runner)
    patience = runner.silence_timeout(_VERSION_SECONDS)
    return _MEMO.features(name, path, lambda: commands.run(command, patience).out)
