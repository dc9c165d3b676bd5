"""A thread that waits: woken by threads, by signals and by the time, and by nothing too late."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from sidecar.service.signals import SignalWaiter, interruptible, uninterrupted

LONG = 3_000.0


@pytest.fixture
def waiter() -> Iterator[SignalWaiter]:
    """A waiter, closed with the test."""
    with SignalWaiter() as made:
        yield made


def test_the_time_ends_a_wait(waiter: SignalWaiter) -> None:
    """Also one that is over."""
    assert waiter.wait(0.001)
    assert waiter.wait(-5.0)


def test_who_was_woken_before_it_waits_does_not_wait(waiter: SignalWaiter) -> None:
    """Once, however often it was woken."""
    for _ in range(100_000):
        waiter.wake()
    began = time.monotonic()
    assert waiter.wait(LONG)
    assert waiter.wait(0.001)
    assert time.monotonic() - began < 60


def test_another_thread_wakes_it(waiter: SignalWaiter) -> None:
    """While it waits."""
    thread = threading.Timer(0.01, waiter.wake)
    thread.start()
    assert waiter.wait(LONG)
    thread.join()


def test_who_is_stopped_never_waits_again(waiter: SignalWaiter) -> None:
    """It is told that it is time to end."""
    waiter.stop()
    assert not waiter.wait(LONG)
    assert not waiter.wait(LONG)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it(waiter: SignalWaiter, number: signal.Signals) -> None:
    """And what signals did before, they do again afterwards."""
    before = signal.getsignal(number)
    with waiter.install_signals():
        os.kill(os.getpid(), number)
        assert not waiter.wait(LONG)
    assert before == signal.getsignal(number)


def test_a_hangup_ends_one_wait(waiter: SignalWaiter) -> None:
    """It goes on then."""
    with waiter.install_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        assert waiter.wait(LONG)
        assert not waiter.is_stopped


def test_who_comes_after_its_end_does_no_harm() -> None:
    """A thread may be late."""
    waiter = SignalWaiter()
    waiter.close()
    waiter.close()
    waiter.wake()
    waiter.stop()
    assert not waiter.wait(LONG)


def test_programs_that_clean_up_can_be_ended() -> None:
    """They inherit what is ignored: after the first signal that would be all others."""
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        end_and_clean_up(said)

    ignored = int(said[0].split()[1], 16)
    ending = (signal.SIGINT, signal.SIGTERM)
    assert [] == [one for one in ending if ignored >> (one - 1) & 1]


def test_what_must_be_whole_is_not_interrupted() -> None:
    """Neither is what it has within it; the signal counts as soon as it is done."""
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        be_whole(done)
    assert ["begun", "within", "whole", "cleaned up"] == done

    with interruptible(), uninterrupted():
        done.append("no signal")
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)


def be_whole(done: list[str]) -> None:
    """Be asked to end in the midst of what must be whole."""
    with interruptible():
        try:
            with uninterrupted():
                done.append("begun")
                with uninterrupted():
                    signal.raise_signal(signal.SIGTERM)
                    done.append("within")
                done.append("whole")
            done.append("and more")
        finally:
            done.append("cleaned up")


def test_other_threads_hold_nothing_back() -> None:
    """No signal interrupts them, and what the main thread does need not be whole."""
    entered, ended = threading.Event(), threading.Event()

    def work() -> None:
        with uninterrupted():
            entered.set()
            ended.wait(LONG)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(LONG)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(signal.SIGTERM)
    finally:
        ended.set()
        thread.join()


def end_and_clean_up(said: list[str]) -> None:
    """Be asked to end twice, and ask a program meanwhile what it would ignore."""
    with interruptible():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            words = ["grep", "SigIgn", "/proc/self/status"]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            said.append(done.stdout)
