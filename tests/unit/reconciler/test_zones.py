"""Which time zone schedules are shown in, and where that was found."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.lib.errors import UsageError
from sidecar.lib.zones import local_zone
from sidecar.reconciler.zones import resolve_zone

SUMMER = datetime(2026, 7, 1, tzinfo=UTC)


def offset(environment: dict[str, str], localtime: Path) -> tuple[str, float]:
    """Return the zone's name and its hours from UTC in summer."""
    zone, name = local_zone(environment, localtime)
    shift = SUMMER.astimezone(zone).utcoffset()
    assert shift is not None
    return name, shift.total_seconds() / 3600


def test_flag_decides_alone() -> None:
    """No engine is asked where the flag speaks."""
    zone = resolve_zone("Asia/Tokyo", "no address at all", "backrest")
    assert ("Asia/Tokyo", "--timezone") == (zone.name, zone.source)
    assert "JST" == SUMMER.astimezone(zone.zone).tzname()


@pytest.mark.parametrize("flag", ["Nowhere/Land", "../etc/passwd", "/etc/localtime", "", "Europe"])
def test_flag_that_names_no_zone_is_refused(flag: str) -> None:
    """A wrong name must not show wrong times."""
    with pytest.raises(UsageError) as error:
        resolve_zone(flag, None, "backrest")
    assert error.value.message.startswith("--timezone")


def test_a_slip_in_the_flag_is_told_the_zone_that_is_meant() -> None:
    """The city alone is what many write."""
    with pytest.raises(UsageError) as error:
        resolve_zone("berlin", None, "backrest")
    assert "write Europe/Berlin" == error.value.hint


def test_without_an_engine_it_is_this_machines() -> None:
    """A look at the schedules works without Docker and says so."""
    with socket.socket() as taken:
        # Bound but not listening: a port that surely refuses.
        taken.bind(("127.0.0.1", 0))
        zone = resolve_zone(None, f"tcp://127.0.0.1:{taken.getsockname()[1]}", "backrest")
    assert "this machine's, because no engine answers" == zone.source


def test_a_wrong_tz_of_this_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it decides, because neither the flag nor a container does."""
    monkeypatch.setenv("TZ", "Mars/Base")
    assert "UTC" == resolve_zone("UTC", "/nowhere.sock", "backrest").name
    with pytest.raises(UsageError, match="TZ=Mars/Base"):
        resolve_zone(None, "/nowhere.sock", "backrest")


def test_tz_variable_beats_the_system(tmp_path: Path) -> None:
    """Also with the colon that POSIX allows."""
    assert ("America/Lima", -5) == offset({"TZ": "America/Lima"}, tmp_path / "none")
    assert (":America/Lima", -5) == offset({"TZ": ":America/Lima"}, tmp_path / "none")


def test_link_of_the_system_names_the_zone(tmp_path: Path) -> None:
    """With its summer time, not only with today's offset."""
    zones = tmp_path / "zoneinfo" / "Europe"
    zones.mkdir(parents=True)
    (zones / "Berlin").touch()
    (tmp_path / "localtime").symlink_to(zones / "Berlin")
    assert ("Europe/Berlin", 2) == offset({"TZ": "no such zone"}, tmp_path / "localtime")


def test_copied_zone_file_is_read(tmp_path: Path) -> None:
    """Some systems have a copy in place of the link."""
    source = Path("/usr/share/zoneinfo/Europe/Berlin")
    (tmp_path / "localtime").write_bytes(source.read_bytes())
    assert ("local time", 2) == offset({}, tmp_path / "localtime")


def test_nothing_known_is_utc(tmp_path: Path) -> None:
    """A bare container runs in UTC; so does one whose file is damaged."""
    assert ("UTC", 0) == offset({}, tmp_path / "none")
    (tmp_path / "bad").write_text("no zone")
    assert ("UTC", 0) == offset({}, tmp_path / "bad")
