"""restore --database by the program itself; the container is this machine, the server a script."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.backrest.credentials import dump_title
from sidecar.backrest.workloads import DumpRecord, MountRecord, WorkloadRecord, render_workloads
from sidecar.cli.runner.main import cli
from sidecar.docker.exec_command import ExecResult
from sidecar.docker.models import Container, Mount
from sidecar.lib.errors import SidecarError
from sidecar.runner.journal import Journal, RunOutcome
from sidecar.runner.plan_turns import PlanTurns

DUMP = "-- dump of the first day\n--\n-- PostgreSQL database dump complete\n--\n\n"
# As psql: asked for facts it gives them, sent a dump it keeps that if its end has come.
_PSQL = """#!/bin/sh
printf '%s\\n' "$@" "$PGUSER" >>"$SERVER/arguments"
said=$(cat)
case $said in
  *"SELECT 'backrest-loaded';") printf '%s' "$said" >"$SERVER/rows"; echo backrest-loaded ;;
  *"SELECT 'server'"*) printf 'server\\tPostgreSQL 15\\t%s\\n' "$PGUSER" ;;
  *pg_class*) echo 2 ;;
  *pg_database*) echo shop ;;
  *) exit 0 ;;
esac
"""


class LocalDocker:
    """Docker with one container, whose `sh` is that of this machine."""

    address = "unix:///run/docker.sock"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = "running"

    def all(self) -> tuple[Container, ...]:
        """List the container."""
        mount = Mount("bind", str(self.folder / "dumps"), "/dumps")
        return (Container("id-1", "shop-db-1", mounts=(mount,), state=self.state),)

    def data_root(self) -> str:
        """Return Docker's folder."""
        return "/var/lib/docker"

    def run(
        self, container: str, script: str, content: Iterator[bytes], user: str = ""
    ) -> ExecResult:
        """Run a script, with the stand-in first on its PATH."""
        assert (container, user) == ("id-1", "")
        server = str(self.folder / "server")
        environ = {"PATH": f"{server}:{os.environ['PATH']}", "SERVER": server}
        done = subprocess.run(
            ["sh", "-c", script],
            input=b"".join(content),
            env={**environ, "POSTGRES_USER": "app", "POSTGRES_PASSWORD": "s3cret"},
            capture_output=True,
            check=False,
        )
        return ExecResult(done.returncode, done.stdout, done.stderr)


