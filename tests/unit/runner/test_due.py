"""What is due: one comparison, whatever the clock, the runner and the document have been through."""

from datetime import UTC, datetime
from itertools import islice

import pytest

from sidecar.backrest.cron import canonical_cron
from sidecar.backrest.reading import (
    CheckPolicy,
    Config,
    ForgetPolicy,
    PrunePolicy,
    Repo,
    RunPlan,
    Timing,
)
from sidecar.runner.due import (
    LONGEST_SLEEP,
    MOST_COUNTED,
    CatchUp,
    DueJob,
    DueList,
    InHand,
    Job,
    JobKind,
    Missed,
    Moments,
    Scheduler,
    timings,
)

DAY, HOUR = 86_400.0, 3_600.0
WEB = Job(JobKind.BACKUP, "web", "store")
DAILY = Timing("0 2 * * *")
FROM_LAST = Timing("0 2 * * *", from_last_run=True)
EACH_DAY = Timing(every_seconds=86_400)


def at(text: str) -> float:
    """Read a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


SEEN = at("2025-06-01 12:00")


def look(
    now: str,
    *,
    start: str = "",
    missed: str = "",
    timing: Timing = DAILY,
    catch_up: CatchUp = CatchUp.ONCE,
    up_since: str = "2025-06-01 12:00",
) -> DueList:
    """Look at one plan that is known since the first of June, noon."""
    known = Moments(SEEN, at(start) if start else None, at(missed) if missed else None)
    scheduler = Scheduler(UTC)
    return scheduler.find_due({WEB: timing}, {WEB: known}, at(now), at(up_since), catch_up)


def due(fire: str) -> tuple[DueJob, ...]:
    """The plan is due since a fire."""
    return (DueJob(WEB, at(fire)),)


def test_a_plan_first_seen_does_not_fire_for_the_past() -> None:
    """Its clock starts when it is first seen."""
    assert () == look("2025-06-01 12:00").due
    assert () == look("2025-06-02 01:59").due
    assert due("2025-06-02 02:00") == look("2025-06-02 02:00").due


def test_what_is_not_known_yet_is_not_due() -> None:
    """Its clock has to be started first."""
    found = Scheduler(UTC).find_due({WEB: DAILY}, {}, at("2025-06-09 12:00"), SEEN)
    assert ((), ()) == (found.due, found.missed)


def test_a_fire_is_answered_by_a_run_that_started_after_it() -> None:
    """However late it started, and however long it takes."""
    assert () == look("2025-06-03 01:00", start="2025-06-02 14:30").due
    assert due("2025-06-03 02:00") == look("2025-06-03 02:00", start="2025-06-02 14:30").due


def test_what_waits_or_runs_is_not_due_again() -> None:
    """And what else is due does not wait for it."""
    other = Job(JobKind.BACKUP, "db", "store")
    known = dict.fromkeys((WEB, other), Moments(SEEN))
    wanted = dict.fromkeys((WEB, other), DAILY)
    found = Scheduler(UTC).find_due(
        wanted, known, at("2025-06-02 03:00"), SEEN, in_hand=InHand({WEB})
    )
    assert [other] == [one.job for one in found.due]


def test_what_waits_longest_is_due_first() -> None:
    """Whatever the order in the document."""
    early, late = (Job(JobKind.BACKUP, name, "store") for name in ("early", "late"))
    wanted = {late: Timing("0 5 * * *"), early: DAILY}
    known = dict.fromkeys(wanted, Moments(SEEN))
    found = Scheduler(UTC).find_due(wanted, known, at("2025-06-02 08:00"), SEEN)
    assert [early, late] == [one.job for one in found.due]


def test_several_fires_are_answered_by_one_run() -> None:
    """The last by the run, those before it are missed."""
    found = look("2025-06-05 08:00")
    assert due("2025-06-05 02:00") == found.due
    assert (Missed(WEB, at("2025-06-02 02:00"), at("2025-06-04 02:00"), 3),) == found.missed


def test_what_is_recorded_as_missed_is_not_told_again() -> None:
    """Only what came after it is due."""
    found = look("2025-06-05 08:00", missed="2025-06-04 02:00")
    assert (due("2025-06-05 02:00"), ()) == (found.due, found.missed)


def test_skip_leaves_out_what_came_while_the_runner_was_down() -> None:
    """Then all of it is missed; what comes after the start is run."""
    skip = CatchUp.SKIP
    down = look("2025-06-05 08:00", catch_up=skip, up_since="2025-06-05 07:00")
    assert () == down.due
    assert (Missed(WEB, at("2025-06-02 02:00"), at("2025-06-05 02:00"), 4),) == down.missed
    up = look("2025-06-06 02:00", catch_up=skip, up_since="2025-06-05 07:00")
    assert due("2025-06-06 02:00") == up.due
    assert 4 == up.missed[0].count


def test_a_fire_at_the_very_start_of_the_runner_is_run() -> None:
    """Also with skip: at that moment the runner was there."""
    fire, skip = "2025-06-05 02:00", CatchUp.SKIP
    assert due(fire) == look("2025-06-05 08:00", catch_up=skip, up_since=fire).due
    late = look("2025-06-05 08:00", catch_up=skip, up_since="2025-06-05 02:00:01")
    assert () == late.due


def test_skip_does_not_concern_what_counts_from_the_last_run() -> None:
    """Backrest catches that up, too."""
    found = look(
        "2025-06-05 08:00", catch_up=CatchUp.SKIP, up_since="2025-06-05 07:00", timing=FROM_LAST
    )
    assert due("2025-06-05 02:00") == found.due


def test_a_pause_counts_from_the_start_of_the_last_run() -> None:
    """Without a run from when it was first seen, and it misses nothing."""
    assert () == look("2025-06-02 11:59", timing=EACH_DAY).due
    assert due("2025-06-02 12:00") == look("2025-06-02 12:30", timing=EACH_DAY).due
    assert () == look("2025-06-03 12:29", start="2025-06-02 12:30", timing=EACH_DAY).due
    late = look("2025-06-09 18:00", start="2025-06-02 12:30", timing=EACH_DAY)
    assert (due("2025-06-09 12:30"), ()) == (late.due, late.missed)


def test_a_clock_that_is_set_ahead_is_like_downtime() -> None:
    """One run, and the rest is missed."""
    found = look("2025-07-01 03:00", start="2025-06-02 02:00")
    assert (1, 28) == (len(found.due), found.missed[0].count)


def test_what_lies_ahead_is_believed_until_it_is_pulled_back() -> None:
    """A clock that is corrected by seconds runs nothing twice; see `Moments.pulled_back`."""
    assert () == look("2025-06-02 01:59:58", start="2025-06-02 02:00:01").due
    now = at("2025-06-05 08:00")
    known = Moments(at("2036-01-01 00:00"), at("2036-01-01 02:00"), at("2025-06-05 02:00"))
    back = known.pulled_back(now)
    assert Moments(now, now, at("2025-06-05 02:00")) == back
    scheduler = Scheduler(UTC)
    assert () == scheduler.find_due({WEB: DAILY}, {WEB: known}, now + 2 * DAY, now).due
    found = scheduler.find_due({WEB: DAILY}, {WEB: back}, now + 2 * DAY, now)
    assert (1, 1) == (len(found.due), found.missed[0].count)
    assert Moments(1.0) == Moments(1.0).pulled_back(now)


def test_the_next_look_is_at_the_next_fire_but_within_a_minute() -> None:
    """Clocks may be set while nobody looks."""
    assert at("2025-06-02 02:00") == look("2025-06-02 01:59:30").next_wake
    assert at("2025-06-01 13:00") + LONGEST_SLEEP == look("2025-06-01 13:00").next_wake


def test_a_run_that_waited_tells_what_it_does_not_answer() -> None:
    """It was due at two, and had to wait for its repository until the day after."""
    known = Moments(SEEN)
    scheduler, hourly = Scheduler(UTC), Timing("0 * * * *")
    now = at("2025-06-01 15:30")
    lost = scheduler.missed_while_waiting(WEB, hourly, known, now)
    assert Missed(WEB, at("2025-06-01 13:00"), at("2025-06-01 14:00"), 2) == lost
    assert scheduler.missed_while_waiting(WEB, hourly, known, at("2025-06-01 13:10")) is None
    assert scheduler.missed_while_waiting(WEB, EACH_DAY, known, now + 9 * DAY) is None


def test_a_downtime_of_years_is_not_counted_fire_by_fire() -> None:
    """Of very many only so many are counted, and the last one is still found."""
    found = look("2029-06-01 12:00:30", timing=Timing("* * * * *"))
    assert due("2029-06-01 12:00") == found.due
    assert MOST_COUNTED == found.missed[0].count


def test_the_last_of_just_too_many_is_the_last_that_was_counted() -> None:
    """There is none to be found after it."""
    now = SEEN + (MOST_COUNTED + 1) * 60
    found = Scheduler(UTC).find_due({WEB: Timing("* * * * *")}, {WEB: Moments(SEEN)}, now, now)
    assert (DueJob(WEB, now),) == found.due


@pytest.mark.parametrize(
    ("cron", "last"), [("* * 1 1 *", "2040-01-01 23:59"), ("* * 31 5 *", "2041-05-31 23:59")]
)
def test_the_last_of_very_many_is_found_also_where_it_is_long_ago(cron: str, last: str) -> None:
    """Those of a day that comes once a year."""
    start = at("2025-06-01 12:00")
    scheduler = Scheduler(UTC)
    now = at("2040-12-30 12:00") if cron == "* * 1 1 *" else at("2041-06-20 12:00")
    found = scheduler.find_due({WEB: Timing(cron)}, {WEB: Moments(start)}, now, now)
    assert (DueJob(WEB, at(last)),) == found.due


def test_a_cron_without_a_fire_is_never_due() -> None:
    """A document with one is refused, but a look must survive it."""
    found = look("2030-01-01 00:00", timing=Timing("0 0 31 2 *"))
    assert ((), ()) == (found.due, found.missed)
    assert Scheduler(UTC).longest_pause(Timing("0 0 31 2 *"), SEEN) is None


def test_next_fires_are_remembered_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at thousands of plans that wait must be cheap."""
    scheduler, asked = Scheduler(UTC), list[float]()
    real = scheduler.next_fires

    def counted(timing: Timing, after: float) -> object:
        asked.append(after)
        return real(timing, after)

    monkeypatch.setattr(scheduler, "next_fires", counted)
    moments = {WEB: Moments(SEEN)}
    for second in range(100):
        scheduler.find_due({WEB: DAILY}, moments, SEEN + second, SEEN)
    assert [SEEN] == asked
    scheduler.find_due({WEB: Timing("0 3 * * *")}, moments, SEEN, SEEN)
    scheduler.find_due({WEB: Timing("0 3 * * *")}, {WEB: Moments(SEEN, SEEN + 9)}, SEEN + 9, SEEN)
    assert [SEEN, SEEN, SEEN + 9] == asked


