"""A thread that waits: woken by threads, by signals and by the time, and by nothing too late."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from sidecar.lib.threads import failing_threads
from sidecar.service.signals import SignalWaiter

LONG = 3_000.0


@pytest.fixture
def waker() -> Iterator[SignalWaiter]:
    """A waker, closed with the test."""
    with SignalWaiter() as made:
        yield made


def test_the_time_ends_a_wait(waker: SignalWaiter) -> None:
    """Also one that is over."""
    assert waker.wait(0.001)
    assert waker.wait(-5.0)


def test_who_was_woken_before_it_waits_does_not_wait(waker: SignalWaiter) -> None:
    """Once, however often it was woken."""
    for _ in range(100_000):
        waker.wake()
    began = time.monotonic()
    assert waker.wait(LONG)
    assert waker.wait(0.001)
    assert time.monotonic() - began < 60


def test_another_thread_wakes_it(waker: SignalWaiter) -> None:
    """While it waits."""
    thread = threading.Timer(0.01, waker.wake)
    thread.start()
    assert waker.wait(LONG)
    thread.join()


def test_who_is_stopped_never_waits_again(waker: SignalWaiter) -> None:
    """It is told that it is time to end."""
    waker.stop()
    assert not waker.wait(LONG)
    assert not waker.wait(LONG)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it(waker: SignalWaiter, number: signal.Signals) -> None:
    """And what signals did before, they do again afterwards."""
    before = signal.getsignal(number)
    with waker.install_signals():
        os.kill(os.getpid(), number)
        assert not waker.wait(LONG)
    assert before == signal.getsignal(number)


def test_a_hangup_makes_it_look(waker: SignalWaiter) -> None:
    """It goes on then."""
    with waker.install_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        assert waker.wait(LONG)
        assert not waker.is_stopped


def test_who_comes_after_its_end_does_no_harm() -> None:
    """A thread may be late."""
    waker = SignalWaiter()
    waker.close()
    waker.close()
    waker.wake()
    waker.stop()
    assert not waker.wait(LONG)


def test_a_thread_that_fails_is_told_without_what_it_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each of them."""
    import logging

    told: list[str] = []

    def fail() -> None:
        raise ValueError("MARK")

    with failing_threads(logging.getLogger("x"), lambda: told.append("called")) as failures:
        thread = threading.Thread(target=fail, name="one")
        thread.start()
        thread.join()
    assert (["one"], ["called"]) == (failures, told)
    assert "MARK" not in caplog.text + str(vars(caplog.records[0]))
