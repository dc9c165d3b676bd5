"""The runner's commands as they are run, on real data and with the real restic."""

import fcntl
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.backrest.workloads import WorkloadRecord, render_workloads
from sidecar.runner.journal import RunOutcome
from sidecar.service.health import Finding, Health
from sidecar.service.heartbeat import Heartbeat
from tests.e2e.runner_process import ROOT, RunnerFolder

START, END = "CONDITION_SNAPSHOT_START", "CONDITION_SNAPSHOT_END"


@pytest.fixture
def parts(tmp_path: Path) -> RunnerFolder:
    """A document with one plan."""
    return RunnerFolder(tmp_path)


def outcomes(parts: RunnerFolder) -> list[RunOutcome]:
    """How the runs ended, newest first."""
    return [run.ended.outcome for run in parts.runs() if run.ended]


def test_run_backs_up_and_tells_how_it_went(parts: RunnerFolder) -> None:
    """In a line for each plan; the repository is created where it asks for that."""
    done = parts.run("run", "web")
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("backup web: success in ")
    assert "1 file of 5 B read" in done.stdout
    assert [RunOutcome.SUCCESS] == outcomes(parts)


def test_run_all_runs_every_plan_that_has_a_schedule(parts: RunnerFolder) -> None:
    """One that fails stops no other; the status is the worst."""
    parts.write(
        parts.plan(id="bad", paths=[str(parts.folder / "missing")]),
        parts.plan(),
        parts.plan(id="off", schedule={"disabled": True}),
    )
    done = parts.run("run", "--all")
    assert 1 == done.returncode
    assert ["backup bad: failed", "backup web: success"] == [
        line.partition(" in ")[0] for line in done.stdout.splitlines()
    ]
    assert "does not exist" in done.stdout


def test_a_warning_is_status_3(parts: RunnerFolder) -> None:
    """A snapshot was made, but not of everything."""
    parts.write(parts.plan(paths=[str(parts.data), str(parts.folder / "missing")]))
    done = parts.run("run", "web", "--on-missing", "warn")
    assert (3, True) == (done.returncode, "backup web: warning" in done.stdout)
    assert [RunOutcome.WARNING] == outcomes(parts)


def test_a_plan_that_was_emptied_is_a_warning_until_that_is_accepted(parts: RunnerFolder) -> None:
    """Whoever accepts it names the plan."""
    parts.run("run", "web")
    for file in parts.data.iterdir():
        file.unlink()
    emptied, accepted, again = (
        parts.run("run", *words, "web") for words in ((), ("--accept-empty",), ())
    )
    assert [3, 0, 0] == [one.returncode for one in (emptied, accepted, again)]
    assert ("backrest-runner run --accept-empty web" in emptied.stdout, "") == (
        True,
        emptied.stderr,
    )
    assert accepted.stdout.endswith("no file was there to save, as was accepted\n")
    for words in (("--all",), ("web", "--dry-run")):
        refused = parts.run("run", "--accept-empty", *words)
        assert (1, True) == (refused.returncode, "plans that are named" in refused.stderr)


def test_why_a_run_failed_is_said_once(parts: RunnerFolder) -> None:
    """By the line for its end; who asks for a log gets it there too."""
    parts.write(parts.plan(paths=[str(parts.folder / "missing")]))
    done, logged, as_json = (
        parts.run("run", "web", *words)
        for words in ((), ("--log-level", "info"), ("--log-format", "json"))
    )
    assert ["", 1, 1] == [
        done.stderr,
        *(one.stderr.count("path does not exist") for one in (logged, as_json)),
    ]
    assert [1, 1, 1] == [one.stdout.count("path does not exist") for one in (done, logged, as_json)]


def test_what_a_run_has_restored_is_said_at_its_end(parts: RunnerFolder) -> None:
    """A success alone would say that nothing was lost."""
    parts.run("run", "web")
    for file in parts.data.iterdir():
        file.unlink()
    done = parts.run("run", "web", "--restore-empty", "--docker-sock", "none")
    assert 0 == done.returncode
    [last] = parts.runs()[:1]
    assert last.ended is not None
    said = re.search(
        r": (1 file of 5 B was restored before, from snapshot [0-9a-f]{8})$", done.stdout
    )
    assert said is not None
    assert said[1] == last.ended.reason


