"""A process that puts right what an earlier one left, runs a plan once, and may die of it.

usage: one_run.py FOLDER [--die N] [--resume-only]

FOLDER holds `config.json`, and the journal in `.runner/`. Each change of the journal is two
steps: right before it, and right after it; at step N of its run, or with --resume-only of
what it puts right, the process kills itself. Lines of JSON on standard output tell what came
of it: the outcomes of what was put right with the locks that the repository then has and the
state of CONTAINER, after the run its outcome, last the number of steps.
"""

import argparse
import json
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from sidecar.backrest.reading import Config, read_config
from sidecar.engines.restic import ResticEngines, ResticOptions
from sidecar.lib.process import ProcessRunner
from sidecar.runner.due import Job, JobKind
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.leftover_processes import marked
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Journal, Run, RunCause
from sidecar.runner.journal import journal as journal_module
from sidecar.runner.journal.database import Change, Database
from sidecar.runner.notify.messages import QueuedMessage

T = TypeVar("T")


class MortalDatabase(Database):
    """Counts the steps, and kills its process at one of them."""

    steps = 0
    die_at = 0

    def change(self, change: Change[T]) -> T:
        """Make a change, one step before it and one after it."""
        self.step()
        result = super().change(change)
        self.step()
        return result

    @classmethod
    def step(cls) -> None:
        """Count one, which may be the last."""
        cls.steps += 1
        if cls.steps == cls.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def make_session(journal: Journal, document: Path) -> Session:
    """Make a session as the daemon does."""
    environ = marked(os.environ, journal.path.parent)

    def programs(runner: ProcessRunner) -> Programs:
        # No hook here tells anybody anything.
        engines = ResticEngines(runner, ResticOptions(environ))
        return Programs(engines, HookRunner(runner, document, Refusing()))

    before, after = (ProcessRunner(environ, grace=5.0) for _ in range(2))
    options = SessionOptions(hook_patience=float(os.environ.get("PATIENCE", "5")), grace=5.0)
    session = Session(journal, programs(before), programs(after), EndedRuns(), options)

    def stop(*_: object) -> None:
        session.stop()
        threading.Thread(target=before.stop_all).start()

    signal.signal(signal.SIGTERM, stop)
    return session


class Refusing:
    """A queue that takes no message."""

    def post(self, message: QueuedMessage) -> None:
        """Take none."""
        raise AssertionError(message)


def say(**fields: object) -> None:
    """Tell the test."""
    print(json.dumps(fields), flush=True)  # noqa: T201 - a script


def outcome_of(run: Run) -> str:
    """Return how a run ended."""
    return "none" if run.ended is None else str(run.ended.outcome)


def look(config: Config, resumed: Sequence[Run]) -> None:
    """Tell what the world is like once everything was put right."""
    repository = {"RESTIC_PASSWORD": config.repos[0].password}
    words = ["restic", "-r", config.repos[0].uri, "--no-lock", "list", "locks"]
    locks = subprocess.run(
        words, env=os.environ | repository, check=True, capture_output=True, text=True
    )
    words = ["docker", "inspect", "--format", "{{.State.Status}}", os.environ["CONTAINER"]]
    state = subprocess.run(words, check=True, capture_output=True, text=True)
    outcomes = [outcome_of(run) for run in resumed]
    say(resumed=outcomes, locks=locks.stdout.split(), state=state.stdout.strip())


def main(folder: Path, die_at: int, *, is_resume_only: bool) -> None:
    """Do it all."""
    document = folder / "config.json"
    config = read_config(json.loads(document.read_text()))
    with (
        patch.object(journal_module, "Database", MortalDatabase),
        Journal(folder / ".runner" / "journal.sqlite") as journal,
    ):
        session = make_session(journal, document)
        MortalDatabase.die_at = die_at if is_resume_only else 0
        resumed = session.recover_runs(config)
        look(config, resumed)
        if not is_resume_only:
            MortalDatabase.steps, MortalDatabase.die_at = 0, die_at
            plan = config.plans[0]
            run = session.run(Job(JobKind.BACKUP, plan.id, plan.repo), config, RunCause.MANUAL)
            say(outcome=outcome_of(run), reason=run.ended and run.ended.reason)
        say(steps=MortalDatabase.steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die", type=int, default=0)
    parser.add_argument("--resume-only", action="store_true")
    given = parser.parse_args()
    main(given.folder, given.die, is_resume_only=given.resume_only)
