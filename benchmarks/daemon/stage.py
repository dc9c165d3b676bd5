"""Many containers on the engine, made and removed by several threads."""

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.daemon.docker_http import DockerHttp, render_filters
from benchmarks.reconcile.stack import labels_of, mounts_of

MARK = "benchmark-of-daemon"
_BUSYBOX = Path("/bin/busybox")
_THREADS = 6
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Spec:
    """A container to be: its name, labels, binds and further fields of the create call."""

    name: str
    labels: dict[str, str]
    binds: tuple[str, ...] = ()
    more: tuple[tuple[str, Any], ...] = ()

    @property
    def volumes(self) -> list[str]:
        """The named volumes among the binds."""
        sources = [bind.partition(":")[0] for bind in self.binds]
        return [source for source in sources if not source.startswith("/")]


class Stage:
    """What the benchmark puts on an engine; all of it carries our mark and goes at the end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.image = f"{MARK}-{os.getpid()}"
        self._mark = {MARK: str(os.getpid())}

    def create_volumes(self, specs: Iterable[Spec]) -> None:
        """Create the volumes first, as Compose does, so that they cost the containers nothing."""
        names = [name for spec in specs for name in spec.volumes]
        bodies = [{"Name": name, "Labels": self._mark} for name in names]
        self._each(lambda docker, body: docker.ask("POST", "/volumes/create", body), bodies)

    def create(self, specs: Iterable[Spec]) -> list[str]:
        """Create the containers as fast as several threads can; return their ids."""
        return self._each(self.create_one, specs)

    def create_one(self, docker: DockerHttp, spec: Spec) -> str:
        """Create one container over a connection of the caller's; return its id."""
        body = {
            "Image": self.image,
            "Cmd": ["/bin/sleep", "86400"],
            "Labels": spec.labels | self._mark,
            "HostConfig": {"NetworkMode": "none", "Binds": list(spec.binds)},
            **dict(spec.more),
        }
        return str(docker.ask("POST", f"/containers/create?name={spec.name}", body)["Id"])

    def start(self, ids: Iterable[str]) -> None:
        """Start these containers."""
        self._each(lambda docker, one: docker.ask("POST", f"/containers/{one}/start"), ids)

    def remove_containers(self) -> None:
        """Remove all containers of ours, running or not, as fast as several threads can."""
        listed = DockerHttp(self.address).ask("GET", f"/containers/json?all=1&{self._ours()}")
        self.remove(entry["Id"] for entry in listed)

    def remove(self, ids: Iterable[str]) -> None:
        """Remove these containers."""
        self._each(lambda docker, one: docker.ask("DELETE", f"/containers/{one}?force=1"), ids)

    def clear(self) -> None:
        """Remove everything of ours."""
        self.remove_containers()
        docker = DockerHttp(self.address)
        listed = docker.ask("GET", f"/volumes?{self._ours()}")["Volumes"] or ()
        names = [entry["Name"] for entry in listed]
        self._each(lambda docker, one: docker.ask("DELETE", f"/volumes/{one}"), names)
        with suppress(RuntimeError):
            docker.ask("DELETE", f"/images/{self.image}?force=1")

    def _ours(self) -> str:
        return render_filters(label=[f"{key}={value}" for key, value in self._mark.items()])

    def _each(self, call: Callable[[DockerHttp, Any], Any], items: Iterable[Any]) -> list[Any]:
        """Make one call for each item, in threads with a connection each."""
        waiting = list(items)
        shares = [waiting[number::_THREADS] for number in range(_THREADS)]

        def serve(share: list[Any]) -> list[Any]:
            docker = DockerHttp(self.address)
            try:
                return [call(docker, item) for item in share]
            finally:
                docker.close()

        with ThreadPoolExecutor(_THREADS) as pool:
            return [answer for answers in pool.map(serve, shares) for answer in answers]


@contextmanager
def staged(address: str) -> Iterator[Stage]:
    """Return an engine with an image of ours; everything of ours is removed afterwards.

    Raises RuntimeError for an engine that has labelled containers already.
    """
    docker = DockerHttp(address)
    labelled = render_filters(label=["backrest.enable"])
    if docker.ask("GET", f"/containers/json?all=1&{labelled}"):
        raise RuntimeError(f"{address} has labelled containers; the figures would count them too")
    stage = Stage(address)
    try:
        docker.ask("POST", f"/images/create?fromSrc=-&repo={stage.image}&tag=latest", _busybox())
        yield stage
    finally:
        stage.clear()


def plain_specs(kind: str, count: int) -> list[Spec]:
    """Labelled containers as people have them; none is due within the next hours."""
    return [_spec(kind, number, mounts_of(number)) for number in range(count)]


def sample_spec(kind: str, number: int) -> Spec:
    """One labelled container with one volume, in a project of its own."""
    return _spec(f"{kind}{number:04d}", 3, [("data", "/data")])


def checked_specs(count: int, checks: int) -> list[Spec]:
    """Labelled containers to be started; the first `checks` check their health each second."""
    check = {"Test": ["CMD", "true"], "Interval": _SECOND, "Timeout": 10 * _SECOND}
    specs = [_spec("checked", number, [(f"data-{number}", "/data")]) for number in range(count)]
    checked = [replace(spec, more=(("Healthcheck", check),)) for spec in specs[:checks]]
    return checked + specs[checks:]


def _spec(kind: str, number: int, mounts: list[tuple[str, str]]) -> Spec:
    ours = f"{MARK}-{os.getpid()}-{kind}"
    binds = [
        f"{source if source.startswith('/') else f'{ours}-{source}'}:{destination}"
        for source, destination in mounts
    ]
    labels = labels_of(number)
    project = f"{kind}{labels['com.docker.compose.project']}"
    labels["com.docker.compose.project"] = project
    # A runner is not touched right before a backup is due.
    hour = (datetime.now().astimezone() + timedelta(hours=12)).hour
    labels["backrest.schedule"] = f"{number % 60} {hour} * * *"
    return Spec(f"{ours}-{number}", labels, tuple(binds))


def _busybox() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(_BUSYBOX, "bin/busybox")
        for name in ("sh", "sleep", "true"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return packed.getvalue()
