"""The runner's metrics: a table of names, and how each number is read from the daemon's status.

Imported only for the page /metrics: what writes it costs memory.
"""

from collections.abc import Callable, Mapping

from sidecar.runner.due import JobKind
from sidecar.runner.status import (
    PlanState,
    RunnerStatus,
    added_of,
    age_of,
    is_failed_of,
    last_success_of,
    seconds_of,
    size_of,
    upkeep_failed_of,
    upkeep_success_of,
    verified_age_of,
)
from sidecar.service.metrics import Metric, MetricKind

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


def _of_upkeep(kind: JobKind, of: str, work: str) -> tuple[Metric[RunnerStatus], ...]:
    """Return the metrics of work other than backups, by what it is done for."""
    name = f"backrest_runner_{of}_{kind.value}"
    return (
        Metric(
            f"{name}_failed",
            MetricKind.GAUGE,
            f"Whether its last {work} failed or was cut off: 1 or 0.",
            lambda facts: upkeep_failed_of(kind, facts),
            of,
        ),
        Metric(
            f"{name}_last_success_timestamp_seconds",
            MetricKind.GAUGE,
            f"When its last good {work} ended.",
            lambda facts: upkeep_success_of(kind, facts),
            of,
        ),
    )


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
        "Whether the documents at hand are what is executed: 1 or 0.",
        lambda facts: int(facts.loaded.is_good),
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
        "Whether the repository could be reached at the last look: 1 or 0. A look is taken once "
        "an hour, each minute while it cannot.",
        lambda facts: {repo: int(probed.is_reachable) for repo, probed in facts.probes.items()},
        "repo",
    ),
    *_of_upkeep(JobKind.CHECK, "repo", "check"),
    *_of_upkeep(JobKind.PRUNE, "repo", "prune"),
    *_of_upkeep(JobKind.FORGET, "repo", "retention"),
    *_of_upkeep(JobKind.VERIFY, "plan", "verification"),
    Metric(
        "backrest_runner_disk_used_ratio",
        MetricKind.GAUGE,
        "How full the disk of a path is, from 0 to 1.",
        lambda facts: facts.disks,
        "path",
    ),
)
