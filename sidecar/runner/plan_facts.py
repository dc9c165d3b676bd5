"""What is known of the plans of both documents: by the runner's journal and by Backrest's log.

The files are only read, so that the sidecar may ask too, whoever owns them.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import tzinfo

from sidecar.backrest.operations import OperationEnd, PlanRuns
from sidecar.backrest.protection import KnownRuns, PlanFacts, merged_runs
from sidecar.backrest.reading import RunPlan
from sidecar.runner.document import ExecutedDocument, blocked_plans
from sidecar.runner.due import Job, JobKind, Scheduler, backup_job
from sidecar.runner.health import FAILURES, with_class
from sidecar.runner.journal import Journal, JournalError, Past, RunOutcome, Verified
from sidecar.runner.loader import Loaded, Loader
from sidecar.runner.settings import JOURNAL, RunnerSettings
from sidecar.runner.timetable import Timetable
from sidecar.runner.union import DocumentName, Documents, NoticeReason

_GOOD = tuple(outcome for outcome in RunOutcome if outcome.is_good)
_ENDS = {OperationEnd.FAILED: "failed", OperationEnd.CANCELLED: "was cancelled"}


@dataclass(frozen=True, slots=True)
class BackrestLog:
    """What Backrest tells of the runs of each plan, by its id.

    `runs` is None where it was not asked or did not answer; `why` says so, and `hint` what to do.
    """

    runs: Mapping[str, PlanRuns] | None
    why: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something about the documents or the journal that makes the answer a worse one."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class KnownPlans:
    """The facts of all plans by their ids, and what people are told beside them."""

    facts: Mapping[str, PlanFacts]
    warnings: tuple[Warned, ...] = ()


def read_plan_facts(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    zone: tzinfo,
    log: BackrestLog,
    now: float,
) -> KnownPlans:
    """Read both documents and the journal, and put them together with Backrest's log.

    `zone` is that of the schedules, `now` in unix seconds. Raises StoreError or DocumentError if
    there is no document at all.
    """
    loader = Loader(settings.files, environ, is_quiet=True)
    loaded = loader.read()
    if loaded.documents is None:
        raise loader.errors[0]
    path, trouble = settings.state_directory / JOURNAL, list[Warned]()
    reader = _Reader(loaded.documents, Timetable(Scheduler(zone)), log, now)
    try:
        if path.exists():
            with closing(Journal(path, now=lambda: now, only_reads=True)) as journal:
                return KnownPlans(reader.read(journal), tuple(_warnings(loaded)))
    except JournalError as error:
        trouble.append(Warned(f"what the runner did is not known: {error.message}", error.hint))
    except OSError as error:
        reason = error.strerror or str(error)
        trouble.append(Warned(f"what the runner did is not known: {path}: {reason}"))
    return KnownPlans(reader.read(None), (*_warnings(loaded), *trouble))


def _warnings(loaded: Loaded) -> Iterator[Warned]:
    for one in loaded.troubles:
        yield Warned(f"the document {one.name.value} is broken: {one.sentence}")
    documents = loaded.documents or Documents()
    for notice in documents.notices:
        if notice.reason is not NoticeReason.MOVING:
            yield Warned(notice.message, notice.hint)


class _Reader:
    """Puts together what is known of each plan."""

    def __init__(
        self, documents: Documents, timetable: Timetable, log: BackrestLog, now: float
    ) -> None:
        self._documents = documents
        self._timetable = timetable
        self._log = log
        self._now = now
        self._blocked = blocked_plans(ExecutedDocument(documents).now)

    def read(self, journal: Journal | None) -> dict[str, PlanFacts]:
        """Return the facts of all plans, also without a journal. Raises JournalError."""
        verified = {} if journal is None else journal.findings.verifications()
        plans = self._documents.config.plans
        return {plan.id: self._facts(plan, journal, verified.get(plan.id)) for plan in plans}

    def _facts(
        self, plan: RunPlan, journal: Journal | None, verified: Verified | None
    ) -> PlanFacts:
        job, document = backup_job(plan), self._documents.name_of_plan(plan.id)
        past = None if journal is None else journal.past.history().past.get(job)
        logged = self._logged(plan, document)
        ours = None if journal is None or past is None else _known(journal, job, past, self._now)
        runs = merged_runs(ours, None if logged is None else _known_of_log(logged))
        if runs is None and journal is not None and document is DocumentName.RUNNER:
            # Nobody else runs it, and the runner has not seen it yet.
            runs = KnownRuns()
        why, hint = ("", "") if runs is not None else self._unknown(document)
        refused = self._documents.refused.get(plan.repo, "")
        is_ours = past is not None or document is DocumentName.RUNNER
        blocked = refused or (self._blocked.get(plan.id, "") if is_ours else "")
        return PlanFacts(
            plan=plan.id,
            repository=plan.repo,
            document=document.value,
            period=self._timetable.period(plan.timing, self._now),
            runs=runs,
            unknown=why,
            hint=hint,
            next_run=None if blocked else self._next_run(plan, past, logged),
            verified=None if verified is None else verified.at,
            doubt="" if journal is None else _doubt(journal, plan),
            blocked=blocked,
        )

    def _logged(self, plan: RunPlan, document: DocumentName) -> PlanRuns | None:
        """Return the runs of a plan by Backrest's log; None: it runs none, or does not tell."""
        if self._log.runs is None or document is DocumentName.RUNNER:
            return None
        return self._log.runs.get(plan.id, PlanRuns())

    def _unknown(self, document: DocumentName) -> tuple[str, str]:
        if document is DocumentName.CONFIG:
            return self._log.why, self._log.hint
        return "the runner has no journal, so nothing is known of its runs", "start the runner"

    def _next_run(self, plan: RunPlan, past: Past | None, logged: PlanRuns | None) -> float | None:
        if logged is not None and logged.queued is not None:
            return logged.queued
        if plan.timing.every_seconds and past is None:
            last = None if logged is None else logged.last
            return None if last is None else max(self._now, last.start + plan.timing.every_seconds)
        return self._timetable.next_fire(plan.timing, past, self._now)


