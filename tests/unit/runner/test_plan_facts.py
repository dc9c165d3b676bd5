"""What is known of the plans of both documents, by the journal and by Backrest's log."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.operations import OperationEnd, PastRun, PlanRuns
from sidecar.backrest.protection import KnownRuns, PlanFacts
from sidecar.engines.base import FailureClass, Stats
from sidecar.lib.errors import StoreError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.plan_facts import BackrestLog, KnownPlans, read_plan_facts
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.union import DocumentChoice

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0
SILENT = BackrestLog(None, "Backrest was not asked", "ask it")
STATS = Stats(files_processed=7, bytes_processed=900)
DAILY = {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}


def plan(name: str, **changed: Any) -> dict[str, Any]:
    """A plan that runs each day."""
    return {"id": name, "repo": "store", "paths": ["/data"], "schedule": DAILY, **changed}


def document(*plans: dict[str, Any], repo: str = "store", uri: str = "/store") -> str:
    """A document with a repository and these plans."""
    known = {"id": repo, "uri": uri, "guid": "a" * 64, "password": "x"}
    root = {"modno": 1, "version": 6, "instance": "i", "repos": [known], "plans": list(plans)}
    return json.dumps(root)


@pytest.fixture
def settings(tmp_path: Path) -> RunnerSettings:
    """A document with `web` and `db`."""
    (tmp_path / "config.json").write_text(document(plan("web"), plan("db")))
    return RunnerSettings(tmp_path / "config.json")


def journal_of(settings: RunnerSettings) -> Journal:
    """The runner's journal."""
    return Journal(settings.state_directory / "journal.sqlite", now=lambda: NOW)


def ran(
    journal: Journal,
    name: str,
    ago: float,
    outcome: RunOutcome = RunOutcome.SUCCESS,
    stats: Stats | None = STATS,
    failure: FailureClass | None = None,
) -> None:
    """Record a run that ended so long ago."""
    number = journal.runs.begin(
        Job(JobKind.BACKUP, name, "store"), RunCause.SCHEDULE, NOW - ago - 60, ""
    )
    snapshot = "a" * 64 if outcome is RunOutcome.SUCCESS else ""
    journal.runs.end(number, Ended(outcome, NOW - ago, snapshot, stats, failure))


def read(settings: RunnerSettings, log: BackrestLog = SILENT) -> KnownPlans:
    """All that is known now, in UTC."""
    return read_plan_facts(settings, {}, UTC, log, NOW)


def logged(**plans: PlanRuns) -> BackrestLog:
    """A log that answers."""
    return BackrestLog(plans)


def facts_of(known: KnownPlans) -> Mapping[str, PlanFacts]:
    """The facts, where nothing is to be told beside them."""
    assert known.warnings == ()
    return known.facts


def test_the_journal_tells_of_what_the_runner_ran(settings: RunnerSettings) -> None:
    """Last success, size, how many files, verified, and when it runs next."""
    with journal_of(settings) as journal:
        ran(journal, "web", 3 * HOUR)
        journal.findings.verified("web", NOW - DAY, "a" * 64)
    facts = facts_of(read(settings))["web"]
    assert KnownRuns(last_success=NOW - 3 * HOUR, files=7, size=900) == facts.runs
    assert (NOW - DAY, DAY) == (facts.verified, facts.period)
    assert datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp() == facts.next_run
    assert ("store", "config.json", "") == (facts.repository, facts.document, facts.blocked)


@pytest.mark.parametrize(
    ("outcome", "failure", "words"),
    [
        (RunOutcome.FAILED, FailureClass.NETWORK, "failed (network)"),
        (RunOutcome.INTERRUPTED, None, "was interrupted"),
        (RunOutcome.CANCELLED, FailureClass.HOOK, ""),
    ],
)
def test_a_failed_last_run_is_told_beside_the_success_before(
    settings: RunnerSettings, outcome: RunOutcome, failure: FailureClass | None, words: str
) -> None:
    """One that a hook has cancelled was not wanted."""
    with journal_of(settings) as journal:
        ran(journal, "web", DAY)
        ran(journal, "web", HOUR, outcome, None, failure)
    runs = facts_of(read(settings))["web"].runs
    assert KnownRuns(last_success=NOW - DAY, failure=words, files=7, size=900) == runs


