"""SIGKILL at every step of a run that has stopped a real container, and the start after it.

A run changes the journal a number of times; a first run counts them. Then the run is made
once for each moment right before and right after such a change, and killed there, so that
between two deaths lies exactly one thing that the run does: a hook, a program, a record.
Further runs are killed from outside in the midst of a hook or of restic. Whatever the next
start finds, the container has to run after it, the run has to be recorded as interrupted
once, the repository has to be sound and free, and the next backup has to succeed.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from hook_shell import NAME, Hooks, state_of
from orphans import adopted_orphans
from private_docker import PrivateEngine
from sidecar.docker.stopped import parse_moment
from sidecar.lib.process import Child
from sidecar.planner.scripts import escape_template
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.leftover_processes import find_leftovers
from sidecar.runner.journal import Journal, Phase
from tests.fakes.cheap_key import replace_key
from world import IMAGE, World

ROOT = Path(__file__).parents[2]
PROCESS = ROOT / "tests" / "fakes" / "one_run.py"
PASSWORD = "correct horse"
WEB = Job(JobKind.BACKUP, "web", "store")
BLOCK = ': >"$SCENE/{0}"; read -r line <"$SCENE/fifo"\n'
"""A hook that stays where it is the first time, and says that it came there."""
_SECONDS = 60.0
_LOOK_SECONDS = 0.01


@dataclass
class Scene:
    """A folder with a document, a repository and data, and the environment of a runner."""

    folder: Path
    environ: dict[str, str]
    stop: str
    start: str
    extra: list[dict[str, Any]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """Where the journal lies."""
        return self.folder / ".runner"

    def write(self) -> None:
        """Write the document: a plan that stops the container, and thins its snapshots out."""
        hooks = [
            hook(self.stop, "SNAPSHOT_START", onError="ON_ERROR_FATAL"),
            *self.extra,
            hook(self.start, "SNAPSHOT_END", "SNAPSHOT_ERROR"),
        ]
        repo = {"id": "store", "uri": str(self.folder / "repo"), "password": PASSWORD}
        plan: dict[str, Any] = {"id": "web", "repo": "store", "hooks": hooks}
        plan |= {"paths": [str(self.folder / "data")], "retention": {"policyKeepLastN": 1}}
        document = {"instance": "here", "repos": [{**repo, "flags": self.flags}], "plans": [plan]}
        (self.folder / "config.json").write_text(json.dumps(document))

    @contextlib.contextmanager
    def process(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Start the process under test."""
        command = [sys.executable, str(PROCESS), str(self.folder), *arguments]
        with (
            (self.folder / "said").open("wb") as said,
            subprocess.Popen(command, env=self.environ, stdout=said) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Run the process under test to its end; give its status and what it told."""
        with self.process(*arguments) as process:
            status = process.wait(_SECONDS)
        lines = (self.folder / "said").read_text().splitlines()
        return status, [json.loads(line) for line in lines]

    def wait(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        end = time.monotonic() + _SECONDS
        while not holds():
            assert time.monotonic() < end, f"never: {what}"
            select.select([], [], [], _LOOK_SECONDS)

    def survives(self, *outcomes: str) -> None:
        """Start again: everything is put right, recorded so, and goes on."""
        status, [world, run, _] = self.run()

        assert status == 0
        assert world["state"] == "running"
        assert world["locks"] == []
        assert (run["outcome"], run["reason"]) == ("success", "")
        assert self.recorded() == ["success", *outcomes]
        self.check()

    def recorded(self) -> list[str]:
        """The outcomes of the runs in the journal, newest first."""
        with Journal(self.state / "journal.sqlite") as journal:
            assert journal.runs.unfinished() == ()
            return [run.ended.outcome.value for run in journal.runs.list() if run.ended is not None]

    def check(self) -> None:
        """Have restic read all of the repository; it holds what the last backup made."""
        repository = {"RESTIC_REPOSITORY": str(self.folder / "repo"), "RESTIC_PASSWORD": PASSWORD}
        for words in (["check", "--read-data"], ["dump", "latest", str(self.folder / "data/f")]):
            done = subprocess.run(
                ["restic", *words], env=self.environ | repository, check=True, capture_output=True
            )
        assert done.stdout == (self.folder / "data" / "f").read_bytes()


def hook(command: str, *events: str, **more: str) -> dict[str, Any]:
    """A hook in the document."""
    conditions = [f"CONDITION_{event}" for event in events]
    return {
        "conditions": conditions,
        "actionCommand": {"command": escape_template(command)},
        **more,
    }


@pytest.fixture(autouse=True)
def orphanage() -> Iterator[None]:
    """Bury the programs whose runner was killed at once, as an init does."""
    with adopted_orphans():
        yield


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository once; its password is quickly tried, for restic is run often here."""
    folder = tmp_path_factory.mktemp("template")
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "RESTIC_PASSWORD": PASSWORD}
    subprocess.run(
        ["restic", "-r", str(folder / "repo"), "init"], env=environ, check=True, capture_output=True
    )
    replace_key(folder / "repo", PASSWORD)
    return folder / "repo"


