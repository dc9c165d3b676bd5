"""Threads that fail."""

import logging
import threading

import pytest

from sidecar.lib.threads import failing_threads


def test_a_thread_that_fails_is_logged_without_the_text_of_its_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each of them."""
    calls: list[str] = []

    def fail() -> None:
        raise ValueError("MARK")

    with failing_threads(logging.getLogger("x"), lambda: calls.append("called")) as failures:
        thread = threading.Thread(target=fail, name="one")
        thread.start()
        thread.join()
    assert (["one"], ["called"]) == (failures, calls)
    assert "MARK" not in caplog.text + str(vars(caplog.records[0]))
