"""Schedule labels, line by line of the grammar, and schedules of the document."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.backrest.jsontext import Numeral
from sidecar.backrest.plan import Schedule
from sidecar.lib.text import SpecInvalid
from sidecar.schedule.parse import is_portable_cron, parse_schedule, schedule_of

NOW = datetime(2025, 6, 15, 12, 30, tzinfo=UTC)
WEB = "backrest_sidecar_web"


def cron_of(text: str, plan_id: str = WEB, now: datetime = NOW) -> str:
    """The cron that the text is emitted as."""
    return parse_schedule(text, plan_id, now).cron


def refusal(text: str, now: datetime = NOW) -> SpecInvalid:
    """What refuses the text."""
    with pytest.raises(SpecInvalid) as caught:
        parse_schedule(text, WEB, now)
    return caught.value


@pytest.mark.parametrize(
    ("macro", "expected"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_a_macro_is_written_out(macro: str, expected: str) -> None:
    """Backrest knows no macros, so they become five fields."""
    assert cron_of(macro) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every 5h", Schedule(every_hours=5)),
        ("every 48h", Schedule(every_hours=48)),
        ("  every\t36h ", Schedule(every_hours=36)),
        ("every 2d", Schedule(every_days=2)),
        ("every 2562047h", Schedule(every_hours=2562047)),
        ("every 106751d", Schedule(every_days=106751)),
        ("off", Schedule()),
        (" off\n", Schedule()),
    ],
)
def test_a_schedule_without_cron(text: str, expected: Schedule) -> None:
    """A pause counts hours or days; off is the disabled schedule."""
    assert parse_schedule(text, WEB, NOW) == expected


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("every 1h", "T T/1 * * *"),
        ("every 6h", "T T/6 * * *"),
        ("every 12h", "T T/12 * * *"),
        ("every 24h", "T T * * *"),
        ("every 1d", "T T * * *"),
        ("every 7d", "T T * * T"),
    ],
)
def test_a_pause_that_fits_into_a_day_or_is_a_week_is_a_cron(text: str, hashed: str) -> None:
    """It counts from the last run all the same, so that a missed fire is made up for."""
    expected = Schedule(cron=cron_of(hashed), from_last_run=True)
    assert parse_schedule(text, WEB, NOW) == expected
    assert expected.to_json()["clock"] == "CLOCK_LAST_RUN_TIME"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  0\t2 *  * * ", "0 2 * * *"),
        ("*/5 0-23/2 1,15 JAN-mar *", "*/5 0-23/2 1,15 JAN-mar *"),
        ("05 007 * * *", "05 007 * * *"),
        ("5/15 * * * *", "5/15 * * * *"),
        ("*/60 * * * *", "*/60 * * * *"),
        ("*,5 2 * * *", "*,5 2 * * *"),
        ("5-5 2 * * *", "5-5 2 * * *"),
        ("59-59/60 2 * * *", "59-59/60 2 * * *"),
        ("0 0 1 JAN/2 *", "0 0 1 JAN/2 *"),
        ("0 0 * * 0/2", "0 0 * * 0/2"),
        ("0 0 * * SUN/7", "0 0 * * SUN/7"),
        ("0 0 * * TUE/2", "0 0 * * TUE/2"),
        ("0 0 * * mon-FRI/2", "0 0 * * mon-FRI/2"),
        ("0 0 * * Thu,Sat", "0 0 * * Thu,Sat"),
        ("0 0 * * */2", "0 0 * * */2"),
        ("0 0 */2 * MON", "0 0 */2 * MON"),
        ("0 0 1-7 * */7", "0 0 1-7 * */7"),
        ("0 0 *,5 * 1", "0 0 *,5 * 1"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 31 * *", "0 0 31 * *"),
    ],
)
def test_plain_cron_is_emitted_as_written(text: str, expected: str) -> None:
    """What both schedulers read alike passes with single spaces between the fields."""
    assert cron_of(text) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [("7", "0"), ("07", "0"), ("1,7", "1,0"), ("7,7", "0,0"), ("7,T", "0,4"), ("17", "")],
)
def test_a_lone_or_listed_weekday_7_becomes_0(field: str, expected: str) -> None:
    """Sunday is 0 to Backrest; 17 is no weekday at all."""
    text = f"0 0 * * {field}"
    if expected:
        assert cron_of(text) == f"0 0 * * {expected}"
    else:
        assert "17" in refusal(text).message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        # both day fields restricted
        ("0 0 1 * 1", "both restricted", "write * in one"),
        ("0 0 1-31 * 0-6", "both restricted", "write * in one"),
        ("0 0 5,* * MON", "both restricted", "write * in one"),
        ("0 0 T * T", "both restricted", "write * in one"),
        # steps
        ("*/0 * * * *", "step of 0", "1 or more"),
        ("5/00 * * * *", "step of 00", "1 or more"),
        ("*/-1 * * * *", "'*/-1'", "1 or more"),
        ("*/ * * * *", "'*/'", "1 or more"),
        ("T/0 * * * *", "step of 0", "1 or more"),
        ("T/61 * * * *", "T/61", "up to 60"),
        ("0 T/25 * * *", "T/25", "up to 24"),
        ("0 0 T/29 * *", "T/29", "up to 28"),
        ("0 0 1 T/13 *", "T/13", "up to 12"),
        ("0 0 * * T/8", "T/8", "up to 7"),
        # read differently
        ("0 0 * * MON/2", "'MON/2' means different", "MON-6/2"),
        ("0 0 * * 1/3", "'1/3' means different", "1-6/3"),
        ("0 0 * * 0-0/2", "'0-0/2' means different", "0-6/2"),
        ("5-5/10 * * * *", "'5-5/10' means different", "one by one"),
        ("0 0 28-28/1 * *", "'28-28/1' means different", "one by one"),
        # foreign spellings
        ("*5 * * * *", "'*5'", "* or */n"),
        ("5* * * * *", "'5*'", "* or */n"),
        ("** * * * *", "'**'", "* or */n"),
        ("+5 * * * *", "'+5'", "without a sign"),
        ("-5 * * * *", "'-5'", "a value from 0 to 59"),
        ("0 0 ? * *", "'?'", "* instead of ?"),
        ("0 0 L * *", "'L'", "as 28"),
        ("0 0 LW * *", "'LW'", "as 28"),
        ("0 0 L-3 * *", "'L-3'", "as 28"),
        ("0 0 15W * *", "'15W'", "as 28"),
        ("0 0 * * 5L", "'5L'", "weekday"),
        ("0 0 * * FRIL", "'FRIL'", "weekday"),
        ("0 0 * * 5#2", "'5#2'", "one weekday"),
        ("TZ=UTC 0 2 * * *", "6 fields", "TZ="),
        ("CRON_TZ=Europe/Paris 0 2 * * *", "6 fields", "TZ="),
        # values out of range
        ("60 * * * *", "minute '60' is out of range", "0 to 59"),
        ("0 24 * * *", "hour '24'", "0 to 23"),
        ("0 0-24 * * *", "hour '24'", "0 to 23"),
        ("0 0 0 * *", "day-of-month '0'", "1 to 31"),
        ("0 0 32 * *", "day-of-month '32'", "1 to 31"),
        ("0 0 1 0 *", "month '0'", "1 to 12 or JAN to DEC"),
        ("0 0 1 13 *", "month '13'", "1 to 12"),
        ("0 0 * * 8", "day-of-week '8'", "0 to 6 or SUN to SAT"),
        ("0 0 * * JAN", "day-of-week 'JAN'", "SUN to SAT"),
        ("0 MON * * *", "hour 'MON'", "0 to 23"),
        ("0 0 MON * *", "day-of-month 'MON'", "1 to 31"),
        ("0 0 1 JULY *", "month 'JULY'", "JAN to DEC"),
        ("1234567890 * * * *", "'1234567890'", "0 to 59"),
        ("٣ * * * *", "minute", "0 to 59"),
        # ranges
        ("0 22-2 * * *", "'22-2' runs backwards", "22-23,0-2"),
        ("0 0 * * FRI-SUN", "'FRI-SUN' runs backwards", "FRI-6,0-SUN"),
        ("0 0 * * 5-7", "7 stands in a range", "5-6,0"),
        ("0 0 * * 0-7", "7 stands in a range", "5-6,0"),
        ("0 0 * * 7-7", "7 stands in a range", "5-6,0"),
        ("0 0 * * 7/2", "7 stands in a range", "5-6,0"),
        ("1-2-3 * * * *", "'1-2-3'", "a range a-b"),
        ("1/2/3 * * * *", "'1/2/3'", "a range a-b"),
        ("1,,2 * * * *", "''", "a range a-b"),
        ("1, * * * *", "''", "a range a-b"),
        # jitter
        ("t * * * *", "'t'", "upper case T"),
        ("H * * * *", "'H'", "upper case T"),
        ("T(3-5)/2 * * * *", "'T(3-5)/2' is not supported", "without a step"),
        ("T() * * * *", "'T()'", "T(0-59)"),
        ("T(5) * * * *", "'T(5)'", "T(0-59)"),
        ("T(5-3) * * * *", "'5-3' runs backwards", "smaller first"),
        ("T(0-60) * * * *", "minute '60'", "0 to 59"),
        ("0 0 T(0-5) * *", "day-of-month '0'", "1 to 31"),
        ("0 0 T(1-32) * *", "day-of-month '32'", "1 to 31"),
        ("0 0 * * T(0-7)", "7 stands", "5-6,0"),
        ("T5 * * * *", "'T5'", "T(a-b) or T/n"),
        ("T-5 * * * *", "'T-5'", "T(a-b) or T/n"),
        ("5-T * * * *", "'5-T'", "a range a-b"),
        ("TT * * * *", "'TT'", "T(a-b) or T/n"),
        ("T/ * * * *", "'T/'", "T(a-b) or T/n"),
        # field counts and words
        ("", "0 fields", "five fields"),
        ("* * * *", "4 fields", "five fields"),
        ("0 0 2 * * *", "6 fields", "seconds"),
        ("0 0 2 * * * 2030", "7 fields", "five fields"),
        ("OFF", "1 field,", '"off"'),
        ("false", "1 field,", '"off"'),
        ("@Daily", "no known macro", "did you mean @daily?"),
        ("@weekl", "no known macro", "did you mean @weekly?"),
        ("@reboot", "no known macro", "@hourly @daily"),
        ("@T", "no known macro", "@hourly"),
        ("@every 6h", "no known macro", "every 6h"),
        # pauses
        ("every", "not understood", "every 6h"),
        ("every 0h", "not understood", "from 1 on"),
        ("every 06h", "not understood", "every 6h"),
        ("every +6h", "not understood", "every 6h"),
        ("every 6 h", "not understood", "every 6h"),
        ("every 6H", "not understood", "every 6h"),
        ("every 5m", "not understood", "every 6h"),
        ("every Th", "not understood", "every 6h"),
        ("every ٣h", "not understood", "every 6h"),
        ("every 2562048h", "too long", "every 2562047h"),
        ("every 106752d", "too long", "every 106751d"),
        ("every 2147483648h", "too long", "or off"),
        # steps
        ("*/90 * * * *", "beyond the field", "every 2h"),
        ("*/120 * * * *", "beyond the field", "write every 2h"),
        ("0 0-20/36 * * *", "beyond the field", "every 36h"),
        ("0 0 1,*/45 * *", "beyond the field", "every 45d"),
        ("0 0 1 */13 *", "beyond the field", "at most 12"),
        ("0 0 * * */8", "beyond the field", "at most 7"),
        # other words
        ("daily", "1 field,", "write @daily"),
        ("nightly", "1 field,", "write @daily"),
        ("24h", "1 field,", "write every 24h"),
        ("every 12 hours", "not understood", "write every 12h"),
        ("120 minutes", "2 fields", "write every 2h"),
        ("14 days", "2 fields", "write every 14d"),
        ("2 weeks", "2 fields", "write every 14d"),
        ("every day", "not understood", "write every 1d"),
        ("02:00", "1 field,", "write 0 2 * * *"),
        ("at 3:05 pm", "3 fields", "write 5 15 * * *"),
        ("12am", "1 field,", "write 0 0 * * *"),
        ("13pm", "1 field,", "five fields"),
        ("25:00", "1 field,", "five fields"),
        ("3", "1 field,", "five fields"),
        # never
        ("0 0 31 2 *", "within four years", "a day that the month has"),
        ("0 0 30 2 *", "within four years", "a day that the month has"),
        ("0 0 29 2 */7", "within four years", "a day that the month has"),
    ],
)
def test_what_the_schedulers_do_not_share_is_refused(text: str, message: str, hint: str) -> None:
    """A refusal names what is wrong and what to write instead."""
    error = refusal(text)
    assert (message in error.message, hint in error.hint) == (True, True), vars(error)


@pytest.mark.parametrize(
    ("now", "accepted"),
    [
        (datetime(2096, 2, 28, tzinfo=UTC), True),
        (datetime(2096, 2, 29, 1, tzinfo=UTC), True),
        (datetime(2096, 2, 29, 3, tzinfo=UTC), False),
        (datetime(2096, 3, 1, tzinfo=UTC), False),
        (datetime(2100, 2, 28, 1, tzinfo=UTC), False),
        (datetime(2100, 3, 1, 3, tzinfo=UTC), True),
    ],
)
def test_four_years_are_counted_from_the_given_now(now: datetime, accepted: bool) -> None:
    """2100 has no 29 February: between 2096 and 2104 that day is too far off."""
    if accepted:
        assert cron_of("0 2 29 2 *", now=now) == "0 2 29 2 *"
    else:
        assert "four years" in refusal("0 2 29 2 *", now).message


def test_a_long_value_is_cut_in_the_message() -> None:
    """A message stays readable whatever stands in the label."""
    assert len(refusal("x" * 5000).message) < 120


def test_control_characters_are_escaped_in_the_message() -> None:
    """A label cannot steer the terminal that shows its problem."""
    assert "\x1b" not in refusal("\x1b[2J * * * *").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * * *", True),
        ("0 0 1-7 * MON", True),
        ("0 0 * * 7", False),
        ("0 0 * * 1,7", False),
        ("T 2 * * *", False),
        ("@daily", False),
        ("0 0-24 * * *", False),
        ("", False),
    ],
)
def test_a_foreign_cron_is_told_apart(text: str, expected: bool) -> None:
    """In a document AND-joined day fields are fine, our own shorthands are not."""
    assert is_portable_cron(text) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, Schedule()),
        ({"clock": "CLOCK_LOCAL"}, Schedule()),
        ({"disabled": True}, Schedule()),
        ({"cron": None}, Schedule()),
        ({"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}, Schedule(cron="0 2 * * *")),
        ({"cron": "0 0 1-7 * MON"}, Schedule(cron="0 0 1-7 * MON")),
        ({"maxFrequencyHours": Numeral("6")}, Schedule(every_hours=6)),
        ({"maxFrequencyHours": Numeral("6.0")}, Schedule(every_hours=6)),
        ({"maxFrequencyDays": "2"}, Schedule(every_days=2)),
        ({"maxFrequencyDays": Numeral("1e1")}, Schedule(every_days=10)),
        ({"maxFrequencyDays": 3, "cron": None}, Schedule(every_days=3)),
        ({"disabled": False}, None),
        ({"cron": ""}, None),
        ({"cron": 5}, None),
        ({"cron": "0 0-24 * * *"}, None),
        ({"cron": "0 2 * * *", "maxFrequencyHours": Numeral("6")}, None),
        ({"maxFrequencyHours": Numeral("6"), "maxFrequencyDays": Numeral("6")}, None),
        ({"maxFrequencyHours": Numeral("0")}, None),
        ({"maxFrequencyHours": Numeral("-1")}, None),
        ({"maxFrequencyHours": Numeral("3.5")}, None),
        ({"maxFrequencyHours": Numeral("2147483648")}, None),
        ({"maxFrequencyHours": Numeral("1e999")}, None),
        ({"maxFrequencyHours": True}, None),
        ({"maxFrequencyHours": {}}, None),
    ],
)
def test_a_schedule_of_the_document_is_read(
    raw: Mapping[str, Any], expected: Schedule | None
) -> None:
    """Both spellings and every spelling of a number are read; the rest is unknown."""
    assert schedule_of(raw) == expected
