"""The runner's pages: /healthz, /readyz, /metrics and /status.

They show no secret, see `sidecar.runner.status`. Whoever can reach the address may read them,
so by default there is none.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

from sidecar.runner.status import (
    PlanState,
    RunnerStatus,
    added_of,
    age_of,
    is_failed_of,
    last_success_of,
    seconds_of,
    size_of,
    status_json,
    verified_age_of,
)
from sidecar.runner.status_collector import StatusCollector
from sidecar.service.metrics import MEDIA_TYPE, Metric, MetricKind, render_metrics
from sidecar.web.server import Page, StatusPages, health_page

_Number = Callable[[PlanState, RunnerStatus], float | None]


def _each(number: _Number) -> Callable[[RunnerStatus], Mapping[str, float]]:
    """Return what reads a number of every plan that has it, by the plan's id."""
    return lambda facts: {
        plan.plan.id: float(found)
        for plan in facts.plans
        if (found := number(plan, facts)) is not None
    }


def _of_plan(name: str, meaning: str, number: _Number) -> Metric[RunnerStatus]:
    return Metric(f"backrest_runner_plan_{name}", MetricKind.GAUGE, meaning, _each(number), "plan")


METRICS: tuple[Metric[RunnerStatus], ...] = (
    Metric(
        "backrest_runner_info",
        MetricKind.GAUGE,
        "The version of the runner; always 1.",
        lambda facts: {facts.version: 1},
        "version",
    ),
    Metric(
        "backrest_runner_healthy",
        MetricKind.GAUGE,
        "Whether all is well, as /healthz says: 1 or 0.",
        lambda facts: int(facts.health.is_healthy),
    ),
    Metric(
        "backrest_runner_document_good",
        MetricKind.GAUGE,
        "Whether the document at hand is the one that is executed: 1 or 0.",
        lambda facts: int(facts.loaded.config is not None and not facts.loaded.trouble),
    ),
    Metric(
        "backrest_runner_runs_total",
        MetricKind.COUNTER,
        "Runs since the start by outcome, those of repositories too.",
        lambda facts: facts.runs,
        "outcome",
    ),
    Metric(
        "backrest_runner_missed_total",
        MetricKind.COUNTER,
        "Fires since the start that no run answers.",
        lambda facts: facts.missed,
    ),
    Metric(
        "backrest_runner_running", MetricKind.GAUGE, "Runs at work.", lambda facts: facts.running
    ),
    Metric(
        "backrest_runner_waiting",
        MetricKind.GAUGE,
        "Runs that wait for a seat or for their repository.",
        lambda facts: facts.waiting,
    ),
    _of_plan("last_success_timestamp_seconds", "When it was last saved.", last_success_of),
    _of_plan("age_seconds", "Seconds since it was last saved.", age_of),
    _of_plan("failed", "Whether its last run failed: 1 or 0.", is_failed_of),
    _of_plan("last_duration_seconds", "How long its last good run took.", seconds_of),
    _of_plan("last_processed_bytes", "What its last good run read.", size_of),
    _of_plan("last_added_bytes", "What its last good run added to the repository.", added_of),
    _of_plan("verified_age_seconds", "Seconds since it was last verified.", verified_age_of),
    _of_plan(
        "next_run_timestamp_seconds",
        "When its schedule says that it is due.",
        lambda plan, _: plan.next_fire,
    ),
    Metric(
        "backrest_runner_repo_reachable",
        MetricKind.GAUGE,
        "Whether the repository could be reached at the last look, once an hour: 1 or 0.",
        lambda facts: {repo: int(probed.is_reachable) for repo, probed in facts.probes.items()},
        "repo",
    ),
    Metric(
        "backrest_runner_disk_used_ratio",
        MetricKind.GAUGE,
        "How full the disk of a path is, from 0 to 1.",
        lambda facts: facts.disks,
        "path",
    ),
)


class RunnerPages(StatusPages):
    """Serves the pages on `listen`, a host and a port, until it is closed.

    `allowed` are further names by which clients may call this machine.
    Raises UsageError if it cannot listen.
    """

    def __init__(
        self, listen: tuple[str, int], status: StatusCollector, allowed: Iterable[str] = ()
    ) -> None:
        self._status = status
        super().__init__(listen, self._page, allowed)

    def _page(self, path: str) -> Page | None:
        if path == "/healthz":
            return health_page(self._status.health().reasons, "all is well")
        if path == "/readyz":
            return health_page(self._status.health().process, "ready")
        if path == "/metrics":
            metrics = render_metrics(METRICS, self._status.collect())
            return Page(HTTPStatus.OK, metrics, MEDIA_TYPE)
        if path == "/status":
            text = json.dumps(status_json(self._status.collect()), indent=2)
            return Page(HTTPStatus.OK, f"{text}\n".encode(), "application/json")
        return None
