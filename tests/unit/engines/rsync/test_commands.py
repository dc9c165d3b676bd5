"""The command lines of rsync and ssh."""

from dataclasses import replace

import pytest

from sidecar.backrest.reading import Repo
from sidecar.engines.access import resolve_access
from sidecar.engines.base import EngineError
from sidecar.engines.rsync import commands as argv
from sidecar.engines.rsync.address import parse_address
from sidecar.engines.rsync.commands import CopyJob, Keeping, RsyncAccess, ssh_words
from sidecar.engines.rsync.options import Settings, read_settings

LOCAL = RsyncAccess(parse_address("rsync:/backup"))
REMOTE = RsyncAccess(parse_address("rsync:me@nas:/backup"))


def settings(*flags: str, uri: str = "rsync:/backup", **fields: object) -> Settings:
    """Read the settings of a repository with these flags."""
    repo = Repo("store", uri=uri, flags=flags, **fields)  # type: ignore[arg-type]
    return read_settings(repo, resolve_access(repo, {"NAS": "nas", "RATE": "2m"}), "rsync")


def test_a_backup_keeps_all_and_deletes_nothing() -> None:
    """Paths stand in full below an empty folder; unchanged files come from an absolute one."""
    job = CopyJob(("/data", "/etc"), link_from="/backup/web/snapshots/old", shown="plan web")
    command = argv.render_backup(LOCAL, job, "/backup/web/snapshots/new.partial")

    assert ("rsync", "-aHAXS", "--numeric-ids") == command.argv[:3]
    assert {"--relative", "--link-dest=/backup/web/snapshots/old"} < set(command.argv)
    assert not any(word.startswith("--delete") for word in command.argv)
    assert ("--", "/data", "/etc", "/backup/web/snapshots/new.partial/") == command.argv[-4:]
    assert ("C", "UTC") == (command.env["LC_ALL"], command.env["TZ"])
    assert "rsync backup plan web" == command.shown


def test_a_flat_tree_holds_what_is_in_the_folder() -> None:
    """As the tool has it that many have used before."""
    command = argv.render_backup(LOCAL, CopyJob(("/data",), "/data"), "/backup/daily/new.partial")

    assert "--relative" not in command.argv
    assert ("--", "/data/", "/backup/daily/new.partial/") == command.argv[-3:]


def test_patterns_are_split_at_nul_as_that_is_said_before() -> None:
    """The other way round rsync reads the file as lines."""
    words = argv.render_backup(LOCAL, CopyJob(("/data",), exclude_file="/tmp/x"), "/b").argv

    assert words.index("-0") + 1 == words.index("--exclude-from=/tmp/x")


def test_what_a_file_system_cannot_keep_is_not_asked_of_it() -> None:
    """Each property has a flag of its own."""
    keeping = Keeping(
        owners=False,
        acls=False,
        xattrs=False,
        hard_links=False,
        symlinks=False,
        devices=False,
        modes=False,
        case=False,
        sparse=False,
        time_resolution=float("inf"),
    )

    expected = ("--no-owner", "--no-group", "--no-links", "--no-devices", "--no-specials")
    assert ("-a", "--numeric-ids", "--modify-window=0", *expected, "--no-perms") == keeping.flags
    assert ("hard links", "symbolic links", "special files") == keeping.missing[:3]
    assert ("difference of upper and lower case", "holes", "times") == keeping.missing[-3:]
    assert () == Keeping().missing
    for resolution, window in ((1e-9, -1), (1e-7, -1), (1.0, 0), (2.0, 1), (float("inf"), 0)):
        assert f"--modify-window={window}" in Keeping(time_resolution=resolution).flags


def test_another_machine_is_reached_over_ssh_that_asks_nobody() -> None:
    """Its shell reads no path."""
    command = argv.render_backup(REMOTE, CopyJob(("/data",)), "/backup/it's")

    assert {"-s", "--rsh=ssh -oBatchMode=yes"} < set(command.argv)
    assert "me@nas:/backup/it's/" == command.argv[-1]
    assert ("ssh", "-oBatchMode=yes", "me@nas", "ls") == argv.render_remote(REMOTE, "ls", "x").argv
    assert ("ssh", "-p", "2222", "-oBatchMode=yes") == ssh_words(["ssh", "-p", "2222"])


