"""What is left out of a backup is what restic leaves out.

Patterns are generated; these are some sets of patterns. For a long run, see tests/engines/generated_excludes.py:

    python -m tests.engines.generated_excludes 10000 restic another/restic rsync
"""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.engines.excludes.matcher import ExcludeMatcher
from sidecar.engines.excludes.read import read_excludes
from sidecar.engines.excludes.walk import CACHE_TAG, Fate, walk
from tests.engines.bench import INSTANCE, RESTIC, RSYNC, Bench, ResticBench, RsyncBench, copy_of
from tests.engines.generated_excludes import ResticOracle, RsyncOracle, compare_many, shown

# Letters of Unicode 14, of which the restic of Debian 12 is older.
_VITHKUQI = {chr(code) for code in range(0x10570, 0x105BD)}
_NEW = {*"\u2c2f\u2c5f\ua7c0\ua7c1\ua7d0\ua7d1\ua7d6\ua7d7\ua7d8\ua7d9", *_VITHKUQI}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> ResticOracle:
    """Return a restic that says what it would take."""
    return ResticOracle(RESTIC, tmp_path_factory.mktemp("oracle"))


@pytest.fixture
def other(tmp_path: Path, template: Callable[[str], Path]) -> RsyncBench:
    """Return a bench for rsync beside that for restic."""
    made = RsyncBench.at(tmp_path / "other")
    copy_of(template("rsync"), made)
    return made


def test_generated_patterns_leave_out_what_restic_leaves_out(
    oracle: ResticOracle, tmp_path: Path
) -> None:
    """Trees with all kinds of names, and patterns of which most match something."""
    counted = compare_many(oracle, tmp_path, range(1000, 1150))
    assert 150 == counted.sets
    assert counted.refused + counted.refused_by_us < 15 < counted.left_out < counted.decided


def test_rsync_copies_what_generated_patterns_do_not_leave_out(tmp_path: Path) -> None:
    """It gets the literal list of it."""
    counted = compare_many(RsyncOracle(RSYNC, tmp_path), tmp_path, range(1000, 1150))
    assert 150 == counted.sets
    assert counted.refused < 15 < counted.left_out < counted.decided


def test_letters_are_lowered_as_restic_lowers_them(oracle: ResticOracle, tmp_path: Path) -> None:
    """Every letter with two cases, but for those that an older restic does not know yet."""
    signs = [chr(code) for code in range(128, 0x110000) if not 0xD800 <= code < 0xE000]
    cased = [one for one in signs if one not in _NEW and {one} != {one.lower(), one.upper()}]
    names = {f"{number:05}{sign}" for number, sign in enumerate(cased)}
    for name in names:
        (tmp_path / name).touch()
    patterns = tuple(f"*{sign}" for sign in {sign.lower() for sign in cased})
    place = ExcludeMatcher(iexcludes=patterns).place(bytes(tmp_path))
    ours = {name for name in names if not place.leaves_out(name.encode())}
    (tmp_path / "patterns").write_text("\n".join(patterns))
    theirs = oracle.taken([f"--iexclude-file={tmp_path / 'patterns'}"], bytes(tmp_path))
    assert theirs is not None
    found = {Path(path).name for path in theirs if path.startswith(shown(bytes(tmp_path)) + "/")}
    assert ours == found - {"patterns"}


