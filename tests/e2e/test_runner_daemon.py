"""`backrest-runner daemon` as it is run: a real process, real restic, real signals."""

import fcntl
import json
import os
import signal
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest

from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import Journal, RunCause, RunOutcome, Stopped
from sidecar.runner.settings import JOURNAL
from sidecar.web.client import ask_status
from sidecar.web.sockets import CONTROL
from tests.e2e.runner_process import WEB, DaemonProcess, RunnerFolder, run_daemon

DAY = 86_400
START, END, ERROR = (f"CONDITION_SNAPSHOT_{name}" for name in ("START", "END", "ERROR"))


@pytest.fixture
def parts(tmp_path: Path) -> RunnerFolder:
    """A document with one plan, which is due on New Year only."""
    return RunnerFolder(tmp_path)


def hook(command: str, *conditions: str) -> dict[str, object]:
    """A hook that runs a command."""
    return {"conditions": list(conditions), "actionCommand": {"command": command}}


def quiesced(parts: RunnerFolder) -> list[dict[str, object]]:
    """Hooks that stop something and start it again: a file says which it is."""
    state = parts.folder / "service"
    return [hook(f"echo stopped > {state}", START), hook(f"echo runs > {state}", END, ERROR)]


def is_healthy(parts: RunnerFolder) -> bool:
    """Ask the quick check."""
    return parts.run("healthcheck").returncode == 0


def test_what_came_while_it_was_down_is_run_once(parts: RunnerFolder) -> None:
    """On schedule, by real restic; the rest is recorded as missed, and all is well then."""
    parts.write(parts.plan(schedule={"cron": "* * * * *"}))
    parts.remember(WEB, 3 * 3600)
    with run_daemon(parts) as daemon:
        ended = daemon.wait_for("run.ended")
        missed = daemon.wait_for("run.missed")
        daemon.wait(lambda: is_healthy(parts), "healthy")
        assert ("success", "web") == (ended["outcome"], ended["plan"])
        assert missed["count"] >= 178
        assert 0 == daemon.stop()
    first = parts.runs()[-1]
    assert (WEB, RunCause.SCHEDULE) == (first.job, first.trigger)
    assert (parts.state / "web.success").read_text().strip().isdigit()
    assert 1 == parts.run("healthcheck").returncode


def test_skip_runs_nothing_of_what_came_while_it_was_down(parts: RunnerFolder) -> None:
    """It is recorded as missed."""
    parts.write(parts.plan(schedule={"cron": "0 0 * * *"}))
    parts.remember(WEB, 3 * DAY)
    with run_daemon(parts, "--catch-up", "skip") as daemon:
        assert 3 == daemon.wait_for("run.missed")["count"]
        assert 0 == daemon.stop()
        assert [] == daemon.events("run.began")


def test_the_last_good_document_wins(parts: RunnerFolder) -> None:
    """A broken one is told, here and by the check, and what is asked for is still done."""
    with run_daemon(parts) as daemon:
        daemon.wait(lambda: is_healthy(parts), "healthy")
        parts.config.write_text("{")
        refused = daemon.wait_for("document.refused")
        assert "the last good document" == refused["executed"]
        daemon.wait(lambda: not is_healthy(parts), "unhealthy")
        assert "the document config.json is broken" in parts.run("healthcheck").stdout
        assert 0 == parts.run("backup", "web").returncode
        parts.write(parts.plan(), parts.plan(id="db"))
        assert 2 == daemon.wait_for("document.loaded", 2)["plans"]
        daemon.wait(lambda: is_healthy(parts), "healthy again")
        assert 0 == parts.run("backup", "db").returncode


def test_a_document_that_is_not_there_yet_is_waited_for(parts: RunnerFolder) -> None:
    """It is executed as soon as it comes."""
    text = parts.config.read_text()
    parts.config.unlink()
    with run_daemon(parts) as daemon:
        assert "there is no document" in parts.run("healthcheck").stdout
        parts.config.write_text(text)
        daemon.wait_for("document.loaded")
        assert 0 == parts.run("backup", "web").returncode


