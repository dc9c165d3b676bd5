"""The containers of this machine, as far as no Docker is needed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from sidecar.docker import lifecycle
from sidecar.docker.lifecycle import ContainersError, OneShotDocker


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