@pytest.fixture
def make(
    tmp_path: Path, world: World, engine: PrivateEngine, repository: Path
) -> Callable[[str], Scene]:
    """Give fresh scenes around one running container, which each has to leave running."""
    world.container(NAME, {}, running=True)

    def fresh(name: str) -> Scene:
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "f").write_bytes(os.urandom(1000))
        os.mkfifo(folder / "fifo")
        shutil.copytree(repository, folder / "repo")
        hooks = Hooks({"hooks.template": "stop-start"}, engine, folder)
        environ = {
            **hooks.environment,
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "SCENE": str(folder),
            "CONTAINER": NAME,
        }
        scene = Scene(folder, environ, *hooks.scripts)
        scene.write()
        return scene

    return fresh


@pytest.mark.timeout(300)
def test_a_run_killed_at_any_step_is_put_right(make: Callable[[str], Scene]) -> None:
    """Every step is died at; only before the first there is nothing to put right."""
    whole = make("whole")
    status, [_, run, last] = whole.run()
    assert (status, run["outcome"]) == (0, "success")
    steps = last["steps"]

    for step in range(1, steps + 1):
        scene = make(str(step))
        status, _ = scene.run("--die", str(step))
        assert status == -signal.SIGKILL, step
        if step == 1:
            scene.survives()
        else:
            scene.survives("success" if step == steps else "interrupted")

    # Begun, START hooks, the work, its programs and their end, the hooks after it, forgetting
    # and its program, the end: each recorded, and each died at twice.
    assert steps >= 2 * 9


@pytest.mark.timeout(300)
def test_what_puts_a_run_right_can_itself_be_killed_at_any_step(
    make: Callable[[str], Scene],
) -> None:
    """It is done again, and the run is recorded once."""
    first = make("first")
    [*_, last] = killed_while_saving(first).run("--resume-only")[1]

    for step in range(1, last["steps"] + 1):
        scene = killed_while_saving(make(str(step)))
        status, _ = scene.run("--resume-only", "--die", str(step))
        assert status == -signal.SIGKILL, step
        scene.survives("interrupted")

    assert last["steps"] >= 2 * 2


def killed_while_saving(scene: Scene) -> Scene:
    """Kill the runner while restic writes, and restic with it, as when the power goes."""
    with saving(scene) as (process, child):
        process.kill()
        os.killpg(child.pid, signal.SIGKILL)
    return scene


@contextlib.contextmanager
def saving(scene: Scene) -> Iterator[tuple["subprocess.Popen[bytes]", Child]]:
    """Run until restic writes into the repository, which it does slowly; give it."""
    (scene.folder / "data" / "f").write_bytes(os.urandom(2_000_000))
    scene.flags = ["--limit-upload", "64"]
    scene.write()
    with scene.process() as process:
        scene.wait(lambda: list((scene.folder / "repo" / "locks").iterdir()), "a lock")
        scene.wait(lambda: backups(scene), "a backup")
        yield process, backups(scene)[0]
    scene.flags = []
    scene.write()


def backups(scene: Scene) -> list[Child]:
    """The restics that make a backup in this scene."""
    return [child for child in find_leftovers(scene.state) if b"\0backup\0" in words_of(child)]


