"""restore and verify as people type them, on a real document and a real repository."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.runner.main import cli
from sidecar.lib.errors import SidecarError
from sidecar.runner.journal import Journal, RunOutcome
from tests.engines.bench import INSTANCE, PASSWORD, RESTIC, ResticBench
from tests.fakes.cheap_key import replace_key

ROOT = Path(__file__).parents[2]
# Restores as restic does, says so, and then does not end by itself.
_NEVER_ENDS = """#!/bin/sh
case " $* " in *" restore "*) restic "$@" >&2; printf reached >"$0.reached"; read -r _ <"$0.fifo";; esac
exec restic "$@"
"""


@dataclass
class Place:
    """A document, its repository, and a plan that was backed up."""

    bench: ResticBench
    config: Path

    @property
    def page(self) -> Path:
        """A file of the plan."""
        return self.bench.source / "page"

    @property
    def environ(self) -> dict[str, str]:
        """What the process inherits; nobody asks an engine, of which there may be one here."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.bench.folder),
            "PYTHONPATH": str(ROOT),
            "TZ": "UTC",
            "DOCKER_HOST": f"unix://{self.bench.folder}/no-engine.sock",
        }

    def run(self, name: str, *arguments: str) -> Result:
        """Run a command in this process."""
        command = cli.commands[name]
        environ = {**dict.fromkeys(os.environ), **self.environ}
        return CliRunner(env=environ).invoke(command, [*arguments, "--config", str(self.config)])

    def refused(self, *arguments: str) -> str:
        """Restore, which is refused; give the error in words."""
        error = self.run("restore", *arguments).exception
        assert isinstance(error, SidecarError)
        return str(error)

    def outcomes(self) -> list[RunOutcome]:
        """Return how the recorded runs ended, newest first."""
        with Journal(self.config.parent / ".runner" / "journal.sqlite") as journal:
            return [run.ended.outcome for run in journal.runs.list() if run.ended]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty repository that is quickly opened."""
    bench = ResticBench.at(tmp_path_factory.mktemp("template"))
    bench.engine().initialise()
    replace_key(bench.folder / "repo", PASSWORD)
    return bench.folder / "repo"


@pytest.fixture
def place(tmp_path: Path, template: Path) -> Place:
    """Back up two files, and change one."""
    bench = ResticBench.at(tmp_path / "bench")
    shutil.copytree(template, bench.folder / "repo")
    bench.write("page", "first")
    bench.write("deep/er", "deeper")
    bench.backup()
    repo = {
        "id": "store",
        "uri": str(bench.folder / "repo"),
        "password": PASSWORD,
        "guid": bench.engine().probe(),
    }
    plan = {
        "id": "web",
        "repo": "store",
        "paths": [str(bench.source)],
        "schedule": {"disabled": True},
        "retention": {"policyKeepAll": True},
    }
    document = {"modno": 1, "version": 6, "instance": INSTANCE, "repos": [repo], "plans": [plan]}
    config = tmp_path / "config" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(document))
    return Place(bench, config)


def test_a_dry_run_tells_and_touches_nothing(place: Place) -> None:
    """What would be restored where, and how much it is."""
    place.page.write_text("second")

    result = place.run("restore", "web", "--in-place", "--force", "--dry-run")

    assert 0 == result.exit_code, result.exception
    first, step, space, last = result.output.splitlines()
    shown = (
        r"web: snapshot [0-9a-f]{8} of \d{4}-\d\d-\d\d \d\d:\d\d UTC, \d+ \w+ old: 2 files, 11 B"
    )
    assert re.fullmatch(shown, first)
    source = place.bench.source
    assert f"{source}  → {source}  a folder with contents is there: replaces it" == step.strip()
    assert re.fullmatch(rf"  needs 11 B of .* that are free on the disk of {source}", space)
    assert "nothing was restored: this was a dry run" == last
    assert ("second", []) == (place.page.read_text(), place.outcomes())


def test_a_restore_in_place_brings_it_back(place: Place) -> None:
    """And says so."""
    place.page.write_text("second")

    result = place.run("restore", "web", "--in-place", "--force")

    assert 0 == result.exit_code, result.exception
    assert "web is restored from snapshot" in result.output
    assert ("first", [RunOutcome.SUCCESS]) == (place.page.read_text(), place.outcomes())


def test_without_docker_nobody_is_asked_where_there_is_said_to_be_none(place: Place) -> None:
    """A Docker that does not answer is in the way, for somebody may use the data."""
    place.page.write_text("second")
    assert "--docker-sock none" in place.refused("web", "--in-place")
    assert "--docker-sock none" in place.refused("web", "--in-place", "--stop")

    result = place.run("restore", "web", "--in-place", "--docker-sock", "none")

    assert 0 == result.exit_code, result.exception
    assert "first" == place.page.read_text()


def test_refusals_say_what_to_write(place: Place, tmp_path: Path) -> None:
    """Nothing was touched."""
    place.page.write_text("second")
    fragments = [
        ((), "--in-place"),
        (("--at", "last week"), "is neither a time nor a snapshot"),
        (("--at", "2001-01-01", "--target", str(tmp_path / "x")), "the oldest snapshot of web"),
        (("--snapshot", "12345678"), "no snapshot 12345678"),
        (("--path-map", "/a"), "is no path map"),
        (("--target", str(tmp_path)), "--force"),
        (("--path", "/nowhere", "--in-place"), "does not hold /nowhere"),
        (("--repo", "other", "--in-place"), "there is no repository 'other'"),
    ]

    assert [] == [
        (words, output) for words, output in fragments if output not in place.refused("web", *words)
    ]
    assert "there is no plan or service 'blog'" in place.refused("blog")
    assert "second" == place.page.read_text()


def test_a_plan_that_is_not_in_the_document_any_more_is_restored(
    place: Place, tmp_path: Path
) -> None:
    """Its repository has to be named, for nobody knows it."""
    document = json.loads(place.config.read_text())
    document["plans"] = []
    place.config.write_text(json.dumps(document))

    result = place.run("restore", "web", "--repo", "store", "--target", str(tmp_path / "there"))

    assert 0 == result.exit_code, result.exception
    assert "deeper" == (tmp_path / "there" / "deep" / "er").read_text()


def test_an_interrupted_restore_leaves_what_was_there(place: Place, tmp_path: Path) -> None:
    """A signal ends restic too, whatever it is at; nothing of it stays."""
    place.page.write_text("second")
    restic = tmp_path / "restic.sh"
    restic.write_text(_NEVER_ENDS)
    restic.chmod(0o755)
    for name in ("fifo", "reached"):
        os.mkfifo(f"{restic}.{name}")
    code = "from sidecar.cli.runner.restore import restore; restore(standalone_mode=False)"
    words = ["web", "--in-place", "--force", "--config", str(place.config), "--restic", str(restic)]
    command = [sys.executable, "-c", code, *words]

    # Open for both ends, so that nobody waits for the other.
    fifo, reached = (os.open(f"{restic}.{name}", os.O_RDWR) for name in ("fifo", "reached"))
    with subprocess.Popen(command, env=place.environ, stderr=subprocess.PIPE) as process:
        assert "reached" == os.read(reached, 7).decode()
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate()
    os.close(fifo)
    os.close(reached)

    assert 0 != process.returncode
    assert b"interrupted: what was there is there" in output
    assert ("second", [RunOutcome.CANCELLED]) == (place.page.read_text(), place.outcomes())
    assert ["deep", "page"] == sorted(os.listdir(place.bench.source))


@pytest.mark.parametrize("words", [["restore", "web", "--in-place", "--force"], ["verify"]])
def test_an_interrupted_command_lets_restic_remove_its_lock(place: Place, words: list[str]) -> None:
    """It gets the time for that which a backup gets."""
    place.bench.write("big", os.urandom(2 << 20))
    place.bench.backup()
    document = json.loads(place.config.read_text())
    document["repos"][0]["flags"] = ["--limit-download 256"]
    place.config.write_text(json.dumps(document))
    locks = place.bench.folder / "repo" / "locks"
    command = [sys.executable, "-m", "sidecar.runner", *words]
    command += ["--config", str(place.config), "--restic", RESTIC]

    with subprocess.Popen(command, env=place.environ, stderr=subprocess.PIPE) as process:
        # An old restic knows its lock as its own a moment after it has made it.
        while not any(time.time() - one.stat().st_mtime > 0.6 for one in locks.iterdir()):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate()

    assert 0 != process.returncode
    assert [] == os.listdir(locks)
    assert RunOutcome.CANCELLED is place.outcomes()[0]


def test_verify_compares_and_tells(place: Place) -> None:
    """Every plan if none is named; the seed is told, and chooses the same again."""
    place.page.write_text("second")

    result = place.run("verify", "--seed", "5")

    assert 0 == result.exit_code, result.exception
    head, *files = result.output.splitlines()
    assert re.fullmatch(r"web: verified \(snapshot [0-9a-f]{8}, seed 5\)", head)
    source = place.bench.source
    assert [f"the same: {source}/deep/er", f"restored, changed since: {source}/page"] == [
        line.strip() for line in files
    ]
    assert result.output == place.run("verify", "web", "--seed", "5").output


def test_verify_tells_which_names_were_left_out(place: Place) -> None:
    """In a line below the files."""
    place.bench.write(os.fsdecode(b"odd\xff"), "odd")
    place.bench.backup()

    result = place.run("verify", "web")

    assert 0 == result.exit_code, result.exception
    assert "  left out: 1 file with a name that is no UTF-8" == result.output.splitlines()[-1]


def test_verify_fails_where_something_differs(place: Place) -> None:
    """By its exit status too."""
    held = place.page.stat()
    place.page.write_text("fyrst")
    os.utime(place.page, ns=(held.st_atime_ns, held.st_mtime_ns))

    result = place.run("verify", "web", "--sample", "9")

    assert 1 == result.exit_code
    assert f"{place.page}: its content is another" in result.output
    assert [RunOutcome.FAILED] == place.outcomes()


def test_what_was_passed_over_is_told(place: Place) -> None:
    """An empty newest snapshot is not the latest: not restored, not verified, and named."""
    place.page.rename(place.bench.folder / "page")
    shutil.rmtree(place.bench.source / "deep")
    place.bench.backup()
    full, void = place.bench.names()

    restored = place.run("restore", "web", "--in-place", "--force")
    verified = place.run("verify", "web")

    assert (0, 3) == (restored.exit_code, verified.exit_code)
    said = f"not the newest: 1 newer snapshot holds no file ({void[:8]})"
    for output in (restored.output, verified.output):
        assert f"  {said}" == output.splitlines()[1]
        assert f"snapshot {full[:8]}" in output
    assert "first" == place.page.read_text()
    assert [RunOutcome.WARNING, RunOutcome.SUCCESS] == place.outcomes()
