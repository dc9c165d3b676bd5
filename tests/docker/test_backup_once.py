"""backup-once on a real engine: what is stopped for it is started again, whatever happens."""

import io
import json
import os
import selectors
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from requests import exceptions

from private_docker import PrivateEngine
from sample_stack import busybox_tar, compose_labels
from sidecar.docker.one_shot import MARK
from sidecar.lib.text import MASK
from sidecar.runner.lock import SchedulerLock
from world import World

QUIET = {"backrest.quiesce": "true"}
_SECONDS = 60.0
_PASSWORD = "correct horse battery"
# Stand-ins for the tools of the real image, which cannot be had here: they tell what they
# were asked for. `rcb` waits to be stopped if it is told to.
_RCB = """#!/bin/sh
echo "rcb $* binds=$EXCLUDE_BIND_MOUNTS project=$INCLUDE_PROJECT_NAME with $RESTIC_PASSWORD"
test -S /tmp/docker.sock && test -d /var/lib/docker/volumes && echo sees the engine
echo complaint >&2
trap 'echo told to end; exit 1' TERM
if [ -n "$HOLD" ]; then sleep 600 & wait; fi
exit "${STATUS:-0}"
"""
_RESTIC = """#!/bin/sh
echo "restic $*"
exit "${FORGET_STATUS:-0}"
"""


