"""The normal form of a plan: what Backrest's own rewrite makes of it."""

from typing import Any

import pytest

from sidecar.backrest.jsontext import decode, is_double, parse_integer
from sidecar.backrest.normal import normalise_plan
from sidecar.backrest.plan import Condition, Hook, OnError, Plan, Retention, Schedule

START = "CONDITION_SNAPSHOT_START"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{}", {}),
        ('{"id": "a", "repo": ""}', {"id": "a"}),
        ('{"paths": ["/b", "/a"], "excludes": ["b", "a"]}', None),
        ('{"paths": [], "hooks": [], "iexcludes": null}', {}),
        ('{"pathsExclude": ["/x"], "backupFlags": ["x"]}', {}),
        ('{"skip_if_unchanged": true}', {"skipIfUnchanged": True}),
        ('{"skipIfUnchanged": false}', {}),
        ('{"schedule": {}}', {"schedule": {}}),
        (
            '{"schedule": {"disabled": true, "clock": "CLOCK_DEFAULT"}}',
            {"schedule": {"disabled": True}},
        ),
        ('{"schedule": {"clock": 1}}', {"schedule": {"clock": "CLOCK_LOCAL"}}),
        ('{"schedule": {"clock": 77}}', {"schedule": {"clock": 77}}),
        ('{"schedule": {"clock": "CLOCK_OF_LATER"}}', {"schedule": {}}),
        ('{"schedule": {"maxFrequencyDays": "2"}}', {"schedule": {"maxFrequencyDays": 2}}),
        ('{"retention": {"policyKeepLastN": 0}}', {"retention": {"policyKeepLastN": 0}}),
        ('{"retention": {"policy_keep_last_n": 3e0}}', {"retention": {"policyKeepLastN": 3}}),
        (
            '{"retention": {"policyTimeBucketed": {"daily": 7.0, "weekly": 0}}}',
            {"retention": {"policyTimeBucketed": {"daily": 7}}},
        ),
        (
            '{"hooks": [{"onError": "ON_ERROR_IGNORE", "actionCommand": {}}]}',
            {"hooks": [{"actionCommand": {}}]},
        ),
        ('{"hooks": [{"on_error": 2}]}', {"hooks": [{"onError": "ON_ERROR_FATAL"}]}),
        (
            '{"hooks": [{"conditions": [2, "NEW", 77, 0]}]}',
            {"hooks": [{"conditions": [START, 77, "CONDITION_UNKNOWN"]}]},
        ),
        ('{"hooks": [{}]}', {"hooks": [{}]}),
    ],
)
def test_a_plan_becomes_what_backrest_writes(written: str, expected: dict[str, Any] | None) -> None:
    """Names, zero values, enums, numbers and paths get Backrest's form."""
    if expected is None:
        expected = {"paths": ["/a", "/b"], "excludes": ["b", "a"]}
    assert normalise_plan(decode(written)) == expected


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('{"id": 5}', '{"id": "5"}'),
        ('{"excludes": [5]}', '{"excludes": ["5"]}'),
        ('{"paths": ["/a", 5]}', '{"paths": ["/a", "5"]}'),
        ('{"paths": {}}', "{}"),
        ('{"paths": 0}', "{}"),
        ('{"hooks": ""}', "{}"),
        ('{"hooks": {}}', '{"hooks": []}'),
        ('{"hooks": [null]}', "{}"),
        ('{"hooks": [{"conditions": {}}]}', '{"hooks": [{}]}'),
        ('{"hooks": [{"onError": {}}]}', '{"hooks": [{}]}'),
        ('{"hooks": [{"onError": true}]}', '{"hooks": [{"onError": 1}]}'),
        ('{"hooks": [{"onError": 2.5}]}', '{"hooks": [{"onError": 2}]}'),
        ('{"schedule": "x"}', '{"schedule": {}}'),
        ('{"schedule": 5}', "{}"),
        ('{"schedule": {"disabled": 1}}', '{"schedule": {"disabled": true}}'),
        ('{"schedule": {"disabled": "true"}}', '{"schedule": {"disabled": true}}'),
        ('{"schedule": {"maxFrequencyDays": true}}', '{"schedule": {"maxFrequencyDays": 1}}'),
        ('{"schedule": {"maxFrequencyDays": 1.5}}', '{"schedule": {"maxFrequencyDays": 1}}'),
        ('{"schedule": {"maxFrequencyDays": " 1"}}', '{"schedule": {"maxFrequencyDays": 1}}'),
        ('{"schedule": {"maxFrequencyDays": [1]}}', '{"schedule": {"maxFrequencyDays": 1}}'),
        (
            '{"retention": {"policyKeepLastN": 2147483648}}',
            '{"retention": {"policyKeepLastN": -2147483648}}',
        ),
        (
            '{"retention": {"policyTimeBucketed": {"daily": ""}}}',
            '{"retention": {"policyTimeBucketed": {}}}',
        ),
    ],
)
def test_what_backrest_refuses_equals_nothing_that_it_accepts(wrong: str, right: str) -> None:
    """A fault is seen as a difference, so that it gets healed."""
    assert normalise_plan(decode(wrong)) != normalise_plan(decode(right))


