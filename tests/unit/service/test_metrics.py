"""Metrics rendered of a table, and the table of the daemon's own."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.labels.problem import SEVERITIES
from sidecar.reconciler.metrics import METRICS
from sidecar.reconciler.report import ReconcilerStatus
from sidecar.service.metrics import Buckets, Metric, MetricKind, render_metrics

UNITS = ("_total", "_seconds", "_info")


def series(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The number of every series of a page."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_table_is_rendered_of_one_snapshot() -> None:
    """Plain numbers, numbers by label, and histograms."""
    table: tuple[Metric[int], ...] = (
        Metric("a_total", MetricKind.COUNTER, "Counts.", lambda number: number),
        Metric(
            "b", MetricKind.GAUGE, "Goes up and down.", lambda n: {"x": n, 'y"\n\\': 0}, "which"
        ),
        Metric(
            "c_seconds",
            MetricKind.HISTOGRAM,
            "Takes.",
            lambda n: Buckets({0.5: 1, float("inf"): n}, 3),
        ),
    )
    assert {
        ("a_total", ()): 7,
        ("b", (("which", "x"),)): 7,
        ("b", (("which", 'y"\n\\'),)): 0,
        ("c_seconds_bucket", (("le", "0.5"),)): 1,
        ("c_seconds_bucket", (("le", "+Inf"),)): 7,
        ("c_seconds_count", ()): 7,
        ("c_seconds_sum", ()): 3,
    } == series(render_metrics(table, 7).decode())


def test_all_series_exist_from_the_start() -> None:
    """An alert on a series that does not exist yet would never fire."""
    names = series(render_metrics(METRICS, ReconcilerStatus()).decode())
    by_label = {
        "backrest_sidecar_reconciles_total": ("result", ["changed", "unchanged", "failed"]),
        "backrest_sidecar_problems": ("reason", list(SEVERITIES)),
        "backrest_sidecar_applies_total": (
            "result",
            ["applied", "failed", "waiting", "limited", "foreign-edit", "refused"],
        ),
    }
    for name, (label, values) in by_label.items():
        assert set(values) == {dict(labels)[label] for found, labels in names if found == name}
    plain = {found for found, labels in names if not labels}
    for metric in METRICS:
        if not metric.label and metric.kind is not MetricKind.HISTOGRAM:
            assert metric.name in plain
    assert {0.0} == {
        number for (name, _), number in names.items() if name != "backrest_sidecar_info"
    }


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_by_the_conventions(metric: Metric[ReconcilerStatus]) -> None:
    """A prefix, base units, _total on counters and on nothing else, one sentence of help."""
    assert re.fullmatch(r"backrest_sidecar_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
    assert metric.kind is not MetricKind.HISTOGRAM or metric.name.endswith(UNITS)
    assert metric.help.endswith(".")


def test_the_names_are_different() -> None:
    """One row each, in the page and in the docs."""
    assert len(METRICS) == len({metric.name for metric in METRICS})