def test_a_run_that_is_asked_for_twice_is_run_once(parts: RunnerFolder) -> None:
    """Whoever asks second joins it, and both hear the same end."""
    gate = parts.folder / "gate"
    os.mkfifo(gate)
    parts.write(parts.plan(hooks=[hook(f"read line < {gate}", START)]))
    with run_daemon(parts) as daemon:
        first = parts.begin("backup", "web")
        daemon.wait_for("run.began")
        second = parts.begin("backup", "web")
        assert 1 == parts.run("backup", "none").returncode
        # Both are connected: the first waits for its hook, and the second for the first.
        _wait_for_clients(daemon, 2)
        gate.write_text("go\n")
        output = [process.communicate(timeout=60)[0] for process in (first, second)]
        assert [0, 0] == [first.returncode, second.returncode]
        assert output[0] == output[1]
        assert "success" in output[0]
    assert 1 == len(parts.runs())


def _wait_for_clients(daemon: DaemonProcess, count: int) -> None:
    """Wait until so many clients follow a run; each has a connection."""
    opened = Path(f"/proc/{daemon.process.pid}/fd")

    def clients() -> int:
        held = set()
        for entry in opened.iterdir():
            with suppress(FileNotFoundError):
                held.add(str(entry.readlink()))
        rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()]
        inodes = [row[6] for row in rows if row[-1].endswith(f"/{CONTROL}")]
        # One of them is the socket that listens.
        return sum(f"socket:[{inode}]" in held for inode in inodes) - 1

    before = daemon.parts.runs()
    daemon.wait(lambda: clients() == count, f"{count} clients")
    assert before == daemon.parts.runs()


def test_a_run_that_ends_within_the_grace_is_not_disturbed(parts: RunnerFolder) -> None:
    """It is asked to end while a backup is at work: nothing new begins, that one is finished."""
    gate = parts.folder / "gate"
    os.mkfifo(gate)
    parts.write(parts.plan(hooks=[hook(f"read line < {gate}", START)]))
    with run_daemon(parts, "--grace", "50s") as daemon:
        client = parts.begin("backup", "web")
        daemon.wait_for("run.began")
        os.kill(daemon.process.pid, signal.SIGTERM)
        daemon.wait(lambda: "it is stopping" in _status(parts), "stopping")
        gate.write_text("go\n")
        assert 0 == daemon.process.wait(60)
        assert "success" in client.communicate(timeout=60)[0]
    assert [RunOutcome.SUCCESS] == [run.ended.outcome for run in parts.runs() if run.ended]


def _status(parts: RunnerFolder) -> str:
    return json.dumps(ask_status(parts.state, 10))


def test_a_run_that_does_not_end_is_ended_and_what_was_stopped_starts_again(
    parts: RunnerFolder,
) -> None:
    """After the grace: restic is ended, the hooks after it run, and the status is 0."""
    parts.write(parts.plan(hooks=quiesced(parts)))
    with run_daemon(parts, "--grace", "0.1s", "--restic", str(parts.slow())) as daemon:
        client = parts.begin("backup", "web")
        daemon.wait(parts.began.exists, "a backup")
        assert "stopped\n" == (parts.folder / "service").read_text()
        assert 0 == daemon.stop()
        assert "cancelled" in client.communicate(timeout=60)[0]
        assert 1 == client.returncode
    assert "runs\n" == (parts.folder / "service").read_text()
    assert [RunOutcome.CANCELLED] == [run.ended.outcome for run in parts.runs() if run.ended]


def test_a_backup_that_its_end_cuts_off_is_tried_again(parts: RunnerFolder) -> None:
    """A quarter of an hour later, also by the next daemon: the fire is not answered."""
    parts.remember(WEB, 400 * DAY)
    with run_daemon(parts, "--grace", "0", "--restic", str(parts.slow())) as daemon:
        daemon.wait(parts.began.exists, "a backup")
        assert 0 == daemon.stop()
        assert "cancelled" == daemon.events("run.ended")[-1]["outcome"]
        assert 1 == len(daemon.events("run.retry"))
    with Journal(parts.state / JOURNAL) as journal:
        retry = journal.past.history().retries[WEB]
    last = parts.runs()[0]
    assert (1, RunCause.SCHEDULE) == (retry.tries, last.trigger)
    assert retry.at is not None
    assert last.ended is not None
    assert abs(retry.at - last.ended.at - 900) < 60


