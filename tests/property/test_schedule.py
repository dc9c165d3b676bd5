"""Laws of the schedule and keep labels: jitter, totality, acceptance."""

import math
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cronsim import CronSim
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.backrest.plan import Retention, Schedule
from sidecar.labels.retention import parse_retention
from sidecar.lib.text import SpecInvalid
from sidecar.schedule.parse import is_portable_cron, parse_schedule

NOW = datetime(2025, 6, 15, 12, 30, tzinfo=UTC)
NUMBERED = [f"backrest_sidecar_project{number % 97}_service{number}" for number in range(10_000)]
# Field number, least value, greatest hashed value.
BOUNDS = [(0, 0, 59), (1, 0, 23), (2, 1, 28), (3, 1, 12), (4, 0, 6)]
# Four standard deviations: the ids are fixed, so this either holds for ever or never.
STRICT = 4.0

plan_ids = st.from_regex(r"[a-z0-9]([a-z0-9_]{0,60}[a-z0-9])?", fullmatch=True)
fragments = st.sampled_from(
    (
        *"T*/-,() 0127LW#?+=\n",
        *("30", "59", "MON", "jan", "every ", "h", "d", "off", "@daily", "T(3-5)", "T/6", "*/2"),
        *("TZ=UTC", "last", "daily", "within", "all", "=7", "=1y", ",weekly=4"),
    )
)
texts = st.text(max_size=40) | st.lists(fragments, max_size=14).map("".join)
fields = st.lists(
    st.text(alphabet="*T/-,()01234567MONSUJA", min_size=1, max_size=6), min_size=5, max_size=5
).map(" ".join)


def named_ids() -> list[str]:
    """Ten thousand plan ids as people might name them; the same on every run."""
    source = random.Random(20250615)  # noqa: S311 (a fixed choice, no secret)
    names = [
        "".join(source.choices("abcdefghijklmnopqrstuvwxyz0123456789_", k=k))
        for k in range(4, 24)
        for _ in range(500)
    ]
    return [f"backrest_sidecar_{name}" for name in names]


IDS = named_ids()


def hashed_field(number: int, text: str) -> str:
    """A schedule whose field `number` is `text` and that has a fire in any case."""
    words = ["0", "0", "1" if number == 3 else "*", "*", "*"]
    words[number] = text
    return " ".join(words)


def expand(number: int, text: str, plan_id: str) -> str:
    """What the field `number` is emitted as."""
    return parse_schedule(hashed_field(number, text), plan_id, NOW).cron.split()[number]


def critical(choices: int) -> float:
    """The chi-square value that even spread exceeds once in 30,000 times."""
    freedom = choices - 1
    share = 2 / (9 * freedom)
    return float(freedom * (1 - share + STRICT * math.sqrt(share)) ** 3)


def chi_square(values: list[int], low: int, choices: int) -> float:
    """How uneven the values are on `choices` numbers from `low` on; none lies outside."""
    expected = len(values) / choices
    counts = Counter(values)
    assert set(counts) <= set(range(low, low + choices))
    return sum((counts[low + i] - expected) ** 2 for i in range(choices)) / expected


@pytest.mark.parametrize(("number", "low", "high"), BOUNDS)
def test_a_bare_t_is_spread_over_its_field(number: int, low: int, high: int) -> None:
    """Ten thousand plans fall evenly on all values of the field."""
    values = [int(expand(number, "T", plan_id)) for plan_id in IDS]
    assert chi_square(values, low, high - low + 1) < critical(high - low + 1)


@pytest.mark.parametrize(("number", "low", "high"), BOUNDS)
def test_numbered_plans_do_not_clump(number: int, low: int, high: int) -> None:
    """Ids that differ in a running number alone leave no value with half as much again."""
    counts = Counter(expand(number, "T", plan_id) for plan_id in NUMBERED)
    assert max(counts.values()) < 1.5 * len(NUMBERED) / (high - low + 1)


