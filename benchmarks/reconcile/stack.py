"""Labelled containers as people have them: Compose services with mounts and some labels each."""

import json
from hashlib import sha256
from typing import Any

from sidecar.docker.answers import parse_saved
from sidecar.docker.models import Inventory

_SERVICES = ("app", "db", "cache", "worker", "files", "mail", "wiki", "proxy")
_PREFIX = "backrest."
_IMAGES = 40
_CREATED = 1_760_000_000


def saved_list(count: int) -> bytes:
    """Make a saved inventory of `count` labelled containers, each a workload of its own."""
    containers = [_container(number) for number in range(count)]
    volumes = [
        {
            "Name": mount["Name"],
            "Driver": "local",
            "Mountpoint": mount["Source"],
            "Options": None,
            "Labels": None,
            "Scope": "local",
        }
        for container in containers
        for mount in container["Mounts"]
        if mount["Type"] == "volume"
    ]
    images = [{"Id": _image(number), "Config": {"Labels": _OF_IMAGE}} for number in range(_IMAGES)]
    whole = {"containers": containers, "volumes": {"Volumes": volumes}, "images": images}
    return json.dumps(whole).encode()


def inventory_of(count: int) -> Inventory:
    """Return the same as an inventory."""
    return parse_saved(saved_list(count), "the benchmark's list")


def document() -> str:
    """Make a document with a repository and a plan of somebody else's, indented as by Backrest."""
    plan = {
        "id": "by-hand",
        "repo": "main",
        "paths": ["/home"],
        "schedule": {"cron": "15 4 * * 0", "clock": "CLOCK_LOCAL"},
        "retention": {"policyTimeBucketed": {"weekly": 8}},
    }
    repo = {"id": "main", "uri": "/repos/main", "password": "-", "autoInitialize": True}
    root = {"modno": 7, "version": 6, "instance": "bench", "repos": [repo], "plans": [plan]}
    return json.dumps(root | {"auth": {"disabled": True}}, indent=2)


def labels_of(number: int) -> dict[str, str]:
    """Return the labels of one container: Compose's, its image's, and some of ours."""
    project, service = _names(number)
    return _OF_IMAGE | _compose_labels(project, service) | _own_labels(number, service)


def mounts_of(number: int) -> list[tuple[str, str]]:
    """Give (volume name or host path, destination): one to three."""
    project, service = _names(number)
    mounts = [
        (f"{project}_{service}", "/data"),
        (f"/srv/{project}/{service}", "/config"),
        (f"{project}_{service}_media", "/media/library"),
    ]
    return mounts[: 1 + number % 3]


def _names(number: int) -> tuple[str, str]:
    project, service = divmod(number, len(_SERVICES))
    return f"stack{project:04d}", _SERVICES[service]


_OF_IMAGE = {
    "org.opencontainers.image.source": "https://git.example/made/up",
    "org.opencontainers.image.version": "3.14.1",
    "org.opencontainers.image.licenses": "MIT",
}


def _compose_labels(project: str, service: str) -> dict[str, str]:
    own = {
        "project": project,
        "service": service,
        "container-number": "1",
        "oneoff": "False",
        "config-hash": sha256(f"{project}/{service}".encode()).hexdigest(),
        "depends_on": "db:service_started:false" if service == "app" else "",
        "project.working_dir": f"/opt/stacks/{project}",
        "project.config_files": f"/opt/stacks/{project}/compose.yaml",
        "version": "2.40.1",
    }
    return {f"com.docker.compose.{name}": value for name, value in own.items()}


def _own_labels(number: int, service: str) -> dict[str, str]:
    own = {"enable": "true"}
    if number % 3 != 0:
        own["schedule"] = f"T T({number % 4}-5) * * *" if number % 2 else f"{number % 60} 3 * * 1-5"
    if number % 5 < 2:
        own["keep"] = f"daily={7 + number % 3},weekly=4,monthly=6"
    if number % 4 == 0:
        own["paths.exclude"] = "/data/cache, *.tmp, !/data/cache/keep"
    own |= _hook_labels(number, service)
    if number % 7 == 0:
        own["notify"] = f"healthchecks:https://hc.example/ping/{number:08d}"
    return {_PREFIX + name: value for name, value in own.items()}


def _hook_labels(number: int, service: str) -> dict[str, str]:
    if service == "db":
        return {"hooks.template": "postgres-dump", "dump.path": "/data/dump.sql"}
    if number % 6 == 2:
        return {"hooks.template": "stop-start"}
    if number % 9 == 4:
        return {"snapshot-start": "touch /tmp/a, sync", "snapshot-end": "rm -f /tmp/a"}
    return {}


def _container(number: int) -> dict[str, Any]:
    project, service = _names(number)
    return {
        "Id": f"{number:064x}",
        "Names": [f"/{project}-{service}-1"],
        "Image": f"example/{service}:3",
        "ImageID": _image(number),
        "Command": f"/usr/local/bin/{service} --serve",
        "Created": _CREATED + number,
        "Ports": [{"PrivatePort": 8080, "Type": "tcp"}],
        "Labels": labels_of(number),
        "State": "running",
        "Status": "Up 3 weeks (healthy)",
        "HostConfig": {"NetworkMode": f"{project}_default"},
        "NetworkSettings": {"Networks": {f"{project}_default": {"IPAddress": "172.20.0.2"}}},
        "Mounts": [_mount(*mount) for mount in mounts_of(number)],
    }


def _mount(name: str, destination: str) -> dict[str, Any]:
    common = {"Destination": destination, "Mode": "rw", "RW": True}
    if name.startswith("/"):
        return common | {"Type": "bind", "Source": name, "Propagation": "rprivate"}
    source = f"/var/lib/docker/volumes/{name}/_data"
    volume = {"Type": "volume", "Name": name, "Source": source, "Driver": "local"}
    return common | volume | {"Propagation": ""}


def _image(number: int) -> str:
    return f"sha256:{number % _IMAGES:064x}"
