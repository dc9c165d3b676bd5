"""Which paths of images have to be looked at, and where they are on the host."""

from collections.abc import Mapping
from dataclasses import replace

from sidecar.docker.models import PROJECT, SERVICE, Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.image_paths import ImagePath, image_paths

NAMED = {"backrest.paths.include": "/data/a, /data, /etc/x, volume:v/y, /data/../b, /data/n/c"}
MOUNTS = (
    Mount("bind", "/srv", "/data"),
    Mount("volume", "/v/_data", "/data/n", "v", subpath="s"),
    Mount("tmpfs", "", "/tmp/t"),  # a name in a container
)
HERE = [
    ImagePath("c", "/data/a", "/data", "/srv"),
    ImagePath("c", "/data/n/c", "/data/n", "/v/_data/s"),
]


def container(labels: Mapping[str, str], **fields: object) -> Container:
    """Return a container of the image `i`."""
    plain = Container("c", "c", "i", {"backrest.enable": "true", **labels}, MOUNTS)
    return replace(plain, **fields)  # type: ignore[arg-type]  # fields of a Container


def inventory(*containers: Container, image: Mapping[str, str] = NAMED) -> Inventory:
    """Return an inventory in which the image `i` says something."""
    return Inventory(containers, image_labels={"i": image})


def test_paths_below_a_mount_that_the_image_names_are_looked_at() -> None:
    """Not the mount itself, nor what an image may not name anyway."""
    assert HERE == image_paths(inventory(container(NAMED)), Policy())


def test_what_a_person_says_is_not_looked_at() -> None:
    """A label that the image does not have, has with another value, or may say by the policy."""
    of_user = inventory(container({"backrest.paths.include": "/data/a"}))
    assert image_paths(of_user, Policy()) == []
    assert image_paths(inventory(container(NAMED), image={}), Policy()) == []
    assert image_paths(inventory(container(NAMED)), Policy(trust_image_labels=True)) == []


def test_indexed_labels_and_those_that_cannot_be_read() -> None:
    """`paths.include.0` counts; an unclosed quote and a name that is no label do not."""
    labels = {
        "backrest.paths.include": '"/data/open',
        "backrest.paths.include.0": "'/data/a'",
        "backrest.paths.includes": "/data/typo",
    }
    assert HERE[:1] == image_paths(inventory(container(labels), image=labels), Policy())


def test_each_label_of_a_removed_image_may_have_been_its_own() -> None:
    """Nobody can tell any more."""
    gone = Inventory((container(NAMED),), missing_images=frozenset({"i"}))
    assert HERE == image_paths(gone, Policy())


def test_the_other_replicas_are_looked_at_too() -> None:
    """A path counts in the mounts of all of them; of another service it does not."""
    ours = {PROJECT: "p", SERVICE: "web"}
    elsewhere = (Mount("bind", "/other", "/data"),)
    others = [
        container(ours, id="d", image_id="", mounts=elsewhere),
        container({**ours, SERVICE: "db"}, id="e", image_id="", mounts=elsewhere),
        container({}, id="f", image_id="", mounts=elsewhere),
    ]
    found = image_paths(inventory(container({**NAMED, **ours}), *others), Policy())
    assert [
        *HERE,
        *(ImagePath("d", path, "/data", "/other") for path in ("/data/a", "/data/n/c")),
    ] == found


def test_more_than_a_label_may_hold_is_not_looked_at() -> None:
    """It is refused in any case, and one container may not hold up the others."""
    for value in ("/data/a," * 257, f"/data/{'a' * 65536}"):
        labels = {"backrest.paths.include": value}
        assert image_paths(inventory(container(labels), image=labels), Policy()) == []
    most = {"backrest.paths.include": ",".join(f"/data/{number}" for number in range(256))}
    assert 256 == len(image_paths(inventory(container(most), image=most), Policy()))


def test_a_path_that_many_replicas_name_is_looked_at_once_in_each() -> None:
    """A thousand replicas are a thousand looks, and not a million."""
    labels = {PROJECT: "p", SERVICE: "web", "backrest.paths.include": "/data/a"}
    replicas = [container(labels, id=f"r{number}") for number in range(1000)]
    assert 1000 == len(image_paths(inventory(*replicas, image=labels), Policy()))
