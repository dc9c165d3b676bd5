"""The loop against an engine that does what a real one cannot be made to do."""

import gc
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.lib.clocks import Clocks
from sidecar.planner.propose import Planner
from sidecar.reconciler.apply.context import GoodPass
from sidecar.reconciler.loop import ReconcileLoop
from sidecar.reconciler.reconcile import Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.report import ReconcilerReport
from sidecar.reconciler.settings import Applying, ApplyVia, InventorySource, ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.trigger import DuePass
from tests.fakes.fake_docker import FakeDocker

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()
WEB, DB = "backrest_sidecar_web", "backrest_sidecar_db"
LABELS = {"backrest.enable": "true"}
EVERYTHING = DuePass(everything=True)
DOCUMENT: dict[str, Any] = {
    "modno": 3,
    "version": 6,
    "instance": "here",
    "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64}],
    "plans": [{"id": "mine", "repo": "r", "paths": ["/m"], "schedule": {"cron": "0 3 * * *"}}],
}


@dataclass
class Stream:
    """The event stream as far as the loop knows it."""

    is_connected: bool = True
    reopened: int = 0

    def reopen(self) -> None:
        """Count it."""
        self.reopened += 1


@dataclass
class Writer:
    """An applier that only says whether Backrest is the writer."""

    is_open: bool = True

    def is_backrest_writer(self) -> bool:
        """Tell it."""
        return self.is_open


@dataclass
class Bench:
    """A loop over a document, with an engine and clocks of its own."""

    config: Path
    engine: FakeDocker
    loops: list[ReconcileLoop] = field(default_factory=list)
    writer: Writer = field(default_factory=lambda: Writer(is_open=False))
    stream: Stream | None = None
    now: float = NOON
    good: GoodPass | None = None
    settings: ReconcilerSettings = field(init=False)

    def __post_init__(self) -> None:
        """Begin with a document, and a process."""
        self.write(DOCUMENT)
        self.settings = ReconcilerSettings(
            self.config, source=InventorySource(docker_sock=self.engine.address)
        )
        self.begin()

    @property
    def loop(self) -> ReconcileLoop:
        """The newest process."""
        return self.loops[-1]

    def begin(self, **options: Any) -> None:
        """Start anew, with the state that there is."""
        settings = ReconcilerSettings(self.config, source=self.settings.source, **options)
        self.memory = Memory(settings.state_directory)
        self.report = ReconcilerReport(lambda: self.now, lambda: self.now)
        clocks = Clocks(lambda: self.now, lambda: self.now)
        recorder = PassRecorder(self.memory, is_applied=settings.applying.enabled, clocks=clocks)
        self.reconciler = Reconciler(settings, {}, recorder)
        self.loops.append(
            ReconcileLoop(
                settings,
                self.reconciler,
                self.report,
                applier=self.writer,  # type: ignore[arg-type]
                events=self.stream,  # type: ignore[arg-type]
                clocks=clocks,
            )
        )

    def run(self, due: DuePass) -> bool:
        """Make a pass; return whether it was good."""
        self.good = self.loop.run(due).good
        return self.good is not None

    def add(self, name: str, labels: Mapping[str, str] = LABELS, **more: Any) -> str:
        """Create a container with a folder of its own."""
        mount = {"Type": "bind", "Source": f"/srv/{name}", "Destination": "/data"}
        return self.engine.add(name, labels, **{"mounts": [mount], **more})

    def write(self, document: Mapping[str, Any]) -> None:
        """Save the document as somebody else does."""
        self.config.write_text(json.dumps(document))

    def plans(self) -> dict[str, Any]:
        """Return the plans of the document, by id."""
        return {plan["id"]: plan for plan in json.loads(self.config.read_bytes())["plans"]}

    def edit(self, plan_id: str, **keys: Any) -> None:
        """Edit a plan as somebody else does."""
        document = json.loads(self.config.read_bytes())
        for plan in document["plans"]:
            if plan["id"] == plan_id:
                plan.update(keys)
        self.write(document)


def test_a_pass_tells_whether_anything_came_of_it(bench: Bench) -> None:
    """A start of a container changes nothing; a new one, and an edit that is undone, does."""

    def changes(*ids: str, everything: bool = False) -> bool:
        return bench.loop.run(DuePass(everything, frozenset(ids))).has_changed

    one = bench.add("web")
    assert changes(everything=True)
    bench.engine.set_state(one, "exited", "die")
    assert not changes(one)
    assert changes(bench.add("db"))
    bench.edit(WEB, paths=["/other"])
    assert changes()
    assert not changes()


def test_a_change_that_waits_is_logged_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """While Backrest is the writer each pass finds it again."""
    bench.writer.is_open = True
    bench.add("web")
    bench.run(EVERYTHING)
    bench.add("db")
    bench.run(EVERYTHING)
    bench.run(EVERYTHING)
    rendered = [fields_of(r)["plan"] for r in caplog.records if r.message == "plan.rendered"]
    assert [WEB, DB] == rendered


