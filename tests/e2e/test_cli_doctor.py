"""`backrest-sidecar doctor` as it is run: exit status, output, and what --fix does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sidecar", "doctor", *flags],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TZ": "UTC", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document that others can read."""
    made = tmp_path / "config.json"
    repos = [{"id": "r", "uri": "/r", "password": "hunter2", "guid": "a" * 64}]
    made.write_text(json.dumps({"modno": 1, "version": 6, "instance": "here", "repos": repos}))
    made.chmod(0o644)
    return made


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Parse the JSON on standard output into findings by check."""
    return {one["check"]: one for one in json.loads(done.stdout)["checks"]}


def test_a_failure_is_status_1_and_nothing_on_standard_error(config: Path) -> None:
    """No engine is at that socket; the table says what to do."""
    done = run("--config", str(config), "--docker-sock", str(config.parent / "none.sock"))
    assert (1, "") == (done.returncode, done.stderr)
    assert "failure      engine.reachable" in done.stdout
    assert "→ " in done.stdout
    assert "hunter2" not in done.stdout


def test_fix_says_what_it_did_and_does_it_once(config: Path) -> None:
    """A second run finds nothing to do."""
    flags = ("--config", str(config), "--docker-sock", str(config.parent / "none.sock"))
    before = config.read_bytes()
    fixed = checks(run(*flags, "--fix", "--output", "json"))
    assert "mode 0644 → 0600" == fixed["document.private"]["fixed"]
    assert f"{config.parent}/.sidecar created" == fixed["state.writable"]["fixed"]
    assert (0o600, before) == (config.stat().st_mode & 0o777, config.read_bytes())
    again = checks(run(*flags, "--fix", "--output", "json"))
    assert {""} == {one["fixed"] for one in again.values()}


def test_without_fix_nothing_is_changed(config: Path) -> None:
    """Not even a directory is made."""
    run("--config", str(config), "--docker-sock", str(config.parent / "none.sock"))
    assert 0o644 == config.stat().st_mode & 0o777
    assert ["config.json"] == os.listdir(config.parent)


def test_flags_may_come_as_variables(config: Path) -> None:
    """As in the container of the daemon, whose variables the doctor shares."""
    done = run(
        "--output",
        "json",
        BACKREST_SIDECAR_CONFIG=str(config),
        BACKREST_SIDECAR_APPLY="true",
        DOCKER_HOST=f"unix://{config.parent}/none.sock",
    )
    assert 1 == done.returncode
    assert str(config) == json.loads(done.stdout)["config"]