def words_of(child: Child) -> bytes:
    """The command line of a process."""
    try:
        return Path(f"/proc/{child.pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("left", ["running", "stopped", "dead"])
def test_a_runner_killed_while_restic_works_leaves_nothing_behind(
    make: Callable[[str], Scene], left: str
) -> None:
    """Return whether restic goes on, stands still, or died too: it ends, and its lock goes."""
    scene = make(left)
    with saving(scene) as (process, child):
        if left == "stopped":
            os.kill(child.pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        if left == "dead":
            os.killpg(child.pid, signal.SIGKILL)
        assert bool(backups(scene)) == (left != "dead")

    scene.survives("interrupted")

    assert find_leftovers(scene.state) == ()


@pytest.fixture
def slow(docker_client: docker.APIClient) -> Iterator[str]:
    """Run a container that takes two seconds to stop; give its name."""
    name = NAME.replace("hooked", "slow")
    made = docker_client.create_container(
        IMAGE,
        name=name,
        stop_signal="SIGCONT",
        stop_timeout=2,
        host_config=docker_client.create_host_config(network_mode="none"),
    )
    docker_client.start(made["Id"])
    yield name
    docker_client.remove_container(made["Id"], force=True)


def test_a_start_hook_that_outlives_its_runner_stops_nothing_for_good(
    make: Callable[[str], Scene], slow: str, docker_client: docker.APIClient
) -> None:
    """It is waited for: else the engine would stop what was just started again."""
    scene = make("slow")
    scene.stop, scene.start = (
        script.replace("hooked", "slow") for script in (scene.stop, scene.start)
    )
    scene.environ["CONTAINER"] = slow
    scene.write()
    with scene.process() as process:
        scene.wait((scene.folder / ".quiesced" / slow).exists, "the marker")
        process.kill()
    assert state_of(docker_client, slow) == "running"

    assert scene.run("--resume-only")[0] == 0

    scene.wait(lambda: docker_client.inspect_container(slow)["State"]["FinishedAt"] > "1", "a stop")
    assert state_of(docker_client, slow) == "running"
    scene.survives("interrupted")
    assert not (scene.folder / ".quiesced" / slow).exists()


@pytest.fixture
def leisurely(docker_client: docker.APIClient) -> Iterator[str]:
    """Run a container that takes four seconds to end well, and ends hard by a second SIGTERM."""
    name = NAME.replace("hooked", "leisurely")
    app = """
    trap 'trap "exit 9" TERM; sleep 4 & wait $!; exit 0' TERM
    while :; do sleep 1 & wait $!; done
    """
    made = docker_client.create_container(
        IMAGE,
        ["/bin/sh", "-c", app],
        name=name,
        host_config=docker_client.create_host_config(network_mode="none"),
    )
    docker_client.start(made["Id"])
    yield name
    docker_client.remove_container(made["Id"], force=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("victim", ["runner", "shell", "client"])
def test_whoever_dies_while_the_engine_stops_a_container_it_runs_again(
    make: Callable[[str], Scene],
    leisurely: str,
    docker_client: docker.APIClient,
    victim: str,
    how: signal.Signals,
) -> None:
    """And it ended by itself: nobody sent a second signal."""
    scene = make(f"{victim}-{how}")
    scene.stop, scene.start = (
        script.replace("hooked", "leisurely") for script in (scene.stop, scene.start)
    )
    scene.environ["CONTAINER"] = leisurely
    scene.write()
    with scene.process() as process:
        scene.wait(lambda: is_ending(docker_client, leisurely), "a stop under way")
        words = {"runner": b"", "shell": b"sh\0", "client": b"docker\0stop\0"}[victim]
        found = [one.pid for one in find_leftovers(scene.state) if words_of(one).startswith(words)]
        os.kill(process.pid if victim == "runner" else found[0], how)
        process.wait(_SECONDS)

    scene.run("--resume-only")

    assert state_of(docker_client, leisurely) == "running"
    assert ends_of(docker_client, leisurely) == ["0"]
    assert not (scene.folder / ".quiesced" / leisurely).exists()
    assert scene.recorded() in (["failed"], ["cancelled"], ["interrupted"])


def is_ending(client: docker.APIClient, container: str) -> bool:
    """Return whether it has got the SIGTERM: then its first process sleeps for four seconds."""
    processes = client.top(container)["Processes"] or []
    return any(line[-1] == "sleep 4" for line in processes)


def ends_of(client: docker.APIClient, container: str) -> list[str]:
    """Return the exit status of each end of a container, as the engine told them."""
    until = parse_moment(client.info()["SystemTime"])
    # By its id: earlier ones had the same name.
    wanted = {"container": client.inspect_container(container)["Id"], "event": "die"}
    told = client.events(since=0, until=until, filters=wanted, decode=True)
    return [event["Actor"]["Attributes"]["exitCode"] for event in told]


@pytest.mark.parametrize(
    ("event", "phase"),
    [
        ("SNAPSHOT_START", Phase.STARTING),
        ("SNAPSHOT_END", Phase.ENDING),
        ("FORGET_START", Phase.FORGETTING),
    ],
)
def test_a_runner_killed_in_a_hook_that_hangs_is_put_right(
    make: Callable[[str], Scene], event: str, phase: Phase
) -> None:
    """The hook is ended after a while; of those that follow, none is left out."""
    scene = make(event)
    once = 'test ! -e "$SCENE/there" || exit 0\n' + BLOCK.format("there")
    scene.extra = [hook(once, event)]
    scene.write()
    scene.environ["PATIENCE"] = "0.2"
    with scene.process() as process:
        scene.wait((scene.folder / "there").exists, "the hook")
        process.kill()
    with Journal(scene.state / "journal.sqlite") as journal:
        assert [one.run.phase for one in journal.runs.unfinished()] == [phase]

    scene.survives("interrupted")

    assert find_leftovers(scene.state) == ()


def test_a_runner_that_is_asked_to_end_starts_everything_again(
    make: Callable[[str], Scene], docker_client: docker.APIClient
) -> None:
    """Restic is ended; the run is recorded as cancelled, and the next one succeeds."""
    scene = make("asked")
    with saving(scene) as (process, _):
        assert state_of(docker_client, NAME) == "exited"
        process.terminate()
        assert process.wait(_SECONDS) == 0
    assert state_of(docker_client, NAME) == "running"
    assert scene.recorded() == ["cancelled"]

    assert scene.run()[1][1]["outcome"] == "success"
    scene.check()
