"""Running programs: real ones, with real signals; nothing they leave outlives the test."""

import contextlib
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.lib.process import (
    Child,
    ChildOptions,
    Completed,
    ProcessRunner,
    SilenceTimeout,
    child_of,
    end_leftover,
    started_at,
)

PATH = {"PATH": os.environ["PATH"]}
GRACE = 0.3
# What a test waits for at most where it expects something within milliseconds.
LONG = 20.0


@pytest.fixture
def runner() -> ProcessRunner:
    """Return a runner of little patience."""
    return ProcessRunner(PATH, grace=GRACE)


def shell(runner: ProcessRunner, script: str, **options: object) -> Completed:
    """Run a shell script."""
    return runner.run(["sh", "-c", script], **options)  # type: ignore[arg-type]


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what other processes bring about."""
    deadline = time.monotonic() + LONG
    while not is_so():
        assert time.monotonic() < deadline
        os.sched_yield()


def lives(pid: int) -> bool:
    """Tell whether a process of that number runs."""
    return child_of(pid).started != 0


@pytest.fixture
def beside(runner: ProcessRunner) -> Iterator[Callable[..., threading.Thread]]:
    """Run scripts in threads of their own; they are ended with the test."""
    threads: list[threading.Thread] = []

    def start(script: str, results: list[Completed]) -> threading.Thread:
        began = threading.Event()

        def run() -> None:
            results.append(shell(runner, script, on_line=lambda _: began.set()))

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        assert began.wait(LONG)
        return threads[-1]

    yield start
    runner.stop_all()
    for thread in threads:
        thread.join()


def test_status_and_both_streams_are_given(runner: ProcessRunner) -> None:
    """What a program says and how it ends is all there."""
    completed = shell(runner, "echo out; echo err >&2; exit 7")

    assert (7, b"out\n", b"err\n") == (completed.status, completed.out, completed.err)
    assert not completed.timed_out
    assert not completed.stopped


def test_a_signal_is_a_negative_status(runner: ProcessRunner) -> None:
    """A program that another one kills did not exit."""
    assert -signal.SIGKILL == shell(runner, "kill -9 $$").status


def test_environment_is_the_inherited_one_and_what_is_added(runner: ProcessRunner) -> None:
    """Nothing of the test's own environment gets through."""
    completed = runner.run(["env"], env={"ADDED": "1"})

    assert {f"PATH={PATH['PATH']}", "ADDED=1"} == set(completed.out.decode().split("\n")) - {""}


def test_script_is_the_standard_input(runner: ProcessRunner) -> None:
    """A script of any length arrives whole, and then the input ends."""
    script = b"x" * 300_000

    assert script == runner.run(["cat"], script=script, options=ChildOptions(keep=1 << 20)).out


def test_without_a_script_the_input_is_empty(runner: ProcessRunner) -> None:
    """A program that reads does not wait for a person."""
    assert b"" == runner.run(["cat"]).out


def test_only_the_last_bytes_are_kept(runner: ProcessRunner) -> None:
    """A chatty program costs no memory; the end is what tells why it failed."""
    completed = shell(runner, "seq 100000; seq 100000 >&2", options=ChildOptions(keep=13))

    assert (b"99999\n100000\n", b"99999\n100000\n") == (completed.out, completed.err)


def test_lines_come_whole_however_they_are_written(runner: ProcessRunner) -> None:
    """Lines in pieces, empty lines, many lines at once and a last one without an end."""
    lines: list[bytes] = []
    shell(runner, "printf 'a'; printf 'b\\n\\nc\\nd'; seq 3", on_line=lines.append)

    assert [b"ab", b"c", b"d1", b"2", b"3"] == lines


def test_a_line_beyond_measure_is_left_out_whole(runner: ProcessRunner) -> None:
    """Neither its beginning nor its end is taken for a line."""
    lines: list[bytes] = []
    endless = "head -c 3000000 /dev/zero | tr '\\0' x"
    shell(runner, f"echo before; {endless}; echo; echo after", on_line=lines.append)

    assert [b"before", b"after"] == lines


