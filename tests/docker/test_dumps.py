"""The dump templates as rendered, against real servers and against tools that misbehave."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest

from database_world import (
    DATABASES,
    ENVIRONMENT,
    NOTE,
    ODD,
    OTHER_SECRET,
    SECRET,
    SERVERS,
    Database,
    DatabaseWorld,
    all_arguments,
    run_databases,
)
from hook_shell import Hooks, wait_until
from private_docker import PrivateEngine

# The first of them may have to make the image's root file system.
pytestmark = pytest.mark.timeout(600)

each_database = pytest.mark.parametrize("database", DATABASES, ids=lambda it: it.template)
each_server = pytest.mark.parametrize("database", DATABASES[:4], ids=lambda it: it.template)


@pytest.fixture(scope="module")
def databases(
    docker_client: docker.APIClient,
    engine: PrivateEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DatabaseWorld]:
    """Run the servers once; whoever changes their rows uses another table."""
    yield from run_databases(docker_client, engine, tmp_path_factory.mktemp("databases"))


@pytest.fixture
def client_of(databases: DatabaseWorld) -> Iterator[Callable[..., str]]:
    """Return a maker of one further container, which is removed with the test."""

    def add(environment: Mapping[str, str], **host: Any) -> str:
        return databases.add("client", environment, **host)

    yield add
    databases.remove("client")


class Dump:
    """One dump as labels ask for it, and the file that it makes."""

    def __init__(
        self, databases: DatabaseWorld, database: Database, name: str = SERVERS, /, **labels: str
    ) -> None:
        self.path = f"/dumps/{database.template}.dump"
        given = {f"dump.{label}": value for label, value in labels.items()}
        full = {"hooks.template": database.template, "dump.path": self.path}
        full |= {**database.labels, **given}
        self.path = full["dump.path"]
        self.file = databases.folder / self.path.lstrip("/")
        self.hooks = Hooks(full, databases.engine, databases.folder, name=name)

    def run(self) -> tuple[int, str]:
        """Run the START hook, as the only hook there is."""
        assert len(self.hooks.scripts) == 1
        return self.hooks.run(0)

    def succeed(self) -> str:
        """Dump, which must go well and say no secret; return what was said."""
        status, said = self.run()
        assert status == 0, said
        assert SECRET not in said
        return said

    def fail_beside_an_old_dump(self) -> str:
        """Dump in vain over an old dump, which stays alone and whole; return what was said."""
        self.file.write_text("an old dump")
        status, said = self.run()
        assert status != 0, said
        assert self.file.read_text() == "an old dump"
        assert names_beside(self.file) == [self.file.name]
        assert SECRET not in said
        self.file.unlink()
        return said


def names_beside(file: Path) -> list[str]:
    """List the files whose name begins with that of a dump."""
    return sorted(found.name for found in file.parent.iterdir() if found.name.startswith(file.name))


@each_database
def test_a_dump_gives_the_same_rows_in_a_fresh_database(
    database: Database, databases: DatabaseWorld
) -> None:
    """The file on the host is private, alone, holds no secret, and restores every byte."""
    dump = Dump(databases, database)
    dump.succeed()
    assert names_beside(dump.file) == [dump.file.name]
    assert dump.file.stat().st_mode & 0o777 == 0o600
    assert SECRET.encode() not in dump.file.read_bytes()
    before = databases.run(database.rows)
    assert len(before) > 50
    assert databases.run(database.restored, dump.path, "") == before


@each_database
def test_odd_names_are_names(database: Database, databases: DatabaseWorld) -> None:
    """Quotes, dollars, braces and an equals sign in user, database and path mean nothing."""
    user = ODD.replace(" ", "_") if database.template == "redis-save" else ODD
    is_file = database.template == "sqlite-backup"
    named = f"/data/{ODD}.db" if is_file else ODD
    path = "/dumps/o dd $(id) {{ x }}" if is_file else f"/dumps/{ODD}"
    own = {
        "postgres-dump": {"PGPASSWORD": OTHER_SECRET},
        "redis-save": {"REDISCLI_AUTH": OTHER_SECRET},
    }.get(database.template, {"MYSQL_PWD": OTHER_SECRET})
    databases.add("odd", own)
    try:
        dump = Dump(databases, database, "odd", user=user, database=named, path=path)
        dump.succeed()
    finally:
        databases.remove("odd")
    said = databases.run(database.odd_restored, path, ODD)
    dump.file.unlink()
    whole = database.template in {"redis-save", "sqlite-backup"}
    assert said == (databases.run(database.rows) if whole else f"{NOTE}\n")


CREDENTIALS = {
    "postgres-dump": (
        {"POSTGRES_USER": "app", "POSTGRES_PASSWORD": SECRET},
        {"POSTGRES_USER_FILE": "/run/secrets/user", "POSTGRES_PASSWORD_FILE": "/run/secrets/pw"},
        {"PGUSER": "app", "PGPASSWORD": SECRET, "POSTGRES_PASSWORD": "of another"},
    ),
    "mariadb-dump": (
        {"MARIADB_ROOT_PASSWORD": SECRET},
        {"MARIADB_ROOT_PASSWORD_FILE": "/run/secrets/pw"},
        {"MYSQL_ROOT_PASSWORD": SECRET},
        {"MYSQL_PWD": SECRET, "MYSQL_ROOT_PASSWORD": "of another"},
    ),
    "mysql-dump": (
        {"MYSQL_ROOT_PASSWORD": SECRET},
        {"MYSQL_ROOT_PASSWORD_FILE": "/run/secrets/pw"},
    ),
    "redis-save": (
        {"REDIS_PASSWORD": SECRET},
        {"REDIS_PASSWORD_FILE": "/run/secrets/pw"},
        {"REDISCLI_AUTH": SECRET, "REDIS_PASSWORD": "of another"},
    ),
}
BY_TEMPLATE = {database.template: database for database in DATABASES}


@pytest.mark.parametrize(
    ("template", "environment"),
    [
        pytest.param(template, environment, id=f"{template}-{'-'.join(environment)}")
        for template, environments in CREDENTIALS.items()
        for environment in environments
    ],
)
def test_credentials_come_from_the_environment_or_from_secret_files(
    template: str,
    environment: Mapping[str, str],
    databases: DatabaseWorld,
    client_of: Callable[..., str],
) -> None:
    """The variables and files of the usual images, and the client's own variable before them."""
    name = client_of(environment)
    (databases.folder / "secrets/pw").write_text(f"{SECRET}\n")
    (databases.folder / "secrets/user").write_text("app\n")
    dump = Dump(databases, BY_TEMPLATE[template], name)
    dump.succeed()
    assert dump.file.stat().st_size > 1000


