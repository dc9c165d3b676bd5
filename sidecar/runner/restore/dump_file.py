"""A dump as a file: whether it is whole, what it is of, and what is sent of it to the client."""

import os
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from sidecar.lib.text import render_size
from sidecar.runner.restore.choose import RestoreError

LOADED = "backrest-loaded"
"""What a client prints when it has done all that it was sent."""

_PIECE = 1 << 20
_TAIL = 4096
_SAID = f"SELECT '{LOADED}';\n".encode()
_RDB_SUM = 8
_RDB_END = 0xFF
_SQLITE_HEAD = 100
_CURRENT = re.compile(rb"-- Current Database: `((?:[^`]|``)+)`")
_TABLE = re.compile(rb"-- (?:Table structure|Dumping data) for table `((?:[^`]|``)+)`")
_CONNECT = re.compile(rb"\\connect (?:-reuse-previous=on )?(.+)")
_SECTION = re.compile(rb"-- (?:Data for )?Name: .*; Type: ([A-Z ]+);")
_ROLES_END = b"\n\\connect "

# In one transaction all that is there goes, and what the dump has comes. Without the last line of
# what is sent the server undoes it, whatever has cut that off.
_CLEAR_POSTGRES = b"""\
BEGIN;
SET LOCAL client_min_messages = warning;
DO $clear$
DECLARE
  command text;
BEGIN
  FOR command IN
    SELECT format('DROP EVENT TRIGGER IF EXISTS %I', evtname) FROM pg_event_trigger
    UNION ALL SELECT format('DROP PUBLICATION IF EXISTS %I', pubname) FROM pg_publication
    UNION ALL SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension
      WHERE extname <> 'plpgsql'
    UNION ALL SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_namespace
      WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL SELECT format('SELECT lo_unlink(%s)', oid) FROM pg_largeobject_metadata
  LOOP
    EXECUTE command;
  END LOOP;
  CREATE SCHEMA public;
  IF current_setting('server_version_num')::int >= 150000 THEN
    ALTER SCHEMA public OWNER TO pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
  ELSE
    GRANT ALL ON SCHEMA public TO PUBLIC;
  END IF;
END
$clear$;
"""


def check_whole(template: str, file: BinaryIO, database: str) -> None:
    """Raise RestoreError unless a dump of that template, of one database or all, is whole."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _TAIL, 0))
    tail = file.read()
    file.seek(0)
    head = file.read(_SQLITE_HEAD)
    if template == "postgres-dump":
        kind = b"database dump" if database else b"database cluster dump"
        is_whole = b"\n-- PostgreSQL %b complete\n" % kind in tail
    elif template in {"mariadb-dump", "mysql-dump"}:
        is_whole = tail.rstrip().rpartition(b"\n")[2].startswith(b"-- Dump completed")
    elif template == "redis-save":
        # Its checksum comes after its end.
        is_whole = head.startswith(b"REDIS") and tail[-_RDB_SUM - 1 : -_RDB_SUM] == b"\xff"
    else:
        is_whole = head.startswith(b"SQLite format 3\0") and size == _sqlite_size(head)
    if not is_whole:
        raise RestoreError(
            f"the dump in the snapshot is not whole ({render_size(size)}, without the end that "
            f"{template} writes): nothing was touched",
            "take another snapshot: --at",
        )


def _sqlite_size(head: bytes) -> int:
    """Return how large a database is by its own head, in bytes."""
    page = int.from_bytes(head[16:18])
    return (65536 if page == 1 else page) * int.from_bytes(head[28:32])


def list_databases(file: BinaryIO) -> tuple[str, ...]:
    """Return the databases that a dump of MariaDB or MySQL replaces tables of, in its order."""
    file.seek(0)
    found = (_CURRENT.match(line) for line in file)
    return tuple(dict.fromkeys(_name(match) for match in found if match))


def place_of_line(file: BinaryIO, line: int) -> str:
    """Return of which database, and table where that is known, a line of a dump is; "" if none."""
    database = table = ""
    file.seek(0)
    for number, content in enumerate(file, 1):
        if number > line:
            break
        if match := _CURRENT.match(content):
            database, table = _name(match), ""
        elif match := _TABLE.match(content):
            table = _name(match)
        elif match := _CONNECT.match(content):
            database, table = match[1].decode(errors="replace").strip(), ""
    return f"{database}.{table}" if table else database


def _name(match: re.Match[bytes]) -> str:
    return match[1].decode(errors="replace").replace("``", "`")


def postgres_database(file: BinaryIO) -> Iterator[bytes]:
    """Yield what loads a dump of one database of PostgreSQL in one transaction."""
    yield _CLEAR_POSTGRES
    yield from _joined(_without_commits(file))
    yield b"\nCOMMIT;\n" + _SAID


def _without_commits(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a dump without the transactions that it has around large objects."""
    is_copy = is_blobs = False
    file.seek(0)
    for line in file:
        if is_copy:
            is_copy = line != b"\\.\n"
        elif line.startswith(b"COPY "):
            is_copy = line.endswith(b" FROM stdin;\n")
        elif match := _SECTION.match(line):
            is_blobs = match[1] == b"BLOBS"
        elif is_blobs and line in {b"BEGIN;\n", b"COMMIT;\n"}:
            yield b"-- " + line
            continue
        yield line


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines in larger pieces."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def postgres_server(file: BinaryIO, roles: Iterable[str]) -> Iterator[bytes]:
    """Yield what loads a dump of all databases of PostgreSQL; `roles` are commands to leave out.

    They stay as comments: so lines keep their numbers.
    """
    known = {f"{role}\n".encode() for role in roles}
    file.seek(0)
    for line in file:
        if line.startswith(_ROLES_END.lstrip()):
            yield line
            break
        yield b"-- " + line if line in known else line
    while piece := file.read(_PIECE):
        yield piece
    yield b"\n" + _SAID


def mysql(file: BinaryIO, *, has_users: bool) -> Iterator[bytes]:
    """Yield what loads a dump of MariaDB or MySQL; `has_users`: users come with it."""
    yield from pieces(file)
    yield b"\n" + (b"FLUSH PRIVILEGES;\n" if has_users else b"") + _SAID


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file from its beginning to its end."""
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece
