"""What a plan leaves out. Files of patterns are compared with restic in tests/engines."""

from pathlib import Path

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import EngineError
from sidecar.engines.excludes.read import read_excludes
from sidecar.engines.excludes.walk import CACHE_TAG


def plan(*flags: str, excludes: tuple[str, ...] = ()) -> RunPlan:
    """Return a plan with flags and patterns."""
    return RunPlan("web", "store", ("/data",), excludes, backup_flags=flags)


def test_patterns_of_the_plan_stand_before_those_of_its_flags(tmp_path: Path) -> None:
    """And those of files behind both, so what they take back is taken."""
    (tmp_path / "file").write_text("!c")
    flags = ("--exclude='!b'", f"--exclude-file {tmp_path}/file", "--exclude=c")
    made = read_excludes(plan(*flags, excludes=("/data/*",)), {})
    place = made.excludes.matcher.place(b"/data")
    assert [True, False, False] == [place.leaves_out(name) for name in (b"a", b"b", b"c")]
    assert (CACHE_TAG,) == made.excludes.tags


def test_flags_that_are_restics_alone_are_named() -> None:
    """Their values are not: they may be secret."""
    made = read_excludes(plan("--tag=secret", "--exclude-caches=0"), {})
    assert ("--tag",) == made.other_flags
    assert () == made.excludes.tags


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--exclude=[", "restic cannot read the pattern '\\['"),
        ("--exclude-larger-than=x", "--exclude-larger-than has a value that is no size: 'x'"),
        ("--exclude-file=/gone/file", "the patterns in '/gone/file' cannot be read: No such file"),
        ("--exclude-file=/dev/zero", "cannot be read: it is a device, not a file"),
        ("--exclude='open", "a flag cannot be split into words"),
    ],
)
def test_what_restic_would_refuse_is_an_error(flag: str, message: str) -> None:
    """Before anything is backed up."""
    with pytest.raises(EngineError, match=message):
        read_excludes(plan(flag), {})


def test_a_file_of_patterns_without_end_is_an_error(tmp_path: Path) -> None:
    """The runner reads it itself, and a label may name any."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(EngineError, match=r"the patterns in '.*' are too many"):
        read_excludes(plan(f"--exclude-file={tmp_path}/file"), {})
