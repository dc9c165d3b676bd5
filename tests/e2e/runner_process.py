"""The runner as a process of its own, on real data and with the real restic."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import Journal, Run
from sidecar.runner.settings import JOURNAL
from sidecar.web.client import ask_status
from sidecar.web.sockets import NoDaemon

ROOT = Path(__file__).parents[2]
WEB = Job(JobKind.BACKUP, "web", "store")
_SECONDS = 60.0
_LOOK_SECONDS = 0.02

# Stands in for restic where a backup has to last for as long as the test wants: it
# makes the file `began` and waits, and ends at once by SIGTERM. All else is real.
SLOW = """#!/bin/sh
for word; do
    if [ "$word" = backup ]; then touch "{began}"; exec tail -f /dev/null; fi
done
exec restic "$@"
"""


@dataclass
class RunnerFolder:
    """A folder with a document, a plan `web` in the repository `store`, and data."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place in (self.config.parent, self.data):
            place.mkdir(parents=True, exist_ok=True)
        (self.data / "file").write_text("hello")
        self.write()

    @property
    def config(self) -> Path:
        """The document."""
        return self.folder / "config" / "config.json"

    @property
    def state(self) -> Path:
        """Where the runner remembers things."""
        return self.config.parent / ".runner"

    @property
    def data(self) -> Path:
        """What is backed up."""
        return self.folder / "data"

    def plan(self, **fields: Any) -> dict[str, Any]:
        """Return the plan, with what is given changed."""
        usual = {"id": "web", "repo": "store", "paths": [str(self.data)]}
        return {**usual, "schedule": {"cron": "0 3 1 1 *"}, **fields}

    def write(self, *plans: dict[str, Any], **fields: Any) -> None:
        """Write the document."""
        store = {"id": "store", "uri": str(self.folder / "repo"), "password": "secret MARK"}
        document = {
            "modno": 1,
            "version": 6,
            "instance": "here",
            "repos": [{**store, "autoInitialize": True}],
            "plans": list(plans or [self.plan()]),
            **fields,
        }
        part = self.config.with_suffix(".part")
        part.write_text(json.dumps(document))
        part.replace(self.config)

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the words of a command on this document."""
        return [
            sys.executable,
            "-m",
            "sidecar.runner",
            name,
            "--config",
            str(self.config),
            *arguments,
        ]

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment: nothing of the machine's own settings, and no engine."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
            "DOCKER_HOST": f"unix://{self.folder}/none.sock",
            "TZ": "UTC",
            **self.environ,
        }

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(name, *arguments),
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )

    def begin(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        """Begin a command."""
        return subprocess.Popen(
            self.command(name, *arguments), env=self.variables, stdout=subprocess.PIPE, text=True
        )

    def can_ask(self) -> bool:
        """Return whether a daemon listens."""
        try:
            return bool(ask_status(self.state, _SECONDS))
        except NoDaemon:
            return False

    def runs(self) -> tuple[Run, ...]:
        """List what the journal says, newest first."""
        with Journal(self.state / JOURNAL) as journal:
            return journal.runs.list()

    def remember(self, job: Job, seen_ago: float) -> None:
        """Let the runner have known a piece of work for so many seconds."""
        with Journal(self.state / JOURNAL) as journal:
            journal.past.first_seen([job], time.time() - seen_ago)

    def slow(self) -> Path:
        """Give a restic whose backups last for ever; its file `began` tells that one has begun."""
        program = self.folder / "slow-restic"
        program.write_text(SLOW.format(began=self.began))
        program.chmod(0o755)
        return program

    @property
    def began(self) -> Path:
        """What a slow restic makes."""
        return self.folder / "began"


@dataclass
class DaemonProcess:
    """A running daemon, and the events that it has logged."""

    process: "subprocess.Popen[bytes]"
    parts: RunnerFolder
    log: Path

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the events logged so far, or those of a name."""
        lines = self.log.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in found if name in ("", event["event"])]

    def wait(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds; fails with the log if it never does."""
        end = time.monotonic() + _SECONDS
        while not holds():
            assert self.process.poll() is None, f"ended: {self.log.read_text()}"
            assert time.monotonic() < end, f"never: {what}\n{self.log.read_text()[-4000:]}"
            select.select([], [], [], _LOOK_SECONDS)

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        """Wait until an event was logged so often, and give the last one."""
        self.wait(lambda: len(self.events(name)) >= count, f"{count} events {name}")
        return self.events(name)[-1]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it as Docker does; give its exit status."""
        os.kill(self.process.pid, number)
        return self.process.wait(_SECONDS)


@contextmanager
def run_daemon(parts: RunnerFolder, *arguments: str) -> Iterator[DaemonProcess]:
    """Start a daemon, and wait until it can be asked; ended in any case."""
    log = parts.folder / "daemon.log"
    command = parts.command("daemon", "--log-format", "json", "--log-level", "debug", *arguments)
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=parts.variables, stderr=stream)
    daemon = DaemonProcess(process, parts, log)
    try:
        daemon.wait(parts.can_ask, "an answer")
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(_SECONDS)
