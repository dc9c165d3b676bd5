"""What only a Docker engine of today has: folders of volumes, and images for several platforms.

They fail on an older one, which has neither; `scripts/test --current-engine` runs them.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.types import Mount as MountSpec

from sample_stack import busybox_tar
from sidecar.docker.inventory import DockerInventory
from sidecar.reconciler.tracker import Tracker
from sidecar_command import InVolume, Sidecar, paths_of, reasons, service
from world import World

pytestmark = pytest.mark.current_engine

PLAN = "backrest_sidecar_shop_app"
HOOKED = {"backrest.snapshot-start": "echo pwned"}
_OCI = "application/vnd.oci.image"


def folder_of(volume: str, folder: str, destination: str) -> MountSpec:
    """Mount one folder of a volume."""
    return MountSpec(destination, volume, "volume", subpath=folder)


@pytest.fixture
def photos(world: World, in_volume: InVolume) -> Path:
    """Return where a volume with some folders lies; its folders have to exist before a start."""
    world.volume("shop_photos")
    place = Path(in_volume("shop_photos"))
    for folder in ("ann/raw", "ann/done", "bob"):
        (place / folder).mkdir(parents=True)
    return place


def test_the_containerd_image_store_is_what_runs(docker_client: docker.APIClient) -> None:
    """Otherwise the other tests here would say nothing about it."""
    info = docker_client.info()

    assert ["driver-type", "io.containerd.snapshotter.v1"] in info["DriverStatus"]
    major, minor = docker_client.api_version.split(".")
    assert (int(major), int(minor)) >= (1, 49)


def test_a_plan_holds_the_folder_of_the_volume_and_not_the_volume(
    world: World, sidecar: Sidecar, photos: Path
) -> None:
    """What the container wrote is there; nothing that Docker lists tells of the folder."""
    container = world.container(
        "shop-app-1", service("app"), mounts=[folder_of("shop_photos", "ann/raw", "/data")]
    )
    world.client.start(container)
    made = world.client.exec_create(container, ["touch", "/data/written"])
    world.client.exec_start(made["Id"])

    answer = sidecar.preview()

    assert [str(photos / "ann" / "raw")] == paths_of(answer, PLAN)
    assert (photos / "ann" / "raw" / "written").exists()
    assert [] == answer["problems"]


def test_included_and_excluded_paths_follow_the_folder(
    world: World, sidecar: Sidecar, photos: Path
) -> None:
    """As the container sees them; `volume:` names the volume itself."""
    labels = service(
        "app",
        paths__include="/data/2026, volume:shop_photos/bob",
        paths__exclude="/data/2026/cache",
        paths__iexclude="/data/2026/*.TMP",
    )
    world.container("shop-app-1", labels, mounts=[folder_of("shop_photos", "ann", "/data")])

    [plan] = sidecar.preview()["plans"]

    assert [f"{photos}/ann/2026", f"{photos}/bob"] == plan["paths"]
    assert [f"{photos}/ann/2026/cache"] == plan["excludes"]
    assert [f"{photos}/ann/2026/*.TMP"] == plan["iexcludes"]


def test_a_folder_and_the_whole_volume_of_one_container(
    world: World, sidecar: Sidecar, photos: Path
) -> None:
    """Each mount has its own root; the path in the other is taken with it."""
    mounts = [
        folder_of("shop_photos", "ann/raw", "/raw"),
        folder_of("shop_photos", "bob", "/bob"),
        MountSpec("/all", "shop_photos", "volume"),
    ]
    labels = service("app", paths__include="/raw/x, /bob/y, /all/z")
    world.container("shop-app-1", labels, mounts=mounts)

    answer = sidecar.preview()

    wanted = [f"{photos}/ann/raw/x", f"{photos}/bob/y", f"{photos}/z"]
    assert wanted == paths_of(answer, PLAN)


@pytest.mark.usefixtures("photos")
def test_the_runner_that_mounts_a_folder_sees_what_lies_in_it(
    world: World, sidecar: Sidecar
) -> None:
    """Its own mount has a folder too; another folder of that volume it does not see."""
    world.container("backrest", {}, mounts=[folder_of("shop_photos", "ann", "/photos")])
    for name, folder in (("app", "ann/raw"), ("other", "bob")):
        mounts = [folder_of("shop_photos", folder, "/data")]
        world.container(f"shop-{name}-1", service(name), mounts=mounts)

    answer = sidecar.preview(code=3)

    assert ["/photos/raw"] == paths_of(answer, PLAN)
    assert [("path.invisible", "degraded"), ("paths.empty", "error")] == reasons(answer)


def test_the_daemon_and_a_saved_list_know_the_folder_too(
    world: World, sidecar: Sidecar, photos: Path, tmp_path: Path
) -> None:
    """A container that an event named is inspected as one of a full list is."""
    with DockerInventory(sidecar.engine.address) as looking:
        tracker = Tracker(looking, "backrest.")
        tracker.relist()
        identity = world.container(
            "shop-app-1", service("app"), mounts=[folder_of("shop_photos", "bob", "/data")]
        )
        [found] = tracker.refresh({identity}).containers
    saved = tmp_path / "saved.json"
    sidecar.preview("--save-inventory", str(saved))
    source = ("--inventory", str(saved), "--docker-root", str(sidecar.engine.data_root))
    done = sidecar.run(
        *("reconcile", "--dry-run", "--output", "json", "--config", str(sidecar.config)), *source
    )

    assert ["bob"] == [mount.subpath for mount in found.mounts]
    assert [str(photos / "bob")] == paths_of(json.loads(done.stdout), PLAN)


class Layout:
    """An image layout as `docker load` reads it: blobs, and one index that names them."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._layer = busybox_tar()

    def manifest(self, architecture: str, labels: Mapping[str, str]) -> dict[str, Any]:
        """Add the image for an architecture; return how the index names it."""
        layer = self._add(self._layer, f"{_OCI}.layer.v1.tar")
        platform = {"architecture": architecture, "os": "linux"}
        config = {
            **platform,
            "config": {"Labels": dict(labels), "Cmd": ["/bin/sleep", "86400"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": self._add_json(config, f"{_OCI}.config.v1+json"),
            "layers": [layer],
        }
        return {**self._add_json(manifest, f"{_OCI}.manifest.v1+json"), "platform": platform}

    def archive(self, name: str, manifests: list[dict[str, Any]]) -> bytes:
        """Return the layout with one image `name` for several platforms, as a tar."""
        kind = f"{_OCI}.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        named = {"io.containerd.image.name": f"docker.io/library/{name}:latest"}
        top = {
            "schemaVersion": 2,
            "manifests": [{**self._add_json(index, kind), "annotations": named}],
        }
        files = {f"blobs/{at.replace(':', '/')}": blob for at, blob in self._blobs.items()}
        files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
        files["index.json"] = json.dumps(top).encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, content in files.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return packed.getvalue()

    def _add_json(self, value: object, kind: str) -> dict[str, Any]:
        return self._add(json.dumps(value).encode(), kind)

    def _add(self, blob: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        self._blobs[digest] = blob
        return {"mediaType": kind, "digest": digest, "size": len(blob)}


@pytest.fixture
def two_platforms(docker_client: docker.APIClient) -> Iterator[str]:
    """Load an image that carries a hook for one platform only, which is not the engine's."""
    foreign = {"amd64": "arm64"}.get(docker_client.version()["Arch"], "amd64")
    layout = Layout()
    plain = layout.manifest(docker_client.version()["Arch"], {})
    archive = layout.archive("two-platforms", [plain, layout.manifest(foreign, HOOKED)])
    for _ in docker_client.load_image(archive):
        pass
    yield f"linux/{foreign}"
    docker_client.remove_image("two-platforms", force=True)


def test_a_label_of_an_image_for_another_platform_is_the_images(
    world: World, sidecar: Sidecar, two_platforms: str
) -> None:
    """`platform: linux/amd64` on an ARM machine: asked without it, Docker tells of its own."""
    world.volume("shop_data")
    world.container(
        "shop-app-1",
        service("app"),
        ["shop_data:/data"],
        image="two-platforms",
        platform=two_platforms,
    )

    answer = sidecar.preview()

    [plan] = answer["plans"]
    assert "hooks" not in plan
    assert [("label.from-image", "warning")] == reasons(answer)


def test_both_platforms_of_one_image_are_told_apart(
    world: World, sidecar: Sidecar, two_platforms: str
) -> None:
    """Their containers list one image id."""
    mine = service("mine", snapshot_start="echo mine")
    for name, platform in (("mine", None), ("theirs", two_platforms)):
        world.volume(f"shop_{name}")
        labels = mine if platform is None else service(name)
        world.container(
            f"shop-{name}-1",
            labels,
            [f"shop_{name}:/data"],
            image="two-platforms",
            platform=platform,
        )
    ids = {entry["ImageID"] for entry in world.client.containers(all=True)}

    answer = sidecar.preview()

    assert 1 == len(ids)
    hooks = {plan["id"].rpartition("_")[2]: len(plan.get("hooks", ())) for plan in answer["plans"]}
    assert {"mine": 1, "theirs": 0} == hooks