@dataclass
class Shop:
    """A service whose plan dumps its database, saved once; the dump and the rows are newer."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.docker = LocalDocker(self.folder)
        self.config = self.folder / "config" / "config.json"
        self.config.parent.mkdir()
        self.file = self.folder / "dumps" / "all.sql"
        self.file.parent.mkdir()
        psql = self.folder / "server" / "psql"
        psql.parent.mkdir()
        psql.write_text(_PSQL)
        psql.chmod(0o755)
        self.rows = psql.with_name("rows")
        self.rows.write_text("newer rows")
        self.write()

        @contextmanager
        def opened(*_: object) -> Iterator[LocalDocker]:
            yield self.docker

        self.monkeypatch.setattr("sidecar.runner.restore.command.open_docker", opened)

    def write(self, **plan: object) -> None:
        """Write the documents, and what is known of the service."""
        dump = DumpRecord("postgres-dump", "/dumps/all.sql", "shop-db-1", "shop")
        title = dump_title(dump.template, dump.container)
        hook = {"conditions": ["CONDITION_SNAPSHOT_SKIPPED"], "actionCommand": {"command": title}}
        usual = {
            "id": "auto_db",
            "repo": "store",
            "paths": [str(self.file.parent)],
            "schedule": {"disabled": True},
            "retention": {"policyKeepAll": True},
            "hooks": [hook],
        }
        whole = {"modno": 1, "version": 6, "instance": "here"}
        repo = {"id": "store", "uri": f"rsync:{self.folder}/repo", "autoInitialize": True}
        self.config.write_text(json.dumps(whole))
        document = {**whole, "repos": [repo], "plans": [{**usual, **plan}]}
        self.config.with_name("runner.json").write_text(json.dumps(document))
        seen = str(self.file.parent)
        mounts = (MountRecord("/dumps", seen=seen, plan="auto_db"),)
        record = WorkloadRecord("shop/db", "db", "shop", plan="auto_db", mounts=mounts, dump=dump)
        (self.config.parent / ".sidecar").mkdir(exist_ok=True)
        content = render_workloads([record])
        (self.config.parent / ".sidecar" / "workloads.json").write_bytes(content)

    def save(self, content: str = DUMP) -> None:
        """Save a dump, which then is another one."""
        self.file.write_text(content)
        done = self.run("run", "auto_db")
        assert done.exit_code == 0, (done.output, done.exception)
        self.file.write_text("another one")

    def run(self, name: str, *words: str) -> Result:
        """Run a command in this process."""
        environ = {**dict.fromkeys(os.environ), "PATH": os.environ["PATH"], "TZ": "UTC"}
        flags = ["--config", str(self.config), "--docker-sock", "none"]
        return CliRunner(env=environ).invoke(cli.commands[name], [*words, *flags])

    def load(self, *words: str) -> str:
        """Load the dump, which has to succeed; give what is said."""
        done = self.run("restore", "db", "--database", *words)
        assert done.exit_code == 0, (done.exception, done.output)
        return done.output

    def refused(self, *words: str) -> str:
        """Load the dump, which is refused, and nothing is touched; give the reason."""
        before = self.rows.read_text()
        done = self.run("restore", "db", "--database", *words)
        assert isinstance(done.exception, SidecarError), done.output
        assert self.rows.read_text() == before
        return str(done.exception)

    def outcomes(self) -> list[RunOutcome]:
        """Return how the recorded restores ended, newest first."""
        with Journal(self.config.parent / ".runner" / "journal.sqlite") as journal:
            runs = [run for run in journal.runs.list() if run.job.kind.value == "restore"]
            return [run.ended.outcome for run in runs if run.ended]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Return a service whose database was saved."""
    made = Shop(tmp_path, monkeypatch)
    made.save()
    return made


def test_a_dump_is_loaded_as_one_transaction(shop: Shop) -> None:
    """It is shown first what that does; the file that is there stays."""
    said = shop.load("--yes")

    head, path, server, effect, end = said.splitlines()
    assert head.startswith("shop/db: snapshot auto_db@")
    assert path.strip() == "/dumps/all.sql: 69 B, whole, by postgres-dump"
    assert server.strip() == "→ PostgreSQL 15 in shop-db-1 as app"
    assert "the database 'shop' holds 2 tables: all of it is replaced, in one" in effect
    assert end.startswith("shop/db: shop-db-1 has the dump of snapshot auto_db@")
    loaded = shop.rows.read_text()
    assert loaded.startswith("BEGIN;\n")
    assert f"{DUMP}\nCOMMIT;\n" in loaded
    assert "s3cret" not in said + (shop.folder / "server" / "arguments").read_text()
    assert (shop.file.read_text(), shop.outcomes()) == ("another one", [RunOutcome.SUCCESS])


def test_a_dry_run_loads_nothing(shop: Shop) -> None:
    """And tells what would be."""
    assert shop.load("--dry-run").endswith("nothing was loaded: this was a dry run\n")
    assert (shop.rows.read_text(), shop.outcomes()) == ("newer rows", [])


def test_elsewhere_than_on_a_terminal_it_has_to_be_agreed_to(shop: Shop) -> None:
    """By a flag."""
    assert "would be replaced: nothing was touched" in shop.refused()