@pytest.mark.parametrize(("number", "low", "high"), BOUNDS)
def test_a_ranged_t_is_spread_over_its_range(number: int, low: int, high: int) -> None:
    """Narrow, middling and odd ranges are all spread evenly."""
    for choices in sorted({2, 3, (high - low) // 2, high - low}):
        text = f"T({low + 1}-{low + choices})"
        values = [int(expand(number, text, plan_id)) for plan_id in IDS]
        assert chi_square(values, low + 1, choices) < critical(choices)


@pytest.mark.parametrize(("number", "low", "high"), BOUNDS)
def test_a_stepped_t_is_spread_over_its_offsets(number: int, low: int, high: int) -> None:
    """The offsets of a step are used evenly."""
    for step in sorted({2, 5, high - low + 1}):
        firsts = [expand(number, f"T/{step}", plan_id).split("-")[0] for plan_id in IDS]
        assert chi_square([int(first) for first in firsts], low, step) < critical(step)


@given(bounds=st.sampled_from(BOUNDS), plan_id=plan_ids, data=st.data())
def test_jitter_stays_in_range_and_never_changes(
    bounds: tuple[int, int, int], plan_id: str, data: st.DataObject
) -> None:
    """A hashed value is in its range, and the same on every pass."""
    number, low, high = bounds
    first = data.draw(st.integers(low, high))
    last = data.draw(st.integers(first, high))
    text = f"T({first}-{last})"
    value = int(expand(number, text, plan_id))
    assert first <= value <= last
    assert low <= int(expand(number, "T", plan_id)) <= high
    assert int(expand(number, text, plan_id)) == value


@given(bounds=st.sampled_from(BOUNDS), plan_id=plan_ids, data=st.data())
def test_a_stepped_t_begins_within_its_first_step(
    bounds: tuple[int, int, int], plan_id: str, data: st.DataObject
) -> None:
    """`T/n` is `k-MAX/n` with k among the first n values of the field."""
    number, low, high = bounds
    step = data.draw(st.integers(1, high - low + 1))
    first, rest = expand(number, f"T/{step}", plan_id).split("-")
    assert low <= int(first) < low + step
    assert rest == f"{high}/{step}"


def schedule_or_refusal(text: str, plan_id: str) -> Schedule | SpecInvalid:
    """The one or the other; any other exception fails the test."""
    try:
        return parse_schedule(text, plan_id, NOW)
    except SpecInvalid as error:
        return error


def retention_or_refusal(text: str) -> Retention | SpecInvalid:
    """The one or the other; any other exception fails the test."""
    try:
        return parse_retention(text)[0]
    except SpecInvalid as error:
        return error


@given(text=texts | fields, plan_id=plan_ids)
@settings(max_examples=500)
@example(text="0 0 * * \ud800", plan_id="a")
@example(text="1" * 5000 + " * * * *", plan_id="a")
@example(text="*/" + "9" * 5000 + " * * * *", plan_id="a")
@example(text="every " + "9" * 5000 + "h", plan_id="a")
@example(text="T,7/1 T(0-5),*/9 *,T * T", plan_id="a")
def test_any_text_is_parsed_or_refused(text: str, plan_id: str) -> None:
    """Whatever stands in the label, the only exception is the refusal with a hint."""
    parsed = schedule_or_refusal(text, plan_id)
    if isinstance(parsed, SpecInvalid):
        assert parsed.message
        assert parsed.hint
    elif parsed.cron:
        assert next(CronSim(parsed.cron, NOW)) > NOW
        assert is_portable_cron(parsed.cron)
        again = replace(parse_schedule(parsed.cron, "another", NOW), from_last_run=False)
        assert again == replace(parsed, from_last_run=False)


@given(text=texts)
@settings(max_examples=500)
@example(text="daily=" + "9" * 5000)
@example(text="daily=\ud800")
def test_any_keep_text_is_parsed_or_refused(text: str) -> None:
    """A keep label never yields an empty retention, and never another exception."""
    parsed = retention_or_refusal(text)
    assert parsed != Retention()
    if isinstance(parsed, SpecInvalid):
        assert parsed.message
        assert parsed.hint