def test_the_child_is_told_before_it_is_waited_for(runner: ProcessRunner, tmp_path: Path) -> None:
    """Its pid and start are those of the process; when it started can be told."""
    children: list[Child] = []
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def tell(child: Child) -> None:
        children.append(child)
        gate.open("wb").close()

    completed = shell(
        runner, f"echo $$; read line <'{gate}'; exit 0", options=ChildOptions(on_start=tell)
    )

    [child] = children
    assert child.pid == int(completed.out)
    assert abs(started_at(child) - time.time()) < LONG
    assert child_of(child.pid).started == 0


@pytest.mark.parametrize("argv", [["no-such-program"], ["sh", "a\0b"], ["sh", "\ud800"]])
def test_what_cannot_be_started_is_an_oserror(runner: ProcessRunner, argv: list[str]) -> None:
    """Whatever the reason, so that there is one thing to catch."""
    with pytest.raises(OSError) as caught:
        runner.run(argv)

    assert argv[0] == caught.value.filename


def test_a_program_that_takes_too_long_is_asked_to_end(runner: ProcessRunner) -> None:
    """It may clean up, and what it then says is kept."""
    script = "trap 'echo cleaned; exit 3' TERM; echo ready; sleep 1000 & wait"
    completed = shell(runner, script, timeout=0.3)

    assert (3, b"ready\ncleaned\n", True) == (
        completed.status,
        completed.out,
        completed.timed_out,
    )


def test_a_program_that_does_not_listen_is_forced(runner: ProcessRunner) -> None:
    """After the grace it is killed, and so is all of its group."""
    pids: list[bytes] = []
    script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; sleep 1000'; true"
    completed = shell(runner, script, timeout=0.3, on_line=pids.append)

    assert (-signal.SIGKILL, True) == (completed.status, completed.timed_out)
    wait_until(lambda: not lives(int(pids[0])))


def test_what_a_program_leaves_when_it_is_ended_is_ended_too(runner: ProcessRunner) -> None:
    """Its group gets the grace, then no member is left."""
    pids: list[bytes] = []
    script = "sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait"
    completed = shell(runner, script, timeout=0.3, on_line=pids.append)

    assert -signal.SIGTERM == completed.status
    wait_until(lambda: not lives(int(pids[0])))


def test_a_program_that_never_pauses_is_ended_in_time(runner: ProcessRunner) -> None:
    """There being always something to read is no reason to go on."""
    completed = runner.run(["yes"], timeout=0.3, options=ChildOptions(keep=100))

    assert completed.timed_out
    assert completed.seconds < LONG


def test_patience_is_renewed_by_signs_of_life(runner: ProcessRunner) -> None:
    """A program may take longer than the patience if it says something in between."""
    patience = SilenceTimeout(0.5)
    script = "for i in 1 2 3 4; do echo $i; sleep 0.2; done"
    completed = shell(runner, script, timeout=patience, on_line=lambda _: patience.renew())

    assert (0, False) == (completed.status, completed.timed_out)
    assert completed.seconds > 0.5


def test_patience_ends_without_signs_of_life(runner: ProcessRunner) -> None:
    """What it said before does not help."""
    patience = SilenceTimeout(0.3)
    completed = shell(
        runner, "echo 1; sleep 1000", timeout=patience, on_line=lambda _: patience.renew()
    )

    assert (b"1\n", True) == (completed.out, completed.timed_out)


def test_a_silent_program_that_works_is_waited_for(runner: ProcessRunner) -> None:
    """Also where it is a child of it that copies."""
    script = "for i in 1 2 3 4; do head -c 1000000 /dev/zero >/dev/null; sleep 0.2; done"
    completed = shell(runner, script, timeout=0.3, options=ChildOptions(lives_by_work=True))
    impatient = shell(runner, script, timeout=0.3)

    assert (0, False) == (completed.status, completed.timed_out)
    assert completed.seconds > 0.6
    assert impatient.timed_out