def test_restic_has_no_types_of_backups(parts: RunnerFolder) -> None:
    """It says so, and nothing is run; nor does a dry run know any."""
    done = parts.run("run", "web", "--type", "full")
    dry = parts.run("run", "web", "--type", "full", "--dry-run")
    assert (1, 1) == (done.returncode, dry.returncode)
    assert "its engine makes no backup of type full: it has no types" in done.stderr
    assert "--type goes with plans that are run" in dry.stderr
    assert () == parts.runs()


def test_a_dry_run_saves_nothing_and_runs_no_hook(parts: RunnerFolder) -> None:
    """It says what would be saved, and which hooks would run."""
    hooked = parts.folder / "hooked"
    hook = {"conditions": [START, END], "actionCommand": {"command": f"touch {hooked}"}}
    parts.write(parts.plan(hooks=[hook]))
    assert 0 == parts.run("run", "web").returncode
    hooked.unlink()
    (parts.data / "more").write_text("x" * 1000)
    done = parts.run("run", "web", "--dry-run")
    assert 0 == done.returncode
    assert "backup web would end with success: 2 files of 1.0 kB read" in done.stdout
    assert "would run hook 1 of plan web on SNAPSHOT_END, SNAPSHOT_START" in done.stdout
    assert not hooked.exists()
    assert 1 == len(json.loads(parts.run("snapshots", "web", "--output", "json").stdout))
    assert 1 == len(parts.runs())


def test_a_dry_run_knows_that_the_first_run_creates_the_repository(parts: RunnerFolder) -> None:
    """It does not itself; and of one that was there before it says that its disk is away."""
    new = parts.run("run", "web", "--dry-run")

    assert 0 == new.returncode, new.stdout
    assert "would end with success: the repository is not there yet" in new.stdout
    assert not (parts.folder / "repo").exists()

    assert 0 == parts.run("run", "web").returncode
    (parts.folder / "repo").rename(parts.folder / "away")
    gone = parts.run("run", "web", "--dry-run")
    assert (1, True) == (gone.returncode, "would end with failed" in gone.stdout), gone.stdout


def test_the_tables_tell_what_there_is(parts: RunnerFolder) -> None:
    """Before and after a run; and the same as JSON."""
    assert "Nothing was run yet." in parts.run("history").stdout
    assert 0 == parts.run("run", "web").returncode
    plans, history, snapshots = (
        parts.run(*command).stdout.splitlines()
        for command in (("plans",), ("history", "web"), ("snapshots", "web"))
    )
    assert ["web", "store", "0 3 1 1 *"] == [cell.strip() for cell in plans[1].split("  ") if cell][
        :3
    ]
    assert "success" in plans[1]
    assert "backup web  success" in history[1]
    assert str(parts.data) in snapshots[1]
    (row,) = json.loads(parts.run("history", "--output", "json").stdout)
    assert ("backup", "web", "success", 5) == tuple(
        row[key] for key in ("kind", "of", "outcome", "size")
    )
    (shown,) = json.loads(parts.run("snapshots", "web", "--output", "json").stdout)
    assert row["snapshot"] == shown["snapshot"][: len(row["snapshot"])]
    assert {"plan:web", "created-by:here"} == set(shown["tags"])
    (plan,) = json.loads(parts.run("plans", "--output", "json").stdout)
    assert ("success", True) == (
        plan["last_outcome"],
        plan["next_run"].endswith("-01-01T03:00:00+00:00"),
    )


def test_history_shows_what_restic_said(parts: RunnerFolder) -> None:
    """Below each run where that is asked for, and always in the JSON."""
    uri = str(parts.folder / "none")
    parts.write(repos=[{"id": "store", "uri": uri, "password": "pw", "guid": "0" * 64}])
    assert 1 == parts.run("run", "web").returncode
    said = "Is there a repository at the following location?"

    assert said not in parts.run("history").stdout
    _, run, *lines = parts.run("history", "--verbose").stdout.splitlines()
    (row,) = json.loads(parts.run("history", "--output", "json").stdout)

    assert "backup web  failed" in run
    assert f"    {said}" in lines
    assert said in row["excerpt"]


