"""backup-once, as far as no engine is needed: labels, variables, order, what goes wrong."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.cli.commands.backup_once import backup_once
from sidecar.docker.lifecycle import ContainersError, OneShotDocker
from sidecar.docker.models import Container as Observed
from sidecar.docker.models import Inventory
from sidecar.docker.usage import ContainerUse
from sidecar.labels.policy import Policy
from sidecar.lib.errors import SidecarError, StoreError, UsageError
from sidecar.lib.text import MASK, SpecInvalid
from sidecar.planner.backup_once import (
    KeepRule,
    QuiesceLabel,
    parse_quiesce_label,
    read_once_labels,
    render_keep_flags,
)
from sidecar.runner.journal import Journal
from sidecar.runner.once.image import Lines, masking_of_variables, parse_env_file, read_env_file
from sidecar.runner.once.leftover import (
    FILE,
    BackupRecord,
    read_record,
    recover_leftovers,
    write_record,
)
from sidecar.runner.once.plans import PlansStrategy
from sidecar.runner.once.quiesce import (
    QuiesceContext,
    StopFailed,
    choose_stopped,
    find_replacement,
    in_start_order,
    quiesced,
)
from sidecar.runner.settings import RunnerSettings

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
DEPENDS_ON = "com.docker.compose.depends_on"
POLICY = Policy()


def part_of(project: str, service: str, *needs: str) -> dict[str, str]:
    """Return what Compose puts on a service's container."""
    entries = ",".join(f"{need}:service_started:false" for need in needs)
    return {PROJECT: project, SERVICE: service, DEPENDS_ON: entries}


# --- labels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("daily=7,weekly=4", "--keep-daily 7 --keep-weekly 4"),
        ("last=3, within=1y5m7d2h", "--keep-last 3 --keep-within 1y5m7d2h"),
        ("within-hourly=2d", "--keep-within-hourly 2d"),
        (
            "within-h=2d,within-d=14d,within-w=2m,within-m=1y,within-y=10y",
            (
                "--keep-within-hourly 2d --keep-within-daily 14d --keep-within-weekly 2m "
                "--keep-within-monthly 1y --keep-within-yearly 10y"
            ),
        ),
        (
            "h=24,d=7,w=4,m=6,y=2",
            "--keep-hourly 24 --keep-daily 7 --keep-weekly 4 --keep-monthly 6 --keep-yearly 2",
        ),
        ("all", ""),
    ],
)
def test_a_keep_label_becomes_flags_of_restic(text: str, flags: str) -> None:
    """Spans may stand alone, and the short spellings mean the long ones."""
    assert tuple(flags.split()) == render_keep_flags(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "daily=0",
        "d=7,daily=7",
        "within=soon",
        "within",
        "all,last=1",
        "minutely=3",
        "=",
    ],
)
def test_a_keep_label_that_is_none_is_refused(text: str) -> None:
    """A wrong retention deletes data, so nothing is guessed."""
    with pytest.raises(SpecInvalid):
        render_keep_flags(text)


@pytest.mark.parametrize(
    ("said", "labels", "is_on"),
    [
        ("", {"backrest.quiesce": " Yes "}, True),
        ("", {"backrest.quiesce": "off"}, False),
        ("", {}, False),
        ("backrest.quiesce=1", {"backrest.quiesce": "true"}, True),
        ("quiet=0", {"quiet": "off"}, True),
        ("tier=db", {"tier": "db"}, True),
        ("tier=db", {"tier": "web"}, False),
        ("tier", {"tier": ""}, True),
        ("tier", {"other": "x"}, False),
    ],
)
def test_the_label_that_asks_for_quiet(said: str, labels: dict[str, str], is_on: bool) -> None:
    """All words for true are one value; any other value has to be the very same."""
    assert is_on == parse_quiesce_label(said, "backrest.").is_on(labels)


def observed(name: str, labels: Mapping[str, str]) -> Observed:
    """Return a container as the sidecar sees it."""
    return Observed(id=f"id-{name}", name=name, labels=labels)


