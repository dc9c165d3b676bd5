"""Restored data that is merged into a folder with contents of its own."""

from pathlib import Path

import pytest

from sidecar.runner.restore.move import conflicts, merge


def fill(folder: Path, *names: str, content: str = "") -> None:
    """Put files and, with a slash at the end, folders into a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(content or name)


def held(folder: Path) -> dict[str, str]:
    """Return what is in a folder: names and contents."""
    entries = sorted(folder.rglob("*"))
    return {
        str(entry.relative_to(folder)): entry.read_text() if entry.is_file() else "/"
        for entry in entries
    }


def test_a_merge_keeps_what_else_is_there(tmp_path: Path) -> None:
    """Also within folders that both sides have; a link is replaced, never followed."""
    new, receiver = tmp_path / "new", tmp_path / "receiver"
    fill(new, "a/b/file", "a/link/x", "top", content="new")
    fill(receiver, "a/b/file", "a/b/mine", "elsewhere/x", content="old")
    (receiver / "top").symlink_to("elsewhere/x")
    (new / "a").chmod(0o711)

    assert [] == list(conflicts(new, receiver))
    merge(new, receiver)

    assert {"a/b/file": "new", "a/b/mine": "old", "a/link/x": "new", "top": "new"}.items() <= held(
        receiver
    ).items()
    assert "old" == (receiver / "elsewhere" / "x").read_text()
    assert 0o711 == (receiver / "a").stat().st_mode & 0o7777


@pytest.mark.parametrize(("ours", "theirs"), [("a/x", "a"), ("a", "a/x")])
def test_a_folder_and_a_file_cannot_be_merged(tmp_path: Path, ours: str, theirs: str) -> None:
    """That is found out before anything is moved, at every depth."""
    new, receiver = tmp_path / "new", tmp_path / "receiver"
    fill(new, f"deep/{ours}")
    fill(receiver, f"deep/{theirs}")

    assert [receiver / "deep" / "a"] == list(conflicts(new, receiver))


def test_a_link_to_a_folder_is_no_folder(tmp_path: Path) -> None:
    """A merge through it would write wherever it leads."""
    fill(tmp_path, "new/a/x", "elsewhere/")
    (tmp_path / "receiver").mkdir()
    (tmp_path / "receiver" / "a").symlink_to("../elsewhere")

    assert [tmp_path / "receiver" / "a"] == list(conflicts(tmp_path / "new", tmp_path / "receiver"))
