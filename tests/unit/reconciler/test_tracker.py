"""The cached inventory: one call for a hint, the same objects for what did not change."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Container, Inventory, Volume
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.tracker import Tracker
from tests.fakes.fake_docker import FakeDocker

LABELS = {"backrest.enable": "true"}
IMAGE = "sha256:01"


@pytest.fixture
def engine() -> Iterator[FakeDocker]:
    """Run a fake engine that holds one image."""
    with FakeDocker() as running:
        running.images[IMAGE] = {"maintainer": "someone"}
        yield running


@pytest.fixture
def tracker(engine: FakeDocker) -> Iterator[Tracker]:
    """Track it."""
    with DockerInventory(engine.address, timeout=5) as looking:
        yield Tracker(looking, "backrest.")


def volume_mount(name: str) -> dict[str, Any]:
    """Return a mount of a volume, as the list tells it."""
    source = f"/var/lib/docker/volumes/{name}/_data"
    return {
        "Type": "volume",
        "Name": name,
        "Source": source,
        "Destination": f"/{name}",
        "Driver": "local",
    }


def named(inventory: Inventory, name: str) -> Container:
    """Return the container of that name."""
    [found] = [container for container in inventory.containers if container.name == name]
    return found


def calls_of(engine: FakeDocker) -> dict[str, int]:
    """Return the calls since the last time."""
    made = dict(engine.calls)
    engine.calls.clear()
    return made


def test_relist_without_a_change_is_the_same_object(engine: FakeDocker, tracker: Tracker) -> None:
    """Whoever remembers by identity has nothing to think about."""
    engine.add_volume("data")
    engine.add("one", LABELS, mounts=[volume_mount("data")])
    engine.add("two")
    before = tracker.relist()

    assert tracker.relist() is before
    assert tracker.known() is before
    assert before.image_labels == {IMAGE: {"maintainer": "someone"}}


def test_relist_keeps_what_did_not_change(engine: FakeDocker, tracker: Tracker) -> None:
    """Beside a container that did, one that came, and one that went."""
    engine.add_volume("kept", type="nfs")
    engine.add_volume("remade")
    kept, changed, gone = (engine.add(name, LABELS) for name in ("kept", "changed", "gone"))
    before = tracker.relist()
    engine.set_state(changed, "exited", "die")
    engine.remove(gone)
    engine.add("new", LABELS)
    engine.add_volume("remade", type="cifs")

    after = tracker.relist()

    assert {"kept", "changed", "new"} == {container.name for container in after.containers}
    assert named(after, "kept") is named(before, "kept")
    assert named(after, "kept").id == kept
    assert named(after, "changed").state == "exited"
    assert after.volumes["kept"] is before.volumes["kept"]
    assert after.volumes["remade"].options == {"type": "cifs"}
    assert after.image_labels is before.image_labels
    assert named(before, "gone").id == gone


def test_refresh_is_one_call(engine: FakeDocker, tracker: Tracker) -> None:
    """With a known image and a known volume, but for what only an inspection of a new one tells."""
    engine.add_volume("data")
    first = engine.add("first", LABELS, mounts=[volume_mount("data")])
    before = tracker.relist()
    calls_of(engine)
    new = [engine.add(f"new{n}", LABELS, mounts=[volume_mount("data")]) for n in range(3)]

    after = tracker.refresh({first, *new})

    inspected = {f"GET /containers/{one}/json": 1 for one in new}
    assert calls_of(engine) == {"GET /containers/json": 1} | inspected
    assert [first, *new] == sorted(container.id for container in after.containers)
    assert named(after, "first") is named(before, "first")
    assert after.volumes is before.volumes
    assert after.image_labels is before.image_labels


def test_refresh_sees_changed_new_and_gone(engine: FakeDocker, tracker: Tracker) -> None:
    """Only of the containers that were named; what it finds is what a relist finds."""
    changed, gone, other = (engine.add(name, LABELS) for name in ("old", "gone", "other"))
    before = tracker.relist()
    engine.rename(changed, "renamed")
    engine.remove(gone)
    engine.rename(other, "overlooked")
    new = engine.add("new", LABELS)

    after = tracker.refresh({changed, gone, new, "f" * 64})

    assert {"renamed", "other", "new"} == {container.name for container in after.containers}
    assert named(after, "other") is named(before, "other")
    engine.rename(other, "other")
    assert tracker.relist() is after


def test_refresh_without_a_change_is_the_same_object(engine: FakeDocker, tracker: Tracker) -> None:
    """An event that changed nothing is no work."""
    one = engine.add("one", LABELS)
    before = tracker.relist()

    assert tracker.refresh({one}) is before


def test_refresh_takes_no_id_for_the_beginning_of_another(
    engine: FakeDocker, tracker: Tracker
) -> None:
    """The engine's filter matches beginnings."""
    one, two = engine.add("one", LABELS), engine.add("two", LABELS)
    before = tracker.relist()
    engine.rename(one, "changed")

    assert tracker.refresh({two, one[:60]}) is before