def test_what_a_killed_daemon_left_is_put_right_before_anything_else(parts: RunnerFolder) -> None:
    """The hooks after the backup run, the run is interrupted, and the next one succeeds."""
    parts.write(parts.plan(hooks=quiesced(parts)))
    with run_daemon(parts, "--restic", str(parts.slow())) as daemon:
        client = parts.begin("backup", "web")
        daemon.wait(parts.began.exists, "a backup")
        daemon.stop(signal.SIGKILL)
        client.communicate(timeout=60)
        assert 1 == client.returncode
    assert "stopped\n" == (parts.folder / "service").read_text()
    with run_daemon(parts) as daemon:
        assert "runs\n" == (parts.folder / "service").read_text()
        assert "was interrupted" in parts.run("healthcheck").stdout
        assert (parts.state / "web.failed").read_text().startswith("FAILED\n")
        assert 0 == parts.run("backup", "web").returncode
        daemon.wait(lambda: is_healthy(parts), "healthy")
    assert not (parts.state / "web.failed").exists()
    outcomes = [run.ended.outcome for run in parts.runs() if run.ended]
    assert [RunOutcome.SUCCESS, RunOutcome.INTERRUPTED] == outcomes


def test_a_second_scheduler_is_refused(parts: RunnerFolder) -> None:
    """Another daemon, and a run without one; both are told what to do."""
    with run_daemon(parts):
        for command in (("daemon",), ("run", "web")):
            refused = parts.run(*command)
            assert 1 == refused.returncode
            assert "`backrest-runner daemon` (process " in refused.stderr
            assert "backrest-runner backup PLAN" in refused.stderr


