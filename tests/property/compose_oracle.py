"""What Docker Compose itself makes of a file, and what we make of it without: one shape for both."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sidecar.docker.compose.load import ComposeReading, load_compose
from sidecar.lib.errors import InventoryError
from tests.property.compose_files import Sample

ROOT = Path(__file__).parents[2]
# What scripts/test makes of constraints-compose.txt.
MADE = ROOT / ".cache" / "compose"
PROGRAM, OTHER_YAML = MADE / "docker-compose", MADE / "pyyaml"
_PREFIX = "com.docker.compose."


class Refused(NamedTuple):
    """A file that is not read, and why."""

    why: str


@dataclass(frozen=True)
class Made:
    """What a file makes; both readers are told in this shape, sorted.

    Attributes:
        containers: name, service, image, what it waits for.
        labels: container, key, value; without those of Compose.
        mounts: container, type, volume or path, destination, subpath.
        volumes: name, driver, options; of mounted volumes.
    """

    containers: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[str, ...], ...]
    mounts: tuple[tuple[str, ...], ...]
    volumes: tuple[tuple[str, ...], ...]


def ask_compose(files: list[Path], environment: Mapping[str, str]) -> Made | Refused:
    """Resolve files by Docker Compose; fail where the test setup has none."""
    assert PROGRAM.is_file(), f"{PROGRAM} is missing → run scripts/test, which fetches it"
    chosen = [word for file in files for word in ("-f", str(file))]
    done = subprocess.run(
        [PROGRAM, *chosen, "config", "--format", "json"],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        return Refused(done.stderr.strip().rpartition("\n")[2])
    return _made(_halved(json.loads(done.stdout)))


def read_without(files: list[Path], environment: Mapping[str, str]) -> Made | Refused:
    """Read files by our reader, on a machine that has no Compose."""
    try:
        reading = load_compose(files, environment={**environment, "PATH": "/nonexistent"})
    except InventoryError as error:
        return Refused(error.message)
    return told(reading)


def write_sample(sample: Sample, folder: Path) -> Path:
    """Write a sample and its `.env` into a project's folder; return the file."""
    project = folder / "place"
    project.mkdir(parents=True)
    file = project / "compose.yaml"
    file.write_bytes(sample.text.encode())
    if sample.dotenv is not None:
        (project / ".env").write_bytes(sample.dotenv)
    return file


def ask_other_yaml(
    files: Mapping[int, Path], environments: Mapping[int, Mapping[str, str]]
) -> tuple[str, dict[int, str]]:
    """Read files without Compose beside another PyYAML; return its version and our answers."""
    assert OTHER_YAML.is_dir(), f"{OTHER_YAML} is missing → run scripts/test, which fetches it"
    asked = {number: (str(file), dict(environments[number])) for number, file in files.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.property.compose_oracle"],
        cwd=ROOT,
        env={"PYTHONPATH": str(OTHER_YAML), "PYTHONHASHSEED": "0"},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    version, answers = json.loads(done.stdout)
    return version, {int(number): answer for number, answer in answers.items()}


def told(reading: ComposeReading) -> Made:
    """Tell a reading of ours in the shape of both."""
    containers, labels, mounts, used = [], [], [], set[str]()
    for one in reading.inventory.containers:
        waits = one.labels[f"{_PREFIX}depends_on"]
        containers.append((one.name, one.labels[f"{_PREFIX}service"], one.image, waits))
        labels += [(one.name, *pair) for pair in one.labels.items() if _PREFIX not in pair[0]]
        for mount in one.mounts:
            place = mount.name or mount.source
            mounts.append((one.name, mount.type, place, mount.destination, mount.subpath))
            used.add(mount.name)
    volumes = [
        (volume.name, volume.driver, str(sorted(volume.options.items())))
        for volume in reading.inventory.volumes.values()
        if volume.name in used
    ]
    return Made(*(tuple(sorted(set(part))) for part in (containers, labels, mounts, volumes)))


def _halved(tree: Any) -> Any:
    """Undo that `config` writes every dollar sign twice."""
    if isinstance(tree, str):
        return tree.replace("$$", "$")
    if isinstance(tree, list):
        return [_halved(item) for item in tree]
    if isinstance(tree, dict):
        return {key.replace("$$", "$"): _halved(value) for key, value in tree.items()}
    return tree


def _made(tree: Any) -> Made:
    containers, labels, mounts, used = [], [], [], set[str]()
    services = tree.get("services") or {}
    for key, service in services.items():
        waits = ",".join(
            f"{other}:{entry['condition']}:{str(entry.get('restart', False)).lower()}"
            for other, entry in sorted((service.get("depends_on") or {}).items())
        )
        count = service.get("scale")
        if count is None:
            count = (service.get("deploy") or {}).get("replicas", 1)
        for number in range(1, count + 1):
            name = service.get("container_name") or f"{tree['name']}-{key}-{number}"
            containers.append((name, key, service.get("image", ""), waits))
            labels += [(name, *pair) for pair in (service.get("labels") or {}).items()]
            places = {place[2]: place for place in _mounts(tree, key, ())}
            mounts += [(name, *place[:4]) for place in places.values()]
            used |= {place[4] for place in places.values()}
    volumes = [
        (
            volume.get("name", ""),
            volume.get("driver", "local"),
            str(sorted(volume.get("driver_opts", {}).items())),
        )
        for key, volume in (tree.get("volumes") or {}).items()
        if key in used
    ]
    return Made(*(tuple(sorted(set(part))) for part in (containers, labels, mounts, volumes)))


def _mounts(tree: Any, key: str, seen: tuple[str, ...]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield type, place, destination, subpath and volume's key, as the engine will have them."""
    service = tree["services"].get(key, {})
    for other in service.get("volumes_from") or ():
        source = other.removeprefix("service:").partition(":")[0]
        if not other.startswith("container:") and source not in seen:
            yield from _mounts(tree, source, (*seen, key))
    for kind, folder in (("configs", "/"), ("secrets", "/run/secrets")):
        for grant in service.get(kind) or ():
            target = Path(folder) / (grant.get("target") or grant["source"])
            if file := tree[kind][grant["source"]].get("file"):
                yield "bind", file, str(target), "", ""
    for text in service.get("tmpfs") or ():
        yield "tmpfs", "", _clean(text.partition(":")[0]), "", ""
    for entry in service.get("volumes") or ():
        kind, source, target = entry["type"], entry.get("source", ""), _clean(entry["target"])
        if kind == "volume" and source:
            subpath = (entry.get("volume") or {}).get("subpath", "")
            yield kind, tree["volumes"][source].get("name", ""), target, subpath, source
        else:
            yield kind, _host(source) if kind == "bind" else "", target, "", ""


def _host(path: str) -> str:
    """A path of Windows is none on the host."""
    return "" if re.match(r"[A-Za-z]:[/\\\\]|\\\\\\\\", path) else _clean(path)


def _clean(path: str) -> str:
    return str(Path("/", path.lstrip("/")))


if __name__ == "__main__":
    wanted = json.load(sys.stdin)
    found = {key: repr(read_without([Path(file)], given)) for key, (file, given) in wanted.items()}
    json.dump([yaml.__version__, found], sys.stdout)