def test_a_silent_program_that_does_nothing_is_ended(runner: ProcessRunner) -> None:
    """Whatever it has moved before, and also if its few bytes only tell that it is there."""
    script = "head -c 1000000 /dev/zero >/dev/null; while echo on >/dev/null; do sleep 0.1; done"
    options = ChildOptions(lives_by_work=True)
    completed = shell(runner, script, timeout=0.2, options=options)

    assert completed.timed_out
    assert completed.seconds < LONG


def test_a_program_that_is_hopeless_is_ended_however_it_works(runner: ProcessRunner) -> None:
    """What it says decides."""
    patience = SilenceTimeout(None)
    completed = shell(
        runner,
        "echo hopeless >&2; while head -c 1000000 /dev/zero >/dev/null; do :; done",
        timeout=patience,
        options=ChildOptions(on_error_line=lambda _: patience.expire(), lives_by_work=True),
    )

    assert completed.timed_out


def test_a_program_that_stood_still_with_us_has_not_taken_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen as a whole, by a cgroup or SIGSTOP, it ends well once it goes on."""
    fifo, moments = tmp_path / "fifo", [0.0]
    os.mkfifo(fifo)

    class Frozen(selectors.DefaultSelector):
        """Stands still for the first wait; the program ends in the next one."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if not moments[-1]:
                moments.append(1000.0)
                return []
            if moments[-1] == 1000.0:
                os.close(os.open(fifo, os.O_WRONLY))
                moments.append(1001.0)
            return super().select(timeout)

    monkeypatch.setattr("sidecar.lib.process.selectors.DefaultSelector", Frozen)
    runner = ProcessRunner(PATH, grace=GRACE, monotonic=lambda: moments[-1])
    completed = runner.run(["sh", "-c", f"read line < {fifo}; exit 0"], timeout=10.0)

    assert (0, False) == (completed.status, completed.timed_out)


def test_what_is_said_of_an_error_can_end_the_program(runner: ProcessRunner) -> None:
    """At once and for good: no further sign of life helps, nor that there was no limit."""
    patience = SilenceTimeout(None)
    heard: list[bytes] = []

    def listen(line: bytes) -> None:
        heard.append(line)
        patience.expire()

    completed = shell(
        runner,
        "echo hopeless >&2; while echo on; do sleep 0.1; done",
        timeout=patience,
        on_line=lambda _: patience.renew(),
        options=ChildOptions(on_error_line=listen),
    )

    assert (True, [b"hopeless"]) == (completed.timed_out, heard)


@pytest.mark.parametrize("script", ["sleep 1000 & echo done", "yes & echo done"])
def test_what_a_program_leaves_in_the_background_is_not_waited_for(
    runner: ProcessRunner, script: str
) -> None:
    """It holds the pipes for ever; a hook may start such a thing on purpose."""
    children: list[Child] = []
    completed = shell(runner, script, options=ChildOptions(on_start=children.append, keep=1 << 22))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(children[0].pid, signal.SIGKILL)

    assert completed.status == 0
    assert b"done\n" in completed.out


def test_all_that_was_said_before_the_end_is_read(runner: ProcessRunner) -> None:
    """A full pipe at the end loses nothing."""
    completed = runner.run([sys.executable, "-c", "print('x' * 65000)"])

    assert 65001 == len(completed.out)


def test_a_program_is_asked_in_one_way_after_the_other(runner: ProcessRunner) -> None:
    """Each way has its own grace, and what it says about it is kept."""
    script = "trap 'echo first' INT; trap 'echo second; exit 3' TERM; echo on; while :; do sleep 0.05; done"
    options = ChildOptions(asks=(signal.SIGINT, signal.SIGTERM))
    completed = shell(runner, script, timeout=0.3, options=options)

    assert (3, b"on\nfirst\nsecond\n") == (completed.status, completed.out)


