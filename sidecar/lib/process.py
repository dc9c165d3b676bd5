"""Run programs: a process group of their own, bounded output, and an end that is certain.

`ProcessRunner` runs them. A `Child` names one so that it is never mistaken for another
process: it can be stored, and `end_leftover` ends it after a crash of ours.
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

MOST_KEPT = 1 << 18
"""Bytes of a program's output that are kept, if nothing else is said."""
_POLL_SECONDS = 0.05
_PIECE = 1 << 16
# What a program leaves in the background may hold its pipes, and write to them, for ever:
# what is in them when it has ended is read, and no pipe holds more than this.
_MAX_LEFT = 1 << 21
_MAX_LINE = 1 << 20
# Bytes that a program moves at least while it is at work. What only keeps a connection open is
# less, within an hour.
_LEAST_MOVED = 1 << 16
# So often the wait for a program is looked at: one that took much longer was no wait of ours.
_TICK = 5.0
_LATE = 1.0


@dataclass(frozen=True, slots=True)
class Child:
    """A program that was started: its pid, and the start in clock ticks, as pids are reused."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What only some programs need.

    Attributes:
        asks: how it is asked to end, one signal after the other.
        inherits: descriptors that it inherits.
        on_error_line: gets each line of its standard error that is not empty.
        lives_by_work: whether it may be silent as long as it, and what it has started, read or
            write something else. It is looked at when it has been silent for too long, so that one
            that hangs is ended after twice that time at the latest.
        on_start: gets the child before it is waited for.
        keep: how many bytes of each output are kept, the last ones.
        returns_end_lines: whether a carriage return ends a line of its standard output too, as
            where a program writes its progress over and over.
        on_piece: gets each piece of its standard output, as it is. The program waits meanwhile.
    """

    asks: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    inherits: tuple[int, ...] = ()
    on_error_line: Callable[[bytes], None] | None = None
    lives_by_work: bool = False
    on_start: Callable[[Child], None] | None = None
    keep: int = MOST_KEPT
    returns_end_lines: bool = False
    on_piece: Callable[[bytes], None] | None = None


