"""What loads dumps, and looks at the servers that get them: scripts for a container's own `sh`.

A load reads `size` bytes of its standard input and no more. It prints a line of its own only when
all is loaded. Credentials are found as by the dump, and never stand in argv.
"""

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidecar.backrest import credentials
from sidecar.runner.restore.dump_file import LOADED

_FRAME: Final = "set -eu\numask 077\n" + credentials.FROM_FILE

_ASK_POSTGRES: Final = """\
export PGDATABASE=postgres
ask() {
  psql --no-psqlrc --no-password --quiet --no-align --tuples-only --field-separator='\t' \\
    --set=ON_ERROR_STOP=1 --set=database="$database" "$@"
}
list() {
  ask --file=- <<'END'
SELECT datname FROM pg_database
  WHERE datallowconn AND NOT datistemplate AND :'database' IN ('', datname) ORDER BY 1;
END
}
count() {
  PGDATABASE=$1
  ask --file=- <<'END'
SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p', 'm', 'f', 'v') AND nspname !~ '^pg_'
    AND nspname <> 'information_schema';
END
}
"""

_LOOK_POSTGRES: Final = """\
ask --file=- <<'END'
SELECT 'server', 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1),
  current_user;
SELECT 'role', 'CREATE ROLE ' || quote_ident(rolname) || ';' FROM pg_roles;
END
names=$(list)
printf '%s\\n' "$names" | while IFS= read -r name; do
  if [ -z "$name" ]; then continue; fi
  tables=$(count "$name")
  printf 'database\t%s\t%s\\n' "$name" "$tables"
done
"""

# Databases that a new server has are made by the dump, too; none with tables is taken away.
_LOAD_POSTGRES: Final = """\
if [ -z "$database" ]; then
  names=$(list)
  printf '%s\\n' "$names" | while IFS= read -r name; do
    tables=$(count "$name")
    if [ "$tables" -ne 0 ]; then
      echo "tables have come to $name meanwhile: nothing was touched" >&2
      exit 1
    fi
  done
  ask --file=- <<'END'
SELECT format('DROP DATABASE %I', datname) FROM pg_database
  WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' \\gexec
END
elif [ -n "$is_new" ]; then
  ask --file=- <<'END'
CREATE DATABASE :"database";
END
fi
said=$(head -c "$size" | PGDATABASE=${database:-postgres} ask --file=- | tail -n 1)
if [ "$said" != LOADED ]; then
  if [ -n "$is_new" ]; then ask --file=- <<'END'
DROP DATABASE :"database";
END
  fi
  exit 1
fi
echo LOADED
"""

_LOOK_MYSQL: Final = """\
ask() { CLIENT --user="$user" --default-character-set=utf8mb4 --batch --skip-column-names; }
ask <<'END'
SELECT 'server', VERSION(), CURRENT_USER();
SELECT 'database', TABLE_SCHEMA, COUNT(*) FROM information_schema.TABLES GROUP BY TABLE_SCHEMA;
END
"""

_LOAD_MYSQL: Final = """\
said=$(head -c "$size" |
  CLIENT --user="$user" --default-character-set=utf8mb4 --batch --skip-column-names | tail -n 1)
if [ "$said" != LOADED ]; then exit 1; fi
echo LOADED
"""

# Where a folder is not ours to give away, the server runs as we do.
_ASIDE: Final = """\
part=.backrest-restore-$$
rm -f .backrest-restore-[0-9]*
trap 'rm -f "$part" "$part-journal"' EXIT
head -c "$size" >"$part"
if [ "$(wc -c <"$part")" -ne "$size" ]; then echo "the dump came only in part" >&2; exit 1; fi
chown "$(stat -c %u:%g .)" "$part" 2>/dev/null || :
"""

_ASK_REDIS: Final = """\
ask() { redis-cli ${user:+--user "$user"} "$@"; }
setting() { ask config get "$1" | tail -n 1; }
"""