def test_a_look_at_what_waits_goes_through_no_job() -> None:
    """Of ten thousand plans that wait, only the one that is next is looked at."""

    class Counted(dict[Job, Moments]):
        looked = 0

        def get(self, *key: object) -> Moments | None:  # type: ignore[override]
            self.looked += 1
            return super().get(*key)  # type: ignore[call-overload,no-any-return]

    jobs = [Job(JobKind.BACKUP, f"plan{number}", "nas") for number in range(100)]
    wanted = dict.fromkeys(jobs, DAILY)
    moments = Counted(dict.fromkeys(jobs, Moments(SEEN)))
    scheduler = Scheduler(UTC)
    first = scheduler.find_due(wanted, moments, SEEN, SEEN)
    seen = moments.looked
    again = [scheduler.find_due(wanted, moments, SEEN, SEEN) for _ in range(50)]

    assert [first] * 50 == again
    assert seen == moments.looked


def test_a_job_that_goes_or_comes_changes_the_order() -> None:
    """The wake of the one that has gone is forgotten; equal fires are in the order of names."""
    early, late = Timing("1 12 * * *"), Timing("2 12 * * *")
    now = at("2025-06-01 12:00")
    first, second = (Job(JobKind.BACKUP, name, "nas") for name in ("b", "a"))
    moments = {first: Moments(now), second: Moments(now)}
    scheduler = Scheduler(UTC)
    both = scheduler.find_due({first: early, second: late}, moments, now, now)
    one = scheduler.find_due({second: early}, moments, now, now)
    none = scheduler.find_due({second: late}, {}, now, now)
    due = scheduler.find_due({first: late, second: late}, moments, now + 120, now)

    assert [now + 60, now + 60, now + LONGEST_SLEEP] == [
        both.next_wake,
        one.next_wake,
        none.next_wake,
    ]
    assert [second, first] == [found.job for found in due.due]


