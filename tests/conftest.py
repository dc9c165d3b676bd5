"""What all tests share: profiles, the choice to go without an engine, no thread left behind."""

import logging
import os
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

_LEFT_OUT = pytest.StashKey[int]()
_THREAD_SECONDS = 5.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare --without-engine."""
    parser.addoption(
        "--without-engine",
        action="store_true",
        help="leave out the tests that need a private Docker engine, and say so",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the engine, and leave it out where that was asked for."""
    needing = [item for item in items if "engine" in getattr(item, "fixturenames", ())]
    for item in needing:
        item.add_marker(pytest.mark.engine)
    if config.getoption("--without-engine"):
        config.stash[_LEFT_OUT] = len(needing)
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Never let a run without the engine look like a whole one."""
    if _LEFT_OUT in config.stash:
        left_out = config.stash[_LEFT_OUT]
        terminalreporter.write_line(f"--without-engine: {left_out} engine tests did not run")


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
