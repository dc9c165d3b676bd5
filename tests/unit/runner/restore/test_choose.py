"""Which snapshot is restored, which of its paths, and where each belongs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import Entry, Snapshot
from sidecar.lib.errors import UsageError
from sidecar.runner.restore.choose import (
    Choice,
    RestoreError,
    RestoreItem,
    RestoreRequest,
    check_request,
    choose_snapshot,
    choose_sources,
    measure,
    parse_moment,
    parse_path_map,
    parse_point,
    place_items,
    place_of,
)

PLAN = RunPlan("web", "store", ("/data",))
BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def request(**wanted: object) -> RestoreRequest:
    """Request something of the plan."""
    return RestoreRequest(PLAN, "here", **wanted)  # type: ignore[arg-type]


def choose(
    wanted: RestoreRequest, own: Sequence[Snapshot], others: Sequence[Snapshot] = ()
) -> Choice:
    """Choose at noon, of a repository with snapshots of the plan and of others."""
    engine: Any = SimpleNamespace(snapshots=lambda plan, _: tuple(own) if plan else (*own, *others))
    look: Any = SimpleNamespace(holds_file=lambda one: one.files_processed != 0)
    return choose_snapshot(wanted, engine, look, NOON.timestamp())


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yesterday", datetime(2024, 3, 30, 22, 59, 59, 999999, tzinfo=UTC)),
        (" today ", datetime(2024, 3, 31, 21, 59, 59, 999999, tzinfo=UTC)),
        ("2024-03-30", datetime(2024, 3, 30, 22, 59, 59, 999999, tzinfo=UTC)),
        ("20240330", datetime(2024, 3, 30, 22, 59, 59, 999999, tzinfo=UTC)),
        # The hour that is left out, read with the offset from after it.
        ("2024-03-31T02:30", datetime(2024, 3, 31, 0, 30, tzinfo=UTC)),
        ("2024-03-31T03:10", datetime(2024, 3, 31, 1, 10, tzinfo=UTC)),
        ("2024-03-31 03:10Z", datetime(2024, 3, 31, 3, 10, tzinfo=UTC)),
        ("2024-10-27T02:30", datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
        ("20240331T0310", datetime(2024, 3, 31, 1, 10, tzinfo=UTC)),
        ("latest", "latest"),
        ("4bba301e", "4bba301e"),
        ("2024", "2024"),
        ("99999999", "99999999"),
        ("2024-03-30_03-10-00", "2024-03-30_03-10-00"),
        ("web@2024-03-30_03-10-00", "web@2024-03-30_03-10-00"),
    ],
)
def test_a_point_is_a_time_or_a_snapshot(text: str, expected: datetime | str) -> None:
    """Days are those of the zone, also the short one of the change to summer time."""
    found = parse_point(text, BERLIN, date(2024, 3, 31))

    assert expected == (found.astimezone(UTC) if isinstance(found, datetime) else found)


@pytest.mark.parametrize("text", ["", "last week", "2024-13-01", "12:00", "2024-03-30_", "xyz"])
def test_what_is_neither_a_time_nor_a_snapshot_is_refused(text: str) -> None:
    """With what can be written."""
    with pytest.raises(UsageError, match=r"is no time|is neither a time nor a snapshot"):
        parse_point(text, BERLIN, date(2024, 3, 31))


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
    """Before anything is read."""
    with pytest.raises(UsageError):
        check_request(request(**wanted))


def test_a_name_that_is_no_utf8_cannot_be_named() -> None:
    """The folder above it can, which is said."""
    with pytest.raises(UsageError, match="/data/a\ufffd/b is no UTF-8") as caught:
        check_request(request(paths=("/data/a\udcff/b",)))
    assert caught.value.hint.endswith(": --path /data")


def test_a_name_as_a_listing_shows_it_may_be_another() -> None:
    """What stands there for bytes that are no UTF-8 is not in the name."""
    with pytest.raises(RestoreError, match="does not hold /data/a\ufffd") as caught:
        measure("/data/a\ufffd", [])
    assert caught.value.hint.endswith(": --path /data")


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

    found = choose(request(**wanted), own, [snapshot("c", 3)])

    assert (expected * 8, "") == (found.snapshot.id, found.passed_over)


@pytest.mark.parametrize("wanted", [{}, {"at": NOON + timedelta(hours=5)}])
def test_a_snapshot_that_holds_nothing_is_chosen_by_its_id_only(wanted: dict[str, object]) -> None:
    """Restored in place it would wipe what is there."""
    full, void = snapshot("a"), replace(snapshot("b", 2), files_processed=0)

    found = choose(request(**wanted), [full, void])
    by_id = choose(request(snapshot=void.id), [full, void])

    assert Choice(full, "1 newer snapshot holds no file (bbbbbbbb)") == found
    assert Choice(void) == by_id


def test_where_every_snapshot_is_passed_over_an_id_is_asked_for() -> None:
    """The refusal says why each of them is."""
    void = replace(snapshot("a"), files_processed=0)

    with pytest.raises(RestoreError) as caught:
        choose(request(), [void])

    assert "no snapshot of web can be taken: 1 snapshot holds no file (aaaaaaaa)" in str(
        caught.value
    )
    assert "taken by its id: `restore --snapshot ID`, `ls --at ID`" in caught.value.hint


def test_a_name_has_to_be_that_of_one_snapshot() -> None:
    """Seven digits are too few, and a beginning may be that of two."""
    two = [Snapshot("12345678aa", NOON, ()), Snapshot("12345678bb", NOON, ())]

    for name, words in (("12345678", "2 snapshots are called"), ("1234567", "has no snapshot")):
        with pytest.raises(RestoreError, match=words):
            choose(request(snapshot=name), (), two)
    with pytest.raises(RestoreError) as gone:
        choose(request(snapshot="0123456789"), (), two)
    assert "`backrest-runner snapshots PLAN` lists them" in gone.value.hint


def test_all_of_the_snapshot_is_restored_and_nothing_twice() -> None:
    """A path within another comes with it."""
    assert ("/data", "/etc/x") == choose_sources(request(), snapshot("a"))
    assert ("/data/y",) == choose_sources(request(paths=("/data/y", "/data/y/z")), snapshot("a"))


def test_measuring_counts_files_and_bytes() -> None:
    """The path itself tells whether it is a folder; what lies above it is one."""
    entries = [Entry("/d", "dir"), Entry("/d/a", "file", 5), Entry("/d/l", "symlink", 0)]

    assert RestoreItem("/d", "", is_folder=True, files=1, bytes=5) == measure("/d", entries)
    assert RestoreItem("/d/a", "", is_folder=False, files=1, bytes=5) == measure(
        "/d/a", entries[1:2]
    )
    with pytest.raises(RestoreError, match="does not hold /d") as caught:
        measure("/d", [])
    assert "`backrest-runner snapshots PLAN`" in caught.value.hint


def folder(source: str, place: str = "") -> RestoreItem:
    """Make an item that is a folder."""
    return RestoreItem(source, place, is_folder=True)


def file(source: str, place: str = "") -> RestoreItem:
    """Make an item that is a file."""
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
def test_each_item_has_its_place(
    items: list[RestoreItem], wanted: dict[str, object], expected: list[str]
) -> None:
    """At home, or in the target: a single one not nested, several by their full paths."""
    assert expected == [one.place for one in place_items(items, request(**wanted))]


def test_two_items_must_not_meet() -> None:
    """Nor may what runs be replaced as a whole."""
    with pytest.raises(RestoreError, match="would both be restored to /x"):
        place_items([folder("/a"), folder("/b")], request(path_map=(("/a", "/x/a"), ("/b", "/x"))))
    with pytest.raises(RestoreError, match="/ cannot be replaced"):
        place_items([folder("/")], request())


PATHS = st.lists(st.sampled_from("abc"), max_size=3).map(lambda names: "/" + "/".join(names))


@given(st.lists(PATHS, min_size=1, max_size=4), st.lists(st.tuples(PATHS, PATHS), max_size=3))
def test_places_never_lie_in_each_other(paths: list[str], path_map: list[tuple[str, str]]) -> None:
    """Whatever is requested: it is refused, or each has a place of its own."""
    wanted = request(paths=tuple(paths), path_map=tuple(path_map))
    sources = choose_sources(wanted, snapshot("a"))

    try:
        items = place_items([folder(one) for one in sources], wanted)
    except RestoreError:
        return

    places = [one.place + "/" for one in items]
    assert not any(one is not other and one.startswith(other) for one in places for other in places)
