"""What is in the way of a restore by an old restic, found without asking the repository."""

import os
from pathlib import Path

import pytest

from sidecar.engines.restic.engine import _meets_something


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a folder with one of each kind."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "to-folder").symlink_to("folder")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", True),
        ("/folder", True),
        ("/folder/file", True),
        ("/link", True),
        ("/link/below", True),
        ("/to-folder/new", True),
        ("/fifo/below", True),
        ("/new", False),
        ("/folder/new", False),
        ("/new/below/it", False),
        ("/folder/n\udcff", False),
    ],
)
def test_only_what_meets_something_has_to_be_listed(
    target: Path, path: str, expected: bool
) -> None:
    """The place itself, or what is no folder on the way to it."""
    assert expected is _meets_something(path, target)


def test_a_target_that_is_yet_to_be_made_holds_nothing(tmp_path: Path) -> None:
    """Restic makes it."""
    assert not _meets_something("/", tmp_path / "new")
    assert not _meets_something("/data", tmp_path / "new")
