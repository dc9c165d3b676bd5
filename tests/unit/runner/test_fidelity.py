"""What differs of what was restored, and why."""

import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.engines.base import Entry, EntryAttributes, Unrestored
from sidecar.runner.fidelity import (
    Aspect,
    AttributeSupport,
    Differences,
    capability_for,
    compare_attributes,
    compare_entries,
    lost_attributes,
    probe_attributes,
)
from sidecar.runner.rights import Capability, Rights

ALL = frozenset(Capability)
ROOT = Rights(0, frozenset({0}), ALL)
POOR = replace(ROOT, capabilities=frozenset())


def entry_of(path: Path, root: Path, kind: str) -> Entry:
    """Describe something below a folder as a snapshot does."""
    held = path.lstat()
    shown = os.fsencode(f"/{path.relative_to(root)}").decode(errors="surrogateescape")
    text = "".join("\ufffd" if "\udc80" <= one <= "\udcff" else one for one in shown)
    size = held.st_size if kind == "file" else 0
    mode = stat.S_IMODE(held.st_mode)
    return Entry(text, kind, size, mode, held.st_mtime, held.st_uid, held.st_gid)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Restore a file."""
    path = tmp_path / "data" / "file"
    path.parent.mkdir()
    path.write_text("content")
    path.chmod(0o640)
    return path


def compare(entries: Iterable[Entry], root: Path, rights: Rights = ROOT) -> Differences:
    """Compare entries with what is below a folder."""
    found = Differences(rights)
    found.add(compare_entries(entries, root))
    return found


def test_what_is_as_it_was_differs_in_nothing(file: Path, tmp_path: Path) -> None:
    """Folders, links, and a socket that no program restores."""
    link = tmp_path / "data" / "link"
    link.symlink_to("file")
    os.mkfifo(tmp_path / "data" / "fifo")
    entries = [
        entry_of(file.parent, tmp_path, "dir"),
        entry_of(file, tmp_path, "file"),
        replace(entry_of(link, tmp_path, "symlink"), mode=0o640),
        entry_of(tmp_path / "data" / "fifo", tmp_path, "fifo"),
        Entry("/data/socket", "socket"),
        Entry("/data/file", "file", 7, 0o640),
    ]

    found = compare(entries, tmp_path)

    assert ({}, [], "") == (found.found, found.broken, str(found))


@pytest.mark.parametrize(
    ("saved", "aspects", "lacking"),
    [
        ({"user": 4321}, [Aspect.OWNER], [Capability.CHOWN]),
        ({"group": 4321}, [Aspect.OWNER], [Capability.CHOWN]),
        ({"mode": 0o644}, [Aspect.MODE], [Capability.FOWNER]),
        ({"mode": 0o1640}, [Aspect.MODE], [Capability.FOWNER]),
        ({"mode": 0o2640}, [Aspect.SETID], [Capability.FSETID]),
        (
            {"mode": 0o6600},
            [Aspect.MODE, Aspect.SETID],
            [Capability.FOWNER, Capability.FSETID],
        ),
        ({"mtime": 1.5}, [Aspect.TIME], [Capability.FOWNER]),
    ],
)
def test_each_difference_has_the_right_that_was_lacking(
    file: Path, tmp_path: Path, saved: dict[str, int], aspects: list[str], lacking: list[str]
) -> None:
    """If it was lacking."""
    entry = replace(entry_of(file, tmp_path, "file"), **saved)  # type: ignore[arg-type]

    poor, rich = compare([entry], tmp_path, POOR), compare([entry], tmp_path)

    assert (aspects, lacking) == (list(poor.found), list(poor.lacking))
    assert (aspects, []) == (list(rich.found), list(rich.lacking))
    assert "does the file system keep it?" in str(rich)


def test_bits_of_a_mode_that_cannot_be_set_are_lost_with_it(file: Path, tmp_path: Path) -> None:
    """Though the right for these bits alone is there."""
    rights = replace(ROOT, capabilities=ALL - {Capability.FOWNER})
    entry = replace(entry_of(file, tmp_path, "file"), mode=0o2640)

    assert (Capability.FOWNER,) == compare([entry], tmp_path, rights).lacking


def test_differences_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    """With what they are, and what they should be."""
    entries = []
    for number in range(5):
        file = tmp_path / f"file{number}"
        file.touch(mode=0o600)
        file.chmod(0o600)
        entries.append(replace(entry_of(file, tmp_path, "file"), mode=0o2640))

    told = str(compare(entries, tmp_path, POOR))

    shown = ", ".join(f"/file{number}: 0600 instead of 2640" for number in range(3))
    assert (
        f"not as in the snapshot: permissions of 5 entries ({shown}, ...); setuid or setgid bits "
        f"of 5 entries ({shown}, ...); this process lacks FOWNER, FSETID"
    ) == told


def test_what_could_not_be_compared_is_told_beside_what_differs(file: Path, tmp_path: Path) -> None:
    """Of several reasons the first."""
    found = compare([replace(entry_of(file, tmp_path, "file"), mode=0o600)], tmp_path)
    for reason in ("the engine broke off", "another one"):
        found.join(Differences(ROOT, unknown=reason))

    assert ["permissions"] == list(found.found)
    assert str(found).endswith("; the engine broke off")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry("/data/none", "file"), "/data/none was not restored"),
        (Entry("/data/file/none", "file"), "/data/file/none was not restored"),
        (Entry("/data/\ufffd", "file"), "/data/\ufffd was not restored"),
        (Entry("/none/\ufffd", "file"), "/none/\ufffd was not restored"),
        (Entry("/data/file", "dir"), "/data/file is no dir"),
        (Entry("/data/file", "file", 8), "/data/file has 7 bytes instead of 8"),
    ],
)
def test_what_has_no_content_is_broken(
    file: Path, tmp_path: Path, entry: Entry, expected: str
) -> None:
    """That is no matter of rights; of very many only the first are told."""
    assert [expected] == compare([entry], file.parents[1]).broken
    assert 3 == len(compare([entry] * 9, tmp_path).broken)


def test_a_device_that_is_missing_is_a_matter_of_rights(tmp_path: Path) -> None:
    """Nothing else can make one."""
    found = compare([Entry("/null", "chardev")], tmp_path, POOR)

    assert ([], (Capability.MKNOD,)) == (found.broken, found.lacking)


def test_names_that_are_no_utf8_are_found_by_how_they_look(tmp_path: Path) -> None:
    """In folders of such names too; where two look the same, neither is compared."""
    folder = tmp_path / os.fsdecode(b"d\xff")
    folder.mkdir()
    entries = [entry_of(folder, tmp_path, "dir")]
    for name in (b"\xe2\x80", b"plain", b"a\xfe", b"a\xff"):
        file = folder / os.fsdecode(name)
        file.write_bytes(name)
        entries.append(entry_of(file, tmp_path, "file"))
    wrong = [replace(one, mode=0o7777) for one in entries]

    assert "" == str(compare(entries, tmp_path))
    assert 3 == compare(wrong, tmp_path).found[Aspect.MODE].count


def test_what_will_be_lacking_is_known_from_the_listing() -> None:
    """Before anything is restored; nothing where the rights are there."""
    entries = [
        Entry("/ours", "file", 1, 0o6755, 1.0, 0, 0),
        Entry("/theirs", "file", 1, 0o2755, 1.0, 1000, 1000),
        Entry("/group", "file", 1, 0o755, 1.0, 0, 1000),
        Entry("/link", "symlink", 0, 0o777, 1.0, 1000, 1000),
        Entry("/null", "chardev", 0, 0o600, 1.0, 0, 0),
        Entry("/unknown", "file", 1, 0o755, 1.0),
    ]
    rich, poor = Differences(ROOT), Differences(POOR)

    assert entries == list(rich.watch(entries)) == list(poor.watch(entries))

    assert {} == rich.found
    assert {
        Aspect.OWNER: ["/theirs", "/group", "/link"],
        Aspect.MODE: ["/theirs"],
        Aspect.TIME: ["/theirs"],
        Aspect.SETID: ["/theirs"],
        Aspect.DEVICE: ["/null"],
    } == {aspect: one.examples for aspect, one in poor.found.items()}
    assert "this process lacks CHOWN, FOWNER, FSETID, MKNOD" == poor.cause


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("security.capability", Capability.SETFCAP),
        ("system.posix_acl_access", Capability.FOWNER),
        ("trusted.overlay.opaque", Capability.SYS_ADMIN),
        ("security.ima", Capability.SYS_ADMIN),
        ("user.colour", None),
        ("system.nfs4_acl", None),
    ],
)
def test_attributes_take_rights(attribute: str, expected: Capability | None) -> None:
    """By the first part of their names."""
    assert expected is capability_for(attribute)


def test_lost_attributes_are_told(file: Path, tmp_path: Path) -> None:
    """Those with another value too; what cannot be looked at counts as lost."""
    os.setxattr(file, "user.kept", b"1")
    os.setxattr(file, "user.other", b"1")
    found = Differences(POOR)
    held = {"user.kept": b"1", "user.other": b"2", "security.capability": b"3"}

    entries = [
        EntryAttributes(b"/data/file", held),
        EntryAttributes(b"/data/\xff", {"user.a": b""}),
    ]
    found.add(compare_attributes(entries, tmp_path))

    assert {
        "extended attribute user.other": ["/data/file"],
        "extended attribute security.capability": ["/data/file"],
        "extended attribute user.a": ["/data/\ufffd"],
    } == {aspect: one.examples for aspect, one in found.found.items()}
    assert (Capability.SETFCAP,) == found.lacking


def test_attributes_that_the_engine_lost_are_told() -> None:
    """Whatever else it could not give is seen in the files."""
    found = Differences(POOR)

    unrestored = [Unrestored("/a", "no", "trusted.x"), Unrestored("/b", "lchown /b: no")]
    found.add(lost_attributes(unrestored))

    assert ["extended attribute trusted.x"] == list(found.found)


def test_a_folder_tells_which_attributes_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file system has not is another thing than what we may not; nothing is left."""
    answers = {"user.backrest-runner": 95, "trusted.backrest-runner": 1}

    def answer(_: Path, name: str, __: bytes) -> None:
        if number := answers.get(name):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "setxattr", answer)

    found = probe_attributes(tmp_path)

    assert (
        AttributeSupport(
            frozenset({"user.backrest-runner"}), frozenset({"trusted.backrest-runner"})
        )
        == found
    )
    assert [] == list(tmp_path.iterdir())


def test_what_nobody_should_grant_is_left_out() -> None:
    """A verification would tell of it each time."""
    names = frozenset({"trusted.backrest-runner", "security.capability"})

    expected = frozenset({"security.capability"})
    assert AttributeSupport(expected, expected) == AttributeSupport(names, names).grantable


@pytest.mark.parametrize(
    ("support", "rights", "loud", "silent"),
    [
        (AttributeSupport(frozenset(), frozenset()), ROOT, False, False),
        (AttributeSupport(frozenset(), frozenset()), POOR, False, True),
        (AttributeSupport(frozenset(), frozenset({"trusted.x"})), ROOT, False, True),
        (AttributeSupport(frozenset({"user.x"}), frozenset()), ROOT, True, True),
    ],
)
def test_attributes_are_only_looked_for_where_they_may_be_lost(
    support: AttributeSupport, rights: Rights, loud: bool, silent: bool
) -> None:
    """By an engine that tells which it has lost, or one that does not."""
    assert (loud, silent) == (
        support.may_lose(rights, is_told=True),
        support.may_lose(rights, is_told=False),
    )
