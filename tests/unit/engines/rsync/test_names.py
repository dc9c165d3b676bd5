"""Addresses, names of folders and records of rsync's repositories."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from sidecar.engines.base import EngineError
from sidecar.engines.rsync.address import Address, parse_address
from sidecar.engines.rsync.layout import (
    FLAT,
    choose_name,
    is_leftover,
    is_name,
    place_of,
    places_in,
    split_id,
    time_of,
)
from sidecar.engines.rsync.record import Record, parse_record, plan_tags

NAME = "2026-11-29_03-10-00"


@pytest.mark.parametrize(
    ("uri", "host", "folder"),
    [
        ("rsync:/backup", "", "/backup"),
        ("rsync:/backup/./x//y/", "", "/backup/x/y"),
        ("rsync:/a:b/c", "", "/a:b/c"),
        ("rsync:nas:/backup", "nas", "/backup"),
        ("rsync:me@nas:/with blank", "me@nas", "/with blank"),
        ("rsync:me@[fe80::1]:/backup", "me@[fe80::1]", "/backup"),
    ],
)
def test_an_address_names_a_folder_and_perhaps_a_host(uri: str, host: str, folder: str) -> None:
    """The folder is absolute and in its shortest form."""
    assert Address(host, folder) == parse_address(uri)


def test_ssh_and_rsync_spell_a_host_differently() -> None:
    """Only rsync needs brackets."""
    address = parse_address("rsync:me@[::1]:/backup")

    assert ("me@::1", "me@[::1]:/x") == (address.ssh_host, address.at("/x"))
    assert "/x" == parse_address("rsync:/backup").at("/x")


@pytest.mark.parametrize(
    "uri",
    [
        "rsync://host/module",
        "rsync:backup",
        "rsync:",
        "rsync:host:backup",
        "rsync:ssh://me@host/backup",
        "rsync:/",
        "rsync:/..",
        "rsync:-oProxyCommand=x:/backup",
        "rsync:me@-x:/backup",
        "rsync:/a\0b",
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(uri: str) -> None:
    """Nor does a host become an option of ssh."""
    with pytest.raises(EngineError) as caught:
        parse_address(uri)

    assert caught.value.hint


def test_a_plan_has_a_folder_of_its_own() -> None:
    """Whatever signs its id has; the way back from the folder leads to the same plan."""
    for plan in ("web", "a b/c", ".hidden", "..", "ä%", "web@x"):
        place = place_of(plan)
        folder = place.home.partition("/")[0]
        assert (folder,) == tuple({folder} - {"", ".", ".."})
        assert (place,) == places_in([folder, ".locks", "lost+found "][:2])
        assert (plan, NAME) == split_id(place.id_of(NAME))
        assert f"snapshots/{NAME}" == place.link_to(place.home, NAME)


def test_a_flat_tree_has_tiers_and_one_plan() -> None:
    """Its snapshots are called by their names alone."""
    assert ("", NAME) == split_id(FLAT.id_of(NAME))
    assert (True, "daily", f"weekly/{NAME}") == (
        FLAT.is_flat,
        FLAT.home,
        FLAT.link_to("weekly", NAME),
    )


def test_only_names_of_ours_are_names() -> None:
    """What people or other programs call their folders is never touched."""
    assert is_name(NAME)
    assert not any(map(is_name, (f"{NAME}x", "2026-11-29", "latest", f"{NAME}.json", "")))
    assert all(map(is_leftover, (f"{NAME}.partial", f"{NAME}.removed")))
    assert not any(map(is_leftover, (NAME, "x.partial", f"{NAME}.json", f"{NAME}.partial.x")))


def test_a_taken_name_gives_way_to_the_next_second() -> None:
    """Also one of a snapshot that is not finished, and over the end of a year."""
    now = datetime(2026, 12, 31, 23, 59, 59, 900_000, UTC)

    assert "2026-12-31_23-59-59" == choose_name(now, ())
    taken = ("2026-12-31_23-59-59.partial", "2027-01-01_00-00-00")
    assert "2027-01-01_00-00-01" == choose_name(now, taken)


def test_a_name_tells_a_time_of_the_zone() -> None:
    """As another tool has named its folders; what is no time is told as such."""
    found = time_of(NAME, ZoneInfo("Europe/Berlin"))

    assert found is not None
    assert datetime(2026, 11, 29, 2, 10, tzinfo=UTC) == found
    assert time_of("2026-13-29_03-10-00", UTC) is None


def test_a_record_comes_back_as_it_was_written() -> None:
    """With the offset of its time and names of any bytes, in one line."""
    zone = timezone(timedelta(hours=5, minutes=30))
    time = datetime(2026, 11, 29, 3, 10, 0, 5, zone)
    record = Record(NAME, time, ("/a\udcff\n", "/b"), plan_tags("web", "nas"), 3, 17, "/a", True)
    line = record.to_json()

    assert [record] == [parse_record(line.rstrip(b"\n"))]
    assert 1 == line.count(b"\n")
    assert timedelta(hours=5, minutes=30) == parse_record(line).time.utcoffset()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"time": "2026-11-29T03:10:00"}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_record_is_none(line: bytes) -> None:
    """Others may write such files."""
    assert parse_record(line) is None


def test_counts_that_were_not_made_are_none() -> None:
    """As of a tree that another tool has made."""
    record = Record(NAME, datetime(2026, 11, 29, tzinfo=UTC), ("/a",), (), root="/a")

    assert [record] == [parse_record(record.to_json())]
