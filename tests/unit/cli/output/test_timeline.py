"""The runs to come: found for every plan, in the runner's zone, and shown for people."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.document import Document
from sidecar.cli.output.timeline import UpcomingRuns, read_upcoming, render_upcoming
from sidecar.reconciler.zones import Zone

BERLIN = Zone(ZoneInfo("Europe/Berlin"), "Europe/Berlin", "--timezone")


def agenda_of(
    schedules: dict[str, Any], hours: int = 24, start: tuple[int, ...] = (2026, 1, 10, 22, 30)
) -> UpcomingRuns:
    """Read the agenda of plans with these schedules, from `start` on in Berlin."""
    plans = [
        {"id": plan_id} if schedule is None else {"id": plan_id, "schedule": schedule}
        for plan_id, schedule in schedules.items()
    ]
    document = Document(json.dumps({"plans": plans}))
    year, month, day, hour, minute = start
    moment = datetime(year, month, day, hour, minute, tzinfo=BERLIN.zone)
    return read_upcoming(document.plans, "config.json", moment, hours, BERLIN)


def cron(text: str) -> dict[str, str]:
    """A schedule with a cron."""
    return {"cron": text, "clock": "CLOCK_LOCAL"}


def runs(upcoming: UpcomingRuns) -> list[tuple[str, str]]:
    """Tell plan and time, with its offset, of all runs."""
    return [(run.plan, run.time.isoformat(timespec="minutes")) for run in upcoming.runs]


def test_runs_of_all_plans_are_in_order_of_time() -> None:
    """Whoever made the plan; at the same time, by id."""
    found = agenda_of({"z": cron("0 2 * * *"), "own": cron("0 3 * * *"), "a": cron("0 2 * * *")})
    assert [
        ("a", "2026-01-11T02:00+01:00"),
        ("z", "2026-01-11T02:00+01:00"),
        ("own", "2026-01-11T03:00+01:00"),
    ] == runs(found)


def test_night_of_23_hours_skips_what_the_clocks_skip() -> None:
    """02:30 does not exist then; the look-ahead is in real hours."""
    found = agenda_of({"a": cron("30 2 * * *")}, start=(2026, 3, 28, 12, 0))
    assert [] == runs(found)
    assert "2026-03-29T13:00:00+02:00" == found.until.isoformat()
    assert ["2026-03-30T02:30:00+02:00"] == [one.next.isoformat() for one in found.idle if one.next]


def test_night_of_25_hours_runs_twice_in_the_repeated_hour() -> None:
    """As Backrest does; both are told apart by the zone's short name."""
    found = agenda_of({"a": cron("30 2 * * *")}, start=(2026, 10, 24, 12, 0))
    assert [("a", "2026-10-25T02:30+02:00"), ("a", "2026-10-25T02:30+01:00")] == runs(found)
    lines = render_upcoming(found, "timeline").splitlines()
    assert [
        "               02:00  ······1·····    1  #",
        "Sun 10-25 CET  02:00  ······1·····    1  #",
    ] == [line for line in lines if line.endswith("#")]


def test_idle_plans_say_why() -> None:
    """Disabled, without a schedule, unreadable, or simply later."""
    found = agenda_of(
        {
            "off": {"disabled": True},
            "none": None,
            "empty": {},
            "odd": cron("0 2 1 * 1 7"),
            "text": "daily",
            "late": cron("0 2 1 * *"),
        }
    )
    assert {
        "off": "its schedule is disabled",
        "none": "it has no schedule",
        "empty": "it has no schedule",
        "odd": "its schedule cannot be read here",
        "text": "its schedule cannot be read here",
        "late": "on day 1 of the month at 02:00",
    } == {one.plan: one.reason for one in found.idle}
    shown = render_upcoming(found, "table")
    assert "no run in these 24 hours:" in shown
    assert "  late: on day 1 of the month at 02:00, next Sun 2026-02-01 02:00 CET" in shown


def test_counting_schedule_is_marked_as_an_estimate() -> None:
    """When it ran last is not in the document."""
    found = agenda_of({"a": {"maxFrequencyHours": 10, "clock": "CLOCK_LAST_RUN_TIME"}})
    assert [("a", "2026-01-11T08:30+01:00"), ("a", "2026-01-11T18:30+01:00")] == runs(found)
    shown = render_upcoming(found, "table")
    assert (
        "~Sun 01-11 08:30 CET  a     2     ~Sun 01-11 18:30 CET  every 10 hours after the last run"
        in shown
    )
    assert "~ counts from the plan's last run" in shown


def test_timeline_shows_the_clump() -> None:
    """One row an hour, a mark for each five minutes, a bar, and who meets whom."""
    same = {f"p{number}": cron("5 2 * * *") for number in range(5)}
    lines = render_upcoming(agenda_of({**same, "x": cron("59 2 * * *")}), "timeline").splitlines()
    assert (
        "6 runs from Sat 2026-01-10 22:30 CET to Sun 2026-01-11 22:30 CET, "
        "time zone Europe/Berlin (--timezone)"
    ) == lines[0]
    assert "Sat 01-10 CET  22:00  ············" == lines[2]
    assert "               02:00  ·5·········1    6  ######" == lines[6]
    assert 25 == sum("·" in line for line in lines)
    assert (
        "most at once: 5 at Sun 02:05 CET, one after the other in Backrest: "
        "p0, p1, p2, p3 and 1 more"
    ) == lines[-1]


