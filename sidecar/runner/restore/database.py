"""Loading a dump that a template made back into the server that it was made of."""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from sidecar.backrest.credentials import dump_title
from sidecar.backrest.reading import RunPlan
from sidecar.backrest.workloads import DumpRecord, WorkloadRecord
from sidecar.docker.exec_command import ExecResult
from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container
from sidecar.docker.own_container import find_own_container
from sidecar.docker.usage import is_within, on_host
from sidecar.engines.base import Entry, PieceTaker, Snapshot
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.lib.text import counted, quoted, render_size
from sidecar.runner.journal import Ended, RunOutcome
from sidecar.runner.quiesce import reasons_not_to_stop
from sidecar.runner.restore import dump_file
from sidecar.runner.restore.choose import RestoreError, measure
from sidecar.runner.restore.load_scripts import LOADABLE, render_load, render_look
from sidecar.runner.restore.places import free_at
from sidecar.runner.restore.restore import RestoreControl
from sidecar.runner.restore.users import OwnContainer

_ERROR_LINE = re.compile(r"(?:<stdin>:|at line )(\d+)")
_COMPLAINT = re.compile(r"ERROR \d+ \(|psql:.*(?:ERROR|FATAL|error):|Error|Parse error")
# Beside what a client understands as no command it shows the command, which may be data.
_DATA = re.compile(r" (?:at or )?near ['\"].*?(?=['\"] at line \d+$|$)['\"]?")
_LONGEST_REASON = 300
_UNTOUCHED = ": nothing was touched"
_SYSTEM = frozenset(("information_schema", "performance_schema", "sys"))
_LOOK_SECONDS = 0.5
_MOST_LOOKS = 240


class LoadControl(RestoreControl, Protocol):
    """What loading a dump needs of Docker."""

    def run(
        self, container: str, script: str, content: Iterator[bytes], user: str = ""
    ) -> ExecResult:
        """Run a script in a container, see `run_in_container`. Raises DockerError."""
        ...


class DatabaseFact(NamedTuple):
    """A database that is there, and how many tables (of Redis: keys) it holds."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself."""

    name: str = ""
    user: str = ""
    databases: tuple[DatabaseFact, ...] = ()
    roles: tuple[str, ...] = field(default=(), repr=False)
    file: str = ""
    keeps_log: bool = False
    is_replica: bool = False
    is_loading: bool = False

    def database(self, name: str) -> DatabaseFact | None:
        """Return the database of that name, None if there is none."""
        return next((one for one in self.databases if one.name == name), None)


def parse_facts(output: str) -> ServerFacts:
    """Parse what the script of `render_look` prints."""
    found = ServerFacts()
    for line in output.splitlines():
        kind, _, rest = line.partition("\t")
        first, _, second = rest.partition("\t")
        if kind == "server":
            found = replace(found, name=first, user=second)
        elif kind == "database" and second.isdigit():
            fact = DatabaseFact(first, int(second))
            found = replace(found, databases=(*found.databases, fact))
        elif kind == "role":
            found = replace(found, roles=(*found.roles, rest))
        elif kind == "file":
            found = replace(found, file=rest)
        elif kind == "appendonly":
            found = replace(found, keeps_log=rest == "yes")
        elif kind == "replication":
            found = replace(found, is_replica=rest != "master")
        elif kind == "loading":
            found = replace(found, is_loading=rest == "1")
    return found


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump that was fetched from a snapshot, aside; `source` is its path there."""

    record: DumpRecord
    snapshot: Snapshot
    passed_over: str
    source: str
    file: BinaryIO = field(repr=False)
    size: int


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What loading a dump would do, and what stands in the way of it.

    Attributes:
        plan: whose dump it is.
        name: what people call its workload.
        dump: what is loaded.
        container: whose server gets it.
        facts: what that says of itself.
        effects: what is replaced, in words.
        obstacles: with one of them nothing is loaded.
    """

    plan: RunPlan
    name: str
    dump: Dump
    container: Container
    facts: ServerFacts
    effects: tuple[str, ...]
    obstacles: tuple[SidecarError, ...] = ()

    @property
    def is_restarted(self) -> bool:
        """Whether the server reads the dump when it starts."""
        return self.dump.record.template == "redis-save"


