"""Schedules and retentions in plain words."""

import pytest

from sidecar.backrest.plan import Retention, Schedule
from sidecar.schedule.describe import describe_retention, describe_schedule


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule(), "never"),
        (Schedule(every_hours=1), "every hour after the last run"),
        (Schedule(every_hours=6), "every 6 hours after the last run"),
        (Schedule(every_days=1), "every day after the last run"),
        (Schedule(every_days=2), "every 2 days after the last run"),
        (Schedule(cron="9 2 * * *"), "every day at 02:09"),
        (Schedule(cron="0 14,2 * * *"), "every day at 02:00 and 14:00"),
        (Schedule(cron="0 * * * *"), "every hour"),
        (Schedule(cron="9 * * * *"), "every hour at minute 9"),
        (Schedule(cron="0 */6 * * *"), "every 6 hours"),
        (Schedule(cron="9 */6 * * 1"), "every 6 hours at minute 9, Mondays"),
        (Schedule(cron="* * * * *"), "every minute"),
        (Schedule(cron="*/15 * * * *"), "every 15 minutes"),
        (Schedule(cron="8-59/30 * * * *"), "every 30 minutes from minute 8"),
        (Schedule(cron="0-59/30 * * * *"), "every 30 minutes"),
        (Schedule(cron="9 5-23/6 * * *"), "every 6 hours from 05:09"),
        (Schedule(cron="9 6-23/6 * * *"), 'cron "9 6-23/6 * * *"'),
        (Schedule(cron="9 0-12/6 * * *"), 'cron "9 0-12/6 * * *"'),
        (Schedule(cron="*/7 * * * *"), 'cron "*/7 * * * *"'),
        (Schedule(cron="0 */5 * * *"), 'cron "0 */5 * * *"'),
        (Schedule(cron="0 2-4 * * *"), 'cron "0 2-4 * * *"'),
        (Schedule(cron="0,30 2 * * *"), 'cron "0,30 2 * * *"'),
        (Schedule(cron="10 3 * * 1"), "Mondays at 03:10"),
        (Schedule(cron="10 3 * * mon-FRI"), "Mondays to Fridays at 03:10"),
        (Schedule(cron="10 3 * * 0,3,SAT"), "Sundays, Wednesdays and Saturdays at 03:10"),
        (Schedule(cron="10 3 * * */2"), 'cron "10 3 * * */2"'),
        (Schedule(cron="0 3 1 * *"), "on day 1 of the month at 03:00"),
        (Schedule(cron="0 3 1,15 * *"), "on days 1 and 15 of the month at 03:00"),
        (Schedule(cron="0 3 1-7 * *"), 'cron "0 3 1-7 * *"'),
        (Schedule(cron="0 3 1-7 * 1"), 'cron "0 3 1-7 * 1"'),
        (Schedule(cron="0 0 1 1 *"), "every 1 January at 00:00"),
        (Schedule(cron="0 0 1 JAN *"), 'cron "0 0 1 JAN *"'),
        (Schedule(cron="0 0 * * 7"), 'cron "0 0 * * 7"'),
        (Schedule(cron="nonsense"), 'cron "nonsense"'),
    ],
)
def test_a_schedule_in_words(schedule: Schedule, words: str) -> None:
    """Usual schedules read as a person would say them, others as cron."""
    assert describe_schedule(schedule) == words


@pytest.mark.parametrize(
    ("retention", "words"),
    [
        (Retention(keep_all=True), "all snapshots"),
        (Retention(daily=7, weekly=4), "7 daily, 4 weekly"),
        (Retention(last=3), "the last 3"),
        (
            Retention(last=1, hourly=2, monthly=3, yearly=4),
            "the last 1, 2 hourly, 3 monthly, 4 yearly",
        ),
    ],
)
def test_a_retention_in_words(retention: Retention, words: str) -> None:
    """Counts are listed from the shortest bucket to the longest."""
    assert describe_retention(retention) == words
