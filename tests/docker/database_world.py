"""Real database servers in one container, and further containers that dump from them.

PostgreSQL, MariaDB and Redis run in `databases`, from Debian's packages; none has a
network but its own loopback. A further container shares that loopback, the sockets and
the folders, with an environment of its own: for where credentials come from.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from debian_root import import_debian
from hook_shell import wait_until
from private_docker import PrivateEngine

IMAGE = "databases:latest"
SERVERS = "databases"
PACKAGES = ("mariadb-server", "postgresql-15", "redis-server", "sqlite3")
SECRET = "s3cret pa$$'word"
OTHER_SECRET = "0ther-secret"
ODD = """o'dd "$(id)" $HOME {{ .Plan.Id }} a=b"""

# What MySQL's own client does of what we use: it refuses an option that it does not know,
# and warns of a password among its arguments. The dump itself is made by MariaDB's.
_MYSQLDUMP = b"""#!/bin/sh
for option in "$@"; do
  case $option in
    --user=* | --result-file=* | --default-character-set=* | --databases | --all-databases) ;;
    --single-transaction | --quick | --routines | --events | --triggers | --no-tablespaces) ;;
    --password* | -p*) echo "[Warning] Using a password on the command line" >&2 ;;
    -*) echo "mysqldump: [ERROR] unknown option '$option'." >&2; exit 2 ;;
  esac
done
exec mariadb-dump "$@"
"""
_MYSQL = b"""#!/bin/sh
for option in "$@"; do
  case $option in
    --user=* | --default-character-set=* | --batch | --skip-column-names) ;;
    *) echo "mysql: [ERROR] unknown option '$option'." >&2; exit 2 ;;
  esac
done
exec mariadb "$@"
"""
_FILES = {"opt/mysql/bin/mysqldump": _MYSQLDUMP, "opt/mysql/bin/mysql": _MYSQL}
_PATH = "/opt/mysql/bin:/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FOLDERS = {"dumps": "/dumps", "data": "/data", "secrets": "/run/secrets"}
_SOCKETS = {"postgresql": "/run/postgresql", "mysqld": "/run/mysqld"}
_SERVER_PROCESSES = {"postgres", "mariadbd", "redis-server"}

ENVIRONMENT = {
    "POSTGRES_USER": "app",
    "POSTGRES_PASSWORD": SECRET,
    "MARIADB_ROOT_PASSWORD": SECRET,
    "REDIS_PASSWORD": SECRET,
}

# A server that holds nothing is put aside before the first is started: it is what dumps
# are restored into.
_RUN_SERVERS = """
set -eu
chown postgres /run/postgresql
chown mysql /run/mysqld
printf %s "$POSTGRES_PASSWORD" >/run/password
export PGPASSWORD=$POSTGRES_PASSWORD
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
install -d -o postgres /srv/postgres /srv/postgres-fresh /srv/redis
as_postgres initdb -D /srv/postgres -U app --pwfile=/dev/stdin --auth=scram-sha-256 \
  --encoding=UTF8 --no-sync </run/password >/dev/null
as_postgres pg_ctl -D /srv/postgres -l /tmp/postgres.log -w start \
  -o "-c fsync=off -c listen_addresses=''" >/dev/null &
as_postgres initdb -D /srv/postgres-fresh -U fresh --auth=trust --encoding=UTF8 \
  --no-sync >/dev/null &
mariadb-install-db --user=mysql --datadir=/srv/mariadb --skip-test-db \
  --auth-root-authentication-method=normal >/dev/null 2>&1
cp -a /srv/mariadb /srv/mariadb-fresh
mariadbd --user=mysql --datadir=/srv/mariadb --skip-networking \
  --socket=/run/mysqld/mysqld.sock >/tmp/mariadb.log 2>&1 &
redis-server --bind 127.0.0.1 --dir /srv/redis --daemonize yes --save '' \
  --repl-diskless-sync-delay 0 >/dev/null
for round in $(seq 200); do
  if psql -U app -d postgres -c '' 2>/dev/null && mariadb -e '' 2>/dev/null; then exit 0; fi
  sleep 0.1
done
echo "the servers did not come up" >&2
exit 1
"""

