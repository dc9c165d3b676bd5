"""Retention of ours and of each restic that is here, on generated histories.

`RESTIC_CURRENT=/path/to/restic` adds a second restic to that of the machine.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from datetime import datetime

import pytest

from sidecar.engines.restic.features import Features, parse_features
from sidecar.engines.retention import kept
from tests.engines.bench import RESTIC
from tests.engines.retention_facts import ask, histories, retentions

PROGRAMS = tuple(filter(None, (RESTIC, os.environ.get("RESTIC_CURRENT"))))
# From here on it keeps the oldest snapshot too while there are fewer than are wanted.
KEEPS_THE_OLDEST = Features((0, 16, 0)).version
SEED = 1
SIZE = 8
RETENTIONS = 14


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_the_same_is_kept(program: str) -> None:
    """By the same rules; an older restic may let go of the oldest snapshot, and of no other."""
    version = parse_features(subprocess.check_output([program, "version"])).version
    facts = list(ask(program, tuple(histories(SEED, SIZE)), tuple(retentions(SEED, RETENTIONS))))

    assert any(version)
    for fact in facts:
        ours = kept(fact.history.times, fact.retention)
        passed_over = min(fact.history.times) if version < KEEPS_THE_OLDEST else None
        assert _without(passed_over, fact.kept) == _without(passed_over, ours), fact
        assert fact.kept.keys() <= ours.keys()


def _without(
    time: datetime | None, kept_times: Mapping[datetime, Iterable[str]]
) -> dict[datetime, frozenset[str]]:
    return {one: frozenset(rules) for one, rules in kept_times.items() if one != time}
