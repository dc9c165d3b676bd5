"""A place to try an engine on: real data, a repository in a folder, the real program."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo, RunPlan
from sidecar.engines.base import (
    CommandResult,
    Engine,
    EngineError,
    HeldLock,
    LockRecords,
    Progress,
    Report,
    ResultKind,
)
from sidecar.engines.locking import Host, Locking
from sidecar.engines.options import CommandTimeouts, OnMissing
from sidecar.engines.restic import RecentSnapshots, ResticEngine, ResticOptions
from sidecar.engines.rsync import RsyncEngine, RsyncOptions
from sidecar.engines.rsync.locks import PlanLock
from sidecar.lib.process import Child, ProcessRunner
from tests.fakes.cheap_key import replace_key

INSTANCE = "here"
PASSWORD = "correct horse"
# `RESTIC=/path/to/another scripts/test tests/engines` tries another one.
RESTIC = os.environ.get("RESTIC", "restic")
RSYNC = os.environ.get("RSYNC", "rsync")

_MOST_TRIES = 30


def save(
    engine: Engine, plan: RunPlan, report: Report = lambda _: None, instance: str = INSTANCE
) -> CommandResult:
    """Back a plan up as a run does: capture it, and seal what was captured."""
    done = engine.capture(plan, instance, report)
    return done if done.kind is ResultKind.FAILED else engine.seal(plan, done, report)


@dataclass
class Bench(ABC):
    """One test's folder; `source` is what is backed up."""

    folder: Path
    make: Callable[["Bench", Repo], Engine]
    grace: float = 5.0
    on_start: Callable[[Child], None] | None = None
    reported: list[Progress] = field(default_factory=list)
    added: dict[str, str] = field(default_factory=dict)
    is_new: bool = True

    def __post_init__(self) -> None:
        self.source.mkdir(parents=True, exist_ok=not self.is_new)
        self.runner = ProcessRunner(self.environ, grace=self.grace)

    @property
    def source(self) -> Path:
        """The folder that plans back up if nothing else is said."""
        return self.folder / "source"

    @property
    def environ(self) -> Mapping[str, str]:
        """What every program inherits: nothing of the machine's own settings."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
            **self.added,
        }

    def write(self, name: str, content: str | bytes, mode: int = 0o644) -> Path:
        """Write a file of the source."""
        file = self.source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(mode)
        return file

    def repo(self, **settings: object) -> Repo:
        """Return the repository of the test; settings replace its own."""
        usual = {"uri": str(self.folder / "repo"), "password": PASSWORD}
        return Repo("store", **{**usual, **settings})  # type: ignore[arg-type]

    def plan(self, name: str = "web", *paths: Path, **settings: object) -> RunPlan:
        """Give a plan that backs up the paths, else the source."""
        held = tuple(map(str, paths or (self.source,)))
        return RunPlan(name, "store", held, **settings)  # type: ignore[arg-type]

    def engine(self, **settings: object) -> Engine:
        """Return an engine for the repository."""
        return self.make(self, self.repo(**settings))

    def backup(self, plan: RunPlan | None = None) -> CommandResult:
        """Back up, which has to succeed."""
        done = save(self.engine(), plan or self.plan(), self.reported.append)
        assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)
        return done

    @abstractmethod
    def damage(self) -> None:
        """Change what the repository holds, so that a check has to find it."""

    @abstractmethod
    def locked(self) -> contextlib.AbstractContextManager[int]:
        """Have a living process hold a lock for the block, so that the plan `web` cannot be forgotten.

        Gives its number.
        """

    def names(self, plan: RunPlan | None = None) -> list[str]:
        """Return the ids of the plan's snapshots, oldest first; of all without a plan."""
        return [snapshot.id for snapshot in self.engine().snapshots(plan, INSTANCE)]


