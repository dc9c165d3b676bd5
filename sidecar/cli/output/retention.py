"""A document's retention object as our own type."""

from collections.abc import Mapping
from typing import Any

from sidecar.backrest.normal import normalise_plan
from sidecar.backrest.plan import Retention

_BUCKETS = ("hourly", "daily", "weekly", "monthly", "yearly")


def retention_of(raw: Mapping[str, Any]) -> Retention | None:
    """Read a retention as it stands in a document; None when it keeps by no rule."""
    normal = normalise_plan({"retention": raw}).get("retention")
    if not isinstance(normal, dict):
        return None
    if normal.get("policyKeepAll"):
        return Retention(keep_all=True)
    if isinstance(last := normal.get("policyKeepLastN"), int):
        return Retention(last=last)
    buckets = normal.get("policyTimeBucketed")
    if not isinstance(buckets, dict):
        return None
    counts = {name: buckets[name] for name in _BUCKETS if isinstance(buckets.get(name), int)}
    last = buckets.get("keepLastN", 0)
    return Retention(last=last if isinstance(last, int) else 0, **counts)
