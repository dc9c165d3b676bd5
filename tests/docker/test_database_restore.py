"""Dumps by templates, saved by the runner and loaded back into real servers by its restore."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import docker
import pytest
from click.testing import CliRunner, Result

from database_world import DATABASES as TEMPLATES
from database_world import (
    ENVIRONMENT,
    IMAGE,
    SECRET,
    SERVERS,
    DatabaseWorld,
    run_databases,
)
from hook_shell import wait_until
from private_docker import PrivateEngine
from sidecar.backrest.document import parse_document
from sidecar.backrest.workloads import join_lines
from sidecar.cli.runner.main import cli
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import SidecarError
from sidecar.planner.propose import DesiredState, propose
from sidecar.planner.records import WorkloadRecords
from sidecar.runner.restore import dump_file

# The first of them may have to make the image's root file system.
pytestmark = pytest.mark.timeout(600)

LABELS = "backrest."
BY_TEMPLATE = {one.template: one for one in TEMPLATES}
NAMED = {
    "postgres-dump": "shop",
    "mariadb-dump": "shop",
    "mysql-dump": "shop",
    "sqlite-backup": "/data/app.db",
}
SPOIL = {
    "postgres-dump": """PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD psql -q -d shop \
        -c 'DELETE FROM notes WHERE id > 3' -c 'CREATE TABLE later (id int)' """,
    "mariadb-dump": """MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb shop -e "DELETE FROM notes" """,
    "mysql-dump": """MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb shop -e "DROP TABLE notes" """,
    "sqlite-backup": """sqlite3 /data/app.db "PRAGMA journal_mode = wal" "DELETE FROM notes" """,
}


@pytest.fixture(scope="module")
def databases(
    docker_client: docker.APIClient,
    engine: PrivateEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DatabaseWorld]:
    """Run the servers once; each test leaves the rows as they were."""
    yield from run_databases(docker_client, engine, tmp_path_factory.mktemp("loads"))


@dataclass
class Saved:
    """A container with a dump, planned by the sidecar and saved by the runner."""

    databases: DatabaseWorld
    folder: Path
    template: str
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = SERVERS

    def __post_init__(self) -> None:
        self.config = self.folder / "config" / "config.json"
        self.config.parent.mkdir()
        path = f"/dumps/{self.name}-{self.template}"
        given = {"enable": "true", "schedule": "0 3 1 1 *", "hooks.template": self.template}
        full = {**given, "dump.path": path, "paths.include": "/dumps", **self.labels}
        mount = Mount("bind", str(self.databases.dumps), "/dumps")
        labels = {LABELS + key: value for key, value in full.items()}
        container = Container("1", self.name, labels=labels, mounts=(mount,))
        plain = {"version": 6, "modno": 1, "instance": "here"}
        repo = {"id": "store", "uri": "/store", "password": "-", "autoInitialize": True}
        document = {**plain, "repos": [repo]}
        desired = DesiredState(Inventory((container,)), Policy(), datetime.now(UTC))
        proposal = propose(parse_document(json.dumps(document).encode()), desired)
        (self.plan,) = proposal.plans
        plans = list(proposal.plans.values())
        self.config.write_text(json.dumps(plain))
        copies = {"id": "store", "uri": f"rsync:{self.folder}/store", "autoInitialize": True}
        own = {**plain, "repos": [copies], "plans": plans}
        self.config.with_name("runner.json").write_text(json.dumps(own))
        records = self.config.parent / ".sidecar" / "workloads.json"
        records.parent.mkdir()
        records.write_bytes(join_lines(WorkloadRecords().lines(proposal, desired)))

    def run(self, command: str, *words: str) -> Result:
        """Run a command of the runner in this process; nothing that is said is a secret."""
        environ = {
            "DOCKER_HOST": self.databases.engine.address,
            "BACKREST_CONFIG": str(self.config),
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
        }
        cleared = {**dict.fromkeys(os.environ), **environ}
        socket = ["--docker-sock", self.databases.engine.address]
        flags = ["--config", str(self.config), *socket]
        done = CliRunner(env=cleared).invoke(cli.commands[command], [*words, *flags])
        assert SECRET not in done.output + str(done.exception)
        return done

    def save(self) -> None:
        """Dump and save."""
        done = self.run("run", self.plan)
        assert done.exit_code == 0, (done.output, done.exception)

    def load(self, *words: str) -> str:
        """Load the dump, which has to succeed; return what is said."""
        done = self.run("restore", self.name, "--database", *words)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    def refused(self, *words: str) -> str:
        """Load the dump in vain; return why."""
        done = self.run("restore", self.name, "--database", *words)
        assert isinstance(done.exception, SidecarError), (done.output, done.exception)
        return str(done.exception)


def rows_of(databases: DatabaseWorld, template: str) -> str:
    """Return the rows of a database."""
    return databases.run(BY_TEMPLATE[template].rows)


@pytest.mark.parametrize("template", NAMED)
def test_a_saved_database_comes_back(
    template: str, databases: DatabaseWorld, tmp_path: Path
) -> None:
    """Row by row, in the running server; nothing happens before it is agreed to."""
    before = rows_of(databases, template)
    saved = Saved(databases, tmp_path, template, {"dump.database": NAMED[template]})
    saved.save()
    databases.run(SPOIL[template])
    name = NAMED[template]

    assert f"the database '{name}'" in saved.load("--dry-run") or template.startswith("m")
    assert "write --yes" in saved.refused()
    assert databases.run(COUNT[template]) == SPOILT[template]

    said = saved.load("--yes")

    assert "has the dump of snapshot" in said
    assert rows_of(databases, template) == before
    assert databases.run("ls -A /data | grep restore || true") == ""


COUNT = {
    "postgres-dump": """PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD psql -At -d shop \
        -c 'SELECT count(*) FROM notes' """,
    "mariadb-dump": """MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb -N shop \
        -e "SELECT count(*) FROM notes" """,
    "mysql-dump": """MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb -N shop \
        -e "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'" """,
    "sqlite-backup": "sqlite3 /data/app.db 'SELECT count(*) FROM notes'",
}
SPOILT = {
    "postgres-dump": "3\n",
    "mariadb-dump": "0\n",
    "mysql-dump": "0\n",
    "sqlite-backup": "0\n",
}


def test_a_database_of_postgresql_that_is_gone_is_made(
    databases: DatabaseWorld, tmp_path: Path
) -> None:
    """With its rows, and its large objects."""
    ask = "PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD psql -At -d shop -c "
    databases.run(f"{ask} \"SELECT lo_from_bytea(4242, 'large')\"")
    before = rows_of(databases, "postgres-dump")
    saved = Saved(databases, tmp_path, "postgres-dump", {"dump.database": "shop"})
    saved.save()
    databases.run("PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD dropdb shop")

    assert "the database 'shop' is not there: it is made" in saved.load("--yes")

    assert rows_of(databases, "postgres-dump") == before
    large = databases.run(f"{ask} \"SELECT convert_from(lo_get(4242), 'utf8')\"")
    assert large == "large\n"


def test_what_postgresql_refuses_changes_nothing(databases: DatabaseWorld, tmp_path: Path) -> None:
    """It is undone as a whole, and that is said."""
    saved = Saved(databases, tmp_path, "postgres-dump", {"dump.database": "shop"})
    saved.save()
    before = rows_of(databases, "postgres-dump")
    ask = "PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD psql -q -d postgres "
    databases.run(f'{ask} -c "ALTER DATABASE shop SET default_transaction_read_only = on"')
    try:
        reason = saved.refused("--yes")
    finally:
        databases.run(f'{ask} -c "ALTER DATABASE shop RESET ALL"')
    assert "read-only transaction; all is as it was before" in reason
    assert rows_of(databases, "postgres-dump") == before


def test_what_is_cut_off_changes_nothing_in_postgresql(
    databases: DatabaseWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a dump is sent, then nothing more, as when the runner is killed."""
    saved = Saved(databases, tmp_path, "postgres-dump", {"dump.database": "shop"})
    saved.save()
    before = rows_of(databases, "postgres-dump")
    whole, counts = dump_file.postgres_database, list[int]()

    def cut(file: BinaryIO) -> Iterator[bytes]:
        content = b"".join(whole(file))
        yield content[: len(content) // 2]
        counts.append(len(content))
        if len(counts) > 1:
            raise OSError(5, "it is cut")
        yield content[len(content) // 2 :]

    monkeypatch.setattr(dump_file, "postgres_database", cut)
    assert "as it was before, or as in the dump" in saved.refused("--yes")
    assert rows_of(databases, "postgres-dump") == before


def test_where_mariadb_stops_is_told(databases: DatabaseWorld, tmp_path: Path) -> None:
    """By the line of the dump, and its table; the same command once more ends it."""
    ask = "MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb shop -e "
    before = rows_of(databases, "mariadb-dump")
    saved = Saved(databases, tmp_path, "mariadb-dump", {"dump.database": "shop"})
    saved.save()
    databases.run(f'{ask} "DROP TABLE notes; CREATE VIEW notes AS SELECT 1 AS id"')
    try:
        reason = saved.refused("--yes")
    finally:
        databases.run(f'{ask} "DROP VIEW notes"')
    assert "ERROR 1050" in reason
    assert "(shop.notes) is loaded, and nothing after it" in reason
    saved.load("--yes")
    assert rows_of(databases, "mariadb-dump") == before


RUN_POSTGRES = """
set -eu
rm -rf /srv/postgres /srv/socket
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
install -d -o postgres /srv/postgres /run/postgresql
printf %s "$POSTGRES_PASSWORD" >/run/password
as_postgres initdb -D /srv/postgres -U app --pwfile=/dev/stdin --auth=scram-sha-256 \
  --encoding=UTF8 --no-sync </run/password >/dev/null
as_postgres pg_ctl -D /srv/postgres -l /tmp/postgres.log -w start \
  -o "-c fsync=off -c listen_addresses=''" >/dev/null
PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD createdb --maintenance-db=postgres app
"""
STOP_POSTGRES = """
setpriv --reuid postgres --regid postgres --clear-groups \
  pg_ctl -D /srv/postgres -m immediate stop >/dev/null
"""
FILL_POSTGRES = """
PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD psql -q -d postgres <<'END'
CREATE ROLE clerk LOGIN;
CREATE DATABASE shop OWNER clerk;
\\connect shop
CREATE TABLE notes AS SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n;
ALTER TABLE notes OWNER TO clerk;
END
"""
ROWS_POSTGRES = """
PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD psql -At -d shop \
  -c "SELECT tableowner FROM pg_tables WHERE tablename = 'notes'" \
  -c "SELECT count(*), md5(string_agg(md5, '' ORDER BY n)) FROM notes"
"""


def test_all_databases_of_postgresql_come_back_into_a_fresh_server(
    databases: DatabaseWorld, tmp_path: Path
) -> None:
    """With roles and owners; a server that holds tables is left alone."""
    environment = {"POSTGRES_USER": "app", "POSTGRES_PASSWORD": SECRET}
    databases.add("apart", environment, alone=True)
    try:
        databases.run(RUN_POSTGRES + FILL_POSTGRES, name="apart")
        before = databases.run(ROWS_POSTGRES, name="apart")
        saved = Saved(databases, tmp_path, "postgres-dump", name="apart")
        saved.save()

        assert "here tables are in 'shop': nothing was touched" in saved.refused("--yes")
        assert databases.run(ROWS_POSTGRES, name="apart") == before

        databases.run(STOP_POSTGRES + RUN_POSTGRES, name="apart")
        assert "gets all databases and roles of the dump" in saved.load("--yes")
        assert databases.run(ROWS_POSTGRES, name="apart") == before
    finally:
        databases.remove("apart")


def test_all_databases_of_mariadb_come_back(databases: DatabaseWorld, tmp_path: Path) -> None:
    """With users."""
    ask = "MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb -N -e "
    before = rows_of(databases, "mariadb-dump")
    databases.run(f"{ask} \"CREATE USER clerk@localhost IDENTIFIED BY 'x'\"")
    saved = Saved(databases, tmp_path, "mariadb-dump")
    saved.save()
    databases.run(f'{ask} "DROP DATABASE shop; DROP USER clerk@localhost"')

    said = saved.load("--yes")

    assert "the database 'shop' is not there: it is made" in said
    assert rows_of(databases, "mariadb-dump") == before
    databases.run("mariadb --user=clerk --password=x -e ''")


SOON = ("--repl-diskless-sync-delay", "0")


@pytest.fixture
def redis(databases: DatabaseWorld) -> Iterator[str]:
    """Run a Redis of its own, which is what its container is."""
    client, name = databases.client, "cache"
    data = databases.folder / "redis"
    data.mkdir(exist_ok=True)
    binds = [f"{data}:/data", f"{databases.dumps}:/dumps"]
    made = client.create_container(
        IMAGE,
        ["redis-server", "--dir", "/data", "--requirepass", SECRET, "--bind", "127.0.0.1", *SOON],
        name=name,
        environment={"REDIS_PASSWORD": ENVIRONMENT["REDIS_PASSWORD"]},
        host_config=client.create_host_config(binds=binds, network_mode="none"),
    )
    client.start(made["Id"])
    ping = 'REDISCLI_AUTH=$REDIS_PASSWORD redis-cli "$@" || true'
    wait_until(lambda: databases.run(ping, "ping", name=name) == "PONG\n", "redis answers")
    yield name
    client.remove_container(name, force=True)


def test_redis_comes_back(redis: str, databases: DatabaseWorld, tmp_path: Path) -> None:
    """All keys of all its databases, by a start with the dump; also what was not yet on disk."""

    def ask(*words: str) -> str:
        script = 'REDISCLI_AUTH=$REDIS_PASSWORD redis-cli --raw "$@"'
        return databases.run(script, *words, name=redis)

    ask("set", "note", "first")
    ask("-n", "3", "set", "other", "third")
    save = ask("config", "get", "save")
    saved = Saved(databases, tmp_path, "redis-save", name=redis)
    saved.save()
    ask("set", "note", "second")
    ask("set", "later", "x")
    ask("save")
    before = databases.client.inspect_container(redis)["State"]["StartedAt"]

    assert "all 3 keys are replaced" in saved.load("--dry-run")
    assert ask("get", "note") == "second\n"

    said = saved.load("--yes")

    assert "stops and starts cache" in said
    found = [ask("get", "note"), ask("-n", "3", "get", "other"), ask("exists", "later")]
    assert found == ["first\n", "third\n", "0\n"]
    assert databases.client.inspect_container(redis)["State"]["StartedAt"] != before
    assert ask("config", "get", "save") == save


def test_redis_with_a_log_is_left_alone(
    redis: str, databases: DatabaseWorld, tmp_path: Path
) -> None:
    """It would read that log, and no dump."""
    script = 'REDISCLI_AUTH=$REDIS_PASSWORD redis-cli --raw "$@"'
    saved = Saved(databases, tmp_path, "redis-save", name=redis)
    databases.run(script, "set", "note", "first", name=redis)
    saved.save()
    databases.run(script, "config", "set", "appendonly", "yes", name=redis)
    databases.run(script, "set", "note", "second", name=redis)

    assert "appendonly yes" in saved.refused("--yes")

    assert databases.run(script, "get", "note", name=redis) == "second\n"