@pytest.mark.parametrize(
    ("outcomes", "doubt"),
    [
        ([], ""),
        ([RunOutcome.FAILED], "failed (damaged)"),
        ([RunOutcome.SUCCESS, RunOutcome.FAILED], "failed (damaged)"),
        ([RunOutcome.FAILED, RunOutcome.SUCCESS], ""),
        ([RunOutcome.WARNING], ""),
        ([RunOutcome.CANCELLED], ""),
        ([RunOutcome.FAILED, RunOutcome.CANCELLED], "failed (damaged)"),
        ([RunOutcome.SUCCESS, RunOutcome.INTERRUPTED], ""),
    ],
)
def test_a_verification_that_failed_is_told_until_one_succeeds(
    settings: RunnerSettings, outcomes: list[RunOutcome], doubt: str
) -> None:
    """One that was cut off has found nothing."""
    with journal_of(settings) as journal:
        ran(journal, "web", DAY)
        for outcome in outcomes:
            job = Job(JobKind.VERIFY, "web", "store")
            number = journal.runs.begin(job, RunCause.MANUAL, NOW - HOUR, "")
            failure = FailureClass.DAMAGED if outcome is RunOutcome.FAILED else None
            journal.runs.end(number, Ended(outcome, NOW - HOUR, "a" * 64, None, failure))
    assert doubt == facts_of(read(settings))["web"].doubt


def test_a_run_that_found_nothing_new_leaves_the_snapshot_before(settings: RunnerSettings) -> None:
    """It has counted nothing itself."""
    with journal_of(settings) as journal:
        ran(journal, "web", DAY)
        ran(journal, "web", HOUR, RunOutcome.SKIPPED, None)
    runs = facts_of(read(settings))["web"].runs
    assert KnownRuns(last_success=NOW - HOUR, files=7, size=900) == runs


def test_a_run_that_goes_on_is_told(settings: RunnerSettings) -> None:
    """It has no success before."""
    with journal_of(settings) as journal:
        journal.runs.begin(Job(JobKind.BACKUP, "web", "store"), RunCause.MANUAL, NOW - 5, "")
    assert KnownRuns(is_running=True) == facts_of(read(settings))["web"].runs


def test_what_nobody_tells_is_not_known(settings: RunnerSettings) -> None:
    """Of a plan that the runner has not seen, if Backrest was not asked."""
    with journal_of(settings) as journal:
        ran(journal, "web", HOUR)
    facts = facts_of(read(settings))["db"]
    assert (None, "Backrest was not asked", "ask it") == (facts.runs, facts.unknown, facts.hint)


def test_backrest_tells_of_what_it_ran(settings: RunnerSettings) -> None:
    """Also that it never ran one of its plans."""
    good = PastRun(NOW - DAY, NOW - DAY + 60, OperationEnd.SUCCESS, files=3, size=30)
    bad = PastRun(NOW - HOUR, NOW - HOUR + 60, OperationEnd.FAILED)
    known = facts_of(read(settings, logged(web=PlanRuns(bad, good, None, NOW + HOUR))))
    runs = KnownRuns(last_success=NOW - DAY + 60, failure="failed", files=3, size=30)
    assert (runs, NOW + HOUR) == (known["web"].runs, known["web"].next_run)
    assert KnownRuns() == known["db"].runs
    assert datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp() == known["db"].next_run


def test_the_later_of_both_programs_counts(settings: RunnerSettings) -> None:
    """Where somebody has gone from one to the other."""
    with journal_of(settings) as journal:
        ran(journal, "web", 9 * DAY)
    good = PastRun(NOW - DAY, NOW - DAY + 60, OperationEnd.WARNING, files=3)
    runs = facts_of(read(settings, logged(web=PlanRuns(good, good))))["web"].runs
    assert KnownRuns(last_success=NOW - DAY + 60, files=3) == runs


def test_both_documents_count(settings: RunnerSettings) -> None:
    """Of the runner's own only the runner can tell."""
    own = document(plan("own", repo="disk"), repo="disk")
    settings.config.with_name("runner.json").write_text(own)
    facts = facts_of(read(settings, logged(own=PlanRuns())))["own"]
    assert "runner.json" == facts.document
    assert (None, "start the runner") == (facts.runs, facts.hint)
    journal_of(settings).close()
    assert KnownRuns() == facts_of(read(settings))["own"].runs


def test_a_companion_knows_nothing_of_the_plans_of_backrest(settings: RunnerSettings) -> None:
    """But when they run, and what it has verified of them."""
    own = document(plan("own", repo="disk"), repo="disk")
    settings.config.with_name("runner.json").write_text(own)
    with journal_of(settings) as journal:
        journal.findings.verified("web", NOW - DAY, "a" * 64)
    companion = RunnerSettings(settings.config, documents=DocumentChoice.RUNNER)
    facts = facts_of(read(companion))["web"]
    assert (None, NOW - DAY, DAY) == (facts.runs, facts.verified, facts.period)


