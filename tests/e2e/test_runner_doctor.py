"""`backrest-runner doctor` on real repositories: each thing that may be wrong is told as what it is."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.runner.doctor import CHECKS, run_doctor
from sidecar.runner.settings import RunnerSettings, Running
from sidecar.service.check_result import CheckResult, CheckStatus
from sidecar.service.health import Finding, Health
from sidecar.service.heartbeat import Heartbeat
from tests.e2e.runner_process import RunnerFolder
from tests.engines.file_systems import mounted

GUID = "b" * 64


@pytest.fixture
def parts(tmp_path: Path) -> RunnerFolder:
    """A document with one plan."""
    return RunnerFolder(tmp_path)


def beat(parts: RunnerFolder, *findings: Finding) -> None:
    """Let a daemon be alive."""
    Heartbeat(parts.state, 60.0).beat(time.time(), Health(findings))


def results(
    parts: RunnerFolder, later: float = 0.0, restic: str = "restic"
) -> dict[str, CheckResult]:
    """What the doctor finds, by its checks; its clock is so much later."""
    settings = RunnerSettings(parts.config, running=Running(restic))
    report = run_doctor(settings, parts.variables, lambda: time.time() + later)
    return {one.check: one for one in report.findings}


def verdicts(found: dict[str, CheckResult]) -> dict[str, CheckStatus]:
    """How each check ended."""
    return {check: one.verdict for check, one in found.items()}


def add_repo(parts: RunnerFolder, **repo: Any) -> None:
    """Put a further repository into the document."""
    root = json.loads(parts.config.read_text())
    root["repos"].append({"id": "more", "password": "x", "guid": GUID, **repo})
    parts.config.write_text(json.dumps(root))


def leave_lock(parts: RunnerFolder) -> None:
    """Leave the lock of a restic that was killed."""
    given = {**parts.variables, "RESTIC_PASSWORD": "secret MARK"}
    words = ("restic", "-r", str(parts.folder / "repo"), "backup", "--stdin")
    with subprocess.Popen(words, env=given, stdin=subprocess.PIPE) as process:
        locks = parts.folder / "repo" / "locks"
        # Under its whole name once it is written.
        while not [one for one in locks.iterdir() if len(one.name) == len(GUID)]:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()


def test_all_is_well_where_it_is(parts: RunnerFolder) -> None:
    """Each check that the reference has is made."""
    parts.run("run", "web")
    beat(parts)
    found = results(parts)
    assert {CheckStatus.OK} == set(verdicts(found).values())
    assert list(CHECKS) == [check.replace("store", "NAME") for check in found]
    done = parts.run("doctor")
    assert (0, "", "7 ok, 0 warning, 0 failure, 0 not checked.\n`--all` shows every check.\n") == (
        done.returncode,
        done.stderr,
        done.stdout,
    )
    assert "ok           repository store  it answers, and its password is right" in (
        parts.run("doctor", "--all").stdout
    )


def test_nothing_is_made_where_nothing_was_run(parts: RunnerFolder) -> None:
    """A repository that the first run creates is no fault."""
    found = results(parts)
    assert "the first run creates it" == found["repository store"].hint
    wanted = {"state": CheckStatus.WARNING, "daemon": CheckStatus.WARNING}
    wanted |= {"repository store": CheckStatus.WARNING, "locks store": CheckStatus.NOT_CHECKED}
    assert wanted == {k: v for k, v in verdicts(found).items() if v is not CheckStatus.OK}
    assert not (parts.folder / "repo").exists()
    assert not (parts.state / "journal.sqlite").exists()


def test_a_wrong_password_a_missing_disk_and_a_dead_server_are_told_apart(
    parts: RunnerFolder,
) -> None:
    """With what to do; one of them keeps no other from being looked at."""
    parts.run("run", "web")
    add_repo(parts, id="wrong", uri=f"{parts.folder}/repo/")
    add_repo(parts, id="gone", uri=f"{parts.folder}/none")
    add_repo(parts, id="dead", uri="rest:http://127.0.0.1:9/")
    add_repo(parts, id="unset", uri="${NOPE}/x")
    add_repo(parts, id="other", uri=f"{parts.folder}/./repo", password="secret MARK")
    found = results(parts)
    hints = {check: one.hint for check, one in found.items() if check.startswith("repository")}
    assert {
        "repository store": "",
        "repository wrong": "correct the repository's password in the document",
        "repository gone": "see whether its disk is mounted, and its address right",
        "repository dead": "see whether its server can be reached from here",
        "repository unset": "set it where the runner is started",
        "repository other": "see whether its disk is mounted, and its address right",
    } == hints
    assert "another repository stands at this address" in found["repository other"].message
    assert CheckStatus.NOT_CHECKED is found["locks wrong"].verdict
    done = parts.run("doctor")
    assert 1 == done.returncode
    assert "MARK" not in done.stdout + done.stderr


def test_a_repository_that_vanished_is_not_taken_for_a_new_one(parts: RunnerFolder) -> None:
    """A run has used it."""
    parts.run("run", "web")
    (parts.folder / "repo").rename(parts.folder / "elsewhere")
    assert CheckStatus.FAILURE is results(parts)["repository store"].verdict


def test_a_lock_is_stale_when_its_holder_does_not_renew_it(parts: RunnerFolder) -> None:
    """Before that it may be somebody's who works."""
    parts.run("run", "web")
    leave_lock(parts)
    young = results(parts)["locks store"]
    assert (CheckStatus.OK, "1 lock is held and renewed") == (young.verdict, young.message)
    old = results(parts, later=3600.0)["locks store"]
    assert (CheckStatus.WARNING, 1) == (old.verdict, len(old.details))
    assert old.hint.startswith("`backrest-runner unlock store` ")


