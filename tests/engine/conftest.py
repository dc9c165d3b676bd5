"""A private engine for the session, and containers that go away with their test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from private_engine import PrivateEngine, run_engine, stop_engine
from sample_stack import import_image
from world import IMAGE, World


@pytest.fixture(scope="session")
def engine() -> Iterator[PrivateEngine]:
    """Run an engine of our own; without one the tests fail, they are never skipped."""
    # Not pytest's folder: a unix socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="eng-", dir="/tmp"))
    try:
        running = run_engine(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    yield running
    stop_engine(running)


@pytest.fixture(scope="session")
def docker_client(engine: PrivateEngine) -> Iterator[docker.APIClient]:
    """Speak the engine's low-level interface; the image `sleeper` is there."""
    client = docker.APIClient(base_url=engine.address, version="auto")
    import_image(client, IMAGE)
    yield client
    client.close()


@pytest.fixture
def world(docker_client: docker.APIClient) -> Iterator[World]:
    """Give an empty engine to make things on; whatever the test made is removed."""
    made = World(docker_client)
    yield made
    made.clear()
