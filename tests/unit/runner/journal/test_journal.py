"""The journal: what it keeps, what it never loses, and what becomes of a file that is no good."""

import contextlib
import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.engines.base import FailureClass, Stats
from sidecar.lib.process import Child
from sidecar.runner.due import Job, JobKind, Missed, Moments, Retry
from sidecar.runner.journal import (
    Device,
    Ended,
    Journal,
    JournalError,
    MissedFires,
    Past,
    Phase,
    Posted,
    Run,
    RunCause,
    RunOutcome,
    Stopped,
    Verified,
)
from sidecar.runner.journal.schema import MIGRATIONS, open_file

WEB = Job(JobKind.BACKUP, "web", "nas")
DB = Job(JobKind.BACKUP, "db", "nas")
PRUNE = Job(JobKind.PRUNE, "nas", "nas")
GOOD = Ended(RunOutcome.SUCCESS, 20.0, "5f3a", Stats(files_new=3, bytes_added=512, seconds=1.5))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies: in a folder that is yet to be made."""
    return tmp_path / ".runner" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """An empty journal."""
    with Journal(path, now=lambda: 1000.0) as opened:
        yield opened


def begin(journal: Journal, job: Job = WEB, at: float = 10.0) -> int:
    """Begin a run by its schedule."""
    return journal.runs.begin(job, RunCause.SCHEDULE, at, "what to do")


@contextlib.contextmanager
def refusing(journal: Journal) -> Iterator[None]:
    """Let nothing be written, as on a disk that went read-only."""
    journal._database._connection.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.ProgrammingError):
            journal._database._connection.execute("PRAGMA query_only = OFF")


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the names of the events that were logged."""
    return [record.getMessage() for record in caplog.records]


