"""Which paths of a plan are links that would be saved in place of the data."""

from pathlib import Path

import pytest

from sidecar.engines.base import FailureClass
from sidecar.runner.source_links import SourceLink, find_links, refuse_links


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Give a folder with photos, and a link to them elsewhere."""
    (tmp_path / "big" / "photos").mkdir(parents=True)
    (tmp_path / "photos").symlink_to("big/photos")
    return tmp_path


@pytest.mark.parametrize("end", ["", "/", "/.", "/../photos"])
def test_a_link_is_found_however_its_path_is_written(disk: Path, end: str) -> None:
    """Restic makes paths plain before it looks at them; with a slash at its end too."""
    path = f"{disk}/photos{end}"

    assert (SourceLink(path, f"{disk}/big/photos"),) == find_links([path])


def test_the_refusal_names_the_target_and_the_line_to_write(disk: Path) -> None:
    """Also as a label."""
    refused = refuse_links([f"{disk}/photos"])

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
    assert refuse_links([f"{disk}/photos", f"{disk}/{other}"]) is None


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

    assert refuse_links(paths) is None


def test_a_link_that_leads_nowhere_is_refused(disk: Path) -> None:
    """Its target may come any time, and is not saved then either."""
    (disk / "broken").symlink_to("/nowhere")

    assert (SourceLink(f"{disk}/broken", "/nowhere"),) == find_links([f"{disk}/broken"])
