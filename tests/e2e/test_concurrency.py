"""Two hundred concurrent reconciles of one document, beside a program that knows no locks.

Each reconciler owns plans of its own (a plan id prefix) and sees an inventory of its own,
so at the end every plan of every one of them must stand there, as if it had run alone.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import SidecarError
from sidecar.reconciler.observe import observe_docker
from sidecar.reconciler.reconcile import PassOutcome, Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from tests.fakes.fake_docker import FakeDocker

ROOT = Path(__file__).parents[2]
FOREIGN = ROOT / "tests" / "fakes" / "foreign_writer.py"
EXAMPLE = ROOT / "testdata" / "example-sidecar.config.json"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
RUNS, THREADS, PROCESSES = 200, 20, 12
SERVICES = ("app", "db")
PASSES = 5
OURS = "backrest_sidecar_"
HANDED = 4


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document with a counter of somebody else's and something long: it tears easily."""
    path = tmp_path / "config" / "config.json"
    path.parent.mkdir()
    root = json.loads(EXAMPLE.read_text())
    path.write_text(json.dumps({"foreign": 0, "padding": "x" * 30_000, **root}, indent=2))
    return path


def prefix(run: int) -> str:
    """The plan id prefix of one reconciler; none begins another."""
    return f"r{run:03d}_"


def ids(run: int) -> set[str]:
    """The plans of one reconciler."""
    return {prefix(run) + service for service in SERVICES}


ALL = {plan_id for run in range(RUNS) for plan_id in ids(run)}


def inventory(run: int) -> Inventory:
    """What one reconciler sees: containers that no other sees."""
    return Inventory(
        tuple(
            Container(
                f"{run:03d}{service}",
                service,
                labels={"backrest.enable": "true", "backrest.keep": f"last={run + 1}"},
                mounts=(Mount("bind", f"/srv/{run}/{service}", "/data"),),
            )
            for service in SERVICES
        )
    )


def reconcile(config: Path, run: int) -> PassOutcome:
    """One whole pass of one reconciler."""
    settings = ReconcilerSettings(config, Policy(plan_id_prefix=prefix(run)))
    return Reconciler(settings, {}, PassRecorder(Memory(None)), is_from_docker=False).run(
        settings, inventory(run), NOW
    )


def plans(root: Mapping[str, Any]) -> dict[str, Any]:
    """The plans of a decoded document by id."""
    return {plan["id"]: plan for plan in root["plans"]}


def ours(config: Path) -> dict[str, Any]:
    """The reconcilers' plans in the document; none stands there twice."""
    root = json.loads(config.read_bytes())
    assert len(root["plans"]) == len(plans(root))
    return {plan_id: plan for plan_id, plan in plans(root).items() if plan_id in ALL}


def wrong_plans(config: Path) -> list[str]:
    """The plans that are not what their reconciler, alone, would have written."""
    found = ours(config)
    expected = {
        prefix(run) + service: (f"/srv/{run}/{service}", run + 1)
        for run in range(RUNS)
        for service in SERVICES
    }
    output = {
        plan_id: (*plan["paths"], plan["retention"]["policyKeepLastN"])
        for plan_id, plan in found.items()
    }
    return sorted(
        key for key in expected.keys() | output.keys() if expected.get(key) != output.get(key)
    )


@contextmanager
def reading(config: Path) -> Iterator[list[str]]:
    """Read again and again while the body runs; give a list of everything that was wrong."""
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        # The breath is for the writers: all share one interpreter.
        while not done.wait(0.005):
            try:
                root = json.loads(config.read_bytes())
            except (OSError, ValueError) as error:
                wrong.append(repr(error))
                continue
            broken = [plan for plan in plans(root).values() if not plan.get("paths")]
            torn = len(root["padding"]) != 30_000 or "made-in-the-web-interface" not in plans(root)
            # A pass writes all plans of its reconciler at once, never some.
            parts = {plan_id[:5] for plan_id in plans(root) if plan_id in ALL}
            halves = [part for part in parts if not ids(int(part[1:4])) <= plans(root).keys()]
            wrong.extend(map(repr, [*broken, *halves, *(["torn"] if torn else [])]))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield wrong
    finally:
        done.set()
        reader.join()


