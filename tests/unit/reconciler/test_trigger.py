"""When a pass is due: read the first part as the specification of the debounce."""

import os
import signal
import threading
from collections.abc import Container, Iterable, Iterator
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.reconciler.trigger import Debounce, DuePass, PassTrigger, RestartFilter


def running(interval: float = 1e6) -> Debounce:
    """Return a debounce that looked at everything at 0 and was left alone since."""
    debounce = Debounce(interval=interval)
    debounce.begin_pass(0, everything=True)
    return debounce


def passes(
    debounce: Debounce, hints: Iterable[float], *, idle: Container[float] = (), took: float = 0.0
) -> list[float]:
    """Play hints, make each pass when it is due, and return when that was.

    A pass that serves only hints of `idle` changes nothing. Each takes `took` seconds by what
    is told of it.
    """
    made: list[float] = []
    served: list[float] = []

    def catch_up(now: float) -> None:
        while (due := debounce.due_at()) <= now:
            everything = debounce.is_resync_due(due)
            debounce.begin_pass(due, everything=everything)
            changed = any(hint not in idle for hint in served)
            debounce.end_pass(took, everything=everything, changed=changed)
            served.clear()
            made.append(due)

    for hint in hints:
        catch_up(hint)
        debounce.hint(hint)
        served.append(hint)
        catch_up(hint)
    catch_up(debounce.due_at() if debounce.due_at() < 1e5 else -1)
    return made


def test_everything_is_due_at_the_start() -> None:
    """Nothing is known before the first look."""
    debounce = Debounce()

    assert debounce.due_at() <= 0
    assert debounce.is_resync_due(0)


def test_first_hint_is_due_at_once() -> None:
    """A container that appears in a quiet house waits for nothing."""
    assert passes(running(), [100]) == [100]


def test_hint_after_a_change_settles() -> None:
    """The second of two hints waits until a tenth of a second went by without one."""
    assert passes(running(), [100, 100.05]) == pytest.approx([100, 100.15])


def test_each_hint_begins_the_settling_anew() -> None:
    """What goes on is waited for."""
    assert passes(running(), [100, 100.05, 100.1, 100.17]) == pytest.approx([100, 100.27])


def test_hints_that_go_on_are_capped() -> None:
    """Half a second after the first hint that waits, a pass is due whatever comes."""
    made = passes(running(), [100 + number * 0.05 for number in range(24)])

    assert made == pytest.approx([100, 100.55, 101.05, 101.25])


def test_hint_after_a_quiet_moment_is_due_at_once() -> None:
    """At any pace of a second or more nothing waits."""
    hints = [100 + number for number in range(60)]
    assert passes(running(), hints) == hints


def test_slow_passes_are_made_less_often() -> None:
    """The cap is ten times the last pass over single containers, if that is longer."""
    made = passes(running(), [100 + number * 0.05 for number in range(60)], took=0.1)

    assert made[:3] == pytest.approx([100, 101.05, 102.05])


def test_pass_over_everything_does_not_lengthen_the_cap() -> None:
    """A list of a thousand containers takes long and says nothing about one of them."""
    debounce = running()
    debounce.end_pass(30.0, everything=True, changed=True)

    made = passes(debounce, [100 + number * 0.05 for number in range(24)])
    assert made[:2] == pytest.approx([100, 100.55])


def test_pass_that_changed_nothing_neither_extends_nor_delays() -> None:
    """A container that crashes right before a new one appears costs that one nothing."""
    crashes = [100, 100.06, 100.12]
    made = passes(running(), [*crashes, 100.15, 100.2], idle=crashes)

    assert made == pytest.approx([*crashes, 100.15, 100.3])


def test_two_passes_follow_at_once_and_more_each_half_second() -> None:
    """Hints with gaps in which they settle do not get a pass each."""
    made = passes(running(), [100 + number * 0.12 for number in range(50)])

    assert made[:4] == pytest.approx([100, 100.12, 100.5, 101.06])


def test_everything_is_due_each_interval() -> None:
    """A resync comes without any hint, and counts from the last look at everything."""
    debounce = running(interval=60)
    debounce.hint(30)
    debounce.begin_pass(30, everything=False)

    assert debounce.due_at() == 60
    assert debounce.is_resync_due(60)
    assert not debounce.is_resync_due(59.9)


def test_look_on_demand_does_not_settle() -> None:
    """Who asks for everything gets it when they want it, in a storm too."""
    debounce = running()
    debounce.hint(100)
    debounce.begin_pass(100, everything=False)
    debounce.hint(100.1)
    debounce.resync_at(100.15)

    assert debounce.due_at() == 100.15
    assert debounce.is_resync_due(100.15)


def test_pass_over_some_containers_does_not_serve_a_demand() -> None:
    """A later look at everything stays asked for."""
    debounce = running()
    debounce.resync_at(110)
    debounce.hint(100)
    debounce.begin_pass(100, everything=False)

    assert debounce.due_at() == 110


