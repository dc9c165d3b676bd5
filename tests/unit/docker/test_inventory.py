"""The inventory from saved lists, and from a Docker that misbehaves."""

import base64
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import quote

import pytest

from sidecar.docker.answers import parse_containers, parse_identity, parse_link_target
from sidecar.docker.inventory import DockerInventory, load_saved
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.lib.errors import InventoryError

DATA = Path(__file__).parents[3] / "testdata" / "inventory"
LONG_ID = "0123456789abcdef" * 4


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A place for a saved list."""
    return tmp_path / "saved.json"


def test_podman_makes_up_ids_and_so_has_none() -> None:
    """Each answer of its names another one, which would be another Docker each time."""
    assert "E" == parse_identity(b'{"ID": "E"}', "the answer")
    assert "" == parse_identity(b'{"ID": "E", "BuildahVersion": "1.28"}', "the answer")
    assert "" == parse_identity(b"{}", "the answer")


def told(value: object) -> str:
    """Return what Docker says of a path, as it is written into a header."""
    return base64.b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (told({"name": "link", "linkTarget": "/data/folder"}), "/data/folder"),
        (told({"name": "folder", "linkTarget": ""}), ""),
        (told({"name": "folder"}), ""),
        (told({"linkTarget": 7}), ""),
        (told(["linkTarget"]), ""),
        ("", ""),
        ("no base64", ""),
    ],
)
def test_where_a_link_leads_to_is_read_of_a_header(header: str, expected: str) -> None:
    """Nothing follows from one that cannot be read."""
    assert expected == parse_link_target(header)


def test_minimal_list_is_an_inventory() -> None:
    """The bare answer of Docker's container list is enough."""
    inventory = load_saved(DATA / "minimal.json")

    assert inventory == Inventory(
        (
            Container(
                id="8f14e45fceea167a5a36dedd4bea2543f1c0a1b2c3d4e5f60718293a4b5c6d7e",
                name="web",
                image_id="sha256:c4ca4238a0b923820dcc509a6f75849b",
                labels={"backrest.enable": "true"},
                mounts=(
                    Mount("volume", "/var/lib/docker/volumes/data/_data", "/data", "data", "local"),
                ),
                created=1,
                state="running",
                image="example/web",
            ),
        )
    )


def test_missing_and_null_fields_have_plain_meanings() -> None:
    """A name is never invented from another container's link, and mounts are sorted."""
    bare, null, linked, nameless, mounted = load_saved(DATA / "sparse.json").containers

    assert bare == Container("a87ff679a2f3e71d9181a67b7542122c", "a87ff679a2f3")
    assert (null.name, null.state, null.labels, null.mounts) == ("e4da3b7fbbce", "exited", {}, ())
    assert (linked.name, linked.created, linked.image_id) == ("own", 0, "")
    assert nameless.name == "8f14e45fceea"
    assert mounted.name == "bare"
    assert mounted.mounts == (Mount("volume", "", "/a", "v"), Mount("bind", "", "/z"))


def test_object_form_carries_volumes_and_images() -> None:
    """Driver options and the images' own labels come along; an unlabelled image is known."""
    inventory = load_saved(DATA / "whole.json")

    assert inventory.containers[0].state == "exited"
    assert inventory.volumes == {
        "shop_nfs": Volume(
            "shop_nfs",
            mountpoint="/var/lib/docker/volumes/shop_nfs/_data",
            options={"type": "nfs", "device": ":/export"},
        ),
        "plain": Volume("plain"),
    }
    assert inventory.image_labels == {
        "sha256:01": {"backrest.enable": "true"},
        "sha256:02": {},
        "sha256:03": {},
    }


@pytest.mark.parametrize(
    ("volumes", "names"),
    [
        ('{"Volumes": [{"Name": "v"}]}', ["v"]),
        ('[{"Name": "v"}]', ["v"]),
        ('{"Volumes": null}', []),
        ("null", []),
    ],
)
def test_volumes_in_each_form(saved: Path, volumes: str, names: list[str]) -> None:
    """The answer of Docker, a bare list, or nothing known."""
    saved.write_text(f'{{"containers": [], "volumes": {volumes}}}')

    assert list(load_saved(saved).volumes) == names


