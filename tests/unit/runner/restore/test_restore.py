"""What is restored where; and the way of restored data into a folder that was in use."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import Entry, Snapshot
from sidecar.lib.errors import UsageError
from sidecar.runner.restore import (
    ExistingTarget,
    How,
    RestoreError,
    RestoreItem,
    RestoreRequest,
    Step,
    parse_moment,
    parse_path_map,
)
from sidecar.runner.restore.choose import (
    check_request,
    choose_snapshot,
    choose_sources,
    place_of,
    placed,
    survey,
)
from sidecar.runner.restore.move import conflicts, merge
from sidecar.runner.restore.places import (
    check_mounts,
    check_space,
    free_at,
    look_at,
    parse_mounts,
    plan_step,
)
from sidecar.runner.restore.staging import PREFIX, Staging, settle

PLAN = RunPlan("web", "store", ("/data",))
BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def request(**wanted: object) -> RestoreRequest:
    """Wish something of the plan."""
    return RestoreRequest(PLAN, "here", **wanted)  # type: ignore[arg-type]


def snapshot(name: str, hours: int = 0) -> Snapshot:
    """Make a snapshot so many hours after noon."""
    return Snapshot(name * 8, NOON + timedelta(hours=hours), ("/data", "/data/sub", "/etc/x"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01 13:00", datetime(2024, 5, 1, 11, tzinfo=UTC)),
        ("2024-05-01T13:00:30", datetime(2024, 5, 1, 11, 0, 30, tzinfo=UTC)),
        ("2024-05-01T13:00Z", datetime(2024, 5, 1, 13, tzinfo=UTC)),
        (" 2024-05-01T13:00+05:00 ", datetime(2024, 5, 1, 8, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, 21, 59, 59, 999999, tzinfo=UTC)),
        ("2024-10-27 02:30", datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_local_and_a_day_is_meant_to_its_end(text: str, expected: datetime) -> None:
    """Of an hour that comes twice the second is meant: not after it is also not after the first."""
    assert expected == parse_moment(text, BERLIN).astimezone(UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "12:00", "1714562000"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With the forms that are."""
    with pytest.raises(UsageError, match="is no time"):
        parse_moment(text, BERLIN)


def test_the_longest_prefix_leads_to_the_place() -> None:
    """By whole names; without one the path stays."""
    path_map = parse_path_map(["/a=/x", "/a/b=/y", "/a/b/c/=/z//w/"])

    places = {path: place_of(path, path_map) for path in ("/a", "/a/b/1", "/a/b/c", "/ab", "/")}

    assert {"/a": "/x", "/a/b/1": "/y/1", "/a/b/c": "/z/w", "/ab": "/ab", "/": "/"} == places
    assert "/host/etc" == place_of("/etc", parse_path_map(["/=/host"]))


@pytest.mark.parametrize("entry", ["/a", "a=/b", "/a=b", "=", "/a="])
def test_what_is_no_path_map_is_refused(entry: str) -> None:
    """Both sides are absolute paths."""
    with pytest.raises(UsageError):
        parse_path_map([entry])


@pytest.mark.parametrize(
    "wanted",
    [
        {"snapshot": "12345678", "at": NOON},
        {"target": "/t", "in_place": True},
        {"target": "/t", "path_map": (("/a", "/b"),)},
        {"paths": ("relative",)},
        {"target": "relative"},
    ],
)
def test_contradictions_are_refused(wanted: dict[str, object]) -> None:
    """Before anything is looked at."""
    with pytest.raises(UsageError):
        check_request(request(**wanted))


def test_paths_are_made_normal() -> None:
    """However they were written."""
    found = check_request(request(paths=("//data/./x/",), target="/t/../u/"))

    assert (("/data/x",), "/u") == (found.paths, found.target)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "b"),
        ({"at": NOON + timedelta(hours=5)}, "b"),
        ({"at": NOON + timedelta(hours=1)}, "a"),
        ({"at": NOON}, "a"),
        ({"snapshot": "c" * 8}, "c"),
    ],
)
def test_the_snapshot_is_chosen(wanted: dict[str, object], expected: str) -> None:
    """The newest, the newest not after a time, or by its id, also another plan's."""
    own = [snapshot("a"), snapshot("b", 2)]

    found = choose_snapshot(request(**wanted), lambda: own, lambda: [*own, snapshot("c", 3)])

    assert expected * 8 == found.id