def test_run_in_the_first_hour_is_in_the_first_row() -> None:
    """Rows are full hours, also when the look-ahead starts within one."""
    lines = render_upcoming(agenda_of({"a": cron("45 22 * * *")}), "timeline").splitlines()
    assert "Sat 01-10 CET  22:00  ·········1··    1  #" == lines[2]


def test_ten_and_more_are_a_plus_and_bars_are_scaled() -> None:
    """Rows stay on the screen however many plans there are."""
    many = {f"p{number:03}": cron("0 2 * * *") for number in range(100)}
    many |= {"lone": cron("0 3 * * *")}
    lines = render_upcoming(agenda_of(many), "timeline").splitlines()
    assert f"               02:00  +···········  100  {'#' * 40}" == lines[6]
    assert "               03:00  1···········    1  #" == lines[7]


@pytest.mark.parametrize(("hours", "rows"), [(1, 2), (48, 49), (96, 49), (744, 32)])
def test_timeline_never_grows_beyond_a_screen(hours: int, rows: int) -> None:
    """A longer look-ahead has rows of more hours."""
    lines = render_upcoming(
        agenda_of({"a": cron("0 2 * * *")}, hours=hours), "timeline"
    ).splitlines()
    assert rows == sum(line.count("·") >= 11 for line in lines)


def test_nothing_to_run_is_shown_as_such() -> None:
    """No run at all is no failure."""
    shown = render_upcoming(agenda_of({"off": {"disabled": True}}), "all")
    assert shown.startswith("0 runs from")
    assert "most at once" not in shown
    assert "\n\n\n" not in shown


def test_all_is_timeline_and_table() -> None:
    """For people both stand below each other."""
    shown = render_upcoming(agenda_of({"a": cron("0 2 * * *")}), "all")
    assert "1 run from" in shown
    assert "02:00  1···········" in shown
    assert "Sun 01-11 02:00 CET  a     1            every day at 02:00" in shown


def test_fires_of_a_plan_are_one_row() -> None:
    """The first, how many there are, and the last, however often it runs."""
    schedules = {"often": cron("*/15 * * * *"), "daily": cron("0 2 * * *")}
    shown = render_upcoming(agenda_of(schedules), "table").splitlines()
    assert [
        "next run             plan   runs  until                schedule",
        "Sat 01-10 22:45 CET  often  96    Sun 01-11 22:30 CET  every 15 minutes",
        "Sun 01-11 02:00 CET  daily  1                          every day at 02:00",
    ] == shown[2:]
    assert 97 == len(json.loads(render_upcoming(agenda_of(schedules), "json"))["runs"])


def test_control_characters_of_ids_do_not_reach_the_terminal() -> None:
    """An id is text of others."""
    assert "\x1b" not in render_upcoming(agenda_of({"a\x1b[31m": cron("0 2 * * *")}), "all")


def test_json_has_runs_and_idle_plans() -> None:
    """One object, times with their offset."""
    found = agenda_of(
        {"a": cron("0 2 * * *"), "off": {"disabled": True}, "late": cron("0 2 1 * *")}
    )
    assert {
        "config": "config.json",
        "timezone": "Europe/Berlin",
        "timezone_source": "--timezone",
        "from": "2026-01-10T22:30:00+01:00",
        "until": "2026-01-11T22:30:00+01:00",
        "runs": [
            {
                "time": "2026-01-11T02:00:00+01:00",
                "plan": "a",
                "name": "a",
                "schedule": "every day at 02:00",
                "estimate": False,
            }
        ],
        "idle": [
            {
                "plan": "late",
                "name": "late",
                "reason": "on day 1 of the month at 02:00",
                "next": "2026-02-01T02:00:00+01:00",
            },
            {"plan": "off", "name": "off", "reason": "its schedule is disabled", "next": None},
        ],
    } == json.loads(render_upcoming(found, "json"))


def test_plans_are_shown_by_their_names() -> None:
    """Also those that do not run; the ids are there if asked for, and always in the JSON."""
    found = replace(
        agenda_of({"p_db": cron("0 2 * * *"), "p_web": cron("0 2 * * *"), "p_off": {}}),
        shown={"p_db": "media/db", "p_web": "media/web", "p_off": "media/off"},
    )
    shown, wide = (render_upcoming(found, "all", is_wide=is_wide) for is_wide in (False, True))

    assert "one after the other in Backrest: media/db, media/web" in shown
    assert ("  media/off: it has no schedule" in shown, "p_" in shown) == (True, False)
    assert ["media/db", "p_db"] == wide.splitlines()[-5].split()[4:6]
    rows = json.loads(render_upcoming(found, "json"))
    assert [("p_db", "media/db"), ("p_web", "media/web")] == [
        (row["plan"], row["name"]) for row in rows["runs"]
    ]
