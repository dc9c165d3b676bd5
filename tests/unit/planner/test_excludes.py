"""Which exclude takes all of a path away, read as restic reads patterns."""

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