def test_only_its_owner_can_read_it(journal: Journal, path: Path) -> None:
    """There are secrets in what a run leaves to be done."""
    begin(journal)

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"], 0o600
    )


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    """Whoever made it so."""
    path.parent.mkdir()
    path.touch(0o644)

    Journal(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_committed_is_on_the_disk(journal: Journal) -> None:
    """A power failure must not take an intent back."""
    settings = ("journal_mode", "synchronous")

    found = [
        journal._database._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in settings
    ]

    assert found == ["wal", 2]


def test_a_run_goes_through_its_life(journal: Journal, path: Path) -> None:
    """Begun, working, ended: another process sees each step."""
    with Journal(path) as other:
        number = begin(journal)
        journal.runs.phase(number, Phase.WORKING)
        journal.runs.child(number, Child(4711, 99))
        journal.runs.phase(number, Phase.ENDING, "5f3a")

        [open_run] = other.runs.unfinished()
        assert open_run.run == Run(number, WEB, RunCause.SCHEDULE, 10.0, Phase.ENDING)
        assert (open_run.resume, open_run.child) == ("what to do", Child(4711, 99))
        assert open_run.snapshot == "5f3a"

        journal.runs.end(number, GOOD)

        assert other.runs.unfinished() == ()
        assert other.runs.list() == (Run(number, WEB, RunCause.SCHEDULE, 10.0, Phase.ENDING, GOOD),)


def test_all_of_an_end_comes_back(journal: Journal) -> None:
    """Also the class and the words of a failure."""
    bad = Ended(
        RunOutcome.FAILED, 30.0, failure=FailureClass.DISK_FULL, reason="no space", excerpt="a\nb"
    )
    journal.runs.end(begin(journal), bad)

    assert journal.runs.last(WEB) == Run(1, WEB, RunCause.SCHEDULE, 10.0, ended=bad)


def test_a_run_ends_once(journal: Journal) -> None:
    """The first word about its outcome is the last."""
    number = begin(journal)
    journal.runs.end(number, GOOD)
    journal.runs.end(number, Ended(RunOutcome.INTERRUPTED, 99.0))

    assert [run.ended for run in journal.runs.list()] == [GOOD]


def test_who_performs_a_run_knows_better_than_who_took_it_for_dead(
    journal: Journal, path: Path
) -> None:
    """A daemon that starts beside a verification finds a run without an end."""
    verify = Job(JobKind.VERIFY, "web", "nas")
    dead = Ended(RunOutcome.INTERRUPTED, 15.0)
    runs = [begin(journal, verify), begin(journal, verify)]
    journal.runs.end(runs[0], GOOD)
    with Journal(path) as daemon:
        [found] = daemon.runs.unfinished()
        daemon.runs.end(found.run.id, dead)
        journal.runs.end(runs[1], GOOD)

        assert [GOOD, GOOD] == [run.ended for run in journal.runs.list()]
        known = daemon.past.history().past[verify]
        assert (RunOutcome.SUCCESS, 20.0) == (known.last_outcome, known.last_end)


def test_what_a_run_left_to_do_is_gone_when_it_has_ended(journal: Journal, path: Path) -> None:
    """A secret is kept no longer than it is needed."""
    number = journal.runs.begin(WEB, RunCause.MANUAL, 10.0, "T0P-S3CRET")
    journal.runs.end(number, GOOD)
    journal.close()

    assert b"T0P-S3CRET" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_halves_of_characters_and_endless_output_can_be_recorded(journal: Journal) -> None:
    """Programs say what they like."""
    said = Ended(RunOutcome.FAILED, 20.0, reason="\udcff name", excerpt="x" * 100_000 + "end")
    journal.runs.end(begin(journal), said)

    [run] = journal.runs.list()
    assert run.ended is not None
    assert run.ended.reason == "? name"
    assert (len(run.ended.excerpt), run.ended.excerpt[-3:]) == (8000, "end")


def test_runs_are_listed_newest_first_and_by_subject(journal: Journal) -> None:
    """And no more than were asked for."""
    for at, job in enumerate((WEB, DB, WEB, PRUNE)):
        begin(journal, job, float(at))

    assert [run.id for run in journal.runs.list()] == [4, 3, 2, 1]
    assert [run.id for run in journal.runs.list("web")] == [3, 1]
    assert [run.id for run in journal.runs.list(limit=2)] == [4, 3]


def test_the_last_run_of_an_outcome_is_found(journal: Journal) -> None:
    """So that one can tell since when something fails."""
    for outcome in (RunOutcome.SUCCESS, RunOutcome.FAILED, RunOutcome.CANCELLED):
        journal.runs.end(begin(journal), Ended(outcome, 20.0))

    good, bad = journal.runs.last(WEB, [RunOutcome.SUCCESS]), journal.runs.last(WEB)
    assert [run and run.id for run in (good, bad)] == [1, 3]
    assert journal.runs.last(WEB, [RunOutcome.SKIPPED]) is None


def test_no_more_runs_are_kept_than_asked_for(path: Path) -> None:
    """Of each plan; those that have no end, and what is known of the past, stay."""
    with Journal(path, keep=2) as journal:
        stuck = begin(journal)
        journal.runs.end(begin(journal, DB), GOOD)
        journal.runs.end(begin(journal), GOOD)
        for at in range(30, 35):
            journal.runs.end(begin(journal), Ended(RunOutcome.FAILED, float(at)))

        assert [run.id for run in journal.runs.list("web")] == [8, 7, stuck]
        assert [run.id for run in journal.runs.list("db")] == [2]
        assert journal.past.history().past[WEB].last_success == GOOD.at


def test_the_past_decides_when_something_is_due(journal: Journal) -> None:
    """First seen, last begun, last missed, and how that ended."""
    journal.past.first_seen([WEB, DB], 1.0)
    journal.past.first_seen([WEB], 5.0)
    journal.past.missed(Missed(WEB, 2.0, 4.0, 3), 9.0)
    journal.runs.end(begin(journal), GOOD)
    journal.runs.end(begin(journal, at=30.0), Ended(RunOutcome.FAILED, 40.0))

    history = journal.past.history()
    assert history.past[WEB] == Past(1.0, 30.0, 4.0, 40.0, RunOutcome.FAILED, GOOD.at)
    assert history.moments == {WEB: Moments(1.0, 30.0, 4.0), DB: Moments(1.0)}


def test_what_is_tried_again_survives_a_restart(path: Path) -> None:
    """Planned with the end of a run, kept while it is tried, and over with the next end."""
    answers, planned = Retry(10.0, None, 1, 2), Retry(10.0, 900.0, 2, 2)
    with Journal(path) as journal:
        run = journal.runs.begin(WEB, RunCause.RETRY, 20.0, "", answers)
        assert journal.past.history().retries == {}
    with Journal(path) as journal:
        assert journal.past.history().past[WEB].retry == answers
        journal.runs.unfinished()
        journal.runs.end(run, Ended(RunOutcome.FAILED, 30.0), planned)
        assert journal.past.history().retries == {WEB: planned}
    with Journal(path) as journal:
        assert journal.past.history().retries == {WEB: planned}
        journal.runs.end(begin(journal, at=40.0), GOOD)
        assert journal.past.history().retries == {}


def test_what_is_tried_again_can_be_given_up(journal: Journal) -> None:
    """By whoever does not want it, and with the fires that no run answers."""
    planned = Retry(10.0, 900.0, 1)
    journal.runs.end(begin(journal), Ended(RunOutcome.FAILED, 30.0), planned)
    journal.past.missed(Missed(WEB, 5.0, 9.0, 2), 30.0)
    assert journal.past.history().retries == {WEB: planned}
    journal.past.missed(Missed(WEB, 10.0, 10.0, 1), 31.0)
    assert journal.past.history().retries == {}
    journal.runs.end(begin(journal), Ended(RunOutcome.FAILED, 40.0), planned)
    journal.past.give_up(WEB, 41.0)
    assert journal.past.history().retries == {}


def test_a_retry_that_is_told_as_missed_hides_no_later_fire(journal: Journal) -> None:
    """What was missed last stays the last."""
    journal.past.missed(Missed(WEB, 20.0, 50.0, 3), 60.0)
    journal.past.missed(Missed(WEB, 10.0, 10.0, 1), 60.0)
    assert journal.past.history().past[WEB].last_missed == 50.0


def test_a_retry_beyond_the_clock_is_pulled_back(journal: Journal) -> None:
    """It was planned while the clock was ahead; an hour is the longest wait."""
    now, day, hour = 1_780_000_000.0, 86_400.0, 3_600.0
    journal.runs.end(
        begin(journal, at=now), Ended(RunOutcome.FAILED, now), Retry(now, now + hour, 3)
    )
    assert journal.past.pull_back(now) == ()
    assert journal.past.pull_back(now - day) == (WEB,)
    assert journal.past.history().retries == {WEB: Retry(now - day, now - day + hour, 3)}


def test_the_past_survives_a_restart(path: Path) -> None:
    """As do missed fires."""
    with Journal(path) as journal:
        journal.past.missed(Missed(WEB, 2.0, 4.0, 3), 9.0)
        journal.runs.end(begin(journal), GOOD)
        expected = journal.past.history()

    with Journal(path) as journal:
        assert journal.past.history() == expected
        assert journal.past.missed_fires() == (MissedFires(WEB, 2.0, 4.0, 3, 9.0),)
        assert journal.past.missed_fires("db") == ()


def test_the_past_that_another_process_writes_is_seen(journal: Journal, path: Path) -> None:
    """A backup by hand moves the schedule of the daemon."""
    journal.past.history()
    with Journal(path) as other:
        other.runs.end(begin(other), GOOD)

    assert journal.past.history().past[WEB].last_success == GOOD.at


def test_the_past_is_not_read_again_without_need(journal: Journal) -> None:
    """Thousands of plans are looked up each minute."""
    begin(journal)

    assert journal.past.history() is journal.past.history()


def test_a_run_changes_nothing_that_was_known_of_other_jobs(journal: Journal) -> None:
    """What was given out stays as it was, and what it shares with the next is the same object."""
    journal.past.first_seen([WEB, DB], 1.0)
    before = journal.past.history()
    begin(journal)
    after = journal.past.history()

    assert (before.moments[WEB], after.moments[WEB]) == (Moments(1.0), Moments(1.0, 10.0))
    assert before.past[WEB].last_start is None
    assert after.moments[DB] is before.moments[DB]


def test_missed_fires_are_bounded_too(path: Path) -> None:
    """The newest stay."""
    with Journal(path, keep=2) as journal:
        for at in range(5):
            journal.past.missed(Missed(WEB, float(at), float(at), 1), 9.0)

        assert [missed.last for missed in journal.past.missed_fires()] == [4.0, 3.0]


def test_intents_survive_until_they_are_carried_out(path: Path) -> None:
    """What is stopped is known, whoever asks."""
    with Journal(path) as journal:
        journal.containers.stopped(Stopped("c1", "web-1", 7, 1000.5, 60))
        journal.containers.stopped(Stopped("c2", "db-1", 0))
    with Journal(path) as journal:
        assert journal.containers.still_stopped() == (
            Stopped("c2", "db-1", 0),
            Stopped("c1", "web-1", 7, 1000.5, 60),
        )
        journal.containers.resumed("c1")
        assert journal.containers.still_stopped() == (Stopped("c2", "db-1", 0),)


def test_findings_are_kept_by_plan_and_by_repository(journal: Journal) -> None:
    """The newest replaces the one before."""
    journal.findings.verified("web", 1.0, "old")
    journal.findings.verified("web", 2.0, "new")
    journal.findings.set_guid("nas", "f" * 64)
    journal.findings.set_devices("web", {"/gone": Device(1, non_empty=True)})
    journal.findings.set_devices("web", {"/data": Device(2**64 - 1, non_empty=False)})

    assert journal.findings.verifications() == {"web": Verified(2.0, "new")}
    assert (journal.findings.guid("nas"), journal.findings.guid("other")) == ("f" * 64, "")
    assert journal.findings.devices("web") == {"/data": Device(2**64 - 1, non_empty=False)}
    assert journal.findings.devices("db") == {}


def test_a_message_waits_until_it_is_sent(journal: Journal) -> None:
    """One that failed is due again later."""
    journal.outbox.post("one", 1.0)
    journal.outbox.post("two", 1.0)
    journal.outbox.failed(1, 60.0)

    assert journal.outbox.due(0.5) == ()
    assert journal.outbox.due(1.0) == (Posted(2, "two", 1.0, 0),)
    journal.outbox.sent(2)
    assert journal.outbox.due(60.0) == (Posted(1, "one", 1.0, 1),)


def test_a_message_of_a_clock_that_was_ahead_is_due(journal: Journal) -> None:
    """It would be sent when that time has come."""
    journal.outbox.post("one", 1_000_000.0)

    assert journal.outbox.due(1_000_000.0 - 86_400.0) == ()
    assert journal.outbox.due(1_000_000.0 - 86_401.0) == (Posted(1, "one", 1_000_000.0, 0),)


def test_of_too_many_messages_the_oldest_are_dropped(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that never answers must not fill the disk."""
    monkeypatch.setattr("sidecar.runner.journal.journal.MOST_WAITING", 3)
    for number in range(5):
        journal.outbox.post(str(number), 1.0)

    assert [message.body for message in journal.outbox.due(1.0)] == ["2", "3", "4"]


def test_threads_can_share_it(journal: Journal) -> None:
    """Each run gets its own number and its own end."""

    def live(subject: str) -> None:
        for _ in range(5):
            journal.runs.end(begin(journal, Job(JobKind.BACKUP, subject, "nas")), GOOD)

    threads = [threading.Thread(target=live, args=(f"p{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {run.id for run in journal.runs.list(limit=999)} == set(range(1, 21))
    assert journal.runs.unfinished() == ()


@pytest.mark.parametrize(
    "content", [b"", b"no database at all " * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_journal_does_not_stop_the_runner(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside and told; an empty one is simply begun."""
    path.parent.mkdir()
    path.write_bytes(content)

    with Journal(path, now=lambda: 1000.0) as journal:
        assert begin(journal) == 1

    aside = path.with_name("journal.sqlite.broken-1000")
    assert (logged(caplog) == ["journal.set-aside"]) == aside.exists() == bool(content)
    assert not content or aside.read_bytes() == content


def test_what_can_be_read_of_a_broken_file_is_saved(path: Path) -> None:
    """Above all what is to be put right, and what is stopped."""
    journal = Journal(path, for_daemon=True)
    begin(journal)
    journal.containers.stopped(Stopped("c1", "web-1", 1))
    journal.runs.end(begin(journal, DB), GOOD)
    for number in range(50):
        journal.outbox.post(f"{number} " * 4000, 1.0)
    die(journal)
    wound(path)

    with Journal(path, now=lambda: 1000.0, for_daemon=True) as journal:
        assert [(one.run.id, one.resume) for one in journal.runs.unfinished()] == [
            (1, "what to do")
        ]
        assert journal.containers.still_stopped() == (Stopped("c1", "web-1", 1),)
        assert set(journal.past.history().past) == {WEB, DB}
        assert begin(journal) > 1
    assert path.with_name("journal.sqlite.broken-1000").exists()


@pytest.mark.parametrize(
    ("is_killed", "for_daemon", "is_checked"),
    [(True, True, True), (False, True, False), (True, False, False), (False, False, False)],
)
def test_only_a_daemon_reads_the_whole_file_and_only_after_an_unclean_end(
    path: Path, is_killed: bool, for_daemon: bool, is_checked: bool
) -> None:
    """It takes most of a second for a million runs, which `history` must not."""
    journal = Journal(path, for_daemon=True)
    for number in range(50):
        journal.outbox.post(f"{number} " * 4000, 1.0)
    (die if is_killed else Journal.close)(journal)
    wound(path)

    Journal(path, now=lambda: 1000.0, for_daemon=for_daemon).close()

    assert path.with_name("journal.sqlite.broken-1000").exists() == is_checked


def test_a_file_that_was_checked_and_closed_is_not_checked_again(path: Path) -> None:
    """Each daemon leaves word of its own end, as often as it is asked to."""
    die(Journal(path, for_daemon=True))
    journal = Journal(path, for_daemon=True)
    for number in range(50):
        journal.outbox.post(f"{number} " * 4000, 1.0)
    journal.close()
    journal.close()
    wound(path)

    Journal(path, now=lambda: 1000.0, for_daemon=True).close()

    assert not path.with_name("journal.sqlite.broken-1000").exists()


def test_a_daemon_opens_a_file_to_which_nothing_can_be_added(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not keep it from starting what is stopped."""
    with Journal(path) as journal:
        journal.containers.stopped(Stopped("c1", "web-1", 0))
    connect = sqlite3.connect

    def full(*args: object, **kwargs: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)  # type: ignore[call-overload]
        connection.execute("PRAGMA query_only = ON")
        return connection

    monkeypatch.setattr(sqlite3, "connect", full)
    with Journal(path, for_daemon=True) as journal:
        assert journal.containers.still_stopped() == (Stopped("c1", "web-1", 0),)


@pytest.mark.parametrize("subject", ["web", None])
def test_no_list_reads_more_than_it_shows(journal: Journal, subject: str | None) -> None:
    """Of a million runs, too: each list has its index, and nothing is sorted."""
    asked: list[str] = []
    journal._database._connection.set_trace_callback(asked.append)
    journal.runs.list(subject)
    journal.past.missed_fires(subject)
    journal._database._connection.set_trace_callback(None)

    plans = [
        journal._database._connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()
        for one in asked
    ]

    words = [row[3] for plan in plans for row in plan]
    assert len(plans) == 2
    assert [one for one in words if "TEMP B-TREE" in one] == []
    assert subject is None or [one for one in words if "USING INDEX" not in one] == []


def die(journal: Journal) -> None:
    """Leave the file as a process does that is killed."""
    journal._database._connection.close()


def wound(path: Path) -> None:
    """Overwrite pages at the end of the file, where only messages lie."""
    content = bytearray(path.read_bytes())
    content[-40 * 4096 : -20 * 4096] = b"\xff" * (20 * 4096)
    path.write_bytes(content)


def test_a_file_that_breaks_while_it_is_used_is_replaced(journal: Journal, path: Path) -> None:
    """What this process knows goes over into the new one: the run, and its past."""
    number = begin(journal)
    journal.runs.phase(number, Phase.WORKING, "5f3a")
    journal._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    journal._database._connection.execute("PRAGMA shrink_memory")

    journal.containers.stopped(Stopped("c1", "web-1", number))

    assert [(one.run.id, one.run.phase) for one in journal.runs.unfinished()] == [
        (1, Phase.WORKING)
    ]
    journal.runs.end(number, GOOD)
    assert [run.ended for run in journal.runs.list()] == [GOOD]
    assert path.with_name("journal.sqlite.broken-1000").exists()


def test_a_file_that_turns_out_broken_when_it_is_read_is_replaced(
    journal: Journal, path: Path
) -> None:
    """What was only there is lost, and told; what this process knows is not."""
    begin(journal)
    for number in range(100):
        journal.outbox.post(f"{number} " * 1000, 1.0)
    journal._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    journal._database._connection.execute("PRAGMA shrink_memory")

    assert [run.id for run in journal.runs.list()] == [1]
    assert path.with_name("journal.sqlite.broken-1000").exists()


def test_a_place_that_goes_and_comes_back_is_used_again(journal: Journal, path: Path) -> None:
    """A disk that is unmounted for a while stops nothing for good."""
    number = begin(journal)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    path.parent.touch()

    with pytest.raises(JournalError, match="cannot be begun anew"):
        journal.containers.stopped(Stopped("c1", "web-1", 0))
    with pytest.raises(JournalError, match="cannot be read"):
        journal.runs.list()
    journal.runs.end(number, GOOD)
    assert journal.past.history().past[WEB].last_success == GOOD.at
    path.parent.unlink()
    journal.containers.stopped(Stopped("c1", "web-1", 0))

    assert [run.ended for run in journal.runs.list()] == [GOOD]


def test_the_past_of_thousands_is_known_at_once(journal: Journal) -> None:
    """It is asked for each minute, and more often."""
    jobs = [Job(JobKind.BACKUP, f"plan{number}", "nas") for number in range(2000)]
    journal.past.first_seen(jobs, 1.0)
    begin(journal, jobs[7])

    asked: list[str] = []
    journal._database._connection.set_trace_callback(asked.append)
    try:
        assert len(journal.past.history().moments) == 2000
        after_a_change = len(asked)
        assert len(journal.past.history().moments) == 2000
    finally:
        journal._database._connection.set_trace_callback(None)

    # However many jobs there are; and nothing is read again that has not changed.
    assert after_a_change < 10
    assert [] == [one for one in asked[after_a_change:] if " FROM " in one]


def test_a_file_that_is_removed_while_it_is_used_is_written_anew(
    journal: Journal, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What were written into a removed file would be lost with the process."""
    number = begin(journal)
    for file in path.parent.iterdir():
        file.unlink()

    journal.runs.phase(number, Phase.STARTING)

    with Journal(path) as other:
        assert [one.run.phase for one in other.runs.unfinished()] == [Phase.STARTING]
    assert logged(caplog) == ["journal.set-aside"]


def test_a_file_of_a_newer_version_is_set_aside(path: Path) -> None:
    """What this version knows of it is taken over."""
    with Journal(path) as journal:
        begin(journal)
        journal._database._connection.execute(
            "ALTER TABLE runs ADD COLUMN mood TEXT DEFAULT 'good'"
        )
        journal._database._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")

    with Journal(path) as journal:
        assert [one.resume for one in journal.runs.unfinished()] == ["what to do"]


def test_a_migration_is_made_once_and_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of an older version gains what it lacks; a step that fails changes nothing."""
    Journal(path).close()
    step = ("ALTER TABLE runs ADD COLUMN mood TEXT", "ALTER TABLE runs ADD COLUMN luck TEXT")
    broken = (*MIGRATIONS, (step[0], "ALTER TABLE nothing ADD COLUMN luck TEXT"))
    monkeypatch.setattr("sidecar.runner.journal.schema.MIGRATIONS", broken)
    with pytest.raises(JournalError):
        Journal(path)

    monkeypatch.setattr("sidecar.runner.journal.schema.MIGRATIONS", (*MIGRATIONS, step))
    for _ in range(2):
        with Journal(path) as journal:
            columns = {
                row[1] for row in journal._database._connection.execute("PRAGMA table_info(runs)")
            }
            assert {"mood", "luck"} < columns


def test_words_of_another_version_do_no_harm(journal: Journal) -> None:
    """Work of an unknown kind is passed over, another unknown word read with care."""
    number = begin(journal)
    begin(journal, DB)
    with journal._database._connection as connection:
        connection.execute("UPDATE runs SET kind = 'teleport' WHERE id = 2")
        connection.execute("UPDATE runs SET cause = 'whim', phase = 'dreaming' WHERE id = 1")

    assert [one.run for one in journal.runs.unfinished()] == [
        Run(number, WEB, RunCause.MANUAL, 10.0, Phase.ENDING)
    ]


def test_a_full_disk_refuses_a_run(journal: Journal) -> None:
    """And the next one, which fits, begins as if nothing had been."""
    (pages,) = journal._database._connection.execute("PRAGMA page_count").fetchone()
    journal._database._connection.execute(f"PRAGMA max_page_count = {pages + 5}")

    with pytest.raises(JournalError, match="full") as caught:
        journal.runs.begin(WEB, RunCause.SCHEDULE, 10.0, "x" * 100_000)

    assert caught.value.failure is FailureClass.DISK_FULL
    assert begin(journal) == 1


def test_an_intent_that_cannot_be_recorded_is_refused(journal: Journal) -> None:
    """Nothing may be stopped that nobody would start again."""
    with refusing(journal):
        with pytest.raises(JournalError, match="cannot be written"):
            begin(journal)
        with pytest.raises(JournalError, match="cannot be written"):
            journal.containers.stopped(Stopped("c1", "web-1", 0))


def test_a_full_disk_is_told_once_and_made_up_for(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs go on, and what became of them is recorded as soon as there is space."""
    number = begin(journal)
    with refusing(journal):
        journal.runs.phase(number, Phase.WORKING)
        journal.runs.end(number, GOOD)
        assert journal.past.history().past[WEB].last_success == GOOD.at
        held = journal.runs.hold(DB, RunCause.SCHEDULE, 50.0)
        journal.runs.phase(held, Phase.WORKING)
        journal.runs.child(held, Child(1, 1))
        journal.runs.end(held, Ended(RunOutcome.FAILED, 60.0))
        assert logged(caplog) == ["journal.not-written"]
        assert [run.ended for run in journal.runs.list()] == [None]

    journal.past.first_seen([PRUNE], 70.0)

    assert [(run.job, run.ended) for run in journal.runs.list()] == [
        (DB, Ended(RunOutcome.FAILED, 60.0)),
        (WEB, GOOD),
    ]
    assert held < 0


def test_what_could_not_be_recorded_is_not_due_again(journal: Journal, path: Path) -> None:
    """Else a full disk would make the runner back up without end."""
    with refusing(journal):
        journal.runs.hold(DB, RunCause.SCHEDULE, 50.0)
        with Journal(path) as other:
            other.runs.end(begin(other), GOOD)

        assert journal.past.history().moments[DB] == Moments(50.0, 50.0)
        assert journal.past.history().past[WEB].last_success == GOOD.at


def test_what_was_put_off_is_written_at_the_latest_when_it_is_closed(path: Path) -> None:
    """As far as it then can be."""
    journal = Journal(path)
    number = begin(journal)
    with refusing(journal):
        journal.runs.end(number, GOOD)
    journal.close()

    with Journal(path) as journal:
        assert [run.ended for run in journal.runs.list()] == [GOOD]


def test_what_is_no_file_is_no_journal(tmp_path: Path) -> None:
    """The message says what stands there, in place of what SQLite makes of it."""
    os.mkfifo(tmp_path / "journal")

    with pytest.raises(JournalError, match="it is a FIFO, not a file"):
        Journal(tmp_path / "journal")


def test_a_place_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Without a journal nothing is safe."""
    (tmp_path / "file").touch()

    with pytest.raises(JournalError, match="cannot be opened") as caught:
        Journal(tmp_path / "file" / "journal.sqlite")

    assert "who may write there" in caught.value.hint


def test_a_disk_that_is_too_full_to_open_the_file_leaves_a_copy_to_read(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unfinished is known, nothing new may be stopped, and later all is written."""
    run = begin(journal)
    journal.close()
    full = [True]

    def open_nothing(file: Path, *, for_daemon: bool = False) -> sqlite3.Connection:
        if full[0]:
            raise sqlite3.OperationalError("disk I/O error")
        return open_file(file, for_daemon=for_daemon)

    monkeypatch.setattr("sidecar.runner.journal.database.open_file", open_nothing)
    monkeypatch.setattr("sidecar.runner.journal.database._is_full", lambda _: full[0])
    with Journal(path) as copy:
        assert [run] == [one.run.id for one in copy.runs.unfinished()]
        copy.runs.end(run, GOOD)
        with pytest.raises(JournalError, match="No space left") as caught:
            begin(copy, DB)
        assert FailureClass.DISK_FULL is caught.value.failure
        full[0] = False
        later = begin(copy, DB)

    with Journal(path) as again:
        assert [later, run] == [one.id for one in again.runs.list()]
        assert [later] == [one.run.id for one in again.runs.unfinished()]


def test_a_full_disk_without_a_journal_is_begun_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to read, which is no reason to do nothing; what is no journal is one."""

    def refuse(_: Path, **__: object) -> sqlite3.Connection:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sidecar.runner.journal.database.open_file", refuse)
    monkeypatch.setattr("sidecar.runner.journal.database._is_full", lambda _: True)
    with Journal(path) as copy:
        assert () == copy.runs.list()
    path.parent.mkdir()
    path.write_bytes(b"no journal" * 1000)
    with pytest.raises(JournalError, match="No space left"):
        Journal(path)


def test_a_journal_that_another_holds_is_no_full_disk(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What helps is that the other program ends."""
    monkeypatch.setattr("sidecar.runner.journal.schema._BUSY_SECONDS", 0.0)
    journal.close()
    with Journal(path) as waiting, contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="database is locked") as caught:
            begin(waiting)

    assert FailureClass.UNKNOWN is caught.value.failure
    assert "another program has the journal open for long: end it" == caught.value.hint


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """It could be anybody's file."""
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "journal.sqlite").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(JournalError):
        Journal(tmp_path / "journal.sqlite")


@pytest.fixture(autouse=True)
def listen(caplog: pytest.LogCaptureFixture) -> None:
    """Hear what is told."""
    caplog.set_level(logging.WARNING)


def finish(journal: Journal, snapshot: str, files: int, at: float = 10.0, job: Job = WEB) -> None:
    """Record a run that made a snapshot of so many files."""
    ended = Ended(RunOutcome.SUCCESS, at + 1, snapshot, Stats(files_processed=files))
    journal.runs.end(begin(journal, job, at), ended)


def test_how_many_files_a_snapshot_holds_is_known_by_its_id_or_its_first_digits(
    journal: Journal,
) -> None:
    """Old restics tell eight digits; what another plan or another program made is not known."""
    finish(journal, "5f3a9c01", 7)
    finish(journal, "77ab0042" * 8, 0)
    finish(journal, "11111111" * 8, 3, job=DB)
    journal.runs.end(begin(journal), Ended(RunOutcome.FAILED, 20.0, "22222222" * 8))

    assert 7 == journal.runs.files_in(WEB, "5f3a9c01" * 8)
    assert 0 == journal.runs.files_in(WEB, "77ab0042" * 8)
    for unknown in ("11111111", "22222222", "33333333"):
        assert journal.runs.files_in(WEB, unknown * 8) is None


def test_the_latest_run_is_the_newest_whose_snapshot_holds_a_file(journal: Journal) -> None:
    """Begun not after a moment; runs without a snapshot do not count."""
    finish(journal, "old", 5, at=10.0)
    finish(journal, "void", 0, at=20.0)
    journal.runs.end(begin(journal, at=30.0), Ended(RunOutcome.FAILED, 31.0))
    finish(journal, "new", 1, at=40.0)
    begin(journal, at=50.0)

    found = [journal.runs.latest(WEB, moment) for moment in (5.0, 39.9, 40.0)]

    names = [one.ended.snapshot if one and one.ended else None for one in found]
    assert [None, "old", "new"] == names
    assert journal.runs.latest(DB, 99.0) is None
