"""Which exclude takes all of a path away, read as restic reads patterns."""

from time import process_time

import pytest

from sidecar.planner.excludes import left_out_by


@pytest.mark.parametrize(
    ("patterns", "by"),
    [
        ([], ""),
        (["/srv/data"], "/srv/data"),
        (["/srv"], "/srv"),
        (["/srv/data/"], "/srv/data/"),
        (["/srv/data/*"], "/srv/data/*"),
        (["/srv/data/**"], "/srv/data/**"),
        (["/srv/data/cache"], ""),
        (["/srv/dat"], ""),
        (["/srv/d?ta"], "/srv/d?ta"),
        (["/*/data"], "/*/data"),
        (["/srv/d\\ata"], "/srv/d\\ata"),
        (["/srv/d\\*ta"], ""),
        (["data"], "data"),
        (["srv/data"], "srv/data"),
        (["srv"], "srv"),
        (["rv/data"], ""),
        (["*.tmp", "*ta"], "*ta"),
        (["data\\"], "data\\"),
        (["/"], ""),
        ([""], ""),
        (["/srv/data", "!/srv/data"], ""),
        (["/srv/data/*", "!/srv/data/keep"], ""),
        (["/srv/data/*", "!keep"], ""),
        (["/srv/data", "!/srv/other"], "/srv/data"),
        (["!/srv/data", "/srv/data"], "/srv/data"),
    ],
)
def test_last_pattern_that_matches_all_of_a_path_counts(patterns: list[str], by: str) -> None:
    """A relative pattern speaks of any name in the path; a negation may bring a part back."""
    assert by == left_out_by("/srv/data", patterns)


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 40 + "b",
        "/srv/" + "*a" * 40 + "b",
        "?*" * 30_000,
        "*/" * 30_000 + "b",
        "/srv/" + "*" * 60_000 + "b",
    ],
    ids=lambda pattern: pattern[:8],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    """One that goes back and forth over a name would take years, and stop all other workloads."""
    begun = process_time()
    assert "" == left_out_by("/srv/" + "a" * 60 + "/a" * 500, [pattern])
    assert process_time() - begun < 5