# The bulk is what no small disk holds; bytes of every value, quotes and signs of four
# bytes are what dumps are known to lose.
_FILL_POSTGRES = """
set -eu
export PGPASSWORD=$POSTGRES_PASSWORD
psql -q -v ON_ERROR_STOP=1 -U app -d postgres -v odd="$1" -v other="$2" -v text="$3" <<'END'
CREATE DATABASE shop;
CREATE DATABASE :"odd";
CREATE ROLE :"odd" LOGIN SUPERUSER PASSWORD :'other';
\\connect shop
CREATE TABLE notes (id int PRIMARY KEY, note text, data bytea, bulk text);
INSERT INTO notes SELECT 1, :'text', string_agg(set_byte('\\x00', 0, byte), '' ORDER BY byte), ''
  FROM generate_series(0, 255) AS byte;
INSERT INTO notes SELECT n, '', '', string_agg(md5(random()::text), '')
  FROM generate_series(2, 21) AS n, generate_series(1, 500) GROUP BY n;
END
PGDATABASE=$1 psql -q -v ON_ERROR_STOP=1 -U app -v text="$3" <<'END'
CREATE TABLE notes AS SELECT 1 AS id, :'text'::text AS note;
END
"""
_FILL_MARIADB = """
set -eu
quoted() { printf "'"; printf %s "$1" | sed 's/\\\\/&&/g'" ; s/'/''/g"; printf "'"; }
bytes=$(for byte in $(seq 0 255); do printf %02x "$byte"; done)
mariadb --default-character-set=utf8mb4 <<END
CREATE DATABASE shop CHARACTER SET utf8mb4;
CREATE DATABASE \\`$1\\` CHARACTER SET utf8mb4;
CREATE TABLE shop.notes (id int PRIMARY KEY, note text, data blob, bulk text);
INSERT INTO shop.notes VALUES (1, $(quoted "$3"), x'$bytes', '');
INSERT INTO shop.notes SELECT seq, '', '', REPEAT(MD5(RAND()), 500) FROM shop.seq_2_to_21;
CREATE TABLE \\`$1\\`.notes AS SELECT id, note FROM shop.notes WHERE id = 1;
CREATE USER $(quoted "$1") IDENTIFIED BY $(quoted "$2");
GRANT ALL ON \\`$1\\`.* TO $(quoted "$1");
CREATE PROCEDURE shop.asked() SELECT 1;
ALTER USER root@localhost IDENTIFIED BY $(quoted "$MARIADB_ROOT_PASSWORD");
END
"""
_FILL_REDIS = """
set -eu
printf %s "$3" | redis-cli -x set note >/dev/null
for byte in $(seq 0 255); do printf "\\\\$(printf %03o "$byte")"; done | redis-cli -x set data >/dev/null
for number in $(seq 20); do head -c 16000 /dev/urandom | redis-cli -x set "bulk$number"; done >/dev/null
redis-cli acl setuser "$4" on ">$2" '~*' +@all >/dev/null
redis-cli config set requirepass "$REDIS_PASSWORD" >/dev/null
"""
_FILL_SQLITE = """
set -eu
bytes=$(for byte in $(seq 0 255); do printf %02x "$byte"; done)
note=$(printf %s "$3" | sed "s/'/''/g")
sqlite3 /data/app.db <<END
CREATE TABLE notes (id integer PRIMARY KEY, note text, data blob, bulk text);
INSERT INTO notes VALUES (1, '$note', x'$bytes', '');
WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 21)
INSERT INTO notes SELECT n, '', '', hex(randomblob(8000)) FROM n;
END
cp /data/app.db "/data/$1.db"
"""

_RESTORE_POSTGRES = """
set -eu
umask 077
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
rm -rf /srv/fresh
install -d -o postgres /srv/fresh /srv/fresh/socket
cp -a /srv/postgres-fresh /srv/fresh/data
as_postgres pg_ctl -D /srv/fresh/data -l /tmp/fresh.log -w start \
  -o "-c fsync=off -c listen_addresses='' -k /srv/fresh/socket" >/dev/null
trap 'as_postgres pg_ctl -D /srv/fresh/data -m immediate stop >/dev/null' EXIT
export PGHOST=/srv/fresh/socket PGUSER=fresh PGDATABASE=postgres
case $2 in
  ?*) psql -q -c 'CREATE ROLE app' -c 'CREATE DATABASE fresh'; export PGDATABASE=fresh ;;
esac
psql -q -v ON_ERROR_STOP=1 -f "$1" >/dev/null
if [ -z "$2" ]; then export PGDATABASE=shop; fi
"""
_RESTORE_MARIADB = """
set -eu
rm -rf /srv/fresh
cp -a /srv/mariadb-fresh /srv/fresh
mariadbd --user=mysql --datadir=/srv/fresh --skip-networking --pid-file=/srv/fresh/pid \
  --socket=/tmp/fresh.sock >/tmp/fresh.log 2>&1 &
trap 'kill "$(cat /srv/fresh/pid)"; wait' EXIT
for round in $(seq 200); do
  if mariadb --socket=/tmp/fresh.sock -e '' 2>/dev/null; then break; fi
  sleep 0.1
done
mariadb --socket=/tmp/fresh.sock <"$1"
"""
_RESTORE_REDIS = """
set -eu
rm -rf /srv/fresh
mkdir /srv/fresh
cp "$1" /srv/fresh/dump.rdb
redis-server --port 6380 --bind 127.0.0.1 --dir /srv/fresh --daemonize yes --save '' >/dev/null
trap 'redis-cli -p 6380 shutdown nosave' EXIT
for round in $(seq 100); do
  if [ "$(redis-cli -p 6380 ping 2>/dev/null)" = PONG ]; then break; fi
  sleep 0.05
done
"""