@pytest.mark.parametrize(
    ("answer", "status", "rows"), [("y\n", 0, "BEGIN;"), ("n\n", 1, "newer"), ("", 1, "newer")]
)
def test_on_a_terminal_it_is_asked(
    answer: str, status: int, rows: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not agree changes nothing."""
    monkeypatch.setattr("sidecar.cli.runner.restore._is_on_terminal", lambda: True)
    environ = {**dict.fromkeys(os.environ), "PATH": os.environ["PATH"]}
    words = ["db", "--database", "--config", str(shop.config), "--docker-sock", "none"]

    done = CliRunner(env=environ).invoke(cli.commands["restore"], words, input=answer)

    assert done.exit_code == status, (done.output, done.exception)
    assert "Load this?" in done.output
    assert shop.rows.read_text().startswith(rows)


def test_a_dump_that_is_not_whole_is_refused_before_the_server_is_asked(shop: Shop) -> None:
    """An older one is not."""
    (shop.folder / "server" / "arguments").unlink(missing_ok=True)
    shop.save(DUMP[:40])
    assert "the dump in the snapshot is not whole (40 B" in shop.refused("--yes")
    assert not (shop.folder / "server" / "arguments").exists()
    assert shop.outcomes() == []


def test_a_server_that_does_not_run_is_refused(shop: Shop) -> None:
    """It is said what state it is in."""
    shop.docker.state = "exited"
    assert "shop-db-1 is exited: nothing was touched" in shop.refused("--yes")


def test_a_plan_without_that_hook_is_refused(shop: Shop) -> None:
    """Whatever stands in workloads.json."""
    shop.write(hooks=[])
    assert "auto_db has no hook that makes a dump by postgres-dump" in shop.refused("--yes")


def test_a_run_of_the_plan_keeps_it_away(shop: Shop) -> None:
    """A dry run tells so, and does not fail."""
    with PlanTurns(shop.config.parent / ".runner").hold("auto_db"):
        assert "is at work: nothing was touched" in shop.refused("--yes")
        assert "in the way: a run of auto_db" in shop.load("--dry-run")


def test_a_run_that_begins_while_it_is_asked_keeps_it_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again."""
    monkeypatch.setattr(PlanTurns, "is_held", lambda *_: False)
    with PlanTurns(shop.config.parent / ".runner").hold("auto_db"):
        assert "is at work: nothing was touched" in shop.refused("--yes")


def test_a_load_that_fails_is_recorded_with_its_state(shop: Shop) -> None:
    """As in what is shown."""
    psql = shop.folder / "server" / "psql"
    failing = _PSQL.replace('printf \'%s\' "$said" >"$SERVER/rows"; echo backrest-loaded', "exit 3")
    psql.write_text(failing)
    assert "all is as it was before" in shop.refused("--yes")
    assert shop.outcomes() == [RunOutcome.FAILED]


@pytest.mark.parametrize(
    "words",
    [
        ("/dumps",),
        ("--path", "/dumps"),
        ("--to", "out"),
        ("--target", "out"),
        ("--path-map", "/a=/b"),
        ("--in-place",),
        ("--stop",),
    ],
)
def test_what_is_of_files_contradicts_it(words: tuple[str, ...], shop: Shop) -> None:
    """Nothing is guessed."""
    assert "--database" in shop.refused("--yes", *words) or words[0] == "--path-map"


def test_without_docker_nothing_can_be_loaded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said."""

    @contextmanager
    def none(*_: object) -> Iterator[None]:
        yield None

    monkeypatch.setattr("sidecar.runner.restore.command.open_docker", none)
    assert "a dump is loaded by Docker" in shop.refused("--yes")


def test_a_load_that_is_interrupted_tells_its_state(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And records it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sidecar.runner.restore.database.DumpLoader.run", interrupted)
    done = shop.run("restore", "db", "--database", "--yes")
    assert "interrupted: all is as it was before, or as in the dump" in done.output
    assert shop.outcomes() == [RunOutcome.CANCELLED]