def test_empty_list_is_an_inventory(saved: Path) -> None:
    """Docker without containers is known to have none."""
    for text in ("[]", ' \n{"containers": [], "images": null}'):
        saved.write_text(text)
        assert load_saved(saved) == Inventory()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JSON"),
        ("null", "should be"),
        ("[{}", "Invalid JSON"),
        ('"hunter2"', "should be"),
        ('{"message": "hunter2"}', "field containers: Field required"),
        ('{"containers": null}', "field containers: should be a valid array"),
        ('[{"Names": ["/a"]}]', "entry 0, field Id: Field required"),
        ('[{"Id": "a"}, {"Id": 7}]', "entry 1, field Id: should be a valid string"),
        ('[{"Id": "a", "Created": "hunter2"}]', "entry 0, field Created: should be a valid int"),
        ('[{"Id": "a", "Names": "hunter2"}]', "entry 0, field Names: should be a valid array"),
        ('[{"Id": "a", "Labels": {"k": ["hunter2"]}}]', "entry 0, field Labels.k: should be"),
        ('[{"Id": "a", "Labels": {"k": 1}}]', "entry 0, field Labels.k: should be"),
        ('[{"Id": "a", "Mounts": [{"Type": "bind"}]}]', "entry 0, Mounts entry 0, field Dest"),
        (
            '{"containers": [], "volumes": [{"Name": "v"}, {}]}',
            "volumes.Volumes entry 1, field Name: Field required",
        ),
        ('{"containers": [], "volumes": {"a": 1}}', "field volumes.Volumes: Field required"),
        ('{"containers": [], "images": [{"Id": 1}]}', "images entry 0, field Id: should be"),
    ],
)
def test_list_of_another_shape_is_refused_naming_the_place(
    saved: Path, text: str, message: str
) -> None:
    """The error names file, entry and field, says what is expected, and no value."""
    saved.write_text(text)

    with pytest.raises(InventoryError) as caught:
        load_saved(saved)

    assert str(saved) in caught.value.message
    assert message in caught.value.message
    assert "GET /containers/json?all=1" in caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file is no empty inventory, and a folder is no file."""
    with pytest.raises(InventoryError, match="No such file"):
        load_saved(tmp_path / "none.json")
    with pytest.raises(InventoryError, match="it is a directory"):
        load_saved(tmp_path)


# Docker's faults, shown by a small HTTP server on a socket of its own.

Answers = dict[str, tuple[int, bytes]]
LISTED = json.dumps(
    [
        {"Id": "1" * 64, "Names": ["/a"], "ImageID": "sha256:01", "Labels": {"backrest.id": "x"}},
        {"Id": "2" * 64, "Names": ["/b"], "ImageID": "sha256:02", "Labels": {"other": "x"}},
        {"Id": "3" * 64, "Names": ["/c"], "ImageID": "", "Labels": {"backrest.id": "y"}},
    ]
).encode()
SERVICE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
SOUND: Answers = {
    "/version": (200, b'{"ApiVersion": "1.41"}'),
    "/v1.41/containers/json": (200, LISTED),
    "/v1.41/volumes": (200, b'{"Volumes": [{"Name": "v"}]}'),
    "/v1.41/images/sha256:01/json": (
        200,
        b'{"Id": "sha256:01", "Config": {"Labels": {"a": "\xc3\xa9"}}}',
    ),
}


@dataclass
class Faulty:
    """A server that answers as told: `answers` by path, a path in `silent` never."""

    socket: Path
    answers: Answers
    silent: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def _answering(faulty: Faulty) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            faulty.asked.append(f"{self.command} {self.path}")
            if path in faulty.silent:
                faulty.released.wait(30)
                self.close_connection = True
                return
            status, body = faulty.answers.get(path, (404, b'{"message": "page not found"}'))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + (path in faulty.cut)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing: the tests look at the answers."""

    return Answering


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    """A running server with sound answers, for a test to spoil."""
    told = Faulty(tmp_path / "d.sock", dict(SOUND))
    with ThreadingUnixStreamServer(str(told.socket), _answering(told)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield told
        told.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def docker(faulty: Faulty) -> Iterator[DockerInventory]:
    """Docker as the sidecar sees it, with a short patience."""
    with DockerInventory(str(faulty.socket), timeout=0.3) as observed:
        yield observed


def test_only_images_of_labelled_containers_are_inspected_and_once(
    faulty: Faulty, docker: DockerInventory
) -> None:
    """One list of each kind a pass, and one inspect for each image in a life."""
    first, second = docker.observe().inventory, docker.observe().inventory

    assert first == second
    assert first.image_labels == {"sha256:01": {"a": "é"}}
    assert sorted(faulty.asked) == [
        "GET /v1.41/containers/json?all=1",
        "GET /v1.41/containers/json?all=1",
        "GET /v1.41/images/sha256:01/json",
        "GET /v1.41/volumes",
        "GET /v1.41/volumes",
        "GET /version",
    ]


ARM = {"architecture": "arm64", "os": "linux", "variant": "v8"}
OTHER_PLATFORM = "/v1.41/images/sha256:0f/json"


def made_for(platform: dict[str, str] | None) -> tuple[int, bytes]:
    """List a container of an image for several platforms, as the containerd image store does."""
    manifest = {"digest": "sha256:0a", "platform": platform}
    listed = {"Id": "1" * 64, "ImageID": "sha256:0f", "ImageManifestDescriptor": manifest}
    return 200, json.dumps([{**listed, "Labels": {"backrest.enable": "true"}}]).encode()


def image_for(identity: str, *platform: str) -> tuple[int, bytes]:
    """Answer with an image for a platform, whose label tells what was answered."""
    told = dict(zip(("Os", "Architecture", "Variant"), platform, strict=False))
    labels = {"Config": {"Labels": {"for": "/".join(platform)}}}
    return 200, json.dumps({"Id": identity, **told, **labels}).encode()


def test_labels_are_those_of_the_image_for_the_platform_of_the_container(
    faulty: Faulty, docker: DockerInventory, saved: Path
) -> None:
    """Asked without it, Docker tells of the one for its own platform, which may say another thing."""
    faulty.answers["/v1.41/containers/json"] = made_for(ARM)
    faulty.answers[OTHER_PLATFORM] = image_for("sha256:0a", "linux", "arm64")

    observation = docker.observe()

    [asked] = [path for path in faulty.asked if "/images/" in path]
    assert asked == f"GET {OTHER_PLATFORM}?platform={quote(json.dumps(ARM), safe='')}"
    [container] = observation.inventory.containers
    assert container.image_id == "sha256:0a"
    assert observation.inventory.image_labels == {"sha256:0a": {"for": "linux/arm64"}}
    assert observation.inventory.missing_images == frozenset()
    saved.write_bytes(observation.raw.to_json())
    assert load_saved(saved) == observation.inventory


@pytest.mark.parametrize(
    ("platform", "answer", "is_known"),
    [
        (ARM, image_for("sha256:0f", "linux", "amd64"), False),
        (ARM, image_for("sha256:0f", "linux", "arm64"), True),
        ({**ARM, "variant": ""}, image_for("sha256:0f", "linux", "arm64", "v8"), True),
        (
            {**ARM, "architecture": "arm", "variant": "v7"},
            image_for("sha256:0f", "linux", "arm"),
            False,
        ),
        (ARM, image_for("sha256:0b", "linux", "arm64"), False),
        (None, image_for("sha256:0f", "linux", "amd64"), False),
        (ARM, (404, b'{"message": "no such image for that platform"}'), False),
    ],
)
def test_image_for_another_platform_counts_as_one_that_docker_does_not_have(
    faulty: Faulty,
    docker: DockerInventory,
    platform: dict[str, str] | None,
    answer: tuple[int, bytes],
    is_known: bool,
) -> None:
    """API 1.48 tells the platform of a container and does not let one ask for it."""
    faulty.answers["/v1.41/containers/json"] = made_for(platform)
    faulty.answers[OTHER_PLATFORM] = answer

    inventory = docker.observe().inventory

    assert is_known == ("sha256:0a" in inventory.image_labels)
    assert is_known == ("sha256:0a" not in inventory.missing_images)


SUBPATHS = json.dumps(
    [
        {
            "Id": digit * 64,
            "Names": [f"/{name}"],
            "Labels": labels,
            "Mounts": [
                {"Type": "volume", "Name": "v", "Source": "/v/_data", "Destination": "/data"},
                {"Type": "volume", "Name": "v", "Source": "/v/_data", "Destination": "/all"},
            ],
        }
        for digit, name, labels in (
            ("1", "web", {"backrest.enable": "true", **SERVICE}),
            ("2", "web-2", SERVICE),
            ("3", "other", {}),
            ("4", "backrest", {}),
        )
    ]
).encode()
INSPECTED = {
    "Id": "1" * 64,
    "Mounts": [{"Type": "volume", "Name": "v", "Source": "/v/_data", "Destination": "/data"}],
    "HostConfig": {
        "Mounts": [
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/data/",
                "VolumeOptions": {"Subpath": "ann/raw"},
            },
            {"Type": "volume", "Source": "v", "Target": "/all", "VolumeOptions": {}},
            {"Type": "bind", "Source": "/x", "Target": "/x"},
        ]
    },
}


