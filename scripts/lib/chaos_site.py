"""A site of chaos: an engine with what one policy stops, the runner that does, and its victims."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from docker.types import ContainerSpec, ServiceMode, TaskTemplate
from requests import RequestException

from private_docker import EngineError, PrivateEngine, run_again, run_engine, stop_engine
from sample_stack import import_image
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import JobKind
from sidecar.runner.job.leftover_processes import MARK, find_leftovers
from sidecar.runner.journal import Journal, JournalError
from sidecar.web.client import ask_status, run_job
from tests.fakes.cheap_key import replace_key

ROOT = Path(__file__).parents[2]
SPEEDS = {"fast": 'trap "exit 0" TERM', "slow": 'trap "sleep 4; exit 0" TERM'}
"""What is stopped: by its name, what it does when it is asked to end."""

_SHIMS = frozenset({"containerd-shim"})
_IMAGE = "sleeper"
_BACKREST = "idle-backrest"
_REPLICAS = 2
_PASSWORD = "correct horse battery"  # noqa: S105 - of a repository that is removed with the site
_LOOK_SECONDS = 0.02
_SWIFT_LOOK_SECONDS = 0.002
_AFTER_SECONDS = (0.0, 0.0, 0.05, 0.3)
_UP_SECONDS = 60.0
_END_SECONDS = 120.0


class Policy(StrEnum):
    """By what containers are stopped for a backup."""

    STOP = "stop-start"
    PAUSE = "pause-unpause"
    SCALE = "swarm-scale"
    ONCE = "backup-once"


class Victim(StrEnum):
    """What is killed."""

    RUNNER = "runner"
    SHELL = "hook-shell"
    CLIENT = "docker-client"
    ENGINE = "dockerd"


_PROGRAMS = {
    Victim.SHELL: frozenset({"sh", "dash", "busybox"}),
    Victim.CLIENT: frozenset({"docker"}),
}


def victims_of(policy: Policy) -> tuple[Victim, ...]:
    """Return what can be killed; `backup-once` stops without hooks, by a connection of its own."""
    if policy is Policy.ONCE:
        return Victim.RUNNER, Victim.ENGINE
    return tuple(Victim)


class Cancelled(Exception):
    """We are asked to end."""


@dataclass
class Clock:
    """Waits, in bounds, unless we are asked to end."""

    is_over: threading.Event

    def pause(self, seconds: float) -> None:
        """Wait so long; raises Cancelled."""
        if self.is_over.wait(seconds):
            raise Cancelled

    def until(self, holds: Callable[[], bool], seconds: float, look: float = _LOOK_SECONDS) -> bool:
        """Wait until something holds, at most so long; return whether it does."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                return False
            self.pause(look)
        return True


