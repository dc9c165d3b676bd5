"""Where data can only be read, a container of its own restores it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.backrest.workloads import MountRecord, WorkloadRecord
from sidecar.docker.failures import DockerError
from sidecar.docker.run_line import template_of
from sidecar.engines.base import Snapshot
from sidecar.runner.restore import another_container
from sidecar.runner.restore.another_container import MARK, find_command
from sidecar.runner.restore.choose import (
    LinkedPlaceError,
    ReadOnlyPlaceError,
    RestoreError,
    RestoreItem,
    RestoreRequest,
)
from sidecar.runner.restore.group import RestoreGroup, RestorePart, Subject
from sidecar.runner.restore.places import Effect, ExistingTarget, Step
from sidecar.runner.restore.restore import RestorePlan
from sidecar.runner.restore.users import OwnContainer
from sidecar.runner.settings import Neighbour, RunnerSettings

SETTINGS = RunnerSettings(Path("config.json"))
OWN = {
    "Id": "0" * 64,
    "Name": "/runner",
    "Config": {"Image": "runner:1", "Env": ["KEY=s3cret"]},
    "HostConfig": {},
    "Mounts": [{"Type": "bind", "Source": "/host/v", "Destination": "/v", "RW": False}],
}
FULL = RestoreError("no space")


def group_of(*errors: RestoreError, target: str = "") -> RestoreGroup:
    """Return a group of one plan with two paths, of which one is restored."""
    plan = RunPlan("web", "store", ("/v/www", "/v/etc"))
    item = RestoreItem("/v/www/page", "/v/www/page", is_folder=False)
    step = Step(item, ExistingTarget.ENTRY, Effect.REPLACE)
    request = RestoreRequest(plan, "here", target=target)
    made = RestorePlan(
        request, Snapshot("a", datetime.now(UTC), ()), (step,), obstacles=tuple(errors)
    )
    nothing: Any = None
    part = RestorePart(Subject(plan, "shop/web"), nothing, nothing, made)
    return RestoreGroup((part,), nothing, nothing, lambda _: False)


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a container, beside Docker and its client."""

    @contextmanager
    def opened(*_: object) -> Iterator[Any]:
        yield Describing()

    monkeypatch.setattr(another_container, "open_docker", opened)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/docker")
    monkeypatch.setattr(OwnContainer, "detect", classmethod(lambda cls: cls("0" * 64)))


class Describing:
    """A Docker that describes our own container."""

    address = "unix:///var/run/docker.sock"

    def template(self, name: str) -> Any:
        """Describe it, as long as it is asked for by its id."""
        if name != "0" * 64:
            raise DockerError("gone")
        return template_of(OWN)


@pytest.mark.usefixtures("docker")
def test_only_what_is_restored_can_be_written_there() -> None:
    """By the same words; and that container makes no other one."""
    group = group_of(ReadOnlyPlaceError("/v/www can only be read here"), FULL)
    command = find_command(SETTINGS, {}, group, ("web", "--yes"))

    assert ("runner:1", "restore", "web", "--yes") == command[-4:]
    assert ["/host/v/www:/v/www"] == [
        after for word, after in pairwise(command) if word == "--volume"
    ]
    assert f"{MARK}=1" in command
    assert "KEY" in command
    assert (FULL,) == group.in_another().parts[0].plan.obstacles


@pytest.mark.usefixtures("docker")
def test_a_mount_can_be_written_there_as_a_whole() -> None:
    """Docker follows links: one in the place of a folder within it would lead anywhere."""
    group = group_of(ReadOnlyPlaceError("/v/www can only be read here"))
    mounts = tuple(MountRecord("/data", seen=seen) for seen in ("/v/www", "/v", "/v/other", "/"))
    workload = WorkloadRecord("shop/web", "web", plan="web", mounts=mounts)
    subject = replace(group.parts[0].subject, workload=workload)
    known = replace(group, parts=(replace(group.parts[0], subject=subject),))
    command = find_command(SETTINGS, {}, known, ("web",))

    assert ["/host/v:/v"] == [after for word, after in pairwise(command) if word == "--volume"]


@pytest.mark.usefixtures("docker")
def test_none_is_made_where_a_link_was_seen() -> None:
    """It would not be seen from within: there is the folder that it leads to."""
    read_only = ReadOnlyPlaceError("/v/www can only be read here")
    assert () == find_command(SETTINGS, {}, group_of(read_only, LinkedPlaceError("a link")), ())
    group = group_of(read_only)
    item = RestoreItem("/v/www", "/v/www", is_folder=True)
    step = Step(item, ExistingTarget.LINK, Effect.REPLACE)
    part = replace(group.parts[0], plan=replace(group.parts[0].plan, steps=(step,)))
    assert () == find_command(SETTINGS, {}, replace(group, parts=(part,)), ())


@pytest.mark.usefixtures("docker")
def test_none_is_made_where_none_is_needed_or_it_is_one_itself() -> None:
    """To another folder it is restored as ever."""
    read_only = ReadOnlyPlaceError("/v/www can only be read here")

    assert () == find_command(SETTINGS, {}, group_of(FULL), ())
    assert () == find_command(SETTINGS, {}, group_of(read_only, target="/t"), ())
    assert () == find_command(SETTINGS, {MARK: "1"}, group_of(read_only), ())


@pytest.mark.usefixtures("docker")
def test_none_is_made_where_none_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a container, without Docker's socket or its client, or for an odd name."""
    group = group_of(ReadOnlyPlaceError("/v/www can only be read here"))
    plan = replace(group.parts[0].subject.plan, paths=("/v/www", "/v:w"))
    part = replace(group.parts[0], subject=Subject(plan, "web"))
    item = RestoreItem("/v:w", "/v:w", is_folder=True)
    step = Step(item, ExistingTarget.FULL, Effect.REPLACE)
    part = replace(part, plan=replace(part.plan, steps=(step,)))
    assert () == find_command(SETTINGS, {}, replace(group, parts=(part,)), ())

    with monkeypatch.context() as patch:
        patch.setattr(Describing, "address", "tcp://proxy:2375")
        assert () == find_command(SETTINGS, {}, group, ())
    for own in ("", "?"):
        monkeypatch.setattr(OwnContainer, "detect", classmethod(lambda cls, own=own: cls(own)))
        assert () == find_command(SETTINGS, {}, group, ())
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert () == find_command(SETTINGS, {}, group, ())


def test_it_becomes_that_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address of Docker that was named."""
    became: list[Any] = []
    monkeypatch.setattr("os.execvpe", lambda *words: became.append(words))
    named = replace(SETTINGS, neighbour=Neighbour(docker_sock="/run/d.sock"))

    for settings in (SETTINGS, named):
        another_container.execute(settings, {"A": "b"}, ("docker", "run"))

    own = {"A": "b", "DOCKER_HOST": "unix:///run/d.sock"}
    assert [("docker", ("docker", "run"), {"A": "b"}), ("docker", ("docker", "run"), own)] == became
