"""Keep labels, line by line of the grammar."""

import pytest

from sidecar.backrest.plan import Retention
from sidecar.labels.retention import parse_retention
from sidecar.lib.text import SpecInvalid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily=7,weekly=4", Retention(daily=7, weekly=4)),
        (
            "yearly=6,monthly=5,weekly=4,daily=3,hourly=2,last=1",
            Retention(last=1, hourly=2, daily=3, weekly=4, monthly=5, yearly=6),
        ),
        ("last=10", Retention(last=10)),
        (" last = 10 ,\tdaily= 7 ", Retention(last=10, daily=7)),
        ("daily=2147483647", Retention(daily=2147483647)),
        ("all", Retention(keep_all=True)),
        (" all ", Retention(keep_all=True)),
    ],
)
def test_counts_become_a_retention(text: str, expected: Retention) -> None:
    """Each key fills its bucket, in any order and with spaces around."""
    assert parse_retention(text) == (expected, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", {"policyKeepAll": True}),
        ("last=3", {"policyKeepLastN": 3}),
        ("last=3,daily=7", {"policyTimeBucketed": {"daily": 7, "keepLastN": 3}}),
        ("yearly=1", {"policyTimeBucketed": {"yearly": 1}}),
        ("last=3,within=1y", {"policyKeepLastN": 3}),
    ],
)
def test_the_policy_in_the_document_follows_the_keys(text: str, expected: object) -> None:
    """Only last alone is keepLastN; beside others it is a part of the buckets."""
    assert parse_retention(text)[0].to_json() == expected


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("daily=7,within=30d", ("within",)),
        ("within-yearly=1y5m7d2h,daily=7,within-hourly=48h", ("within-yearly", "within-hourly")),
        (
            "within-daily=1d,within-weekly=2m,within-monthly=3y,last=1",
            ("within-daily", "within-weekly", "within-monthly"),
        ),
    ],
)
def test_within_beside_counts_is_ignored_and_named(text: str, ignored: tuple[str, ...]) -> None:
    """Backrest has no time spans: those keys are handed back for a warning."""
    assert parse_retention(text)[1] == ignored


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "empty", "daily=7,weekly=4"),
        ("  ", "empty", "daily=7,weekly=4"),
        ("daily=7,", "empty", "daily=7,weekly=4"),
        (",daily=7", "empty", "daily=7,weekly=4"),
        ("daily=7,,weekly=4", "empty", "daily=7,weekly=4"),
        ("daily", "daily has no value", "daily=7"),
        ("within", "within has no value", "within=30d"),
        ("daily=7,within-daily", "within-daily has no value", "within-daily=30d"),
        ("daily:7", "unknown key 'daily:7'", "write daily=7"),
        ("daily7", "unknown key 'daily7'", "write daily=7"),
        ("=7", "unknown key ''", "last, hourly"),
        ("d=7", "unknown key 'd'", "did you mean daily?"),
        ("14 days", "unknown key '14 days'", "write daily=14"),
        ("2w", "unknown key '2w'", "write weekly=2"),
        ("keep 3 months", "unknown key 'keep 3 months'", "write monthly=3"),
        ("Daily=7", "unknown key 'Daily'", "did you mean daily?"),
        ("hour=7", "unknown key 'hour'", "did you mean hourly?"),
        ("keep-weekly=7", "unknown key 'keep-weekly'", "did you mean weekly?"),
        ("montly=7", "unknown key 'montly'", "did you mean monthly?"),
        ("within-day=7d", "unknown key 'within-day'", "did you mean within-daily?"),
        ("within-last=7d", "unknown key 'within-last'", "did you mean"),
        ("ALL", "unknown key 'ALL'", "did you mean all?"),
        ("zzz=7", "unknown key 'zzz'", "last, hourly"),
        ("all,daily=7", "all stands beside", "write all alone"),
        ("daily=7,all", "all stands beside", "write all alone"),
        ("all,within=1y", "all stands beside", "write all alone"),
        ("all=1", "all stands beside", "write all alone"),
        ("all,all", "all stands beside", "write all alone"),
        ("daily=7,daily=7", "daily stands there twice", "write daily once"),
        ("daily=7,within=1d,within=1d", "within stands there twice", "write within once"),
        ("daily=0", "daily='0'", "from 1 to 2147483647"),
        ("daily=-1", "daily='-1'", "from 1 to 2147483647"),
        ("daily=+7", "daily='+7'", "daily=7"),
        ("daily=07", "daily='07'", "daily=7"),
        ("daily=7.0", "daily='7.0'", "daily=7"),
        ("daily=7d", "daily='7d'", "daily=7"),
        ("daily=", "daily=''", "daily=7"),
        ("daily==7", "daily='=7'", "daily=7"),
        ("daily=1_0", "daily='1_0'", "daily=7"),
        ("daily=٧", "daily=", "daily=7"),
        ("daily=2147483648", "daily='2147483648'", "2147483647"),
        ("daily=99999999999999999999", "daily=", "2147483647"),
        ("within=1y", "within keeps nothing", "last=10"),
        ("within-daily=1y,within=2d", "within-daily keeps nothing", "last=10"),
        ("daily=7,within=30", "within='30'", "within=1y5m7d2h"),
        ("daily=7,within=1w", "within='1w'", "within=1y5m7d2h"),
        ("daily=7,within=", "within=''", "within=1y5m7d2h"),
        ("daily=7,within=-1d", "within='-1d'", "within=1y5m7d2h"),
        ("within=soon", "within='soon'", "within=1y5m7d2h"),
    ],
)
def test_what_is_unclear_is_refused(text: str, message: str, hint: str) -> None:
    """A wrong retention deletes data, so nothing is guessed."""
    with pytest.raises(SpecInvalid) as caught:
        parse_retention(text)
    assert (message in caught.value.message, hint in caught.value.hint) == (True, True), vars(
        caught.value
    )
