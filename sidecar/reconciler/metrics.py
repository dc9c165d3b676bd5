"""The sidecar's metrics: a table of names, and how each number is read from the daemon's status.

Imported only for the page /metrics: what writes it costs memory.
"""

from sidecar.reconciler.report import BUCKETS, ReconcilerStatus
from sidecar.service.metrics import Buckets, Metric, MetricKind


def _passes(facts: ReconcilerStatus) -> Buckets:
    counts = zip((*BUCKETS, float("inf")), facts.passes, strict=True)
    return Buckets(dict(counts), facts.pass_seconds)


METRICS: tuple[Metric[ReconcilerStatus], ...] = (
    Metric(
        "backrest_sidecar_info",
        MetricKind.GAUGE,
        "The version of the sidecar; always 1.",
        lambda facts: {facts.version: 1},
        "version",
    ),
    Metric(
        "backrest_sidecar_reconciles_total",
        MetricKind.COUNTER,
        "Passes by result: changed, unchanged or failed.",
        lambda facts: facts.reconciles,
        "result",
    ),
    Metric(
        "backrest_sidecar_reconcile_duration_seconds",
        MetricKind.HISTOGRAM,
        "How long passes took, good ones and failed ones.",
        _passes,
    ),
    Metric(
        "backrest_sidecar_good_pass_age_seconds",
        MetricKind.GAUGE,
        "Seconds since the last good pass ended; since the start while there was none.",
        lambda facts: facts.uptime if facts.good_age is None else facts.good_age,
    ),
    Metric(
        "backrest_sidecar_plans",
        MetricKind.GAUGE,
        "Plans in the document that belong to a labelled workload.",
        lambda facts: facts.plans,
    ),
    Metric(
        "backrest_sidecar_problems",
        MetricKind.GAUGE,
        "Problems that the last good pass found, by reason.",
        lambda facts: facts.problems,
        "reason",
    ),
    Metric(
        "backrest_sidecar_drift_total",
        MetricKind.COUNTER,
        "Foreign edits of owned keys that were put back.",
        lambda facts: facts.drifts,
    ),
    Metric(
        "backrest_sidecar_contested_keys",
        MetricKind.GAUGE,
        "Owned keys that are left alone because somebody else insists on them.",
        lambda facts: len(facts.contested),
    ),
    Metric(
        "backrest_sidecar_orphans",
        MetricKind.GAUGE,
        "Owned plans without a workload.",
        lambda facts: len(facts.orphans),
    ),
    Metric(
        "backrest_sidecar_orphans_held",
        MetricKind.GAUGE,
        "Whether orphans are left alone because they are suspiciously many: 1 or 0.",
        lambda facts: int(facts.are_orphans_held),
    ),
    Metric(
        "backrest_sidecar_applies_total",
        MetricKind.COUNTER,
        "Attempts to make the runner notice a changed document, by result.",
        lambda facts: facts.applies,
        "result",
    ),
    Metric(
        "backrest_sidecar_guard_starts_total",
        MetricKind.COUNTER,
        "Containers that a dead run had left stopped or paused, started again.",
        lambda facts: facts.guarded,
    ),
    Metric(
        "backrest_sidecar_engine_connected",
        MetricKind.GAUGE,
        "Whether the container engine answers: 1 or 0.",
        lambda facts: int(facts.docker is True),
    ),
)
