"""What the daemon reports about itself: facts for status pages and heartbeat, and log lines.

`ReconcilerReport` keeps facts from all threads. `snapshot` gives them as one consistent
`ReconcilerStatus`: ids, reasons and times, but no message, command, address, host path or
label's value, because whoever reaches the status pages may read it. Log lines are written
when a situation changes, once, and may say more.
"""

import logging
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from sidecar.labels.problem import SEVERITIES, Severity
from sidecar.lib.errors import DocumentError, InventoryError, SidecarError, StoreError
from sidecar.lib.log import log_event
from sidecar.planner.plans import Rendered
from sidecar.reconciler.reconcile import PassOutcome
from sidecar.service.health import Finding, Health, HealthAspect, allowance, judge_process
from sidecar.service.report import DaemonFacts, Reporter

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of the histogram of passes."""

_MOST_REASONS = 8
"""Reasons that are logged of one situation until it is over: some name ever new numbers."""
_MOST_LINES = 100
_MOST_DRIFT = 256
_HINT = re.compile(r"[a-z][a-z -]{0,30}", re.ASCII)
# Words of our own: the messages of errors name files and addresses.
_WORDS: Mapping[type[SidecarError], str] = {
    InventoryError: "the containers could not be listed",
    DocumentError: "the document is none that Backrest would load",
    StoreError: "the document could not be read or replaced",
}
_OTHER_WORDS = "its log says why"
_ACCEPT = "if that is right, confirm with `backrest-sidecar reconcile --accept-orphans`"

_log = logging.getLogger(__name__)
_Event: TypeAlias = tuple[int, str, Mapping[str, object]]
"""A log line: level, name of the event, fields."""
_Problems: TypeAlias = Mapping[tuple[str, str, str, str], Severity]
"""Severities by reason, workload, label and hint."""


class ReconcileResult(StrEnum):
    """How a pass ended."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class ApplyResult(StrEnum):
    """How it went to make Backrest load the document."""

    APPLIED = "applied"
    FAILED = "failed"
    WAITING = "waiting"
    """Backrest is busy for longer than it should be."""
    LIMITED = "limited"
    """There were too many restarts already."""
    FOREIGN_EDIT = "foreign-edit"
    """Somebody else saved meanwhile."""
    REFUSED = "refused"
    """The container named as Backrest's is this sidecar: it is not restarted."""


# Results that last: they are reported at every check and count once.
_LASTING = frozenset({ApplyResult.WAITING, ApplyResult.LIMITED})


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A labelled workload by its natural key: its plan's id, the reasons of its problems."""

    workload: str
    plan: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PassFacts:
    """A pass: when it ended (unix seconds), how long it took, which hints led to it.

    `words` say why it failed, without names and addresses; empty for a good pass.
    """

    at: float
    seconds: float
    result: ReconcileResult
    hints: tuple[str, ...] = ()
    words: str = ""


@dataclass(frozen=True, slots=True)
class BackrestFacts:
    """The backrest container: whether its mounts are known, when it was seen last."""

    name: str
    is_known: bool
    seen_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerStatus(DaemonFacts):
    """One consistent view; times in unix seconds, ages in seconds by a monotonic clock.

    `good_uptime`: how long the daemon had run when the last good pass ended, None: none did.
    `docker` (does it answer?) and `document` (can it be used?) are None until that is
    known. `workloads`, `plans` (how many of ours have a workload) and `problems` (by
    reason) are those of the last good pass. `drift`: how often, and when last, a key of a
    plan was put back. `passes`: how many took at most each bound of BUCKETS, and all.
    """

    good_uptime: float | None = None
    next_resync: float | None = None
    docker: bool | None = None
    document: bool | None = None
    backrest: BackrestFacts | None = None
    last_pass: PassFacts | None = None
    workloads: tuple[WorkloadFacts, ...] = ()
    plans: int = 0
    problems: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SEVERITIES, 0))
    orphans: Mapping[str, float] = field(default_factory=dict)
    are_orphans_held: bool = False
    is_login_refused: bool = False
    drift: Mapping[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    drifts: int = 0
    contested: frozenset[tuple[str, str]] = frozenset()
    apply: tuple[ApplyResult, float] | None = None
    guarded: int = 0
    reconciles: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(map(str, ReconcileResult), 0)
    )
    applies: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(map(str, ApplyResult), 0)
    )
    passes: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    pass_seconds: float = 0.0

    @property
    def good_age(self) -> float | None:
        """Seconds since the last good pass ended; None: there was none."""
        return None if self.good_uptime is None else self.uptime - self.good_uptime

    @property
    def health(self) -> Health:
        """All that is wrong, in words of ours."""
        return Health(tuple(_findings(self)))