@dataclass
class ResticBench(Bench):
    """A bench for restic; what a test may turn."""

    program: str = RESTIC
    on_missing: OnMissing = OnMissing.FAIL
    limits: CommandTimeouts = field(default_factory=CommandTimeouts)
    host: Host = field(default_factory=Host)
    recent: RecentSnapshots | None = None
    records: LockRecords | None = None

    @classmethod
    def at(cls, folder: Path, program: str = RESTIC) -> "ResticBench":
        """Make one in an empty folder."""
        return cls(folder, make_restic, program=program)

    def damage(self) -> None:
        """Break every file of data."""
        for file in (self.folder / "repo" / "data").rglob("*"):
            if file.is_file():
                file.chmod(0o600)
                file.write_bytes(b"damaged")

    def locked(self) -> contextlib.AbstractContextManager[int]:
        """Have a living restic hold a lock, suspended."""
        return holding_a_lock(self)

    def restic(self, repo: Repo | None = None) -> ResticEngine:
        """Return the engine with all its own methods."""
        return ResticEngine(
            repo or self.repo(),
            self.runner,
            ResticOptions(
                self.environ,
                self.on_missing,
                self.limits,
                Locking(self.host, self.records),
                self.program,
                self.recent or RecentSnapshots(),
            ),
            self.on_start,
        )

    def note_commands(self) -> Callable[[], list[str]]:
        """Let each command be noted; return what gives those since its last call.

        That for the version is left out: whether it is asked depends on what ran before.
        """
        log, program = self.folder / "asked", self.folder / "noting"
        program.write_text(f'#!/bin/sh\necho "$1" >> {log}\nexec {self.program} "$@"\n')
        program.chmod(0o755)
        self.program = str(program)

        def asked() -> list[str]:
            lines = log.read_text().split() if log.exists() else []
            log.write_text("")
            return [one for one in lines if one != "version"]

        return asked

    def use(self, repo: Repo) -> None:
        """Use a repository from its first snapshot to the last: all that is asked for has to work."""
        self.write("file", "hello")
        engine = self.restic(repo)
        done = [engine.capture(self.plan(), INSTANCE, self.reported.append) for _ in range(2)]
        done.append(engine.forget(self.plan(), INSTANCE, Retention(last=1)))
        done += [engine.prune(PrunePolicy()), engine.check(CheckPolicy()), engine.unlock()]
        [snapshot] = engine.snapshots(self.plan(), INSTANCE)
        target = self.folder / "target"
        done.append(engine.restore(snapshot, (), target, self.reported.append))
        assert {(ResultKind.SUCCESS, "")} == {(one.kind, one.reason) for one in done}
        assert "hello" == (target / f"{self.source}/file".lstrip("/")).read_text()

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Run restic itself, as somebody else does; give what it says."""
        own = {"RESTIC_REPOSITORY": str(self.folder / "repo"), "RESTIC_PASSWORD": PASSWORD}
        completed = self.runner.run([RESTIC, *words], env={**own, **(env or {})})
        assert (0, b"") == (completed.status, completed.err)
        return completed.out.decode()


def make_restic(bench: Bench, repo: Repo) -> Engine:
    """Make the engine of a bench for restic."""
    assert isinstance(bench, ResticBench)
    return bench.restic(repo)


@dataclass
class RsyncBench(Bench):
    """A bench for rsync; what a test may turn."""

    flags: tuple[str, ...] = ()
    program: str = RSYNC
    on_missing: OnMissing = OnMissing.FAIL
    limits: CommandTimeouts = field(default_factory=CommandTimeouts)
    zone: tzinfo = UTC
    now: Callable[[], float] = time.time

    @classmethod
    def at(cls, folder: Path) -> "RsyncBench":
        """Make one in an empty folder."""
        return cls(folder, make_rsync)

    @classmethod
    def again(cls, folder: Path) -> "RsyncBench":
        """Open one that another process has made."""
        return cls(folder, make_rsync, is_new=False)

    def repo(self, **settings: object) -> Repo:
        """Return the repository of the test; settings replace its own."""
        usual = {"uri": f"rsync:{self.folder}/repo", "password": "", "flags": self.flags}
        return super().repo(**{**usual, **settings})

    @property
    def store(self) -> Path:
        """The folder of the repository."""
        return self.folder / "repo"

    def hold(self, pid: int, plan: str, hostname: str = "", age: float = 0.0) -> None:
        """Leave the lock of a process in the repository; with a host name, of another machine."""
        host = Host()
        boot, namespace = ("", "") if hostname else (host.boot, host.namespace)
        held = HeldLock("1" * 32, hostname or host.name, pid, time.time() - age)
        (self.store / ".locks").mkdir(exist_ok=True)
        lock = PlanLock(held, plan, boot, namespace)
        (self.store / ".locks" / f"{held.id}.json").write_bytes(lock.to_json())

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Have a living process hold the lock of the plan `web`."""
        with subprocess.Popen(["sleep", "600"]) as holder:
            self.hold(holder.pid, "web")
            yield holder.pid
            holder.kill()

    def tree(self, snapshot: str) -> Path:
        """Return the copy of the source in a snapshot, which is named by its id."""
        plan, _, name = snapshot.rpartition("@")
        return self.store / plan / "snapshots" / name / str(self.source)[1:]

    def damage(self) -> None:
        """Change a byte of each file that a snapshot holds, which a bad disk tells nobody."""
        for file in (self.folder / "repo").glob("*/snapshots/*/**/*"):
            if file.is_file() and file.stat().st_size:
                status = file.stat()
                file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
                os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def make_rsync(bench: Bench, repo: Repo) -> Engine:
    """Make the engine of a bench for rsync."""
    assert isinstance(bench, RsyncBench)
    options = RsyncOptions(
        bench.environ,
        bench.on_missing,
        bench.limits,
        rsync=bench.program,
        zone=bench.zone,
        now=bench.now,
    )
    return RsyncEngine(repo, bench.runner, options, bench.on_start)


def empty_tree(folder: Path) -> Path:
    """Make an empty repository of rsync's."""
    bench = RsyncBench.at(folder)
    bench.engine().initialise()
    return bench.folder / "repo"


def copy_of(template: Path, bench: Bench) -> None:
    """Return a bench a repository that was made before: making one takes a second."""
    shutil.copytree(template, bench.folder / "repo")


def quick_repo(folder: Path) -> Path:
    """Make an empty repository of restic that is quickly opened."""
    bench = ResticBench.at(folder)
    bench.engine().initialise()
    replace_key(bench.folder / "repo", PASSWORD)
    return bench.folder / "repo"


@contextlib.contextmanager
def holding_a_lock(bench: ResticBench) -> Iterator[int]:
    """Have a living restic hold a lock, suspended; give its pid."""
    own = {"RESTIC_REPOSITORY": str(bench.folder / "repo"), "RESTIC_PASSWORD": PASSWORD}
    holder = subprocess.Popen(
        [RESTIC, "backup", "--stdin", "--quiet"],
        env={**bench.environ, **own},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not any((bench.folder / "repo" / "locks").glob("?" * 64)):
            assert time.monotonic() < deadline
        holder.send_signal(signal.SIGSTOP)
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


def fail_until_told(engine: Engine, words: str) -> list[EngineError]:
    """Probe a repository in vain, until why holds these words; give all failures.

    Restic often ends before it has passed on what ssh or rclone said.
    """
    failures: list[EngineError] = []
    while not any(words in one.message for one in failures) and len(failures) < _MOST_TRIES:
        with pytest.raises(EngineError) as caught:
            engine.probe()
        failures.append(caught.value)
    assert words in failures[-1].message
    return failures
