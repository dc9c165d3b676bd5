"""What is to become of the marker of a stopped container; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.docker.containers import Service, Standing
from sidecar.planner.plans import RenderedWorkload
from sidecar.reconciler.apply.container import parse_moment
from sidecar.reconciler.resume.markers import PART_SUFFIX, Marker

_STOPS = frozenset({"stop-start", "quiesce-stop-start"})
_PAUSES = frozenset({"pause-unpause"})
_SCALES = frozenset({"swarm-scale"})


class Verdict(StrEnum):
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
class Judgement:
    """A verdict and the reason for it."""

    verdict: Verdict
    why: str = ""


_WAIT = Judgement(Verdict.WAIT)
_GONE = Judgement(Verdict.DISCARD, "it does not exist any more")
_TORN = Judgement(Verdict.DISCARD, "the marker does not say what was stopped")
_UNBORN = Judgement(Verdict.STALE, "its script died before it stopped anything")
_OTHERS = Judgement(Verdict.DISCARD, "it was started or stopped by someone else since")
_UNASKED = Judgement(Verdict.DISCARD, "its labels do not ask for it to be stopped any more")


def judge_container(marker: Marker, standing: Standing | None, template: str | None) -> Judgement:
    """Judge the marker of a container; pure.

    `standing` is None when there is no such container; `template` is the one that its
    workload has now, empty for none, None when that is not known.
    """
    if standing is None:
        return _GONE
    if marker.name.endswith(PART_SUFFIX) and standing.name != marker.name:
        return _UNBORN
    if standing.status in {"running", "restarting"}:
        return Judgement(Verdict.STALE, "it runs")
    verdicts = {"exited": (Verdict.START, _STOPS), "paused": (Verdict.UNPAUSE, _PAUSES)}
    if standing.status not in verdicts:
        return _WAIT
    if not _is_the_same_stop(marker, standing):
        return _OTHERS
    return _asked(template, *verdicts[standing.status])


def judge_service(marker: Marker, service: Service | None, template: str | None) -> Judgement:
    """Judge the marker of a Swarm service; pure. `template` as in `judge_container`."""
    if service is None:
        return _GONE
    if marker.name.endswith(PART_SUFFIX) and service.name != marker.name:
        return _UNBORN
    if service.replicas is None or not marker.replicas:
        return _TORN
    if service.replicas:
        return Judgement(Verdict.STALE, "it has replicas")
    return _asked(template, Verdict.SCALE, _SCALES)


def judge_torn(marker: Marker) -> Judgement:
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


def _is_the_same_stop(marker: Marker, standing: Standing) -> bool:
    if marker.finished:
        return marker.finished == standing.finished
    # Its script died before it knew. A pause leaves no time behind, a stop does.
    if standing.status == "paused":
        return True
    return parse_moment(standing.finished) >= marker.written_at


def _asked(template: str | None, verdict: Verdict, templates: frozenset[str]) -> Judgement:
    if template is None:
        return _WAIT
    return Judgement(verdict) if template in templates else _UNASKED
