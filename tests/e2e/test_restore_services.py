"""restore by the names of services and paths of containers, with the programs themselves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.backrest.workloads import MountRecord, WorkloadRecord, render_workloads
from sidecar.cli.runner.main import cli
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.lock import SchedulerLock
from sidecar.runner.plan_turns import PlanTurns
from sidecar.runner.restore.staging import PREFIX, settle
from tests.engines.bench import PASSWORD, quick_repo

ROOT = Path(__file__).parents[2]
KILLED = ROOT / "tests" / "fakes" / "one_restore.py"


@dataclass
class Shop:
    """Two services with a volume each, saved to a repository; `shop/web` depends on `shop/db`."""

    folder: Path
    repo: Mapping[str, Any]
    flags: tuple[str, ...] = ("--docker-sock", "none")
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = self.folder / "config" / "config.json"
        self.config.parent.mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "TZ": "Europe/Berlin",
        }
        for service in ("web", "db"):
            self.data(service).mkdir(parents=True)
            (self.data(service) / "deep").mkdir()
            self.page(service).write_text("first")
            (self.data(service) / "deep" / "er").write_text(service)
        self.write()

    @property
    def state(self) -> Path:
        """The runner's state folder."""
        return self.config.parent / ".runner"

    def data(self, service: str) -> Path:
        """Return the folder of a service's volume on the host."""
        return self.folder / "volumes" / f"shop_{service}" / "_data"

    def page(self, service: str) -> Path:
        """Return a file of it."""
        return self.data(service) / "page"

    def write(self, **plan: object) -> None:
        """Write the document, and which services its plans are of."""
        usual = {
            "repo": "store",
            "schedule": {"disabled": True},
            "retention": {"policyKeepAll": True},
        }
        plans = [
            {**usual, "id": f"auto_{one}", "paths": [str(self.data(one))], **plan}
            for one in ("web", "db")
        ]
        name = "config.json" if self.repo["uri"].startswith("/") else "runner.json"
        document = {"modno": 1, "version": 6, "instance": "here"}
        self.config.write_text(json.dumps(document))
        whole = {**document, "repos": [self.repo], "plans": plans}
        self.config.with_name(name).write_text(json.dumps(whole))
        records = [
            WorkloadRecord(
                f"shop/{one}",
                one,
                "shop",
                containers=(f"shop-{one}-1",),
                plan=f"auto_{one}",
                mounts=(MountRecord("/data", seen=str(self.data(one)), plan=f"auto_{one}"),),
            )
            for one in ("web", "db")
        ]
        folder = self.config.parent / ".sidecar"
        folder.mkdir(exist_ok=True)
        (folder / "workloads.json").write_bytes(render_workloads(records))

    def run(self, name: str, *words: str) -> Result:
        """Run a command in this process."""
        environ = {**dict.fromkeys(os.environ), **self.environ}
        flags = ["--config", str(self.config), *self.flags]
        return CliRunner(env=environ).invoke(cli.commands[name], [*words, *flags])

    def restore(self, *words: str) -> str:
        """Restore, which has to succeed; give what is said."""
        done = self.run("restore", *words)
        assert 0 == done.exit_code, (done.exception, done.output)
        return done.output

    def refused(self, *words: str) -> tuple[str, str]:
        """Restore, which is refused; give what was shown, and the error in words."""
        done = self.run("restore", *words)
        assert isinstance(done.exception, SidecarError), done.output
        return done.output, str(done.exception)

    def spoil(self) -> None:
        """Change a file of both, add one, and remove one."""
        for service in ("web", "db"):
            self.page(service).write_text("second")
            (self.data(service) / "new").write_text("new")
            (self.data(service) / "deep" / "er").unlink(missing_ok=True)

    def held(self, service: str) -> dict[str, str]:
        """Return the files of a service's volume, and what of a restore is left there."""
        data = self.data(service)
        files = (one for one in data.rglob("*") if one.is_file())
        return {str(one.relative_to(data)): one.read_text() for one in files}

    def old(self, service: str) -> dict[str, str]:
        """Return what was saved."""
        return {"page": "first", "deep/er": service}

    def outcomes(self) -> list[tuple[str, RunOutcome]]:
        """Return how the recorded restores ended, newest first."""
        with Journal(self.state / "journal.sqlite") as journal:
            runs = [run for run in journal.runs.list() if run.job.kind is JobKind.RESTORE]
            return [(run.job.subject, run.ended.outcome) for run in runs if run.ended]