_ROWS_POSTGRES = """psql -At -c "SELECT note, encode(data, 'hex') FROM notes WHERE id = 1" \
  -c "SELECT count(*), md5(string_agg(bulk, '' ORDER BY id)) FROM notes" """
_NOTE_POSTGRES = 'psql -At -c "SELECT note FROM notes"'
_ROWS_MARIADB = """mariadb $at --default-character-set=utf8mb4 --raw -N shop -e \
  "SELECT note, HEX(data) FROM notes WHERE id = 1; SET group_concat_max_len = 1000000;
  SELECT count(*), MD5(GROUP_CONCAT(bulk ORDER BY id)) FROM notes; SHOW CREATE PROCEDURE asked" """
_NOTE_MARIADB = """mariadb $at --default-character-set=utf8mb4 --raw -N "$2" \
  -e "SELECT note FROM notes" """
_ROWS_REDIS = """for key in note data $(seq -f bulk%g 20); do
  redis-cli -p "$port" --raw get "$key"; done | sha256sum"""
_ROWS_SQLITE = """sqlite3 "$file" "PRAGMA integrity_check" "SELECT note, hex(data) FROM notes WHERE id = 1" \
  "SELECT id, bulk FROM notes ORDER BY id" """


@dataclass(frozen=True, slots=True)
class Database:
    """One database: how its rows are shown as they are, and from a dump restored afresh.

    Both are shell scripts; `$1` is the dump and `$2` the database, where one was named.
    """

    template: str
    tool: str
    rows: str
    restored: str
    odd_restored: str
    labels: Mapping[str, str] = field(default_factory=dict)


_MARIADB = (
    "export MYSQL_PWD=$MARIADB_ROOT_PASSWORD; at=; " + _ROWS_MARIADB,
    _RESTORE_MARIADB + "at=--socket=/tmp/fresh.sock; " + _ROWS_MARIADB,
    _RESTORE_MARIADB + "at=--socket=/tmp/fresh.sock; " + _NOTE_MARIADB,
)
_REDIS = _RESTORE_REDIS + "port=6380; " + _ROWS_REDIS
_SQLITE = "file=$1; " + _ROWS_SQLITE
DATABASES = (
    Database(
        "postgres-dump",
        "pg_dumpall",
        "export PGUSER=app PGPASSWORD=$POSTGRES_PASSWORD PGDATABASE=shop; " + _ROWS_POSTGRES,
        _RESTORE_POSTGRES + _ROWS_POSTGRES,
        _RESTORE_POSTGRES + _NOTE_POSTGRES,
    ),
    Database("mariadb-dump", "mariadb-dump", *_MARIADB),
    Database("mysql-dump", "mariadb-dump", *_MARIADB),
    Database(
        "redis-save",
        "redis-cli",
        "export REDISCLI_AUTH=$REDIS_PASSWORD; port=6379; " + _ROWS_REDIS,
        _REDIS,
        _REDIS,
    ),
    Database(
        "sqlite-backup",
        "sqlite3",
        "file=/data/app.db; " + _ROWS_SQLITE,
        _SQLITE,
        _SQLITE,
        {"dump.database": "/data/app.db"},
    ),
)
NOTE = """it's "quoted", \\ $HOME {{ .Plan.Id }} ☃ 😀"""