_LOOK_REDIS: Final = """\
ask info server | tr -d '\\r' | sed -n 's/^redis_version:/server\tRedis /p'
ask info persistence | tr -d '\\r' | sed -n 's/^loading:/loading\t/p'
ask info replication | tr -d '\\r' | sed -n 's/^role:/replication\t/p'
ask info keyspace | tr -d '\\r' |
  sed -n 's/^\\(db[0-9]*\\):keys=\\([0-9]*\\),.*/database\t\\1\t\\2/p'
printf 'file\t%s/%s\\n' "$(setting dir)" "$(setting dbfilename)"
printf 'appendonly\t%s\\n' "$(setting appendonly)"
"""

# Nothing may write over the file from then on, not even the stop.
_LOAD_REDIS: Final = (
    """\
file=$(setting dbfilename)
cd "$(setting dir)"
"""
    + _ASIDE
    + """\
if ! redis-check-rdb "$part" >/dev/null 2>&1; then
  echo "redis-check-rdb says that the dump is not whole" >&2
  exit 1
fi
save=$(setting save)
trap 'ask config set save "$save" >/dev/null; rm -f "$part"' EXIT
ask config set save '' >/dev/null
while ask info persistence | grep -q '^rdb_bgsave_in_progress:1'; do sleep 0.1; done
sync
mv -f "$part" "$file"
trap - EXIT
sync
echo LOADED
"""
)

_LOOK_SQLITE: Final = """\
if [ -f "$database" ]; then
  count=$(sqlite3 "$database" ".timeout 60000" \\
    "SELECT count(*) FROM sqlite_master WHERE type = 'table'")
  printf 'database\t%s\t%s\\n' "$database" "$count"
fi
printf 'server\tSQLite %s\\n' "$(sqlite3 --version | cut -d ' ' -f 1)"
"""

# It copies page by page in one transaction of the database, which keeps its owner and its mode.
_LOAD_SQLITE: Final = (
    """\
cd "$(dirname "$database")"
"""
    + _ASIDE
    + """\
if [ "$(sqlite3 "$part" "PRAGMA integrity_check")" != ok ]; then
  echo "SQLite says that the dump is not whole" >&2
  exit 1
fi
if [ -e "$database" ]; then
  sqlite3 -bail "$database" ".timeout 60000" ".restore $part"
else
  rm -f "$database-wal" "$database-shm" "$database-journal"
  mv "$part" "$database"
fi
echo LOADED
"""
)


def _mysql(client: str, script: str) -> str:
    return credentials.MYSQL + script.replace("CLIENT", client)


_LOOKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "postgres-dump": credentials.POSTGRES + _ASK_POSTGRES + _LOOK_POSTGRES,
        "mariadb-dump": _mysql("mariadb", _LOOK_MYSQL),
        "mysql-dump": _mysql("mysql", _LOOK_MYSQL),
        "redis-save": credentials.REDIS + _ASK_REDIS + _LOOK_REDIS,
        "sqlite-backup": _LOOK_SQLITE,
    }
)
_LOADS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "postgres-dump": credentials.POSTGRES + _ASK_POSTGRES + _LOAD_POSTGRES,
        "mariadb-dump": _mysql("mariadb", _LOAD_MYSQL),
        "mysql-dump": _mysql("mysql", _LOAD_MYSQL),
        "redis-save": credentials.REDIS + _ASK_REDIS + _LOAD_REDIS,
        "sqlite-backup": _LOAD_SQLITE,
    }
)
LOADABLE: Final = tuple(_LOADS)
"""The templates whose dumps can be loaded."""


def render_look(template: str, user: str, database: str) -> str:
    """Return what prints the facts of a server, a line each: its kind and values, by tabs."""
    return _head(user=user, database=database) + _FRAME + _LOOKS[template]


def render_load(template: str, user: str, database: str, size: int, *, is_new: bool) -> str:
    """Return what loads a dump of `size` bytes; `is_new`: its database has to be made before."""
    script = _LOADS[template].replace("LOADED", LOADED)
    head = _head(user=user, database=database, size=str(size), is_new="yes" if is_new else "")
    return head + _FRAME + script


def _head(**values: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