def test_containers_that_ask_for_it_are_quiet_but_neither_we_nor_who_runs_a_command() -> None:
    """A word that is no answer is told with the container and the label."""
    inventory = Inventory(
        (
            observed("db", {"backrest.quiesce": "true"}),
            observed("us", {"backrest.quiesce": "true"}),
            observed("run", {"backrest.quiesce": "true", "com.docker.compose.oneoff": "True"}),
            observed("odd", {"backrest.quiesce": "perhaps"}),
        )
    )
    policy = Policy(own_container_id="id-us")
    found = read_once_labels(inventory, policy, parse_quiesce_label("", "backrest."))
    assert ("id-db",) == found.to_stop
    (problem,) = found.problems
    assert ("label.invalid", "odd", "backrest.quiesce") == (
        problem.reason,
        problem.container,
        problem.label,
    )


def test_each_service_that_is_enabled_is_kept_as_it_says() -> None:
    """Replicas are one service; a container of its own is called by its name."""
    keep = {"backrest.enable": "on", "backrest.keep": "last=2"}
    inventory = Inventory(
        (
            observed("p-db-1", part_of("p", "db") | keep),
            observed("p-db-2", part_of("p", "db") | keep),
            observed("alone", keep),
            observed("all", keep | {"backrest.keep": "all"}),
            observed("off", keep | {"backrest.enable": "no"}),
            observed("silent", {"backrest.enable": "yes"}),
        )
    )
    quiet = QuiesceLabel("none", None)
    flags = ("--keep-last", "2")
    found = read_once_labels(inventory, POLICY, quiet)
    assert (KeepRule("alone", flags), KeepRule("p/db", flags)) == found.keep_rules
    short = read_once_labels(inventory, Policy(include_project_name=False), quiet)
    assert ["alone", "db"] == [one.folder for one in short.keep_rules]


def test_a_label_that_cannot_be_read_keeps_everything_and_is_told() -> None:
    """The other services are kept as they say."""
    inventory = Inventory(
        (
            observed("a", {"backrest.enable": "perhaps", "backrest.keep": "last=2"}),
            observed("b", {"backrest.enable": "yes", "backrest.keep": "often"}),
            observed("c", {"backrest.enable": "yes", "backrest.keep": "last=1"}),
        )
    )
    found = read_once_labels(inventory, POLICY, QuiesceLabel("none", None))
    assert ["c"] == [one.folder for one in found.keep_rules]
    assert [("label.invalid", "a"), ("keep.invalid", "b")] == [
        (one.reason, one.workload) for one in found.problems
    ]


# --- variables and lines ----------------------------------------------------------------


def test_a_file_of_variables_is_read_as_docker_reads_it() -> None:
    """Nothing is unquoted or trimmed behind the equals sign; a bare name is ours to give."""
    text = "# comment\n\n  A=1 # two \nB='quoted'\r\nC=x=y\nGIVEN\nABSENT\nEMPTY=\n\t#no\n"
    found = tuple(parse_env_file(text, {"GIVEN": "from us"}, "f"))
    expected = (
        ("A", "1 # two "),
        ("B", "'quoted'"),
        ("C", "x=y"),
        ("GIVEN", "from us"),
        ("EMPTY", ""),
    )
    assert expected == found


@pytest.mark.parametrize("line", ["=secret", "A B=secret", "A\t=secret"])
def test_a_line_that_is_no_variable_is_named_and_not_shown(line: str) -> None:
    """What stands there may be a password."""
    with pytest.raises(UsageError) as raised:
        tuple(parse_env_file(f"OK=1\n{line}\n", {}, "f"))
    assert "f, line 2" in raised.value.message
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"\xff=1", "UTF-8"), (b"A=1\n" * 300_000, "larger")],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    """The flag and the file are named."""
    file = tmp_path / "env"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_env_file(file, {})


def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_a_name(tmp_path: Path) -> None:
    """Editors on other systems write one."""
    (tmp_path / "env").write_bytes(b"\xef\xbb\xbfA=1\n")
    assert (("A", "1"),) == read_env_file(tmp_path / "env", {})