def test_a_name_has_to_be_that_of_one_snapshot() -> None:
    """Seven digits are too few, and a beginning may be that of two."""
    two = [Snapshot("12345678aa", NOON, ()), Snapshot("12345678bb", NOON, ())]

    for name, words in (("12345678", "2 snapshots are called"), ("1234567", "has no snapshot")):
        with pytest.raises(RestoreError, match=words):
            choose_snapshot(request(snapshot=name), list, lambda: two)


def test_all_of_the_snapshot_is_restored_and_nothing_twice() -> None:
    """A path within another comes with it."""
    assert ("/data", "/etc/x") == choose_sources(request(), snapshot("a"))
    assert ("/data/y",) == choose_sources(request(paths=("/data/y", "/data/y/z")), snapshot("a"))


def test_a_survey_counts_files_and_bytes() -> None:
    """The path itself tells whether it is a folder; what lies above it is one."""
    entries = [Entry("/d", "dir"), Entry("/d/a", "file", 5), Entry("/d/l", "symlink", 0)]

    assert RestoreItem("/d", "", is_folder=True, files=1, bytes=5) == survey("/d", entries)
    assert RestoreItem("/d/a", "", is_folder=False, files=1, bytes=5) == survey(
        "/d/a", entries[1:2]
    )
    with pytest.raises(RestoreError, match="does not hold /d"):
        survey("/d", [])


def folder(source: str, place: str = "") -> RestoreItem:
    """Make a piece that is a folder."""
    return RestoreItem(source, place, is_folder=True)


def file(source: str, place: str = "") -> RestoreItem:
    """Make a piece that is a file."""
    return RestoreItem(source, place, is_folder=False)


@pytest.mark.parametrize(
    ("items", "wanted", "expected"),
    [
        ([folder("/a")], {}, ["/a"]),
        ([folder("/a/b")], {"path_map": (("/a", "/x"),)}, ["/x/b"]),
        ([folder("/a/b")], {"target": "/t"}, ["/t"]),
        ([file("/a/b")], {"target": "/t"}, ["/t/b"]),
        ([folder("/a/b"), file("/c")], {"target": "/t"}, ["/t/a/b", "/t/c"]),
        ([folder("/")], {"target": "/t"}, ["/t"]),
    ],
)
def test_each_piece_has_its_place(
    items: list[RestoreItem], wanted: dict[str, object], expected: list[str]
) -> None:
    """At home, or in the target: a single one not nested, several by their full paths."""
    assert expected == [one.place for one in placed(items, request(**wanted))]


def test_two_pieces_must_not_meet() -> None:
    """Nor may what runs be replaced as a whole."""
    with pytest.raises(RestoreError, match="would both be restored to /x"):
        placed([folder("/a"), folder("/b")], request(path_map=(("/a", "/x/a"), ("/b", "/x"))))
    with pytest.raises(RestoreError, match="/ cannot be replaced"):
        placed([folder("/")], request())


PATHS = st.lists(st.sampled_from("abc"), max_size=3).map(lambda names: "/" + "/".join(names))


@given(st.lists(PATHS, min_size=1, max_size=4), st.lists(st.tuples(PATHS, PATHS), max_size=3))
def test_places_never_lie_in_each_other(paths: list[str], path_map: list[tuple[str, str]]) -> None:
    """Whatever is wished for: it is refused, or each has a place of its own."""
    wanted = request(paths=tuple(paths), path_map=tuple(path_map))
    sources = choose_sources(wanted, snapshot("a"))

    try:
        items = placed([folder(one) for one in sources], wanted)
    except RestoreError:
        return

    places = [one.place + "/" for one in items]
    assert not any(one is not other and one.startswith(other) for one in places for other in places)


