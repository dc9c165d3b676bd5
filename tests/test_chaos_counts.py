"""What the chaos script makes of its arguments and of what it finds; no engine is needed."""

import pytest

from chaos import Counts, Difference, Moment, moments_of
from chaos_site import Policy, Victim

STOP, ONCE = Policy.STOP, Policy.ONCE


def test_the_moments_of_a_victim_are_shared_by_the_policies_that_have_it() -> None:
    """Without hooks there is no shell that could be killed."""
    found = moments_of(7, [STOP, ONCE], [Victim.RUNNER, Victim.SHELL], 3)
    assert [(one.victim, one.number) for one in found[STOP]] == [
        (Victim.RUNNER, 0),
        (Victim.SHELL, 0),
        (Victim.RUNNER, 1),
        (Victim.SHELL, 1),
        (Victim.SHELL, 2),
    ]
    assert [(one.victim, one.number) for one in found[ONCE]] == [
        (Victim.RUNNER, 0),
        (Victim.RUNNER, 1),
    ]


def test_what_differs_is_counted_and_can_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """By the very command that is told."""
    counts, moment = Counts(), Moment(7, STOP, Victim.SHELL, 12)
    counts.add(moment, [])
    counts.add(moment, None)
    assert counts.differences == 0
    counts.add(moment, [Difference(moment, "slow", "slow is exited, not running")])
    assert counts.differences == 1
    assert counts.table().splitlines() == [
        "policy      killed      moments  missed  containers  differ  lost by the engine",
        "stop-start  hook-shell        2       1           4       1                   0",
        "all                           2       1           4       1                   0",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "DIFFERS slow is exited, not running",
        "  again: scripts/chaos --seed 7 --only stop-start --victim hook-shell --first 12 --moments 1",
    ]


def test_what_is_left_to_do_at_the_end_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """A marker that stays could start something one day that somebody has stopped."""
    counts = Counts()
    counts.add_rest(STOP, ["slow"])
    assert counts.differences == 1
    assert capsys.readouterr().out == "LEFT of stop-start: slow\n"


def test_what_the_engine_itself_has_lost_is_counted_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It starts the container for nobody, so no recovery can."""
    counts, moment = Counts(), Moment(7, STOP, Victim.ENGINE, 0)
    counts.add(moment, [])
    counts.add_refused(moment, {"slow": "task 0123: already exists"})
    assert counts.differences == 0
    assert counts.table().splitlines()[-1].split() == ["all", "1", "0", "2", "0", "1"]
    assert capsys.readouterr().out.startswith("LOST by the engine: slow: task 0123: already")
