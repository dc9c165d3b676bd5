"""What can be asked over the control socket, and the answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from queue import Empty
from typing import Any

from sidecar.backrest.reading import Config
from sidecar.engines.base import Progress
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import News, ProgressHub, RunFinished
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Run, RunCause, RunOutcome
from sidecar.runner.pool import Admission, Pool
from sidecar.runner.status import RunnerReport, status_json
from sidecar.web.control import Message

_OF_REPOS = frozenset({JobKind.FORGET, JobKind.PRUNE, JobKind.CHECK})
# So often a client is told that there is no news, and found out to be gone.
_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class ControlApi:
    """Answers requests: `{"do": "status"}`, or `{"do": KIND, "of": ID}` for a run now."""

    works: JobRunner
    pool: Pool
    board: ProgressHub
    report: RunnerReport

    def answer(self, request: Message) -> Iterator[Message]:
        """Give the answers to one request; raises SidecarError for one that cannot be met."""
        what, subject = request.get("do"), request.get("of")
        if what == "status":
            yield {"status": status_json(self.report.facts()), "last": True}
        elif isinstance(subject, str) and what in {"backup", *_OF_REPOS}:
            work = resolve_work(JobKind(what), subject, self.works.config)
            if reason := self.works.blocker(work):
                raise UsageError(f"it is not run: {reason}", "correct the document")
            yield from self._run(work)
        else:
            raise UsageError("that cannot be asked", "the daemon may be of another version")

    def _run(self, work: Job) -> Iterator[Message]:
        with self.board.follow(work) as news:
            admission = self.pool.submit(work, RunCause.MANUAL)
            if admission is Admission.REFUSED:
                raise SidecarError("the daemon stops", "ask again when it has been started")
            yield {"state": admission.value}
            while True:
                told = self._next(news, work)
                if isinstance(told, RunFinished):
                    yield {**_render_end(told), "last": True}
                    return
                yield told

    def _next(self, news: News, work: Job) -> RunFinished | Message:
        try:
            told = news.get(timeout=_SECONDS)
        except Empty:
            return {"state": "running" if work in self.board.running else "waiting"}
        return told if isinstance(told, RunFinished) else render_progress(told)


def resolve_work(kind: JobKind, subject: str, config: Config) -> Job:
    """Find a plan's backup, or what is done for a repository; raises UsageError."""
    if kind in _OF_REPOS:
        if config.repo(subject) is None:
            raise UsageError(f"there is no repository {subject!r}", _known(config.repos))
        return Job(kind, subject, subject)
    plan = config.plan(subject)
    if plan is None:
        raise UsageError(f"there is no plan {subject!r}", _known(config.plans))
    return Job(kind, plan.id, plan.repo)


def _known(things: tuple[Any, ...]) -> str:
    names = ", ".join(sorted(thing.id for thing in things)[:10])
    return f"there are: {names}" if names else "the document has none"


def render_progress(progress: Progress) -> Message:
    """Write how far a run is."""
    return {
        "fraction": progress.fraction,
        "files": progress.files,
        "total_files": progress.total_files,
        "bytes": progress.bytes,
        "total_bytes": progress.total_bytes,
        "seconds_left": progress.seconds_left,
    }


def parse_progress(message: Message) -> Progress | None:
    """Read how far a run is; None if a message does not say."""
    if "fraction" not in message:
        return None
    left = message.get("seconds_left")
    return Progress(
        float(message["fraction"]),
        int(message["files"]),
        int(message["total_files"]),
        int(message["bytes"]),
        int(message["total_bytes"]),
        None if left is None else float(left),
    )


def _render_end(over: RunFinished) -> dict[str, Any]:
    run = over.run
    if run is None or run.ended is None:
        return {"outcome": None, "reason": over.reason}
    return {"outcome": run.ended.outcome.value, **_render_run(run)}


def _render_run(run: Run) -> Mapping[str, Any]:
    ended = run.ended
    if ended is None:
        return {}
    stats = ended.stats
    return {
        "reason": ended.reason,
        "snapshot": ended.snapshot,
        "seconds": round(ended.at - run.started, 3),
        "files": None if stats is None else stats.files_processed,
        "size": None if stats is None else stats.bytes_processed,
        "added": None if stats is None else stats.bytes_added,
    }


def outcome_of(message: Message) -> RunOutcome | None:
    """Read how a run ended; None if there was no run."""
    said = message.get("outcome")
    return next((outcome for outcome in RunOutcome if outcome.value == said), None)
