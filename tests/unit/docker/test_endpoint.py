"""Addresses of Docker."""

import pytest

from sidecar.docker.endpoint import parse_address
from sidecar.lib.errors import UsageError


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("/run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock"),
        ("unix:///x.sock", "unix:///x.sock"),
        (" tcp://127.0.0.1:2375 ", "tcp://127.0.0.1:2375"),
        ("https://engine:2376", "https://engine:2376"),
        (None, "unix:///from/variable"),
        ("", "unix:///from/variable"),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, written: str | None, address: str) -> None:
    """A bare path is a socket, and nothing is DOCKER_HOST."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///from/variable")

    assert parse_address(written) == address


def test_default_address_is_the_usual_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the docker client does it; an empty variable is none."""
    monkeypatch.setenv("DOCKER_HOST", "")

    assert parse_address(None) == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    "written",
    [
        "npipe:////./pipe/docker_engine",
        "ssh://host",
        "docker.sock",
        "tcp://",
        "fd://",
        "http://ann:hunter2@127.0.0.1",
    ],
)
def test_addresses_that_cannot_be_used_are_usage_errors(written: str) -> None:
    """Said at once, before anything is observed, and without a password."""
    with pytest.raises(UsageError, match="no address of a Docker engine") as caught:
        parse_address(written)
    assert "hunter2" not in str(caught.value)
