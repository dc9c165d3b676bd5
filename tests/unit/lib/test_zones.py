"""A time zone that is no zone is told before any schedule is read in it."""

import pytest

from sidecar.lib import zones
from sidecar.lib.errors import UsageError
from sidecar.lib.zones import require_known_zone


@pytest.mark.parametrize("name", ["", "UTC", "Europe/Berlin", ":Asia/Tokyo", "EST5EDT"])
def test_a_known_zone_or_none_is_fine(name: str) -> None:
    """An empty variable is what Compose makes of one that is not set."""
    require_known_zone({"TZ": name} if name else {})
    require_known_zone({"TZ": ""})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "write TZ=Europe/Berlin"),
        ("europe/berlin", "write TZ=Europe/Berlin"),
        ("Berlin", "write TZ=Europe/Berlin"),
        ("New York", "write TZ=America/New_York"),
        ("Europe", "write a name as in TZ=Europe/Berlin, or UTC"),
        ("CET-1CEST,M3.5.0,M10.5.0", "write a name as in TZ=Europe/Berlin, or UTC"),
        ("../etc/passwd", "write a name as in TZ=Europe/Berlin, or UTC"),
        ('"Europe/Berlin"', "write TZ=Europe/Berlin"),
    ],
)
def test_what_is_no_zone_is_refused_with_the_nearest(name: str, hint: str) -> None:
    """The C library would take UTC without a word."""
    with pytest.raises(UsageError) as error:
        require_known_zone({"TZ": name})
    assert (f"TZ={name} is no time zone that is known here", hint) == (
        error.value.message,
        error.value.hint,
    )


def test_a_system_without_zones_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name is not to blame there."""
    monkeypatch.setattr(zones, "named_zone", lambda _: None)
    monkeypatch.setattr(zones, "available_timezones", set)
    with pytest.raises(UsageError) as error:
        require_known_zone({"TZ": "Europe/Berlin"})
    assert "this system has no time zones: install its package tzdata" == error.value.hint