HOME, AWAY = {"in_place": True}, {"target": "/t", "force": True}


@pytest.mark.parametrize(
    ("item", "standing", "unasked", "home", "away"),
    [
        (folder("/a"), ExistingTarget.MISSING, How.FILL, How.FILL, How.FILL),
        (folder("/a"), ExistingTarget.EMPTY, How.FILL, How.FILL, How.FILL),
        (folder("/a"), ExistingTarget.FULL, None, How.REPLACE, How.MERGE),
        (folder("/a"), ExistingTarget.ENTRY, None, None, None),
        (folder("/a"), ExistingTarget.LINK, None, None, None),
        (file("/a"), ExistingTarget.MISSING, How.FILL, How.FILL, How.FILL),
        (file("/a"), ExistingTarget.EMPTY, None, None, None),
        (file("/a"), ExistingTarget.FULL, None, None, None),
        (file("/a"), ExistingTarget.ENTRY, None, How.REPLACE, How.REPLACE),
        (file("/a"), ExistingTarget.LINK, None, How.REPLACE, How.REPLACE),
    ],
)
def test_what_is_there_is_only_touched_where_that_was_asked_for(
    item: RestoreItem,
    standing: ExistingTarget,
    unasked: How | None,
    home: How | None,
    away: How | None,
) -> None:
    """And never where a folder is a file by now, or the other way round."""
    for wanted, how in (
        ({}, unasked),
        ({"force": True}, unasked),
        (HOME, home),
        ({"target": "/t"}, unasked),
        (AWAY, away),
    ):
        if how is not None:
            assert how is plan_step(item, standing, request(**wanted)).how
            continue
        with pytest.raises(RestoreError, match="nothing was touched"):
            plan_step(item, standing, request(**wanted))