def test_the_history_of_an_unknown_name_tells_which_there_are(parts: RunnerFolder) -> None:
    """The nearest first; of one that has not run yet there is nothing to tell."""
    wrong = parts.run("history", "wbe")

    assert (1, "") == (wrong.returncode, wrong.stdout)
    assert "there is no plan or repository 'wbe'" in wrong.stderr
    assert "→ did you mean web?" in wrong.stderr
    assert "Nothing was run yet." in parts.run("history", "web").stdout


def test_plans_are_called_by_the_names_of_their_services(parts: RunnerFolder) -> None:
    """In all that is said to commands, and in all that they show; ids are there if asked for."""
    plan = "backrest_sidecar_media_db"
    parts.write(parts.plan(id=plan), parts.plan(id="by-hand"))
    state = parts.config.parent / ".sidecar"
    state.mkdir()
    record = WorkloadRecord("media/db", "db", "media", containers=("postgres",), plan=plan)
    (state / "workloads.json").write_bytes(render_workloads([record]))

    run, dry = parts.run("run", "media/db", "by-hand"), parts.run("run", "postgres", "--dry-run")
    assert [0, 0] == [run.returncode, dry.returncode]
    assert ["backup media/db: success", "backup by-hand: success"] == [
        line.partition(" in ")[0] for line in run.stdout.splitlines()
    ]
    assert dry.stdout.startswith("backup media/db would end with success")
    assert parts.run("verify", "db").stdout.startswith("media/db: verified")
    assert str(parts.data) in parts.run("snapshots", "db").stdout
    assert "dry run" in parts.run("restore", "db", "--target", "/nowhere", "--dry-run").stdout
    history = parts.run("history", "db").stdout
    assert ("verify media/db" in history, "backup media/db" in history) == (True, True)
    tables = [parts.run("plans", *wide).stdout for wide in ((), ("--wide",))]
    assert [("media/db", False), ("media/db", True)] == [
        (table.splitlines()[1].split()[0], plan in table) for table in tables
    ]
    (row, _) = json.loads(parts.run("plans", "--output", "json").stdout)
    assert (plan, "media/db") == (row["plan"], row["name"])
    wrong = parts.run("run", "media/dv")
    assert (1, "→ did you mean media/db?" in wrong.stderr) == (wrong.returncode, True)


def test_a_run_that_its_hook_skips_is_no_failure(parts: RunnerFolder) -> None:
    """Status 0, and told."""
    hook = {
        "conditions": [START],
        "onError": "ON_ERROR_CANCEL",
        "actionCommand": {"command": "echo nothing to do; exit 1"},
    }
    parts.write(parts.plan(hooks=[hook]))
    done = parts.run("run", "web")

    assert 0 == done.returncode
    assert "skipped by its hook: hook 1 of plan web: exit code 1: nothing to do" in done.stdout


@pytest.mark.parametrize("number", ["4294967295", "-1"])
def test_a_user_that_cannot_be_is_a_mistake(parts: RunnerFolder, number: str) -> None:
    """The highest number means that nothing changes."""
    done = parts.run("plans", "--puid", number)

    assert 1 == done.returncode
    assert "is not in the range 0<=x<=4294967294" in done.stderr


def test_a_full_state_disk_and_a_read_only_document_stop_little(parts: RunnerFolder) -> None:
    """What was stopped is started, backups without hooks go on, and what is known is shown.

    The disk is one of 600 kB that only these commands see.
    """
    log, state = parts.folder / "log", parts.folder / "state"
    state.mkdir()
    stop = {
        "conditions": [START],
        "actionCommand": {"command": f"echo stop >>{log}; kill -9 $PPID"},
    }
    start = {"conditions": [END], "actionCommand": {"command": f"echo start >>{log}"}}
    parts.write(parts.plan(), parts.plan(id="db", hooks=[stop, start]))

    def line(*words: str) -> str:
        return shlex.join(parts.command(*words, "--state-dir", str(state)))

    folder = shlex.quote(str(parts.config.parent))
    script = f"""
        mount -t tmpfs -o size=600k none {state}
        mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}
        {line("run", "web")} && ! {line("run", "db")} && {line("history")} || exit 9
        cat /dev/zero >{state}/filler
        {line("plans")} && {line("history")} && {line("run", "web")} || exit 8
        ! {line("run", "db")} || exit 7
    """
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env=parts.variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (0, 2) == (done.returncode, done.stdout.count("backup web: success")), done.stderr
    assert "nothing may be stopped that nobody might start again" in done.stdout
    # Each start finishes what the killed run has left, for that it was done cannot be written. A run
    # that stopped nothing starts nothing.
    assert ["stop", "start", "start"] == log.read_text().split()