# Copies out of a repository as rsync does, says so, and then does not end by itself.
_STOPS = f"""#!/bin/sh
case "$*" in *{PREFIX}*) printf reached >"$(dirname "$0")/reached"; exec sleep 600;; esac
exec {shutil.which("rsync")} "$@"
"""
_LONG_AGO = RunCause.SCHEDULE, time.time() - 3 * 86_400
_ENDED = Ended(RunOutcome.SUCCESS, time.time() - 3 * 86_400)
SPOILT = {"page": "second", "new": "new"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty repository of restic that is quickly opened."""
    return quick_repo(tmp_path_factory.mktemp("template"))


def make_shop(folder: Path, template: Path, engine: str) -> Shop:
    """Save both services by an engine, and change what they hold."""
    repo: dict[str, Any] = {"id": "store", "uri": f"rsync:{folder}/repo", "autoInitialize": True}
    if engine == "restic":
        subprocess.run(["cp", "-a", str(template), str(folder / "repo")], check=True)
        repo = {"id": "store", "uri": str(folder / "repo"), "password": PASSWORD}
        probed = subprocess.run(
            ["restic", "cat", "config", "--json"],
            env={**os.environ, "RESTIC_REPOSITORY": repo["uri"], "RESTIC_PASSWORD": PASSWORD},
            capture_output=True,
            check=True,
        )
        repo["guid"] = json.loads(probed.stdout)["id"]
    shop = Shop(folder, repo)
    saved = shop.run("run", "auto_web", "auto_db")
    assert 0 == saved.exit_code, saved.output
    shop.spoil()
    return shop


@pytest.fixture(params=["restic", "rsync"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, template: Path) -> Shop:
    """Save two services, and change what they hold."""
    return make_shop(tmp_path, template, request.param)


@pytest.fixture
def plain(tmp_path: Path, template: Path) -> Shop:
    """Do so by rsync alone, where the engine is of no account."""
    return make_shop(tmp_path, template, "rsync")


def test_a_file_comes_back_and_nothing_else_is_touched(shop: Shop) -> None:
    """By the path that the container has; it is shown first."""
    said = shop.restore("web", "/data/page", "--yes")

    head, step, *_ = said.splitlines()
    assert re.match(r"shop/web: snapshot \S+ of .* old: 1 file, 5 B", head)
    assert f"/data/page  → {shop.page('web')}  a file is there: replaces it" == step.strip()
    assert {**SPOILT, "page": "first"} == shop.held("web")
    assert SPOILT == shop.held("db")


def test_a_folder_comes_back(shop: Shop) -> None:
    """And what is beside it stays."""
    shop.restore("shop/web", "/data/deep", "--yes")

    assert {**SPOILT, "deep/er": "web"} == shop.held("web")


def test_a_service_comes_back(shop: Shop) -> None:
    """Whole: what the snapshot does not hold goes."""
    shop.restore("shop-web-1", "--yes")

    assert (shop.old("web"), SPOILT) == (shop.held("web"), shop.held("db"))
    assert [("auto_web", RunOutcome.SUCCESS)] == shop.outcomes()


def test_a_snapshot_of_another_service_does_not_replace_its_data(shop: Shop) -> None:
    """Not under the name of this one: no run of that plan would be kept away meanwhile."""
    command = [sys.executable, "-m", "sidecar.runner", "snapshots", "db", "--output", "json"]
    words = [*command, "--config", str(shop.config)]
    done = subprocess.run(words, env=shop.environ, capture_output=True, check=True)
    listed = json.loads(done.stdout)

    said, why = shop.refused("web", "--at", listed[0]["snapshot"], "--yes")

    assert f"{shop.data('db')} is not data of auto_web but of auto_db: nothing was touched" in why
    assert why.splitlines()[0].split(":")[0] in said
    assert (SPOILT, SPOILT) == (shop.held("web"), shop.held("db"))
    shop.restore("web", "--at", listed[0]["snapshot"], "--to", str(shop.folder / "aside"))
    shop.restore("db", "--at", listed[0]["snapshot"], "--yes")
    assert shop.old("db") == shop.held("db")


def test_a_project_comes_back(shop: Shop) -> None:
    """Each of its services, recorded one by one."""
    said = shop.restore("shop/", "--yes")

    for service in ("web", "db"):
        assert shop.old(service) == shop.held(service)
        assert f"shop/{service} is restored from snapshot" in said
    assert {("auto_web", RunOutcome.SUCCESS), ("auto_db", RunOutcome.SUCCESS)} == set(
        shop.outcomes()
    )


def test_to_a_folder_each_service_comes_as_it_lies_in_its_container(shop: Shop) -> None:
    """Below a folder of its own; nothing that lives is touched, and nobody is asked."""
    target = shop.folder / "restored"

    shop.restore("web", "db", f"--to={target}")
    shop.restore("web", "/data/page", "--to", str(target / "one"))

    for service in ("web", "db"):
        assert "first" == (target / f"shop_{service}" / "data" / "page").read_text()
        assert SPOILT == shop.held(service)
    assert ["page"] == os.listdir(target / "one" / "shop_web" / "data")
    assert "is a folder with contents" in shop.refused("web", "--to", str(target))[1]


def test_without_a_word_the_folder_is_the_usual_one(
    plain: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That which the Compose files mount, else one in the folder where one is."""
    monkeypatch.chdir(tmp_path)
    plain.restore("web", "--to")
    assert "first" == (tmp_path / "restored" / "shop_web" / "data" / "page").read_text()

    monkeypatch.setattr("sidecar.cli.output.restore.RESTORED", str(tmp_path / "mounted"))
    (tmp_path / "mounted").mkdir()
    plain.restore("web", "--to")
    assert "first" == (tmp_path / "mounted" / "shop_web" / "data" / "page").read_text()


def test_a_dry_run_tells_what_is_in_the_way_and_does_not_fail(plain: Shop) -> None:
    """Nor does it touch anything."""
    plain.page("web").unlink()
    plain.page("web").mkdir()

    said = plain.restore("shop/", "--dry-run")

    assert "is a folder with contents: nothing" not in said
    assert "in the way" not in said
    assert f"/data  → {plain.data('db')}  a folder with contents is there: replaces it" in said
    assert "nothing was restored: this was a dry run" == said.splitlines()[-1]
    said = plain.restore("web", "/data/page", "--dry-run")
    assert "in the way: " in said
    assert "is an empty folder now, and a file in the snapshot: nothing was touched" in said
    assert [] == plain.outcomes()


def test_what_is_there_is_not_replaced_unasked(plain: Shop) -> None:
    """Where nobody can be asked, --yes says so; what would happen is shown all the same."""
    shown, said = plain.refused("web")

    assert "shop/web: snapshot " in shown
    assert "a folder with contents: nothing was touched (write --yes" in said
    assert SPOILT == plain.held("web")


def test_on_a_narrow_terminal_each_part_of_a_step_has_a_line(
    plain: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cut."""
    monkeypatch.setattr("sidecar.cli.output.restore.terminal_width", lambda: 60)

    said = plain.restore("web", "--dry-run").splitlines()

    first = said.index("  /data")
    assert f"    → {plain.data('web')}" == said[first + 1]
    assert "    a folder with contents is there: replaces it" == said[first + 2]
    plain.page("web").unlink()
    plain.page("web").mkdir()
    said = plain.restore("web", "/data/page", "--dry-run").splitlines()
    reason = " ".join(line.strip() for line in said if line.startswith("      "))
    assert "and a file in the snapshot: nothing was touched" in reason
    assert [] == [line for line in said if len(line) > 60 and str(plain.page("web")) not in line]


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("", 1), ("y", 0)])
def test_on_a_terminal_it_is_asked(plain: Shop, answer: str, status: int) -> None:
    """And what is there is replaced only if somebody agrees."""
    words = [sys.executable, "-m", "sidecar.runner", "restore", "web"]
    words += ["--config", str(plain.config), *plain.flags]
    terminal, end = os.openpty()
    with subprocess.Popen(
        words, env=plain.environ, stdin=end, stderr=end, stdout=subprocess.PIPE, text=True
    ) as process:
        said = b""
        while b"Restore this? [y/N]" not in said:
            said += os.read(terminal, 1000)
        assert SPOILT == plain.held("web")
        os.write(terminal, f"{answer}\n".encode())
        shown, _ = process.communicate(timeout=60)
    os.close(terminal)
    os.close(end)

    assert "a folder with contents is there: replaces it" in shown
    assert status == process.returncode
    assert (SPOILT if status else plain.old("web")) == plain.held("web")


def test_a_path_that_is_not_saved_is_told(plain: Shop) -> None:
    """With those that are."""
    assert "saved are: /data" in plain.refused("web", "/srv", "--yes")[1]
    assert "did you mean shop/web" in plain.refused("shop/wev", "--yes")[1]
    assert "the oldest snapshot of auto_web" in plain.refused("web", "--at", "2001-01-01")[1]


def test_while_a_run_is_at_work_nothing_is_restored(plain: Shop) -> None:
    """A dry run tells that; to a folder it is restored all the same."""
    with PlanTurns(plain.state).hold("auto_web") as is_free:
        assert is_free
        assert "a run of auto_web, or another restore" in plain.refused("web", "--yes")[1]
        assert "a run of auto_web, or another" in plain.refused("shop/", "--yes")[1]
        assert "in the way: a run of auto_web" in plain.restore("web", "--dry-run")
        plain.restore("web", "--to", str(plain.folder / "there"))

    assert (SPOILT, SPOILT) == (plain.held("web"), plain.held("db"))


def test_while_a_run_is_due_nothing_is_restored(plain: Shop) -> None:
    """What is there now is to be saved first, unless somebody insists."""
    plain.write(schedule={"cron": "0 3 * * *"})
    for file in plain.state.glob("journal.sqlite*"):
        file.unlink()
    with Journal(plain.state / "journal.sqlite") as journal:
        number = journal.runs.begin(Job(JobKind.BACKUP, "auto_web", "store"), *_LONG_AGO, "")
        journal.runs.end(number, _ENDED)

    plain.restore("web", "/data/page", "--yes")
    plain.spoil()
    with SchedulerLock([plain.config.parent], "daemon"):
        assert "a run of auto_web is due since 03:00" in plain.refused("web", "--yes")[1]
        assert SPOILT == plain.held("web")
        plain.restore("web", "--yes", "--force")
    assert plain.old("web") == plain.held("web")


def test_neither_run_nor_dry_run_reads_through_a_link_out_of_the_mount(plain: Shop) -> None:
    """What runs in the container has put another's folder above the path of its own plan."""
    folders = [plain.data(service) / "above" for service in ("web", "db")]
    for folder in folders:
        (folder / "saved").mkdir(parents=True)
        (folder / "saved" / "file").write_text("x")
    plain.write(paths=[f"{folders[0]}/saved"])
    assert 0 == plain.run("run", "shop/web").exit_code
    shutil.rmtree(folders[0])
    folders[0].symlink_to(folders[1])

    for words in ((), ("--dry-run",)):
        refused = plain.run("run", "shop/web", *words)
        assert 0 != refused.exit_code
        assert f"leads out of its mount, to {folders[1]}/saved" in refused.output


def test_a_run_waits_for_a_restore(plain: Shop) -> None:
    """It is not begun meanwhile, and says why."""
    with PlanTurns(plain.state).hold("auto_web"):
        done = plain.run("run", "auto_web")

    assert 1 == done.exit_code
    assert "a restore of auto_web is at work" in done.output


@pytest.mark.parametrize("moment", range(0, 16, 3))
def test_a_kill_leaves_each_folder_old_or_new(plain: Shop, moment: int) -> None:
    """At any of its renamings, of which there are 16; the same command then ends it."""
    words = [sys.executable, str(KILLED), str(moment), "restore", "web", "db", "--yes"]
    words += ["--config", str(plain.config), *plain.flags]

    ended = subprocess.run(words, env=plain.environ, capture_output=True, check=False)

    assert -signal.SIGKILL == ended.returncode, ended.stderr
    for service in ("web", "db"):
        settle(plain.data(service))
        assert plain.held(service) in (SPOILT, plain.old(service))
    plain.restore("web", "db", "--yes")
    for service in ("web", "db"):
        assert plain.old(service) == plain.held(service)
        assert [] == [one for one in os.listdir(plain.data(service)) if one.startswith(PREFIX)]
    assert not PlanTurns(plain.state).is_held("auto_web")


@pytest.mark.parametrize("moment", [0, 1])
def test_a_kill_leaves_a_file_as_it_was_until_it_is_there_whole(plain: Shop, moment: int) -> None:
    """It takes the place of the old one in one step, which is the last of two renamings."""
    words = [sys.executable, str(KILLED), str(moment), "restore", "web", "/data/page", "--yes"]
    words += ["--config", str(plain.config), *plain.flags]

    assert -signal.SIGKILL == subprocess.run(words, env=plain.environ, check=False).returncode

    assert SPOILT.items() <= plain.held("web").items()
    plain.restore("web", "/data/page", "--yes")
    assert {**SPOILT, "page": "first"} == plain.held("web")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_leaves_everything_as_it_was(plain: Shop, name: str) -> None:
    """While both are fetched: nothing is touched before all of it is there."""
    rsync = plain.folder / "bin" / "rsync"
    rsync.parent.mkdir()
    rsync.write_text(_STOPS)
    rsync.chmod(0o755)
    fifo = rsync.with_name("reached")
    os.mkfifo(fifo)
    environ = {**plain.environ, "PATH": f"{rsync.parent}:{plain.environ['PATH']}"}
    words = [sys.executable, "-m", "sidecar.runner", "restore", "web", "db", "--yes"]
    words += ["--config", str(plain.config), *plain.flags]
    reached = os.open(fifo, os.O_RDWR)
    with subprocess.Popen(words, env=environ, stderr=subprocess.PIPE) as process:
        waiter = threading.Timer(60, process.kill)
        waiter.start()
        assert b"reached" == os.read(reached, 7)
        process.send_signal(getattr(signal, name))
        _, said = process.communicate()
        waiter.cancel()
    os.close(reached)

    assert process.returncode not in {0, -signal.SIGKILL}
    assert b"interrupted: what was there is there" in said
    for service in ("web", "db"):
        assert SPOILT == plain.held(service)
    assert {("auto_web", RunOutcome.CANCELLED), ("auto_db", RunOutcome.CANCELLED)} == set(
        plain.outcomes()
    )