@dataclass
class Started:
    """A running backup-once, and what it has said."""

    process: subprocess.Popen[bytes]
    folder: Path

    def end(self) -> int:
        """Wait for its end; give its exit status."""
        return self.process.wait(_SECONDS)

    @property
    def out(self) -> str:
        """Return what it has said so far."""
        return (self.folder / "out").read_text()

    @property
    def log(self) -> str:
        """Return what it has logged so far."""
        return (self.folder / "log").read_text()

    def wait_for(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        end = time.monotonic() + _SECONDS
        with selectors.DefaultSelector() as pause:
            while not holds():
                assert self.process.poll() is None, f"ended before {what}: {self.out}{self.log}"
                assert time.monotonic() < end, f"never {what}: {self.out}{self.log}"
                pause.select(0.02)


@dataclass
class Place:
    """A document with one plan on an engine; its START hook waits while `gate` is there."""

    folder: Path
    engine: PrivateEngine
    client: docker.APIClient

    def __post_init__(self) -> None:
        (self.folder / "source").mkdir()
        (self.folder / "source" / "file").write_text("precious")
        self.hold()
        hook = f"if [ -e {self.gate} ]; then echo > {self.folder}/reached; cat {self.gate}; fi"
        end = f"echo ended >> {self.folder}/ended"
        plan = {
            "id": "backrest_sidecar_web",
            "repo": "r",
            "paths": [str(self.folder / "source")],
            "schedule": {"cron": "0 3 * * *", "clock": "CLOCK_LOCAL"},
            "hooks": [
                {"conditions": ["CONDITION_SNAPSHOT_START"], "actionCommand": {"command": hook}},
                {
                    "conditions": ["CONDITION_SNAPSHOT_END", "CONDITION_SNAPSHOT_ERROR"],
                    "actionCommand": {"command": end},
                },
            ],
        }
        off = {**plan, "id": "off", "schedule": {"disabled": True}, "hooks": []}
        repo = {
            "id": "r",
            "uri": str(self.folder / "repo"),
            "password": _PASSWORD,
            "guid": "a" * 64,
        }
        root = {"modno": 1, "version": 6, "instance": "here", "repos": [repo], "plans": [plan, off]}
        self.config.parent.mkdir()
        self.config.write_text(json.dumps(root))
        self.restic("init")

    @property
    def config(self) -> Path:
        """The document."""
        return self.folder / "config" / "config.json"

    @property
    def gate(self) -> Path:
        """A pipe: who opens it to write lets the backup go on."""
        return self.folder / "gate"

    def hold(self) -> None:
        """Let the next backup wait, once it has come to its START hook."""
        os.mkfifo(self.gate)

    def open_gate(self) -> None:
        """Let the backup go on, and none wait any more."""
        self.gate.write_text("go")
        self.gate.unlink()

    @property
    def environ(self) -> dict[str, str]:
        """The environment of everything."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        own = {"HOME": str(self.folder), "RESTIC_CACHE_DIR": str(self.folder / "cache")}
        return kept | own

    def restic(self, *words: str) -> str:
        """Run restic itself on the repository."""
        own = {"RESTIC_REPOSITORY": str(self.folder / "repo"), "RESTIC_PASSWORD": _PASSWORD}
        done = subprocess.run(
            ["restic", *words], env=self.environ | own, check=True, capture_output=True, text=True
        )
        return done.stdout

    def snapshots(self) -> int:
        """Count the snapshots."""
        return len(json.loads(self.restic("snapshots", "--json")))

    @contextmanager
    def start(self, *words: str) -> Iterator[Started]:
        """Start backup-once; it is ended in any case."""
        command = [sys.executable, "-m", "sidecar", "backup-once", "--config", str(self.config)]
        command += ["--docker-sock", self.engine.address, "--log-level", "info"]
        command += ["--docker-root", str(self.engine.data_root), *words]
        with (self.folder / "out").open("wb") as out, (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=self.environ, stdout=out, stderr=log)
        try:
            yield Started(process, self.folder)
        finally:
            process.kill()
            process.wait()

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run backup-once to its end; give exit status, output and log."""
        with self.start(*words) as started:
            status = started.end()
            return status, started.out, started.log

    @contextmanager
    def held(self, *words: str) -> Iterator[Started]:
        """Start backup-once, and wait until its backup waits at the gate."""
        (self.folder / "reached").unlink(missing_ok=True)
        with self.start(*words) as started:
            started.wait_for((self.folder / "reached").exists, "the START hook")
            yield started

    def state(self, container: str) -> str:
        """Return the state of a container."""
        return str(self.client.inspect_container(container)["State"]["Status"])

    def variables(self, **values: str) -> Path:
        """Write a file of variables for the image."""
        path = self.folder / "rcb.env"
        lines = [f"{name}={value}\n" for name, value in values.items()]
        path.write_text(f"# variables\nRESTIC_PASSWORD={_PASSWORD}\n{''.join(lines)}")
        return path

    def ours(self) -> list[str]:
        """List the containers that backup-once has made and left."""
        found = self.client.containers(all=True, filters={"label": MARK})
        return [one["Id"] for one in found]


@pytest.fixture
def place(engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path) -> Place:
    """Return a document, a repository and the engine."""
    return Place(tmp_path, engine, docker_client)


@pytest.fixture(scope="module")
def rcb(docker_client: docker.APIClient) -> Iterator[str]:
    """Return an image that stands in for restic-compose-backup."""
    packed = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=packed, mode="a") as tar:
        for name, script in (("rcb", _RCB), ("restic", _RESTIC)):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.mode, entry.size = 0o755, len(script)
            tar.addfile(entry, io.BytesIO(script.encode()))
    docker_client.import_image_from_data(packed.getvalue(), repository="rcb-stand-in", tag="1")
    yield "rcb-stand-in:1"
    docker_client.remove_image("rcb-stand-in:1")


def test_what_runs_with_the_label_is_stopped_while_the_plans_run(
    place: Place, world: World
) -> None:
    """The container that ran runs again afterwards, the one that did not does not."""
    world.container("once-db", {"backrest.quiesce": "yes"}, running=True)
    world.container("once-idle", QUIET)
    world.container("once-other", {"backrest.quiesce": "false"}, running=True)
    with place.held() as started:
        assert ("exited", "running") == (place.state("once-db"), place.state("once-other"))
        place.open_gate()
        assert 0 == started.end(), started.log
    assert ("running", "created") == (place.state("once-db"), place.state("once-idle"))
    assert 1 == place.snapshots()
    assert started.out.startswith("backup backrest_sidecar_web: success in ")
    assert not (place.config.parent / ".runner" / "backup-once.json").exists()


