"""The line that restores: by the runner, by a companion, or by a container like Backrest's."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from sidecar import __version__
from sidecar.backrest.workloads import NAME, MountRecord, WorkloadRecord, render_workloads
from sidecar.docker.run_line import ContainerTemplate, template_of
from sidecar.lib.errors import UsageError
from sidecar.reconciler.restore_line import find_restore_line
from sidecar.reconciler.settings import ReconcilerSettings

VOLUMES = {"Type": "bind", "Source": "/mnt/v", "Destination": "/userdata", "RW": False}


def entry(name: str, *command: str, **config: Any) -> dict[str, Any]:
    """Return Docker's description of a container."""
    return {
        "Id": name,
        "Name": f"/{name}",
        "Path": command[0],
        "Args": command[1:],
        "Config": {"Image": name, **config},
        "HostConfig": {},
        "Mounts": [VOLUMES],
    }


BACKREST = entry("backrest", "/tini", "backrest", Env=["TZ=UTC", "AWS_SECRET_ACCESS_KEY=s3cret"])
RUNNER = entry("backrest", "tini", "--", "backrest-runner", "daemon")
COMPANION = entry("backrest-companion", "tini", "--", "backrest-runner", "daemon")


@dataclass
class Running:
    """A Docker in which these containers run."""

    entries: tuple[dict[str, Any], ...]
    found: dict[str, ContainerTemplate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.found = {one["Name"][1:]: template_of(one) for one in self.entries}

    def __enter__(self) -> Self:
        """Open it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""

    def is_running(self, name: str) -> bool:
        """Tell whether one runs."""
        return name in self.found

    def template(self, name: str) -> ContainerTemplate | None:
        """Describe one."""
        return self.found.get(name)


@pytest.fixture
def settings(tmp_path: Path) -> ReconcilerSettings:
    """Write a document with two plans, and the names of their services."""
    plans = [
        {"id": f"auto_{one}", "repo": "a", "paths": [f"/userdata/{one}"]} for one in ("w", "d")
    ]
    (tmp_path / "config.json").write_text(json.dumps({"plans": plans}))
    records = [
        WorkloadRecord("shop/web", "web", "shop", plan="auto_w"),
        WorkloadRecord("shop/db", "db", "shop", plan="auto_d"),
    ]
    (tmp_path / ".sidecar").mkdir()
    (tmp_path / ".sidecar" / NAME).write_bytes(render_workloads(records))
    return ReconcilerSettings(tmp_path / "config.json")


def line_of(
    settings: ReconcilerSettings,
    monkeypatch: pytest.MonkeyPatch,
    *entries: dict[str, Any],
    names: tuple[str, ...] = ("web",),
) -> tuple[str, tuple[str, ...]]:
    """Return the line for services where these containers run, and what has to be set."""
    monkeypatch.setattr("sidecar.reconciler.restore_line.Containers", lambda _: Running(entries))
    found = find_restore_line(settings, names, ("/data/a b", "--yes"))
    return found.line, found.secrets


def test_a_runner_or_a_companion_restores(
    settings: ReconcilerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A companion also where Backrest runs."""
    words = "backrest-runner restore web '/data/a b' --yes"

    assert (f"docker exec --interactive --tty backrest {words}", ()) == line_of(
        settings, monkeypatch, RUNNER
    )
    companion, _ = line_of(settings, monkeypatch, BACKREST, COMPANION)
    assert f"docker exec --interactive --tty backrest-companion {words}" == companion


def test_beside_backrest_alone_a_container_of_its_own_does(
    settings: ReconcilerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of our own version, and it may write in the paths of these plans only.

    Secrets are named and not shown.
    """
    line, secrets = line_of(settings, monkeypatch, BACKREST)
    project, _ = line_of(settings, monkeypatch, BACKREST, names=("shop/",))

    assert line.startswith("docker run --rm --interactive --tty --volumes-from backrest ")
    assert '--volume "$PWD/restored:/restored" --volume /mnt/v/w:/userdata/w' in line
    image = f"ghcr.io/backrest-sidecar/backrest-runner:{__version__}"
    assert line.endswith(f"{image} restore web '/data/a b' --yes --documents runner")
    assert ("AWS_SECRET_ACCESS_KEY",) == secrets
    assert "s3cret" not in line
    assert "/mnt/v/d" not in line
    assert "--volume /mnt/v/d:/userdata/d --volume /mnt/v/w:/userdata/w" in project


def test_a_mount_can_be_written_as_a_whole(
    settings: ReconcilerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker follows a link that the container has put in the place of a folder of a plan."""
    mounts = (MountRecord("/data", seen="/userdata"),)
    record = WorkloadRecord("shop/web", "web", "shop", plan="auto_w", mounts=mounts)
    (settings.config.parent / ".sidecar" / NAME).write_bytes(render_workloads([record]))
    line, _ = line_of(settings, monkeypatch, BACKREST)

    assert "--volume /mnt/v:/userdata " in line
    assert "/userdata/w" not in line


def test_what_there_is_not_is_told(
    settings: ReconcilerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such service or project, no container, and a path that no line can hold."""
    with pytest.raises(UsageError, match="no plan or service 'blog'"):
        line_of(settings, monkeypatch, BACKREST, names=("blog",))
    with pytest.raises(UsageError, match="no project 'blog' with a plan"):
        line_of(settings, monkeypatch, BACKREST, names=("blog/",))
    with pytest.raises(UsageError, match="no container backrest runs, nor a runner"):
        line_of(settings, monkeypatch)
    settings.config.write_text(json.dumps({"plans": [{"id": "auto_w", "paths": ["/a:b"]}]}))
    with pytest.raises(UsageError, match="/a:b cannot be mounted"):
        line_of(settings, monkeypatch, BACKREST)
