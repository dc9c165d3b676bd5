"""The inventory as it was last seen, kept true by small looks and replaced by whole ones."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Container, Inventory, Volume
from sidecar.lib.errors import InventoryError

Key = TypeVar("Key")
Value = TypeVar("Value")


class Tracker:
    """Keeps the inventory of an engine; what did not change stays the same object.

    That holds for each container and volume, for the mappings and for the inventory as a
    whole, so that later stages can tell by identity what they have to think about again.
    A look that fails raises InventoryError and leaves everything as it was. Not thread-safe.
    """

    def __init__(self, engine: DockerInventory, label_prefix: str) -> None:
        self._engine = engine
        self._prefix = label_prefix
        self._enable = f"{label_prefix}enable"
        self._inventory: Inventory | None = None
        self._containers: dict[str, Container] = {}
        # Volumes that lost their last container: one of the same name may be another.
        self._doubtful: set[str] = set()
        self._suspects: frozenset[str] = frozenset()
        self._missed = False

    @property
    def missed(self) -> bool:
        """Whether the event stream kept something back.

        A change of a labelled container that one `relist` found was not announced until the
        next: an event that is merely on its way while a list is read is not missed. Only
        coming, going and renaming count; a state may change before or after its event.
        """
        return self._missed

    def known(self) -> Inventory:
        """Return the inventory as it was last seen; without one so far everything is looked at."""
        return self.relist() if self._inventory is None else self._inventory

    def relist(self, announced: Collection[str] | None = None) -> Inventory:
        """Look at everything: containers, volumes, and the images of labelled containers.

        `announced` are the ids that events named since the last look; None says that
        nobody listened in between, so that nothing counts as missed.
        """
        with self._no_half_look():
            seen = self._engine.observe(self._prefix).inventory
        containers = _reused_each(self._containers, seen.containers)
        self._judge(containers, announced)
        self._doubtful.clear()
        return self._keep(containers, seen.volumes, seen.image_labels)

    def refresh(self, ids: Collection[str]) -> Inventory:
        """Look at these containers only, by one call; a new volume or image is one more.

        Unlabelled containers announce nothing: they, and volumes that nobody uses, are
        told by `relist`. Without one so far everything is looked at.
        """
        known = self._inventory
        if known is None:
            return self.relist()
        if not ids:
            # The engine takes no ids for all of them.
            return known
        with self._no_half_look():
            listed = self._engine.containers(ids)
            asked = self._new_volumes(listed, known.volumes)
            volumes = {name: self._engine.volume(name) for name in sorted(asked)}
            images = self._new_images(listed, known.image_labels)
            labels = {image: self._engine.labels_of_image(image) for image in sorted(images)}
        found = _reused_each(self._containers, listed)
        containers = self._merged(found, ids)
        self._suspects -= frozenset(ids)
        self._doubtful = (self._doubtful - asked) | self._abandoned(containers)
        image_labels = self._of_images_in_use(_replaced(known.image_labels, labels), containers)
        return self._keep(containers, _replaced(known.volumes, volumes), image_labels)

    @contextmanager
    def _no_half_look(self) -> Iterator[None]:
        """Begin with new connections after a failure: the engine may be another version."""
        try:
            yield
        except InventoryError:
            self._engine.close()
            raise

    def _merged(self, found: Mapping[str, Container], ids: Collection[str]) -> dict[str, Container]:
        """The containers, with those of `ids` as they were found, each in its old place."""
        kept = {
            key: found.get(key, container)
            for key, container in self._containers.items()
            if key in found or key not in ids
        }
        return {**kept, **found}

    def _keep(
        self,
        containers: dict[str, Container],
        volumes: Mapping[str, Volume],
        image_labels: Mapping[str, Mapping[str, str]],
    ) -> Inventory:
        known = self._inventory or Inventory()
        if not _is_same(containers, self._containers):
            self._containers = containers
            known = replace(known, containers=tuple(containers.values()))
        if (kept := _reused(known.volumes, volumes)) is not known.volumes:
            known = replace(known, volumes=kept)
        if (told := _reused(known.image_labels, image_labels)) is not known.image_labels:
            known = replace(known, image_labels=told)
        self._inventory = known
        return known

    def _new_volumes(self, found: Iterable[Container], known: Collection[str]) -> set[str]:
        """The volumes to ask for: without its options a network volume looks like a folder."""
        names = {mount.name for container in found for mount in container.mounts} - {""}
        return {name for name in names if name not in known or name in self._doubtful}

    def _new_images(self, found: Iterable[Container], known: Collection[str]) -> set[str]:
        return self._images_of(found) - {"", *known}

    def _images_of(self, containers: Iterable[Container]) -> set[str]:
        """The images that matter: those of labelled containers."""
        return {
            container.image_id
            for container in containers
            if any(label.startswith(self._prefix) for label in container.labels)
        }

    def _of_images_in_use(
        self, labels: Mapping[str, Mapping[str, str]], containers: Mapping[str, Container]
    ) -> Mapping[str, Mapping[str, str]]:
        """The image labels that a relist would give; they lose some only where containers went."""
        if self._containers.keys() <= containers.keys():
            return labels
        used = self._images_of(containers.values())
        return {image: told for image, told in labels.items() if image in used}

    def _abandoned(self, left: Mapping[str, Container]) -> set[str]:
        """The volumes that lose their last container, as far as that is known."""
        gone = [one for key, one in self._containers.items() if key not in left]
        names = {mount.name for container in gone for mount in container.mounts} - {""}
        if not names:
            return names
        return names - {mount.name for one in left.values() for mount in one.mounts}

    def _judge(self, after: Mapping[str, Container], announced: Collection[str] | None) -> None:
        """See whether changes were announced that should have been."""
        self._missed = False
        if announced is None or self._inventory is None:
            self._suspects = frozenset()
            return
        self._missed = bool(self._suspects.difference(announced))
        then, now = self._labelled(self._containers), self._labelled(after)
        changed = (key for key in {*then, *now} if then.get(key) != now.get(key))
        self._suspects = frozenset(changed).difference(announced)

    def _labelled(self, containers: Mapping[str, Container]) -> dict[str, str]:
        """The names of the containers whose events the stream lets through, by id."""
        return {key: one.name for key, one in containers.items() if self._enable in one.labels}


def _reused_each(
    known: Mapping[str, Container], found: Iterable[Container]
) -> dict[str, Container]:
    """Containers by id: the known object wherever it says the same."""
    return {
        container.id: was if (was := known.get(container.id)) == container else container
        for container in found
    }


def _reused(known: Mapping[Key, Value], found: Mapping[Key, Value]) -> Mapping[Key, Value]:
    """The known mapping if it says the same, else one with the known values that still hold."""
    if known is found or known == found:
        return known
    return {key: was if (was := known.get(key)) == value else value for key, value in found.items()}


def _replaced(known: Mapping[Key, Value], told: Mapping[Key, Value | None]) -> Mapping[Key, Value]:
    """The known mapping with the values that were told; None: there is no such thing."""
    if not told:
        return known
    kept = {key: value for key, value in known.items() if key not in told}
    return {**kept, **{key: value for key, value in told.items() if value is not None}}


def _is_same(some: Mapping[str, Container], others: Mapping[str, Container]) -> bool:
    """Return whether these are the same objects, in whatever order."""
    return len(some) == len(others) and all(others.get(key) is one for key, one in some.items())
