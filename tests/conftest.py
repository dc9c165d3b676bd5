"""What all tests share: profiles, the choice to go without an engine, no thread left behind."""

import logging
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The machine that runs the tests may be slow; pytest-timeout bounds a test as a whole.
settings.register_profile(
    "dev", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# What --fast leaves out: generated worlds, real repositories, benchmarks, and programs that are
# killed at every step.
_SLOW = (
    "tests/engines/",
    "tests/property/",
    "tests/e2e/test_benchmarks",
    "tests/e2e/test_ageing_crash.py",
    "tests/e2e/test_pre_commit.py",
    "tests/test_workflows.py::test_the_build",
    "tests/e2e/test_concurrency.py",
    "tests/e2e/test_runner_daemon.py",
    "tests/e2e/test_runner_kill.py",
    "tests/e2e/test_store_crash.py",
    "tests/e2e/test_store_writers.py",
)

_UNIT = "tests/unit/"

_LEFT_OUT = pytest.StashKey[int]()
_SLOW_LEFT_OUT = pytest.StashKey[int]()
_CURRENT_LEFT_OUT = pytest.StashKey[int]()
_THREAD_SECONDS = 5.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare --without-engine, --current-engine and --fast."""
    parser.addoption(
        "--without-engine",
        action="store_true",
        help="leave out the tests that need a private Docker engine, and say so",
    )
    parser.addoption(
        "--current-engine",
        action="store_true",
        help="the engine is of today: run what an older one cannot do, too",
    )
    parser.addoption("--fast", action="store_true", help="leave out what takes long, and say so")


def pytest_configure() -> None:
    """Let SIGTERM end the run as Ctrl-C does: what fixtures have started is ended by them."""

    def interrupt(*_: object) -> None:
        # Once only: what is being put away must not be interrupted again.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a script. Every program that a test starts would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the engine, and leave it out where that was asked for."""
    # What a unit test calls an engine is a fake, or a backup program.
    needing = [
        item
        for item in items
        if "engine" in getattr(item, "fixturenames", ()) and not item.nodeid.startswith(_UNIT)
    ]
    for item in needing:
        item.add_marker(pytest.mark.engine)
    if config.getoption("--without-engine"):
        config.stash[_LEFT_OUT] = _leave_out(config, items, needing)
    if not config.getoption("--current-engine"):
        newer = [item for item in items if item.get_closest_marker("current_engine")]
        config.stash[_CURRENT_LEFT_OUT] = _leave_out(config, items, newer)
    if config.getoption("--fast"):
        slow = [item for item in items if item.nodeid.startswith(_SLOW)]
        config.stash[_SLOW_LEFT_OUT] = _leave_out(config, items, slow)


def _leave_out(config: pytest.Config, items: list[pytest.Item], unwanted: list[pytest.Item]) -> int:
    """Take items out of the run; return how many."""
    config.hook.pytest_deselected(items=unwanted)
    gone = set(unwanted)
    items[:] = [item for item in items if item not in gone]
    return len(unwanted)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Never let a part of the tests look like all of them."""
    if _LEFT_OUT in config.stash:
        left_out = config.stash[_LEFT_OUT]
        terminalreporter.write_line(f"--without-engine: {left_out} engine tests did not run")
    if left_out := config.stash.get(_CURRENT_LEFT_OUT, 0):
        terminalreporter.write_line(
            f"without --current-engine: {left_out} tests of what only an engine or an rclone of "
            "today can do did not run"
        )
    if _SLOW_LEFT_OUT in config.stash:
        left_out = config.stash[_SLOW_LEFT_OUT]
        terminalreporter.write_line(f"--fast: {left_out} slow tests did not run")


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    """Begin with the log as a process begins: a command of another test may have set it up."""
    logger = logging.getLogger("sidecar")
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def no_thread_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(_THREAD_SECONDS)
    assert [] == [thread.name for thread in left if thread.is_alive()]