def test_owners_are_faked_where_the_other_side_is_not_root() -> None:
    """On the way back as well; within one machine only the side of the repository fakes."""
    faked = Keeping(faked=True)
    there = argv.render_backup(REMOTE, CopyJob(("/data",), keeping=faked), "/b").argv
    back = argv.render_restore(REMOTE, faked, "/b", ["data"], "/out", "x").argv
    here = argv.render_restore(LOCAL, faked, "/b", ["data"], "/out", "x").argv

    assert "--remote-option=--fake-super" in there
    assert "--remote-option=--fake-super" in back
    assert {"--fake-super", "--remote-option=--super"} < set(here)
    weak = replace(LOCAL, is_root=False)
    less = argv.render_restore(weak, faked, "/b", ["data"], "/out", "x").argv
    assert {"--fake-super", "--remote-option=--no-super"} < set(less)
    assert "--fake-super" not in argv.render_restore(LOCAL, Keeping(), "/b", ["x"], "/o", "x").argv


def test_a_restore_takes_paths_as_they_are_in_the_snapshot() -> None:
    """What stands before the dot is not copied with them."""
    command = argv.render_restore(LOCAL, Keeping(), "/b/snap", ["data/x", ""], "/out", "web@x")

    assert ("--", "/b/snap/./data/x", "/b/snap/./", "/out/") == command.argv[-4:]


def test_what_only_looks_writes_nothing() -> None:
    """Neither what lists, nor what counts, nor what compares."""
    commands = [
        argv.render_listing(LOCAL, Keeping(), "/b/snap", "data", "/empty"),
        argv.render_count(LOCAL, Keeping(), "/b/snap", "/empty"),
        argv.render_compare(LOCAL, Keeping(), "/b/snap", "data", "/"),
        argv.render_backup(LOCAL, CopyJob(("/data",)), "/b/new", is_dry=True),
    ]

    assert all("--dry-run" in one.argv for one in commands)
    assert {"--checksum", "--existing"} < set(commands[2].argv)
    assert "/" == commands[2].argv[-1]


def test_flags_of_the_repository_are_options() -> None:
    """A command for ssh is split into words as a shell does."""
    found = settings("--flat --full-copies", "--no-owner", "--bwlimit=${RATE}", "--ssh 'ssh -p 2'")

    assert (True, True, False) == (found.is_flat, found.allows_copies, found.keeps_owners)
    assert ("2m", ("ssh", "-p", "2", "-oBatchMode=yes")) == (
        found.access.bandwidth,
        found.access.ssh,
    )
    limited = argv.render_backup(found.access, CopyJob(("/data",)), "/b").argv
    assert "--bwlimit=2m" in limited
    usual = settings(uri="rsync:${NAS}:/backup", cpu_nice="CPU_LOW", env=(("A", "b"),))
    assert (False, False, True) == (usual.is_flat, usual.allows_copies, usual.keeps_owners)
    command = argv.render_count(usual.access, Keeping(), "/x", "/y")
    assert (("nice", "-n", "10", "rsync"), "b") == (command.argv[:4], command.env["A"])


def test_an_unknown_flag_is_told_without_its_value() -> None:
    """It may hold a secret."""
    with pytest.raises(EngineError) as caught:
        settings("--password hunter2")

    assert "hunter2" not in str(caught.value)
    assert "--bwlimit" in str(caught.value)


def test_deleting_and_asking_take_names_as_they_are() -> None:
    """A name that begins with a dash is no option."""
    assert ("rm", "-rf", "--", "/x", "-y") == argv.render_remove(LOCAL, ["/x", "-y"]).argv
    assert "a 'b c' ''\"'\"''" == argv.quote_words("a", "b c", "'")
