"""The benchmark of the start works: every row holds numbers, which people judge and no test does."""

from tests.e2e.benchmark_table import run_quick

EXPECTED = [
    "backrest-sidecar --help",
    "backrest-sidecar version",
    "backrest-runner --help",
    "backrest-runner version",
    "reconcile --dry-run, 10 containers of a list",
    "backrest-runner plans, 10 plans",
]


def test_quick_benchmark_of_the_start_prints_every_row() -> None:
    """One table, between two calibrations; each figure begins with a number."""
    body = run_quick("benchmarks.start")

    assert EXPECTED == [row[0] for row in body]
    assert all(row[2].endswith(" ms above") for row in body)
