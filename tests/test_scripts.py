"""The scripts that people and continuous integration both run."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(entry for entry in (ROOT / "scripts").iterdir() if entry.is_file())
SAMPLE = ROOT / "testdata" / "example-sidecar.config.json"
INVENTORY = [
    {
        "Id": "0" * 64,
        "Names": ["/shop-db-1"],
        "Labels": {
            "backrest.enable": "true",
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": "db",
        },
        "Mounts": [{"Type": "bind", "Source": "/srv/db", "Destination": "/var/lib/db"}],
    }
]


def run(
    command: list[str], folder: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command without standard input, beside this process's environment."""
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_a_script_can_be_run_and_is_sound_bash(script: Path) -> None:
    """It is executable, strict or a bare exec, and bash can read it."""
    text = script.read_text()

    assert script.stat().st_mode & stat.S_IXUSR
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "set -euo pipefail" in text or "exec " in text
    assert run(["bash", "-n", str(script)]).returncode == 0


def test_dry_run_previews_the_sample_document(tmp_path: Path) -> None:
    """Without a container of our own, from a saved list, and nothing is written."""
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(INVENTORY))
    before = SAMPLE.read_bytes()

    done = run(["scripts/dry-run", "--inventory", str(saved), "--output", "json"])

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["added"] == ["backrest_sidecar_shop_db"]
    assert answer["plans"][0]["repo"] == "sample-repo"
    assert before == SAMPLE.read_bytes()


def test_dry_run_takes_document_and_files_of_the_caller(tmp_path: Path) -> None:
    """CONFIG_DIR, CONFIG_FILE and relative paths are seen from where the caller stands."""
    (tmp_path / "saved.json").write_text(json.dumps(INVENTORY))
    (tmp_path / "mine.json").write_bytes(SAMPLE.read_bytes())

    done = run(
        [str(ROOT / "scripts" / "dry-run"), "--inventory", "saved.json", "--output", "json"],
        tmp_path,
        CONFIG_DIR=".",
        CONFIG_FILE="mine.json",
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"].endswith("mine.json")


def test_a_run_without_engine_says_so_last() -> None:
    """Nobody shall take it for a whole run."""
    done = run(["scripts/test", "--without-engine", "-q", "tests/test_scripts.py", "-k", "bash"])

    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    assert last == "The engine tests did not run: --without-engine was given."
    assert " passed" in done.stdout


def folder_of_commands(folder: Path, *names: str) -> str:
    """Make a folder that has only these commands, for PATH."""
    for name in names:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return str(folder)


def test_compose_for_the_tests_is_fetched_once_and_for_its_machine_only(tmp_path: Path) -> None:
    """What is there is not fetched again; for another processor there is none, and that is said."""
    folder = tmp_path / "compose"
    folder.mkdir()
    (folder / "docker-compose").write_text("")
    (folder / "docker-compose").chmod(0o755)
    lock = (ROOT / "constraints-compose.txt").read_bytes()
    (folder / "stamp").write_text(f"{hashlib.sha256(lock).hexdigest()}  -\n")
    uname = tmp_path / "uname"
    uname.write_text("#!/bin/sh\necho Linux riscv64\n")
    uname.chmod(0o755)
    prepare = (
        f"source scripts/lib/setup.sh; compose={folder}; PATH={tmp_path}:$PATH; prepare_compose"
    )

    again = run(["bash", "-c", prepare])
    (folder / "stamp").write_text("another lock")
    elsewhere = run(["bash", "-c", prepare])

    assert (again.returncode, again.stderr) == (0, "")
    assert elsewhere.returncode == 1
    assert "x86_64 only" in elsewhere.stderr


def test_an_engine_of_today_needs_go_and_says_so(tmp_path: Path) -> None:
    """Before anything is installed or made."""
    path = folder_of_commands(tmp_path, "bash", "dirname", "mkdir")

    done = run(["scripts/test", "--current-engine"], PATH=path)

    assert done.returncode == 1
    assert "needs Go" in done.stderr
    assert "libseccomp-dev" in done.stderr


@pytest.mark.parametrize("other", ["--without-engine", "--fast"])
def test_an_engine_of_today_is_no_run_without_engine(other: str) -> None:
    """Whichever comes first."""
    for flags in (["--current-engine", other], [other, "--current-engine"]):
        done = run(["scripts/test", *flags])

        assert done.returncode == 1
        assert "--current-engine runs what" in done.stderr


def test_no_ordinary_run_asks_for_an_engine_of_today() -> None:
    """It needs Go, and minutes."""
    asked = [*(ROOT / ".github" / "workflows").iterdir(), ROOT / ".ci" / "run"]

    assert [] == [path.name for path in asked if "--current-engine" in path.read_text()]


def test_a_run_on_an_older_engine_says_what_it_left_out() -> None:
    """Only an engine of today can do some things; with the flag nothing is left out."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only"]
    newer = "tests/docker/test_current_engine.py"

    older = run([*command, newer])
    current = run([*command, "--current-engine", newer])

    assert "did not run" in older.stdout
    assert "::" not in older.stdout
    assert "did not run" not in current.stdout
    assert f"{newer}::" in current.stdout


def test_an_engine_of_today_has_a_compose_of_today(tmp_path: Path) -> None:
    """Debian's Compose cannot recreate a container there; both ways to call it find the new one."""
    program = tmp_path / "docker-compose"
    program.write_text("#!/bin/sh\necho of today\n")
    program.chmod(0o755)
    script = f"""source scripts/lib/setup.sh; current_engine={tmp_path}; use_current_engine
        type -P docker-compose; echo "$DOCKER_CONFIG" """

    done = run(["bash", "-euc", script])

    said = done.stdout.splitlines()
    assert said[0].endswith(", of today")
    assert said[1:] == [str(program), str(tmp_path / "docker-config")]


def test_a_fast_run_says_what_it_left_out() -> None:
    """It is no whole run either."""
    done = run(
        ["scripts/test", "--fast", "-q", "tests/property", "tests/test_scripts.py", "-k", "bash"]
    )

    assert done.returncode == 0, done.stdout + done.stderr
    *_, before, last = done.stdout.splitlines()
    assert before == "--fast: only a part of the tests ran."
    assert last == "The engine tests did not run: --without-engine was given."
    assert re.search(r"--fast: [1-9][0-9]* slow tests did not run", done.stdout)


def test_engine_tests_fail_where_no_engine_can_run(tmp_path: Path) -> None:
    """A missing engine is an error of the run, never a skipped test."""
    chosen = "test_a_labelled_service_becomes_a_whole_plan"
    pytest_run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/docker"]

    done = run([*pytest_run, "-k", chosen], PATH=str(tmp_path))

    assert done.returncode == 1
    assert "dockerd is not installed" in done.stdout
    assert "deselected, 1 error in" in done.stdout.splitlines()[-1]


def test_an_unknown_choice_of_check_is_refused() -> None:
    """A typo must not look like a passed check."""
    done = run(["scripts/check", "--no-test"])

    assert done.returncode == 1
    assert "--no-test" in done.stderr