def plant(source: Path) -> None:
    """Make one of everything that flags may leave out."""
    for name in ("cached/sub", "short", "linked", "broken", "named/tag", "two", "deep/er"):
        (source / name).mkdir(parents=True)
    for name in (
        "file",
        "cached/file",
        "cached/sub/file",
        "short/file",
        "linked/file",
        "deep/er/file",
    ):
        (source / name).write_text("x")
    for name in ("broken/file", "named/file", "named/tag/file", "two/file", "two/other", "two/tag"):
        (source / name).write_text("1")
    (source / "cached/CACHEDIR.TAG").write_bytes(CACHE_TAG.header + b"\n# more")
    (source / "short/CACHEDIR.TAG").write_bytes(CACHE_TAG.header[:-1])
    (source / "linked/CACHEDIR.TAG").symlink_to("../cached/CACHEDIR.TAG")
    (source / "broken/tag").symlink_to("nowhere")
    (source / "ten").write_bytes(bytes(10))
    (source / "eleven").write_bytes(bytes(11))
    (source / "link13").symlink_to("1234567890123")
    (source / "link3").symlink_to("ten")
    (source / "linked-folder").symlink_to("deep")
    os.mkfifo(source / "pipe")
    os.mknod(source / "null", 0o20644, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(source, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
    for odd in (
        b"new\nline",
        b"-dash",
        b"\xff\xfe",
        b"n" * 255,
        b"#hash",
        b";semi",
        b"st*r",
        b"[b]",
        b"b\\s",
    ):
        Path(os.fsdecode(bytes(source) + b"/" + odd)).write_text("odd")


def taken_by_walk(bench: ResticBench, *paths: Path, **settings: tuple[str, ...]) -> set[str]:
    """Return what the walk takes, as restic shows it."""
    made = read_excludes(bench.plan("web", *paths, **settings), bench.environ)
    assert () == made.other_flags
    seen = list(walk([bytes(path) for path in paths], made.excludes))
    told = [one.path for one in seen]
    assert len(told) == len(set(told))
    assert [] == [one for one in seen if one.fate is Fate.UNREAD]
    return {shown(one.path) for one in seen if one.fate is not Fate.LEFT_OUT}


def taken_by(bench: Bench, *paths: Path, **settings: tuple[str, ...]) -> set[str]:
    """Back up, and return what was taken of the first path."""
    plan = bench.plan("web", *paths, **settings)
    bench.backup(plan)
    engine = bench.engine()
    [*_, snapshot] = engine.snapshots(plan, INSTANCE)
    entries = engine.entries(snapshot, "/")
    return {one.path for one in entries if f"{one.path}/".startswith(f"{paths[0]}/")}


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--exclude-caches=false",),
        ("--exclude-if-present tag",),
        ("--exclude-if-present tag:1", "--exclude-if-present=other"),
        ("--exclude-if-present er/file",),
        ("--exclude-if-present ./tag",),
        ("--exclude-larger-than 10",),
        ("--exclude-larger-than=10", "--exclude-larger-than 11b"),
        ("--exclude-larger-than 0k",),
        ("-e source/**/*o*", "--exclude='!two/other'", "--iexclude 'F*'"),
    ],
)
def test_flags_leave_out_what_restic_leaves_out(
    restic: ResticBench, other: RsyncBench, flags: tuple[str, ...]
) -> None:
    """Tags of caches and others, sizes, patterns; no socket, and all odd names."""
    plant(restic.source)
    expected = taken_by(restic, restic.source, backup_flags=flags)
    assert expected == taken_by_walk(restic, restic.source, backup_flags=flags)
    assert expected == taken_by(other, restic.source, backup_flags=flags)
    assert len(expected) > 5


def test_files_of_patterns_are_read_as_restic_reads_them(restic: ResticBench) -> None:
    """Comments, empty lines, blanks around, variables."""
    names = "plain", "# hash", "x y", "$HOME", "a$b", "held", "left", "BIG", "1x", "${", "z{"
    for name in names:
        restic.write(name, "x")
    lines = (
        "\ufeff# held",
        "  # plain",
        "",
        " \tx y\u3000",
        "a$$b",
        "${HOME}/source/held",
        "$1x",
        "q$",
        "${z{",
        "$HOME/source/held2$",
        "\r",
    )
    (restic.folder / "patterns").write_text("\n".join(lines), encoding="utf-8")
    (restic.folder / "wide").write_text("source/b*\nLEFT\n", encoding="utf-16")
    flags = (f"--exclude-file={restic.folder}/patterns", f"--iexclude-file {restic.folder}/wide")
    expected = taken_by(restic, restic.source, backup_flags=flags)
    assert expected == taken_by_walk(restic, restic.source, backup_flags=flags)
    assert f"{restic.source}/plain" in expected
    assert not {f"{restic.source}/{name}" for name in ("x y", "held", "left", "BIG")} & expected


@pytest.mark.parametrize("flags", [(), ("-x",), ("--one-file-system", "--exclude=mount")])
@pytest.mark.parametrize(
    "inner", [(), ("mount",), ("mount/sub",), ("mount/sub/deep", "file"), ("link",)]
)
def test_other_file_systems_are_left_out_as_restic_leaves_them_out(
    restic: ResticBench, other: RsyncBench, flags: tuple[str, ...], inner: tuple[str, ...]
) -> None:
    """A folder on which one is mounted stays; a path below another is decided by itself."""
    mount = restic.source / "mount"
    for folder in (mount, restic.source / "folder"):
        folder.mkdir()
    restic.write("file", "x")
    restic.write("folder/file", "x")
    (restic.source / "link").symlink_to("folder")
    subprocess.run(["mount", "-t", "tmpfs", "none", mount], check=True)
    try:
        for name in ("file", "sub/file", "sub/deep/file", "back/covered"):
            restic.write(f"mount/{name}", "x")
        subprocess.run(["mount", "--bind", restic.source / "folder", mount / "back"], check=True)
        paths = restic.source, *(restic.source / name for name in inner)
        expected = taken_by(restic, *paths, backup_flags=flags)
        assert expected == taken_by_walk(restic, *paths, backup_flags=flags)
        assert expected == taken_by(other, *paths, backup_flags=flags)
    finally:
        subprocess.run(["umount", "--recursive", mount], check=True)
