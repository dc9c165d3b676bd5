"""Running a program: a process group of its own, bounded output, an end that is certain.

Naming a process so that it is never taken for another, and ending what one left.

What a stream says: its last bytes, and its lines for somebody.
"""

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A program that was started: its pid, and when, in clock ticks: pids come again."""

    pid: int
    started: int


def child_of(pid: int) -> Child:
    """Name a living process; `started` is 0 where there is none, or it cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return Child(pid, 0)
    # The name in parentheses may hold blanks; the state follows it, the start 19 fields later.
    fields = text.rpartition(")")[2].split()
    return Child(pid, 0 if fields[0] in "XZ" else int(fields[19]))


def started_at(child: Child) -> float:
    """Give when a child was started, in unix seconds, to about a second."""
    lines = Path("/proc/stat").read_text(encoding="ascii", errors="replace").splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + child.started / os.sysconf("SC_CLK_TCK")


def end_leftover(child: Child, grace: float) -> bool:
    """End the group of a child of a process that died; True if it still ran.

    A number that means another process by now is left alone.
    """
    if child.started == 0 or child_of(child.pid) != child:
        return False
    signal_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        if child_of(child.pid) != child:
            return True
        time.sleep(_LOOK_SECONDS)
    signal_group(child.pid, signal.SIGKILL)
    return True


def signal_group(pid: int, which: signal.Signals) -> None:
    """Send a signal to a process group; one that is gone is none to send to."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, which)


_LONGEST_LINE = 1 << 20


class Tail:
    """Keeps the last bytes of a stream, and cuts it into lines for somebody."""

    def __init__(self, on_line: Callable[[bytes], None] | None, most: int) -> None:
        self.kept = bytearray()
        self._on_line = on_line
        self._most = most
        self._open = bytearray()
        self._is_too_long = False

    def take(self, piece: bytes) -> None:
        """Take what was read."""
        self.kept += piece
        if len(self.kept) > self._most:
            del self.kept[: -self._most]
        if self._on_line is not None:
            *ends, rest = piece.split(b"\n")
            for end in ends:
                self._lengthen(end)
                self.finish()
            self._lengthen(rest)

    def finish(self) -> None:
        """End the line: hand it on, unless it is empty or was longer than any line is."""
        line, is_too_long = bytes(self._open), self._is_too_long
        self._open.clear()
        self._is_too_long = False
        if self._on_line is not None and line and not is_too_long:
            self._on_line(line)

    def _lengthen(self, piece: bytes) -> None:
        self._is_too_long = self._is_too_long or len(self._open) + len(piece) > _LONGEST_LINE
        if not self._is_too_long:
            self._open += piece


__all__ = [
    "Child",
    "Completed",
    "ProcessRunner",
    "SilenceTimeout",
    "child_of",
    "end_leftover",
    "started_at",
]

_PIECE = 1 << 16
_MOST_KEPT = 1 << 18
# What a program leaves in the background may hold its pipes, and write to them, for ever:
# what is in them when it has ended is read, and no pipe holds more than this.
_MOST_LEFT = 1 << 21


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended: `status` below zero is a signal; `out` and `err` are their last bytes.

    `timed_out`: it took too long and was ended; `stopped`: `stop_all` ended it. Time in seconds.
    """

    status: int
    out: bytes = b""
    err: bytes = b""
    seconds: float = 0.0
    timed_out: bool = False
    stopped: bool = False


