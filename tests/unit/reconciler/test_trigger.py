"""When a pass is due: read the first part as the specification of the debounce."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.reconciler.trigger import Debounce, DuePass, PassTrigger


def running(interval: float = 1e6) -> Debounce:
    """Return a debounce that looked at everything at 0 and was left alone since."""
    debounce = Debounce(interval=interval)
    debounce.begin_pass(0, everything=True)
    return debounce


def passes(debounce: Debounce, hints: Iterable[float]) -> list[float]:
    """Play hints, make each pass when it is due, and return when that was."""
    made: list[float] = []

    def catch_up(now: float) -> None:
        while (due := debounce.due_at()) <= now:
            debounce.begin_pass(due, everything=debounce.is_resync_due(due))
            made.append(due)

    for hint in hints:
        catch_up(hint)
        debounce.hint(hint)
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


def test_hint_after_a_pass_settles() -> None:
    """The second of two hints waits until a second went by without one."""
    assert passes(running(), [100, 100.2]) == [100, 101.2]


def test_each_hint_begins_the_second_anew() -> None:
    """What goes on is waited for."""
    assert passes(running(), [100, 100.2, 100.9, 101.5]) == [100, 102.5]


def test_hints_that_go_on_are_capped() -> None:
    """Five seconds after the first hint that waits, a pass is due whatever comes."""
    debounce = running()
    made = passes(debounce, [100 + tenth / 10 for tenth in range(52)])

    assert made == pytest.approx([100, 105.1, 106.1])


def test_hint_a_second_after_the_last_pass_is_due_at_once() -> None:
    """The house is quiet again."""
    assert passes(running(), [100, 101, 102]) == [100, 101, 102]


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
    debounce.resync_at(100.2)

    assert debounce.due_at() == 100.2
    assert debounce.is_resync_due(100.2)


def test_pass_over_some_containers_does_not_serve_a_demand() -> None:
    """A later look at everything stays asked for."""
    debounce = running()
    debounce.resync_at(110)
    debounce.hint(100)
    debounce.begin_pass(100, everything=False)

    assert debounce.due_at() == 110


def test_storm_gets_few_passes() -> None:
    """A thousand containers in forty seconds: each wait is longer than the one before."""
    made = passes(running(), [100 + number * 0.04 for number in range(1000)])

    assert [round(at) for at in made] == [100, 105, 110, 115, 125, 144]


def test_long_storm_is_seen_each_interval() -> None:
    """The waits of an endless storm end at the interval."""
    made = passes(running(interval=60), [30 + number * 0.5 for number in range(2400)])

    assert max(later - earlier for earlier, later in pairwise(made)) <= 60
    assert len(made) < 40


@given(
    st.lists(
        st.one_of(st.floats(0.001, 4.99), st.sampled_from([1.0, 1.001, 2.001, 4.001, 4.99])),
        max_size=400,
    )
)
def test_stuttering_storm_gets_at_most_eight_passes(gaps: list[float]) -> None:
    """However hints are spread over forty seconds, while none of the gaps is five seconds."""
    hints = [100 + at for at in accumulate(gaps, initial=0.0) if at <= 40]

    assert len(passes(running(), hints)) <= 8


@given(st.lists(st.floats(0, 300), max_size=60))
def test_every_hint_is_followed_by_a_pass_in_time(hints: list[float]) -> None:
    """No hint is lost, and none waits longer than an interval."""
    hints = sorted(100 + at for at in hints)
    made = passes(running(), hints)

    for hint in hints:
        assert any(hint <= at <= hint + 66 for at in made)


def test_pause_makes_the_waits_fall_back() -> None:
    """Five seconds without a hint end the storm."""
    debounce = running()
    passes(debounce, [100 + number * 0.04 for number in range(1000)])

    assert passes(debounce, [150, 150.2]) == [150, 151.2]


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
