"""The inventory as it was last observed, updated by container and replaced by a resync."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import (
    SERVICE,
    Container,
    ImageIndex,
    Inventory,
    Volume,
    images_that_matter,
)

Key = TypeVar("Key")
Value = TypeVar("Value")


class Tracker:
    """Keeps the inventory of a Docker; what did not change stays the same object.

    That holds for each container and volume, for the mappings and for the inventory as a
    whole, so that later stages see by identity what they have to compute again. A failed
    call raises InventoryError and leaves everything as it was. Not thread-safe.
    """

    def __init__(
        self, docker: DockerInventory, label_prefix: str, backrest: str = "backrest"
    ) -> None:
        self._docker = docker
        self._prefix = label_prefix
        self._backrest = backrest
        self._enable = f"{label_prefix}enable"
        self._inventory: Inventory | None = None
        self._containers: dict[str, Container] = {}
        # Volumes that lost their last container: one of the same name may be another.
        self._doubtful: set[str] = set()
        self._suspects: frozenset[str] = frozenset()
        self._missed = False

    @property
    def missed(self) -> bool:
        """Whether the event stream missed something.

        A change of a labelled container that one `relist` found was not announced until the
        next: an event that is merely on its way while a list is read is not missed. Only
        coming, going and renaming count; a state may change before or after its event.
        """
        return self._missed

    def known(self) -> Inventory:
        """Return the inventory as it was last observed; observe everything if there is none."""
        return self.relist() if self._inventory is None else self._inventory

    def relist(self, announced: Collection[str] | None = None) -> Inventory:
        """Observe everything: containers, volumes, and the images of labelled containers.

        `announced` are the ids that events named since the last relist; None says that
        nobody listened in between, so that nothing counts as missed.
        """
        seen = self._docker.observe(self._prefix, self._backrest).inventory
        containers = _reused_each(self._containers, seen.containers)
        self._find_missed(containers, announced)
        self._doubtful.clear()
        known = self._keep(containers, seen.volumes, seen.image_labels, seen.missing_images)
        if (services := _reused(known.services, seen.services)) is not known.services:
            known = self._inventory = replace(known, services=services)
        return known

    def refresh(self, ids: Collection[str]) -> Inventory:
        """Observe these containers only, by one call; each new volume or image is one more.

        Changes of unlabelled containers, which no event announces, and of unused volumes
        are found by `relist`. If there is no inventory yet, everything is observed.
        """
        known = self._inventory
        if known is None:
            return self.relist()
        if not ids:
            # Docker takes an empty list of ids for all containers.
            return known
        listed = self._docker.containers(ids)
        asked = self._new_volumes(listed, known.volumes)
        volumes = {name: self._docker.volume(name) for name in sorted(asked)}
        found = _reused_each(self._containers, listed)
        containers = self._merged(found, ids)
        images = self._new_images(listed, containers, known.image_labels)
        labels = {one: self._docker.labels_of_image(one, images[one]) for one in sorted(images)}
        self._suspects -= frozenset(ids)
        self._doubtful = (self._doubtful - asked) | self._abandoned(containers)
        image_labels = self._of_images_in_use(_replaced(known.image_labels, labels), containers)
        missing = (known.missing_images - labels.keys()) | {
            image for image, read in labels.items() if read is None
        }
        if missing:
            missing &= {one.image_id for one in containers.values()}
        return self._keep(containers, _replaced(known.volumes, volumes), image_labels, missing)

    def _merged(self, found: Mapping[str, Container], ids: Collection[str]) -> dict[str, Container]:
        """Return all containers, with those of `ids` as they were found, each in its old place."""
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
        missing_images: frozenset[str],
    ) -> Inventory:
        known = self._inventory or Inventory()
        if not _is_same(containers, self._containers):
            self._containers = containers
            known = replace(known, containers=tuple(containers.values()))
        if (kept := _reused(known.volumes, volumes)) is not known.volumes:
            known = replace(known, volumes=kept)
        if (labels := _reused(known.image_labels, image_labels)) is not known.image_labels:
            known = replace(known, image_labels=labels)
        if missing_images != known.missing_images:
            known = replace(known, missing_images=missing_images)
        self._inventory = known
        return known

    def _new_volumes(self, found: Iterable[Container], known: Collection[str]) -> set[str]:
        """Return the volumes to read: without its options a network volume looks like a folder."""
        names = {mount.name for container in found for mount in container.mounts} - {""}
        return {name for name in names if name not in known or name in self._doubtful}

    def _new_images(
        self,
        found: Sequence[Container],
        containers: Mapping[str, Container],
        known: Collection[str],
    ) -> dict[str, ImageIndex | None]:
        """Return the images to inspect: those of what was found, and of what it belongs to."""
        services = {one.labels[SERVICE] for one in found if SERVICE in one.labels}
        beside = found
        if services:
            beside = [c for c in containers.values() if c.labels.get(SERVICE) in services]
            beside += [one for one in found if SERVICE not in one.labels]
        matter = images_that_matter(beside, self._prefix)
        return {image: index for image, index in matter.items() if image not in known}

    def _of_images_in_use(
        self, labels: Mapping[str, Mapping[str, str]], containers: Mapping[str, Container]
    ) -> Mapping[str, Mapping[str, str]]:
        """Return the image labels that a relist would give: those of images in use."""
        if self._containers.keys() <= containers.keys():
            return labels
        used = images_that_matter(containers.values(), self._prefix)
        return {image: found for image, found in labels.items() if image in used}

    def _abandoned(self, left: Mapping[str, Container]) -> set[str]:
        """Return the volumes that lose their last container, as far as that is known."""
        gone = [one for key, one in self._containers.items() if key not in left]
        names = {mount.name for container in gone for mount in container.mounts} - {""}
        if not names:
            return names
        return names - {mount.name for one in left.values() for mount in one.mounts}

    def _find_missed(
        self, after: Mapping[str, Container], announced: Collection[str] | None
    ) -> None:
        """Set `missed`: whether changes were not announced that should have been."""
        self._missed = False
        if announced is None or self._inventory is None:
            self._suspects = frozenset()
            return
        self._missed = bool(self._suspects.difference(announced))
        then, now = self._labelled(self._containers), self._labelled(after)
        changed = (key for key in {*then, *now} if then.get(key) != now.get(key))
        self._suspects = frozenset(changed).difference(announced)

    def _labelled(self, containers: Mapping[str, Container]) -> dict[str, str]:
        """Return the names of the containers whose events the stream lets through, by id."""
        return {key: one.name for key, one in containers.items() if self._enable in one.labels}


def _reused_each(
    known: Mapping[str, Container], found: Iterable[Container]
) -> dict[str, Container]:
    """Return containers by id: the known object where it is equal."""
    return {
        container.id: was if (was := known.get(container.id)) == container else container
        for container in found
    }


def _reused(known: Mapping[Key, Value], found: Mapping[Key, Value]) -> Mapping[Key, Value]:
    """Return the known mapping if it is equal, else one with the known values that are."""
    if known is found or known == found:
        return known
    return {key: was if (was := known.get(key)) == value else value for key, value in found.items()}


def _replaced(known: Mapping[Key, Value], read: Mapping[Key, Value | None]) -> Mapping[Key, Value]:
    """Return the known mapping with the values that were read; None: it does not exist."""
    if not read:
        return known
    kept = {key: value for key, value in known.items() if key not in read}
    return {**kept, **{key: value for key, value in read.items() if value is not None}}


def _is_same(some: Mapping[str, Container], others: Mapping[str, Container]) -> bool:
    """Return whether these are the same objects, in whatever order."""
    return len(some) == len(others) and all(others.get(key) is one for key, one in some.items())