def subpaths(containers: Sequence[Container]) -> dict[str, list[str]]:
    """Return the subpaths of each container's mounts, in their order."""
    return {one.name: [mount.subpath for mount in one.mounts] for one in containers}


def test_subpaths_take_one_inspection_of_a_container_that_matters(
    faulty: Faulty, docker: DockerInventory, saved: Path
) -> None:
    """Docker's lists hide them; only labelled containers, their replicas and Backrest count."""
    faulty.answers["/v1.41/containers/json"] = (200, SUBPATHS)
    for digit in "12":
        place = f"/v1.41/containers/{digit * 64}/json"
        faulty.answers[place] = (200, json.dumps(INSPECTED).encode())

    observation = docker.observe()
    again = docker.observe().inventory
    alone = docker.containers(["1" * 64])

    seen = subpaths(observation.inventory.containers)
    assert seen == {
        "web": ["", "ann/raw"],
        "web-2": ["", "ann/raw"],
        "other": ["", ""],
        "backrest": ["", ""],
    }
    assert (again, alone) == (observation.inventory, observation.inventory.containers[:1])
    asked = [path.split("/")[3] for path in faulty.asked if "json" in path and "?" not in path]
    assert asked == ["1" * 64, "2" * 64, "4" * 64]
    saved.write_bytes(observation.raw.to_json())
    assert load_saved(saved) == observation.inventory


