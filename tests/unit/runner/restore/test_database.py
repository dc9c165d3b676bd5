"""Loading a dump into a server: what would happen, what is refused, what is told."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.backrest.credentials import dump_title
from sidecar.backrest.reading import RunHook, RunPlan
from sidecar.backrest.workloads import DumpRecord, WorkloadRecord
from sidecar.docker.exec_command import ExecResult
from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container, ContainerState, Mount
from sidecar.engines.base import Entry, PieceTaker, Snapshot
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner.restore.choose import RestoreError
from sidecar.runner.restore.database import (
    Dump,
    DumpLoader,
    LoadPlan,
    ServerFacts,
    fetched_dump,
    find_dump,
    find_server,
    look_at,
    parse_facts,
    survey,
    unknown_state,
)
from sidecar.runner.restore.users import OwnContainer

RECORD = DumpRecord("postgres-dump", "/dumps/all.sql", "db-1", "shop")
HOOK = {"command": dump_title("postgres-dump", "db-1") + "set -eu\n"}
PLAN = RunPlan("auto_db", "store", ("/v/dumps",), hooks=(RunHook(frozenset(), settings=HOOK),))
SNAPSHOT = Snapshot("1234abcd", datetime(2026, 3, 1, tzinfo=UTC), ("/v/dumps",))
SERVER = Container("id-1", "db-1", mounts=(Mount("bind", "/v/dumps", "/dumps"),))
OUTSIDE = OwnContainer("")
LOADED = ExecResult(0, b"1\nbackrest-loaded\n", b"")
REDIS = """\
file\t/data/dump.rdb
appendonly\tno
replication\tmaster
loading\t0
database\tdb0\t2
database\tdb3\t1
"""
MYSQL = b"-- Current Database: `shop`\n-- Table structure for table `notes`\nCREATE\n"


class FakeDocker:
    """Containers, and what the scripts in them print, one after the other."""

    def __init__(self, *answers: ExecResult | SidecarError | OSError) -> None:
        self.containers: tuple[Container, ...] = (SERVER,)
        self.answers = list(answers)
        self.sent: list[bytes] = []
        self.scripts: list[str] = []
        self.users: list[str] = []
        self.is_removed = False

    address = "unix:///run/docker.sock"

    def run(
        self, container: str, script: str, content: Iterator[bytes], user: str = ""
    ) -> ExecResult:
        """Take the whole input, and give the next answer."""
        assert container == SERVER.id
        self.scripts.append(script)
        self.sent.append(b"".join(content))
        self.users.append(user)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def all(self) -> tuple[Container, ...]:
        """List the containers."""
        return self.containers

    def data_root(self) -> str:
        """Return Docker's folder."""
        return "/var/lib/docker"

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop nothing."""

    def start(self, container: str) -> bool:
        """Start nothing."""
        return bool(container)

    def find(self, name: str) -> Container | None:
        """Find nothing."""
        return None if name else SERVER

    def goes_when_stopped(self, container: str) -> bool:
        """Return whether it is one of --rm."""
        return self.is_removed and bool(container)

    def state(self, container: str) -> ContainerState | None:
        """Know nothing."""
        return None if container else ContainerState("", "", "", "")

    def now(self) -> float:
        """Return a time."""
        return 0.0


def workload(record: DumpRecord | None = RECORD) -> WorkloadRecord:
    """Return the workload with a dump."""
    return WorkloadRecord("shop/db", "db", plan="auto_db", dump=record)


def dump_of(record: DumpRecord = RECORD, content: bytes = b"dump\n") -> Dump:
    """Return a dump that was fetched."""
    source = "/v/dumps/all.sql"
    return Dump(record, SNAPSHOT, "", source, io.BytesIO(content), len(content))


def planned(
    facts: str,
    record: DumpRecord = RECORD,
    content: bytes = b"dump\n",
    docker: FakeDocker = FakeDocker(),  # noqa: B008 - it is not changed
) -> LoadPlan:
    """Return what would be done with a server that says this of itself."""
    return survey(PLAN, "shop/db", dump_of(record, content), SERVER, parse_facts(facts), docker)


def load(docker: FakeDocker, plan: LoadPlan) -> list[str]:
    """Load it; return which containers stood still."""
    stopped: list[str] = []

    @contextmanager
    def while_stopped(container: Container) -> Iterator[None]:
        stopped.append(container.name)
        yield

    DumpLoader(docker, while_stopped, lambda _: None).run(plan)
    return stopped


def of(template: str, database: str = "") -> DumpRecord:
    """Return the record of another template."""
    return replace(RECORD, template=template, database=database)


def test_the_plan_itself_says_that_it_dumps() -> None:
    """What beside it is written down is believed no further."""
    assert find_dump(PLAN, workload()) == RECORD
    for known in (None, workload(None)):
        with pytest.raises(UsageError, match="no template dumps a database for auto_db"):
            find_dump(PLAN, known)
    others = (replace(RECORD, container="web-1"), of("redis-save"))
    for record in others:
        with pytest.raises(UsageError, match="auto_db has no hook that makes a dump"):
            find_dump(PLAN, workload(record))


def test_an_engine_that_is_not_supported_yet_is_named() -> None:
    """Together with what can be done."""
    settings = {"command": dump_title("mongodb-dump", "db-1")}
    plan = replace(PLAN, hooks=(RunHook(frozenset(), settings=settings),))
    with pytest.raises(UsageError, match="mongodb-dump is not loaded by this command yet"):
        find_dump(plan, workload(of("mongodb-dump")))


def test_the_server_is_where_the_dump_is_mounted() -> None:
    """By the innermost mount, through our own mounts."""
    docker = FakeDocker()
    assert find_server(docker, RECORD, "/v/dumps/all.sql", OUTSIDE) == SERVER
    ours = Container("a" * 64, "runner", mounts=(Mount("bind", "/v/dumps", "/backup"),))
    docker.containers = (SERVER, ours)
    assert find_server(docker, RECORD, "/backup/all.sql", OwnContainer("a" * 64)) == SERVER


@pytest.mark.parametrize(
    ("containers", "reason"),
    [
        ((), "db-1 does not exist: nothing was touched"),
        ((replace(SERVER, state="exited"),), "db-1 is exited: nothing was touched"),
        ((replace(SERVER, state="paused"),), "db-1 is paused: nothing was touched"),
        ((replace(SERVER, mounts=()),), "is not what the plan saves"),
        (
            (replace(SERVER, mounts=(Mount("bind", "/other", "/dumps"),)),),
            "is not what the plan saves",
        ),
        (
            (replace(SERVER, mounts=(*SERVER.mounts, Mount("bind", "/x", "/dumps/all.sql"))),),
            "is not what the plan saves",
        ),
    ],
)
def test_another_container_gets_nothing(containers: Sequence[Container], reason: str) -> None:
    """One that does not run, or has not what the plan saves."""
    docker = FakeDocker()
    docker.containers = tuple(containers)
    with pytest.raises(RestoreError, match=reason):
        find_server(docker, RECORD, "/v/dumps/all.sql", OUTSIDE)


def test_a_server_is_asked_by_the_user_of_the_dump() -> None:
    """One that does not answer is told with its own words, and not with its data."""
    said = "server\tPostgreSQL 15\tapp\ndatabase\tshop\t3\nrole\tCREATE ROLE app;\nother\tx\n"
    docker = FakeDocker(ExecResult(0, said.encode(), b""))
    facts = look_at(docker, SERVER, replace(RECORD, run_as="postgres"))
    assert (facts.name, facts.user, facts.roles) == ("PostgreSQL 15", "app", ("CREATE ROLE app;",))
    assert (docker.users, docker.sent) == (["postgres"], [b""])

    docker = FakeDocker(ExecResult(2, b"", b"INSERT secret\npsql: ERROR:  no such role\n"))
    with pytest.raises(RestoreError, match=r"cannot be asked: psql: ERROR:  no such role: nothing"):
        look_at(docker, SERVER, RECORD)
    with pytest.raises(RestoreError, match="db-1 does not answer: nothing was touched"):
        look_at(FakeDocker(ExecResult(0, b"file\tNOAUTH\n", b"")), SERVER, RECORD)
    with pytest.raises(RestoreError, match="cannot be asked: status 3: nothing"):
        look_at(FakeDocker(ExecResult(3, b"", b"\n")), SERVER, RECORD)


@pytest.mark.parametrize(
    ("record", "facts", "effects"),
    [
        (RECORD, "database\tshop\t1\n", "holds 1 table: all of it is replaced, in one transaction"),
        (RECORD, "", "the database 'shop' is not there: it is made"),
        (of("sqlite-backup", "/a.db"), "database\t/a.db\t2\n", "holds 2 tables: all of it"),
        (of("postgres-dump"), "database\tshop\t0\n", "gets all databases and roles"),
        (of("mariadb-dump"), "database\tshop\t4\n", "one after the other; it holds 4"),
        (of("mysql-dump"), "", "the database 'shop' is not there: it is made"),
        (
            of("redis-save"),
            REDIS,
            "all 3 keys are replaced: /data/dump.rdb is, and the server starts anew",
        ),
    ],
)
def test_it_is_told_what_is_replaced(record: DumpRecord, facts: str, effects: str) -> None:
    """In the words of each server."""
    plan = planned(facts, record, MYSQL)
    assert effects in "\n".join(plan.effects)
    assert plan.obstacles == ()
    assert plan.is_restarted == (record.template == "redis-save")


@pytest.mark.parametrize(
    ("record", "facts", "reason"),
    [
        (of("postgres-dump"), "database\tshop\t1\n", "here tables are in 'shop'"),
        (of("redis-save"), "appendonly\tyes\n", "appendonly yes"),
        (of("redis-save"), "replication\tslave\n", "is a replica"),
    ],
)
def test_what_cannot_be_loaded_is_in_the_way(record: DumpRecord, facts: str, reason: str) -> None:
    """And nothing was touched."""
    (error,) = planned(facts, record).obstacles
    assert reason in str(error)
    assert "nothing was touched" in str(error)


def test_a_redis_that_would_vanish_is_not_stopped() -> None:
    """One of `docker run --rm` goes when it stops."""
    docker = FakeDocker()
    docker.is_removed = True
    (error,) = planned("", of("redis-save"), docker=docker).obstacles
    assert "would be removed when it stops" in str(error)


def test_a_database_is_sent_with_its_size() -> None:
    """The script reads so many bytes, and no more."""
    docker = FakeDocker(LOADED)
    load(docker, planned("database\tshop\t1\n"))
    (script,), (sent,) = docker.scripts, docker.sent
    assert f"size={len(sent)}\nis_new=''\n" in script
    assert "user=''\ndatabase=shop\n" in script


@pytest.mark.parametrize(
    ("record", "sent"),
    [
        (of("postgres-dump"), b"dump\n\nSELECT 'backrest-loaded';\n"),
        (of("mariadb-dump"), b"dump\n\nFLUSH PRIVILEGES;\nSELECT 'backrest-loaded';\n"),
        (of("mysql-dump", "shop"), b"dump\n\nSELECT 'backrest-loaded';\n"),
        (of("sqlite-backup", "/a.db"), b"dump\n"),
    ],
)
def test_each_gets_what_it_understands(record: DumpRecord, sent: bytes) -> None:
    """Followed by what tells that it has done all."""
    docker = FakeDocker(LOADED)
    load(docker, planned("", record))
    assert docker.sent == [sent]


MIDWAY = b"--------------\nsecret\nError: secret\nERROR 1064 (42000) at line 3: syntax near 'secret' at line 1\n"


@pytest.mark.parametrize(
    ("record", "errors", "state"),
    [
        (
            RECORD,
            b"psql:<stdin>:5: WARNING:  x\npsql:<stdin>:9: ERROR:  no\nLINE 2: secret",
            "ERROR:  no; all is as it was",
        ),
        (of("sqlite-backup", "/a.db"), b"Error: not whole\n", "all is as it was before"),
        (of("mariadb-dump"), MIDWAY, r"before its line 3 \(shop.notes\) is loaded, and nothing"),
        (of("mariadb-dump"), b"it was killed\n", "may be loaded in part"),
        (
            of("postgres-dump"),
            b"psql:<stdin>:1: ERROR:  no\n",
            "line 1 .shop. is loaded.*made anew",
        ),
    ],
)
def test_a_load_that_fails_tells_its_state(record: DumpRecord, errors: bytes, state: str) -> None:
    """As far as it can be known, and without the data."""
    docker = FakeDocker(ExecResult(1, b"", errors))
    with pytest.raises(RestoreError, match=state) as raised:
        load(docker, planned("", record, MYSQL))
    assert "secret" not in str(raised.value)


def test_what_has_come_meanwhile_is_left_alone() -> None:
    """A script that has touched nothing says so."""
    docker = FakeDocker(
        ExecResult(1, b"", b"tables have come to a meanwhile: nothing was touched\n")
    )
    with pytest.raises(
        RestoreError, match=r"^tables have come to a meanwhile: nothing was touched$"
    ):
        load(docker, planned("", of("postgres-dump")))


@pytest.mark.parametrize("answer", [ExecResult(0, b"1\n", b""), ExecResult(0, b"", b"")])
def test_a_client_that_did_not_do_all_has_failed(answer: ExecResult) -> None:
    """Whatever its exit status is."""
    with pytest.raises(RestoreError, match="was not loaded: status 0; all is as it was before"):
        load(FakeDocker(answer), planned(""))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DockerError("the connection ended", "look"), "the connection ended: all is as it was"),
        (OSError(5, "broken"), "the dump could not be read: broken: all is as it was before, or"),
    ],
)
def test_an_end_that_nobody_knows_is_told_as_that(error: Exception, said: str) -> None:
    """A transaction is done or not; else a part of it may be."""
    assert isinstance(error, DockerError | OSError)
    with pytest.raises(RestoreError, match=said):
        load(FakeDocker(error), planned(""))
    assert "in part" in unknown_state(planned("", of("mysql-dump")))
    assert "start it anew" in unknown_state(planned("", of("redis-save")))


LOADING = ExecResult(0, b"server\tRedis 7\nloading\t1\n", b"")
READY = ExecResult(0, b"server\tRedis 7\nloading\t0\n", b"")


def test_redis_starts_anew_and_is_waited_for() -> None:
    """Until it has read the dump."""
    docker = FakeDocker(LOADED, DockerError("down"), ExecResult(1, b"", b"no"), LOADING, READY)
    assert load(docker, planned("", of("redis-save"))) == ["db-1"]
    assert docker.answers == []


def test_a_redis_that_does_not_come_up_is_told() -> None:
    """Together with where the dump lies."""
    docker = FakeDocker(LOADED, *[DockerError("it is down")] * 240)
    plan = planned("file\t/data/dump.rdb\n", of("redis-save"))
    with pytest.raises(RestoreError, match=r"lies in db-1 as /data/dump.rdb.*but it is down"):
        load(docker, plan)


class OneFile:
    """An engine with one file in its snapshot."""

    def __init__(self, *entries: Entry, content: bytes = b"dump") -> None:
        self.found = entries
        self.content = content

    def entries(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what there is."""
        assert (snapshot, path) == (SNAPSHOT, "/v/all.sql")
        yield from self.found

    def read_file(self, snapshot: Snapshot, path: str, take: PieceTaker) -> None:
        """Give the content."""
        assert (snapshot, path) == (SNAPSHOT, "/v/all.sql")
        take(self.content)


