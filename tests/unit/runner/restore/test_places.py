"""What lies where something is to be restored, and whether it may be touched."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.runner.restore.choose import (
    ReadOnlyPlaceError,
    RestoreError,
    RestoreItem,
    RestoreRequest,
)
from sidecar.runner.restore.places import (
    DiskSpace,
    Effect,
    ExistingTarget,
    Step,
    check_links,
    check_mounts,
    check_step,
    check_writable,
    free_at,
    measure_space,
    parse_mounts,
    plan_step,
    read_target,
)

PLAN = RunPlan("web", "store", ("/data",))


def request(**wanted: object) -> RestoreRequest:
    """Request something of the plan."""
    return RestoreRequest(PLAN, "here", **wanted)  # type: ignore[arg-type]


def folder(source: str, place: str = "") -> RestoreItem:
    """Make an item that is a folder."""
    return RestoreItem(source, place, is_folder=True)


def file(source: str, place: str = "") -> RestoreItem:
    """Make an item that is a file."""
    return RestoreItem(source, place, is_folder=False)


HOME, AWAY = {"in_place": True}, {"target": "/t", "force": True}


@pytest.mark.parametrize(
    ("item", "existing", "unasked", "home", "away"),
    [
        (folder("/a"), ExistingTarget.MISSING, Effect.FILL, Effect.FILL, Effect.FILL),
        (folder("/a"), ExistingTarget.EMPTY, Effect.FILL, Effect.FILL, Effect.FILL),
        (folder("/a"), ExistingTarget.FULL, None, Effect.REPLACE, Effect.MERGE),
        (folder("/a"), ExistingTarget.ENTRY, None, None, None),
        (folder("/a"), ExistingTarget.LINK, None, None, None),
        (file("/a"), ExistingTarget.MISSING, Effect.FILL, Effect.FILL, Effect.FILL),
        (file("/a"), ExistingTarget.EMPTY, None, None, None),
        (file("/a"), ExistingTarget.FULL, None, None, None),
        (file("/a"), ExistingTarget.ENTRY, None, Effect.REPLACE, Effect.REPLACE),
        (file("/a"), ExistingTarget.LINK, None, Effect.REPLACE, Effect.REPLACE),
    ],
)
def test_what_is_there_is_only_touched_where_that_was_asked_for(
    item: RestoreItem,
    existing: ExistingTarget,
    unasked: Effect | None,
    home: Effect | None,
    away: Effect | None,
) -> None:
    """And never where a folder is a file by now, or the other way round."""
    for wanted, effect in (
        ({}, unasked),
        ({"force": True}, unasked),
        (HOME, home),
        ({"target": "/t"}, unasked),
        (AWAY, away),
    ):
        if effect is not None:
            step = plan_step(item, existing, request(**wanted))
            check_step(step, request(**wanted))
            assert effect is step.effect
            continue
        with pytest.raises(RestoreError, match="nothing was touched"):
            check_step(plan_step(item, existing, request(**wanted)), request(**wanted))


def test_a_place_is_known_by_what_is_there(tmp_path: Path) -> None:
    """A link is a link, wherever it leads."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "link").symlink_to("full")
    (tmp_path / "dangling").symlink_to("nowhere")
    names = ("empty", "full", "full/x", "link", "dangling", "nothing", "full/x/y")

    found = [read_target(str(tmp_path / name)) for name in names]

    assert [
        ExistingTarget.EMPTY,
        ExistingTarget.FULL,
        ExistingTarget.ENTRY,
        ExistingTarget.LINK,
        ExistingTarget.LINK,
        ExistingTarget.MISSING,
        ExistingTarget.MISSING,
    ] == found