def test_lines_are_handed_on_whole_and_without_secrets() -> None:
    """A secret may come in two pieces; switches, paths and the repository stay readable."""
    variables = (
        ("RESTIC_PASSWORD", "correct horse"),
        ("LOG_LEVEL", "info"),
        ("RESTIC_REPOSITORY", "rest:http://backup/"),
        ("DATA", "/srv/of-the-shop"),
        ("ACCOUNT", "0123456789"),
    )
    said: list[str] = []
    lines = Lines(masking_of_variables(variables), said.append)
    for piece in (
        b"info: corr",
        b"ect horse\r\nto rest:http://backup/ from /srv/of-the-shop\n",
        b"",
        b"by 0123456789",
    ):
        lines.take(piece)
    lines.finish()
    lines.finish()
    assert [
        f"info: {MASK}",
        "to rest:http://backup/ from /srv/of-the-shop",
        f"by {MASK}",
    ] == said


def test_a_line_without_end_is_handed_on_in_parts() -> None:
    """What is kept in memory has a bound."""
    said: list[str] = []
    lines = Lines(masking_of_variables(()), said.append)
    lines.take(b"x" * 70_000)
    assert [70_000] == [len(line) for line in said]


# --- order ------------------------------------------------------------------------------


def held(
    name: str, labels: Mapping[str, str] | None = None, state: str = "running"
) -> ContainerUse:
    """Return a container as the runner sees it."""
    return ContainerUse(f"id-{name}", name, state, labels or {})


def test_what_others_need_starts_first_in_whatever_order_it_is_listed() -> None:
    """Through services of the same project and through shared networks; else by name."""
    everything = [
        held("app", part_of("p", "app", "cache")),
        held("cache", part_of("p", "cache", "db", "gone")),
        held("db", part_of("p", "db")),
        held("other", part_of("q", "db", "app")),
        held("behind"),
        held("vpn"),
    ]
    for listed in itertools.permutations(everything):
        names = [one.name for one in in_start_order(listed, {"id-behind": "vpn", "id-vpn": "lost"})]
        assert ["db", "other", "vpn", "behind", "cache", "app"] == names


def test_a_circle_leaves_the_order_by_name() -> None:
    """Compose refuses one, containers made by hand may have it."""
    everything = [held("b"), held("a")]
    found = in_start_order(everything, {"id-a": "id-b", "id-b": "id-a"})
    assert ["a", "b"] == [one.name for one in found]


# --- stopping and starting --------------------------------------------------------------


@dataclass
class Scripted:
    """An engine in memory; `failures` are what a call raises, one for each time it is made."""

    containers: dict[str, ContainerUse]
    failures: dict[str, list[str]] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    fleeting: frozenset[str] = frozenset()
    calls: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, *containers: ContainerUse, **settings: object) -> "Scripted":
        """Make one of containers."""
        return cls({one.id: one for one in containers}, **settings)  # type: ignore[arg-type]

    def _call(self, call: str) -> None:
        self.calls.append(call)
        if said := self.failures.get(call):
            raise ContainersError(said.pop(0))

    def all(self) -> tuple[ContainerUse, ...]:
        """List all."""
        return tuple(self.containers.values())

    def providers(self) -> Mapping[str, str]:
        """Share no network."""
        return {}

    def find(self, name: str) -> ContainerUse | None:
        """Find one."""
        return next((one for one in self.all() if name in {one.id, one.name}), None)

    def goes_when_stopped(self, container: str) -> bool:
        """Tell."""
        return container in self.fleeting

    def started_at(self, container: str) -> float | None:
        """Tell."""
        return self.started.get(container)

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        del seconds
        self._call(f"stop {container}")
        self.started.pop(container, None)

    def start(self, container: str) -> bool:
        """Start it."""
        self._call(f"start {container}")
        if container not in self.containers:
            return False
        self.started.setdefault(container, 1000.0)
        return True

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Remove it."""
        del seconds
        self._call(f"discard {name}")
        return True


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return a journal."""
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def how(
    is_stopping: Callable[[], bool] = lambda: False, waits: list[float] | None = None
) -> QuiesceContext:
    """Return circumstances in which nobody waits."""
    return QuiesceContext(5.0, (waits if waits is not None else []).append, is_stopping)


def names_left(journal: Journal) -> Sequence[str]:
    """Return what is still to be started."""
    return [one.name for one in journal.still_stopped()]


