"""The walk over the names of a backup. What it takes is compared with restic in tests/engines."""

import os
import subprocess
from pathlib import Path

import pytest

from sidecar.engines.excludes.matcher import ExcludeMatcher
from sidecar.engines.excludes.walk import CACHE_TAG, Excludes, Fate, Seen, walk

_DEPTH = 3000


def seen(*paths: Path, excludes: Excludes | None = None) -> dict[bytes, Seen]:
    """Return what the walk tells of each path."""
    told = list(walk([bytes(path) for path in paths], excludes or Excludes(ExcludeMatcher())))
    assert len(told) == len({one.path for one in told})
    return {one.path: one for one in told}


def test_what_is_left_out_is_told_at_its_top(tmp_path: Path) -> None:
    """Nothing of what is in it is told."""
    (tmp_path / "out/below").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("out")
    found = seen(tmp_path, excludes=Excludes(ExcludeMatcher(["out"])))
    expected = {"": Fate.FOLDER, "/out": Fate.LEFT_OUT, "/file": Fate.TAKEN, "/link": Fate.TAKEN}
    assert {bytes(tmp_path) + name.encode(): fate for name, fate in expected.items()} == {
        one.path: one.fate for one in found.values()
    }


@pytest.mark.parametrize(
    "excludes",
    [
        Excludes(ExcludeMatcher()),
        Excludes(ExcludeMatcher(["*.tmp", "in/x*"])),
        Excludes(ExcludeMatcher(["*"], ["*.TMP"])),
        Excludes(ExcludeMatcher(), largest=4),
    ],
)
def test_of_what_is_taken_only_some_names_may_be_told(tmp_path: Path, excludes: Excludes) -> None:
    """All else is told as ever."""
    for name in ("told", "in/told", "in/x", "in/other.tmp", "in/deep/large"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    every = list(walk([bytes(tmp_path)], excludes))
    some = list(walk([bytes(tmp_path)], excludes, {b"told"}))

    assert some == [
        one for one in every if one.fate is not Fate.TAKEN or one.path.endswith(b"/told")
    ]
    assert list(walk([bytes(tmp_path / "told")], excludes, ())) == list(
        walk([bytes(tmp_path / "told")], excludes)
    )


def test_folders_may_be_left_out_by_their_path(tmp_path: Path) -> None:
    """Such as a repository in the folder that is backed up; others of its name are taken."""
    for name in ("repo/below", "a/repo"):
        (tmp_path / name).mkdir(parents=True)
    excludes = Excludes(ExcludeMatcher(), folders=frozenset({bytes(tmp_path / "repo")}))
    found = seen(tmp_path, excludes=excludes)
    assert Fate.LEFT_OUT is found[bytes(tmp_path / "repo")].fate
    assert Fate.FOLDER is found[bytes(tmp_path / "a/repo")].fate
    assert 4 == len(found)
    assert [Fate.LEFT_OUT] == [
        one.fate for one in seen(tmp_path / "repo", excludes=excludes).values()
    ]


def test_a_path_may_be_a_file_or_a_link_or_left_out(tmp_path: Path) -> None:
    """Each is decided like anything below a path."""
    for name in ("file", "large", "out"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to(tmp_path)
    excludes = Excludes(ExcludeMatcher(["out"]), largest=4)
    (tmp_path / "link5").symlink_to("12345")
    names = ("file", "large", "out", "link", "link5", "gone")
    found = seen(*(tmp_path / name for name in names), excludes=excludes)
    fates = [found[bytes(tmp_path / name)].fate for name in names]
    left_out = Fate.LEFT_OUT
    assert [Fate.TAKEN, left_out, left_out, left_out, left_out, Fate.UNREAD] == fates
    assert "No such file or directory" == found[bytes(tmp_path / "gone")].reason


def test_paths_are_cleaned_and_told_once(tmp_path: Path) -> None:
    """Slashes at the end, twice, and paths that are given twice."""
    (tmp_path / "a").touch()
    paths = [Path(tmp_path), Path(tmp_path, "a")]
    found = list(
        walk([b"/" + bytes(tmp_path) + b"/./", *map(bytes, paths)], Excludes(ExcludeMatcher()))
    )
    assert [Seen(bytes(paths[0]), Fate.FOLDER), Seen(bytes(paths[1]), Fate.TAKEN)] == found


def test_a_path_in_a_folder_with_a_tag_is_left_out_with_the_rest(tmp_path: Path) -> None:
    """As restic has it; one that is deeper is taken."""
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "CACHEDIR.TAG").write_bytes(CACHE_TAG.header)
    assert [Fate.LEFT_OUT] == [one.fate for one in seen(tmp_path / "in").values()]
    assert [Fate.FOLDER] == [one.fate for one in seen(tmp_path / "in/deep").values()]


@pytest.mark.timeout(20)
def test_a_tag_that_is_a_pipe_is_no_tag(tmp_path: Path) -> None:
    """Restic would wait for somebody to write to it."""
    os.mkfifo(tmp_path / "CACHEDIR.TAG")
    (tmp_path / "file").touch()
    assert Fate.TAKEN is seen(tmp_path)[bytes(tmp_path / "file")].fate


def test_folders_may_be_deeper_than_calls_may_be(tmp_path: Path) -> None:
    """The walk does not call itself. What is deeper than the system can name is told."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(_DEPTH):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    found = list(walk([bytes(tmp_path)], Excludes(ExcludeMatcher())))
    # What cleans up after tests calls itself.
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)
    assert len(found) > 1500
    assert {Fate.FOLDER} == {one.fate for one in found[:-1]}
    assert (found[-2].path, Fate.UNREAD, "File name too long") == found[-1]


def test_a_folder_that_vanishes_meanwhile_is_told(tmp_path: Path) -> None:
    """The rest is told nevertheless."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    told = walk([bytes(tmp_path)], Excludes(ExcludeMatcher()))
    found = [next(told), next(told), next(told)]
    (tmp_path / "a").rmdir()
    found += told
    unread = [one for one in found if one.fate is Fate.UNREAD]
    assert [(bytes(tmp_path / "a"), "No such file or directory")] == [
        (one.path, one.reason) for one in unread
    ]
    assert 4 == len(found)
