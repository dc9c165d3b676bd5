"""A run that is terminated leaves no engine behind."""

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 90.0
MARK = "MARK_OF_A_TERMINATED_RUN"
LONG_TEST = """
import threading
def test_that_lasts(engine):
    threading.Event().wait(100)
"""


def marked(mark: str) -> dict[int, str]:
    """Return the processes that inherited the mark: pid → command."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "comm").read_text().strip()
        except OSError:
            continue
    return found


def wait_for(mark: str, command: str, *, present: bool) -> dict[int, str]:
    """Wait until a marked process of that command is there, or none of any command is."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = marked(mark)
        if (command in found.values()) if present else not found:
            return found
        select.select((), (), (), 0.2)
    raise AssertionError(marked(mark))


# The engine of the session is not used, but marks these as tests that need one.
pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def mark() -> Iterator[str]:
    """Return a text that only our processes have; whatever still has it is ended."""
    made = uuid.uuid4().hex
    yield made
    for pid in marked(made):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_ends_with_the_process_that_started_it(
    mark: str, number: signal.Signals, tmp_path: Path
) -> None:
    """However that ends."""
    program = (
        "import tempfile, threading; from pathlib import Path; from private_docker import run_engine;"
        "run_engine(Path(tempfile.mkdtemp(prefix='eng-', dir='/tmp'))); threading.Event().wait(600)"
    )
    environ = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT / "scripts" / "lib")}
    with subprocess.Popen([sys.executable, "-c", program], env=environ, cwd=tmp_path) as started:
        wait_for(mark, "dockerd", present=True)
        started.send_signal(number)
    wait_for(mark, "", present=False)


def test_a_terminated_test_run_ends_its_engines(
    mark: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Also while a test runs; SIGTERM goes to the script alone, as from a supervisor.

    What runs here on an engine of today asks the script for one too.
    """
    test = ROOT / "tests" / "docker" / f"test_lasting_{mark}.py"
    test.write_text(LONG_TEST)
    try:
        environ = {**os.environ, MARK: mark}
        current = ["--current-engine"] * pytestconfig.getoption("--current-engine")
        command = [str(ROOT / "scripts" / "test"), *current, str(test)]
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=log, stderr=log) as run,
        ):
            wait_for(mark, "dockerd", present=True)
            run.terminate()
            assert run.wait(SECONDS) != 0
        wait_for(mark, "", present=False)
    finally:
        test.unlink()