def test_after_a_kill_the_next_start_starts_what_was_stopped(place: Place, world: World) -> None:
    """The container stays down with the killed process, and runs again after the next backup."""
    world.container("once-db", QUIET, running=True)
    with place.held() as started:
        started.process.kill()
        started.end()
    assert "exited" == place.state("once-db")
    # Its hook runs on without it, and would be waited for.
    place.open_gate()
    status, _, log = place.run()
    assert 0 == status, log
    assert "running" == place.state("once-db")
    assert "run.interrupted" in log
    assert 1 == place.snapshots()


def test_after_a_kill_the_next_start_of_the_runner_starts_it_too(
    place: Place, world: World
) -> None:
    """Both have the same journal."""
    world.container("once-db", QUIET, running=True)
    with place.held() as started:
        started.process.kill()
        started.end()
    place.open_gate()
    words = ["run", "--all", "--config", str(place.config), "--docker-sock", place.engine.address]
    command = [sys.executable, "-m", "sidecar.runner", *words]
    subprocess.run(command, env=place.environ, check=True, timeout=_SECONDS)
    assert "running" == place.state("once-db")
    assert 1 == place.snapshots()


def test_a_kill_while_the_engine_still_stops_leaves_nothing_stopped(
    place: Place, world: World, docker_client: docker.APIClient
) -> None:
    """The engine goes on stopping though nobody waits for it: that is waited for first."""
    stubborn = docker_client.create_container(
        "sleeper",
        ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        name="once-stubborn",
        labels=QUIET,
        host_config=docker_client.create_host_config(network_mode="none"),
    )
    world._made["container"].append(stubborn["Id"])
    docker_client.start("once-stubborn")
    with place.start("--quiesce-timeout", "3s") as started:
        started.wait_for(lambda: "container.stop" in started.log, "the stop")
        started.process.kill()
        started.end()
    place.gate.unlink()
    # Not stopped by this backup, so whoever starts it has to reckon with the stop before.
    status, _, log = place.run("--quiesce-timeout", "1s", "--quiesce-label", "another")
    assert 0 == status, log
    assert "container.stop" not in log
    with pytest.raises((exceptions.ConnectionError, exceptions.ReadTimeout)):
        docker_client.wait("once-stubborn", timeout=4)
    assert "running" == place.state("once-stubborn")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_backup_and_starts_what_was_stopped(
    place: Place, world: World, number: signal.Signals
) -> None:
    """The hooks after the backup run as well, and nothing is left to be done."""
    world.container("once-db", QUIET, running=True)
    with place.held() as started:
        started.process.send_signal(number)
        assert 1 == started.end()
    assert "running" == place.state("once-db")
    assert "ended\n" == (place.folder / "ended").read_text()
    assert "cancelled" in started.out
    assert not (place.config.parent / ".runner" / "backup-once.json").exists()


def test_who_needs_another_is_stopped_before_it_and_started_after_it(
    place: Place, world: World, docker_client: docker.APIClient
) -> None:
    """Compose's dependencies count, also through others, and so does a shared network."""
    place.gate.unlink()
    app = compose_labels("p", "app") | {
        "com.docker.compose.depends_on": "cache:service_started:false"
    }
    cache = compose_labels("p", "cache") | {
        "com.docker.compose.depends_on": "db:service_healthy:true"
    }
    world.container("once-z-db", compose_labels("p", "db") | QUIET, running=True)
    world.container("once-y-cache", cache, running=True)
    world.container("once-a-app", app | QUIET, running=True)
    world.container("once-x-vpn", QUIET, running=True)
    made = docker_client.create_container(
        "sleeper",
        name="once-b-behind",
        labels=QUIET,
        stop_signal="SIGKILL",
        host_config=docker_client.create_host_config(network_mode="container:once-x-vpn"),
    )
    world._made["container"].append(made["Id"])
    docker_client.start(made)
    since = int(time.time())
    assert 0 == place.run()[0]
    filters: dict[str, Any] = {"type": "container", "event": ["die", "start"]}
    until = int(time.time()) + 1
    told = docker_client.events(since=since, until=until, filters=filters, decode=True)
    order = [f"{one['Action']} {one['Actor']['Attributes']['name']}" for one in told]
    stops = [name for name in order if name.startswith("die once-")]
    starts = [name for name in order if name.startswith("start once-")]
    assert stops.index("die once-a-app") < stops.index("die once-z-db")
    assert stops.index("die once-b-behind") < stops.index("die once-x-vpn")
    assert [name.replace("die", "start") for name in reversed(stops)] == starts[-4:]
    assert "once-y-cache" not in "".join(stops)


