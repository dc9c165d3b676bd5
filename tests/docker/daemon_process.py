"""The daemon as a process of its own, waited for without sleeping."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_PASSES = re.compile(r"^backrest_sidecar_reconciles_total\{[^}]*\} (\d+)", re.MULTILINE)


@dataclass
class DaemonProcess:
    """A running daemon: its document, and the events that it has logged."""

    process: subprocess.Popen[bytes]
    config: Path
    log: Path
    port: int

    def events(self) -> list[dict[str, Any]]:
        """Return the events logged so far."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def names(self) -> list[str]:
        """Return the names of the events logged so far."""
        return [event["event"] for event in self.events()]

    def plans(self) -> dict[str, dict[str, Any]]:
        """Return our plans in the document by their short ids; none while there is no document."""
        try:
            document = json.loads(self.config.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        prefix = "backrest_sidecar_"
        plans = document.get("plans", [])
        return {p["id"].removeprefix(prefix): p for p in plans if p["id"].startswith(prefix)}

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; fails with the log if it never does."""
        end = time.monotonic() + _SECONDS
        while not holds():
            assert self.process.poll() is None, f"ended: {self.log.read_text()}"
            assert time.monotonic() < end, f"never: {what}\n{self.log.read_text()[-4000:]}"
            select.select([], [], [], _LOOK_SECONDS)

    def wait_for_plans(self, *names: str) -> None:
        """Wait until exactly these plans of ours stand in the document."""
        self.wait(lambda: set(self.plans()) == set(names), f"plans {names}")

    def passes(self) -> int:
        """Return how many passes it has made; the log does not name those that changed nothing."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=_SECONDS) as answer:
            return sum(map(int, _PASSES.findall(answer.read().decode())))

    def wait_for_next_pass(self) -> int:
        """Ask for a pass over everything and wait for its end; return how many there were."""
        before = self.passes()
        self.signal(signal.SIGHUP)
        self.wait(lambda: self.passes() > before, "another pass")
        return self.passes()

    def wait_for_event(self, name: str, count: int = 1) -> None:
        """Wait until an event was logged so often."""
        self.wait(lambda: self.names().count(name) >= count, f"{count} events {name}")

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """End it as Docker does; give its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(_SECONDS)


@contextmanager
def run_daemon(config: Path, address: str, *arguments: str) -> Iterator[DaemonProcess]:
    """Start `backrest-sidecar daemon` on a document and an engine; ended in any case."""
    log, port = config.parent / "daemon.log", _free_port()
    command = [sys.executable, "-m", "sidecar", "daemon", "--config", str(config)]
    command += ["--listen", f"127.0.0.1:{port}"]
    command += ["--docker-sock", address, "--log-format", "json", "--log-level", "debug"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *arguments], stderr=stream)
    daemon = DaemonProcess(process, config, log, port)
    try:
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(_SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
