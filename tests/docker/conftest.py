"""A private engine for the session, the command on it, and containers that go with their test."""

import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from private_docker import PrivateEngine
from sample_stack import import_image
from sidecar_command import DOCUMENT, InVolume, Sidecar
from stack_world import provide_images
from world import IMAGE, World, own_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[PrivateEngine]:
    """Run an engine for all tests of the session."""
    with own_engine() as running:
        yield running


@pytest.fixture(scope="session")
def docker_client(engine: PrivateEngine) -> Iterator[docker.APIClient]:
    """Speak the engine's low-level interface; the image `sleeper` is there."""
    client = docker.APIClient(base_url=engine.address, version="auto")
    import_image(client, IMAGE)
    yield client
    client.close()


@pytest.fixture(scope="session")
def networked_engine() -> Iterator[PrivateEngine]:
    """Run an engine whose containers have networks; nothing in them reaches the outside."""
    with own_engine(has_networks=True) as running:
        yield running


@pytest.fixture(scope="session")
def stack_client(
    networked_engine: PrivateEngine, docker_client: docker.APIClient
) -> Iterator[docker.APIClient]:
    """Speak to that engine; what the Compose files name is there, by stand-ins."""
    client = docker.APIClient(base_url=networked_engine.address, version="auto", timeout=300)
    provide_images(client, docker_client)
    yield client
    client.close()


@pytest.fixture
def world(docker_client: docker.APIClient) -> Iterator[World]:
    """Return an empty engine to make things on; whatever the test made is removed."""
    made = World(docker_client)
    yield made
    made.clear()


@pytest.fixture
def sidecar(engine: PrivateEngine, tmp_path: Path) -> Sidecar:
    """Return the command with a document that has one repository and no plan."""
    config = tmp_path / "config" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(DOCUMENT, indent=2))
    return Sidecar(engine, config)


@pytest.fixture
def in_volume(engine: PrivateEngine) -> InVolume:
    """Return the function from a volume's name to its folder on this host."""
    return lambda name: str(engine.data_root / "volumes" / name / "_data")