def find_dump(plan: RunPlan, workload: WorkloadRecord | None) -> DumpRecord:
    """Return what a template dumps for a plan; raises UsageError if that is nothing to load.

    The file that says so is believed no further than the plan itself says it.
    """
    record = None if workload is None else workload.dump
    if record is None:
        raise UsageError(
            f"no template dumps a database for {plan.id}, as far as is known",
            "it is known from .sidecar/workloads.json, which the sidecar writes; without "
            "--database the files are restored",
        )
    title = dump_title(record.template, record.container)
    if not any(str(hook.settings.get("command", "")).startswith(title) for hook in plan.hooks):
        raise UsageError(
            f"{plan.id} has no hook that makes a dump by {record.template} in {record.container}",
            "`backrest-runner cat` writes a dump out, to load it by hand",
        )
    if record.template not in LOADABLE:
        raise UsageError(
            f"a dump by {record.template} is not loaded by this command yet",
            "`backrest-runner cat` writes it out; docs/how-to/databases.md says how to load it",
        )
    return record


def find_server(
    docker: LoadControl, record: DumpRecord, source: str, own: OwnContainer | None = None
) -> Container:
    """Return the container of a dump, which runs and has mounted what the plan saves.

    `source` is the dump's path in the plan. Raises RestoreError, DockerError.
    """
    containers = docker.all()
    found = next((one for one in containers if one.name == record.container), None)
    if found is None or found.state != "running":
        state = "does not exist" if found is None else f"is {found.state}"
        raise RestoreError(
            f"{record.container} {state}: nothing was touched",
            "start it: a dump is loaded by the client in it, into the server that runs there",
        )
    ours = find_own_container(containers, (own or OwnContainer.detect()).id)
    place = on_host(os.path.realpath(source), ours)
    mounts = [one for one in found.mounts if is_within(record.path, one.destination)]
    inner = max(mounts, key=lambda one: len(one.destination), default=None)
    there = ""
    if inner is not None:
        rest = os.path.relpath(record.path, inner.destination)
        there = os.path.normpath(Path(inner.source) / rest)
    if there != place:
        raise RestoreError(
            f"{record.path} of {record.container} is not what the plan saves as {source}: "
            "nothing was touched",
            "`backrest-runner cat` writes the dump out, to load it by hand",
        )
    return found


