"""Start again what a backup stopped and, because Backrest died, did not start.

A marker names what a hook script stopped. Once no run of that plan is in progress, nobody
else is going to start it. What happens to a marker is decided by what Docker answers now;
a marker about which too little is known stays.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sidecar.docker import containers, swarm
from sidecar.docker.client import DockerClient
from sidecar.docker.markers import DIRECTORY, Marker, read_markers, remove_marker
from sidecar.docker.models import ContainerState, SwarmService
from sidecar.docker.stopped import Verdict, judge_container, judge_service
from sidecar.labels.spec import parse_labels
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError, StoreError
from sidecar.lib.log import log_event
from sidecar.planner.plan import RenderedWorkload
from sidecar.planner.workload import start_order
from sidecar.reconciler.apply.context import GuardEvent, LastPass, StepResult
from sidecar.reconciler.apply.idle import APART, IdleCheck, IdleState, StableTwice
from sidecar.reconciler.settings import ReconcilerSettings

_STOPS = frozenset({"stop-start", "quiesce-stop-start"})
_PAUSES = frozenset({"pause-unpause"})
_SCALES = frozenset({"swarm-scale"})
"""Templates of hooks, by what they do to a container."""

_CHECK_SECONDS = 30.0
_BUSY_SECONDS = 15.0
_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 15 * 60.0
_TOLD_AFTER = 120.0

_log = logging.getLogger(__name__)


class Activity(Protocol):
    """Tells what runs."""

    def check(self, plans: frozenset[str]) -> IdleCheck:
        """Check whether one of the plans with these ids runs. Raises nothing."""


class MarkerAction(StrEnum):
    """What happens to a marker and to the container or service that it names."""

    START = "start"
    UNPAUSE = "unpause"
    SCALE = "scale"
    STALE = "stale"
    """The marker is removed: what it names runs."""
    DISCARD = "discard"
    """The marker is removed, and what it names stays as it is."""
    WAIT = "wait"
    """The marker stays: too little is known."""


@dataclass(frozen=True, slots=True)
class MarkerDecision:
    """An action and the reason for it."""

    action: MarkerAction
    why: str = ""


_WAIT = MarkerDecision(MarkerAction.WAIT)
_GONE = MarkerDecision(MarkerAction.DISCARD, "it does not exist any more")
_TORN = MarkerDecision(MarkerAction.DISCARD, "the marker does not say what was stopped")
_NOT_STOPPED = MarkerDecision(MarkerAction.STALE, "its script died before it stopped anything")
_UNENDING = MarkerDecision(
    MarkerAction.DISCARD,
    "it was asked to stop, has no time limit, and still runs after ten minutes: if it stops "
    "later, nobody starts it again",
)
_CHANGED = MarkerDecision(MarkerAction.DISCARD, "it was started or stopped by someone else since")
_SETTLED = {
    Verdict.WAIT: _WAIT,
    Verdict.NOTHING: MarkerDecision(MarkerAction.STALE, "it runs"),
    Verdict.UNENDING: _UNENDING,
    Verdict.SOMEBODY_ELSE: _CHANGED,
}
_ACTIONS = {
    Verdict.START: (MarkerAction.START, _STOPS),
    Verdict.UNPAUSE: (MarkerAction.UNPAUSE, _PAUSES),
    Verdict.SCALE: (MarkerAction.SCALE, _SCALES),
}
_NOT_REQUESTED = MarkerDecision(
    MarkerAction.DISCARD, "its labels do not ask for it to be stopped any more"
)


class ResumeGuard:
    """Starts what the markers beside the document name, step by step.

    The settings tell how old a marker must be. `activity` checks whether plans run.
    `last_pass` tells what was rendered; before the first good pass nothing is started. The
    events of a step are `resumed`, `discarded`, `failed` or `blind`, and `waiting` once what
    still runs has been waited for two minutes.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        connection: DockerClient,
        activity: Activity,
        last_pass: LastPass,
        clocks: Clocks | None = None,
    ) -> None:
        self._directory = settings.config.parent / DIRECTORY
        self._after = settings.applying.guard_after
        self._prefix = settings.policy.label_prefix
        self._connection = connection
        self._activity = activity
        self._last_pass = last_pass
        self._clocks = clocks or Clocks()
        self._events: list[GuardEvent] = []
        self._tracks: dict[Marker, _Track] = {}
        self._logged = ""

    def step(self) -> StepResult:
        """Do what can be done now. Raises nothing."""
        wait = self._step()
        events, self._events = self._events, []
        return StepResult(wait, events)

    def _step(self) -> float:
        try:
            markers = read_markers(self._directory)
        except StoreError as error:
            self._report_blind(error.message)
            return _CHECK_SECONDS
        now = self._clocks.monotonic()
        self._tracks = {m: self._tracks.get(m) or _Track(now) for m in markers}
        good = self._last_pass.good
        workloads = None if good is None else good.workloads
        waits = {marker: self._wait_of(marker, t, now) for marker, t in self._tracks.items()}
        ready = [marker for marker, wait in waits.items() if wait <= 0]
        if ready:
            return self._check_markers(ready, workloads, now)
        return max(1.0, min([_CHECK_SECONDS, *waits.values()]))

    def _wait_of(self, marker: Marker, track: "_Track", now: float) -> float:
        """Return the seconds until a marker, and its last failure, are old enough."""
        # The clock of the file system may differ: what we have seen for so long is old.
        age = max(self._clocks.wall() - marker.written_at, now - track.seen)
        return max(self._after - age, track.not_before - now)

    def _check_markers(
        self,
        markers: Sequence[Marker],
        workloads: Sequence[RenderedWorkload] | None,
        now: float,
    ) -> float:
        blind, wait = "", _BUSY_SECONDS
        for marker in sorted(markers, key=lambda m: _start_position(m, workloads or ())):
            track = self._tracks[marker]
            check = self._activity.check(_plans(marker, workloads or ()))
            if check.state is IdleState.UNKNOWN:
                blind = check.because
            elif check.state is IdleState.BUSY:
                self._report_waiting(marker, track, check, now)
            if track.twice.agrees(check, now):
                self._handle(marker, track, workloads, now)
            elif check.state is IdleState.IDLE:
                wait = APART
        self._report_blind(blind)
        return wait

    def _handle(
        self,
        marker: Marker,
        track: "_Track",
        workloads: Sequence[RenderedWorkload] | None,
        now: float,
    ) -> None:
        try:
            self._carry_out(marker, self._decide(marker, workloads))
        except (InventoryError, StoreError) as error:
            track.fail(now)
            self._note("failed", container=marker.name, plan=marker.plan)
            facts = {"container": marker.name, "plan": marker.plan, "reason": error.message}
            log_event(_log, logging.WARNING, "guard.failed", **facts)

    def _decide(
        self, marker: Marker, workloads: Sequence[RenderedWorkload] | None
    ) -> MarkerDecision:
        if not marker.container:
            return decide_torn(marker)
        now = self._clocks.wall()
        template = None if workloads is None else find_template(marker, workloads)
        if marker.is_of_service:
            service = swarm.find_service(self._connection, marker.container)
            if service is not None and workloads is not None:
                template = template or self._template_of(service)
            return decide_service(marker, service, template, now)
        state = containers.find_container(self._connection, marker.container)
        return decide_container(marker, state, template, now)

    def _template_of(self, service: SwarmService) -> str:
        """Return the template by the service's own labels: without replicas no container has it."""
        cut, labels = len(self._prefix), service.labels.items()
        own = {key[cut:]: value for key, value in labels if key.startswith(self._prefix)}
        spec, _ = parse_labels(own, self._prefix)
        return (spec.template or "") if spec.enable else ""

    def _carry_out(self, marker: Marker, decision: MarkerDecision) -> None:
        facts = {"container": marker.name, "plan": marker.plan}
        match decision.action:
            case MarkerAction.WAIT:
                return
            case MarkerAction.STALE:
                remove_marker(self._directory, marker)
                log_event(_log, logging.INFO, "guard.stale", **facts, reason=decision.why)
            case MarkerAction.DISCARD:
                if remove_marker(self._directory, marker):
                    log_event(_log, logging.WARNING, "guard.discarded", **facts, why=decision.why)
                    self._note("discarded", **facts, why=decision.why)
            case _:
                self._resume(marker, decision.action)
                log_event(_log, logging.WARNING, "guard.resumed", **facts, verb=decision.action)
                self._note("resumed", **facts, verb=str(decision.action))
                # Should we die right here: the marker of what runs is a stale one.
                remove_marker(self._directory, marker)

    def _resume(self, marker: Marker, action: MarkerAction) -> None:
        if action is MarkerAction.START:
            containers.start_container(self._connection, marker.container)
        elif action is MarkerAction.UNPAUSE:
            containers.unpause_container(self._connection, marker.container)
        else:
            swarm.scale_service(self._connection, marker.container, marker.stop.replicas)

    def _report_waiting(
        self, marker: Marker, track: "_Track", check: IdleCheck, now: float
    ) -> None:
        """Report once of each marker for what it has been waited two minutes."""
        if (seconds := track.waited(now)) is None:
            return
        facts = {"container": marker.name, "plan": marker.plan, "because": check.because}
        log_event(_log, logging.WARNING, "guard.waiting", **facts, seconds=round(seconds))
        self._note("waiting", **facts)

    def _note(self, result: str, **facts: object) -> None:
        self._events.append(GuardEvent(result, facts))

    def _report_blind(self, reason: str) -> None:
        """Report once why nobody can tell whether plans run; an empty reason ends that."""
        if reason and reason != self._logged:
            log_event(_log, logging.WARNING, "guard.blind", reason=reason)
            self._note("blind", why=reason)
        self._logged = reason