@given(
    st.lists(st.one_of(st.floats(0.001, 1.5), st.sampled_from([0.04, 0.1, 0.101])), max_size=300)
)
def test_storm_gets_two_passes_and_two_more_each_second(gaps: list[float]) -> None:
    """However its hints are spread; the last is served half a second after it at the latest."""
    hints = [100 + at for at in accumulate(gaps, initial=0.0)]
    made = passes(running(), hints)

    assert len(made) <= 2 + 2 * (made[-1] - 100) + 1e-6
    assert made[-1] - hints[-1] <= 0.5 + 1e-6


@given(st.lists(st.floats(0, 300), max_size=60))
def test_every_hint_is_followed_by_a_pass_in_time(hints: list[float]) -> None:
    """No hint is lost, and none waits longer than a second."""
    hints = sorted(100 + at for at in hints)
    made = passes(running(), hints)

    for hint in hints:
        assert any(hint <= at <= hint + 1 + 1e-6 for at in made)


@given(
    st.lists(st.floats(0, 60), max_size=120, unique=True),
    st.lists(st.floats(0, 60), min_size=1, max_size=10, unique=True),
)
def test_what_changes_nothing_delays_no_change(crashes: list[float], news: list[float]) -> None:
    """Beside any number of crashes a lone new container is seen as soon as without them."""
    alone = [100 + at for at in sorted(news) if not any(0 < at - one < 1.1 for one in news)]
    idle = {100 + at for at in crashes} - {100 + at for at in news}
    made = passes(running(), sorted({*idle, *(100 + at for at in news)}), idle=idle)

    for hint in alone:
        assert any(hint <= at <= hint + 0.1 + 1e-6 for at in made)


# The shell: threads, signals, and what a pass is told.

SOON = 0.01


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands."""
    return Clock()


@pytest.fixture
def trigger(clock: Clock) -> Iterator[PassTrigger]:
    """Return a trigger that already had its first look at everything."""
    with PassTrigger(monotonic=clock) as made:
        assert made.wait() == DuePass(everything=True, reasons=frozenset({"start"}))
        clock.now += 10
        yield made


def due(*ids: str, everything: bool = False, because: str = "event") -> DuePass:
    """Say what is expected to be due."""
    return DuePass(everything, frozenset(ids), frozenset(because.split()))


def test_named_containers_are_what_is_due(trigger: PassTrigger, clock: Clock) -> None:
    """The first at once, those that come later together."""
    trigger.hint("a")
    assert trigger.wait() == due("a")

    trigger.hint("b")
    trigger.hint("c")
    trigger.hint("b")
    clock.now += 1
    assert trigger.wait() == due("b", "c")


def test_starts_and_ends_that_changed_nothing_three_times_are_no_hint_for_a_minute(
    trigger: PassTrigger, clock: Clock
) -> None:
    """Another hint about it is one, and another container's start is one too."""
    for _ in range(3):
        trigger.hint_restart("loop")
        assert trigger.wait() == due("loop")
        trigger.passed(0.01, changed=False)
        clock.now += 2
    trigger.hint_restart("loop")
    trigger.hint_restart("other")
    assert trigger.wait() == due("other")
    trigger.passed(0.01, changed=False)
    trigger.hint_restart("loop")
    trigger.hint("loop")
    assert trigger.wait() == due("loop")
    trigger.passed(0.01, changed=False)
    clock.now += 60
    taken = trigger.wait()
    assert taken is not None
    assert taken.everything
    trigger.passed(0.01, changed=False)
    trigger.hint_restart("loop")
    assert trigger.wait() == due("loop")


def test_a_restart_that_changed_something_counts_anew(trigger: PassTrigger, clock: Clock) -> None:
    """Three in a row are needed, and passes over something else do not count."""
    for changed in (False, False, True, False, False):
        trigger.hint_restart("web")
        assert trigger.wait() == due("web")
        trigger.passed(0.01, changed=changed)
        clock.now += 2
    trigger.hint("web")
    trigger.hint_restart("web")
    assert trigger.wait() == due("web")
    trigger.passed(0.01, changed=False)
    trigger.hint_restart("web")
    trigger.hint("web")
    assert trigger.wait() == due("web")
    trigger.passed(0.01, changed=False)
    trigger.hint_restart("web")
    assert trigger.wait() == due("web")


def test_what_is_known_of_restarts_is_bounded() -> None:
    """Ids of containers that are gone for good are forgotten."""
    known = RestartFilter()
    for number in range(10_050):
        known.note([f"{number}"], 0.0, changed=False)
    assert len(known._idle) == 10_000


def test_hint_without_a_name_means_everything(trigger: PassTrigger) -> None:
    """The names that came with it are told too."""
    trigger.hint("a")
    trigger.hint()

    assert trigger.wait() == due("a", everything=True, because="event everything")


