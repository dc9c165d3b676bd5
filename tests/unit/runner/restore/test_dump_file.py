"""A dump as a file: what is taken for whole, and what is sent of it."""

import io
import sqlite3
from pathlib import Path

import pytest

from sidecar.runner.restore.choose import RestoreError
from sidecar.runner.restore.dump_file import (
    check_whole,
    list_databases,
    mysql,
    pieces,
    place_of_line,
    postgres_database,
    postgres_server,
)

CLUSTER = b"""\
--
-- PostgreSQL database cluster dump
--

CREATE ROLE app;
ALTER ROLE app WITH LOGIN;
CREATE ROLE clerk;

\\connect template1

--
-- PostgreSQL database dump complete
--

\\connect shop

COPY public.notes (note) FROM stdin;
CREATE ROLE app;
\\.

--
-- PostgreSQL database dump complete
--

--
-- PostgreSQL database cluster dump complete
--

"""
MYSQL = b"""\
-- MariaDB dump 10.19
-- Current Database: `mysql`
USE `mysql`;
-- Table structure for table `plugin`
CREATE TABLE `plugin` (x int);
-- Current Database: `o``dd`
-- Dumping data for table `no``tes`
INSERT INTO `no``tes` VALUES (1);
-- Dump completed on 2026-11-30 20:39:57
"""
RDB = b"REDIS0010" + b"\xfa" * 100 + b"\xff" + b"12345678"


def sqlite_bytes(folder: Path) -> bytes:
    """Return a database of SQLite."""
    path = folder / "a.db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE notes (id int)")
    made.close()
    return path.read_bytes()


def whole(template: str, content: bytes, database: str = "") -> bool:
    """Return whether a dump is taken for whole."""
    try:
        check_whole(template, io.BytesIO(content), database)
    except RestoreError:
        return False
    return True


@pytest.mark.parametrize(
    ("template", "content", "end"),
    [
        ("postgres-dump", CLUSTER, "cluster dump complete\n"),
        ("mariadb-dump", MYSQL, "-- Dump completed"),
        ("mysql-dump", MYSQL, "-- Dump completed"),
        ("redis-save", RDB, "12345678"),
    ],
)
def test_a_dump_that_was_cut_anywhere_is_not_whole(template: str, content: bytes, end: str) -> None:
    """Only with its end it is; empty it is not either."""
    assert whole(template, content)
    last = content.rindex(end.encode()) + len(end)
    assert [one for one in range(last) if whole(template, content[:one])] == []


def test_a_database_of_sqlite_is_as_large_as_it_says(tmp_path: Path) -> None:
    """Not shorter, and it begins as one."""
    content = sqlite_bytes(tmp_path)
    assert whole("sqlite-backup", content)
    assert not whole("sqlite-backup", content[:-1])
    assert not whole("sqlite-backup", b"x" + content[1:])
    assert not whole("sqlite-backup", b"")


def test_the_largest_page_of_sqlite_does_not_fit_its_field() -> None:
    """There 1 stands for 65536."""
    head = b"SQLite format 3\0" + b"\0\1" + bytes(10) + b"\0\0\0\2"
    assert whole("sqlite-backup", head + bytes(2 * 65536 - len(head)))


def test_the_dump_of_one_database_is_none_of_all() -> None:
    """Nor the other way round."""
    one = b"--\n-- PostgreSQL database dump complete\n--\n"
    assert whole("postgres-dump", one, "shop")
    assert not whole("postgres-dump", one)
    assert not whole("postgres-dump", b"\n-- PostgreSQL database cluster dump complete\n", "shop")


def test_the_databases_of_a_dump_are_known() -> None:
    """With quotes in their names."""
    assert list_databases(io.BytesIO(MYSQL)) == ("mysql", "o`dd")


@pytest.mark.parametrize(
    ("content", "line", "place"),
    [
        (MYSQL, 1, ""),
        (MYSQL, 3, "mysql"),
        (MYSQL, 5, "mysql.plugin"),
        (MYSQL, 6, "o`dd"),
        (MYSQL, 8, "o`dd.no`tes"),
        (MYSQL, 999, "o`dd.no`tes"),
        (CLUSTER, 5, ""),
        (CLUSTER, 12, "template1"),
        (CLUSTER, 17, "shop"),
    ],
)
def test_it_is_known_of_what_a_line_is(content: bytes, line: int, place: str) -> None:
    """As clients tell lines when they stop."""
    assert place_of_line(io.BytesIO(content), line) == place


def test_one_database_of_postgresql_is_one_transaction() -> None:
    """Its end comes last, so that nothing is left of what was cut off."""
    sent = b"".join(postgres_database(io.BytesIO(b"CREATE TABLE notes (id int);\n")))
    assert sent.startswith(b"BEGIN;\n")
    end = b"\nCREATE TABLE notes (id int);\n\nCOMMIT;\nSELECT 'backrest-loaded';\n"
    assert sent.endswith(end)


LARGE = b"""\
-- Name: ends; Type: PROCEDURE; Schema: public; Owner: app
CREATE PROCEDURE public.ends() LANGUAGE plpgsql AS $$
COMMIT;
$$;
-- Data for Name: notes; Type: TABLE DATA; Schema: public; Owner: app
COPY public.notes (note) FROM stdin;
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
BEGIN;
\\.
COPY public.program FROM PROGRAM;
BEGIN;
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
BEGIN;
SELECT pg_catalog.lo_close(0);
COMMIT;
-- Name: notes_pkey; Type: CONSTRAINT; Schema: public; Owner: app
COMMIT;
"""


def test_large_objects_do_not_end_the_transaction() -> None:
    """Only what the dump has around them is left out, and no line of data or of a procedure."""
    sent = b"".join(postgres_database(io.BytesIO(LARGE)))
    own = b"BEGIN;\nSELECT pg_catalog.lo_close(0);\nCOMMIT;\n"
    commented = b"-- BEGIN;\nSELECT pg_catalog.lo_close(0);\n-- COMMIT;\n"
    assert LARGE.replace(own, commented) in sent


def test_what_is_sent_comes_in_pieces_that_fit_into_memory() -> None:
    """Also of a large dump."""
    sent = list(postgres_database(io.BytesIO(b"x" * 999 + b"\n" * 1 + b"y" * (3 << 20) + b"\n")))
    assert len(sent) == 4
    lines = (b"z" * 99 + b"\n") * 30000
    sizes = [len(one) for one in postgres_database(io.BytesIO(lines))]
    assert max(sizes) < (1 << 20) + 100
    assert len(sizes) == 5


def test_roles_that_are_there_are_not_made() -> None:
    """Lines keep their numbers, and what follows the roles is sent as it is."""
    roles = ["CREATE ROLE app;", "CREATE ROLE other;"]
    sent = b"".join(postgres_server(io.BytesIO(CLUSTER), roles))
    expected = CLUSTER.replace(b"CREATE ROLE app;", b"-- CREATE ROLE app;", 1)
    assert sent == expected + b"\nSELECT 'backrest-loaded';\n"


def test_users_hold_after_a_dump_of_all() -> None:
    """Of one database there are none."""
    file = io.BytesIO(b"x")
    assert b"".join(mysql(file, has_users=False)) == b"x\nSELECT 'backrest-loaded';\n"
    sent = b"".join(mysql(file, has_users=True))
    assert sent == b"x\nFLUSH PRIVILEGES;\nSELECT 'backrest-loaded';\n"


def test_a_file_is_read_from_its_beginning() -> None:
    """Whoever has read in it before."""
    file = io.BytesIO(b"abc")
    file.read()
    assert list(pieces(file)) == [b"abc"]
