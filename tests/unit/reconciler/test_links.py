"""Symbolic links on the way to paths that images name, on a real file system."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.backrest.document import DocumentView
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.plan import Pass
from sidecar.planner.plans import render
from sidecar.reconciler import links
from sidecar.reconciler.links import with_links, with_source_links
from sidecar.reconciler.lint import lint_once
from sidecar.reconciler.reconcile import reconcile_now
from sidecar.reconciler.settings import InventorySource, ReconcilerSettings
from tests.fakes.fake_docker import FakeDocker

NOW = datetime(2026, 11, 21, tzinfo=UTC)
NEAR = "unix:///run/docker.sock"
LABELS = {"backrest.enable": "true", "backrest.paths.include": "/data/a/b, /data/link/c"}
IMAGE = {"backrest.paths.include": LABELS["backrest.paths.include"]}


@pytest.fixture(autouse=True)
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run in a container."""
    monkeypatch.setattr(links, "_MARKS_OF_CONTAINERS", ())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The directory of a mount in which a container has put a link."""
    folder = tmp_path / "data"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "link").symlink_to("/etc")
    return folder


def _inventory(data: Path, *others: Container) -> Inventory:
    web = Container("w", "web", "i", LABELS, (Mount("bind", str(data), "/data"),))
    return Inventory((web, *others), image_labels={"i": IMAGE})


def test_a_link_on_the_way_is_seen_on_the_host(data: Path) -> None:
    """It is told as the container's path; a plain directory is none."""
    assert {"w": ("/data/link",)} == with_links(_inventory(data), Policy(), NEAR).links


def test_a_link_at_the_end_is_one_too(data: Path) -> None:
    """As the last part of the path."""
    (data / "a" / "b").rmdir()
    (data / "a" / "b").symlink_to("/root")
    found = with_links(_inventory(data), Policy(), NEAR).links
    assert {"w": ("/data/a/b", "/data/link")} == found


def test_links_above_the_mount_are_not_the_image_s(data: Path, tmp_path: Path) -> None:
    """The operator chose the mount."""
    (tmp_path / "alias").symlink_to(data)
    (data / "link").unlink()
    assert {} == with_links(_inventory(tmp_path / "alias"), Policy(), NEAR).links


def test_in_a_container_it_is_seen_through_its_mounts(data: Path, tmp_path: Path) -> None:
    """Where the host's path is another one; the map of Backrest is not ours."""
    assert (data / "link").is_symlink()
    seen = Mount("bind", "/host", str(tmp_path))
    own = Container("me", "sidecar", mounts=(seen,))
    policy = Policy(own_container_id="me", path_map=(("/host", "/nowhere"),))
    inventory = _inventory(Path("/host/data"), own)
    assert {"w": ("/data/link",)} == with_links(inventory, policy, "tcp://proxy:2375").links


def test_what_is_not_there_or_no_folder_is_no_link(data: Path, tmp_path: Path) -> None:
    """Nor is a mount that we do not find."""
    (data / "link").unlink()
    (data / "link").touch()
    assert {} == with_links(_inventory(data), Policy(), NEAR).links
    (data / "link").unlink()
    assert {} == with_links(_inventory(data), Policy(), NEAR).links
    assert {} == with_links(_inventory(tmp_path / "gone"), Policy(), NEAR).links