def test_it_does_not_begin_beside_a_backrest(parts: RunnerFolder) -> None:
    """Whose lock is held, also if it is forced to; executing runner.json alone it does."""
    data = parts.folder / "data"
    (data / "oplog.sqlite.lock").touch()
    with (data / "oplog.sqlite.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for words in (("daemon",), ("daemon", "--force")):
            refused = parts.run(*words)
            assert (1, True) == (refused.returncode, "Backrest runs" in refused.stderr)
            assert "--documents runner" in refused.stderr
        with run_daemon(parts, "--documents", "runner") as daemon:
            assert 0 == daemon.stop()


def test_every_scheduled_plan_is_backed_up_on_start_where_that_is_wanted(
    parts: RunnerFolder,
) -> None:
    """Not one without a schedule."""
    parts.write(
        parts.plan(), parts.plan(id="db"), parts.plan(id="off", schedule={"disabled": True})
    )
    with run_daemon(parts, "--backup-on-start") as daemon:
        daemon.wait_for("run.ended", 2)
        assert {"web", "db"} == {event["plan"] for event in daemon.events("run.began")}
        assert {"start"} == {event["trigger"] for event in daemon.events("run.began")}


def test_a_plan_whose_hook_cannot_be_used_is_not_run(parts: RunnerFolder) -> None:
    """It is told when the document is read, not at three in the morning; others are run."""
    bad = hook("echo {{ .Nothing }}", START)
    parts.write(parts.plan(hooks=[bad]), parts.plan(id="db"))
    with run_daemon(parts) as daemon:
        assert "1 of plan web" == daemon.wait_for("hook.unusable")["hook"]
        daemon.wait(lambda: not is_healthy(parts), "unhealthy")
        assert "the plan web is not run" in parts.run("healthcheck").stdout
        refused = parts.run("backup", "web")
        assert (1, True) == (refused.returncode, "hook 1 of plan web" in refused.stderr)
        assert 0 == parts.run("backup", "db").returncode


def test_the_pages_tell_how_it_goes(parts: RunnerFolder) -> None:
    """Last success, duration, size and age of each plan; and no secret."""
    port = _free_port()
    with run_daemon(parts, "--listen", f"127.0.0.1:{port}") as daemon:
        assert 0 == parts.run("backup", "web").returncode
        daemon.wait(lambda: _get(port, "readyz")[0] == 200, "ready")
        status = json.loads(_get(port, "status")[1])
        (plan,) = status["plans"]
        assert ("web", "idle", "success", 5) == (
            plan["plan"],
            plan["state"],
            plan["last_outcome"],
            plan["size"],
        )
        assert plan["age"] is not None
        assert plan["duration"] > 0
        daemon.wait(lambda: '"reachable": true' in _get(port, "status")[1], "reachable")
        metrics = _get(port, "metrics")[1]
        assert 'backrest_runner_plan_last_processed_bytes{plan="web"} 5.0' in metrics
        assert 'backrest_runner_runs_total{outcome="success"} 1.0' in metrics
        assert (200, "all is well\n") == _get(port, "healthz")
        parts.config.write_text("{")
        daemon.wait(lambda: _get(port, "healthz")[0] == 503, "unhealthy")
        everything = "".join(_get(port, page)[1] for page in ("healthz", "status", "metrics"))
        assert "MARK" not in everything + metrics + daemon.log.read_text()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _get(port: int, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_repository_that_is_lost_is_unhealthy_and_not_made_anew(parts: RunnerFolder) -> None:
    """The probe changes nothing, and says which repository it is."""
    with run_daemon(parts):
        assert 0 == parts.run("backup", "web").returncode
    (parts.folder / "repo").rename(parts.folder / "elsewhere")
    with run_daemon(parts) as daemon:
        daemon.wait(lambda: not is_healthy(parts), "unhealthy")
        assert "the repository store cannot be reached" in parts.run("healthcheck").stdout
        assert 1 == parts.run("backup", "web").returncode
    assert not (parts.folder / "repo").exists()


def test_a_lost_journal_does_not_let_a_lost_repository_be_made_anew(parts: RunnerFolder) -> None:
    """A disk that is not mounted looks like one that never was; what tells of it is named."""
    with run_daemon(parts):
        assert 0 == parts.run("backup", "web").returncode
    (parts.folder / "repo").rename(parts.folder / "elsewhere")
    for file in parts.state.glob("journal.sqlite*"):
        file.unlink()

    assert 1 == parts.run("run", "web").returncode
    (run,) = parts.runs()
    assert run.ended is not None
    assert run.ended.reason.endswith("is its disk not mounted?")
    (parts.state / "repositories.json").unlink()
    (parts.state / JOURNAL).unlink()
    failed = parts.run("run", "web")

    assert (1, True) == (failed.returncode, "one was there before" in failed.stdout)
    assert not (parts.folder / "repo").exists()


def test_policies_of_repositories_are_executed_on_their_schedules(parts: RunnerFolder) -> None:
    """Prune, check and forget are due like backups are."""
    store = {
        "id": "store",
        "uri": str(parts.folder / "repo"),
        "password": "x",
        "autoInitialize": True,
        "prunePolicy": {"schedule": {"cron": "0 0 * * *"}, "maxUnusedPercent": 10},
        "checkPolicy": {"schedule": {"maxFrequencyHours": 1}, "structureOnly": True},
    }
    parts.write(parts.plan(), repos=[store])
    for kind in (JobKind.PRUNE, JobKind.CHECK):
        parts.remember(Job(kind, "store", "store"), 2 * DAY)
    with run_daemon(parts) as daemon:
        daemon.wait_for("run.ended", 2)
    assert {JobKind.PRUNE, JobKind.CHECK} == {run.job.kind for run in parts.runs()}
    assert {RunOutcome.SUCCESS} == {run.ended.outcome for run in parts.runs() if run.ended}


def test_the_time_zone_is_that_of_the_environment(parts: RunnerFolder) -> None:
    """Three in the morning is another moment in Berlin than in New York."""
    found = set()
    for zone in ("Europe/Berlin", "America/New_York", "UTC"):
        parts.environ["TZ"] = zone
        (row,) = json.loads(parts.run("plans", "--output", "json").stdout)
        found.add(row["next_run"][11:])
    assert {"02:00:00+00:00", "08:00:00+00:00", "03:00:00+00:00"} == found


def test_a_plan_is_refilled_without_docker_where_there_is_said_to_be_none(
    parts: RunnerFolder,
) -> None:
    """With a Docker that does not answer nothing is restored, for somebody may use the data."""
    with run_daemon(parts):
        assert 0 == parts.run("backup", "web").returncode
    (parts.data / "file").unlink()
    with run_daemon(parts, "--restore-empty") as daemon:
        assert "--docker-sock none" in daemon.wait_for("plan.emptied")["reason"]
    assert [] == list(parts.data.iterdir())

    with run_daemon(parts, "--restore-empty", "--docker-sock", "none") as daemon:
        daemon.wait_for("plan.refill")
        daemon.wait((parts.data / "file").exists, "the data")
        assert 0 == daemon.stop()

    assert "hello" == (parts.data / "file").read_text()


def test_what_cannot_be_started_without_docker_is_told(parts: RunnerFolder) -> None:
    """It is not forgotten: a start that may speak to Docker starts it."""
    with Journal(parts.state / JOURNAL) as journal:
        journal.containers.stopped(Stopped("1" * 64, "web-1", 0))

    with run_daemon(parts, "--docker-sock", "none") as daemon:
        daemon.wait(lambda: not is_healthy(parts), "unhealthy")
        assert "web-1" in parts.run("healthcheck").stdout
        assert 0 == daemon.stop()

    with Journal(parts.state / JOURNAL) as journal:
        assert ["web-1"] == [one.name for one in journal.containers.still_stopped()]