_USUAL = ChildOptions()


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
    """How long to wait for a program that is silent; `renew` at each sign of life.

    `seconds` is None for ever. `monotonic` has to be that of the ProcessRunner.
    """

    def __init__(
        self, seconds: float | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._monotonic = monotonic
        self._since = monotonic()
        self._has_expired = False

    def renew(self) -> None:
        """Start the wait anew."""
        self._since = self._monotonic()

    def prolong(self, seconds: float) -> None:
        """Give it so many seconds more."""
        self._since += seconds

    def expire(self) -> None:
        """Wait no longer, whatever signs of life come."""
        self._has_expired = True

    @property
    def has_expired(self) -> bool:
        """Whether no sign of life counts any more."""
        return self._has_expired

    @property
    def ends(self) -> float | None:
        """When, by the monotonic clock, it has taken too long; None: never."""
        if self._has_expired:
            return self._since
        return None if self.seconds is None else self._since + self.seconds


@dataclass(slots=True)
class _Running:
    """A program that runs.

    `asks` are the signals that it has yet to be asked to end by, `moved` is how many bytes it had
    read and written when it was last looked at; None: it is not looked at.
    """

    process: "subprocess.Popen[bytes]"
    asks: tuple[signal.Signals, ...]
    moved: int | None = None
    timed_out: bool = False
    stopped: bool = False
    has_ended: bool = False
    forced_at: float = 0.0

    @property
    def is_to_end(self) -> bool:
        """Whether it was asked to end."""
        return self.timed_out or self.stopped

    def ask(self) -> bool:
        """Send its group the next signal; return whether that was the last one, SIGKILL."""
        which, *rest = *self.asks, signal.SIGKILL
        self.asks = tuple(rest[:-1])
        _signal_group(self.process.pid, which)
        return not rest


class _Tail:
    """Keeps the last bytes of a stream, and passes its lines to `on_line`."""

    def __init__(
        self,
        on_line: Callable[[bytes], None] | None,
        most: int,
        *,
        returns_end_lines: bool = False,
        on_piece: Callable[[bytes], None] | None = None,
    ) -> None:
        self.kept = bytearray()
        self._on_line = on_line
        self._on_piece = on_piece
        self._returns_end_lines = returns_end_lines
        self._most = most
        self._open = bytearray()
        self._is_too_long = False

    def take(self, piece: bytes) -> None:
        """Add a piece of the stream."""
        if self._on_piece is not None:
            self._on_piece(piece)
        self.kept += piece
        if len(self.kept) > self._most:
            del self.kept[: -self._most]
        if self._on_line is not None:
            if self._returns_end_lines:
                piece = piece.replace(b"\r", b"\n")
            *ends, rest = piece.split(b"\n")
            for end in ends:
                self._lengthen(end)
                self.finish()
            self._lengthen(rest)

    def finish(self) -> None:
        """End the line and pass it on, unless it is empty or was too long."""
        line, is_too_long = bytes(self._open), self._is_too_long
        self._open.clear()
        self._is_too_long = False
        if self._on_line is not None and line and not is_too_long:
            self._on_line(line)

    def _lengthen(self, piece: bytes) -> None:
        self._is_too_long = self._is_too_long or len(self._open) + len(piece) > _MAX_LINE
        if not self._is_too_long:
            self._open += piece


class ProcessRunner:
    """Runs programs, in any thread; `stop_all` ends those that run, and no other starts.

    `environ` is what every program inherits, `grace` the seconds after each request to end,
    before the next one or the end by force.
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
        options: ChildOptions = _USUAL,
    ) -> Completed:
        """Run a program to its end; `script` is its standard input.

        `timeout` is in seconds, or a SilenceTimeout that `on_line` renews. `on_line` gets each
        line of standard output that is not empty. If that raises, or what else is called, or a
        signal handler, the program is ended first. Raises OSError if it cannot be started, also
        once `stop_all` was called.
        """
        began = self._monotonic()
        running = self._spawn(argv, {**self._environ, **(env or {})}, script, options)
        out = _Tail(
            on_line,
            options.keep,
            returns_end_lines=options.returns_end_lines,
            on_piece=options.on_piece,
        )
        err = _Tail(options.on_error_line, options.keep)
        try:
            if options.on_start is not None:
                options.on_start(child_of(running.process.pid))
            self._pump(running, out, err, self.silence_timeout(timeout))
        except BaseException:
            self._end(running)
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

    def silence_timeout(self, timeout: float | SilenceTimeout | None) -> SilenceTimeout:
        """Return the SilenceTimeout of so many seconds; None: one without a limit."""
        if isinstance(timeout, SilenceTimeout):
            return timeout
        return SilenceTimeout(timeout, self._monotonic)

    def stop_all(self) -> None:
        """End every program that runs: it is asked, and after the grace it is forced."""
        with self._idle:
            self._is_stopping = True
            has_forced = False
            while self._state and not has_forced:
                # One that took too long has been asked already, and has its own grace.
                asked = [
                    one.ask() for one in self._state.values() if one.stopped or not one.timed_out
                ]
                has_forced = len(asked) == len(self._state) and all(asked)
                for running in self._state.values():
                    running.stopped = True
                self._idle.wait_for(lambda: not self._state, self._grace)

    def allow(self) -> None:
        """Let programs start again: hooks that follow a stop have to run too."""
        with self._idle:
            self._is_stopping = False

    def _spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        script: bytes,
        options: ChildOptions,
    ) -> _Running:
        with _input_of(script) as stdin, self._idle:
            if self._is_stopping:
                raise InterruptedError("no program is started any more")
            process = _start(argv, env, stdin, options.inherits)
            running = _Running(process, options.asks, 0 if options.lives_by_work else None)
            self._state[running.process.pid] = running
            return running

    def _pump(self, running: _Running, out: _Tail, err: _Tail, silence: SilenceTimeout) -> None:
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
                    self._wait(running, selector, silence)
                selector.unregister(ended)
                self._drain(running, selector)
        finally:
            os.close(ended)

    def _wait(
        self, running: _Running, selector: selectors.BaseSelector, silence: SilenceTimeout
    ) -> None:
        """Take the next output, and end the program when it is overdue."""
        until, before = _until(running, silence), self._monotonic()
        left = _TICK if until is None else min(_TICK, max(0.0, until - before))
        events = selector.select(left)
        frozen = self._monotonic() - before - left
        if frozen > _LATE:
            # With us the program stood still, as in a frozen container: it has lost that time.
            silence.prolong(frozen)
        for key, _ in events:
            if key.data is None:
                running.has_ended = True
            else:
                _take(selector, key)
        # Computed again: `on_line` may have renewed it. Not only after silence: a program
        # that writes without a pause must end as well.
        until = _until(running, silence)
        if until is None or self._monotonic() < until or running.has_ended:
            return
        if not running.is_to_end and not silence.has_expired and _has_worked(running):
            silence.renew()
        else:
            self._overdue(running)

    def _overdue(self, running: _Running) -> None:
        """Ask it to end, each time in the next way."""
        running.timed_out = True
        running.forced_at = self._monotonic() + self._grace
        running.ask()

    def _end(self, running: _Running) -> None:
        """End a program that nobody listens to any more; what it still says is dropped.

        It gets the same grace as any other: restic removes its lock in it.
        """
        try:
            self._overdue(running)
            self._pump(running, _Tail(None, 1), _Tail(None, 1), SilenceTimeout(None))
        except BaseException:
            _signal_group(running.process.pid, signal.SIGKILL)
            raise

    def _drain(self, running: _Running, selector: selectors.BaseSelector) -> None:
        """Read what the program left in its pipes.

        Of one that was asked to end, others of its group may still do so: within the grace.
        """
        until = self._monotonic() + (self._grace if running.is_to_end else 0.0)
        left = _MAX_LEFT
        while left > 0 and selector.get_map():
            events = selector.select(max(0.0, until - self._monotonic()))
            left -= sum(_take(selector, key) for key, _ in events)
            if not events:
                return

    def _reap(self, running: _Running) -> int:
        process = running.process
        # Not under the lock: one that hangs in the kernel must not keep others from starting.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._idle:
            # Until it is waited for, its pid is not reused.
            if running.is_to_end:
                _signal_group(process.pid, signal.SIGKILL)
            status = process.wait()
            del self._state[process.pid]
            self._idle.notify_all()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return status


def _start(
    argv: Sequence[str], env: Mapping[str, str], stdin: int, inherits: Sequence[int]
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,
            pass_fds=inherits,
        )
    except ValueError as error:
        # A null byte, or half of a character: no program can be given such an argument.
        raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {error}", argv[0]) from error


def _until(running: _Running, silence: SilenceTimeout) -> float | None:
    """Return when the program is overdue, by the monotonic clock; None for never."""
    return running.forced_at if running.timed_out else silence.ends


def _has_worked(running: _Running) -> bool:
    """Return whether a program that is looked at has moved data since it last was."""
    if running.moved is None:
        return False
    before, running.moved = running.moved, _bytes_moved(running.process.pid)
    # What has ended meanwhile is counted no more.
    return abs(running.moved - before) >= _LEAST_MOVED


def _bytes_moved(group: int) -> int:
    """Return how many bytes the processes of a group have read and written, files and pipes."""
    return sum(
        _bytes_of(pid)
        for pid in (int(one) for one in os.listdir("/proc") if one.isdigit())
        if _group_of(pid) == group
    )


def _group_of(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def _bytes_of(pid: int) -> int:
    """Return what a process has read and written; 0 if it has ended or is not ours."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar:", "wchar:")))


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> int:
    """Read a piece of a pipe and return its length."""
    piece = os.read(key.fd, _PIECE)
    if piece:
        key.data.take(piece)
    else:
        selector.unregister(key.fileobj)
    return len(piece)