def test_what_cannot_be_seen_is_not_looked_at(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host's Docker, a container without the host's files, or an unknown container."""
    inventory = _inventory(data)
    assert inventory is with_links(inventory, Policy(), "tcp://elsewhere:2375")
    assert inventory is with_links(inventory, Policy(own_container_id="unknown"), NEAR)
    own = Container("me", "sidecar", mounts=(Mount("bind", "/config", "/config"),))
    inside = with_links(_inventory(data, own), Policy(own_container_id="me"), NEAR)
    assert {} == inside.links
    (tmp_path / "mark").touch()
    monkeypatch.setattr(links, "_MARKS_OF_CONTAINERS", (tmp_path / "mark",))
    assert inventory is with_links(inventory, Policy(), NEAR)


def test_without_paths_of_images_nothing_is_done(data: Path) -> None:
    """The usual case costs nothing."""
    inventory = Inventory(_inventory(data).containers)
    assert inventory is with_links(inventory, Policy(), NEAR)


@pytest.fixture
def docker(data: Path) -> Iterator[FakeDocker]:
    """A Docker whose container has these labels from its image."""
    with FakeDocker() as running:
        mount = {"Type": "bind", "Source": str(data), "Destination": "/data"}
        running.images["sha256:i"] = IMAGE
        running.add("web", LABELS, image="sha256:i", mounts=[mount])
        yield running


def test_a_pass_leaves_such_a_path_out(docker: FakeDocker, data: Path, tmp_path: Path) -> None:
    """And tells that it comes from the image."""
    source = InventorySource(docker_sock=docker.address)
    settings = ReconcilerSettings(tmp_path / "config.json", source=source)
    (found,) = [f for f in lint_once(settings, NOW, {}).findings if f.reason == "label.from-image"]
    assert "'/data/link' is a symbolic link" in found.message
    outcome = reconcile_now(settings, NOW, {}, dry_run=True)
    (plan,) = outcome.proposal.changes.added
    assert (f"{data}/a/b",) == plan.paths
    assert ["label.from-image"] == [p.reason for p in outcome.proposal.rendered.problems]


PLAIN = {"backrest.enable": "true"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A link of the operator to where the photos are."""
    (tmp_path / "big" / "photos").mkdir(parents=True)
    (tmp_path / "photos").symlink_to("big/photos")
    return tmp_path / "photos"


def _linked(source: Path, *, runner: tuple[Mount, ...] | None = None, sock: str = NEAR) -> object:
    web = Container("w", "web", "i", PLAIN, (Mount("bind", str(source), "/data"),))
    inventory = Inventory((web,))
    rendered = render(Pass(inventory, DocumentView(), Policy(), NOW, runner))
    return with_source_links(inventory, rendered, Policy(), sock, runner).linked


def test_a_path_that_is_itself_a_link_is_seen_with_its_target(photos: Path) -> None:
    """Where a plain folder is none, nor one that does not exist."""
    assert {str(photos): f"{photos.parent}/big/photos"} == _linked(photos)
    assert {} == _linked(photos.parent / "big")
    assert {} == _linked(photos.parent / "none")


def test_what_the_runner_does_not_see_as_a_link_is_none(photos: Path) -> None:
    """A mount of its own leads to the folder; a mount above it shows the link."""
    own = Mount("bind", str(photos), str(photos))
    above = Mount("bind", str(photos.parent), str(photos.parent))
    assert {} == _linked(photos, runner=(own,))
    assert {} != _linked(photos, runner=(above,))


def test_beside_an_engine_elsewhere_no_path_is_looked_at(photos: Path) -> None:
    """Its host is another."""
    assert {} == _linked(photos, sock="tcp://elsewhere:2375")


def test_lint_and_the_preview_tell_a_path_that_is_a_link(photos: Path, tmp_path: Path) -> None:
    """A pass that writes does not look."""
    with FakeDocker() as docker:
        mount = {"Type": "bind", "Source": str(photos), "Destination": "/data"}
        docker.add("web", PLAIN, mounts=[mount])
        source = InventorySource(docker_sock=docker.address)
        settings = ReconcilerSettings(tmp_path / "config.json", source=source)
        (found,) = [f for f in lint_once(settings, NOW, {}).findings if f.reason == "path.link"]
        outcome = reconcile_now(settings, NOW, {}, dry_run=True)

    assert f"{photos} (/data) is a symbolic link to {tmp_path}/big/photos" in found.message
    assert ["path.link"] == [p.reason for p in outcome.proposal.rendered.problems]
    (plan,) = outcome.proposal.changes.added
    assert (str(photos),) == plan.paths