class FileReader(Protocol):
    """What fetching a dump needs of an engine; both may raise EngineError."""

    def entries(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what a snapshot holds at and below a path."""
        ...

    def read_file(self, snapshot: Snapshot, path: str, take: PieceTaker) -> None:
        """Read the content of a file."""
        ...


@contextmanager
def fetched_dump(
    engine: FileReader, snapshot: Snapshot, source: str, folder: Path
) -> Iterator[tuple[BinaryIO, int]]:
    """Fetch a dump aside, for the block: the file, which has no name, and its size.

    Raises RestoreError, EngineError.
    """
    item = measure(source, engine.entries(snapshot, source))
    if item.is_folder:
        raise RestoreError(f"{source} is a folder in the snapshot, and no dump")
    _, free = free_at(folder)
    if free < item.bytes:
        raise RestoreError(
            f"the dump has {render_size(item.bytes)}, and {folder} {render_size(free)} free: "
            "nothing was touched",
            "free some space there",
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        engine.read_file(snapshot, source, lambda piece: _write(file, piece))
        size = file.tell()
        if size != item.bytes:
            raise RestoreError(f"of the dump's {item.bytes} bytes {size} came: nothing was touched")
        yield file, size


def _write(file: BinaryIO, piece: bytes) -> None:
    file.write(piece)


def look_at(docker: LoadControl, container: Container, record: DumpRecord) -> ServerFacts:
    """Ask a server about itself. Raises RestoreError where it does not answer, DockerError."""
    script = render_look(record.template, record.user, record.database)
    result = docker.run(container.id, script, iter(()), record.run_as)
    if result.status:
        raise RestoreError(
            f"the server in {container.name} cannot be asked: {reason_of(result)}: "
            "nothing was touched"
        )
    facts = parse_facts(result.output.decode(errors="replace"))
    if not facts.name:
        # A client of Redis ends well also where the server refuses it.
        raise RestoreError(f"the server in {container.name} does not answer: nothing was touched")
    return facts


def reason_of(result: ExecResult) -> str:
    """Return the first complaint of a client, without the data that may stand around it."""
    lines = result.errors.decode(errors="replace").splitlines()
    told = [line for line in lines if _COMPLAINT.match(line)]
    if told and told[-1].startswith("ERROR "):
        # Before it MariaDB's client shows the command.
        told = told[-1:]
    text = next((line.strip() for line in told or lines if line.strip()), "")
    text = text or f"status {result.status}"
    return _DATA.sub("", text)[:_LONGEST_REASON]


def survey(
    plan: RunPlan,
    name: str,
    dump: Dump,
    container: Container,
    facts: ServerFacts,
    docker: LoadControl,
) -> LoadPlan:
    """Return what loading would do, and what stands in the way."""
    effects, obstacles = _effects(dump, facts)
    if dump.record.template == "redis-save":
        reasons = reasons_not_to_stop(docker, [container])
        obstacles += tuple(RestoreError(f"{one}: nothing was touched") for one in reasons)
    return LoadPlan(plan, name, dump, container, facts, effects, obstacles)


def _effects(dump: Dump, facts: ServerFacts) -> tuple[tuple[str, ...], tuple[SidecarError, ...]]:
    template, database = dump.record.template, dump.record.database
    if template == "postgres-dump":
        return _of_database(facts, database) if database else _of_server(facts)
    if template == "redis-save":
        return _of_redis(facts)
    if template == "sqlite-backup":
        return _of_database(facts, database)
    return _of_mysql(dump, facts), ()


_Effects = tuple[tuple[str, ...], tuple[SidecarError, ...]]


def _of_database(facts: ServerFacts, database: str) -> _Effects:
    there = facts.database(database)
    if there is None:
        return (f"the database {quoted(database)} is not there: it is made",), ()
    holds = f"the database {quoted(database)} holds {counted(there.size, 'table')}"
    return (f"{holds}: all of it is replaced, in one transaction",), ()


def _of_server(facts: ServerFacts) -> _Effects:
    full = [one.name for one in facts.databases if one.size]
    if full:
        names = ", ".join(map(quoted, full))
        error = RestoreError(
            f"a dump of all databases is loaded into a server that is empty, and here tables are "
            f"in {names}: nothing was touched",
            "make the server anew, or `backrest-runner cat` the dump and load a part of it",
        )
        return (), (error,)
    return ("the server holds no tables: it gets all databases and roles of the dump",), ()


def _of_mysql(dump: Dump, facts: ServerFacts) -> tuple[str, ...]:
    lines = []
    for name in dump_file.list_databases(dump.file):
        there = facts.database(name)
        if there is None:
            lines.append(f"the database {quoted(name)} is not there: it is made")
        elif name not in _SYSTEM:
            lines.append(
                f"in the database {quoted(name)} each table of the dump is replaced, one after "
                f"the other; it holds {there.size}, and others stay"
            )
    return tuple(lines)


def _of_redis(facts: ServerFacts) -> _Effects:
    keys = sum(one.size for one in facts.databases)
    if facts.keeps_log:
        error = RestoreError(
            "Redis runs with `appendonly yes`, and then reads no dump when it starts: "
            "nothing was touched",
            "docs/how-to/databases.md says what to do",
        )
        return (), (error,)
    if facts.is_replica:
        error = RestoreError(
            "this Redis is a replica, which gets all from another: nothing was touched",
            "load the dump into that one",
        )
        return (), (error,)
    return (f"all {keys} keys are replaced: {facts.file} is, and the server starts anew",), ()


class DumpLoader:
    """Loads a dump.

    `stopped` stops and starts a container for a block; `wait` waits so many seconds.
    """

    def __init__(
        self,
        docker: LoadControl,
        stopped: Callable[[Container], AbstractContextManager[None]],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._docker = docker
        self._stopped = stopped
        self._wait = wait

    def run(self, plan: LoadPlan) -> None:
        """Load it; raises RestoreError, which says what state that leaves."""
        record, dump = plan.dump.record, plan.dump
        is_new = bool(record.database) and plan.facts.database(record.database) is None
        content, size = _content(plan)
        script = render_load(record.template, record.user, record.database, size, is_new=is_new)
        try:
            result = self._docker.run(plan.container.id, script, content, record.run_as)
        except DockerError as error:
            raise RestoreError(f"{error.message}: {unknown_state(plan)}", error.hint) from error
        except OSError as error:
            what = f"the dump could not be read: {error.strerror}"
            raise RestoreError(f"{what}: {unknown_state(plan)}") from error
        last = result.output.decode(errors="replace").strip().rpartition("\n")[2]
        if result.status or last != dump_file.LOADED:
            reason = reason_of(result)
            if reason.endswith(_UNTOUCHED):
                raise RestoreError(reason)
            state = _state(plan, reason)
            raise RestoreError(
                f"the dump of {dump.snapshot.short} was not loaded: {reason}; {state}"
            )
        if plan.is_restarted:
            self._restart(plan)

    def _restart(self, plan: LoadPlan) -> None:
        name, file = plan.container.name, plan.facts.file
        try:
            with self._stopped(plan.container):
                pass
            self._await(plan)
        except SidecarError as error:
            raise RestoreError(
                f"the dump lies in {name} as {file}, which the server reads when it starts; but "
                f"{error.message}",
                f"start {name} anew; until then it writes nothing to its disk by itself",
            ) from error

    def _await(self, plan: LoadPlan) -> None:
        """Wait until the server answers again. Raises DockerError."""
        said = "it does not answer"
        for _ in range(_MOST_LOOKS):
            try:
                if not look_at(self._docker, plan.container, plan.dump.record).is_loading:
                    return
            except (RestoreError, DockerError) as error:
                said = error.message
            self._wait(_LOOK_SECONDS)
        raise DockerError(said)


def _content(plan: LoadPlan) -> tuple[Iterator[bytes], int]:
    """Return what is sent, and how many bytes that are."""
    record, file = plan.dump.record, plan.dump.file

    def made() -> Iterator[bytes]:
        if record.template == "postgres-dump":
            if record.database:
                return dump_file.postgres_database(file)
            return dump_file.postgres_server(file, plan.facts.roles)
        if record.template in {"mariadb-dump", "mysql-dump"}:
            return dump_file.mysql(file, has_users=not record.database)
        return dump_file.pieces(file)

    return made(), sum(map(len, made()))


def unknown_state(plan: LoadPlan) -> str:
    """Say in what state a load leaves the server whose end nobody knows."""
    return _state(plan, None)


def _state(plan: LoadPlan, reason: str | None) -> str:
    """Say in what state a load leaves the server that ended early; None: nobody knows its end."""
    record, file = plan.dump.record, plan.dump.file
    template = record.template
    is_of_all = template == "postgres-dump" and not record.database
    if template in {"sqlite-backup", "redis-save", "postgres-dump"} and not is_of_all:
        if reason is not None:
            return "all is as it was before"
        if plan.is_restarted:
            return (
                f"if {plan.facts.file} was replaced already, the server reads it when it starts, "
                "and until then writes nothing to its disk by itself: start it anew"
            )
        return "all is as it was before, or as in the dump, and nothing between"
    again = "when that is put right, load it again"
    if is_of_all:
        again += " into a server that is made anew"
    match = _ERROR_LINE.search(reason or "")
    if not match:
        return f"what stands in the dump may be loaded in part; {again}"
    place = dump_file.place_of_line(file, int(match[1]))
    where = f"line {match[1]}" + (f" ({place})" if place else "")
    return f"what stands in the dump before its {where} is loaded, and nothing after it; {again}"


def ended_of(plan: LoadPlan) -> Ended:
    """Return how a load ended that went well, still without its time."""
    return Ended(RunOutcome.SUCCESS, 0.0, plan.dump.snapshot.id, reason=plan.dump.passed_over)