class _Track:
    """What is known of one marker from step to step; times are monotonic."""

    def __init__(self, seen: float) -> None:
        self.seen = seen
        self.twice = StableTwice()
        self.not_before = seen
        self._failures = 0
        self._busy_since: float | None = None
        self._is_told = False

    def waited(self, now: float) -> float | None:
        """Note that a run is in progress; return the seconds since the first time, once."""
        if self._busy_since is None:
            self._busy_since = now
        waited = now - self._busy_since
        if self._is_told or waited < _TOLD_AFTER:
            return None
        self._is_told = True
        return waited

    def fail(self, now: float) -> None:
        """Leave it alone for a while, longer each time."""
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures, 10))
        self._failures += 1
        self.not_before = now + pause


def decide_container(
    marker: Marker, state: ContainerState | None, template: str | None, now: float
) -> MarkerDecision:
    """Return what happens to the marker of a container; pure.

    `state` is None when there is no such container; `template` is the one that its
    workload has now, empty for none, None when that is not known; `now` in unix seconds.
    """
    if state is None:
        return _GONE
    if marker.was_never_used(state.name):
        return _NOT_STOPPED
    return _decide(judge_container(marker.stop, state.status, state.finished, now), template)


def decide_service(
    marker: Marker, service: SwarmService | None, template: str | None, now: float
) -> MarkerDecision:
    """Return what happens to the marker of a Swarm service; pure.

    `template` and `now` as in `decide_container`.
    """
    if service is None:
        return _GONE
    if marker.was_never_used(service.name):
        return _NOT_STOPPED
    if service.replicas is None or not marker.stop.replicas:
        return _TORN
    return _decide(judge_service(marker.stop, service.replicas, now), template)