def test_a_dump_is_fetched_to_a_file_without_a_name(tmp_path: Path) -> None:
    """So that nothing is left of it, however this ends."""
    engine = OneFile(Entry("/v/all.sql", kind="file", size=4))
    with fetched_dump(engine, SNAPSHOT, "/v/all.sql", tmp_path) as (file, size):
        file.seek(0)
        assert (file.read(), size) == (b"dump", 4)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((), "the snapshot does not hold /v/all.sql"),
        ((Entry("/v/all.sql", kind="dir"),), "is a folder in the snapshot, and no dump"),
        ((Entry("/v/all.sql", kind="file", size=1 << 60),), "free: nothing was touched"),
        ((Entry("/v/all.sql", kind="file", size=5),), "of the dump's 5 bytes 4 came: nothing"),
    ],
)
def test_a_dump_that_cannot_be_fetched_is_none(
    entries: Sequence[Entry], reason: str, tmp_path: Path
) -> None:
    """Nothing was touched by then."""
    with (
        pytest.raises(RestoreError, match=reason),
        fetched_dump(OneFile(*entries), SNAPSHOT, "/v/all.sql", tmp_path),
    ):
        raise AssertionError


def test_facts_are_empty_until_they_are_known() -> None:
    """Lines that are not known are passed over."""
    assert parse_facts("what\never\ndatabase\tshop\tmany\n") == ServerFacts()
