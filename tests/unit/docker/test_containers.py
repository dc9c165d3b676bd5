"""The containers of this machine, as far as no Docker is needed."""

import json
from dataclasses import dataclass, field

import pytest

from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.failures import DockerError, NoDocker
from sidecar.docker.models import Container, ContainerState, Mount
from sidecar.docker.one_shot import OneShotDocker

ID = "ab" * 32


def test_an_engine_that_is_not_there_is_told_in_words() -> None:
    """Whatever it is asked."""
    with OneShotDocker(DockerClient("/nowhere/docker.sock")) as engine:
        for ask in (engine.providers, engine.now, lambda: engine.pull("x")):
            with pytest.raises(NoDocker, match="no Docker socket at"):
                ask()


@dataclass
class Answers(DockerClient):
    """A Docker of prepared answers by path; what is done is noted."""

    answers: dict[str, object]
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__("unix:///nowhere.sock")

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Answer."""
        self.asked.append(f"{method} {path}")
        answer = self.answers.get(path)
        return None if answer is None else json.dumps(answer).encode()

    def get(self, path: str) -> bytes:
        """Answer what must be there."""
        return self.find(path) or b""


def test_one_container_is_asked_for_alone() -> None:
    """By its id or name, not by the beginning of its id; nothing else is listed."""
    state = {"Status": "exited", "FinishedAt": "2026-03-04T11:50:05Z"}
    entry = {"Id": ID, "Name": "/web", "State": state, "Config": {"Labels": {"a": "b"}}}
    client = Answers({f"/containers/{name}/json": entry for name in ("web", ID, ID[:12])})
    found = Container(ID, "web", labels={"a": "b"}, state="exited")
    engine = Containers(client)

    assert [found, found] == [engine.find("web"), engine.find(ID)]
    assert [None] * 3 == [engine.find(name) for name in (ID[:12], "other", "")]
    assert not engine.is_running("web")
    assert ContainerState(ID, "web", "exited", "2026-03-04T11:50:05Z") == engine.state(ID)
    assert engine.state("other") is None
    names = ["web", ID, ID[:12], "other", "web", ID, "other"]
    assert [f"GET /containers/{name}/json" for name in names] == client.asked


def test_mounts_are_places_of_the_host() -> None:
    """A folder that is bound as a volume lies where it is; what has no place is left out."""
    options = {"type": "none", "o": "rw,bind", "device": "/srv/data/"}
    mounts = [
        {"Type": "volume", "Name": "v", "Source": "/v/_data", "Destination": "/v/", "RW": False},
        {"Type": "bind", "Source": "/srv//x", "Destination": "/x", "RW": True},
        {"Type": "tmpfs", "Source": "", "Destination": "/t"},
    ]
    client = Answers(
        {
            "/volumes": {"Volumes": [{"Name": "v", "Driver": "local", "Options": options}]},
            "/containers/json?all=1": [{"Id": ID, "Names": ["/web"], "Mounts": mounts}],
        }
    )

    (found,) = Containers(client).all()

    assert found.mounts == (
        Mount("volume", "/srv/data", "/v", "v", is_writable=False),
        Mount("bind", "/srv/x", "/x"),
    )


@pytest.mark.parametrize("answer", [{"message": "secret"}, [{"Names": ["secret"]}], "secret"])
def test_answer_of_another_shape_is_an_error(answer: object) -> None:
    """Never an empty list; its values are not told."""
    client = Answers({"/volumes": {"Volumes": None}, "/containers/json?all=1": answer})
    with pytest.raises(DockerError, match="no answer of an engine") as caught:
        Containers(client).all()

    assert "secret" not in str(caught.value)
