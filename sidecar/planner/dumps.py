"""Database dumps: the commands that the dump templates run inside the container.

Each writes to a temporary name beside the target and renames it only when the
tool's own exit status is 0 and the file is not empty. Credentials come from the
container's environment or secret files, through the environment, never argv.

A runner that is killed leaves its dump running in the container. So the temporary name
is that of one process, and the next dump removes that file: a dump that was overtaken
fails, instead of moving a file that another has half written to the target.
"""

import shlex

from sidecar.backrest import credentials

_FRAME = """\
set -eu
umask 077
part="$target.part-$$"
if [ -d "$target" ]; then echo "$target is a directory" >&2; exit 1; fi
rm -f "$target".part-[0-9]*
trap 'rm -f "$part" "$part-journal"' EXIT
%s%s
if [ ! -s "$part" ]; then echo "the dump is empty" >&2; exit 1; fi
mv -f "$part" "$target"
"""

# As an argument a name with `=` in it would be a connection string, not a name.
_POSTGRES = (
    credentials.POSTGRES
    + """\
if [ -n "$database" ]; then
  PGDATABASE=$database pg_dump --no-password --file="$part"
else
  pg_dumpall --no-password --file="$part"
fi"""
)

# The characters: older clients write `?` for what needs four bytes. The tablespaces:
# reading them needs a right over the whole server, and a restore has no use for them.
_MYSQL = (
    credentials.MYSQL
    + """\
if [ -n "$database" ]; then set -- --databases "$database"; else set -- --all-databases; fi
TOOL --user="$user" --default-character-set=utf8mb4 --no-tablespaces --single-transaction \\
  --quick --routines --events --triggers --result-file="$part" "$@\""""
)

_REDIS = (
    credentials.REDIS
    + """\
redis-cli ${user:+--user "$user"} --rdb "$part" >/dev/null"""
)

# Without a read transaction around it `.backup` begins anew at each commit of another
# process, and never ends beside a busy one.
_SQLITE = """\
if [ ! -f "$database" ]; then echo "$database does not exist" >&2; exit 1; fi
sqlite3 "$database" ".timeout 60000" "BEGIN" "SELECT count(*) FROM sqlite_master" \\
  ".backup '$part'" >/dev/null"""

# Without a password among its options it asks for one: where there is no terminal, it reads it
# from its standard input. The `printf` is the shell's own, so it has no arguments to be seen.
_MONGODB = """\
user=${user:-${MONGO_INITDB_ROOT_USERNAME:-$(from_file "${MONGO_INITDB_ROOT_USERNAME_FILE:-}")}}
set -- --archive="$part"
if [ -n "$database" ]; then set -- "$@" --db="$database"; fi
if [ -n "$user" ]; then
  password=${MONGO_INITDB_ROOT_PASSWORD:-$(from_file "${MONGO_INITDB_ROOT_PASSWORD_FILE:-}")}
  printf '%s\\n' "$password" | mongodump --username="$user" --authenticationDatabase=admin "$@"
else
  mongodump "$@"
fi"""

_COMMANDS = {
    "postgres-dump": _POSTGRES,
    "mysql-dump": _MYSQL.replace("TOOL", "mysqldump"),
    "mariadb-dump": _MYSQL.replace("TOOL", "mariadb-dump"),
    "mongodb-dump": _MONGODB,
    "redis-save": _REDIS,
    "sqlite-backup": _SQLITE,
}
DUMP_TEMPLATES = frozenset(_COMMANDS)


def render_dump(template: str, target: str, user: str, database: str) -> str:
    """Return the command of a dump template, for the container's own `sh`."""
    head = "".join(
        f"{name}={shlex.quote(value)}\n"
        for name, value in (("target", target), ("user", user), ("database", database))
    )
    return head + _FRAME % (credentials.FROM_FILE, _COMMANDS[template])
