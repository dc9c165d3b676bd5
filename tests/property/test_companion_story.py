"""A day beside Backrest: plans move to and fro, programs are killed, and each fire is answered once.

For a long run, say how many days: STORY_DAYS=100. Then a program is killed at each step of a move
also, and not at some of them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sidecar.reconciler.apply.by_restart import HOUR
from sidecar.reconciler.settings import ApplyVia
from tests.property.story_beside import CRONS, WARM_UP, Beside
from tests.property.story_host import START
from tests.property.story_ours import ANY

# A day is some thousand passes.
pytestmark = [
    pytest.mark.timeout(3600),
    # The client library leaves a socket that could not connect to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

DAYS = int(os.environ.get("STORY_DAYS", "0"))
STEPS = 2
"""How many of the steps of a move are tried, unless all are."""
NEVER = 1_000_000
"""More steps than there are."""
DAY = 86_400
CALM_SECONDS = 300.0
LONGEST_GAP = HOUR + 900.0
"""Four restarts an hour, and some time for those who have to be idle."""


def kill_sidecar(day: Beside, left: int) -> None:
    """Have the sidecar killed at a step to come."""
    day.fate.order(ANY, None, left)


def kill_companion(day: Beside, left: int) -> None:
    """Have the companion killed at a change of its journal to come."""
    day.fate_of_companion.order(ANY, None, left)


def kill_companion_meanwhile(day: Beside, left: int) -> None:
    """Have the companion killed while the sidecar is at a step to come."""
    day.fate.order(ANY, day.kill_companion, left)


def kill_backrest(day: Beside, left: int) -> None:
    """Have Backrest killed while the sidecar is at a step to come."""
    day.fate.order(ANY, day.kill_backrest, left)


def kill_backrest_writing(day: Beside, left: int) -> None:
    """Have Backrest killed before or after it writes its document the next time."""
    day.host.backrest.dies = "after" if left % 2 else "before"


Doom = Callable[[Beside, int], None]
OF_SIDECAR: tuple[Doom, ...] = (kill_sidecar, kill_companion_meanwhile, kill_backrest)
KILLS: tuple[Doom, ...] = (*OF_SIDECAR, kill_companion, kill_backrest_writing)
MOMENTS = st.one_of(
    st.integers(0, DAY - 1),
    # Around the times at which something is due.
    st.builds(
        lambda slot, off: max(0, slot * 1200 + off), st.integers(0, 71), st.integers(-130, 60)
    ),
)
MOVES = st.lists(st.tuples(MOMENTS, st.sampled_from(sorted(CRONS))), max_size=16)
DOOMS = st.lists(st.tuples(MOMENTS, st.sampled_from(KILLS), st.integers(0, 40)), max_size=12)


@contextmanager
def beside(via: ApplyVia, of_runner: frozenset[str] = frozenset()) -> Iterator[Beside]:
    """Begin a day, and see at its end that all is well."""
    with TemporaryDirectory() as folder:
        day = Beside(Path(folder), via, of_runner)
        try:
            day.advance_to(START + WARM_UP)
            yield day
            end = day.clock.wall
            # What has begun ends.
            day.advance_to(end + CALM_SECONDS)
            expect_all_well(day, end)
        finally:
            day.close()


def expect_all_well(day: Beside, end: float) -> None:
    """See that each fire was answered once, and that each plan is where its label says."""
    twice = [fire for fire in day.fires(end) if day.times_run(*fire) > 1]
    lost = [
        (plan, (fire - START) / 60)
        for plan, fire in day.fires(end)
        if not day.times_run(plan, fire)
        and not day.is_told(plan, fire)
        and (plan, fire) not in day.dropped
        and not day.is_in_gap(plan, fire)
    ]
    assert [] == twice
    assert [] == lost
    assert [] == day.host.backrest.hurt
    gaps = [until - since for gaps in day.gaps.values() for since, until in gaps]
    longest = LONGEST_GAP if day.via is ApplyVia.RESTART else 0.0
    assert max(gaps, default=0.0) <= longest


@pytest.mark.parametrize("via", [ApplyVia.RESTART, ApplyVia.API])
@settings(max_examples=DAYS or 1, phases=[Phase.explicit, Phase.generate])
@given(of_runner=st.frozensets(st.sampled_from(sorted(CRONS))), moves=MOVES, dooms=DOOMS)
def test_each_fire_of_a_day_is_answered_once(
    via: ApplyVia,
    of_runner: frozenset[str],
    moves: list[tuple[int, str]],
    dooms: list[tuple[int, Doom, int]],
) -> None:
    """By whichever has the plan by then; but for those between a write and Backrest's look at it."""
    with beside(via, of_runner) as day:
        began = day.clock.wall
        acts: list[tuple[int, Callable[[], None]]] = []
        acts += [(at, partial(day.move, name)) for at, name in moves]
        acts += [(at, partial(kill, day, left)) for at, kill, left in dooms]
        for moment, act in sorted(acts, key=itemgetter(0)):
            day.advance_to(began + moment)
            act()
        day.advance_to(began + DAY)
        day.calm_down()


def move_once(via: ApplyVia, *, to_runner: bool, kill: Doom | None = None, left: int = 0) -> int:
    """Move a plan, and have a program killed at one of the steps; return how many there are."""
    with beside(via, frozenset() if to_runner else frozenset({"web"})) as day:
        fate = day.fate if kill in OF_SIDECAR else day.fate_of_companion
        passed = fate.passed
        if kill is not None:
            kill(day, left)
        day.move("web")
        place = day.runner_json if to_runner else day.host.config
        for _ in range(30):
            day.advance_to(day.clock.wall + 20)
            if day.places("web") == [place.name]:
                break
        passed = fate.passed - passed
        day.advance_to(START + WARM_UP + 1900)
        day.calm_down()
        day.advance_to(day.clock.wall + 150)
        assert [place.name] == day.places("web")
        return passed


@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("to_runner", [True, False])
@pytest.mark.parametrize("via", [ApplyVia.RESTART, ApplyVia.API])
def test_a_program_that_is_killed_at_a_step_of_a_move_loses_nothing(
    via: ApplyVia, to_runner: bool, kill: Doom
) -> None:
    """It starts again, the move goes on, and each fire is answered once."""
    if kill is kill_backrest_writing:
        steps = [0, 1]
    else:
        count = count_steps(via, to_runner=to_runner, of_sidecar=kill in OF_SIDECAR)
        steps = list(range(0, count, 1 if DAYS else max(1, count // STEPS)))
    for left in steps:
        move_once(via, to_runner=to_runner, kill=kill, left=left)


@cache
def count_steps(via: ApplyVia, *, to_runner: bool, of_sidecar: bool) -> int:
    """Count the steps of a move at which something can happen."""
    kill = kill_sidecar if of_sidecar else kill_companion
    return move_once(via, to_runner=to_runner, kill=kill, left=NEVER)


def test_a_plan_that_leaves_backrest_does_not_wait_for_what_it_runs() -> None:
    """Backrest has let go of it by one save, so the companion runs it although Backrest is busy."""
    with beside(ApplyVia.API) as day:
        day.move("web")
        while day.places("web") != ["runner.json"]:
            day.advance_to(day.clock.wall + 1)
        day.host.is_slow = True
        day.host.begin("mine")
        day.advance_to(day.clock.wall + HOUR)
        day.host.is_slow = False
        assert 3 == sum(run.is_good for run in day.runs)