def test_repositories_are_checked_pruned_and_unlocked(parts: RunnerFolder) -> None:
    """All, or those that are named; what is done is in the history."""
    assert 0 == parts.run("run", "web").returncode
    for command in ("check", "prune"):
        done = parts.run(command)
        assert (0, True) == (done.returncode, done.stdout.startswith(f"{command} store: success"))
    done = parts.run("unlock", "store")
    assert (0, "store: unlocked\n") == (done.returncode, done.stdout)
    assert 3 == len(parts.runs())
    (parts.folder / "repo" / "config").unlink()
    assert [1, 1] == [parts.run(command, "store").returncode for command in ("check", "unlock")]


def test_unlock_tells_the_locks_that_are_left(parts: RunnerFolder) -> None:
    """Who holds them, on which machine, since when: one that works elsewhere keeps its own."""
    assert 0 == parts.run("run", "web").returncode
    own = {"RESTIC_REPOSITORY": str(parts.folder / "repo"), "RESTIC_PASSWORD": "secret MARK"}
    rights = ["--map-root-user"] * bool(os.geteuid())
    script = "hostname elsewhere; exec restic backup --stdin --quiet"
    with subprocess.Popen(
        ["unshare", *rights, "--uts", "sh", "-c", script],
        env={**parts.variables, **own},
        stdin=subprocess.PIPE,
    ) as holder:
        while not os.listdir(parts.folder / "repo" / "locks"):
            assert holder.poll() is None
            time.sleep(0.02)
        done = parts.run("unlock", "store")
        holder.kill()
    first, line, hint = done.stdout.splitlines()

    assert (3, "store: 1 lock left") == (done.returncode, first)
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    expected = rf"  PID {holder.pid} on elsewhere, made or renewed {moment}"
    assert re.fullmatch(expected, line)
    assert "  → a lock goes when its holder ends; if that died elsewhere, " in hint


def test_unlock_leaves_a_repository_alone_while_backrest_may_be_at_work(
    parts: RunnerFolder,
) -> None:
    """It runs, and nobody can tell more: no lock is removed, unless one insists."""
    assert 0 == parts.run("run", "web").returncode
    data = parts.folder / "its data"
    data.mkdir()
    with (data / "oplog.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = parts.run("unlock", "--backrest-data", str(data))
        forced = parts.run("unlock", "--backrest-data", str(data), "--force")
    after = parts.run("unlock", "--backrest-data", str(data))

    assert 1 == refused.returncode
    assert refused.stdout.startswith(
        "store: it is not unlocked: Backrest runs, and nobody can tell"
    )
    assert [(0, "store: unlocked\n")] * 2 == [
        (one.returncode, one.stdout) for one in (forced, after)
    ]


def test_what_does_not_exist_is_told_with_what_does(parts: RunnerFolder) -> None:
    """Before anything is run."""
    for command in (("run", "none"), ("check", "none"), ("snapshots", "none"), ("unlock", "none")):
        done = parts.run(*command)
        assert 1 == done.returncode
        assert "Error: there is no " in done.stderr
        assert "→ there are: " in done.stderr
    parts.write(parts.plan(schedule={"disabled": True}))
    assert "no plan of the document has a schedule" in parts.run("run", "--all").stderr
    assert "no daemon listens" in parts.run("backup", "web").stderr


def test_a_run_that_is_called_off_starts_again_what_it_stopped(parts: RunnerFolder) -> None:
    """By Ctrl-C: restic ends, the hooks after it run, and nothing more begins."""
    state = parts.folder / "service"
    hooks = [
        {"conditions": [START], "actionCommand": {"command": f"echo stopped > {state}"}},
        {"conditions": [END], "actionCommand": {"command": f"echo runs > {state}"}},
    ]
    parts.write(parts.plan(hooks=hooks), parts.plan(id="db"))
    process = parts.begin("run", "--all", "--restic", str(parts.slow()))
    deadline = time.monotonic() + 60
    while not parts.began.exists():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.02)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert 1 == process.returncode
    assert "backup web: cancelled" in output
    assert "backup db: not run: it was not begun" in output
    assert "runs\n" == state.read_text()
    assert [RunOutcome.CANCELLED] == outcomes(parts)