def test_nothing_that_is_mounted_is_moved_along() -> None:
    """It would be deleted with what was there before."""
    mountinfo = "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a/my\\040disk rw - ext4 b rw\n\n"
    replaced = Step(folder("/a", "/a"), ExistingTarget.FULL, Effect.REPLACE)

    assert ("/", "/a/my disk") == parse_mounts(mountinfo)
    with pytest.raises(RestoreError, match="/a/my disk is mounted within /a"):
        check_mounts(replaced, mountinfo)
    check_mounts(Step(folder("/b", "/b"), ExistingTarget.FULL, Effect.REPLACE), mountinfo)
    at_mount = Step(folder("/x", "/a/my disk"), ExistingTarget.FULL, Effect.REPLACE)
    check_mounts(at_mount, mountinfo)


@pytest.mark.parametrize("mapped", [False, True])
def test_no_link_in_data_of_a_container_is_followed(tmp_path: Path, *, mapped: bool) -> None:
    """Also above a path of the plan: what runs in the container may have put it there."""
    place = tmp_path / "moved" if mapped else tmp_path / "volume"
    for one in (place, tmp_path / "another" / "inner"):
        one.mkdir(parents=True)
    (place / "deep").symlink_to(tmp_path / "another")
    source = f"{tmp_path}/volume/deep/inner"
    item = folder(source, f"{place}/deep/inner")
    usual = {"path_map": ((str(tmp_path / "volume"), str(place)),)}

    check_links(item, request(**usual), [source])
    for seen in (f"{tmp_path}/volume", f"{tmp_path}/volume/deep"):
        with pytest.raises(RestoreError, match=f"{place}/deep is a symbolic link now"):
            check_links(item, request(inside=(("/", "/"), (seen, "/data")), **usual), [source])


def test_links_outside_of_all_mounts_are_the_operators_own(tmp_path: Path) -> None:
    """A disk may be reached by one; and a record of mounts allows nothing that was refused."""
    (tmp_path / "disk" / "volume" / "page").mkdir(parents=True)
    (tmp_path / "way").symlink_to("disk")
    volume = f"{tmp_path}/way/volume"
    item = folder(f"{volume}/page", f"{volume}/page")

    check_links(item, request(inside=(("/", "/"), (volume, "/data"))), [volume])
    (tmp_path / "disk" / "volume").rename(tmp_path / "disk" / "elsewhere")
    (tmp_path / "disk" / "volume").symlink_to("elsewhere")
    for inside in ((), (("/", "/"),), ((f"{volume}/page", "/data"),), (("/other", "/data"),)):
        with pytest.raises(RestoreError, match="volume is a symbolic link now"):
            check_links(item, request(inside=inside), [volume])


def test_space_is_counted_by_disk() -> None:
    """Two places on one disk need it together."""
    steps = tuple(
        Step(
            RestoreItem("/s", place, is_folder=True, bytes=600), ExistingTarget.MISSING, Effect.FILL
        )
        for place in ("/a", "/b")
    )
    one_disk = {Path("/a"): (1, 1000), Path("/b"): (1, 1000)}
    two_disks = {Path("/a"): (1, 1000), Path("/b"): (2, 1000)}

    (only,) = measure_space(steps, one_disk)
    assert (DiskSpace("/b", 1200, 1000), "200 B more would be needed on the disk of /b") == (
        only,
        only.lacking,
    )
    assert [""] * 2 == [one.lacking for one in measure_space(steps, two_disks)]


def test_free_space_is_that_of_what_exists(tmp_path: Path) -> None:
    """A folder that is yet to be made lies where its parent does."""
    device, free = free_at(tmp_path / "not" / "there")

    assert tmp_path.stat().st_dev == device
    assert free > 0


def test_a_mount_that_can_only_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the folder is yet to be made."""
    check_writable(tmp_path / "not" / "there")
    flags = SimpleNamespace(f_flag=os.ST_RDONLY | os.ST_NOSUID)
    monkeypatch.setattr("os.statvfs", {tmp_path: flags}.__getitem__)

    with pytest.raises(ReadOnlyPlaceError, match="can only be read here: nothing was touched"):
        check_writable(tmp_path / "not" / "there")
