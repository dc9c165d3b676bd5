"""A pass over real containers beside the bare list calls that it cannot do without."""

import io
import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import docker

from benchmarks.measure import Step, rounds_of
from benchmarks.reconcile.stack import document, labels_of, mounts_of
from benchmarks.table import Row
from sidecar.docker.inventory import DockerInventory
from sidecar.reconciler.observe import observe_docker
from sidecar.reconciler.reconcile import PassOutcome, Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import InventorySource, ReconcilerSettings
from sidecar.reconciler.state import Memory

GOAL_RATIO = 1.25
_MARK = "benchmark-of-reconcile"
WHATS = (
    "pass over real containers, nothing new since the last",
    "pass over real containers, nothing remembered",
    "of both: observe",
)


def docker_rows(address: str, folder: Path, count: int, rounds: int) -> list[Row]:
    """Create `count` containers on the engine, measure, and remove them again.

    Nothing is started. `folder` is empty and may be filled.
    """
    with ExitStack() as stack:
        client = docker.APIClient(base_url=address, version="auto", timeout=600)
        stack.callback(client.close)
        stack.enter_context(_containers(client, count))
        engine = stack.enter_context(DockerInventory(address))
        settings = ReconcilerSettings(
            folder / "config.json", source=InventorySource(docker_sock=address)
        )
        settings.config.write_text(document())
        _pass(engine, settings)
        if (second := _pass(engine, settings)).changed:
            raise RuntimeError(f"a second pass would write {second.proposal.changes.updated}")
        kept = _reconciler(settings)
        _pass(engine, settings, kept)
        steps = {
            "floor": Step(lambda: _bare_lists(client)),
            "quiet": Step(lambda: _pass(engine, settings, kept)),
            "pass": Step(lambda: _pass(engine, settings)),
            "observe": Step(lambda: observe_docker(engine, settings)),
        }
        taken = rounds_of(steps, rounds, time.perf_counter)
    return [
        _row(WHATS[0], count, taken["quiet"], taken["floor"], goal=True),
        _row(WHATS[1], count, taken["pass"], taken["floor"], goal=False),
        _row(WHATS[2], count, taken["observe"], taken["floor"], goal=False),
    ]


def rows_without_docker() -> list[Row]:
    """Return the rows of this part for a run that has no engine."""
    return [Row(what, 0, "not measured", "needs --engine ADDRESS") for what in WHATS]


def _bare_lists(client: docker.APIClient) -> None:
    client.containers(all=True)
    client.volumes()


def _reconciler(settings: ReconcilerSettings) -> Reconciler:
    return Reconciler(settings, {}, PassRecorder(Memory(None)), is_from_docker=False)


def _pass(
    engine: DockerInventory, settings: ReconcilerSettings, kept: Reconciler | None = None
) -> PassOutcome:
    seen = observe_docker(engine, settings)
    now = datetime.now().astimezone()
    return (kept or _reconciler(settings)).run(seen.settings, seen.inventory, now)


def _row(what: str, count: int, seconds: float, floor: float, *, goal: bool) -> Row:
    ratio = seconds / floor
    return Row(
        what,
        count,
        f"{seconds * 1000:.1f} ms",
        f"{floor * 1000:.1f} ms (bare list calls)",
        ratio,
        f"≤ {GOAL_RATIO}" if goal else "",
        ratio <= GOAL_RATIO if goal else None,
    )


@contextmanager
def _containers(client: docker.APIClient, count: int) -> Iterator[None]:
    """Create containers with volumes and binds; whatever carries our mark goes in the end."""
    image, mark = f"{_MARK}-{os.getpid()}", {_MARK: str(os.getpid())}
    try:
        client.import_image_from_data(_one_file(), repository=image, tag="latest")
        for number in range(count):
            _create(client, number, image, mark)
        yield
    finally:
        _remove(client, image, mark)


def _create(client: docker.APIClient, number: int, image: str, mark: dict[str, str]) -> None:
    binds = [f"{name}:{destination}" for name, destination in mounts_of(number)]
    for name, _ in mounts_of(number):
        if not name.startswith("/"):
            client.create_volume(name, labels=mark)
    client.create_container(
        image,
        ["/nothing"],
        name=f"{image}-{number}",
        labels=labels_of(number) | mark,
        host_config=client.create_host_config(binds=binds, network_mode="none"),
    )


def _remove(client: docker.APIClient, image: str, mark: dict[str, str]) -> None:
    of_ours = {"label": [f"{key}={value}" for key, value in mark.items()]}
    for container in client.containers(all=True, filters=of_ours):
        client.remove_container(container["Id"], force=True)
    for volume in client.volumes(filters=of_ours)["Volumes"] or ():
        client.remove_volume(volume["Name"])
    if client.images(image):
        client.remove_image(image, force=True)


def _one_file() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("nothing"))
    return packed.getvalue()
