"""The connection that another thread can cut."""

from collections.abc import Iterator

import pytest

from sidecar.docker.cuttable_connection import ConnectionCut, CuttableConnection
from sidecar.lib.errors import InventoryError
from tests.fakes.fake_docker import FakeDocker


@pytest.fixture
def docker() -> Iterator[FakeDocker]:
    """Run a fake of Docker."""
    with FakeDocker() as running:
        yield running


def test_connection_that_was_cut_stays_cut(docker: FakeDocker) -> None:
    """A cut that comes between two calls is not lost."""
    with CuttableConnection(docker.address, 1) as connection:
        connection.get("/version")
        connection.cut()
        with pytest.raises(ConnectionCut):
            connection.get("/version")


@pytest.mark.parametrize(
    "address",
    ["tcp://no.such.host.invalid:1", "tcp://127.0.0.1:1", "https://127.0.0.1:1"],
)
def test_address_without_docker_is_an_error(address: str) -> None:
    """Whatever is wrong with it, the words are the usual ones."""
    with CuttableConnection(address, 1) as connection, pytest.raises(InventoryError):
        connection.get("/version")