def _decide(verdict: Verdict, template: str | None) -> MarkerDecision:
    if (settled := _SETTLED.get(verdict)) is not None:
        return settled
    action, templates = _ACTIONS[verdict]
    return _if_requested(template, action, templates)


def decide_torn(marker: Marker) -> MarkerDecision:
    """Return what happens to a marker that names no container; pure."""
    return _NOT_STOPPED if marker.was_never_used() else _TORN


def find_template(marker: Marker, workloads: Sequence[RenderedWorkload]) -> str | None:
    """Return the template that the marker's workload has now: empty for none, None if unknown."""
    item = workload_of(marker, workloads)
    if item is None:
        return ""
    is_unknown = any(
        problem.reason == "group.conflict" or problem.label.endswith("hooks.template")
        for problem in item.problems
    )
    return item.spec.template or (None if is_unknown else "")


def workload_of(marker: Marker, workloads: Sequence[RenderedWorkload]) -> RenderedWorkload | None:
    """Return the workload that a marker's container, or its Swarm service, belongs to."""
    for item in workloads:
        if marker.is_of_service and item.workload.swarm_service == marker.name:
            return item
        if any(container.id == marker.container for container in item.workload.containers):
            return item
    return None


def _if_requested(
    template: str | None, action: MarkerAction, templates: frozenset[str]
) -> MarkerDecision:
    """Return the action if labels still ask for one of the templates."""
    if template is None:
        return _WAIT
    return MarkerDecision(action) if template in templates else _NOT_REQUESTED


def _plans(marker: Marker, workloads: Sequence[RenderedWorkload]) -> frozenset[str]:
    """Return the marker's plan, and that of its workload if it has another id by now."""
    item = workload_of(marker, workloads)
    ids = (marker.plan, item.plan_id if item is not None else "")
    return frozenset(plan_id for plan_id in ids if plan_id)


def _start_position(marker: Marker, workloads: Sequence[RenderedWorkload]) -> tuple[str, int, str]:
    """Return a sort key: where a marker stands in the order in which its workload starts."""
    item = workload_of(marker, workloads)
    if item is None:
        return "", 0, marker.name
    names = {container.id: container.name for container in item.workload.containers}
    order = start_order(item.workload)
    name = names.get(marker.container, "")
    return item.workload.key, order.index(name) if name in order else 0, marker.name