def test_all_that_the_document_wants_is_listed() -> None:
    """Backups of plans, and what is done for repositories; what is never due is left out."""
    store = Repo(
        "store",
        prune=PrunePolicy(Timing("0 4 * * *")),
        check=CheckPolicy(Timing()),
        forget=ForgetPolicy(EACH_DAY),
    )
    config = Config(
        "here", (store,), (RunPlan("web", "store", timing=DAILY), RunPlan("x", "store"))
    )
    assert {
        WEB: DAILY,
        Job(JobKind.FORGET, "store", "store"): EACH_DAY,
        Job(JobKind.PRUNE, "store", "store"): Timing("0 4 * * *"),
    } == timings(config)


def test_the_period_is_the_longest_pause_that_comes() -> None:
    """Over the weekend for what runs on working days."""
    scheduler = Scheduler(UTC)
    assert 3 * DAY == scheduler.longest_pause(Timing("0 2 * * MON-FRI"), SEEN)
    assert DAY == scheduler.longest_pause(DAILY, SEEN)
    assert 5 * HOUR == scheduler.longest_pause(Timing(every_seconds=5 * 3600), SEEN)


def test_the_next_fires_can_be_listed_for_people() -> None:
    """In order, so many."""
    scheduler = Scheduler(UTC)
    fires = list(islice(scheduler.next_fires(DAILY, SEEN), 2))
    assert [at("2025-06-02 02:00"), at("2025-06-03 02:00")] == fires
    assert SEEN + DAY == next(scheduler.next_fires(EACH_DAY, SEEN))


@pytest.mark.parametrize(
    ("cron", "plain"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("*/15 0-24 1-31 JAN-DEC 0-6", "0,15,30,45 * * * *"),
        ("60,5 3 007 * fri,MON", "5 3 7 * 1,5"),
        ("*5 * * * 5-7", "* * * * 5,6"),
        ("1\u00a02 3 4 5", "1 2 3 4 5"),
    ],
)
def test_backrests_dialect_is_written_so_that_every_cron_reads_the_same(
    cron: str, plain: str
) -> None:
    """Stars where all values are meant, else numbers; what never comes is left out."""
    assert plain == canonical_cron(cron)