def test_one_that_compose_has_recreated_meanwhile_is_started(place: Place, world: World) -> None:
    """It has another id and name, but is the same part of the same project."""
    labels = compose_labels("p", "db") | QUIET
    first = world.container("once-p-db-1", labels, running=True)
    with place.held() as started:
        world.remove(first)
        world.container("once-p-database-1", labels)
        place.open_gate()
        assert 0 == started.end(), started.log
    assert "running" == place.state("once-p-database-1")


def test_nothing_is_backed_up_where_one_would_not_come_back(place: Place, world: World) -> None:
    """A container that goes when it stops is told before anything is stopped."""
    world.container("once-db", QUIET, running=True)
    fleeting = world.container("once-fleeting", QUIET, running=True, auto_remove=True)
    since = place.client.inspect_container("once-db")["State"]["StartedAt"]
    try:
        status, _, log = place.run()
        assert 1 == status
        assert "once-fleeting would be removed" in log
        assert since == place.client.inspect_container("once-db")["State"]["StartedAt"]
        assert 0 == place.snapshots()
    finally:
        world._made["container"].remove(fleeting)
        place.client.remove_container(fleeting, force=True)


def test_a_word_that_is_no_answer_is_told_and_the_rest_is_done(place: Place, world: World) -> None:
    """The container is not stopped, the exit status says that something is wrong."""
    place.gate.unlink()
    world.container("once-db", {"backrest.quiesce": "perhaps"}, running=True)
    status, _, log = place.run()
    assert 3 == status
    assert "once-db backrest.quiesce" in log
    assert 1 == place.snapshots()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    place: Place, world: World, rcb: str
) -> None:
    """Not even a folder is made."""
    labels = (
        compose_labels("p", "db") | QUIET | {"backrest.enable": "on", "backrest.keep": "daily=7"}
    )
    world.container("once-db", labels, running=True)
    status, out, log = place.run("--dry-run")
    assert (0, "") == (status, log)
    source = place.folder / "source"
    run = f"run plan backrest_sidecar_web: {source} into repository r"
    assert ["stop once-db", run, "start once-db"] == out.splitlines()
    status, out, log = place.run("--dry-run", "--rcb-image", rcb, "--rcb-arg", "--debug")
    forget = "restic forget --group-by paths --path /volumes/p/db --keep-daily 7 --prune"
    expected = [f"run in {rcb}: rcb backup --debug", f"forget in {rcb}: {forget}"]
    assert ["stop once-db", *expected, "start once-db"] == out.splitlines()
    assert [place.config] == list(place.config.parent.iterdir())


def test_it_does_not_run_beside_another_runner_or_backrest(place: Place, world: World) -> None:
    """What holds the document is named, nothing is stopped; a Backrest may be overruled."""
    place.gate.unlink()
    world.container("once-db", QUIET, running=True)
    since = place.client.inspect_container("once-db")["State"]["StartedAt"]
    with SchedulerLock([place.config.parent], "daemon"):
        status, _, log = place.run("--force")
    assert 1 == status
    assert "backrest-runner daemon" in log
    world.container("once-backrest", {}, running=True)
    status, _, log = place.run("--backrest-container", "once-backrest")
    assert 1 == status
    assert "once-backrest" in log
    assert since == place.client.inspect_container("once-db")["State"]["StartedAt"]
    assert 0 == place.run("--backrest-container", "once-backrest", "--force")[0]


