"""A flood of events from a fake engine: the daemon's memory stays as it is."""

import json
from pathlib import Path
from typing import Any

from benchmarks.daemon.process import Daemon, Memory, running_daemon, wait_until
from benchmarks.daemon.scale import Scale
from benchmarks.reconcile.stack import labels_of
from benchmarks.table import Row
from tests.fakes.fake_docker import FakeDocker

FLAT = "memory over a flood of events: growth from its first tenth on"
GOAL_MEGABYTES = 2.0
_WORKLOADS = 50
_CHUNK = 100
_MOUNT = {"Type": "bind", "Source": "/srv/data", "Destination": "/data", "Mode": "rw", "RW": True}


def event_row(folder: Path, scale: Scale) -> Row:
    """Send events as fast as the daemon takes them, and look at its memory after each batch.

    A batch is events of containers that the engine has, then one container that comes and
    one that goes: its plan in the file shows that the daemon has read all that came before.
    """
    with FakeDocker() as engine:
        for number in range(_WORKLOADS):
            engine.add(f"standing-{number}", labels_of(number), mounts=[_MOUNT])
        with running_daemon(folder / "events", engine.address, has_pages=True) as daemon:
            engine.wait_for_streams()
            wait_until(lambda: daemon.plans() == _WORKLOADS, "the plans")
            before = daemon.memory()
            taken = [_batch(engine, daemon, number, scale) for number in range(scale.batches)]
            passes = daemon.passes()
    return _row(before, taken, passes, scale)


def _batch(engine: FakeDocker, daemon: Daemon, number: int, scale: Scale) -> Memory:
    lines = [_line(identity, entry) for identity, entry in engine.containers.items()]
    each = scale.events // scale.batches
    for first in range(0, each, _CHUNK):
        several = range(first, min(first + _CHUNK, each))
        engine.send(b"".join(lines[index % len(lines)] for index in several))
    labels = labels_of(number) | {"com.docker.compose.project": f"batch{number:04d}"}
    come = engine.add(f"batch-{number}", labels, mounts=[_MOUNT])
    plan = f"batch{number:04d}".encode()
    wait_until(lambda: plan in daemon.config.read_bytes(), "the batch's plan")
    engine.remove(come)
    return daemon.memory()


def _line(identity: str, entry: dict[str, Any]) -> bytes:
    attributes = {**entry["Labels"], "name": entry["Names"][0][1:]}
    actor = {"ID": identity, "Attributes": attributes}
    event = {"Type": "container", "Action": "start", "Actor": actor}
    return json.dumps(event).encode() + b"\n"


def _row(before: Memory, taken: list[Memory], passes: int, scale: Scale) -> Row:
    first, last = taken[0], taken[-1]
    growth = (last.resident - first.resident) / 1e6
    tenth = scale.events // scale.batches
    return Row(
        f"{FLAT}: {scale.events:,} events",
        _WORKLOADS,
        f"{growth:+.1f} MB to {last.resident / 1e6:.1f} MB",
        f"{before.resident / 1e6:.1f} MB before, {first.resident / 1e6:.1f} after {tenth:,}; "
        f"{passes} passes",
        last.resident / first.resident,
        f"≤ {GOAL_MEGABYTES:.0f} MB",
        growth <= GOAL_MEGABYTES,
    )