def test_a_sight_of_our_own_write_is_known_as_such(bench: Bench) -> None:
    """By device, inode, size and both times; anything that others do makes it another."""
    assert not bench.reconciler.is_own_write(())
    before = _state(bench.config)
    assert not bench.reconciler.is_own_write(before)
    bench.add("web")
    bench.run(EVERYTHING)
    assert bench.reconciler.is_own_write(_state(bench.config))
    bench.config.chmod(0o640)
    assert not bench.reconciler.is_own_write(_state(bench.config))
    bench.run(EVERYTHING)
    bench.edit(WEB, paths=["/other"])
    assert not bench.reconciler.is_own_write(_state(bench.config))


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_dev, found.st_ino, found.st_size, *times)


@pytest.fixture
def bench(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    """Return a bench; what it says is kept from INFO on."""
    caplog.set_level(logging.INFO)
    with FakeDocker() as engine:
        made = Bench(tmp_path / "config.json", engine)
        yield made
        for loop in made.loops:
            loop.close()


def events(caplog: pytest.LogCaptureFixture, *names: str) -> list[str]:
    """The events of these names that were logged, in order."""
    return [record.message for record in caplog.records if record.message in names]


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The fields of an event that was logged."""
    fields: dict[str, object] = vars(record).get("fields", {})
    return fields


def stall(bench: Bench) -> None:
    """Let the engine say nothing, and have little patience with that."""
    bench.loop._docker.client.timeout = 0.3
    bench.engine.stall()


def half_a_list(bench: Bench) -> None:
    """Let the engine end its list in the middle of a container."""
    bench.engine.containers["broken"] = {"Id": "broken", "Names": ["/broken"], "Labels": [1]}
    bench.engine.containers["broken"]["Created"] = 0


TROUBLES: dict[str, Callable[[Bench], None]] = {
    "500 for all": lambda bench: bench.engine.refusals.update({"": 500}),
    "500 for the volumes": lambda bench: bench.engine.refusals.update({"/volumes": 500}),
    "429": lambda bench: bench.engine.refusals.update({"": 429}),
    "no answer": stall,
    "half a list": half_a_list,
    "gone": lambda bench: bench.engine.vanish(),
}


def heal(bench: Bench) -> None:
    """Let the engine be well again."""
    bench.engine.refusals.clear()
    bench.engine.containers.pop("broken", None)
    bench.engine.resume()
    if bench.engine._server is None:
        bench.engine.appear()


# The client library leaves a unix socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_pass_is_void_while_the_engine_is_unwell(
    trouble: str, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is written, each reason is told once, and the next pass heals."""
    bench.add("web")
    assert bench.run(EVERYTHING)
    before = bench.config.read_bytes()
    gone = bench.engine.containers.popitem()
    bench.add("db")
    TROUBLES[trouble](bench)

    assert [False] * 4 == [bench.run(EVERYTHING) for _ in range(4)]

    assert before == bench.config.read_bytes()
    reasons = [
        fields_of(record)["reason"] for record in caplog.records if record.levelno > logging.INFO
    ]
    # What fails first is a list, and then the question for the version that comes before it.
    assert 1 <= len(reasons) == len(set(reasons)) <= 2
    assert bench.report.snapshot().docker is False
    heal(bench)
    bench.engine.containers[gone[0]] = gone[1]
    assert bench.run(EVERYTHING)
    assert {WEB, DB, "mine"} == bench.plans().keys()
    assert ["engine.back"] == events(caplog, "engine.back")
    assert bench.report.snapshot().docker is True
    gc.collect()


def test_an_empty_engine_takes_nothing_away(bench: Bench) -> None:
    """All containers gone at once: the plans stand, and that is held for an accident."""
    names = ("web", "db", "cache")
    ids = [bench.add(name) for name in names]
    assert bench.run(EVERYTHING)
    before = bench.config.read_bytes()
    for identity in ids:
        bench.engine.remove(identity)
    bench.now += 30 * 86400

    assert bench.run(EVERYTHING)

    assert before == bench.config.read_bytes()
    assert bench.report.snapshot().are_orphans_held


def test_another_engine_voids_passes_until_it_is_accepted(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The containers of another engine say nothing about the plans; it is told what to do."""
    bench.add("web")
    assert bench.run(EVERYTHING)
    before = bench.config.read_bytes()
    bench.engine.identity = "ANOTHER:ENGINE"
    bench.add("db")

    assert not bench.run(EVERYTHING)
    bench.begin()
    assert not bench.run(EVERYTHING)

    assert before == bench.config.read_bytes()
    assert "reconcile --accept-engine" in str(fields_of(caplog.records[-1])["reason"])
    other = Memory(bench.settings.state_directory)
    other.change(engine_id="ANOTHER:ENGINE")
    assert bench.run(EVERYTHING)
    assert DB in bench.plans()


def test_another_engine_is_not_looked_at_by_an_event_either(bench: Bench) -> None:
    """Also what an event of another engine names is not written before it is accepted."""
    bench.add("web")
    assert bench.run(EVERYTHING)
    before = bench.config.read_bytes()
    bench.engine.identity = "ANOTHER:ENGINE"
    assert not bench.run(EVERYTHING)

    named = bench.add("db")
    bench.run(DuePass(everything=False, ids=frozenset({named})))

    assert before == bench.config.read_bytes()


def test_event_looks_at_its_container_only(bench: Bench) -> None:
    """One filtered call, and one for an image that is new; then the plan stands."""
    assert bench.run(EVERYTHING)
    named = bench.add("web")
    bench.engine.calls.clear()

    assert bench.run(DuePass(everything=False, ids=frozenset({named})))

    assert WEB in bench.plans()
    assert ["GET /containers/json", "GET /images/sha256:01/json"] == sorted(bench.engine.calls)
    assert {1} == set(bench.engine.calls.values())


def test_event_of_a_container_that_is_gone_is_no_failure(bench: Bench) -> None:
    """It came and went before we looked."""
    assert bench.run(EVERYTHING)
    named = bench.add("web")
    bench.engine.remove(named)

    assert bench.run(DuePass(everything=False, ids=frozenset({named})))

    assert ["mine"] == list(bench.plans())


def test_event_of_a_container_with_an_unknown_volume_asks_for_that_volume(bench: Bench) -> None:
    """Without its options a network volume would look like a folder."""
    assert bench.run(EVERYTHING)
    bench.engine.add_volume("share", type="nfs", device=":/export")
    bench.engine.add_volume("data")
    named = bench.add(
        "web",
        mounts=[
            {"Type": "volume", "Name": name, "Source": "", "Destination": f"/{name}"}
            for name in ("share", "data")
        ],
    )

    assert bench.run(DuePass(everything=False, ids=frozenset({named})))

    assert ["/var/lib/docker/volumes/data/_data"] == bench.plans()[WEB]["paths"]
    assert 1 == bench.engine.calls["GET /volumes/share"]


def test_event_while_the_engine_is_unwell_is_made_up_for(bench: Bench) -> None:
    """What the event named is found by the look at everything that follows."""
    assert bench.run(EVERYTHING)
    named = bench.add("web")
    bench.engine.refusals["/containers"] = 500
    assert not bench.run(DuePass(everything=False, ids=frozenset({named})))
    bench.engine.refusals.clear()

    assert bench.run(EVERYTHING)

    assert WEB in bench.plans()


def test_deaf_stream_is_opened_anew(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A change that one resync found and nobody announced until the next was kept back."""
    stream = bench.stream = Stream()
    bench.begin()
    assert bench.run(EVERYTHING)
    bench.add("web")

    assert bench.run(EVERYTHING)
    assert 0 == stream.reopened
    assert bench.run(EVERYTHING)

    assert 1 == stream.reopened
    assert ["events.deaf"] == events(caplog, "events.deaf")
    assert WEB in bench.plans()


@pytest.mark.parametrize(
    ("is_connected", "reasons"), [(False, frozenset()), (True, frozenset({"everything"}))]
)
def test_nothing_is_missed_while_nobody_listened(
    bench: Bench, is_connected: bool, reasons: frozenset[str]
) -> None:
    """After a time without the stream, changes are found and nobody is blamed."""
    stream = bench.stream = Stream(is_connected)
    bench.begin()
    for name in ("web", "db", "cache"):
        bench.add(name)
        assert bench.run(DuePass(everything=True, reasons=reasons))

    assert 0 == stream.reopened


@pytest.mark.parametrize("content", ["", "{", '{"version": 6, "plans": 3}', "null", None])
def test_document_that_is_broken_is_a_state_that_heals(
    bench: Bench, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Missing, empty or torn: it is told once and left alone; when it is good, plans come."""
    bench.add("web")
    if content is None:
        bench.config.unlink()
    else:
        bench.config.write_text(content)

    assert [False, False] == [bench.run(EVERYTHING) for _ in range(2)]

    assert content == (bench.config.read_text() if bench.config.exists() else None)
    assert ["document.broken"] == events(caplog, "document.broken", "reconcile.failed")
    assert bench.report.snapshot().document is False
    bench.write(DOCUMENT)
    assert bench.run(DuePass(everything=False, reasons=frozenset({"document"})))
    assert {WEB, "mine"} == bench.plans().keys()
    assert ["document.good"] == events(caplog, "document.good")


def test_drift_is_put_back_three_times_and_then_contested(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever insists wins for an hour; then the labels are asserted once more."""
    bench.add("web")
    assert bench.run(EVERYTHING)
    for _ in range(3):
        bench.edit(WEB, paths=["/else"])
        bench.now += 30
        assert bench.run(DuePass(everything=False))
        assert ["/srv/web"] == bench.plans()[WEB]["paths"]
    bench.edit(WEB, paths=["/else"])
    bench.now += 30
    assert bench.run(DuePass(everything=False))

    assert ["/else"] == bench.plans()[WEB]["paths"]
    assert ["plan.drift"] * 3 == events(caplog, "plan.drift")
    assert ["plan.contested"] == events(caplog, "plan.contested")
    assert {(WEB, "paths")} == bench.report.snapshot().contested
    assert 3 == bench.report.snapshot().drifts
    bench.now += 3600
    assert [True, True] == [bench.run(EVERYTHING) for _ in range(2)]
    assert ["/srv/web"] == bench.plans()[WEB]["paths"]


def test_contested_key_is_asserted_when_the_runner_was_restarted(bench: Bench) -> None:
    """Who held on to the old value has read the new one."""
    bench.add("web")
    assert bench.run(EVERYTHING)
    for _ in range(4):
        bench.edit(WEB, paths=["/else"])
        assert bench.run(DuePass(everything=False))
    assert ["/else"] == bench.plans()[WEB]["paths"]

    assert bench.run(DuePass(everything=False, reasons=frozenset({"restarted"})))

    assert ["/srv/web"] == bench.plans()[WEB]["paths"]


def test_runner_that_was_named_and_never_seen_lets_new_plans_wait(bench: Bench) -> None:
    """Nobody knows what it sees; when it appears, its mounts are used and remembered."""
    bench.begin(runner_named=True)
    bench.add("web")
    assert bench.run(EVERYTHING)
    assert ["mine"] == list(bench.plans())

    mount = {"Type": "bind", "Source": "/srv", "Destination": "/host"}
    runner = bench.engine.add("backrest", mounts=[mount])
    assert bench.run(EVERYTHING)
    assert ["/host/web"] == bench.plans()[WEB]["paths"]

    bench.engine.remove(runner)
    bench.begin(runner_named=True)
    bench.add("db")
    assert bench.run(EVERYTHING)
    assert ["/host/web"] == bench.plans()[WEB]["paths"]
    assert ["/host/db"] == bench.plans()[DB]["paths"]


def test_nothing_is_written_to_the_file_while_backrest_is_the_writer(bench: Bench) -> None:
    """What is wanted goes to the applier; when the API is silent, the file is written."""
    bench.begin(applying=Applying(enabled=True, via=ApplyVia.API))
    bench.writer.is_open = True
    before = bench.config.stat()
    bench.add("web")

    assert bench.run(EVERYTHING)

    assert before == bench.config.stat()
    assert ["config.json"] == sorted(p.name for p in bench.config.parent.iterdir() if p.is_file())
    good = bench.good
    assert good is not None
    proposal = Planner().propose(bench.config.read_bytes(), good.desired)
    assert (NOON, {WEB}) == (good.changed_at, {plan.id for plan in proposal.rendered.plans})
    assert [WEB] == [item.plan_id for item in good.workloads]
    bench.writer.is_open = False
    assert bench.run(EVERYTHING)
    assert WEB in bench.plans()


def test_a_wish_keeps_its_time_until_it_differs(bench: Bench) -> None:
    """Or else nothing would ever settle."""
    bench.begin(applying=Applying(enabled=True, via=ApplyVia.API))
    bench.writer.is_open = True
    bench.add("web")
    since = []
    for number in range(4):
        if number == 3:
            bench.add("db")
        assert bench.run(EVERYTHING)
        assert bench.good is not None
        since.append(bench.good.changed_at - NOON)
        bench.now += 5

    assert [0, 0, 0, 15] == since


def test_state_that_cannot_be_written_stops_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, and kept in mind."""
    bench.settings.state_directory.write_text("a file is in the way")
    bench.add("web")

    assert [True, True] == [bench.run(EVERYTHING) for _ in range(2)]

    assert WEB in bench.plans()
    assert ["state.not-saved"] == events(caplog, "state.not-saved")


def test_secrets_of_labels_are_not_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is told of a pass, no value of a label is."""
    bench.add("web", {**LABELS, "backrest.notify": "slack:https://hooks.example/T0P/S3CRET"})
    assert bench.run(EVERYTHING)
    bench.edit(WEB, paths=["/else"])
    assert bench.run(EVERYTHING)

    told = " ".join(f"{record.message} {vars(record)}" for record in caplog.records)
    assert "plan.drift" in told
    assert "S3CRET" not in told
