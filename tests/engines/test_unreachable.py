"""Repositories that do not answer, with a real restic: nothing is stopped for them, others run."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidecar.engines.base import FailureClass
from sidecar.engines.options import CommandTimeouts
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import Event, ProgressHub, RunFinished
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Run, RunOutcome
from sidecar.runner.loader import load
from sidecar.runner.parts import RunnerParts, assemble
from sidecar.runner.pool import Pool
from sidecar.runner.settings import RunnerSettings, Running
from tests.engines.bench import RESTIC

SECONDS = 60.0
GUID = "a" * 64
NEW = ("mute", "here")
START, END = "CONDITION_SNAPSHOT_START", "CONDITION_SNAPSHOT_END"


@dataclass
class World:
    """A runner of two workers, and a plan `PLACE` for each repository of the document."""

    folder: Path
    addresses: dict[str, str]
    ended: list[Run] = field(default_factory=list)
    change: threading.Condition = field(default_factory=threading.Condition)

    @property
    def log(self) -> Path:
        """Where START hooks say that they have stopped something."""
        return self.folder / "stopped"

    def write(self) -> Path:
        """Write the document."""
        repos, plans = [], []
        (self.folder / "data").mkdir()
        (self.folder / "data" / "file").write_text("hello")
        for name, address in self.addresses.items():
            repo = {"id": name, "uri": address, "password": "x"}
            repos.append({**repo, **({"autoInitialize": True} if name in NEW else {"guid": GUID})})
            hooks = [self.hook(f"echo {name} >>{self.log}", START), self.hook("true", END)]
            paths = [str(self.folder / "data")]
            plan = {"id": name, "repo": name, "paths": paths, "hooks": hooks}
            plans.append({**plan, "schedule": {"cron": "0 3 1 1 *"}})
        config = self.folder / "config.json"
        document = {"modno": 1, "version": 6, "instance": "here", "repos": repos, "plans": plans}
        config.write_text(json.dumps(document))
        return config

    def hook(self, command: str, condition: str) -> dict[str, Any]:
        """Return a hook that runs a command."""
        return {"conditions": [condition], "actionCommand": {"command": command}}

    def take(self, event: Event) -> None:
        """Note how a run ended."""
        if isinstance(event, RunFinished):
            assert event.run is not None
            with self.change:
                self.ended.append(event.run)
                self.change.notify_all()

    def run(self, parts: RunnerParts, config: Path, *names: str) -> None:
        """Run the plans in this order, and wait for all of them."""
        hub = ProgressHub()
        jobs = JobRunner(parts.execution, parts.stages, hub, answers_fires=False)
        parts.execution.document.take(load(RunnerSettings(config).files, {}))
        pool = Pool(jobs, 2, parts.rules)
        with ExitStack() as stack:
            for job in (Job(JobKind.BACKUP, name, name) for name in names):
                stack.enter_context(hub.subscribe(job, self.take))
                pool.submit(job)
            pool.start()
            with self.change:
                assert self.change.wait_for(lambda: len(self.ended) == len(names), SECONDS)
        assert pool.close(SECONDS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return one with a server that never answers, one that is gone, and a folder."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = server.getsockname()[1]
        yield World(
            tmp_path,
            {
                "silent": f"rest:http://127.0.0.1:{silent}/",
                "mute": f"rest:http://127.0.0.1:{silent}/other/",
                "gone": f"rest:http://127.0.0.1:{closed}/",
                "here": str(tmp_path / "repo"),
            },
        )


def test_what_does_not_answer_stops_nothing_and_keeps_no_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails before its START hooks, by a bounded probe; right after that it is not asked."""
    monkeypatch.setattr(
        "sidecar.runner.parts.CommandTimeouts", partial(CommandTimeouts, probe=8.0, retrying=0.5)
    )
    config = world.write()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(world.folder),
        "DOCKER_HOST": f"unix://{world.folder}/none.sock",
    }
    settings = RunnerSettings(config, running=Running(restic=RESTIC))
    with assemble(settings, environ) as parts:
        world.run(parts, config, "silent", "mute", "gone", "here")
        first, world.ended = world.ended, []
        world.run(parts, config, "silent", "mute", "gone", "here")
        second = world.ended

    away = {
        "silent": FailureClass.TIMEOUT,
        "mute": FailureClass.TIMEOUT,
        "gone": FailureClass.NETWORK,
    }
    for runs in (first, second):
        ended = {run.job.subject: run.ended for run in runs if run.ended is not None}
        assert RunOutcome.SUCCESS is ended.pop("here").outcome
        assert away == {name: one.failure for name, one in ended.items()}
    assert ["here", "here"] == world.log.read_text().split()