@pytest.mark.parametrize(
    ("schedule", "period", "next_run"),
    [
        ({"disabled": True}, None, None),
        ({"maxFrequencyHours": 6, "clock": "CLOCK_LAST_RUN_TIME"}, 6 * HOUR, 2 * HOUR),
    ],
)
def test_a_pause_counts_from_the_last_run(
    settings: RunnerSettings, schedule: dict[str, Any], period: float | None, next_run: float | None
) -> None:
    """Of a plan that nobody ran it is not known."""
    settings.config.write_text(document(plan("web", schedule=schedule)))
    facts = facts_of(read(settings))["web"]
    assert (period, None) == (facts.period, facts.next_run)
    last = PastRun(NOW - 4 * HOUR, NOW - 4 * HOUR + 60, OperationEnd.SUCCESS)
    later = facts_of(read(settings, logged(web=PlanRuns(last, last))))["web"]
    assert (None if next_run is None else NOW + next_run) == later.next_run
    with journal_of(settings) as journal:
        ran(journal, "web", 4 * HOUR - 60)
    assert (None if next_run is None else NOW + next_run) == (
        facts_of(read(settings))["web"].next_run
    )


def test_a_hook_that_cannot_be_used_blocks_the_runner_only(settings: RunnerSettings) -> None:
    """Backrest reads its hooks otherwise; the message shows nothing of the command."""
    hook = {
        "conditions": ["CONDITION_SNAPSHOT_START"],
        "actionCommand": {"command": "echo {{ swordfish"},
    }
    settings.config.write_text(document(plan("web", hooks=[hook])))
    assert "" == facts_of(read(settings, logged(web=PlanRuns())))["web"].blocked
    with journal_of(settings) as journal:
        ran(journal, "web", HOUR)
    facts = facts_of(read(settings))["web"]
    assert "one of its hooks cannot be used, the log says why" == facts.blocked
    assert facts.next_run is None


def test_a_repository_that_is_refused_blocks_its_plans(settings: RunnerSettings) -> None:
    """And is told for itself."""
    settings.config.write_text(document(plan("web"), uri="rsync:/store"))
    known = read(settings)
    assert "repo.not-restic" in known.facts["web"].blocked
    assert ["move it to runner.json"] == [one.hint for one in known.warnings]


def test_a_broken_document_is_told(settings: RunnerSettings) -> None:
    """Without any there is no answer."""
    settings.config.with_name("runner.json").write_text("{")
    (warning,) = read(settings).warnings
    assert warning.message.startswith("the document runner.json is broken: ")
    settings.config.unlink()
    settings.config.with_name("runner.json").unlink()
    with pytest.raises(StoreError):
        read(settings)


def test_a_journal_that_cannot_be_read_is_told_and_left_as_it_is(
    settings: RunnerSettings,
) -> None:
    """The daemon mends it, not somebody who looks."""
    path = settings.state_directory / "journal.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    known = read(settings)
    assert known.facts["web"].runs is None
    assert [True] == [one.message.startswith("what the runner did ") for one in known.warnings]
    assert [path] == list(path.parent.iterdir())


def test_looking_makes_nothing(settings: RunnerSettings) -> None:
    """No folder, no journal, and no lock of the journal that is there."""
    read(settings)
    assert not settings.state_directory.exists()
    with journal_of(settings) as journal:
        ran(journal, "web", HOUR)
        assert read(settings).facts["web"].runs is not None
        ran(journal, "web", 60)


def test_a_journal_of_an_older_version_is_read_and_stays_so(settings: RunnerSettings) -> None:
    """Its daemon has to open it still; that of a newer version is not understood."""
    with journal_of(settings) as journal:
        ran(journal, "web", HOUR)
    path = settings.state_directory / "journal.sqlite"
    with sqlite3.connect(path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for name in ("fire", "at", "tries", "hook_tries"):
            connection.execute(f"ALTER TABLE works DROP COLUMN retry_{name}")
        connection.execute(f"PRAGMA user_version = {version - 1}")
    connection.close()
    assert facts_of(read(settings))["web"].runs is not None
    with sqlite3.connect(path) as connection:
        assert (version - 1,) == connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    assert (None, 1) == ((known := read(settings)).facts["web"].runs, len(known.warnings))