def test_one_that_a_stop_would_remove_is_told_by_its_inspection(
    faulty: Faulty, docker: DockerInventory, saved: Path
) -> None:
    """No list has it; it is saved with the rest. One that may be stopped is asked for."""
    labels = {"backrest.hooks.template": "stop-start"}
    listed = [
        {"Id": digit * 64, "Names": [f"/{name}"], "Labels": labels}
        for digit, name in (("1", "fleeting"), ("2", "lasting"))
    ]
    faulty.answers["/v1.41/containers/json"] = (200, json.dumps(listed).encode())
    for digit, goes in (("1", True), ("2", False)):
        answer = {"HostConfig": {"AutoRemove": goes}}
        faulty.answers[f"/v1.41/containers/{digit * 64}/json"] = (200, json.dumps(answer).encode())

    observation = docker.observe()

    found = {one.name: one.goes_when_stopped for one in observation.inventory.containers}
    assert found == {"fleeting": True, "lasting": False}
    assert docker.containers(["1" * 64]) == observation.inventory.containers[:1]
    saved.write_bytes(observation.raw.to_json())
    assert load_saved(saved).containers == observation.inventory.containers


@pytest.mark.parametrize("config", ["null", "{}", '{"Mounts": null}'])
def test_container_without_asked_mounts_has_no_subpath(
    faulty: Faulty, docker: DockerInventory, config: str
) -> None:
    """`-v` leaves that list empty, and Podman has none."""
    faulty.answers["/v1.41/containers/json"] = (200, SUBPATHS)
    for digit in "124":
        place = f"/v1.41/containers/{digit * 64}/json"
        faulty.answers[place] = (200, f'{{"HostConfig": {config}}}'.encode())

    containers = docker.observe().inventory.containers

    assert set(map(tuple, subpaths(containers).values())) == {("", "")}


def test_other_prefix_asks_for_other_images(faulty: Faulty, docker: DockerInventory) -> None:
    """The prefix decides which labels are ours; an image that was removed is unknown."""
    inventory = docker.observe("oth").inventory

    assert inventory.image_labels == {}
    assert "GET /v1.41/images/sha256:02/json" in faulty.asked


