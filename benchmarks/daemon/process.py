"""The daemon as a process of its own, and what the kernel tells of a process."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from benchmarks.measure import ROOT
from benchmarks.reconcile.stack import document

_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.1
_SHOWN = 2000
_FOREIGN_PLANS = 1
_PASSES = re.compile(r'^backrest_sidecar_reconciles_total\{result="\w+"\} (\d+)', re.MULTILINE)


class Memory(NamedTuple):
    """Bytes of a process in memory: resident, and its share of what it shares with others."""

    resident: int
    share: int

    def __str__(self) -> str:
        return f"{self.resident / 1e6:.1f} MB (PSS {self.share / 1e6:.1f})"


@dataclass(frozen=True, slots=True)
class Process:
    """A running process."""

    pid: int

    def ensure_running(self) -> None:
        """Raise RuntimeError if it has ended."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, self.pid, flags) is not None:
            raise RuntimeError(f"the process {self.pid} ended by itself")

    def memory(self) -> Memory:
        """Tell how much memory it has now."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return Memory(sizes["Rss"], sizes["Pss"])

    def cpu(self) -> float:
        """Tell its processor time so far, user and system, in seconds, with its children's.

        Its own comes from its clock in the kernel, which is finer than the hundredths of
        a second in `stat`; ended threads count. Only ended children do.
        """
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        children = int(fields[13]) + int(fields[14])
        # What clock_getcpuclockid() gives, which Python does not have.
        clock = ((~self.pid) << 3) | 2
        return time.clock_gettime(clock) + children / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Daemon(Process):
    """A running daemon over the document `config`; `port` serves its pages."""

    config: Path
    port: int = 0

    def plans(self) -> int:
        """Count the plans of ours in the file."""
        self.ensure_running()
        return len(json.loads(self.config.read_bytes())["plans"]) - _FOREIGN_PLANS

    def passes(self) -> int:
        """Count its passes so far, whatever came of them."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return sum(map(int, _PASSES.findall(answer.read().decode())))


@contextmanager
def running_daemon(
    folder: Path, address: str, *flags: str, has_pages: bool = False, is_new: bool = True
) -> Iterator[Daemon]:
    """Run a daemon in `folder`, with a new document unless there is one, until its first pass."""
    folder.mkdir(exist_ok=True)
    config, port = folder / "config.json", _free_port()
    if is_new:
        config.write_text(document())
    pages = ("--listen", f"127.0.0.1:{port}") if has_pages else ()
    given = ("--config", str(config), "--docker-sock", address, *pages, *flags)
    with running("-m", "sidecar", "daemon", *given, log=folder / "log") as pid:
        heartbeat = folder / ".sidecar" / "heartbeat.json"
        daemon = Daemon(pid, config, port)
        wait_until(lambda: _is_well(daemon, heartbeat), "a first good pass")
        yield daemon


@contextmanager
def running(*arguments: str, log: Path) -> Iterator[int]:
    """Run our Python with `arguments`; give its pid, and end it by SIGTERM.

    What it logged last is shown when a RuntimeError ends the measurement.
    """
    variables = {key: value for key, value in os.environ.items() if "BACKREST" not in key}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=variables | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
    try:
        yield child.pid
    except RuntimeError:
        print(log.read_text(errors="replace")[-_SHOWN:], file=sys.stderr)
        raise
    finally:
        child.terminate()
        child.wait(_STOP_SECONDS)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 100.0) -> None:
    """Look ten times a second until it holds; RuntimeError after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(_LOOK_SECONDS)


def _is_well(daemon: Daemon, heartbeat: Path) -> bool:
    daemon.ensure_running()
    try:
        told = json.loads(heartbeat.read_bytes())
    except FileNotFoundError:
        return False
    return bool(told["pid"] == daemon.pid and not told["findings"])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