@pytest.mark.parametrize("template", ["mariadb-dump", "mysql-dump"])
@pytest.mark.parametrize("kind", ["MARIADB_PASSWORD", "MYSQL_PASSWORD", "MYSQL_PASSWORD_FILE"])
def test_another_user_has_the_users_password(
    template: str, kind: str, databases: DatabaseWorld, client_of: Callable[..., str]
) -> None:
    """Who has rights over one database alone dumps that database."""
    value = "/run/secrets/other" if kind.endswith("_FILE") else OTHER_SECRET
    name = client_of({kind: value, "MARIADB_ROOT_PASSWORD": "of root"})
    (databases.folder / "secrets/other").write_text(OTHER_SECRET)
    Dump(databases, BY_TEMPLATE[template], name, user=ODD, database=ODD).succeed()


@each_server
@pytest.mark.parametrize("kind", ["WRONG", "NO_FILE"])
def test_a_wrong_password_fails_the_backup(
    kind: str, database: Database, databases: DatabaseWorld, client_of: Callable[..., str]
) -> None:
    """So does a secret file that is not there."""
    variables = ("POSTGRES_PASSWORD", "MYSQL_ROOT_PASSWORD", "REDIS_PASSWORD")
    user = {"POSTGRES_USER": "app"}
    if kind == "WRONG":
        name = client_of(user | dict.fromkeys(variables, "wrong"))
    else:
        name = client_of(user | {f"{it}_FILE": "/run/secrets/none" for it in variables})
    said = Dump(databases, database, name).fail_beside_an_old_dump()
    assert (kind == "NO_FILE") == ("/run/secrets/none" in said)


@pytest.fixture(scope="module")
def deserted(databases: DatabaseWorld) -> Iterator[str]:
    """Run a container in which no server does."""
    yield databases.add("deserted", ENVIRONMENT, alone=True)
    databases.remove("deserted")


@each_database
def test_a_server_that_is_down_fails_the_backup(
    database: Database, databases: DatabaseWorld, deserted: str
) -> None:
    """The container runs and the server in it does not: no old dump is taken for a new one."""
    labels = {"database": "/data/none.db"} if database.template == "sqlite-backup" else {}
    Dump(databases, database, deserted, **labels).fail_beside_an_old_dump()
    assert not (databases.folder / "data/none.db").exists()


@each_database
def test_a_full_disk_keeps_the_old_dump(
    database: Database, databases: DatabaseWorld, client_of: Callable[..., str]
) -> None:
    """What was written in part is taken away, and the exit status is not lost."""
    name = client_of(ENVIRONMENT, tmpfs={"/full": "size=96k"})
    databases.run("echo an old dump >/full/dump", name=name)
    status, said = Dump(databases, database, name, path="/full/dump").run()
    assert status != 0, said
    assert databases.run("ls /full; cat /full/dump", name=name) == "dump\nan old dump\n"


