"""The swarm-scale template as rendered, on a Swarm of one node."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.types import ContainerSpec, ServiceMode, TaskTemplate

from hook_shell import Hooks, put_before_docker, wait_until
from private_docker import PrivateEngine
from sample_stack import import_image
from sidecar.docker.markers import read_markers
from sidecar.docker.stopped import StopVerb
from world import IMAGE, own_engine

SERVICE = "stack_web"
# Its name begins alike, which is what the engine's own filter looks at.
OTHER = "stack_web2"
SHELLS = pytest.mark.parametrize("shell", [("sh",), ("busybox", "sh")], ids=["dash", "busybox"])


@dataclass
class Swarm:
    """A node that is its own Swarm, the services on it, and the hooks of one of them."""

    client: docker.APIClient
    engine: PrivateEngine
    folder: Path

    def serve(self, name: str = SERVICE, replicas: int | None = 2, **container: Any) -> str:
        """Make a service, global without `replicas`, and wait until it runs; return its id."""
        mode = ServiceMode("global") if replicas is None else ServiceMode("replicated", replicas)
        spec = ContainerSpec(f"{IMAGE}:latest", stop_grace_period=1, **container)
        template = TaskTemplate(spec, networks=[{"Target": "host"}])
        made = self.client.create_service(template, name=name, mode=mode)
        self.wait_for(1 if replicas is None else replicas, name)
        return str(made["ID"])

    def running(self, name: str = SERVICE) -> int:
        """Count the containers of a service that run."""
        # Not by its name: containers of the last service of that name may still be ending.
        label = f"com.docker.swarm.service.id={self.client.inspect_service(name)['ID']}"
        return len(self.client.containers(filters={"label": label}))

    def replicas(self, name: str = SERVICE) -> int:
        """Tell how many a service shall have."""
        return int(self.client.inspect_service(name)["Spec"]["Mode"]["Replicated"]["Replicas"])

    def scale(self, replicas: int) -> None:
        """Scale the service by hand."""
        now = self.client.inspect_service(SERVICE)
        mode = ServiceMode("replicated", replicas)
        self.client.update_service(
            SERVICE, now["Version"]["Index"], mode=mode, fetch_current_spec=True
        )

    def wait_for(self, count: int, name: str = SERVICE) -> None:
        """Wait until so many containers of a service run."""
        wait_until(lambda: self.running(name) == count, f"{count} of {name}")

    def hooks(self, **labels: str) -> Hooks:
        """Return the hooks of the service, swarm-scale if no labels ask for others."""
        given = labels or {"hooks.template": "swarm-scale"}
        task = f"{SERVICE}.1.whatever"
        return Hooks(given, self.engine, self.folder, name=task, service=SERVICE)

    def clear(self) -> None:
        """Remove every service; their containers take some seconds more, for which nobody waits."""
        for service in self.client.services():
            self.client.remove_service(service["ID"])


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """Run an engine for this module alone: one that is a Swarm lists more than others do."""
    # It makes bridges of its own, which have no business among those of the machine.
    with own_engine(has_networks=True) as running:
        yield running


@pytest.fixture(scope="module")
def node(engine: PrivateEngine) -> Iterator[docker.APIClient]:
    """Make the engine a Swarm of its own on the loopback, whatever port is free."""
    client = docker.APIClient(base_url=engine.address, version="auto")
    import_image(client, IMAGE)
    client.init_swarm(
        advertise_addr="127.0.0.1", listen_addr="127.0.0.1:0", data_path_addr="127.0.0.1"
    )
    yield client
    wait_until(lambda: not client.containers(all=True), "an empty node")
    client.leave_swarm(force=True)
    client.close()


@pytest.fixture
def swarm(node: docker.APIClient, engine: PrivateEngine, tmp_path: Path) -> Iterator[Swarm]:
    """Return an empty Swarm, and empty it again."""
    swarm = Swarm(node, engine, tmp_path)
    yield swarm
    swarm.clear()


def check_marker(hooks: Hooks, identity: str, replicas: int, *, is_finished: bool = True) -> None:
    """Read the marker of a service that was scaled down."""
    [marker] = read_markers(hooks.marker.parent)
    assert (marker.plan, marker.container) == ("plan_web", identity[:12])
    assert (marker.is_of_service, marker.stop.replicas) == (True, replicas)
    assert (marker.stop.verb, bool(marker.stop.finished)) == (StopVerb.SCALE, is_finished)


@SHELLS
def test_all_replicas_stop_and_come_back(shell: Sequence[str], swarm: Swarm) -> None:
    """START returns when nothing runs any more; END gives back as many as there were."""
    identity = swarm.serve(replicas=3)
    swarm.serve(OTHER, 1)
    hooks = swarm.hooks()
    assert hooks.run(0, *shell) == (0, "")
    assert (swarm.replicas(), swarm.running()) == (0, 0)
    check_marker(hooks, identity, 3)
    assert hooks.run(1, *shell) == (0, "")
    swarm.wait_for(3)
    assert swarm.replicas() == 3
    assert (swarm.replicas(OTHER), swarm.running(OTHER)) == (1, 1)
    assert not hooks.marker.exists()


def test_a_service_at_zero_stays_there(swarm: Swarm) -> None:
    """Whoever has scaled it to 0 wants it so."""
    swarm.serve(replicas=0)
    hooks = swarm.hooks()
    assert hooks.run(0) == (0, f"{SERVICE} is at 0 replicas: left as it is\n")
    assert not hooks.marker.exists()
    assert hooks.run(1) == (0, "")
    assert swarm.replicas() == 0


def test_a_global_service_is_refused(swarm: Swarm) -> None:
    """It runs once on each node and has no scale: the backup fails and says why."""
    swarm.serve(replicas=None)
    hooks = swarm.hooks()
    status, said = hooks.run(0)
    assert (status, said) == (1, f"{SERVICE} is no replicated service: it has no scale\n")
    assert swarm.running() == 1
    assert hooks.run(1) == (0, "")


def test_a_service_that_is_gone_is_no_failure(swarm: Swarm) -> None:
    """Its data is still backed up, although another service's name begins like its own."""
    swarm.serve(OTHER, 1)
    hooks = swarm.hooks()
    assert hooks.run(0) == (0, f"{SERVICE} does not exist: nothing to scale\n")
    assert hooks.run(1) == (0, "")
    assert swarm.running(OTHER) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_start_that_died_halfway_is_made_good(moment: str, swarm: Swarm, tmp_path: Path) -> None:
    """Killed right before or after it scaled: END puts right what was done, and no more."""
    identity = swarm.serve()
    hooks = swarm.hooks()
    path = put_before_docker(tmp_path, "service scale", moment)
    assert hooks.run(0, PATH=path)[0] == -9
    check_marker(hooks, identity, 2, is_finished=False)
    assert swarm.replicas() == (2 if moment == "before" else 0)
    assert hooks.run(1)[0] == 0
    assert swarm.replicas() == 2
    assert not hooks.marker.exists()


