"""Starting again what a backup has stopped and a dead runner left so.

A marker says what a hook script stopped. Once no run of that plan is in progress, nobody
else is going to start it. Everything is judged by the engine's present answers; whatever
cannot be told leaves the marker where it is.

What is to become of the marker of a stopped container; pure.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.docker import containers
from sidecar.docker.client import Connection
from sidecar.docker.containers import ContainerState, SwarmService
from sidecar.labels.spec import parse_labels
from sidecar.lib.errors import InventoryError, StoreError
from sidecar.lib.log import log_event
from sidecar.planner.plan import RenderedWorkload
from sidecar.planner.workload import start_order
from sidecar.reconciler.apply.container import parse_moment
from sidecar.reconciler.apply.context import OnResult
from sidecar.reconciler.apply.idle import APART, IdleCheck, IdleState, StableTwice
from sidecar.reconciler.resume.markers import PART_SUFFIX, Marker, read_markers, remove_marker

_STOPS = frozenset({"stop-start", "quiesce-stop-start"})
_PAUSES = frozenset({"pause-unpause"})
_SCALES = frozenset({"swarm-scale"})


class MarkerAction(StrEnum):
    """What is to become of a marker."""

    START = "start"
    UNPAUSE = "unpause"
    SCALE = "scale"
    STALE = "stale"
    """It has done its service: what it speaks of runs."""
    DISCARD = "discard"
    """It does not hold any more, and what it speaks of stays as it is."""
    WAIT = "wait"
    """Too little is known."""


@dataclass(frozen=True, slots=True)
class MarkerDecision:
    """A verdict and the reason for it."""

    verdict: MarkerAction
    why: str = ""


_WAIT = MarkerDecision(MarkerAction.WAIT)
_GONE = MarkerDecision(MarkerAction.DISCARD, "it does not exist any more")
_TORN = MarkerDecision(MarkerAction.DISCARD, "the marker does not say what was stopped")
_UNBORN = MarkerDecision(MarkerAction.STALE, "its script died before it stopped anything")
_OTHERS = MarkerDecision(MarkerAction.DISCARD, "it was started or stopped by someone else since")
_UNASKED = MarkerDecision(
    MarkerAction.DISCARD, "its labels do not ask for it to be stopped any more"
)


def judge_container(
    marker: Marker, standing: ContainerState | None, template: str | None
) -> MarkerDecision:
    """Judge the marker of a container; pure.

    `standing` is None when there is no such container; `template` is the one that its
    workload has now, empty for none, None when that is not known.
    """
    if standing is None:
        return _GONE
    if marker.name.endswith(PART_SUFFIX) and standing.name != marker.name:
        return _UNBORN
    if standing.status in {"running", "restarting"}:
        return MarkerDecision(MarkerAction.STALE, "it runs")
    verdicts = {"exited": (MarkerAction.START, _STOPS), "paused": (MarkerAction.UNPAUSE, _PAUSES)}
    if standing.status not in verdicts:
        return _WAIT
    if not _is_the_same_stop(marker, standing):
        return _OTHERS
    return _asked(template, *verdicts[standing.status])


def judge_service(
    marker: Marker, service: SwarmService | None, template: str | None
) -> MarkerDecision:
    """Judge the marker of a Swarm service; pure. `template` as in `judge_container`."""
    if service is None:
        return _GONE
    if marker.name.endswith(PART_SUFFIX) and service.name != marker.name:
        return _UNBORN
    if service.replicas is None or not marker.replicas:
        return _TORN
    if service.replicas:
        return MarkerDecision(MarkerAction.STALE, "it has replicas")
    return _asked(template, MarkerAction.SCALE, _SCALES)


def judge_torn(marker: Marker) -> MarkerDecision:
    """Judge a marker that names no container."""
    return _UNBORN if marker.name.endswith(PART_SUFFIX) else _TORN


def find_template(marker: Marker, workloads: Sequence[RenderedWorkload]) -> str | None:
    """Find the template that the marker's workload has now: empty for none, None if in doubt."""
    item = workload_of(marker, workloads)
    if item is None:
        return ""
    doubtful = any(
        problem.reason == "group.conflict" or problem.label.endswith("hooks.template")
        for problem in item.problems
    )
    return item.spec.template or (None if doubtful else "")