@each_server
def test_no_process_shows_a_secret(database: Database, databases: DatabaseWorld) -> None:
    """While a dump waits for its server nothing on the whole machine has it in its arguments."""
    dump = Dump(databases, database)
    with ThreadPoolExecutor() as pool:
        with databases.frozen():
            ended = pool.submit(dump.succeed)
            databases.wait_for_process(database.tool)
            seen = all_arguments()
        ended.result()
    assert f"{dump.path}.part-" in seen
    assert SECRET not in seen
    assert SECRET not in "".join(dump.hooks.scripts)


def test_a_dump_that_breaks_off_is_a_failure(databases: DatabaseWorld) -> None:
    """PostgreSQL ends the connection in the middle of the dump."""
    dump = Dump(databases, BY_TEMPLATE["postgres-dump"])
    asked = "PGPASSWORD=$POSTGRES_PASSWORD psql -q -At -U app"
    lock = "BEGIN; LOCK TABLE notes; SELECT pg_sleep(100)"
    end = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"""
    locked = databases.background(f'{asked} -d shop -c "{lock}"')
    with ThreadPoolExecutor() as pool, locked:
        said = pool.submit(dump.fail_beside_an_old_dump)
        databases.wait_for_output(f'{asked} -d postgres -c "{end}"', "1\n")
        assert "pg_dump" in said.result()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_busy_writer_does_not_hold_up_sqlite(mode: str, databases: DatabaseWorld) -> None:
    """In each journal mode: one consistent copy, with what was written before it began."""
    path = f"/data/busy-{mode}.db"
    databases.run(MAKE_BUSY, path, mode)
    dump = Dump(databases, BY_TEMPLATE["sqlite-backup"], database=path)
    with databases.background(KEEP_BUSY, path):
        databases.wait_for_output(COUNT_NEW, "10\n", path)
        dump.succeed()
    assert databases.run(SHOW_BUSY, dump.path) == "ok\n30000\n10\n"
    assert names_beside(dump.file) == [dump.file.name]


MAKE_BUSY = """sqlite3 "$1" "PRAGMA journal_mode=$2" "CREATE TABLE notes (id integer, bulk)" \
  "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 30000)
    INSERT INTO notes SELECT n, hex(randomblob(400)) FROM n" """
KEEP_BUSY = """yes "INSERT INTO notes VALUES (0, 'new');" |
  sqlite3 -cmd ".timeout 60000" -cmd "PRAGMA synchronous=off" "$1" """
COUNT_NEW = """sqlite3 "$1" ".timeout 60000" "SELECT min(count(*), 10) FROM notes WHERE id = 0" """
SHOW_BUSY = """sqlite3 "$1" "PRAGMA integrity_check" "SELECT count(*) FROM notes WHERE id > 0" \
  "SELECT min(count(*), 10) FROM notes WHERE id = 0" """


BUSYBOX = "busybox"
STAND_INS = ("pg_dumpall", "mysqldump", "mariadb-dump", "redis-cli", "sqlite3")
# Each finds the name that it shall write to in its own arguments.
STAND_IN = """#!/bin/sh
for word in "$@"; do
  case $word in
    --file=* | --result-file=*) out=${word#*=} ;;
    /dumps/*) out=$word ;;
    ".backup '"*) out=${word#*\\'}; out=${out%\\'} ;;
  esac
done
"""


@pytest.fixture(scope="module")
def tools_folder(databases: DatabaseWorld) -> Iterator[Path]:
    """Run a container that has busybox alone, and looks for tools in a folder of ours."""
    folder = databases.folder / "tools"
    folder.mkdir()
    path, binds = {"PATH": "/tools:/bin"}, [f"{folder}:/tools"]
    databases.add(BUSYBOX, path, alone=True, image="sleeper", binds=binds)
    databases.run("/bin/busybox --install -s /bin", name=BUSYBOX)
    yield folder
    databases.remove(BUSYBOX)


@pytest.fixture
def tools(tools_folder: Path) -> Iterator[Path]:
    """Return that folder, in which a test puts its tools, and empty it again."""
    yield tools_folder
    for tool in tools_folder.iterdir():
        tool.unlink()


def write_tools(folder: Path, script: str) -> None:
    """Put the same script in the place of every client."""
    for name in STAND_INS:
        (folder / name).write_text(STAND_IN + script)
        (folder / name).chmod(0o755)