def test_what_is_chosen_runs_and_would_come_back() -> None:
    """One that is paused writes nothing; who is replaced or removed must not be stopped."""
    swarm = {"com.docker.swarm.service.name": "svc"}
    one, idle, paused = held("one"), held("idle", state="exited"), held("two", state="paused")
    engine = Scripted.of(one, idle, paused, held("task", swarm), fleeting=frozenset({"id-one"}))
    assert () == choose_stopped(engine, {"id-idle", "id-two"})
    assert () == choose_stopped(engine, ())
    with pytest.raises(StopFailed) as raised:
        choose_stopped(engine, {"id-one", "id-task"})
    assert "one would be removed" in raised.value.message
    assert "task belongs to the Swarm service svc" in raised.value.message


def test_one_that_cannot_be_stopped_lets_the_others_start_again(journal: Journal) -> None:
    """Nothing is backed up then; whether it stops all the same is left to the next start."""
    a, b, c = held("a"), held("b"), held("c")
    engine = Scripted.of(a, b, c, failures={"stop id-b": ["it hangs"]})
    engine.started = dict.fromkeys(engine.containers, 1.0)
    with (
        pytest.raises(ContainersError, match="nothing was backed up: it hangs") as raised,
        quiesced(engine, (a, b, c), journal, how()),
    ):
        pytest.fail("the block must not run")
    assert ["stop id-a", "stop id-b", "start id-a"] == engine.calls
    assert ["b"] == names_left(journal)
    assert "b is not sure to run again: it runs, but the engine may" in raised.value.message


def test_one_that_could_not_be_stopped_and_is_gone_or_stopped_is_started(journal: Journal) -> None:
    """Then there is nothing to be in doubt about."""
    a = held("a")
    engine = Scripted.of(a, failures={"stop id-a": ["it hangs"]})
    with pytest.raises(StopFailed), quiesced(engine, (a,), journal, how()):
        pytest.fail("the block must not run")
    assert ["stop id-a", "start id-a"] == engine.calls
    assert [] == names_left(journal)


def test_a_start_that_fails_is_tried_again_and_stops_no_other(journal: Journal) -> None:
    """What cannot be started for good is told, and left to the next start of ours."""
    a, b = held("a"), held("b")
    engine = Scripted.of(a, b, failures={"start id-b": ["busy"] * 3, "start id-a": ["busy"]})
    waits: list[float] = []
    with (
        pytest.raises(ContainersError, match="b is not sure to run again: busy"),
        quiesced(engine, (a, b), journal, how(waits=waits)),
    ):
        assert ["a", "b"] == names_left(journal)
    assert [*["start id-b"] * 3, *["start id-a"] * 2] == engine.calls[2:]
    assert [1.0, 3.0, 1.0] == waits
    assert ["b"] == names_left(journal)


def test_what_the_backup_raises_comes_out_when_everything_runs_again(journal: Journal) -> None:
    """Whatever it is."""
    a = held("a")
    engine = Scripted.of(a)
    with pytest.raises(KeyError), quiesced(engine, (a,), journal, how()):
        raise KeyError
    with (
        pytest.raises(ContainersError, match=r"^of the backup$"),
        quiesced(engine, (a,), journal, how()),
    ):
        raise ContainersError("of the backup")
    assert ["stop id-a", "start id-a"] * 2 == engine.calls
    assert [] == names_left(journal)


def test_who_is_asked_to_end_stops_no_further_container(journal: Journal) -> None:
    """Those that were stopped by then are started."""
    a, b = held("a"), held("b")
    engine = Scripted.of(a, b)
    with (
        pytest.raises(StopFailed, match="asked to end"),
        quiesced(engine, (a, b), journal, how(lambda: bool(engine.calls))),
    ):
        pytest.fail("the block must not run")
    assert ["stop id-a", "start id-a"] == engine.calls


def test_what_has_come_in_the_place_of_a_container() -> None:
    """The same name, else the same part of a project, else the name that it will have."""
    one = held("p-db-1", part_of("p", "db"))
    twin = held("p-database-1", part_of("p", "db"))
    coming = held("0123456789ab_p-db-1")
    other = held("p-web-1", part_of("p", "web"))
    assert one == find_replacement(one, "p-db-1", (coming, twin, one))
    assert twin == find_replacement(one, "p-db-1", (other, coming, twin))
    assert coming == find_replacement(one, "p-db-1", (other, coming))
    assert None is find_replacement(held("x"), "x", (held("y"), other))


