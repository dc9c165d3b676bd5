"""Which container is our own."""

from pathlib import Path

import pytest

from sidecar.docker.models import Container
from sidecar.docker.own_container import find_own_container, own_container_id

LONG_ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "expected"),
    [
        (
            f"1 2 0:1 / / rw - overlay\n3 1 8:1 /var/lib/docker/containers/{LONG_ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw",
            "",
            LONG_ID,
        ),
        (
            f"3 1 8:1 /run/containers/overlay-containers/{LONG_ID}/userdata/hostname /etc/hostname rw",
            "0::/",
            LONG_ID,
        ),
        (f"3 1 0:5 / /var/lib/docker/containers/{LONG_ID}/mounts/shm rw - tmpfs shm rw", "", ""),
        (
            "3 1 8:1 /etc/hostname /etc/hostname rw",
            f"0::/system.slice/docker-{LONG_ID}.scope\n",
            LONG_ID,
        ),
        ("short line", f"12:cpu:/docker/{LONG_ID}\n", LONG_ID),
        ("", "0::/user.slice\n", ""),
    ],
)
def test_own_container_is_found_in_proc(
    tmp_path: Path, mountinfo: str, cgroup: str, expected: str
) -> None:
    """By the file that Docker mounts over /etc/hostname, else by the control group."""
    (tmp_path / "mountinfo").write_text(mountinfo)
    (tmp_path / "cgroup").write_text(cgroup)

    assert own_container_id(proc=tmp_path, environment={}) == expected


def test_own_container_by_host_name_is_completed(tmp_path: Path) -> None:
    """A host name that is a short id stands for the container that has it."""
    short = LONG_ID[:12]

    def find(name: str, known: tuple[str, ...] = ()) -> str:
        return own_container_id(known, tmp_path, {"HOSTNAME": name})

    assert find(short, ("f" * 64, LONG_ID)) == LONG_ID
    assert find(short) == short
    assert find("server-1", (LONG_ID,)) == ""
    assert own_container_id((), tmp_path, {}) == ""


def test_own_container_is_the_one_whose_id_begins_so() -> None:
    """Outside of any there is none."""
    web, own = Container("f" * 64, "web"), Container(LONG_ID, "own")

    assert own == find_own_container([web, own], LONG_ID[:12])
    assert find_own_container([web, own], "") is None
