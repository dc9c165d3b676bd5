"""The images of the Dockerfile, built on an engine that can pull nothing.

    sidecar_image(client)    -> "backrest-sidecar:test"
    runner_image(client)     -> "backrest-runner:test"
    runner_all_image(client) -> "backrest-runner-all:test"
    python image_world.py ADDRESS    prints the names of the sidecar's image and of its base

build them once for each engine and process: from a small Debian with Python that carries
the name of the Dockerfile's own base. As that base it holds no compiled standard library.
Where the Dockerfile takes restic and the docker client from other images, stand-ins of the
same names hold those of this machine, at the same paths: Debian's restic is older.
The first time takes two minutes: give a test that uses it the mark `timeout(600)`.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker

from debian_root import import_debian

ROOT = Path(__file__).parents[2]
IMAGE = "backrest-sidecar:test"
RUNNER_IMAGE = "backrest-runner:test"
RUNNER_ALL_IMAGE = "backrest-runner-all:test"
VERSION, REVISION = "1.2.3", "0123abc"

_PACKAGES = ("python3", "python3-venv")
# The release of Debian whose Python has the minor version of the Dockerfile's base.
RELEASE = "trixie"
"""That release, for whatever runs what is installed in the image."""
# Where the images that the Dockerfile names have their programs.
_PROGRAMS = {"RESTIC_IMAGE": "usr/bin/restic", "DOCKER_IMAGE": "usr/local/bin/docker"}
_SEARCH_PATH = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_WITHOUT_COMPILED = """\
FROM {tag}
RUN ["find", "/usr/lib", "-name", "__pycache__", "-exec", "rm", "-rf", "{{}}", "+"]
"""
# Folders and files of this machine, which a container does not have.
_OF_THIS_MACHINE = {"cert", "client-cert", "cache-dir", "log", "find-links", "constraint"}
_WHEELS = "/opt/wheels"
_SECONDS = 900
_built: set[tuple[str, str]] = set()


class BuildError(RuntimeError):
    """The build failed; the message ends with what it said."""


def sidecar_image(client: docker.APIClient) -> str:
    """Build the target `sidecar` unless this process has, and return the image's name."""
    if (client.base_url, IMAGE) not in _built:
        base_image(client)
        build_image(client, IMAGE)
        _built.add((client.base_url, IMAGE))
    return IMAGE


def runner_image(client: docker.APIClient) -> str:
    """Build the target `runner` unless this process has, and return the image's name."""
    if (client.base_url, RUNNER_IMAGE) not in _built:
        base_image(client)
        for argument, path in _PROGRAMS.items():
            _import_program(client, default_of(argument), path)
        build_image(client, RUNNER_IMAGE, target="runner")
        _built.add((client.base_url, RUNNER_IMAGE))
    return RUNNER_IMAGE


def runner_all_image(client: docker.APIClient) -> str:
    """Build the target `runner-all` unless this process has, and return the image's name."""
    if (client.base_url, RUNNER_ALL_IMAGE) not in _built:
        # What it is made of lies in the builder's cache from then on.
        runner_image(client)
        build_image(client, RUNNER_ALL_IMAGE, target="runner-all")
        _built.add((client.base_url, RUNNER_ALL_IMAGE))
    return RUNNER_ALL_IMAGE


def _import_program(client: docker.APIClient, tag: str, path: str) -> None:
    """Make the image `tag` (NAME:TAG) of nothing but this machine's program of that name."""
    found = shutil.which(Path(path).name)
    assert found is not None, f"{Path(path).name} is not installed"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(Path(found).resolve(), path)
    name, _, version = tag.rpartition(":")
    client.import_image_from_data(packed.getvalue(), repository=name, tag=version)


def base_image(client: docker.APIClient) -> str:
    """Make the stand-in of the Dockerfile's base unless this process has; return its name."""
    tag = default_base()
    if (client.base_url, tag) not in _built:
        files = {"/etc/pip.conf": _pip_conf(_pip_settings()), **_wheels()}
        changes = [_SEARCH_PATH, 'CMD ["python3"]']
        compiled = "python-compiled:test"
        import_debian(client, compiled, _PACKAGES, release=RELEASE, files=files, changes=changes)
        derive(client, tag, _WITHOUT_COMPILED.format(tag=compiled))
        _built.add((client.base_url, tag))
    return tag