def test_a_place_is_told_by_what_is_there(tmp_path: Path) -> None:
    """A link is a link, wherever it leads."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "link").symlink_to("full")
    (tmp_path / "dangling").symlink_to("nowhere")
    names = ("empty", "full", "full/x", "link", "dangling", "nothing", "full/x/y")

    standings = [look_at(str(tmp_path / name)) for name in names]

    assert [
        ExistingTarget.EMPTY,
        ExistingTarget.FULL,
        ExistingTarget.ENTRY,
        ExistingTarget.LINK,
        ExistingTarget.LINK,
        ExistingTarget.MISSING,
        ExistingTarget.MISSING,
    ] == standings


def test_nothing_that_is_mounted_is_moved_along() -> None:
    """It would be deleted with what was there before."""
    mountinfo = "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a/my\\040disk rw - ext4 b rw\n\n"
    replaced = Step(folder("/a", "/a"), ExistingTarget.FULL, How.REPLACE)

    assert ("/", "/a/my disk") == parse_mounts(mountinfo)
    with pytest.raises(RestoreError, match="/a/my disk is mounted within /a"):
        check_mounts(replaced, mountinfo)
    check_mounts(Step(folder("/b", "/b"), ExistingTarget.FULL, How.REPLACE), mountinfo)
    at_mount = Step(folder("/x", "/a/my disk"), ExistingTarget.FULL, How.REPLACE)
    check_mounts(at_mount, mountinfo)


def test_space_is_counted_by_disk() -> None:
    """Two places on one disk need it together."""
    steps = tuple(
        Step(RestoreItem("/s", place, is_folder=True, bytes=600), ExistingTarget.MISSING, How.FILL)
        for place in ("/a", "/b")
    )
    one_disk = {Path("/a"): (1, 1000), Path("/b"): (1, 1000)}
    two_disks = {Path("/a"): (1, 1000), Path("/b"): (2, 1000)}

    assert "200 B more would be needed on the disk of /b" == check_space(steps, one_disk)
    assert "" == check_space(steps, two_disks)


def test_free_space_is_that_of_what_exists(tmp_path: Path) -> None:
    """A folder that is yet to be made lies where its parent does."""
    device, free = free_at(tmp_path / "not" / "there")

    assert tmp_path.stat().st_dev == device
    assert free > 0


def fill(room: Path, *names: str, content: str = "") -> None:
    """Put files and, with a slash at the end, folders into a folder."""
    for name in names:
        path = room / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(content or name)


def held(room: Path) -> dict[str, str]:
    """Return what is in a folder: names and contents."""
    entries = sorted(room.rglob("*"))
    return {
        str(entry.relative_to(room)): entry.read_text() if entry.is_file() else "/"
        for entry in entries
    }


@dataclass
class Room:
    """A folder with old contents, and new ones that are to come."""

    path: Path
    old: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> "Room":
        """Make one."""
        fill(path, "both", "only-old", "deep/old", content="old")
        fill(path, "lost+found/")
        fill(path.with_suffix(".new"), "both", "only-new", "deep/new", content="new")
        path.with_suffix(".new").chmod(0o750)
        os.utime(path.with_suffix(".new"), ns=(10**18, 10**18))
        kept = {"lost+found": "/"}
        return cls(path, held(path), held(path.with_suffix(".new")) | kept)

    def swap(self, kill_at: int) -> int:
        """Swap in a process of its own, which is killed at a renaming; give how it ended."""
        script = Path(__file__).parents[3] / "fakes" / "one_swap.py"
        environ = {**os.environ, "PYTHONPATH": str(script.parents[2])}
        command = [sys.executable, str(script), str(self.path), str(kill_at)]
        return subprocess.run(command, env=environ, check=False).returncode


def test_a_swap_that_is_killed_is_undone_or_brought_to_its_end(tmp_path: Path) -> None:
    """At whichever renaming: all is old, or all is new, and nothing else is left."""
    ends = []
    for kill_at in range(20):
        room = Room.at(tmp_path / f"room-{kill_at}")
        status = room.swap(kill_at)
        said = settle(room.path)
        found = held(room.path)
        assert found in (room.old, room.new)
        assert bool(said) == (status != 0)
        ends.append("new" if found == room.new else "old")
        if status == 0:
            break
        assert -9 == status
        if found == room.new:
            assert 0o750 == room.path.stat().st_mode & 0o7777
            assert 10**18 == room.path.stat().st_mtime_ns
    # Taken, three out, made ready, three in, the old made trash.
    assert ["old"] * 5 + ["new"] * 5 == ends


def test_a_swap_that_fails_is_undone(tmp_path: Path) -> None:
    """What was moved aside comes back, and the room is as if nothing had happened."""
    room = Room.at(tmp_path / "room")
    before = room.path.stat().st_mtime_ns

    with Staging(room.path) as staging:
        fill(staging.tree, "data/new")
        staging.take_folder("/data")
        with pytest.raises(FileNotFoundError):
            staging.swap(["both", "deep", "nothing of that name"])

    assert room.old == held(room.path)
    assert before <= room.path.stat().st_mtime_ns


def test_an_unused_staging_leaves_no_trace(tmp_path: Path) -> None:
    """Not even in the time of the folder."""
    os.utime(tmp_path, ns=(10**18, 10**18))

    with Staging(tmp_path) as staging:
        fill(staging.tree, "data/new")

    assert ([], 10**18) == (os.listdir(tmp_path), tmp_path.stat().st_mtime_ns)


def test_what_cannot_be_ended_is_left_for_people(tmp_path: Path) -> None:
    """Both the old and the new are there, and the error says where; a second try ends it."""
    fill(tmp_path, "old")

    def come_between(staging: Staging) -> None:
        fill(staging.tree, "data/x/", "data/y")
        staging.take_folder("/data")
        # As somebody who writes while everything is moved.
        fill(tmp_path, "x/intruder")
        staging.swap(["old"])

    with pytest.raises(RestoreError, match="stopped halfway") as caught, Staging(tmp_path) as made:
        come_between(made)
    assert str(made.path) in caught.value.message
    assert {"old", "x"} <= {one.name for one in made.path.rglob("*")}
    (tmp_path / "x" / "intruder").unlink()
    (tmp_path / "x").rmdir()
    settle(tmp_path)
    assert {"x", "y"} == set(os.listdir(tmp_path))


def test_two_restores_do_not_meet(tmp_path: Path) -> None:
    """Who comes second is refused, as long as the first is at work."""
    with Staging(tmp_path), pytest.raises(RestoreError, match="another restore is at work"):
        settle(tmp_path)
    assert () == settle(tmp_path)


def test_litter_of_others_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link or a file with our kind of name is nothing of ours, nor is another user's folder."""
    fill(tmp_path, "elsewhere/old/treasure", f"room/{PREFIX}file")
    room = tmp_path / "room"
    (room / f"{PREFIX}link").symlink_to("../elsewhere")
    (room / f"{PREFIX}theirs").mkdir()
    fill(room / f"{PREFIX}theirs", "old/x")
    monkeypatch.setattr(os, "geteuid", lambda: 4321)

    assert () == settle(room)
    assert (tmp_path / "elsewhere" / "old" / "treasure").exists()
    assert 3 == len(os.listdir(room))