def test_our_own_rendering_is_normal_already() -> None:
    """What we write comes back from Backrest as it was."""
    plan = Plan(
        id="web",
        repo="local",
        paths=("/a", "/b"),
        schedule=Schedule(every_hours=6),
        retention=Retention(daily=7, last=3),
        excludes=("*.tmp",),
        hooks=(
            Hook((Condition.SNAPSHOT_START,), "actionCommand", {"command": "x"}, OnError.FATAL),
            Hook((Condition.ANY_ERROR,), "actionGotify", {"baseUrl": "u", "token": "t"}),
        ),
    ).to_json()
    assert normalise_plan(plan) == plan


def test_plain_numbers_are_taken_like_written_ones() -> None:
    """A float with a whole value is that whole number."""
    assert normalise_plan({"schedule": {"maxFrequencyDays": 2.0}}) == {
        "schedule": {"maxFrequencyDays": 2}
    }
    assert normalise_plan({"skipIfUnchanged": 1})["skipIfUnchanged"] != 1


def test_the_plan_that_is_given_is_not_changed() -> None:
    """Sorting the paths happens on a copy."""
    plan = decode('{"paths": ["/b", "/a"], "skip_if_unchanged": true}')
    normalise_plan(plan)
    assert plan == decode('{"paths": ["/b", "/a"], "skip_if_unchanged": true}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7), ("-7", -7), ("0", 0), ("-0", 0), ("1.0", 1), ("1e3", 1000), ("1E+3", 1000), ("1.50e1", 15),
        ("100e-2", 1), ("0e99999999999", 0), ("0.0", 0), ("2147483647", 2147483647), ("-2147483648", -2147483648),
        ("2147483648", None), ("-2147483649", None), ("3.5", None), ("12e-1", None), ("1e-2", None), ("1.5e-1", None),
        ("1e99999999999", None), ("1e-999999999999", None), ("1e2147483648", None), ("1e20", None), ("1.25e1", None),
        ("", None), (" 1", None), ("01", None), ("+1", None), ("0x1", None), ("1_0", None), ("١", None), ("1e", None),
    ],
)  # fmt: skip
def test_a_whole_number_is_read_whatever_its_spelling(text: str, expected: int | None) -> None:
    """The value counts; what is not whole or too large is none."""
    assert parse_integer(text, 32) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5", True),
        ("1e308", True),
        ("1e309", False),
        ("-1e309", False),
        ("x", False),
        ("NaN", False),
    ],
)
def test_a_double_is_a_number_within_range(text: str, expected: bool) -> None:
    """Numbers beyond a 64-bit float are refused."""
    assert is_double(text) is expected
