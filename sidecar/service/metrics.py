"""Render metrics from a table: each row says how to read its numbers from a snapshot.

Nothing is counted here and nothing is process-wide: a page is rendered from one snapshot,
so its numbers agree with each other, and all series of the table exist from the start.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

T = TypeVar("T")


class MetricKind(StrEnum):
    """How the numbers of a metric behave."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Buckets:
    """The numbers of a histogram: how many were at most each bound (the last: all), their sum."""

    counts: Mapping[float, int]
    total: float


@dataclass(frozen=True, slots=True)
class Metric(Generic[T]):
    """One metric; `read` returns its number, or with a `label` a number for each value."""

    name: str
    kind: MetricKind
    help: str
    read: Callable[[T], float | Mapping[str, float] | Buckets]
    label: str = ""


def render_metrics(table: Sequence[Metric[T]], facts: T) -> bytes:
    """Return all metrics of the table in Prometheus' text form, see MEDIA_TYPE."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Table(table, facts))
    return generate_latest(registry)


class _Table(Collector, Generic[T]):
    """The collector of one page."""

    def __init__(self, table: Sequence[Metric[T]], facts: T) -> None:
        self._table = table
        self._facts = facts

    def describe(self) -> Iterator[Family]:
        """Name nothing in advance: there is no other collector to agree with."""
        return iter(())

    def collect(self) -> Iterator[Family]:
        """Read every metric of the table."""
        for metric in self._table:
            yield _family(metric, metric.read(self._facts))


def _family(metric: Metric[T], found: float | Mapping[str, float] | Buckets) -> Family:
    if isinstance(found, Buckets):
        buckets = [(_bound(bound), float(count)) for bound, count in found.counts.items()]
        return HistogramMetricFamily(metric.name, metric.help, buckets, found.total)
    labels = [metric.label] if metric.label else []
    kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=labels)
    for value, number in (found if isinstance(found, Mapping) else {"": found}).items():
        family.add_metric([value] if labels else [], number)
    return family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)