@contextlib.contextmanager
def _input_of(script: bytes) -> Iterator[int]:
    """Lend a descriptor from which the script can be read, without a thread that writes it."""
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


def child_of(pid: int) -> Child:
    """Return the process with this pid; `started` is 0 if it does not live or is unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return Child(pid, 0)
    # The name in parentheses may hold blanks; the state follows it, the start 19 fields later.
    fields = text.rpartition(")")[2].split()
    return Child(pid, 0 if fields[0] in "XZ" else int(fields[19]))


def started_at(child: Child) -> float:
    """Return when a child was started, in unix seconds, to about a second."""
    lines = Path("/proc/stat").read_text(encoding="ascii", errors="replace").splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + child.started / os.sysconf("SC_CLK_TCK")


def end_leftover(
    child: Child, grace: float, asks: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
) -> bool:
    """End the process group of a child that outlived us; return whether it still ran.

    It is asked by each of the signals, and gets `grace` seconds after each; then SIGKILL. A
    pid that was reused is left alone.
    """
    if child.started == 0 or child_of(child.pid) != child:
        return False
    for which in asks:
        _signal_group(child.pid, which)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            if child_of(child.pid) != child:
                return True
            time.sleep(_POLL_SECONDS)
    _signal_group(child.pid, signal.SIGKILL)
    return True


def _signal_group(pid: int, which: signal.Signals) -> None:
    """Send a signal to a process group. No error if it has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, which)