def test_broken_documents_hooks_and_journals_are_told(parts: RunnerFolder) -> None:
    """Once, and not in a log besides."""
    hook = {"conditions": ["CONDITION_SNAPSHOT_START"], "actionCommand": {"command": "{{ MARK"}}
    parts.write(parts.plan(hooks=[hook]))
    parts.config.with_name("runner.json").write_text("{")
    parts.state.mkdir()
    (parts.state / "journal.sqlite").write_bytes(b"no database" * 1000)
    done = parts.run("doctor")
    assert (1, "") == (done.returncode, done.stderr)
    assert "MARK" not in done.stdout
    found = results(parts)
    assert [CheckStatus.FAILURE] * 3 == [
        found[check].verdict for check in ("documents", "hooks", "state")
    ]
    assert ("hook 1 of plan web",) == found["hooks"].details
    parts.config.unlink()
    parts.config.with_name("runner.json").unlink()
    assert {CheckStatus.FAILURE, CheckStatus.NOT_CHECKED, CheckStatus.WARNING} >= set(
        verdicts(results(parts)).values()
    )


def test_a_state_folder_that_cannot_be_written_is_told(parts: RunnerFolder) -> None:
    """Though what it holds can be read."""
    parts.run("run", "web")
    with mounted(parts.state, "--bind", "-o", "ro", str(parts.state)):
        state = results(parts)["state"]

    assert CheckStatus.FAILURE is state.verdict
    assert f"{parts.state} cannot be written" in state.message


def test_where_no_daemon_runs_it_is_said_how_to_start_one(parts: RunnerFolder) -> None:
    """It has no log that could be read; one that is alive and not well has."""
    assert results(parts)["daemon"].hint.startswith("start `backrest-runner daemon`")
    beat(parts, Finding("disk-full", "the disk of / is full"))
    assert results(parts)["daemon"].hint.startswith("see its log")


def test_a_daemon_that_is_not_well_says_why(parts: RunnerFolder) -> None:
    """As its health check does."""
    beat(parts, Finding("disk-full", "the disk of / is full"))
    found = results(parts)["daemon"]
    assert (CheckStatus.WARNING, "the disk of / is full") == (found.verdict, found.message)


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("echo restic 0.13.1 compiled", CheckStatus.FAILURE),
        ("echo what", CheckStatus.WARNING),
        (None, CheckStatus.FAILURE),
    ],
)
def test_a_restic_that_is_too_old_or_missing_is_told(
    parts: RunnerFolder, script: str | None, verdict: CheckStatus
) -> None:
    """Before any run fails by it."""
    program = parts.folder / "restic"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    assert verdict is results(parts, restic=str(program))["restic"].verdict


def test_an_engine_without_restic_needs_none(parts: RunnerFolder) -> None:
    """Its repository answers without a password."""
    root = json.loads(parts.config.read_text())
    parts.config.unlink()
    (parts.folder / "disk").mkdir()
    root["repos"] = [{"id": "disk", "uri": f"rsync:{parts.folder}/disk", "autoInitialize": True}]
    root["plans"] = [parts.plan(repo="disk")]
    parts.config.with_name("runner.json").write_text(json.dumps(root))
    parts.run("run", "web", "--docker-sock", "none")
    found = results(parts)
    assert CheckStatus.NOT_CHECKED is found["restic"].verdict
    assert "it answers" == found["repository disk"].message