def test_saved_observation_is_the_same_inventory(docker: DockerInventory, saved: Path) -> None:
    """What is saved can be observed again, elsewhere and later."""
    observation = docker.observe()
    saved.write_bytes(observation.raw.to_json())

    assert load_saved(saved) == observation.inventory
    assert json.loads(saved.read_bytes())["containers"] == json.loads(LISTED)


@pytest.mark.parametrize(
    "path",
    [
        "/version",
        "/v1.41/containers/json",
        "/v1.41/volumes",
        "/v1.41/images/sha256:01/json",
    ],
)
@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (403, b"<html>Forbidden</html>", "was refused with status 403"),
        (500, b'{"message":"the disk is on fire"}', "the disk is on fire"),
        (404, b"", ""),
        (400, b'{"message":"client version 1.41 is too old"}', "another API version"),
    ],
)
def test_refusal_of_any_call_voids_the_pass(
    faulty: Faulty, docker: DockerInventory, path: str, status: int, body: bytes, message: str
) -> None:
    """Never a shorter inventory; only a removed image is no failure."""
    faulty.answers[path] = (status, body)
    if status == 404 and "images" in path:
        assert docker.observe().inventory.image_labels == {}
        return

    with pytest.raises(InventoryError) as caught:
        docker.observe()

    assert message in caught.value.message
    assert str(faulty.socket) in caught.value.message
    if status == 403:
        assert f"must allow GET {path.removeprefix('/v1.41')}" in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [b"null", b"", LISTED[:-1], b'{"message": "x"}', b'[{"Id": null}]', b"\xff", b"[null]"],
)
def test_answer_of_another_shape_voids_the_pass(
    faulty: Faulty, docker: DockerInventory, body: bytes
) -> None:
    """A null, half an answer or a foreign one is never "no containers"."""
    faulty.answers["/v1.41/containers/json"] = (200, body)

    with pytest.raises(InventoryError, match="GET /containers/json"):
        docker.observe()


def test_volume_list_that_is_null_is_an_error_but_no_volumes_are_none(
    faulty: Faulty, docker: DockerInventory
) -> None:
    """Old versions say `{"Volumes": null}` when there are none."""
    faulty.answers["/v1.41/volumes"] = (200, b'{"Volumes": null}')
    assert docker.observe().inventory.volumes == {}

    faulty.answers["/v1.41/volumes"] = (200, b"null")
    with pytest.raises(InventoryError, match="GET /volumes"):
        docker.observe()


@pytest.mark.parametrize("path", ["/version", "/v1.41/containers/json", "/v1.41/volumes"])
def test_answer_that_breaks_off_voids_the_pass(
    faulty: Faulty, docker: DockerInventory, path: str
) -> None:
    """The connection ended before all the promised bytes were there."""
    faulty.cut.add(path)
    faulty.silent.add("/nothing")

    with pytest.raises(InventoryError, match=str(faulty.socket)):
        docker.observe()


@pytest.mark.parametrize(
    "path",
    ["/version", "/v1.41/containers/json", "/v1.41/volumes", "/v1.41/images/sha256:01/json"],
)
def test_silence_ends_the_pass_in_time(faulty: Faulty, docker: DockerInventory, path: str) -> None:
    """A Docker that hangs is waited for no longer than the timeout, and named."""
    faulty.silent.add(path)

    with pytest.raises(InventoryError, match="did not answer GET /") as caught:
        docker.observe()

    assert path.removeprefix("/v1.41") in caught.value.message


def test_docker_that_came_back_is_observed_again(faulty: Faulty, docker: DockerInventory) -> None:
    """After a failure the version is asked for anew: another Docker may have started."""
    faulty.answers["/v1.41/volumes"] = (500, b"")
    with pytest.raises(InventoryError):
        docker.observe()
    for path in list(faulty.answers):
        faulty.answers[path.replace("1.41", "1.52")] = SOUND[path]
    faulty.answers["/version"] = (200, b'{"ApiVersion": "1.52"}')

    assert len(docker.observe().inventory.containers) == 3
    assert "GET /v1.52/volumes" in faulty.asked


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (b'{"ApiVersion": "latest/../"}', "field ApiVersion"),
        (b"{}", "field ApiVersion"),
        (b"<html>", "GET /version"),
    ],
)
def test_server_that_is_not_docker_is_refused(
    faulty: Faulty, docker: DockerInventory, version: bytes, message: str
) -> None:
    """Whatever answers on the socket has to say which interface it speaks."""
    faulty.answers["/version"] = (200, version)

    with pytest.raises(InventoryError, match=message):
        docker.observe()


