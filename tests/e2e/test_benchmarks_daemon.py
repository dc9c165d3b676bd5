"""The daemon's benchmark works: every row holds numbers, which people judge and no test does."""

from collections.abc import Iterator

import pytest

from private_docker import PrivateEngine
from tests.e2e.benchmark_table import run_quick
from world import own_engine

CREATED = [
    ("create sent → plan in the file", "2", "ms"),
    ("create returned → plan in the file", "2", "ms"),
    ("create sent → plan in the file", "4", "ms"),
    ("create returned → plan in the file", "4", "ms"),
]
PACE = [
    (f"{what}{beside}", others, unit)
    for others in ("2", "4")
    for what, beside, unit in (
        ("create → plan, one each 1 s", "", "s"),
        ("writes per change, one each 1 s", "", "writes"),
        ("passes per write, one each 1 s", "", "passes"),
        ("five at once: last create → all plans", "", "s"),
        ("create → plan, one each 1 s", " beside 2 that crash", "s"),
        ("five at once: last create → all plans", " beside 2 that crash", "s"),
    )
]
STORM = [
    ("storm of creations: writes of the document", "8", "times"),
    ("same storm: last create returned → all plans in the file", "8", "s"),
    ("same storm: restarts of the runner (--apply-via restart)", "8", "times"),
    ("same storm: memory of the daemon half a minute after it", "8", "MB"),
    ("all removed at once: writes of the document", "8", "writes"),
    ("storm with --apply-via api: saves by Backrest (SetConfig)", "8", "times"),
]
IDLE = [
    ("idle: processor time of the daemon, 2 of them with a health check each second", "3", "%"),
    ("memory with nothing labelled", "", "MB"),
    ("memory with that many workloads", "4", "MB"),
    ("memory over a flood of events: growth from its first tenth on: 1,000 events", "50", "MB"),
]


@pytest.fixture
def engine() -> Iterator[PrivateEngine]:
    """Run an engine that nobody else uses: the benchmark wants one with nothing labelled."""
    with own_engine() as running:
        yield running


@pytest.mark.timeout(300)
def test_quick_benchmark_of_the_daemon_prints_every_row(engine: PrivateEngine) -> None:
    """One table, between two calibrations; each figure begins with a number and its unit."""
    body = run_quick("benchmarks.daemon", "--engine", engine.address)

    expected = [*CREATED, *PACE, *STORM, *IDLE]
    figures = [row[2].split()[:2] for row in body]
    assert ["1", "times"] not in figures
    units = ["times" if figure == ["1", "time"] else figure[1] for figure in figures]
    shown = [(row[0], row[1], unit) for row, unit in zip(body, units, strict=True)]
    assert expected == shown