def test_many_names_mean_everything(trigger: PassTrigger) -> None:
    """Fifty containers are asked for one by one, more of them in one list."""
    for number in range(51):
        trigger.hint(str(number))

    taken = trigger.wait()
    assert taken is not None
    assert taken.everything
    assert len(taken.ids) == 51


def test_flood_forgets_names_and_no_more(trigger: PassTrigger) -> None:
    """Memory stays bounded while a pass takes long; everything is due then."""
    for number in range(30_000):
        trigger.hint(str(number))

    taken = trigger.wait()
    assert taken is not None
    assert taken.everything
    assert len(trigger._hints) == 0
    assert len(taken.ids) < 10_001


def test_nudge_is_a_pass_without_containers(trigger: PassTrigger) -> None:
    """Something else changed: the document, or what the runner loaded."""
    trigger.nudge("document")

    assert trigger.wait() == due(because="document")


def test_resync_is_due_by_itself(trigger: PassTrigger, clock: Clock) -> None:
    """Everything, each interval."""
    clock.now += 60

    assert trigger.wait() == due(everything=True, because="resync")


def test_later_look_says_why(trigger: PassTrigger, clock: Clock) -> None:
    """A pass that failed asks for another; what comes before is not that one."""
    trigger.resync_within(5, "retry")
    trigger.hint("a")
    assert trigger.wait() == due("a")

    clock.now += 5
    assert trigger.wait() == due(everything=True, because="retry")


def test_wait_wakes_when_a_thread_hints() -> None:
    """The main thread sleeps until then."""
    with PassTrigger() as trigger:
        trigger.wait()
        other = threading.Timer(SOON, trigger.hint, ["a"])
        other.start()
        taken = trigger.wait()
        other.join()

    assert taken is not None
    assert taken.ids == {"a"}


def test_wait_ends_by_itself_when_hints_settled() -> None:
    """No second hint is needed for the first to be seen."""
    with PassTrigger(settle=SOON, cap=5 * SOON) as trigger:
        trigger.wait()
        trigger.hint("a")

        assert trigger.wait() == due("a")


def test_stop_goes_before_what_is_due(trigger: PassTrigger) -> None:
    """Nothing is begun any more."""
    trigger.hint()
    trigger.stop()

    assert trigger.wait() is None
    assert trigger.wait() is None


def test_hints_from_many_threads_all_arrive(trigger: PassTrigger, clock: Clock) -> None:
    """None gets lost between them."""

    def hint(part: int) -> None:
        for number in range(500):
            trigger.hint(f"{part}-{number}")

    threads = [threading.Thread(target=hint, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 60

    taken = trigger.wait()
    assert taken is not None
    assert len(taken.ids) == 2000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_ends_wakes_the_wait(trigger: PassTrigger, number: int) -> None:
    """The process is asked to end while it sleeps."""
    with trigger.install_signals():
        other = threading.Timer(SOON, os.kill, [os.getpid(), number])
        other.start()
        assert trigger.wait() is None
        other.join()


def test_hangup_is_a_look_at_everything_at_once(trigger: PassTrigger, clock: Clock) -> None:
    """Also while hints settle."""
    trigger.hint("a")
    trigger.wait()
    trigger.hint("b")
    with trigger.install_signals():
        other = threading.Timer(SOON, os.kill, [os.getpid(), signal.SIGHUP])
        other.start()
        assert trigger.wait() == due("b", everything=True, because="event signal")
        other.join()
    assert clock.now == 1010


def test_signal_arrives_while_the_pipe_is_full(trigger: PassTrigger) -> None:
    """What the signal was is not told by the pipe."""
    with trigger.install_signals():
        for _ in range(9_000):
            trigger.hint("a")
        signal.raise_signal(signal.SIGTERM)
        assert trigger.wait() is None


def test_full_pipe_blocks_nobody() -> None:
    """A thread that hints never waits for the main thread."""
    with PassTrigger() as trigger:
        for number in range(100_000):
            trigger.hint(str(number % 7))
        taken = trigger.wait()

    assert taken is not None
    assert taken.everything


def test_signals_are_as_before_afterwards(trigger: PassTrigger) -> None:
    """Nothing is left in the process."""
    before = {number: signal.getsignal(number) for number in (1, 2, 15)}
    with trigger.install_signals():
        assert before[15] != signal.getsignal(15)

    assert before == {number: signal.getsignal(number) for number in (1, 2, 15)}
    unset = signal.set_wakeup_fd(-1)
    assert unset == -1


def test_closed_trigger_takes_hints_for_lost() -> None:
    """A thread that ends late does no harm."""
    trigger = PassTrigger()
    trigger.close()
    trigger.close()
    trigger.hint("a")

    assert trigger.wait() is None