@each_database
@pytest.mark.parametrize(
    ("script", "status"),
    [
        (': >"$out"', 1),
        ("true", 1),
        ('echo half >"$out"; exit 3', 3),
        ('echo half >"$out"; kill $$', 143),
    ],
    ids=["empty", "none", "half", "killed"],
)
def test_the_tools_own_status_decides_and_an_empty_dump_is_a_failure(
    script: str,
    status: int,
    database: Database,
    databases: DatabaseWorld,
    tools: Path,
) -> None:
    """Whatever the tool leaves, only a good file takes the place of the old dump."""
    write_tools(tools, script)
    dump = Dump(databases, database, BUSYBOX)
    said = dump.fail_beside_an_old_dump()
    assert dump.run()[0] == status
    assert ("the dump is empty" in said) == (status == 1)
    assert not dump.file.exists()


@each_database
def test_a_missing_tool_or_place_fails_the_backup(
    database: Database, databases: DatabaseWorld, tools: Path
) -> None:
    """An image without the client says so, as does a path that is a directory."""
    assert list(tools.iterdir()) == []
    said = Dump(databases, database, BUSYBOX).fail_beside_an_old_dump()
    assert "not found" in said
    write_tools(tools, 'echo whole >"$out"')
    (databases.dumps / "folder").mkdir(exist_ok=True)
    status, said = Dump(databases, database, BUSYBOX, path="/dumps/folder").run()
    assert (status, said) == (1, "/dumps/folder is a directory\n")
    assert list((databases.dumps / "folder").iterdir()) == []


@each_database
def test_a_container_that_does_not_run_is_left_out(
    database: Database, databases: DatabaseWorld, tools: Path
) -> None:
    """Its data is backed up as it lies there, and the old dump stays."""
    write_tools(tools, 'echo whole >"$out"')
    databases.client.stop(BUSYBOX)
    try:
        check_left_out(Dump(databases, database, BUSYBOX))
    finally:
        databases.client.start(BUSYBOX)


def check_left_out(dump: Dump) -> None:
    """The hook says so, succeeds, and leaves the old dump."""
    dump.file.write_text("an old dump")
    assert dump.run() == (0, "busybox is not running: its hook is left out\n")
    assert dump.file.read_text() == "an old dump"
    dump.file.unlink()


# The first to come finds no file `first`: each waits in the middle for its file to go, and
# writes to what it has opened, as real clients do.
OVERTAKING = """
exec >"$out"
mine=second
if [ ! -e /tools/first ]; then mine=first; fi
echo half of the $mine
echo >"/tools/$mine"
while [ -e "/tools/$mine" ]; do sleep 0.05; done
echo all of the $mine
"""


def test_a_dump_that_was_overtaken_replaces_nothing(databases: DatabaseWorld, tools: Path) -> None:
    """A runner was killed and its dump runs on: it ends while the next one is half way."""
    write_tools(tools, OVERTAKING)
    dump = Dump(databases, BY_TEMPLATE["mysql-dump"], BUSYBOX)
    dump.file.write_text("an old dump")
    with ThreadPoolExecutor() as pool:
        overtaken = pool.submit(dump.run)
        wait_until((tools / "first").exists, "the first dump")
        counted = pool.submit(dump.run)
        wait_until((tools / "second").exists, "the second dump")
        (tools / "first").unlink()
        assert overtaken.result()[0] == 1
        assert dump.file.read_text() == "an old dump"
        (tools / "second").unlink()
        assert counted.result() == (0, "")
    assert dump.file.read_text() == "half of the second\nall of the second\n"
    assert names_beside(dump.file) == [dump.file.name]


@pytest.mark.parametrize("name", ["mysql-dump.dump.part-12", "mysql-dump.dump.part-7-journal"])
def test_what_a_killed_dump_left_is_taken_away(
    name: str, databases: DatabaseWorld, tools: Path
) -> None:
    """And nothing else that has a name alike."""
    write_tools(tools, 'echo whole >"$out"')
    for litter in (name, "mysql-dump.dump.part-list"):
        (databases.dumps / litter).write_text("x" * 100)
    dump = Dump(databases, BY_TEMPLATE["mysql-dump"], BUSYBOX)
    dump.succeed()
    assert dump.file.read_text() == "whole\n"
    assert names_beside(dump.file) == ["mysql-dump.dump", "mysql-dump.dump.part-list"]
    (databases.dumps / "mysql-dump.dump.part-list").unlink()


def test_the_stand_in_of_mysql_refuses_what_mysql_does_not_know(databases: DatabaseWorld) -> None:
    """So that an option of MariaDB's alone would be noticed."""
    status = databases.run("mysqldump --system=all 2>&1 || echo $?")
    assert status == "mysqldump: [ERROR] unknown option '--system=all'.\n2\n"