# --- what was left ----------------------------------------------------------------------


def test_what_is_left_is_put_right_in_the_order_in_which_it_starts(journal: Journal) -> None:
    """First the container of the image ends; one that is gone has no place in the order."""
    app, db = held("app", part_of("p", "app", "db")), held("db", part_of("p", "db"))
    engine = Scripted.of(app, db)
    for name in ("app", "db", "gone"):
        journal.stopped(f"id-{name}", name)
    write_record(journal.path.parent, BackupRecord(5.0, "shot"))
    assert () == recover_leftovers(engine, journal)
    assert ["discard shot", "start id-db", "start id-app", "start id-gone"] == engine.calls
    assert [] == names_left(journal)
    assert None is read_record(journal.path.parent)


@pytest.mark.parametrize(
    ("record", "started", "calls"),
    [
        (BackupRecord(5.0, ""), 4.0, ["stop id-a", "start id-a"]),
        (BackupRecord(5.0, ""), 6.0, ["start id-a"]),
        (BackupRecord(5.0, ""), None, ["start id-a"]),
        (None, 6.0, ["stop id-a", "start id-a"]),
    ],
)
def test_one_that_may_be_stopping_right_now_is_settled(
    journal: Journal, record: BackupRecord | None, started: float | None, calls: list[str]
) -> None:
    """It is certain only of one that does not run, or was started since."""
    engine = Scripted.of(held("a"), started={} if started is None else {"id-a": started})
    journal.stopped("id-a", "a")
    if record is not None:
        write_record(journal.path.parent, record)
    assert () == recover_leftovers(engine, journal)
    assert calls == engine.calls


def test_what_cannot_be_started_is_told_and_stays_to_be_done(journal: Journal) -> None:
    """When the backup began is still needed then."""
    engine = Scripted.of(held("a"), failures={"start id-a": ["no port"]})
    journal.stopped("id-a", "a")
    write_record(journal.path.parent, BackupRecord(5.0, ""))
    (reason,) = recover_leftovers(engine, journal)
    assert "no port" in reason
    assert (["a"], BackupRecord(5.0, "")) == (names_left(journal), read_record(journal.path.parent))


def test_a_note_that_cannot_be_read_is_none_and_one_that_cannot_be_written_is_told(
    tmp_path: Path,
) -> None:
    """Without a note nothing may be stopped."""
    (tmp_path / FILE).write_text("half of")
    assert None is read_record(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        write_record(tmp_path / "none" / "none", BackupRecord(1.0, ""))


# --- the command ------------------------------------------------------------------------


def test_a_document_without_an_enabled_plan_is_no_backup(tmp_path: Path) -> None:
    """A backup of nothing must not look like one that went well."""
    config = tmp_path / "config.json"
    config.write_text('{"modno": 1, "version": 6, "instance": "i"}')
    with pytest.raises(UsageError, match="no enabled plan"):
        PlansStrategy(RunnerSettings(config), {}, lambda *_: None).prepare()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rcb-arg", "x"], "--rcb-arg is given without --rcb-image"),
        (["--rcb-image", "i", "--restic-path-prefix", "volumes"], "is not absolute"),
        (["--quiesce-timeout", "soon"], "no duration"),
        (["--rcb-image", "i", "--dry-run"], "needs the socket of the engine, not tcp"),
    ],
)
def test_flags_that_do_not_fit_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """Before anything is stopped."""
    monkeypatch.setattr(
        "sidecar.reconciler.observe.observe", lambda settings: (Inventory(), settings)
    )
    config = ["--config", str(tmp_path / "config.json"), "--docker-sock", "tcp://127.0.0.1:9"]
    with pytest.raises(SidecarError, match=said):
        backup_once.main([*config, *words], standalone_mode=False)


def test_an_engine_that_is_not_there_is_told_in_words() -> None:
    """Whatever it is asked."""
    with OneShotDocker("/nowhere/docker.sock") as engine:
        for ask in (engine.providers, engine.now, lambda: engine.pull("x")):
            with pytest.raises(ContainersError, match="no Docker engine at"):
                ask()