def workload_of(marker: Marker, workloads: Sequence[RenderedWorkload]) -> RenderedWorkload | None:
    """Find the workload that a marker's container, or its Swarm service, belongs to."""
    for item in workloads:
        if marker.is_of_service and item.workload.swarm_service == marker.name:
            return item
        if any(container.id == marker.container for container in item.workload.containers):
            return item
    return None


def _is_the_same_stop(marker: Marker, standing: ContainerState) -> bool:
    if marker.finished:
        return marker.finished == standing.finished
    # Its script died before it knew. A pause leaves no time behind, a stop does.
    if standing.status == "paused":
        return True
    return parse_moment(standing.finished) >= marker.written_at


def _asked(
    template: str | None, verdict: MarkerAction, templates: frozenset[str]
) -> MarkerDecision:
    if template is None:
        return _WAIT
    return MarkerDecision(verdict) if template in templates else _UNASKED


_log = logging.getLogger(__name__)

_LOOK_SECONDS = 30.0
_BUSY_SECONDS = 15.0
_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 15 * 60.0

Activity = Callable[[frozenset[str]], IdleCheck]
"""Whether one of the plans with these ids runs, as far as can be told. Raises nothing."""


class ResumeGuard:
    """Looks after the markers in `directory`, step by step.

    `after` is how old in seconds a marker must be. `activity` tells whether plans run.
    `on_result` is told `resumed`, `discarded`, `failed` and `blind`. `monotonic` is never set,
    `wall` gives unix seconds. Only `see` may be called from another thread.
    """

    def __init__(
        self,
        connection: Connection,
        directory: Path,
        after: float,
        activity: Activity,
        on_result: OnResult,
        *,
        label_prefix: str = "backrest.",
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._after = after
        self._activity = activity
        self._on_result = on_result
        self._prefix = label_prefix
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.Lock()
        self._workloads: Sequence[RenderedWorkload] | None = None
        self._tracks: dict[Marker, _Track] = {}
        self._told = ""

    def see(self, workloads: Sequence[RenderedWorkload]) -> None:
        """Take what the last good pass rendered; before the first call nothing is started."""
        with self._lock:
            self._workloads = workloads

    def step(self) -> float:
        """Do what can be done now; return in how many seconds there may be more to do."""
        try:
            markers = read_markers(self._directory)
        except StoreError as error:
            self._tell_once(error.message)
            return _LOOK_SECONDS
        now = self._monotonic()
        self._tracks = {m: self._tracks.get(m) or _Track(now) for m in markers}
        with self._lock:
            workloads = self._workloads
        waits = [self._wait_of(m, track, now) for m, track in self._tracks.items()]
        ready = {m: t for m, t in self._tracks.items() if self._wait_of(m, t, now) <= 0}
        if ready:
            return self._look_after(ready, workloads, now)
        return max(1.0, min([_LOOK_SECONDS, *waits]))

    def _wait_of(self, marker: Marker, track: "_Track", now: float) -> float:
        """Seconds until a marker is old enough, and its last failure too."""
        # What we have watched for so long is old, whatever its file system's clock says.
        age = max(self._wall() - marker.written_at, now - track.seen)
        return max(self._after - age, track.not_before - now)

    def _look_after(
        self,
        ready: "dict[Marker, _Track]",
        workloads: Sequence[RenderedWorkload] | None,
        now: float,
    ) -> float:
        blind, wait = "", _BUSY_SECONDS
        for marker in sorted(ready, key=lambda m: _place(m, workloads or ())):
            look = self._activity(_plans(marker, workloads or ()))
            if look.rest is IdleState.UNKNOWN:
                blind = look.because
            if ready[marker].twice.agrees(look, now):
                self._settle(marker, ready[marker], workloads, now)
            elif look.rest is IdleState.IDLE:
                wait = APART
        self._tell_once(blind)
        return wait

    def _settle(
        self,
        marker: Marker,
        track: "_Track",
        workloads: Sequence[RenderedWorkload] | None,
        now: float,
    ) -> None:
        try:
            judgement = self._judge(marker, workloads)
            self._carry_out(marker, judgement)
        except (InventoryError, StoreError) as error:
            track.fail(now)
            self._on_result("failed", container=marker.name, plan=marker.plan)
            facts = {"container": marker.name, "plan": marker.plan, "reason": error.message}
            log_event(_log, logging.WARNING, "guard.failed", **facts)

    def _judge(
        self, marker: Marker, workloads: Sequence[RenderedWorkload] | None
    ) -> MarkerDecision:
        if not marker.container:
            return judge_torn(marker)
        template = None if workloads is None else find_template(marker, workloads)
        if marker.is_of_service:
            service = containers.find_service(self._connection, marker.container)
            if service is not None and workloads is not None:
                template = template or self._template_of(service)
            return judge_service(marker, service, template)
        standing = containers.find_container(self._connection, marker.container)
        return judge_container(marker, standing, template)

    def _template_of(self, service: SwarmService) -> str:
        """The template of a service itself: at no replicas no container tells it."""
        cut, labels = len(self._prefix), service.labels.items()
        own = {key[cut:]: value for key, value in labels if key.startswith(self._prefix)}
        spec, _ = parse_labels(own, self._prefix)
        return (spec.template or "") if spec.enable else ""

    def _carry_out(self, marker: Marker, judgement: MarkerDecision) -> None:
        facts = {"container": marker.name, "plan": marker.plan}
        match judgement.verdict:
            case MarkerAction.WAIT:
                return
            case MarkerAction.STALE:
                remove_marker(self._directory, marker)
                log_event(_log, logging.INFO, "guard.stale", **facts, reason=judgement.why)
            case MarkerAction.DISCARD:
                if remove_marker(self._directory, marker):
                    log_event(_log, logging.WARNING, "guard.discarded", **facts, why=judgement.why)
                    self._on_result("discarded", **facts, why=judgement.why)
            case _:
                self._resume(marker, judgement.verdict)
                log_event(_log, logging.WARNING, "guard.resumed", **facts, verb=judgement.verdict)
                self._on_result("resumed", **facts, verb=str(judgement.verdict))
                # Should we die right here: what runs makes its marker a stale one.
                remove_marker(self._directory, marker)

    def _resume(self, marker: Marker, verdict: MarkerAction) -> None:
        if verdict is MarkerAction.START:
            containers.start_container(self._connection, marker.container)
        elif verdict is MarkerAction.UNPAUSE:
            containers.unpause_container(self._connection, marker.container)
        else:
            containers.scale_service(self._connection, marker.container, marker.replicas)

    def _tell_once(self, blind: str) -> None:
        """Say that nothing can be told, once, until that has passed."""
        if blind and blind != self._told:
            log_event(_log, logging.WARNING, "guard.blind", reason=blind)
            self._on_result("blind", why=blind)
        self._told = blind


class _Track:
    """What is known of one marker from step to step; times are monotonic."""

    def __init__(self, seen: float) -> None:
        self.seen = seen
        self.twice = StableTwice()
        self.not_before = seen
        self._failures = 0

    def fail(self, now: float) -> None:
        """Leave it alone for a while, longer each time."""
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures, 10))
        self._failures += 1
        self.not_before = now + pause


def _plans(marker: Marker, workloads: Sequence[RenderedWorkload]) -> frozenset[str]:
    """The marker's plan, and that of its workload if it is called differently by now."""
    item = workload_of(marker, workloads)
    ids = (marker.plan, item.plan_id if item is not None else "")
    return frozenset(plan_id for plan_id in ids if plan_id)


def _place(marker: Marker, workloads: Sequence[RenderedWorkload]) -> tuple[str, int, str]:
    """Where a marker stands in the order in which its workload starts."""
    item = workload_of(marker, workloads)
    if item is None:
        return "", 0, marker.name
    names = {container.id: container.name for container in item.workload.containers}
    order = start_order(item.workload)
    name = names.get(marker.container, "")
    return item.workload.key, order.index(name) if name in order else 0, marker.name
