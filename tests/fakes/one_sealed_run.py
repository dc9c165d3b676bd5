"""A process that puts right what an earlier one left, runs a plan that is sealed, and may die of it.

usage: one_sealed_run.py FOLDER [--die N]

Hooks write `stopped` and `running` into FOLDER/state. The engine captures into a folder of its own
and seals by renaming it. Right before and after each change of the journal, and within what the
engine does, is a step: at step N of its run the process kills itself. Lines of JSON on standard
output tell what was put right and the state after it, then how the run ended, what the state was
when it was sealed, and the number of steps.
"""

import argparse
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sidecar.backrest.plan import OnError
from sidecar.backrest.reading import Config, Repo, RunHook, RunPlan
from sidecar.engines.base import (
    BackupType,
    CommandResult,
    HeldLock,
    OnStart,
    Report,
    ResultKind,
    Stats,
)
from sidecar.lib.process import ProcessRunner
from sidecar.runner.due import Job, JobKind
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.leftover_processes import marked
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Journal, Run, RunCause
from sidecar.runner.journal import journal as journal_module
from tests.fakes.one_run import MortalDatabase, Refusing, say

STATS = Stats(files_new=1, files_processed=1)
START, END = "CONDITION_SNAPSHOT_START", "CONDITION_SNAPSHOT_END"
ERROR, SUCCESS = "CONDITION_SNAPSHOT_ERROR", "CONDITION_SNAPSHOT_SUCCESS"


@dataclass
class Sealing:
    """An engine that makes a snapshot in two steps, each of which may be its last."""

    folder: Path

    @property
    def part(self) -> Path:
        """What is captured."""
        return self.folder / "store" / ".partial"

    def make(self, repo: Repo, on_start: OnStart | None = None) -> Any:
        """Be the engine of every repository."""
        del repo, on_start
        return self

    def capture(
        self,
        plan: RunPlan,
        instance: str,
        report: Report,
        parent: str = "",
        wanted: BackupType | None = None,
    ) -> CommandResult:
        """Copy the source, after what an earlier one has left is gone."""
        del plan, instance, report, parent, wanted
        shutil.rmtree(self.part, ignore_errors=True)
        MortalDatabase.step()
        shutil.copytree(self.folder / "source", self.part)
        MortalDatabase.step()
        return CommandResult(ResultKind.SUCCESS, stats=STATS, is_sealed=False)

    def seal(self, plan: RunPlan, captured: CommandResult, report: Report) -> CommandResult:
        """Rename the copy, by the number of those that are there."""
        del plan, report
        say(sealed_while=(self.folder / "state").read_text().strip())
        MortalDatabase.step()
        name = f"{len(list((self.folder / 'store').glob('snapshot-*'))):08}"
        self.part.rename(self.folder / "store" / f"snapshot-{name}")
        MortalDatabase.step()
        return CommandResult(ResultKind.SUCCESS, snapshot=name, stats=captured.stats)

    def locks(self) -> tuple[HeldLock, ...]:
        """Have none."""
        return ()

    def unlock(self) -> CommandResult:
        """Have none."""
        return CommandResult(ResultKind.SUCCESS)

    def snapshots(self, plan: RunPlan | None, instance: str) -> tuple[()]:
        """Tell of none: nothing is forgotten here."""
        del plan, instance
        return ()


def hook(word: str, *conditions: str) -> RunHook:
    """Return a hook that writes what the state is from then on, or that adds a word to the log."""
    where = ">>log" if word == "good" else ">state"
    return RunHook(
        frozenset(conditions),
        "actionCommand",
        {"command": f"cd '{{{{ .Repo.Id }}}}' && echo {word} {where}"},
        OnError.FATAL,
    )


def make_session(journal: Journal, folder: Path) -> Session:
    """Make a session as the daemon does, but for its engine."""
    environ = marked(os.environ, journal.path.parent)

    def programs() -> Programs:
        runner = ProcessRunner(environ, grace=5.0)
        return Programs(Sealing(folder), HookRunner(runner, folder / "config.json", Refusing()))

    options = SessionOptions(hook_patience=5.0, grace=5.0)
    return Session(journal, programs(), programs(), EndedRuns(), options)


def outcome_of(run: Run) -> str:
    """Return how a run ended."""
    return "none" if run.ended is None else str(run.ended.outcome)


def main(folder: Path, die_at: int) -> None:
    """Do it all."""
    hooks = (hook("stopped", START), hook("running", END, ERROR), hook("good", SUCCESS))
    plan = RunPlan("web", str(folder), (str(folder / "source"),), hooks=hooks)
    config = Config("here", (Repo(str(folder), "/repo"),), (plan,))
    with (
        patch.object(journal_module, "Database", MortalDatabase),
        Journal(folder / ".runner" / "journal.sqlite") as journal,
    ):
        session = make_session(journal, folder)
        resumed = [outcome_of(run) for run in session.recover_runs(config)]
        say(resumed=resumed, state=(folder / "state").read_text().strip())
        MortalDatabase.steps, MortalDatabase.die_at = 0, die_at
        run = session.run(Job(JobKind.BACKUP, plan.id, plan.repo), config, RunCause.MANUAL)
        say(outcome=outcome_of(run), reason=run.ended and run.ended.reason)
        say(steps=MortalDatabase.steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die", type=int, default=0)
    given = parser.parse_args()
    main(given.folder, given.die)