def test_stop_all_asks_in_one_way_after_the_other(runner: ProcessRunner) -> None:
    """A program that listens to the first is not asked a second time."""
    began = threading.Event()
    results: list[Completed] = []
    script = "trap 'sleep 0.1; echo cleaned; exit 4' INT; echo on; while :; do sleep 0.05; done"

    def run() -> None:
        options = ChildOptions(asks=(signal.SIGINT, signal.SIGTERM))
        results.append(shell(runner, script, options=options, on_line=lambda _: began.set()))

    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(LONG)
    runner.stop_all()
    thread.join()

    assert [(4, b"on\ncleaned\n")] == [(one.status, one.out) for one in results]


def test_a_program_that_nobody_listens_to_any_more_may_clean_up(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    """Whatever interrupts us: it gets the grace that it gets at any other end."""

    def interrupt(_: bytes) -> None:
        raise KeyboardInterrupt

    script = f"trap 'sleep 0.1; : >{tmp_path}/cleaned; exit' TERM; echo on; sleep 1000 & wait"
    with pytest.raises(KeyboardInterrupt):
        shell(runner, script, on_line=interrupt)

    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("where", ["on_line", "on_start"])
def test_a_program_is_ended_if_nobody_can_listen(runner: ProcessRunner, where: str) -> None:
    """An error of the listener reaches the caller, and the program does not run on."""
    children: list[Child] = []

    def refuse(_: object) -> None:
        raise KeyError(where)

    def start(child: Child) -> None:
        children.append(child)
        if where == "on_start":
            refuse(child)

    with pytest.raises(KeyError):
        shell(runner, "echo line; sleep 1000", on_line=refuse, options=ChildOptions(on_start=start))
    assert not lives(children[0].pid)


def test_stop_all_ends_what_runs_and_keeps_others_from_beginning(
    runner: ProcessRunner, beside: Callable[..., threading.Thread]
) -> None:
    """Two programs, one of which does not listen; afterwards nothing runs."""
    results: list[Completed] = []
    threads = [
        beside("echo on; sleep 1000", results),
        beside("trap '' TERM; echo on; sleep 1000; sleep 1000", results),
    ]
    runner.stop_all()
    for thread in threads:
        thread.join()

    assert {(-signal.SIGTERM, True), (-signal.SIGKILL, True)} == {
        (result.status, result.stopped) for result in results
    }
    with pytest.raises(InterruptedError):
        shell(runner, "true")


def test_allow_lets_programs_begin_again(runner: ProcessRunner) -> None:
    """The hooks that follow a stop have to be run."""
    runner.stop_all()
    runner.allow()

    assert 0 == shell(runner, "true").status


def test_many_threads_run_programs_at_once(runner: ProcessRunner) -> None:
    """Each gets what its own program said."""
    said: dict[int, bytes] = {}

    def run(number: int) -> None:
        said[number] = shell(runner, f"echo {number}").out

    threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {number: b"%d\n" % number for number in range(8)} == said


def test_no_descriptor_is_left_open(runner: ProcessRunner) -> None:
    """A process that runs for months would have none left."""
    runner.run(["cat"], script=b"x")
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        runner.run(["cat"], script=b"x")

    assert before == os.listdir("/proc/self/fd")


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Child]:
    """Return a program in a group of its own, as a runner that died leaves it."""
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", f"trap '' TERM; : >{tmp_path}/ready; sleep 1000; sleep 1000"],
        PATH,
        setsid=True,
    )
    wait_until((tmp_path / "ready").exists)
    yield child_of(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_leftover_is_ended(orphan: Child) -> None:
    """Asked first, forced then."""
    assert end_leftover(orphan, 0.2)
    wait_until(lambda: not lives(orphan.pid))
    assert not end_leftover(orphan, 0.2)


def test_a_number_that_means_another_process_is_left_alone(orphan: Child) -> None:
    """Pids come again; what was started at another time is not ours."""
    assert not end_leftover(Child(orphan.pid, orphan.started - 1), 0.2)
    assert not end_leftover(Child(orphan.pid, 0), 0.2)
    assert lives(orphan.pid)
