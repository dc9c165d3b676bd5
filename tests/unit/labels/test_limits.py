"""How much one label may hold: one container must not stop the others."""

import pytest

from sidecar.labels.prefix import meant_label
from sidecar.labels.spec import parse_labels

KIB = 1024


def reasons(labels: dict[str, str]) -> list[tuple[str, str]]:
    """Return reason and label of each problem."""
    return [(problem.reason, problem.label) for problem in parse_labels(labels, "b.")[1]]


@pytest.mark.parametrize("name", ["snapshot-start", "repo"])
def test_a_label_has_at_most_64_kib(name: str) -> None:
    """In bytes, not in characters."""
    assert reasons({name: "x" * 64 * KIB}) == []
    assert reasons({name: "x" * (64 * KIB + 1)}) == [("label.invalid", f"b.{name}")]
    assert reasons({name: "ä" * (32 * KIB + 1)}) == [("label.invalid", f"b.{name}")]


def test_indexed_labels_count_together() -> None:
    """And with the plain label."""
    half = "x" * 32 * KIB
    assert reasons({"exec.start": half, "exec.start.0": half}) == []
    assert reasons({"exec.start": half, "exec.start.0": half, "exec.start.7": "x"}) == [
        ("label.invalid", "b.exec.start")
    ]


def test_a_list_has_at_most_256_items() -> None:
    """Plain and indexed ones together."""
    items = ",".join(["x"] * 256)
    assert reasons({"paths.exclude": items}) == []
    assert reasons({"paths.exclude": items, "paths.exclude.0": "x"}) == [
        ("label.invalid", "b.paths.exclude")
    ]


def test_a_name_that_is_far_too_long_means_no_label() -> None:
    """Nobody writes such a one by a slip, and nothing is spent on it."""
    assert "" == meant_label("backrset." + "enable." * 100, "backrest.")