def test_the_marker_lives_until_the_service_has_its_replicas_again(
    swarm: Swarm, tmp_path: Path
) -> None:
    """A second START keeps it, an END that could not ask the engine too; then END is over."""
    identity = swarm.serve()
    hooks = swarm.hooks()
    assert hooks.run(0) == (0, "")
    assert hooks.run(0) == (0, f"{SERVICE} is at 0 replicas: left as it is\n")
    path = put_before_docker(tmp_path, "service inspect", "instead")
    assert hooks.run(1, PATH=path)[0] == 1
    check_marker(hooks, identity, 2)
    assert hooks.run(1) == (0, "")
    swarm.wait_for(2)
    swarm.scale(0)
    assert hooks.run(1) == (0, "")
    assert swarm.replicas() == 0


@pytest.fixture
def scaled_down(swarm: Swarm, tmp_path: Path) -> Hooks:
    """Return the hooks of a service that a run has scaled down, and then died."""
    swarm.serve()
    hooks = swarm.hooks()
    hooks.run(0, PATH=put_before_docker(tmp_path, "service scale", "after"))
    assert swarm.replicas() == 0
    return hooks


def test_whoever_scaled_it_meanwhile_has_the_last_word(swarm: Swarm, scaled_down: Hooks) -> None:
    """Scaled by hand during the backup: it stays as it was scaled."""
    swarm.scale(1)
    status, said = scaled_down.run(1)
    assert status == 0
    assert "someone else" in said
    assert swarm.replicas() == 1
    assert not scaled_down.marker.exists()


def test_a_service_made_anew_is_left_alone(swarm: Swarm, scaled_down: Hooks) -> None:
    """The marker speaks of the service that was scaled, not of the next of its name."""
    swarm.clear()
    swarm.serve(replicas=0)
    status, said = scaled_down.run(1)
    assert status == 0
    assert "another service" in said
    assert swarm.replicas() == 0
    assert not scaled_down.marker.exists()


def test_a_task_that_does_not_end_fails_the_backup(swarm: Swarm, tmp_path: Path) -> None:
    """Two minutes are given, which pass at once here; END then scales back."""
    swarm.serve(replicas=1)
    hooks = swarm.hooks()
    path = put_before_docker(tmp_path, "ps --quiet", "running")
    sleep = tmp_path / "bin" / "sleep"
    sleep.write_text("#!/bin/sh\n")
    sleep.chmod(0o755)
    status, said = hooks.run(0, PATH=path)
    assert (status, said) == (1, f"{SERVICE} still runs after two minutes\n")
    assert hooks.run(1) == (0, "")
    assert swarm.replicas() == 1


def test_a_dump_runs_in_a_task_of_the_service(swarm: Swarm, tmp_path: Path) -> None:
    """Tasks have no lasting names: whichever runs is taken, and at 0 replicas none."""
    tools = tmp_path / "tools"
    tools.mkdir()
    tool = tools / "redis-cli"
    tool.write_text('#!/bin/sh\nfor out; do :; done\necho dumped >"$out"\n')
    tool.chmod(0o755)
    busybox = ("rm", "mv", "cat")
    for name in busybox:
        (tools / name).symlink_to("/bin/busybox")
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    mounts = [f"{tools}:/tools", f"{dumps}:/dumps:rw"]
    swarm.serve(replicas=1, mounts=mounts, env=["PATH=/tools:/bin"])
    labels = {"hooks.template": "redis-save", "dump.path": "/dumps/all.rdb"}
    hooks = swarm.hooks(**labels)
    assert hooks.run(0) == (0, "")
    assert (dumps / "all.rdb").read_text() == "dumped\n"
    swarm.scale(0)
    swarm.wait_for(0)
    assert hooks.run(0) == (0, f"{SERVICE}.1.whatever is not running: its hook is left out\n")
