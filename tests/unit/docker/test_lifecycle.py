"""The containers of this machine, as far as no Docker is needed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from docker.errors import NotFound

from sidecar.docker import lifecycle
from sidecar.docker.lifecycle import ContainersError, OneShotDocker
from sidecar.docker.models import ContainerState
from sidecar.docker.usage import ContainerUse


def test_an_engine_that_is_not_there_is_told_in_words() -> None:
    """Whatever it is asked."""
    with OneShotDocker("/nowhere/docker.sock") as engine:
        for ask in (engine.providers, engine.now, lambda: engine.pull("x")):
            with pytest.raises(ContainersError, match="no Docker engine at"):
                ask()


@dataclass
class Client:
    """A connection whose answer comes when two callers wait for one."""

    together: threading.Barrier
    callers: list[int] = field(default_factory=list)
    is_open: bool = True

    def info(self) -> dict[str, Any]:
        """Answer, and keep who asked."""
        self.callers.append(threading.get_ident())
        self.together.wait(10)
        return {"DockerRootDir": "/docker"}

    def close(self) -> None:
        """Close it."""
        self.is_open = False


def test_calls_at_the_same_time_have_a_connection_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are free are used again, and closed at the end."""
    together, made = threading.Barrier(2), list[Client]()

    def open_client(*_: object, **__: object) -> Client:
        made.append(Client(together))
        return made[-1]

    monkeypatch.setattr(lifecycle, "open_client", open_client)
    with OneShotDocker("tcp://127.0.0.1:1") as engine, ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            asked = [pool.submit(engine.data_root) for _ in range(2)]
            assert ["/docker", "/docker"] == [one.result(10) for one in asked]

    assert [3, 3] == [len(client.callers) for client in made]
    assert [False, False] == [client.is_open for client in made]


ID = "ab" * 32


@dataclass
class Inspected:
    """A connection that knows one container, and lists nothing."""

    asked: list[str] = field(default_factory=list)

    def inspect_container(self, name: str) -> dict[str, Any]:
        """Answer for its name, and for each beginning of its id."""
        self.asked.append(name)
        if name != "web" and not ID.startswith(name):
            raise NotFound("no such container")
        state = {"Status": "exited", "FinishedAt": "2026-03-04T11:50:05Z"}
        return {"Id": ID, "Name": "/web", "State": state, "Config": {"Labels": {"a": "b"}}}

    def close(self) -> None:
        """Close it."""


def test_one_container_is_asked_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id or name, not by the beginning of its id; nothing else is listed."""
    client = Inspected()
    monkeypatch.setattr(lifecycle, "open_client", lambda *_, **__: client)
    found = ContainerUse(ID, "web", "exited", {"a": "b"})
    with OneShotDocker("tcp://127.0.0.1:1") as engine:
        assert [found, found] == [engine.find("web"), engine.find(ID)]
        assert [None] * 3 == [engine.find(name) for name in (ID[:12], "other", "")]
        assert not engine.is_running("web")
        assert ContainerState(ID, "web", "exited", "2026-03-04T11:50:05Z") == engine.state(ID)
        assert None is engine.state("other")
    assert ["web", ID, ID[:12], "other", "web", ID, "other"] == client.asked
