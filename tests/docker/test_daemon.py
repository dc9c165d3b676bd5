"""The daemon as a process, on a real engine: it sees at once, writes once, and heals."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest

from daemon_process import DaemonProcess, run_daemon
from private_docker import PrivateEngine, run_engine, stop_engine
from sample_stack import compose_labels, import_image
from sidecar_command import DOCUMENT, ENABLED
from world import IMAGE, World

BY_HAND = {"id": "by-hand", "repo": "main", "paths": ["/home"], "unknown": 1.0}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document with somebody else's plan."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DOCUMENT | {"plans": [BY_HAND]}, indent=2))
    return path


@pytest.fixture
def daemon(config: Path, engine: PrivateEngine, world: World) -> Iterator[DaemonProcess]:
    """A daemon that listens to the engine's events."""
    del world  # made before, and cleared after
    with run_daemon(config, engine.address) as running:
        running.wait_for_event("events.connected")
        running.wait_for_event("reconcile.complete")
        yield running


def test_a_labelled_container_is_a_plan_long_before_the_next_look(
    daemon: DaemonProcess, world: World
) -> None:
    """The event of its creation is enough; its removal is told, and takes nothing away."""
    made = world.container("web", ENABLED, ["web-data:/data"])
    daemon.wait_for_plans("web")
    assert [f"{world.client.info()['DockerRootDir']}/volumes/web-data/_data"] == daemon.plans()[
        "web"
    ]["paths"]

    world.remove(made)
    daemon.wait_for_event("plan.orphaned")
    assert {"web"} == set(daemon.plans())
    assert "schedule" in daemon.plans()["web"]


def test_what_stands_in_the_document_of_others_stays(daemon: DaemonProcess, world: World) -> None:
    """Number spelling, unknown keys and all."""
    world.container("web", ENABLED, ["web-data:/data"])
    daemon.wait_for_plans("web")

    assert '"unknown": 1.0' in daemon.config.read_text()
    assert [BY_HAND] == [
        plan for plan in json.loads(daemon.config.read_text())["plans"] if plan["id"] == "by-hand"
    ]


def test_an_edit_of_an_owned_key_is_put_back_at_once(daemon: DaemonProcess, world: World) -> None:
    """The document's own change is the hint; it is told by plan and key."""
    world.container("web", ENABLED, ["web-data:/data"])
    daemon.wait_for_plans("web")
    wanted = daemon.plans()["web"]["paths"]
    document = json.loads(daemon.config.read_text())
    document["plans"][0]["paths"] = ["/elsewhere"]
    part = daemon.config.with_name("part")
    part.write_text(json.dumps(document))
    part.replace(daemon.config)

    daemon.wait_for_event("plan.drift")
    daemon.wait(lambda: daemon.plans()["web"]["paths"] == wanted, "the paths put back")
    (drift,) = [event for event in daemon.events() if event["event"] == "plan.drift"]
    assert ("backrest_sidecar_web", "paths") == (drift["plan"], drift["key"])


def test_health_checks_and_execs_do_not_wake_it(daemon: DaemonProcess, world: World) -> None:
    """Only what may change a plan does: after a hundred execs not one more pass was made."""
    made = world.container("web", ENABLED, ["web-data:/data"], running=True)
    daemon.wait_for_plans("web")
    before = daemon.wait_for_next_pass()
    for _ in range(100):
        call = world.client.exec_create(made, ["true"])
        world.client.exec_start(call)
    world.container("db", ENABLED, ["db-data:/data"])
    daemon.wait_for_plans("db", "web")

    assert daemon.passes() <= before + 3


def test_a_storm_is_a_few_writes(daemon: DaemonProcess, world: World) -> None:
    """The first container is seen at once, the rest together; all gone at once is an accident."""
    names = [f"s{number:03}" for number in range(120)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: world.container(name, ENABLED, [f"{name}:/data"]), names))
    daemon.wait_for_plans(*names)
    assert daemon.names().count("config.write") <= 6

    before = daemon.config.read_bytes()
    world.clear()
    daemon.wait_for_event("orphans.held")
    assert before == daemon.config.read_bytes()


