"""The report: facts from many threads, one consistent view, and a quiet log."""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.docker.models import Container, Inventory, Mount
from sidecar.lib.errors import DocumentError, InventoryError, SidecarError, StoreError
from sidecar.reconciler.reconcile import PassOutcome, Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.report import (
    BUCKETS,
    ApplyResult,
    ReconcileResult,
    ReconcilerReport,
    ReconcilerStatus,
    WorkloadFacts,
)
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.service.health import HealthAspect
from tests.fakes.log_listener import Listener

NOW = 1_780_000_000.0
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
Line = tuple[str, dict[str, object]]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class World:
    """A report with clocks, a document with a repository, and all that was logged."""

    def __init__(self, folder: Path, records: list[logging.LogRecord]) -> None:
        self.wall, self.monotonic = Clock(NOW), Clock(50.0)
        self.report = ReconcilerReport(self.wall, self.monotonic, 60.0)
        self.config = folder / "config.json"
        repo = {"id": "main", "uri": "/backups", "guid": "a" * 64, "password": "x"}
        self.config.write_text(
            json.dumps({"modno": 1, "version": 6, "instance": "i", "repos": [repo]})
        )
        self._records = records

    def reconcile(self, **labelled: dict[str, str]) -> PassOutcome:
        """Make a real pass over containers with these labels."""
        mounts = (Mount("bind", "/srv/web", "/data"),)
        inventory = Inventory(
            tuple(
                Container(
                    name,
                    name,
                    labels={f"backrest.{k}": v for k, v in labels.items()},
                    mounts=mounts,
                )
                for name, labels in labelled.items()
            )
        )
        return Reconciler(
            ReconcilerSettings(self.config), {}, PassRecorder(Memory(None)), is_from_docker=False
        ).run(ReconcilerSettings(self.config), inventory, NOON)

    def done(self, outcome: PassOutcome, seconds: float = 0.02) -> None:
        """Report it as done."""
        self.report.pass_done(outcome, seconds, self.wall.now)

    def said(self) -> list[Line]:
        """What was logged since this was asked last: event and fields."""
        lines = [(record.getMessage(), vars(record)["fields"]) for record in self._records]
        self._records.clear()
        return lines

    def events(self) -> list[str]:
        """The names of it."""
        return [event for event, _ in self.said()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A report in a world of its own, whose log is listened to."""
    records: list[logging.LogRecord] = []
    listener = Listener(records)
    logger = logging.getLogger("sidecar.reconciler.report")
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    yield World(tmp_path, records)
    logger.removeHandler(listener)
    logger.setLevel(before)


WEB = {"enable": "true", "repo": "main"}


# Passes


def test_before_the_first_pass_the_daemon_lives_and_is_not_ready(world: World) -> None:
    """Everything has a value from the start."""
    facts = world.report.snapshot()
    assert (True, ("no pass has ended yet",)) == (
        facts.health.is_alive,
        facts.health.against(HealthAspect.READY),
    )
    assert (None, NOW, 0.0) == (facts.good_age, facts.now, facts.uptime)
    assert [] == world.said()


def test_a_good_pass_gives_plans_workloads_and_time(world: World) -> None:
    """Changed is one that wrote, unchanged one that had nothing to write."""
    world.done(world.reconcile(web=WEB, db=WEB))
    world.done(world.reconcile(web=WEB, db=WEB))
    world.monotonic.now += 7
    facts = world.report.snapshot()
    assert () == facts.health.against(HealthAspect.READY)
    assert {"changed": 1, "unchanged": 1, "failed": 0} == facts.reconciles
    assert (2, 7.0) == (facts.plans, facts.good_age)
    assert (
        WorkloadFacts("db", "backrest_sidecar_db", ("path.shared",)),
        WorkloadFacts("web", "backrest_sidecar_web", ("path.shared",)),
    ) == facts.workloads


def test_a_blocked_workload_counts_as_a_plan_only_if_one_stands(world: World) -> None:
    """The number of plans is that in the document."""
    world.done(world.reconcile(web=WEB))
    world.done(world.reconcile(web={**WEB, "keep": "no"}, db={**WEB, "keep": "no"}))
    assert 1 == world.report.snapshot().plans


def test_a_pass_falls_into_all_buckets_that_hold_it(world: World) -> None:
    """A bound belongs to its bucket; the last bucket holds everything."""
    outcome = world.reconcile(web=WEB)
    for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, 1000.0):
        world.done(outcome, seconds)
    facts = world.report.snapshot()
    assert (2, 3) == facts.passes[:2]
    assert (3, 4) == facts.passes[-2:]
    assert 1000.00201 == pytest.approx(facts.pass_seconds)


def test_hints_are_kept_as_words_only(world: World) -> None:
    """What names a file, an address or anything else is not for everyone."""
    outcome = world.reconcile(web=WEB)
    hints = ("event", "resync", "event", "/srv/x", "tcp://me:pw@h", "a" * 40, "Über")
    world.report.pass_done(outcome, 0.1, NOW, hints)
    last = world.report.snapshot().last_pass
    assert last is not None
    assert ("event", "resync") == last.hints
    assert (NOW, 0.1, ReconcileResult.UNCHANGED) == (
        last.at,
        last.seconds,
        ReconcileResult.UNCHANGED,
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InventoryError("tcp://h: refused"), "the containers could not be listed"),
        (DocumentError("/c.json: bad"), "the document is none that Backrest would load"),
        (StoreError("/c.json: denied"), "the document could not be read or replaced"),
        (SidecarError("odd"), "its log says why"),
    ],
)
def test_a_failed_pass_is_told_in_words_of_ours(
    world: World, error: SidecarError, words: str
) -> None:
    """The message, which names files and addresses, goes to the log alone."""
    world.done(world.reconcile(web=WEB))
    world.said()
    world.monotonic.now += 5
    world.report.pass_failed(error, NOW, 0.5)
    facts = world.report.snapshot()
    assert (f"the last pass failed: {words}",) == facts.health.against(HealthAspect.READY)
    assert (1, 5.0, 1) == (facts.reconciles["failed"], facts.good_age, facts.plans)
    assert [("reconcile.failed", {"reason": error.message})] == world.said()


def test_a_failure_that_goes_on_is_logged_once_and_its_end_too(world: World) -> None:
    """And the same failure, after a good pass, again."""
    outcome = world.reconcile(web=WEB)
    for _ in range(2):
        for _ in range(3):
            world.report.pass_failed(StoreError("full", "make room"), NOW, 0.1)
        world.report.pass_done(outcome, 0.1, NOW)
        world.report.pass_done(outcome, 0.1, NOW)
        lines = [line for line in world.said() if line[0].startswith("reconcile")]
        assert [
            ("reconcile.failed", {"reason": "full", "hint": "make room"}),
            ("reconcile.recovered", {}),
        ] == lines


def test_what_the_engine_was_told_of_is_not_told_of_the_pass_again(world: World) -> None:
    """One situation, one line; with or without its hint."""
    error = InventoryError("nobody answers", "start the engine")
    for reason in (error.message, str(error)):
        world.report.docker(False, reason)
        world.report.pass_failed(error, NOW, 0.1)
        world.report.docker(True)
        assert ["engine.lost", "engine.back"] == world.events()


def test_a_reason_that_never_repeats_cannot_flood_the_log(world: World) -> None:
    """After a few of them there is silence until the end."""
    for number in range(100):
        world.report.pass_failed(StoreError(f"attempt {number}"), NOW, 0.1)
    assert 8 == len(world.said())


# Liveness


def test_a_loop_that_does_not_move_is_not_alive(world: World) -> None:
    """Three intervals and half a minute, by the clock that nobody sets."""
    world.done(world.reconcile(web=WEB))
    world.wall.now += 1e6
    world.monotonic.now += 210
    assert world.report.snapshot().health.is_alive
    world.monotonic.now += 1
    facts = world.report.snapshot()
    assert (False, ("the main loop has not moved for 3 min",)) == (
        facts.health.is_alive,
        facts.health.against(HealthAspect.READY),
    )
    facts = world.report.beat(next_resync=world.wall.now + 60)
    assert (True, (), world.wall.now + 60) == (
        facts.health.is_alive,
        facts.health.against(HealthAspect.READY),
        facts.next_resync,
    )


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"uptime": 1000.0, "good_uptime": 790.0}, ()),
        ({"uptime": 1000.0, "good_uptime": 789.0}, ("211 s since the last good pass",)),
        ({"uptime": 210.0}, ()),
        ({"uptime": 1000.0}, ("1000 s since the start, without a good pass",)),
        ({"interval": 600.0, "uptime": 2800.0, "good_uptime": 1000.0}, ()),
    ],
)
def test_healthy_is_a_good_pass_or_a_late_start(
    known: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """Each within three intervals and half a minute; a daemon that is only not ready heals."""
    status = ReconcilerStatus(docker=False, **known)
    assert expected == status.health.against(HealthAspect.HEALTHY)
    assert not status.health.is_ready


def test_stopping_is_not_ready(world: World) -> None:
    """Though it is alive."""
    world.done(world.reconcile(web=WEB))
    world.report.stopping()
    facts = world.report.snapshot()
    assert (True, ("it is stopping",)) == (
        facts.health.is_alive,
        facts.health.against(HealthAspect.READY),
    )


# Situations


def test_engine_and_document_are_told_when_they_change(world: World) -> None:
    """Good news only after bad ones; each reason once while it goes on."""
    for tell, lost, back in (
        (world.report.docker, "engine.lost", "engine.back"),
        (world.report.document, "document.broken", "document.good"),
    ):
        tell(True)
        assert [] == world.said()
        for reason in ("a", "a", "b", "a", "b"):
            tell(False, reason)
        tell(True)
        tell(True)
        assert [(lost, {"reason": "a"}), (lost, {"reason": "b"}), (back, {})] == world.said()


def test_a_lost_engine_and_a_broken_document_are_not_ready(world: World) -> None:
    """Until they heal."""
    world.done(world.reconcile(web=WEB))
    world.report.docker(False, "x")
    world.report.document(False, "y")
    assert (
        "the engine is not connected",
        "the document is missing, empty or broken",
    ) == world.report.snapshot().health.against(HealthAspect.READY)
    world.report.docker(True)
    world.report.document(True)
    assert () == world.report.snapshot().health.against(HealthAspect.READY)


def test_a_runner_that_was_never_seen_is_told_once(world: World) -> None:
    """It does not make the daemon unready: plans that are there stay as they are."""
    world.done(world.reconcile(web=WEB))
    world.said()
    for known in (False, False, True, True):
        world.report.backrest(known, NOW if known else None, "backrest")
    assert ["runner.unknown", "runner.known"] == world.events()
    facts = world.report.snapshot()
    assert () == facts.health.against(HealthAspect.READY)
    assert facts.backrest is not None
    assert ("backrest", True, NOW) == (
        facts.backrest.name,
        facts.backrest.is_known,
        facts.backrest.seen_at,
    )


def test_a_problem_is_logged_when_it_appears_and_when_it_goes(world: World) -> None:
    """Once, however many passes find it; after it went and came back, again."""
    bad = {**WEB, "keep": "no"}
    for _ in range(2):
        for _ in range(3):
            world.done(world.reconcile(web=bad))
        ((event, fields),) = world.said()
        assert "problem.appeared" == event
        assert {"reason", "workload", "label", "hint"} == fields.keys()
        assert ("keep.invalid", "web") == (fields["reason"], fields["workload"])
        assert 1 == world.report.snapshot().problems["keep.invalid"]
        world.done(world.reconcile(web=WEB))
        place = {"reason": "keep.invalid", "workload": "web", "label": "backrest.keep"}
        assert [("problem.gone", place)] == world.said()
        assert 0 == sum(world.report.snapshot().problems.values())


def test_a_failed_pass_says_nothing_of_problems(world: World) -> None:
    """They are unknown then, not gone."""
    bad = {**WEB, "keep": "no"}
    world.done(world.reconcile(web=bad))
    world.said()
    world.report.pass_failed(StoreError("full"), NOW, 0.1)
    world.done(world.reconcile(web=bad))
    assert ["reconcile.failed", "reconcile.recovered"] == world.events()
    assert 1 == world.report.snapshot().problems["keep.invalid"]


def test_a_storm_of_problems_is_cut(world: World) -> None:
    """A hundred lines, and how many more there would be."""
    world.done(world.reconcile(**{f"c{n}": {**WEB, "repo": "gone"} for n in range(130)}))
    lines = world.said()
    assert (101, ("log.more", {"lines": 30})) == (len(lines), lines[-1])


def test_orphans_are_told_when_they_come_and_go(world: World) -> None:
    """With the time since when; held ones once, with what to do."""
    world.report.orphans({}, False)
    assert [] == world.said()
    for _ in range(2):
        world.report.orphans({"a": NOW, "b": NOW}, True)
    lines = world.said()
    since = "2026-05-28T20:26:40+00:00"
    assert [("plan.orphaned", {"plan": plan, "since": since}) for plan in "ab"] == lines[:2]
    ((event, fields),) = lines[2:]
    assert ("orphans.held", True) == (event, "--accept-orphans" in str(fields["hint"]))
    world.report.orphans({"a": NOW}, False)
    assert [("plan.orphan-gone", {"plan": "b"}), ("orphans.released", {})] == world.said()
    facts = world.report.snapshot()
    assert ({"a": NOW}, False) == (facts.orphans, facts.are_orphans_held)


def test_contested_keys_are_told_when_they_come_and_go(world: World) -> None:
    """Each pair once."""
    for pairs in ([("p", "paths")], [("p", "paths"), ("p", "hooks")], [("p", "hooks")]):
        world.report.contested(pairs)
        world.report.contested(pairs)
    assert [
        ("plan.contested", {"plan": "p", "key": "paths"}),
        ("plan.contested", {"plan": "p", "key": "hooks"}),
        ("plan.uncontested", {"plan": "p", "key": "paths"}),
    ] == world.said()
    assert {("p", "hooks")} == world.report.snapshot().contested


# Counts


def test_drift_is_counted_by_key_and_forgotten_from_the_oldest_on(world: World) -> None:
    """The total stays right; the pass itself logs drift."""
    world.report.drift("p", "paths")
    world.wall.now += 9
    world.report.drift("p", "paths")
    assert {("p", "paths"): (2, NOW + 9)} == world.report.snapshot().drift
    for number in range(300):
        world.report.drift(f"q{number}", "hooks")
    facts = world.report.snapshot()
    assert (256, 302) == (len(facts.drift), facts.drifts)
    assert ("q44", "hooks") == next(iter(facts.drift))
    assert [] == world.said()


def test_applies_are_counted_by_result(world: World) -> None:
    """A state that lasts counts once; who applies logs it."""
    for result in ("waiting", "waiting", "failed", "failed", "waiting", "applied", "applied"):
        world.wall.now += 1
        world.report.applied(result, world.wall.now)
    facts = world.report.snapshot()
    assert {"waiting": 2, "failed": 2, "applied": 2} == {
        r: n for r, n in facts.applies.items() if n
    }
    assert (ApplyResult.APPLIED, NOW + 7) == facts.apply
    assert [] == world.said()


def test_an_unknown_result_of_an_apply_is_an_error(world: World) -> None:
    """There is no series for it."""
    with pytest.raises(ValueError, match="sideways"):
        world.report.applied("sideways", NOW)


def test_starts_of_the_guard_are_counted(world: World) -> None:
    """Whoever started them logs them."""
    world.report.guarded(2)
    world.report.guarded(1)
    assert (3, []) == (world.report.snapshot().guarded, world.said())


def test_many_threads_lose_no_count(world: World) -> None:
    """While others take snapshots, which are consistent."""
    seen: list[tuple[int, int]] = []

    def count() -> None:
        for _ in range(200):
            world.report.drift("p", "paths")
            world.report.guarded(1)
            facts: Any = world.report.snapshot()
            seen.append((facts.drifts, facts.drift[("p", "paths")][0]))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    facts = world.report.snapshot()
    assert (800, 800) == (facts.drifts, facts.guarded)
    assert [] == [pair for pair in seen if pair[0] != pair[1]]