class SilenceTimeout:
    """How long to wait for a program that gives no sign; `renew` at each sign of life.

    `monotonic` has to be that of the runner which waits.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._monotonic = monotonic
        self._since = monotonic()

    def renew(self) -> None:
        """Begin to wait anew."""
        self._since = self._monotonic()

    @property
    def ends(self) -> float:
        """The moment of the clock at which it has taken too long."""
        return self._since + self.seconds


@dataclass(slots=True)
class _Running:
    process: "subprocess.Popen[bytes]"
    timed_out: bool = False
    stopped: bool = False
    has_ended: bool = False
    forced_at: float = 0.0

    @property
    def is_to_end(self) -> bool:
        """Whether it was asked to end."""
        return self.timed_out or self.stopped


class ProcessRunner:
    """Runs programs, in any thread; `stop_all` ends those that run, and no other begins.

    `environ` is what every program inherits, `grace` the seconds between the request to end
    and the end by force.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        grace: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environ = dict(environ)
        self._grace = grace
        self._monotonic = monotonic
        self._state: dict[int, _Running] = {}
        self._idle = threading.Condition()
        self._is_stopping = False

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        script: bytes = b"",
        timeout: float | SilenceTimeout | None = None,
        on_line: Callable[[bytes], None] | None = None,
        on_start: Callable[[Child], None] | None = None,
        keep: int = _MOST_KEPT,
    ) -> Completed:
        """Run a program to its end; `script` is its standard input.

        `timeout` is in seconds, or the patience that `on_line` renews. `on_line` gets each
        line of standard output that is not empty, `on_start` the child before it is waited
        for; if one of them raises, the program is ended. Raises OSError if it cannot be
        started, also once `stop_all` was called.
        """
        began = self._monotonic()
        running = self._spawn(argv, {**self._environ, **(env or {})}, script)
        out, err = Tail(on_line, keep), Tail(None, keep)
        try:
            if on_start is not None:
                on_start(child_of(running.process.pid))
            self._pump(running, out, err, self.patience(timeout))
        except BaseException:
            signal_group(running.process.pid, signal.SIGKILL)
            raise
        finally:
            status = self._reap(running)
        out.finish()
        return Completed(
            status,
            bytes(out.kept),
            bytes(err.kept),
            self._monotonic() - began,
            running.timed_out,
            running.stopped,
        )

    def patience(self, timeout: float | SilenceTimeout | None) -> SilenceTimeout | None:
        """Return the patience that so many seconds mean; None: without end."""
        if timeout is None or isinstance(timeout, SilenceTimeout):
            return timeout
        return SilenceTimeout(timeout, self._monotonic)

    def stop_all(self) -> None:
        """End every program that runs: asked first, forced after the grace."""
        with self._idle:
            self._is_stopping = True
            for running in self._state.values():
                running.stopped = True
                signal_group(running.process.pid, signal.SIGTERM)
            if self._idle.wait_for(lambda: not self._state, self._grace):
                return
            for running in self._state.values():
                signal_group(running.process.pid, signal.SIGKILL)
            self._idle.wait_for(lambda: not self._state, self._grace)

    def allow(self) -> None:
        """Let programs begin again: what follows a stop has to be run too."""
        with self._idle:
            self._is_stopping = False

    def _spawn(self, argv: Sequence[str], env: Mapping[str, str], script: bytes) -> _Running:
        with _input_of(script) as stdin, self._idle:
            if self._is_stopping:
                raise InterruptedError("no program is started any more")
            running = _Running(_start(argv, env, stdin))
            self._state[running.process.pid] = running
            return running

    def _pump(
        self, running: _Running, out: Tail, err: Tail, patience: SilenceTimeout | None
    ) -> None:
        process = running.process
        assert process.stdout is not None  # noqa: S101 - both are pipes
        assert process.stderr is not None  # noqa: S101
        ended = os.pidfd_open(process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ, out)
                selector.register(process.stderr, selectors.EVENT_READ, err)
                selector.register(ended, selectors.EVENT_READ)
                while not running.has_ended:
                    self._wait(running, selector, patience)
                selector.unregister(ended)
                self._drain(running, selector)
        finally:
            os.close(ended)

    def _wait(
        self, running: _Running, selector: selectors.BaseSelector, patience: SilenceTimeout | None
    ) -> None:
        """Take what comes next, and see to it that the wait for the end has one itself."""
        until = _until(running, patience)
        left = None if until is None else max(0.0, until - self._monotonic())
        for key, _ in selector.select(left):
            if key.data is None:
                running.has_ended = True
            else:
                _take(selector, key)
        # Asked again: it may have been renewed, and one that never pauses must end as well.
        until = _until(running, patience)
        if until is not None and self._monotonic() >= until and not running.has_ended:
            self._overdue(running)

    def _overdue(self, running: _Running) -> None:
        """Ask it to end, each further time force it."""
        which = signal.SIGKILL if running.timed_out else signal.SIGTERM
        running.timed_out = True
        running.forced_at = self._monotonic() + self._grace
        signal_group(running.process.pid, which)

    def _drain(self, running: _Running, selector: selectors.BaseSelector) -> None:
        """Read what the program left in its pipes.

        Of one that was asked to end, others of its group may still do so: within the grace.
        """
        until = self._monotonic() + (self._grace if running.is_to_end else 0.0)
        left = _MOST_LEFT
        while left > 0 and selector.get_map():
            events = selector.select(max(0.0, until - self._monotonic()))
            left -= sum(_take(selector, key) for key, _ in events)
            if not events:
                return

    def _reap(self, running: _Running) -> int:
        process = running.process
        # Not under the lock: one that hangs in the kernel must not keep others from beginning.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._idle:
            # Until it is waited for, its number belongs to nobody else.
            if running.is_to_end:
                signal_group(process.pid, signal.SIGKILL)
            status = process.wait()
            del self._state[process.pid]
            self._idle.notify_all()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return status


def _start(argv: Sequence[str], env: Mapping[str, str], stdin: int) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,
        )
    except ValueError as error:
        # A null byte, or half of a character: no program can be given such an argument.
        raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {error}", argv[0]) from error


def _until(running: _Running, patience: SilenceTimeout | None) -> float | None:
    """Give when something has to be done about it."""
    if running.timed_out:
        return running.forced_at
    return None if patience is None else patience.ends


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> int:
    """Read a piece of a pipe; give its length."""
    piece = os.read(key.fd, _PIECE)
    if piece:
        key.data.take(piece)
    else:
        selector.unregister(key.fileobj)
    return len(piece)


@contextlib.contextmanager
def _input_of(script: bytes) -> Iterator[int]:
    """Return a descriptor from which the script can be read; it takes no thread to write it."""
    if not script:
        yield subprocess.DEVNULL
        return
    memory = os.memfd_create("script")
    try:
        os.write(memory, script)
        os.lseek(memory, 0, os.SEEK_SET)
        yield memory
    finally:
        os.close(memory)