def test_compose_s_recreation_keeps_the_plan(daemon: DaemonProcess, world: World) -> None:
    """Created under a temporary name, the old one removed, then renamed: no plan comes or goes."""
    labels = ENABLED | compose_labels("demo", "app")
    old = world.container("demo-app-1", labels, ["demo_data:/data"], running=True)
    daemon.wait_for_plans("demo_app")
    before = daemon.plans()
    changed = labels | {"backrest.paths.exclude": "*.log"}
    # Docker tells in whole seconds which of two containers is the newer one.
    second = int(time.time())
    daemon.wait(lambda: int(time.time()) > second, "another second")
    world.container("0123456789ab_demo-app-1", changed, ["demo_data:/data"])
    daemon.wait(lambda: daemon.plans()["demo_app"].get("excludes") == ["*.log"], "the new label")
    world.remove(old)
    world.client.rename("0123456789ab_demo-app-1", "demo-app-1")
    world.client.start("demo-app-1")
    daemon.wait_for_next_pass()

    assert {"demo_app": before["demo_app"] | {"excludes": ["*.log"]}} == daemon.plans()
    assert "plan.orphaned" not in daemon.names()


def test_a_missing_document_is_waited_for(
    tmp_path: Path, engine: PrivateEngine, world: World
) -> None:
    """Missing, empty and broken are states: when it is good the plans come, without a restart."""
    config = tmp_path / "later" / "config.json"
    config.parent.mkdir()
    world.container("web", ENABLED, ["web-data:/data"])
    with run_daemon(config, engine.address) as daemon:
        daemon.wait_for_event("document.broken")
        config.write_text("")
        daemon.wait_for_event("document.broken", 2)
        config.write_text('{"version": 6, "repos": [')
        daemon.wait_for_event("document.broken", 3)
        config.write_text(json.dumps(DOCUMENT))
        daemon.wait_for_plans("web")
        daemon.wait_for_event("document.good")


def test_sigterm_ends_it_within_two_seconds(daemon: DaemonProcess) -> None:
    """With status 0, and its heartbeat goes with it."""
    heartbeat = daemon.config.parent / ".sidecar" / "heartbeat.json"
    assert heartbeat.exists()
    start = time.monotonic()

    assert 0 == daemon.stop()
    assert time.monotonic() - start < 2.0
    assert not heartbeat.exists()


def test_the_engine_may_go_and_come_back(config: Path) -> None:
    """Killed and started again under the daemon: nothing is taken away, and it sees again."""
    folder = Path(tempfile.mkdtemp(prefix="eng-", dir="/tmp"))
    running = run_engine(folder)
    try:
        client = docker.APIClient(base_url=running.address, version="auto")
        import_image(client, IMAGE)
        host = client.create_host_config(binds=["web-data:/data"], network_mode="none")
        client.create_container(IMAGE, name="web", labels=ENABLED, host_config=host)
        with run_daemon(config, running.address) as daemon:
            daemon.wait_for_plans("web")
            daemon.wait_for_event("events.connected")
            before = config.read_bytes()
            os.kill(running.pid, signal.SIGTERM)
            daemon.wait_for_event("events.lost")
            daemon.wait_for_event("engine.lost")
            os.waitpid(running.pid, 0)
            assert before == config.read_bytes()
            (folder / "docker.pid").unlink(missing_ok=True)
            running = run_engine(folder)
            daemon.wait_for_event("events.connected", 2)
            host = client.create_host_config(binds=["db-data:/data"], network_mode="none")
            client.create_container(IMAGE, name="db", labels=ENABLED, host_config=host)
            daemon.wait_for_plans("db", "web")
        client.close()
    finally:
        stop_engine(running)
