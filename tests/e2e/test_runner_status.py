"""`backrest-runner status` as it is run: one answer, its exit status, and nothing left behind."""

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sidecar.backrest.workloads import MountRecord, WorkloadRecord, render_workloads
from sidecar.service.health import Health
from sidecar.service.heartbeat import Heartbeat
from tests.e2e.runner_process import RunnerFolder

WEB = WorkloadRecord("media/web", "web", "media", plan="web", mounts=(MountRecord("/x", plan="w"),))
REDIS = WorkloadRecord("media/redis", "redis", "media", mounts=(MountRecord("/data"),))
LEAVE = b"\x1b[?25h\x1b[?1049l"


@pytest.fixture
def parts(tmp_path: Path) -> RunnerFolder:
    """A document with one plan, each day."""
    made = RunnerFolder(tmp_path)
    made.write(made.plan(schedule={"cron": "0 3 * * *"}))
    return made


def tell(parts: RunnerFolder, *workloads: WorkloadRecord, ago: float = 0.0) -> None:
    """Write what the sidecar tells, whose daemon moved so long ago."""
    folder = parts.config.parent / ".sidecar"
    folder.mkdir(exist_ok=True)
    (folder / "workloads.json").write_bytes(render_workloads(workloads))
    Heartbeat(folder, 600.0).beat(time.time() - ago, Health())


def test_a_service_is_protected_after_its_first_run(parts: RunnerFolder) -> None:
    """Before it, it is not; a data mount in no plan is named, and each has its exit status."""
    tell(parts, WEB)
    before = parts.run("status")
    assert (3, "") == (before.returncode, before.stderr)
    assert "0 of 1 service protected, newest –" == before.stdout.splitlines()[-1]
    assert not parts.state.exists()

    parts.run("run", "web")
    after = parts.run("status")
    assert (0, "") == (after.returncode, after.stderr)
    assert after.stdout.splitlines()[-1].startswith("1 of 1 service protected, newest ")

    tell(parts, WEB, REDIS)
    unsaved = parts.run("status")
    assert 3 == unsaved.returncode
    assert unsaved.stdout.endswith("; in no plan: media/redis /data\n")


def test_without_the_list_of_a_sidecar_plans_are_shown(parts: RunnerFolder) -> None:
    """What mounts there are, nobody knows: that is not all well."""
    parts.run("run", "web")
    done = parts.run("status")
    assert 3 == done.returncode
    assert done.stdout.splitlines()[-1].endswith(
        "in no plan: – (no daemon of backrest-sidecar runs here to tell which mounts there are)"
    )

    (parts.config.parent / ".sidecar").mkdir()
    (parts.config.parent / ".sidecar" / "workloads.json").write_text("{}")
    assert "it is not of version 1" in parts.run("status").stdout


def test_a_list_that_no_daemon_keeps_may_be_out_of_date(parts: RunnerFolder) -> None:
    """So it is not all well, whatever it says."""
    parts.run("run", "web")
    tell(parts, WEB, ago=86400.0)
    dead = parts.run("status")
    (parts.config.parent / ".sidecar" / "heartbeat.json").unlink()
    ended = parts.run("status")
    for done in (dead, ended):
        assert (3, True) == (
            done.returncode,
            "warning: services that came lately may be missing" in done.stdout,
        )


def test_json_has_the_same_facts(parts: RunnerFolder) -> None:
    """Snake case; null is not known."""
    parts.run("run", "web")
    tell(parts, WEB)
    shown = json.loads(parts.run("status", "--output", "json").stdout)
    (service,) = shown["services"]
    assert (True, True, 1, 1, []) == tuple(
        shown[key]
        for key in ("everything_protected", "everything_known", "protected", "total", "in_no_plan")
    )
    assert ("media/web", "web", "store", "config.json", "protected") == tuple(
        service[key] for key in ("service", "plan", "repository", "document", "state")
    )
    assert (86400.0, 1, 5, None, None) == tuple(
        service[key] for key in ("period", "files", "size", "verified", "last_failure")
    )


def test_a_backrest_that_does_not_answer_is_told(parts: RunnerFolder) -> None:
    """What the journal knows is known all the same; a login without its password is refused."""
    tell(parts, WEB)
    done = parts.run("status", "--backrest-url", "http://127.0.0.1:9")
    assert 3 == done.returncode
    assert "nothing is known of its runs: " in done.stdout
    refused = parts.run("status", "--backrest-url", "http://127.0.0.1:9", "--backrest-user", "me")
    assert (1, True) == (refused.returncode, "has no password" in refused.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_watching_ends_at_a_signal_and_leaves_the_terminal_as_it_was(
    parts: RunnerFolder, number: signal.Signals
) -> None:
    """It ends with the last answer and its status."""
    tell(parts, WEB)
    parts.run("run", "web")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        parts.command("status", "--watch"),
        env={**parts.variables, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        written = b""
        while b"protected, newest" not in written:
            written += os.read(ours, 65536)
        process.send_signal(number)
        try:
            while LEAVE not in written or not written.endswith(b"\n"):
                written += os.read(ours, 65536)
        except OSError:
            assert LEAVE in written
        assert 0 == process.wait(30)
    os.close(ours)
    assert written.index(b"\x1b[?1049h") < written.index(LEAVE)
    assert b"1 of 1 service protected, newest " in written.partition(LEAVE)[2]


def test_watching_needs_a_terminal(parts: RunnerFolder) -> None:
    """A log would grow for ever."""
    done = parts.run("status", "--watch")
    assert (1, True) == (done.returncode, "--watch needs a terminal" in done.stderr)
