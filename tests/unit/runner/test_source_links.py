"""Which paths of a plan are links that would be saved in place of the data."""

from pathlib import Path

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.backrest.workloads import MountRecord, WorkloadRecord, render_workloads
from sidecar.engines.base import FailureClass
from sidecar.runner.source_links import SourceLink, find_links, refuse_links


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Give a folder with photos, and a link to them elsewhere."""
    (tmp_path / "big" / "photos").mkdir(parents=True)
    (tmp_path / "photos").symlink_to("big/photos")
    return tmp_path


def plan(*paths: str) -> RunPlan:
    """Give a plan of these paths."""
    return RunPlan("web", "nas", paths)


def workloads(folder: Path, *mounts: Path, of: str = "web") -> Path:
    """Write the sidecar's file, by which these are mounts of the plan's containers."""
    file = folder / "workloads.json"
    records = tuple(MountRecord("/data", seen=str(mount)) for mount in mounts)
    file.write_bytes(render_workloads([WorkloadRecord("shop/web", "web", plan=of, mounts=records)]))
    return file


@pytest.mark.parametrize("end", ["", "/", "/.", "/../photos"])
def test_a_link_is_found_however_its_path_is_written(disk: Path, end: str) -> None:
    """Restic makes paths plain before it looks at them; with a slash at its end too."""
    path = f"{disk}/photos{end}"

    assert (SourceLink(path, f"{disk}/big/photos"),) == find_links([path])


def test_the_refusal_names_the_target_and_the_line_to_write(disk: Path) -> None:
    """Also as a label."""
    refused = refuse_links(plan(f"{disk}/photos"))

    assert refused is not None
    assert FailureClass.SOURCE_IS_LINK is refused.failure
    target = f"{disk}/big/photos"
    assert f"source-is-link: {disk}/photos is a link to {target}:" in refused.reason
    assert refused.reason.endswith(
        f"→ name {target} among the plan's paths instead, by label as paths.include=host:{target}"
    )


@pytest.mark.parametrize("other", ["big", "big/photos", "big/photos/", ""])
def test_a_link_into_another_path_of_the_plan_is_saved_as_what_it_is(
    disk: Path, other: str
) -> None:
    """What it leads to is saved there."""
    assert refuse_links(plan(f"{disk}/photos", f"{disk}/{other}")) is None


def test_another_link_saves_nothing(disk: Path) -> None:
    """Nor does a path that only begins alike, or lies below."""
    (disk / "again").symlink_to("photos")
    (disk / "big" / "photos" / "2024").mkdir()
    (disk / "bi").mkdir()
    others = [f"{disk}/{name}" for name in ("again", "bi", "big/photos/2024")]

    found = find_links([f"{disk}/photos", *others])

    assert [f"{disk}/photos", f"{disk}/again"] == [one.path for one in found]
    assert {f"{disk}/big/photos"} == {one.target for one in found}


def test_what_is_no_link_is_no_matter(disk: Path) -> None:
    """Above a path links are the operator's own; what is missing is told by restic."""
    (disk / "host").symlink_to("big")
    paths = [f"{disk}/{name}" for name in ("big", "host/photos", "missing", "big/a\0b")]

    assert refuse_links(plan(*paths)) is None


def test_a_link_that_leads_nowhere_is_refused(disk: Path) -> None:
    """Its target may come any time, and is not saved then either."""
    (disk / "broken").symlink_to("/nowhere")

    assert (SourceLink(f"{disk}/broken", "/nowhere"),) == find_links([f"{disk}/broken"])


def test_a_link_that_a_container_put_above_a_path_is_not_followed(disk: Path) -> None:
    """By name the path lies in the container's own mount; its data would be another's."""
    (disk / "mount" / "deep").mkdir(parents=True)
    (disk / "other" / "photos").mkdir(parents=True)
    path = f"{disk}/mount/deep/photos"
    file = workloads(disk, disk / "mount")
    assert refuse_links(plan(path), file) is None

    (disk / "mount" / "deep").rmdir()
    (disk / "mount" / "deep").symlink_to("../other")
    refused = refuse_links(plan(path, f"{disk}/mount/a\0b"), file)

    assert refused is not None
    assert FailureClass.SOURCE_IS_LINK is refused.failure
    assert (
        f"a link on the way to {path} leads out of its mount, to {disk}/other/photos: what runs in "
        "the container may have put it there → remove it, or, if it is yours, name "
        f"{disk}/other/photos among the plan's paths instead"
    ) in refused.reason


def test_a_link_above_that_stays_in_the_mount_or_is_the_operators_is_followed(disk: Path) -> None:
    """Releases are often chosen by one; and data folders often lie on another disk."""
    (disk / "mount" / "one" / "data").mkdir(parents=True)
    (disk / "mount" / "now").symlink_to("one")
    (disk / "srv").symlink_to("mount")
    (disk / "mount" / "out").symlink_to("../big")
    file = workloads(disk, disk / "mount", disk / "srv")

    assert refuse_links(plan(f"{disk}/mount/now/data", f"{disk}/srv/one/data"), file) is None
    assert refuse_links(plan(f"{disk}/mount/out/photos", f"{disk}/big"), file) is None
    others = workloads(disk, disk / "mount", of="db")
    assert refuse_links(plan(f"{disk}/mount/out/photos"), others) is None
    assert refuse_links(plan(f"{disk}/mount/out/photos"), disk / "absent") is None