def test_a_link_within_litter_is_not_followed(tmp_path: Path) -> None:
    """Else who can write into the folder could have anything moved there."""
    fill(tmp_path, "elsewhere/treasure")
    fill(tmp_path, f"room/{PREFIX}0/")
    (tmp_path / "room" / f"{PREFIX}0" / "old").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(NotADirectoryError):
        settle(tmp_path / "room")

    assert (tmp_path / "elsewhere" / "treasure").exists()


def test_litter_in_a_snapshot_is_not_restored(tmp_path: Path) -> None:
    """It would be taken for that of an interrupted restore."""
    with Staging(tmp_path) as staging:
        fill(staging.tree, f"data/{PREFIX}0/old/x", "data/y")
        staging.take_folder("/data")
        staging.swap([])

    assert ["y"] == os.listdir(tmp_path)


def test_a_backup_passes_over_a_staging(tmp_path: Path) -> None:
    """It bears the mark that excludes caches."""
    with Staging(tmp_path) as staging:
        assert (staging.path / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28")
        assert 0o700 == staging.path.stat().st_mode & 0o7777


def test_a_merge_keeps_what_else_is_there(tmp_path: Path) -> None:
    """Also within folders that both sides have; a link is replaced, never followed."""
    new, room = tmp_path / "new", tmp_path / "room"
    fill(new, "a/b/file", "a/link/x", "top", content="new")
    fill(room, "a/b/file", "a/b/mine", "elsewhere/x", content="old")
    (room / "top").symlink_to("elsewhere/x")
    (new / "a").chmod(0o711)

    assert [] == list(conflicts(new, room))
    merge(new, room)

    assert {"a/b/file": "new", "a/b/mine": "old", "a/link/x": "new", "top": "new"}.items() <= held(
        room
    ).items()
    assert "old" == (room / "elsewhere" / "x").read_text()
    assert 0o711 == (room / "a").stat().st_mode & 0o7777


@pytest.mark.parametrize(("ours", "theirs"), [("a/x", "a"), ("a", "a/x")])
def test_a_folder_and_a_file_cannot_be_merged(tmp_path: Path, ours: str, theirs: str) -> None:
    """That is found out before anything is moved, at every depth."""
    new, room = tmp_path / "new", tmp_path / "room"
    fill(new, f"deep/{ours}")
    fill(room, f"deep/{theirs}")

    assert [room / "deep" / "a"] == list(conflicts(new, room))


def test_a_link_to_a_folder_is_no_folder(tmp_path: Path) -> None:
    """A merge through it would write wherever it leads."""
    fill(tmp_path, "new/a/x", "elsewhere/")
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a").symlink_to("../elsewhere")

    assert [tmp_path / "room" / "a"] == list(conflicts(tmp_path / "new", tmp_path / "room"))