@dataclass
class Site:
    """One policy's engine, workloads, document and runner; used by one thread."""

    policy: Policy
    folder: Path
    engine: PrivateEngine
    client: docker.APIClient
    clock: Clock
    runner: "subprocess.Popen[bytes] | None" = None
    runs: list[threading.Thread] = field(default_factory=list)
    once: "subprocess.Popen[bytes] | None" = None

    @property
    def config(self) -> Path:
        """The document."""
        return self.folder / "config.json"

    @property
    def state_folder(self) -> Path:
        """Where the runner's journal lies."""
        return self.folder / ".runner"

    @property
    def markers(self) -> tuple[str, ...]:
        """The names of the markers of what hooks have stopped."""
        try:
            return tuple(sorted(os.listdir(self.folder / ".quiesced")))
        except FileNotFoundError:
            return ()

    def states(self) -> dict[str, str]:
        """Return the state of each workload; `?` where the engine does not tell."""
        return {name: self._state(name) for name in SPEEDS}

    def _state(self, name: str) -> str:
        try:
            if self.policy is not Policy.SCALE:
                return str(self.client.inspect_container(name)["State"]["Status"])
            service = self.client.inspect_service(name)
            filters = {"label": f"com.docker.swarm.service.id={service['ID']}"}
            running = len(self.client.containers(filters=filters))
            return f"{running} of {service['Spec']['Mode']['Replicated']['Replicas']}"
        except (DockerException, RequestException, OSError):
            return "?"

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What the runner has still to do: markers, runs without an end, stopped containers."""
        left = self.markers
        with suppress(JournalError), Journal(self.state_folder / "journal.sqlite") as journal:
            left += tuple(f"run {one.run.id}" for one in journal.runs.unfinished())
            left += tuple(one.name for one in journal.containers.still_stopped())
        return left

    def start_runner(self) -> None:
        """Start the daemon, unless it runs, and wait until it answers."""
        if self.runner is not None and self.runner.poll() is None:
            return
        words = ["sidecar.runner", "daemon", *self._source(), "--seats", "2", "--force"]
        self.runner = self._spawn(*words)
        if not self.clock.until(self._answers, _UP_SECONDS):
            raise EngineError(f"the runner of {self.policy} does not come up: see {self.log}")

    def stop_runner(self) -> None:
        """Ask the daemon to end, and wait for that."""
        if self.runner is not None:
            self.runner.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.runner.wait(_END_SECONDS)
            self.runner.kill()
            self.runner.wait()
        self.runner = None

    def _answers(self) -> bool:
        try:
            return bool(ask_status(self.state_folder, 10.0))
        except (SidecarError, OSError):
            return False

    @property
    def log(self) -> Path:
        """What all programs of ours have said since `forget_log`."""
        return self.folder / "log"

    def forget_log(self) -> None:
        """Begin the log anew."""
        with self.log.open("ab") as log:
            log.truncate(0)

    @contextmanager
    def recovering(self) -> Iterator[None]:
        """Have the runner run for the block."""
        self.start_runner()
        yield
        if self.policy is Policy.ONCE:
            # It holds the lock that the next backup needs.
            self.stop_runner()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Run the sidecar's daemon for the block: its guard starts what a dead run left."""
        root = str(self.engine.data_root)
        paths = ("--docker-root", root, "--path-map", f"{root}={root}")
        words = ("--guard-after", "1s", "--backrest-container", _BACKREST)
        guard = self._spawn("sidecar", "daemon", *self._source(), *paths, *words)
        try:
            yield
        finally:
            guard.terminate()
            with suppress(subprocess.TimeoutExpired):
                guard.wait(_END_SECONDS)
            guard.kill()
            guard.wait()

    def begin_runs(self, rng: random.Random) -> None:
        """Back everything up now, each workload a little later than the other."""
        if self.policy is Policy.ONCE:
            words = ("--quiesce-timeout", "10s", "--docker-root", str(self.engine.data_root))
            self.once = self._spawn("sidecar", "backup-once", *self._source(), *words)
            return
        self.start_runner()
        for name in SPEEDS:
            thread = threading.Thread(target=self._run, args=(name, rng.uniform(0.0, 1.0)))
            thread.start()
            self.runs.append(thread)

    def _run(self, name: str, delay: float) -> None:
        with suppress(Cancelled, SidecarError, OSError):
            self.clock.pause(delay)
            plan = f"backrest_sidecar_{name}"
            for _ in run_job(self.state_folder, JobKind.BACKUP, plan, seconds=90):
                pass

    @property
    def is_running(self) -> bool:
        """Whether one of the runs goes on."""
        if self.once is not None:
            return self.once.poll() is None
        return any(thread.is_alive() for thread in self.runs)

    def end_runs(self) -> None:
        """Wait for the ends of the runs, for a while."""
        self.clock.until(lambda: not self.is_running, _END_SECONDS)
        if self.once is not None:
            self.once.kill()
            self.once.wait()
        for thread in self.runs:
            thread.join()
        self.once, self.runs = None, []

    def strike(self, victim: Victim, which: signal.Signals, rng: random.Random) -> bool:
        """Kill the victim; return False if there was none until the runs were over."""
        if victim in {Victim.ENGINE, Victim.RUNNER} and not self.is_running:
            return False
        if victim is Victim.ENGINE:
            os.kill(self.engine.pid, which)
            return True
        if victim is Victim.RUNNER:
            process = self.once if self.policy is Policy.ONCE else self.runner
            if process is None or process.poll() is not None:
                return False
            process.send_signal(which)
            return self.clock.until(lambda: process.poll() is not None, _END_SECONDS)
        return self._strike_program(_PROGRAMS[victim], which, rng)

    def _strike_program(
        self, names: frozenset[str], which: signal.Signals, rng: random.Random
    ) -> bool:
        """Kill a program of a hook, at once or a moment after one is there: most are gone soon."""
        while True:
            self.clock.until(
                lambda: bool(self._programs(names)) or not self.is_running,
                _END_SECONDS,
                _SWIFT_LOOK_SECONDS,
            )
            if not (found := self._programs(names)):
                if self.is_running:
                    continue
                return False
            pid = rng.choice(found)
            if seconds := rng.choice(_AFTER_SECONDS):
                self.clock.pause(rng.uniform(0.0, seconds))
            if _name_of(pid) in names and self._has_started(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, which)
                    return True

    def _programs(self, names: frozenset[str]) -> tuple[int, ...]:
        """List the programs of these names that the runner has started."""
        return tuple(pid for pid in _pids_of(names) if self._has_started(pid))

    def _has_started(self, pid: int) -> bool:
        mark = os.fsencode(f"{MARK}={self.state_folder}")
        with suppress(OSError):
            return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False

    def end_programs(self) -> None:
        """Kill all that the runner has started, as the end of its container does."""
        for child in find_leftovers(self.state_folder):
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    def restart_engine(self) -> None:
        """Start the engine again once it has ended."""
        if not self.clock.until(lambda: not self._has_engine, _END_SECONDS):
            raise EngineError(f"the engine of {self.policy} does not end")
        self.engine = run_again(self.engine)

    @property
    def _has_engine(self) -> bool:
        return Path(f"/proc/{self.engine.pid}").exists()

    def heal(self) -> dict[str, str]:
        """Put everything right by hand, so that the next moment begins as the others do.

        Returns what the engine says of each workload that it will not start at all.
        """
        self.stop_runner()
        self.end_programs()
        shutil.rmtree(self.folder / ".quiesced", ignore_errors=True)
        shutil.rmtree(self.state_folder, ignore_errors=True)
        refused = {}
        for name in SPEEDS:
            with suppress(DockerException, RequestException):
                self.client.unpause(name)
            try:
                if self.policy is Policy.SCALE:
                    self._scale(name)
                else:
                    self.client.start(name)
            except (DockerException, RequestException) as error:
                refused[name] = str(error)
        return refused

    def make(self) -> None:
        """Make the workloads, the repositories and the document, as labels give it."""
        import_image(self.client, _IMAGE)
        for name, trap in SPEEDS.items():
            labels = {"backrest.enable": "true", "backrest.repo": name}
            labels |= {"backrest.hooks.template": str(self.policy)}
            if self.policy is Policy.ONCE:
                labels = {"backrest.quiesce": "true"}
            self._make_workload(name, labels, ["sh", "-c", f"{trap}; sleep 7200 & wait; wait"])
        self._make_container(_BACKREST, {}, ["sleep", "7200"])
        template = self.folder / "repository"
        environ = self._environ | {"RESTIC_PASSWORD": _PASSWORD}
        _succeed(["restic", "-r", str(template), "init"], environ)
        replace_key(template, _PASSWORD)
        for name in SPEEDS:
            shutil.copytree(template, self.folder / name)
        repos = [
            {
                "id": name,
                "uri": str(self.folder / name),
                "password": _PASSWORD,
                "autoInitialize": True,
            }
            for name in SPEEDS
        ]
        document: dict[str, Any] = {"modno": 1, "version": 6, "instance": "chaos", "repos": repos}
        if self.policy is Policy.ONCE:
            schedule = {"cron": "0 3 1 1 *", "clock": "CLOCK_LOCAL"}
            plan = {"id": "all", "repo": "fast", "paths": [str(ROOT / "scripts")]}
            document["plans"] = [{**plan, "schedule": schedule}]
        self.config.write_text(json.dumps(document))
        if self.policy is not Policy.ONCE:
            words = ("--docker-root", str(self.engine.data_root), "--default-schedule", "0 3 1 1 *")
            command = [sys.executable, "-m", "sidecar", "reconcile", *self._source(), *words]
            _succeed(command, self._environ)

    def _make_workload(self, name: str, labels: Mapping[str, str], command: list[str]) -> None:
        if self.policy is not Policy.SCALE:
            self._make_container(name, labels, command)
            return
        if not (self.client.info().get("Swarm") or {}).get("ControlAvailable"):
            local = "127.0.0.1"
            self.client.init_swarm(
                advertise_addr=local, listen_addr=f"{local}:0", data_path_addr=local
            )
        spec = ContainerSpec(
            f"{_IMAGE}:latest", command, labels=dict(labels), mounts=[f"{name}-data:/data:rw"]
        )
        template = TaskTemplate(spec, networks=[{"Target": "host"}])
        mode = ServiceMode("replicated", _REPLICAS)
        self.client.create_service(template, name=name, mode=mode)
        wanted = f"{_REPLICAS} of {_REPLICAS}"
        if not self.clock.until(lambda: self._state(name) == wanted, _UP_SECONDS):
            raise EngineError(f"the service {name} does not come up")

    def _make_container(self, name: str, labels: Mapping[str, str], command: list[str]) -> None:
        host = self.client.create_host_config(binds=[f"{name}-data:/data"], network_mode="none")
        made = self.client.create_container(
            _IMAGE, command, name=name, labels=dict(labels), host_config=host
        )
        self.client.start(made)

    def _scale(self, name: str) -> None:
        now = self.client.inspect_service(name)
        mode = ServiceMode("replicated", _REPLICAS)
        version = now["Version"]["Index"]
        self.client.update_service(name, version, mode=mode, fetch_current_spec=True)

    def close(self) -> None:
        """End everything and remove it, also if we are asked to end meanwhile."""
        self.clock = Clock(threading.Event())
        self.stop_runner()
        self.end_programs()
        self.end_runs()
        if not self._has_engine:
            self.restart_engine()
        with suppress(DockerException, RequestException):
            if self.policy is Policy.SCALE:
                self.client.leave_swarm(force=True)
            for one in self.client.containers(all=True):
                self.client.remove_container(one["Id"], v=True, force=True)
        self.client.close()
        stop_engine(self.engine)
        # What a killed engine has lost it does not end either.
        for pid in _pids_of(_SHIMS):
            with suppress(OSError):
                if os.fsencode(self.engine.folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def _source(self) -> tuple[str, ...]:
        return "--config", str(self.config), "--docker-sock", self.engine.address

    @property
    def _environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        own = {"HOME": str(self.folder), "RESTIC_CACHE_DIR": str(self.folder / "cache")}
        return kept | own | {"DOCKER_HOST": self.engine.address}

    def _spawn(self, module: str, *words: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", module, *words]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=self._environ, stdout=log, stderr=log, cwd=ROOT)


@contextmanager
def run_site(policy: Policy, clock: Clock) -> Iterator[Site]:
    """Run a site for the block, in this thread; nothing of it is left."""
    # Short, for a unix socket lies below it.
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    try:
        # A Swarm cannot have it: without it Debian's engine leaves what ran stopped for good
        # when it is started after a kill, whoever had stopped it or not.
        is_swarm = policy is Policy.SCALE
        engine = run_engine(folder / "e", has_networks=is_swarm, keeps_running=not is_swarm)
        client = docker.APIClient(base_url=engine.address, version="auto", timeout=120)
        site = Site(policy, folder, engine, client, clock)
        try:
            site.make()
            yield site
        finally:
            site.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pids_of(names: frozenset[str]) -> Iterator[int]:
    """Find processes by their names, which is quicker than by what they were started with."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and _name_of(int(entry.name)) in names:
            yield int(entry.name)


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _succeed(command: list[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        raise EngineError(f"{' '.join(command[:5])} failed: {done.stdout}{done.stderr}")