def default_base() -> str:
    """Read the base that the Dockerfile names."""
    return default_of("PYTHON_IMAGE")


def default_of(argument: str) -> str:
    """Read what an argument of the Dockerfile is if nobody gives it."""
    text = (ROOT / "Dockerfile").read_text()
    found = re.search(rf"^ARG {argument}=(\S+)$", text, re.MULTILINE)
    assert found is not None
    return found[1]


def build_image(client: docker.APIClient, tag: str, target: str = "sidecar") -> None:
    """Build a target by the engine's classic builder."""
    lines = client.build(
        path=str(ROOT),
        tag=tag,
        target=target,
        buildargs={"VERSION": VERSION, "REVISION": REVISION, **_proxies()},
        network_mode="host",
        rm=True,
        forcerm=True,
        decode=True,
    )
    _expect_success(lines)


def derive(client: docker.APIClient, tag: str, dockerfile: str) -> str:
    """Build a Dockerfile without any context; return its image's name."""
    file = io.BytesIO(dockerfile.encode())
    _expect_success(client.build(fileobj=file, tag=tag, rm=True, forcerm=True, decode=True))
    return tag


def build_by_client(client: docker.APIClient, address: str, tag: str) -> None:
    """Build the target `sidecar` by the machine's own client, with BuildKit where it has that."""
    base_image(client)
    arguments = {"VERSION": VERSION, "REVISION": REVISION, **_proxies()}
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    command = ["docker", "-H", address, "build", "--network=host", "--target=sidecar", *given]
    done = subprocess.run(
        [*command, "--tag", tag, str(ROOT)],
        env={**os.environ, "DOCKER_BUILDKIT": "1" if _has_buildkit() else "0"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BuildError(done.stderr[-3000:])


def _has_buildkit() -> bool:
    # From 23.0 on the client needs a plugin for it, and says so instead of helping.
    command = ["docker", "build", "--help"]
    with_it = {**os.environ, "DOCKER_BUILDKIT": "1"}
    return subprocess.run(command, env=with_it, capture_output=True, check=False).returncode == 0


def _expect_success(lines: Iterable[Mapping[str, Any]]) -> None:
    said = ""
    for line in lines:
        said = (said + line.get("stream", ""))[-3000:]
        if "error" in line:
            raise BuildError(f"{line['error']}\n{said}")


def _proxies() -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "no_proxy")
    both = (*names, *(name.upper() for name in names))
    return {name: os.environ[name] for name in both if os.environ.get(name)}


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Yield what pip was told on this machine, by files or variables, as name and value."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, value in re.findall(
        r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", said, re.MULTILINE
    ):
        if name not in _OF_THIS_MACHINE:
            yield name.removeprefix("default-"), value


def _pip_conf(settings: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{name} = {value}" for name, value in settings]
    lines += ["cert = /etc/ssl/certs/ca-certificates.crt", f"find-links = {_WHEELS}"]
    return "\n".join(["[global]", *lines, ""]).encode()


def _wheels() -> dict[str, bytes]:
    """Read what the machine's PIP_FIND_LINKS offers; the folder is there in any case."""
    folders = [Path(entry) for entry in os.environ.get("PIP_FIND_LINKS", "").split()]
    wheels = [wheel for folder in folders if folder.is_dir() for wheel in folder.glob("*.whl")]
    found = {f"{_WHEELS}/{wheel.name}": wheel.read_bytes() for wheel in wheels}
    return found or {f"{_WHEELS}/none": b""}


def _main(address: str) -> None:
    client = docker.APIClient(base_url=address, version="auto")
    sys.stdout.write(f"{sidecar_image(client)} {base_image(client)}\n")
    client.close()


if __name__ == "__main__":
    _main(sys.argv[1])