def run_all(config: Path) -> list[PassOutcome]:
    """Run every reconciler once, many at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda run: reconcile(config, run), range(RUNS)))


@pytest.mark.timeout(400)
def test_two_hundred_reconciles_lose_nothing(config: Path) -> None:
    """Each writes its plans once; `modno` has counted every write, and no litter is left.

    Two hundred more passes, all at once, find everything as it should be.
    """
    before = json.loads(config.read_bytes())
    with reading(config) as wrong:
        outcomes = run_all(config)
    assert all(outcome.written for outcome in outcomes)
    assert [] == wrong
    assert [] == wrong_plans(config)
    after = json.loads(config.read_bytes())
    assert before["modno"] + RUNS == after["modno"]
    assert [config] == list(config.parent.iterdir())
    others = {plan_id: plan for plan_id, plan in plans(after).items() if plan_id not in ALL}
    assert plans(before) == others
    assert sorted(plans(after)) == list(plans(after))
    standing = config.read_bytes(), config.stat().st_mtime_ns, config.stat().st_ino
    assert not any(outcome.written for outcome in run_all(config))
    assert standing == (config.read_bytes(), config.stat().st_mtime_ns, config.stat().st_ino)


@contextmanager
def foreign_writer(config: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a program that saves from memory, every 20 ms, whatever stands there."""
    process = subprocess.Popen(
        [sys.executable, str(FOREIGN), str(config), "0.02"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.communicate()


@pytest.mark.timeout(400)
def test_saves_of_a_program_without_locks_are_kept_too(config: Path) -> None:
    """Its every save stands; what it took away of ours comes back with the next passes.

    It saves its own memory over our plans: that is no lost update, because it never read
    them. No save of its own is undone by us, and none of its fields changes.
    """
    with reading(config) as wrong, foreign_writer(config) as foreign:
        run_all(config)
        output, _ = foreign.communicate()
    assert 0 == foreign.returncode, f"a save was lost: {output}"
    assert [] == wrong
    assert int(output) > 5
    assert int(output) == json.loads(config.read_bytes())["foreign"]
    for _ in range(PASSES):
        if not any(outcome.written for outcome in run_all(config)):
            break
    assert [] == wrong_plans(config)
    assert [config] == list(config.parent.iterdir())


def saved_list(run: int) -> str:
    """The same inventory as an engine's answer."""
    return json.dumps(
        [
            {
                "Id": container.id,
                "Names": [f"/{container.name}"],
                "Labels": dict(container.labels),
                "Mounts": [
                    {"Type": mount.type, "Source": mount.source, "Destination": mount.destination}
                    for mount in container.mounts
                ],
            }
            for container in inventory(run).containers
        ]
    )


def start_process(config: Path, run: int) -> "subprocess.Popen[str]":
    """Start a whole command, as cron or another container would."""
    saved = config.parent.parent / f"{run}.json"
    saved.write_text(saved_list(run))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sidecar", "--config", str(config)),
            *("--inventory", str(saved), "--plan-id-prefix", prefix(run), "--output", "json"),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(400)
def test_whole_commands_at_once_lose_nothing(config: Path) -> None:
    """Processes of their own behave like threads."""
    processes = [start_process(config, run) for run in range(PROCESSES)]
    output = [process.communicate() for process in processes]
    assert [0] * PROCESSES == [process.returncode for process in processes], output
    assert [sorted(ids(run)) for run in range(PROCESSES)] == [
        json.loads(out)["added"] for out, _ in output
    ]
    assert {plan_id for run in range(PROCESSES) for plan_id in ids(run)} == set(ours(config))
    assert [config] == list(config.parent.iterdir())


class Shared:
    """A document, a state folder and a Docker that commands and a daemon share."""

    def __init__(self, config: Path, docker: FakeDocker) -> None:
        self.config = config
        self.docker = docker
        self.settings = ReconcilerSettings(config)
        for run in range(HANDED):
            for name in (f"steady{run}", f"first{run}", f"gone{run}"):
                self.add(name, name)

    def add(self, name: str, plan: str) -> str:
        """Add a container with a plan; return its id."""
        mounts = [{"Type": "bind", "Source": f"/srv/{name}", "Destination": "/data"}]
        labels = {"backrest.enable": "true", "backrest.id": plan}
        return self.docker.add(name, labels, mounts=mounts)

    def start(self, *flags: str) -> "subprocess.Popen[str]":
        """Start `reconcile` with these flags."""
        place = ("--config", str(self.config), "--docker-sock", self.docker.address)
        return subprocess.Popen(
            [sys.executable, "-m", "sidecar", "reconcile", *place, *flags],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *flags: str) -> None:
        """Run it to its end; plans that are not handed over yet are problems."""
        process = self.start(*flags)
        _, told = process.communicate()
        assert process.returncode in {0, 3}, told

    def hand_over(self, run: int) -> None:
        """Give a plan to another container."""
        self.run("--take-over", f"{OURS}first{run}")

    def give_up(self, run: int) -> None:
        """Lose a container, accept that, and have its plan disabled."""
        (lost,) = (
            key
            for key, one in self.docker.containers.copy().items()
            if f"/gone{run}" in one["Names"]
        )
        self.docker.remove(lost)
        self.run("--accept-orphans")
        self.run("--orphan-grace", "0s")

    def die(self, _: int) -> None:
        """Kill a command in the middle."""
        process = self.start("--accept-orphans")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.3)
        process.kill()
        process.communicate()

    @contextmanager
    def passing(self) -> Iterator[list[SidecarError]]:
        """Make passes, one after the other, as a daemon does; give what voided some."""
        failures: list[SidecarError] = []
        done = threading.Event()
        recorder = PassRecorder(Memory(self.settings.state_directory), is_applied=True)
        reconciler = Reconciler(self.settings, {}, recorder)

        def run() -> None:
            with DockerInventory(self.docker.address) as docker:
                while not done.wait(0.001):
                    inventory = observe_docker(docker, self.settings).inventory
                    try:
                        reconciler.run(self.settings, inventory, datetime.now(UTC))
                    except SidecarError as error:
                        failures.append(error)

        daemon = threading.Thread(target=run)
        daemon.start()
        try:
            yield failures
        finally:
            done.set()
            daemon.join()


@pytest.mark.timeout(400)
def test_nothing_that_commands_decide_beside_a_daemon_is_forgotten(config: Path) -> None:
    """Who has a plan, which orphans are accepted, which schedule a plan had: all of them."""
    with FakeDocker() as docker:
        shared = Shared(config, docker)
        shared.run()
        for one in docker.containers.values():
            plan = one["Labels"]["backrest.id"]
            one["Labels"]["backrest.id"] = plan.replace("first", "other")
        for run in range(HANDED):
            shared.add(f"second{run}", f"first{run}")
        with shared.passing() as failures, ThreadPoolExecutor(4) as pool:
            commands = (shared.give_up, shared.hand_over, shared.die)
            started = [pool.submit(one, run) for run in range(HANDED) for one in commands]
            assert [None] * len(started) == [one.result() for one in started]
        assert [] == failures
    state = Memory(shared.settings.state_directory).state
    owners = {plan: state.owners[plan].key for plan in state.owners if "first" in plan}
    assert {f"{OURS}first{run}": f"second{run}" for run in range(HANDED)} == owners
    lost = {f"{OURS}gone{run}" for run in range(HANDED)}
    assert lost == set(state.accepted)
    found = plans(json.loads(config.read_bytes()))
    assert [found[plan]["schedule"] for plan in sorted(lost)] == [{"disabled": True}] * HANDED
    nightly = found[f"{OURS}steady0"]["schedule"]
    assert dict.fromkeys(lost, nightly) == state.disabled
    assert () == state.disabling


def test_a_turn_ends_with_its_process(tmp_path: Path) -> None:
    """What is killed in the middle keeps nobody waiting."""
    folder = tmp_path / ".sidecar"
    Memory(folder).change(engine_id="E")
    code = (
        "import sys, pathlib\n"
        "from sidecar.reconciler.state import Memory\n"
        "with Memory(pathlib.Path(sys.argv[1])).turn():\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "begun\n" == process.stdout.readline()
        process.kill()
    assert 2.0 == Memory(folder).change(written_at=2.0).written_at