def test_missing_socket_and_refused_connection_say_what_to_do(tmp_path: Path) -> None:
    """The two most common first mistakes."""
    dead = tmp_path / "dead.sock"
    with ThreadingUnixStreamServer(str(dead), BaseHTTPRequestHandler):
        pass

    for path, message in ((tmp_path / "none.sock", "no Docker socket"), (dead, "nothing listens")):
        with (
            DockerInventory(str(path)) as docker,
            pytest.raises(InventoryError, match=message) as caught,
        ):
            docker.observe()
        assert str(path) in caught.value.message
        assert "--docker-sock" in caught.value.hint


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:1", "nothing listens at"),
        ("tcp://no.such.host.invalid:2375", "cannot be resolved"),
    ],
)
def test_a_connection_that_is_refused_is_not_told_as_late(address: str, message: str) -> None:
    """The library derives the one from the other."""
    with DockerInventory(address) as docker, pytest.raises(InventoryError, match=message) as caught:
        docker.observe()
    assert address in caught.value.message


def test_tls_that_is_set_up_wrong_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Certificates that are not there are found before Docker is asked."""
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))

    with (
        DockerInventory("tcp://127.0.0.1:1") as docker,
        pytest.raises(InventoryError, match=r"tcp://127\.0\.0\.1:1") as caught,
    ):
        docker.observe()
    assert "TLS" in str(caught.value)


MADE_UP = "0f" * 32


@pytest.mark.parametrize("order", [1, -1])
def test_volume_of_an_image_gives_way_to_what_is_mounted_at_its_place(order: int) -> None:
    """Podman lists both; the container sees one. Two that were named stay."""
    mounts = [
        {"Type": "volume", "Name": MADE_UP, "Source": "/v/made/up", "Destination": "/data"},
        {"Type": "bind", "Source": "/srv", "Destination": "/data/"},
        {"Type": "volume", "Name": MADE_UP, "Source": "/v/other", "Destination": "/other"},
        {"Type": "bind", "Source": "/one", "Destination": "/two"},
        {"Type": "volume", "Name": "named", "Source": "/v/named", "Destination": "/two"},
    ]
    listed = [{"Id": "a" * 64, "Mounts": mounts[::order]}]
    [container] = parse_containers(json.dumps(listed).encode(), "the answer")

    found = {(mount.source, mount.destination) for mount in container.mounts}

    assert found == {
        ("/srv", "/data/"),
        ("/v/other", "/other"),
        ("/one", "/two"),
        ("/v/named", "/two"),
    }


def test_archive_tells_whether_a_path_exists(faulty: Faulty, docker: DockerInventory) -> None:
    """Only "not found" means no; a refusal is an error."""
    faulty.answers["/v1.41/containers/abc/archive"] = (200, b"")

    assert docker.archive_exists("abc", "/data/a b") is True
    assert "HEAD /v1.41/containers/abc/archive?path=%2Fdata%2Fa%20b" in faulty.asked
    assert docker.archive_exists("gone", "/data") is False
    faulty.answers["/v1.41/containers/abc/archive"] = (403, b"")
    with pytest.raises(InventoryError, match="HEAD /containers/abc/archive was refused"):
        docker.archive_exists("abc", "/data")
    with pytest.raises(InventoryError, match="HEAD /containers/abc/archive was refused"):
        docker.link_target("abc", "/data")
    assert "" == docker.link_target("gone", "/data")


@pytest.mark.parametrize(
    ("body", "zone"),
    [
        (b'{"Config": {"Env": ["A=b", "TZ=Europe/Oslo"]}}', "Europe/Oslo"),
        (b'{"Config": {"Env": ["TZ="]}}', None),
        (b'{"Config": {"Env": null}}', None),
        (b'{"Config": null}', None),
    ],
)
def test_time_zone_is_the_containers_variable(
    faulty: Faulty, docker: DockerInventory, body: bytes, zone: str | None
) -> None:
    """Schedules are in the runner's time zone."""
    faulty.answers["/v1.41/containers/backrest/json"] = (200, body)

    assert docker.time_zone_of("backrest") == zone
    assert docker.time_zone_of("other") is None