def test_refresh_asks_for_the_options_of_a_new_volume(engine: FakeDocker, tracker: Tracker) -> None:
    """A network volume would look like a plain directory without them."""
    engine.add_volume("old")
    before = tracker.relist()
    engine.add_volume("share", type="nfs", device=":/export")
    one = engine.add("one", LABELS, mounts=[volume_mount("share")])
    calls_of(engine)
    first = tracker.refresh({one})
    calls = calls_of(engine)

    assert first.volumes["share"].options == {"type": "nfs", "device": ":/export"}
    assert first.volumes["old"] is before.volumes["old"]
    assert calls == {
        "GET /containers/json": 1,
        "GET /volumes/share": 1,
        f"GET /images/{IMAGE}/json": 1,
        f"GET /containers/{one}/json": 1,
    }
    two = engine.add("two", LABELS, mounts=[volume_mount("share")])
    assert tracker.refresh({two}).volumes is first.volumes
    assert calls_of(engine) == {"GET /containers/json": 1, f"GET /containers/{two}/json": 1}
    tracker.refresh({two})
    assert calls_of(engine) == {"GET /containers/json": 1}


def test_volume_of_a_removed_container_may_be_another_next_time(
    engine: FakeDocker, tracker: Tracker
) -> None:
    """Taken down with its volumes, edited, brought up: within one resync."""
    for name in ("data", "shared"):
        engine.add_volume(name)
    mounts = [volume_mount("data"), volume_mount("shared")]
    old = engine.add("one", LABELS, mounts=mounts)
    other = engine.add("other", LABELS, mounts=[volume_mount("shared")])
    tracker.relist()
    engine.remove(old)
    tracker.refresh({old})
    engine.add_volume("data", type="nfs")
    new = engine.add("one", LABELS, mounts=mounts)
    calls_of(engine)

    after = tracker.refresh({new, other})

    assert calls_of(engine) == {
        "GET /containers/json": 1,
        "GET /volumes/data": 1,
        f"GET /containers/{new}/json": 1,
    }
    assert after.volumes["data"].options == {"type": "nfs"}
    assert tracker.refresh({new}) is after


def test_volume_that_is_gone_is_unknown(engine: FakeDocker, tracker: Tracker) -> None:
    """It was removed between two calls; the next look asks again."""
    tracker.relist()
    one = engine.add("one", LABELS, mounts=[volume_mount("lost")])
    assert "lost" not in tracker.refresh({one}).volumes

    engine.add_volume("lost", type="nfs")
    assert tracker.refresh({one}).volumes["lost"] == Volume(
        "lost", "local", "/var/lib/docker/volumes/lost/_data", {"type": "nfs"}
    )


def test_image_of_a_new_container_is_asked_for_once(engine: FakeDocker, tracker: Tracker) -> None:
    """Its labels count as the image's, not the user's; an unlabelled container's do not matter."""
    tracker.relist()
    engine.images["sha256:02"] = {"backrest.enable": "true"}
    one = engine.add("one", LABELS, image="sha256:02")
    two = engine.add("two", {"unrelated": "x"}, image="sha256:03")
    three = engine.add("three", LABELS, image="sha256:04")
    calls_of(engine)

    after = tracker.refresh({one, two, three})
    assert after.image_labels == {"sha256:02": {"backrest.enable": "true"}}
    assert tracker.refresh({one}) is after
    assert calls_of(engine) == {
        "GET /containers/json": 2,
        "GET /images/sha256:02/json": 1,
        "GET /images/sha256:04/json": 1,
    }


@pytest.mark.parametrize("broken", ["/containers", "/volumes", "/images"])
def test_look_that_fails_leaves_everything_as_it_was(
    engine: FakeDocker, tracker: Tracker, broken: str
) -> None:
    """Unknown is never empty; afterwards the same look succeeds."""
    one = engine.add("one", LABELS)
    before = tracker.relist()
    engine.remove(one)
    engine.add_volume("new", type="nfs")
    engine.images["sha256:02"] = {}
    mounts = [volume_mount("new")]
    two = engine.add("two", LABELS, image="sha256:02", mounts=mounts)

    engine.refusals[broken] = 500
    with pytest.raises(InventoryError):
        tracker.relist()
    with pytest.raises(InventoryError):
        tracker.refresh({one, two})
    assert tracker.known() is before
    engine.refusals.clear()

    after = tracker.refresh({one, two})
    assert [container.name for container in after.containers] == ["two"]
    assert after.volumes["new"].options == {"type": "nfs"}
    assert tracker.relist() is after


def test_first_look_is_a_whole_one(engine: FakeDocker, tracker: Tracker) -> None:
    """Whatever is asked first."""
    one, _ = engine.add("one", LABELS), engine.add("two")

    assert len(tracker.refresh({one}).containers) == 2


def test_known_inventory_costs_no_call(engine: FakeDocker, tracker: Tracker) -> None:
    """Except the first."""
    engine.add("one")
    assert len(tracker.known().containers) == 1
    calls_of(engine)
    tracker.known()

    assert calls_of(engine) == {}