def test_the_image_backs_up_and_forgets_what_labels_keep(
    place: Place, world: World, rcb: str
) -> None:
    """It is run as its users know it, and its secrets are in no line that we hand on."""
    keep = {"backrest.enable": "true", "backrest.keep": "last=3,within=30d,within-d=14d,w=8"}
    world.container("once-db", compose_labels("p", "db") | QUIET | keep, running=True)
    world.container("once-lone", {"backrest.enable": "true", "backrest.keep": "all"})
    words = ["--rcb-image", rcb, "--rcb-env-file", str(place.variables())]
    status, out, log = place.run(*words, "--exclude-bind-mounts", "--rcb-arg", "--verbose")
    assert 0 == status, log
    flags = "--keep-last 3 --keep-within 30d --keep-within-daily 14d --keep-weekly 8"
    assert [
        f"rcb backup --verbose binds=1 project=1 with {MASK}",
        "sees the engine",
        f"backup by {rcb}: done",
        f"restic forget --group-by paths --path /volumes/p/db {flags} --prune",
        "forget of p/db: done",
    ] == out.splitlines()
    assert "complaint\n" in log
    assert _PASSWORD not in out + log
    assert ("running", []) == (place.state("once-db"), place.ours())


def test_after_a_backup_that_failed_the_image_forgets_nothing(
    place: Place, world: World, rcb: str
) -> None:
    """A forget that fails is a warning, a backup that fails is a failure."""
    keep = {"backrest.enable": "true", "backrest.keep": "last=3"}
    world.container("once-db", QUIET | keep, running=True)
    words = ["--rcb-image", rcb, "--rcb-env-file"]
    status, out, _ = place.run(*words, str(place.variables(STATUS="2")))
    assert (1, f"backup by {rcb}: failed with exit status 2") == (status, out.splitlines()[-1])
    status, out, _ = place.run(*words, str(place.variables(FORGET_STATUS="1")))
    assert (3, "forget of once-db: failed with exit status 1") == (status, out.splitlines()[-1])
    assert ("running", []) == (place.state("once-db"), place.ours())


def test_what_an_image_left_after_a_kill_is_ended_and_the_rest_started(
    place: Place, world: World, rcb: str
) -> None:
    """The container of the image runs on without us: the next start ends and removes it."""
    world.container("once-db", QUIET, running=True)
    words = ["--rcb-image", rcb, "--rcb-env-file"]
    with place.start(*words, str(place.variables(HOLD="1"))) as started:
        started.wait_for(lambda: "complaint" in started.log, "the image")
        started.process.kill()
        started.end()
    assert ("exited", 1) == (place.state("once-db"), len(place.ours()))
    status, _, log = place.run(*words, str(place.variables()))
    assert 0 == status, log
    assert "leftover.ended" in log
    assert ("running", []) == (place.state("once-db"), place.ours())


def test_a_signal_ends_the_image_and_starts_what_was_stopped(
    place: Place, world: World, rcb: str
) -> None:
    """It is asked to end, and gone afterwards."""
    world.container("once-db", QUIET, running=True)
    words = ["--rcb-image", rcb, "--rcb-env-file", str(place.variables(HOLD="1"))]
    with place.start(*words) as started:
        started.wait_for(lambda: "complaint" in started.log, "the image")
        assert "exited" == place.state("once-db")
        started.process.terminate()
        assert 1 == started.end()
    assert "told to end" in started.out
    assert ("running", []) == (place.state("once-db"), place.ours())


def test_an_image_that_cannot_be_had_stops_nothing(place: Place, world: World) -> None:
    """It is fetched before anything is stopped."""
    world.container("once-db", QUIET, running=True)
    since = place.client.inspect_container("once-db")["State"]["StartedAt"]
    status, _, log = place.run("--rcb-image", "localhost:1/none:1")
    assert 1 == status
    assert "localhost:1/none:1" in log
    assert since == place.client.inspect_container("once-db")["State"]["StartedAt"]