def _doubt(journal: Journal, plan: RunPlan) -> str:
    """Return how the last verification of a plan failed; empty if it did not, or none is known."""
    # One that was cut off has found nothing, so the one before it counts.
    last = journal.runs.last(Job(JobKind.VERIFY, plan.id, plan.repo), (*_GOOD, RunOutcome.FAILED))
    if last is None or last.ended is None or last.ended.outcome is not RunOutcome.FAILED:
        return ""
    failure = last.ended.failure
    return with_class(FAILURES[RunOutcome.FAILED], "" if failure is None else failure.value)


def _known(journal: Journal, job: Job, past: Past, now: float) -> KnownRuns:
    """Return what the journal tells of a plan that the runner has seen. Raises JournalError."""
    good, last = journal.runs.last(job, _GOOD), journal.runs.last(job)
    ended = None if good is None else good.ended
    stats = None if ended is None else ended.stats
    if stats is None and past.last_success is not None:
        # A run that made no new snapshot leaves the one before it.
        latest = journal.runs.latest(job, now)
        stats = None if latest is None or latest.ended is None else latest.ended.stats
    failed = None if last is None or last.ended is None else last.ended.failure
    word = "" if past.last_outcome is None else FAILURES.get(past.last_outcome, "")
    return KnownRuns(
        last_success=past.last_success,
        failure=with_class(word, failed.value) if word and failed is not None else word,
        files=None if stats is None else stats.files_processed,
        size=None if stats is None else stats.bytes_processed,
        is_running=last is not None and last.ended is None,
    )


def _known_of_log(logged: PlanRuns) -> KnownRuns:
    good, last = logged.good, logged.last
    return KnownRuns(
        last_success=None if good is None else good.end,
        failure="" if last is None else _ENDS.get(last.ending, ""),
        files=None if good is None else good.files,
        size=None if good is None else good.size,
        is_running=logged.running_since is not None,
    )