# The client library leaves a unix socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_engine_that_was_away_is_found_again(engine: FakeDocker, tracker: Tracker) -> None:
    """In another version too."""
    engine.add("one", LABELS)
    before = tracker.relist()
    engine.vanish()
    with pytest.raises(InventoryError):
        tracker.relist()
    gc.collect()
    engine.api_version = "1.44"
    engine.appear()

    assert tracker.relist() is before
    assert engine.asked[-1].startswith("/v1.44/")


def missed(tracker: Tracker, *announced: str) -> bool:
    """Look at everything after these events, and return whether others were missing."""
    tracker.relist(announced)
    return tracker.missed


def test_change_that_no_event_announced_is_missed(engine: FakeDocker, tracker: Tracker) -> None:
    """Told at the second look: at the first its event may still have been on its way."""
    one = engine.add("one", LABELS)
    tracker.relist()
    changes: list[Callable[[], object]] = [
        lambda: engine.rename(one, "other", quiet=True),
        lambda: engine.add("two", LABELS, quiet=True),
        lambda: engine.remove(one, quiet=True),
    ]
    for change in changes:
        change()
        assert not missed(tracker)
        assert missed(tracker)
        assert not missed(tracker)


def test_event_that_comes_late_is_not_missed(engine: FakeDocker, tracker: Tracker) -> None:
    """It came between the look that overtook it and the next."""
    tracker.relist()
    one, two = engine.add("one", LABELS), engine.add("two", LABELS)
    assert not missed(tracker)
    tracker.refresh({one})

    assert not missed(tracker, two)
    assert not missed(tracker)


def test_announced_changes_are_not_missed(engine: FakeDocker, tracker: Tracker) -> None:
    """Return whether they were looked at alone or with everything."""
    tracker.relist()
    one = engine.add("one", LABELS)
    tracker.refresh({one})
    two = engine.add("two", LABELS)

    assert not missed(tracker, two)
    assert not missed(tracker)


def test_what_announces_nothing_is_not_missed(engine: FakeDocker, tracker: Tracker) -> None:
    """Unlabelled containers, and states, which may change before or after their events."""
    one = engine.add("one", LABELS)
    tracker.relist()
    engine.add("two", {"backrest.schedule": "daily"})
    engine.set_state(one, "paused")

    assert not missed(tracker)
    assert not missed(tracker)


def test_nothing_is_missed_while_nobody_listened(engine: FakeDocker, tracker: Tracker) -> None:
    """After a time without a stream, changes are what is to be expected."""
    tracker.relist()
    engine.add("one", LABELS, quiet=True)
    assert not missed(tracker)
    tracker.relist()

    assert not missed(tracker)
    engine.add("two", LABELS, quiet=True)
    tracker.relist()
    assert not missed(tracker)


def test_an_image_that_was_removed_is_missing_and_not_unknown(
    engine: FakeDocker, tracker: Tracker
) -> None:
    """A relist and a refresh tell it alike, until its last container is gone or it is back."""
    one = engine.add("one", LABELS, image="sha256:04")
    assert tracker.relist().missing_images == {"sha256:04"}
    assert tracker.refresh({one}).missing_images == {"sha256:04"}
    engine.images["sha256:04"] = {}
    assert tracker.refresh({one}).missing_images == frozenset()
    two = engine.add("two", LABELS, image="sha256:05")
    assert tracker.refresh({two}).missing_images == {"sha256:05"}
    engine.remove(two)
    assert tracker.refresh({two}).missing_images == frozenset()


def test_images_of_containers_that_say_they_are_of_the_same_service(
    engine: FakeDocker, tracker: Tracker
) -> None:
    """An unlabelled container may have its service from its image: that one matters too."""
    service = {"com.docker.compose.project": "p", "com.docker.compose.service": "web"}
    engine.images["sha256:02"] = service
    engine.add("one", {**LABELS, **service})
    tracker.relist()
    two = engine.add("two", service, image="sha256:02")
    other = {**service, "com.docker.compose.service": "db"}
    three = engine.add("three", other, image="sha256:03")
    after = tracker.refresh({two, three})
    assert after.image_labels.keys() == {IMAGE, "sha256:02"}
    assert after.missing_images == frozenset()
    assert tracker.relist() is after


def test_labels_of_swarm_services_are_read_where_there_are_tasks(
    engine: FakeDocker, tracker: Tracker
) -> None:
    """Only then, and only where this node or a proxy tells them."""
    own = {"backrest.enable": "true"}
    engine.add("web", LABELS)
    tracker.relist()
    assert "GET /services" not in calls_of(engine)
    engine.add("svc.1.x", {"com.docker.swarm.service.name": "svc"})
    assert tracker.relist().services == {}
    engine.services = {"svc": own}
    found = tracker.relist()
    assert found.services == {"svc": own}
    assert tracker.relist() is found
    engine.refusals["/services"] = 403
    assert tracker.relist().services == {}
    engine.refusals["/services"] = 500
    with pytest.raises(InventoryError):
        tracker.relist()
