"""How the clients of databases find user and password in a container; a part of shell scripts.

Dumps are made by these, and loaded by the same. Credentials come from the container's environment
or from its secret files, and go on through the environment, never argv. Each expects `user`, a
shell variable that may be empty.
"""

from typing import Final

FROM_FILE: Final = """\
from_file() { if [ -n "${1:-}" ]; then cat "$1"; fi; }
"""
"""Defines what the others call."""

POSTGRES: Final = """\
PGPASSWORD=${PGPASSWORD:-${POSTGRES_PASSWORD:-$(from_file "${POSTGRES_PASSWORD_FILE:-}")}}
PGUSER=${user:-${PGUSER:-${POSTGRES_USER:-$(from_file "${POSTGRES_USER_FILE:-}")}}}
PGUSER=${PGUSER:-postgres}
export PGPASSWORD PGUSER
"""
MYSQL: Final = """\
user=${user:-root}
if [ "$user" = root ]; then
  password=${MARIADB_ROOT_PASSWORD:-${MYSQL_ROOT_PASSWORD:-}}
  secret=${MARIADB_ROOT_PASSWORD_FILE:-${MYSQL_ROOT_PASSWORD_FILE:-}}
else
  password=${MARIADB_PASSWORD:-${MYSQL_PASSWORD:-}}
  secret=${MARIADB_PASSWORD_FILE:-${MYSQL_PASSWORD_FILE:-}}
fi
MYSQL_PWD=${MYSQL_PWD:-${password:-$(from_file "$secret")}}
if [ -n "$MYSQL_PWD" ]; then export MYSQL_PWD; else unset MYSQL_PWD; fi
"""
REDIS: Final = """\
REDISCLI_AUTH=${REDISCLI_AUTH:-${REDIS_PASSWORD:-$(from_file "${REDIS_PASSWORD_FILE:-}")}}
if [ -n "$REDISCLI_AUTH" ]; then export REDISCLI_AUTH; else unset REDISCLI_AUTH; fi
"""


def dump_title(template: str, container: str) -> str:
    """Return the line with which the script of a hook begins that dumps in a container."""
    return f"# {template} in {container}\n"