class ReconcilerReport(Reporter[ReconcilerStatus]):
    """Keeps the sidecar's facts, and logs each situation once when it changes."""

    def __init__(
        self, wall: Callable[[], float], monotonic: Callable[[], float], interval: float = 60.0
    ) -> None:
        super().__init__(ReconcilerStatus(interval=interval), wall, monotonic)
        self._rendered: Rendered | None = None
        self._problems: _Problems = {}
        self._docker = _Situation("engine.lost", "engine.back")
        self._document = _Situation("document.broken", "document.good")
        self._failing = _Situation("reconcile.failed", "reconcile.recovered")
        self._backrest = _Situation("runner.unknown", "runner.known")
        self._held = _Situation("orphans.held", "orphans.released")

    def pass_done(
        self, outcome: PassOutcome, seconds: float, now: float, reasons: Iterable[str] = ()
    ) -> None:
        """Note a good pass; `reasons` are the hints that led to it, in words of ours."""
        result = ReconcileResult.CHANGED if outcome.written else ReconcileResult.UNCHANGED
        with self._lock:
            self._set(good_uptime=self._monotonic() - self._started)
            self._count_pass(PassFacts(now, seconds, result, _public_hints(reasons)))
            events = self._failing.end()
            # Where nothing changed, a pass gives the same object again.
            if outcome.proposal.rendered is not self._rendered:
                self._rendered = outcome.proposal.rendered
                events += self._compare_problems(self._rendered)
                self._set(
                    workloads=_workloads(self._rendered),
                    plans=len(self._rendered.claimed & outcome.proposal.plans.keys()),
                )
        _log_all(events)

    def pass_failed(
        self, error: SidecarError, now: float, seconds: float, reasons: Iterable[str] = ()
    ) -> None:
        """Note a pass that was void."""
        words = next((w for kind, w in _WORDS.items() if isinstance(error, kind)), _OTHER_WORDS)
        with self._lock:
            failed = ReconcileResult.FAILED
            self._count_pass(PassFacts(now, seconds, failed, _public_hints(reasons), words))
            logged = {*self._docker.logged, *self._document.logged}
            is_news = logged.isdisjoint((error.message, str(error)))
            begin = self._failing.begin
            events = begin(error.message, logging.ERROR, error.hint) if is_news else []
        _log_all(events)

    def docker(self, connected: bool, reason: str = "") -> None:
        """Note whether Docker answers; `reason` (logged only) says why not."""
        with self._lock:
            self._set(docker=connected)
            events = self._docker.end() if connected else self._docker.begin(reason)
        _log_all(events)

    def document(self, ok: bool, reason: str = "") -> None:
        """Note whether the document can be used; `reason` (logged only) says why not."""
        with self._lock:
            self._set(document=ok)
            events = self._document.end() if ok else self._document.begin(reason)
        _log_all(events)

    def backrest(self, known: bool, seen_at: float | None, name: str) -> None:
        """Note whether the mounts of the backrest container are known, and since when."""
        with self._lock:
            self._set(backrest=BackrestFacts(name, known, seen_at))
            reason = f"the container {name} was never seen: new plans wait"
            events = self._backrest.end() if known else self._backrest.begin(reason)
        _log_all(events)

    def drift(self, plan: str, key: str) -> None:
        """Count an owned key of a plan that was put back; the pass itself logs it."""
        with self._lock:
            times, _ = self._facts.drift.get((plan, key), (0, 0.0))
            others = {pair: seen for pair, seen in self._facts.drift.items() if pair != (plan, key)}
            kept = dict([*others.items()][1 - _MOST_DRIFT :])
            drift = {**kept, (plan, key): (times + 1, self._wall())}
            self._set(drift=drift, drifts=self._facts.drifts + 1)

    def contested(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Note all keys of plans (plan, key) that somebody else insists on."""
        after = frozenset(pairs)
        before = self.note(contested=after).contested
        lines: list[_Event] = []
        for event, level, found in (
            ("plan.contested", logging.WARNING, after - before),
            ("plan.uncontested", logging.INFO, before - after),
        ):
            lines += [(level, event, {"plan": plan, "key": key}) for plan, key in sorted(found)]
        _log_all(_first_lines(lines))

    def orphans(self, since: Mapping[str, float], held: bool) -> None:
        """Note all orphans and since when (unix seconds); `held`: they are suspiciously many."""
        with self._lock:
            before = self._facts.orphans
            self._set(orphans=dict(since), are_orphans_held=held)
            reason = "many plans lost their workload at once: nothing is done about them"
            hold = self._held.begin(reason, hint=_ACCEPT) if held else self._held.end()
        new, gone = sorted(since.keys() - before), sorted(before.keys() - since)
        lines: list[_Event] = [
            (logging.WARNING, "plan.orphaned", {"plan": plan, "since": iso(since[plan])})
            for plan in new
        ]
        lines += [(logging.INFO, "plan.orphan-gone", {"plan": plan}) for plan in gone]
        _log_all([*_first_lines(lines), *hold])

    def applied(self, result: str, now: float) -> None:
        """Count the result of an apply, an ApplyResult; `ApplyReporter` logs it."""
        result = ApplyResult(result)
        with self._lock:
            last = self._facts.apply
            goes_on = result in _LASTING and last is not None and last[0] is result
            count = self._facts.applies[result] + (0 if goes_on else 1)
            self._set(apply=(result, now), applies={**self._facts.applies, result: count})

    def login_refused(self, refused: bool) -> None:
        """Note whether Backrest refuses our login; `ApiProbe` logs it."""
        self.note(is_login_refused=refused)

    def guarded(self, count: int) -> None:
        """Count containers that were started again; `ResumeGuard` logs it."""
        with self._lock:
            self._set(guarded=self._facts.guarded + count)

    def _count_pass(self, found: PassFacts) -> None:
        facts = self._facts
        first = bisect_left(BUCKETS, found.seconds)
        self._set(
            last_pass=found,
            reconciles={**facts.reconciles, found.result: facts.reconciles[found.result] + 1},
            passes=tuple(count + (at >= first) for at, count in enumerate(facts.passes)),
            pass_seconds=facts.pass_seconds + found.seconds,
        )

    def _compare_problems(self, rendered: Rendered) -> list[_Event]:
        """Count the problems; return log lines for those that appeared and those that are gone."""
        counted = Counter(problem.reason for problem in rendered.problems)
        self._set(problems={**dict.fromkeys(SEVERITIES, 0), **counted})
        before, self._problems = (
            self._problems,
            {
                (found.reason, found.workload, found.label, found.hint): found.severity
                for found in rendered.problems
            },
        )
        return _first_lines(_problem_events(before, self._problems))


class _Situation:
    """Something that is well or not, and which reasons were logged since it is not.

    `begun` and `ended` are the names of the log events.
    """

    def __init__(self, begun: str, ended: str) -> None:
        self._begun, self._ended = begun, ended
        self.logged: tuple[str, ...] = ()

    def begin(self, reason: str, level: int = logging.WARNING, hint: str = "") -> list[_Event]:
        """Return the log line for a reason; none if it was logged, or too many others were."""
        if reason in self.logged or len(self.logged) >= _MOST_REASONS:
            return []
        self.logged = (*self.logged, reason)
        return [(level, self._begun, {"reason": reason, **({"hint": hint} if hint else {})})]

    def end(self) -> list[_Event]:
        """Return the log line that all is well; none if nothing else was logged."""
        was_logged, self.logged = bool(self.logged), ()
        return [(logging.INFO, self._ended, {})] if was_logged else []


def _findings(facts: ReconcilerStatus) -> Iterator[Finding]:
    good_age, last = facts.good_age, facts.last_pass
    late = facts.uptime if good_age is None else good_age
    if late > allowance(facts.interval):
        which = "start, without a good pass" if good_age is None else "last good pass"
        yield Finding("pass-late", f"{late:.0f} s since the {which}")
    yield from judge_process(facts.beat_age, facts.interval, is_stopping=facts.is_stopping)
    for reason, sentence, holds in (
        ("docker-lost", "the engine is not connected", facts.docker is False),
        (
            "document-broken",
            "the document is missing, empty or broken",
            facts.document is False,
        ),
        ("pass-none", "no pass has ended yet", last is None),
        ("pass-failed", f"the last pass failed: {last.words if last else ''}", last and last.words),
        (
            "login-refused",
            "Backrest refuses our login: set --backrest-user and its password",
            facts.is_login_refused,
        ),
    ):
        if holds:
            yield Finding(reason, sentence, breaks=(HealthAspect.READY,))


def iso(at: float) -> str:
    """Write unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _problem_events(before: _Problems, after: _Problems) -> list[_Event]:
    names = ("reason", "workload", "label", "hint")
    new: list[_Event] = [
        (
            logging.ERROR if severity is Severity.ERROR else logging.WARNING,
            "problem.appeared",
            dict(zip(names, key, strict=True)),
        )
        for key, severity in after.items()
        if key not in before
    ]
    gone = [dict(zip(names[:3], key[:3], strict=True)) for key in before if key not in after]
    return [*new, *((logging.INFO, "problem.gone", fields) for fields in gone)]


def _workloads(rendered: Rendered) -> tuple[WorkloadFacts, ...]:
    return tuple(
        WorkloadFacts(
            item.workload.key,
            item.plan_id,
            tuple(dict.fromkeys(problem.reason for problem in item.problems)),
        )
        for item in rendered.workloads
    )


def _public_hints(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return the hints that are plain words: anything else in them is not for everyone."""
    return tuple(dict.fromkeys(hint for hint in reasons if _HINT.fullmatch(hint)))


def _first_lines(events: list[_Event]) -> list[_Event]:
    """Return the first of the lines of a storm, and one that counts the others."""
    left = len(events) - _MOST_LINES
    more: list[_Event] = [(logging.WARNING, "log.more", {"lines": left})] if left > 0 else []
    return [*events[:_MOST_LINES], *more]


def _log_all(events: Iterable[_Event]) -> None:
    for level, event, fields in events:
        log_event(_log, level, event, **fields)