def test_secrets_are_in_nothing_that_is_said(parts: RunnerFolder) -> None:
    """Nor in the journal's folder, for others."""
    parts.run("run", "web")
    parts.write(
        parts.plan(), repos=[{"id": "store", "uri": "/nowhere/MARK", "password": "MARKTWO"}]
    )
    output = "".join(
        part
        for command in (("run", "web"), ("history",), ("plans",), ("check",))
        for done in [parts.run(*command, "--log-level", "debug")]
        for part in (done.stdout, done.stderr)
    )
    assert "MARKTWO" not in output
    assert "secret MARK" not in output
    assert {0o600} == {file.stat().st_mode & 0o777 for file in parts.state.iterdir()}


def healthcheck(*flags: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run the quick check."""
    return subprocess.run(
        [sys.executable, *options, "-m", "sidecar.runner", "healthcheck", *flags],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_check_is_also_a_command(tmp_path: Path) -> None:
    """For who finds it in the help."""
    from sidecar.cli.runner.main import cli

    assert "healthcheck" in cli.commands
    health = Health((Finding("plan-late", "one", "web"),))
    Heartbeat(tmp_path, 60.0).beat(time.time(), health)
    assert (1, "one\n") == (
        healthcheck("--state-dir", str(tmp_path)).returncode,
        healthcheck("--state-dir", str(tmp_path)).stdout,
    )


def write_own(parts: RunnerFolder, *plans: str) -> None:
    """Write the runner's own document, with these plans to the repository `disk`."""
    disk = {"id": "disk", "uri": str(parts.folder / "disk"), "password": "x"}
    document = {
        "modno": 1,
        "version": 6,
        "instance": "here",
        "repos": [{**disk, "autoInitialize": True}],
        "plans": [parts.plan(id=name, repo="disk") for name in plans],
    }
    parts.config.with_name("runner.json").write_text(json.dumps(document))


def test_both_documents_are_run_by_one_runner(parts: RunnerFolder) -> None:
    """And each plan is shown with its own; a document that is broken keeps only itself from it."""
    write_own(parts, "mail")
    assert 0 == parts.run("run", "--all").returncode
    rows = json.loads(parts.run("plans", "--output", "json").stdout)
    assert [("web", "config.json", "success"), ("mail", "runner.json", "success")] == [
        (row["plan"], row["document"], row["last_outcome"]) for row in rows
    ]
    assert "runner.json" in parts.run("plans").stdout.splitlines()[2]
    parts.config.with_name("runner.json").write_text("{")
    everything = parts.run("run", "--all")
    assert (1, True) == (everything.returncode, "runner.json" in everything.stderr)
    one = parts.run("run", "web")
    assert (0, True) == (one.returncode, "runner.json" in one.stderr)


def test_a_companion_runs_its_own_document_and_restores_what_the_other_saved(
    parts: RunnerFolder,
) -> None:
    """Of what Backrest executes nothing is run, by name neither; and why is said."""
    assert 0 == parts.run("run", "web").returncode
    write_own(parts, "mail")
    parts.environ["BACKREST_RUNNER_DOCUMENTS"] = "runner"
    assert 0 == parts.run("run", "--all").returncode
    for command in (("run", "web"), ("check", "store"), ("prune", "store")):
        refused = parts.run(*command)
        assert 1 == refused.returncode
        assert "--documents runner" in refused.stderr
    assert 0 == parts.run("check").returncode
    assert ["mail", "web"] == [run.job.subject for run in parts.runs() if run.job.kind == "backup"]
    assert "by Backrest" in parts.run("plans").stdout.splitlines()[1]
    target = parts.folder / "restored"
    assert 0 == parts.run("restore", "web", "--target", str(target)).returncode
    assert "hello" == (target / "file").read_text()
    assert 0 == parts.run("verify", "web", "mail").returncode
