"""A repository of rsync's under backrest-runner: killed while it copies, retention, and back."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SECONDS = 60.0


@dataclass
class Installation:
    """A folder with documents, a source and a repository; `flags` are those of the repository."""

    folder: Path
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.source.mkdir()

    @property
    def source(self) -> Path:
        """What is backed up."""
        return self.folder / "source"

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots."""
        return self.folder / "store" / "web" / "snapshots"

    def command(self, *words: str) -> list[str]:
        """Write the documents; return the command line of backrest-runner."""
        repo = {"id": "disk", "uri": f"rsync:{self.folder}/store", "flags": list(self.flags)}
        plan = {
            "id": "web",
            "repo": "disk",
            "paths": [str(self.source)],
            "schedule": {"disabled": True},
            "retention": {"policyKeepLastN": 2},
        }
        head = {"version": 6, "modno": 1, "instance": "nas"}
        document = head | {"repos": [repo | {"autoInitialize": True}], "plans": [plan]}
        (self.folder / "runner.json").write_text(json.dumps(document))
        own = ["--config", f"{self.folder}/config.json", "--state-dir", f"{self.folder}/state"]
        return [sys.executable, "-m", "sidecar.runner", *words, *own]

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with."""
        kept = {key: value for key, value in os.environ.items() if "BACKREST" not in key}
        return kept | {"PYTHONPATH": str(ROOT), "DOCKER_HOST": f"unix://{self.folder}/none"}

    def run(self, *words: str) -> str:
        """Run a command, which has to succeed; return what it prints."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout
        return done.stdout

    def names(self) -> list[str]:
        """List what is in the folder of the snapshots, without records."""
        return sorted(one.name for one in self.snapshots.glob("*") if one.suffix != ".json")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Return one in an empty folder."""
    return Installation(tmp_path)


@pytest.mark.timeout(200)
def test_a_runner_that_is_killed_while_rsync_copies_leaves_nothing_half(
    installation: Installation,
) -> None:
    """The next run ends the rsync that was left, removes what it had begun, and succeeds."""
    data = os.urandom(8 << 20)
    (installation.source / "big").write_bytes(data)
    installation.flags = ("--bwlimit 500k",)
    killed = subprocess.Popen(
        installation.command("run", "web", "--docker-sock", "none"),
        env=installation.environment,
        cwd=installation.folder,
    )
    deadline = time.monotonic() + _SECONDS
    while not list(installation.snapshots.glob("*.partial/**/.big.*")):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = installation.names()
    installation.flags = ()
    installation.run("run", "web", "--docker-sock", "none")
    [name] = installation.names()

    assert [True] == [one.endswith(".partial") for one in left]
    stored = installation.snapshots / name / str(installation.source)[1:] / "big"
    assert data == stored.read_bytes()
    assert [] == list((installation.folder / "store" / ".locks").iterdir())


@pytest.mark.timeout(200)
def test_what_is_saved_comes_back_and_old_snapshots_go(installation: Installation) -> None:
    """By the commands that are there for every engine."""
    for number in range(3):
        (installation.source / "file").write_text(f"number {number}")
        installation.run("run", "web", "--docker-sock", "none")
    names = installation.names()
    listed = installation.run("snapshots", "web", "--output", "json")
    target = installation.folder / "out"
    older = ("--snapshot", f"web@{names[0]}", "--target", str(target))
    installation.run("restore", "web", *older, "--docker-sock", "none")
    installation.run("verify", "web")
    installation.run("check")
    (installation.source / "file").write_text("lost")
    installation.run("restore", "web", "--in-place", "--docker-sock", "none")

    assert 2 == len(names)
    assert all(f"web@{name}" in listed for name in names)
    assert "number 1" == (target / "file").read_text()
    assert "number 2" == (installation.source / "file").read_text()
