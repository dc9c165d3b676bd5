"""Jitter: what a `T` becomes for a plan id, and the hash that decides it."""

from datetime import UTC, datetime

import pytest

from sidecar.schedule.jitter import fnv1a_32
from sidecar.schedule.parse import parse_schedule

NOW = datetime(2025, 6, 15, 12, 30, tzinfo=UTC)
WEB = "backrest_sidecar_web"


def cron_of(text: str, plan_id: str = WEB) -> str:
    """Return the cron that the text is emitted as."""
    return parse_schedule(text, plan_id, NOW).cron


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 2166136261), ("a", 3826002220), (WEB, 2562620289), ("é_ü", 1228735301)],
)
def test_the_hash_is_fnv1a_of_the_utf8_bytes(text: str, expected: int) -> None:
    """The hash agrees with vectors computed by another implementation."""
    assert fnv1a_32(text) == expected


@pytest.mark.parametrize(
    ("plan_id", "minute"),
    [
        ("backrest_sidecar_web", 9),
        ("backrest_sidecar_demo_echo", 10),
        ("backrest_sidecar_demo_api", 41),
        ("backrest_sidecar_db", 35),
    ],
)
def test_a_bare_minute_comes_from_the_plan_id_alone(plan_id: str, minute: int) -> None:
    """`T` alone as the minute is the hash of the bare plan id mod 60."""
    assert cron_of("T 2 * * *", plan_id) == f"{minute} 2 * * *"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 T * * *", "0 8 * * *"),
        ("0 0 T * *", "0 0 6 * *"),
        ("0 0 1 T *", "0 0 1 1 *"),
        ("0 0 * * T", "0 0 * * 4"),
        ("T(0-59) 2 * * *", "46 2 * * *"),
        ("T(0-29) 2 * * *", "16 2 * * *"),
        ("0 T(3-5) * * *", "0 5 * * *"),
        ("0 T(3-3) * * *", "0 3 * * *"),
        ("0 0 T(10-20) * *", "0 0 15 * *"),
        ("0 0 T(1-31) * *", "0 0 17 * *"),
        ("0 0 * * T(1-5)", "0 0 * * 1"),
        ("0 0 * * T(MON-fri)", "0 0 * * 1"),
        ("T/15 * * * *", "1-59/15 * * * *"),
        ("T/1 * * * *", "0-59/1 * * * *"),
        ("T/60 * * * *", "46-59/60 * * * *"),
        ("0 T/6 * * *", "0 2-23/6 * * *"),
        ("0 0 T/7 * *", "0 0 6-28/7 * *"),
        ("0 0 1 T/3 *", "0 0 1 1-12/3 *"),
        ("0 0 * * T/2", "0 0 * * 1-6/2"),
        ("T,30 2 * * *", "46,30 2 * * *"),
        ("30,T 2 * * *", "30,46 2 * * *"),
        ("T,T 2 * * *", "46,46 2 * * *"),
        ("0 T(0-5),T(12-13) * * *", "0 2,12 * * *"),
        ("0 T/12,5 * * *", "0 8-23/12,5 * * *"),
        ("T T * * T", "9 8 * * 4"),
    ],
)
def test_a_jittered_value_expands_in_its_field(text: str, expected: str) -> None:
    """Every use of T but the bare minute takes the hash salted with its field."""
    assert cron_of(text) == expected