@dataclass
class DatabaseWorld:
    """The servers' container and those that tests add; `folder` is seen by all of them.

    `dumps` of it is `/dumps` in every container, `data` is `/data`.
    """

    client: docker.APIClient
    engine: PrivateEngine
    folder: Path
    _made: dict[str, str] = field(default_factory=dict)

    @property
    def dumps(self) -> Path:
        """Where the containers' `/dumps` lies on this machine."""
        return self.folder / "dumps"

    def add(
        self,
        name: str,
        environment: Mapping[str, str],
        *,
        image: str = IMAGE,
        alone: bool = False,
        binds: Sequence[str] = (),
        **host: Any,
    ) -> str:
        """Run a container, which sees the servers unless it shall be `alone`; return its name."""
        folders = _FOLDERS if alone else {**_FOLDERS, **_SOCKETS}
        apart = alone or name == SERVERS
        made = self.client.create_container(
            image,
            name=name,
            environment=dict(environment),
            stop_signal="SIGKILL",
            host_config=self.client.create_host_config(
                binds=[*self._binds(folders), *binds],
                network_mode="none" if apart else f"container:{SERVERS}",
                **host,
            ),
        )
        self._made[name] = made["Id"]
        self.client.start(made["Id"])
        return name

    def _binds(self, folders: Mapping[str, str]) -> list[str]:
        for folder in folders:
            (self.folder / folder).mkdir(exist_ok=True)
        return [f"{self.folder / source}:{target}" for source, target in folders.items()]

    def run(self, script: str, *arguments: str, name: str = SERVERS) -> str:
        """Run a script in a container, which must succeed; return what it prints."""
        made = self.client.exec_create(name, ["sh", "-c", script, "sh", *arguments], stderr=False)
        said = self.client.exec_start(made["Id"])
        assert self.client.exec_inspect(made["Id"])["ExitCode"] == 0, said
        return str(said.decode())

    def fill(self) -> None:
        """Start the servers and give each the same few rows."""
        self.run(_RUN_SERVERS)
        for script in (_FILL_POSTGRES, _FILL_MARIADB, _FILL_REDIS, _FILL_SQLITE):
            self.run(script, ODD, OTHER_SECRET, NOTE, ODD.replace(" ", "_"))

    def wait_for_output(
        self, script: str, expected: str, *arguments: str, name: str = SERVERS
    ) -> None:
        """Run a script until it prints what is expected."""
        tried = f"{script} || true"
        wait_until(lambda: self.run(tried, *arguments, name=name) == expected, script)

    def processes(self, name: str = SERVERS) -> dict[int, str]:
        """List the processes of a container: id on this machine → name."""
        rows = self.client.top(name, "-eo pid,comm")["Processes"] or []
        return {int(pid): command for pid, command in rows}

    def wait_for_process(self, process: str) -> None:
        """Wait until a process of that name runs beside the servers."""
        wait_until(lambda: process in self.processes().values(), f"{process} runs")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let no server do anything: they are there and do not answer."""
        servers = [pid for pid, name in self.processes().items() if name in _SERVER_PROCESSES]
        for pid in servers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in servers:
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def background(self, script: str, *arguments: str) -> Iterator[None]:
        """Run a script in the servers' container beside what the body does, and end it."""
        before = self.processes()
        made = self.client.exec_create(SERVERS, ["sh", "-c", script, "sh", *arguments])
        self.client.exec_start(made["Id"], detach=True)
        try:
            yield
        finally:
            ended = self.processes().keys() - before.keys()
            for pid in ended:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def remove(self, name: str) -> None:
        """Remove one container at once."""
        self.client.remove_container(self._made.pop(name), force=True)

    def clear(self) -> None:
        """Remove every container; the servers' goes last, because others share its network."""
        for name in reversed(list(self._made)):
            self.remove(name)


def run_databases(
    client: docker.APIClient, engine: PrivateEngine, folder: Path
) -> Iterator[DatabaseWorld]:
    """Make the image, run the servers, and take them away afterwards."""
    import_debian(
        client,
        IMAGE,
        PACKAGES,
        files=_FILES,
        changes=[
            f"ENV PATH={_PATH}",
            'CMD ["sleep", "86400"]',
        ],
    )
    world = DatabaseWorld(client, engine, folder)
    try:
        world.add(SERVERS, ENVIRONMENT)
        world.fill()
        yield world
    finally:
        world.clear()


def all_arguments() -> str:
    """Everything that stands in the arguments of any process of this machine."""
    lines = []
    for entry in os.listdir("/proc"):
        try:
            lines.append(Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
            continue
    return "\n".join(lines)
