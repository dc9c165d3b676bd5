"""What is done about a plan whose paths have become empty."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.reading import Config, RunPlan
from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container, ContainerState, Mount
from sidecar.engines.base import EngineError, FailureClass, Snapshot
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.empty_source import (
    EmptySourceAction,
    EmptySourceFacts,
    EmptySourceGuard,
    PathState,
    decide,
    devices_to_record,
    observe,
)
from sidecar.runner.journal import Device, Journal, RunOutcome
from sidecar.runner.settings import EmptySourceOptions
from sidecar.runner.union import only_config
from tests.fakes.made_engines import MadeEngines

EMPTY = PathState("/data", exists=True, is_empty=True, device=1)
FULL = replace(EMPTY, is_empty=False)
MISSING = replace(EMPTY, exists=False)
UNREADABLE = replace(EMPTY, is_empty=None)
HELD = {"/data": Device(1, non_empty=True)}
NEVER_HELD = {"/data": Device(1, non_empty=False)}
ELSEWHERE = {"/data": Device(2, non_empty=True)}

MADE = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_BEFORE = datetime(2025, 1, 1, tzinfo=UTC).timestamp()

# seen, recorded, whether a snapshot holds a file
ALONE = [
    ("a full path is normal", [FULL], HELD, True, EmptySourceAction.NORMAL),
    (
        "one full path of two is enough",
        [EMPTY, replace(FULL, path="/b")],
        HELD,
        True,
        EmptySourceAction.NORMAL,
    ),
    ("what cannot be looked into is not empty", [UNREADABLE], HELD, True, EmptySourceAction.NORMAL),
    ("a plan without paths is normal", [], HELD, True, EmptySourceAction.NORMAL),
    ("an empty repository is no failure", [EMPTY], {}, False, EmptySourceAction.NORMAL),
    ("nothing to restore, whatever was recorded", [EMPTY], HELD, False, EmptySourceAction.NORMAL),
    ("was always empty", [EMPTY], NEVER_HELD, False, EmptySourceAction.NORMAL),
    (
        "empty since the last backup, which saved files all the same",
        [EMPTY],
        NEVER_HELD,
        True,
        EmptySourceAction.NORMAL,
    ),
    ("became empty", [EMPTY], HELD, True, EmptySourceAction.RESTORE),
    ("empty on a new machine", [EMPTY], {}, True, EmptySourceAction.RESTORE),
    ("empty on another disk", [EMPTY], ELSEWHERE, True, EmptySourceAction.ALARM),
    ("missing where it was", [MISSING], HELD, True, EmptySourceAction.RESTORE),
    ("missing, and its disk too", [MISSING], ELSEWHERE, True, EmptySourceAction.ALARM),
    ("missing, and never seen", [MISSING], {}, True, EmptySourceAction.ALARM),
    (
        "one of two empty paths is on another disk",
        [EMPTY, PathState("/b", exists=True, is_empty=True, device=3)],
        {**HELD, "/b": Device(4, non_empty=True)},
        True,
        EmptySourceAction.ALARM,
    ),
    (
        "both of two paths are empty",
        [EMPTY, PathState("/b", exists=False, is_empty=True, device=1)],
        {**HELD, "/b": Device(1, non_empty=True)},
        True,
        EmptySourceAction.RESTORE,
    ),
    (
        "a record of an empty path says nothing of its disk",
        [EMPTY, replace(EMPTY, path="/b", device=7)],
        {**HELD, "/b": Device(8, non_empty=False)},
        True,
        EmptySourceAction.RESTORE,
    ),
]


@pytest.mark.parametrize(
    ("seen", "recorded", "is_saved", "action"),
    [case[1:] for case in ALONE],
    ids=[case[0] for case in ALONE],
)
def test_a_wanted_restore_happens_only_where_it_is_safe(
    seen: list[PathState],
    recorded: dict[str, Device],
    is_saved: bool,
    action: EmptySourceAction,
) -> None:
    """All paths empty, where they were, and something to restore."""
    found = decide(EmptySourceFacts(seen, recorded, is_saved))

    assert action is found.action
    assert bool(found.reason) == (
        action is not EmptySourceAction.NORMAL or (not is_saved and bool(seen))
    )


def test_a_container_that_uses_the_path_is_in_the_way() -> None:
    """Unless it may be stopped; it is named."""
    now = EmptySourceFacts([EMPTY], HELD, True, users=["web"])

    assert EmptySourceAction.ALARM is decide(now).action
    assert "web runs and uses that" in decide(now).reason
    assert EmptySourceAction.RESTORE is decide(replace(now, may_stop=True)).action


def test_who_uses_the_path_has_to_be_known() -> None:
    """Unknown is never the same as nobody, whatever may be stopped."""
    now = EmptySourceFacts([EMPTY], HELD, True, trouble="no answer", may_stop=True)

    assert EmptySourceAction.ALARM is decide(now).action
    assert "no answer" in decide(now).reason


def test_of_many_paths_the_first_are_named() -> None:
    """A reason fits into a line."""
    seen = [replace(EMPTY, path=f"/{number}") for number in range(9)]

    reason = decide(EmptySourceFacts(seen, {}, True)).reason

    assert "/0, /1, /2 and 6 more are empty, but held data at an earlier backup" == reason


SEEN = st.builds(
    PathState,
    st.sampled_from(["/a", "/b", "/c"]),
    st.booleans(),
    st.sampled_from([True, False, None]),
    st.integers(1, 3),
)
RECORDED = st.dictionaries(
    st.sampled_from(["/a", "/b", "/c"]), st.builds(Device, st.integers(1, 3), st.booleans())
)


@given(
    st.builds(
        EmptySourceFacts,
        st.lists(SEEN, max_size=3, unique_by=lambda one: one.path),
        RECORDED,
        st.booleans(),
        st.sampled_from([(), ("web",)]),
        st.sampled_from(["", "no answer"]),
        st.booleans(),
    )
)
def test_no_restore_is_ever_unsafe(now: EmptySourceFacts) -> None:
    """It needs only empty paths, each where it was, a snapshot, and nobody at work."""
    if decide(now).action is not EmptySourceAction.RESTORE:
        return
    assert now.is_saved
    assert not now.trouble
    assert now.may_stop or not now.users
    for one in now.seen:
        known = now.recorded.get(one.path)
        assert one.is_empty or not one.exists
        assert one.exists or (known is not None and known.device == one.device)
        assert known is None or not known.non_empty or known.device == one.device


@given(st.lists(SEEN, max_size=3, unique_by=lambda one: one.path), RECORDED)
def test_what_held_something_is_remembered_until_it_holds_something_again(
    seen: list[PathState], recorded: dict[str, Device]
) -> None:
    """An empty path, or a missing one, never replaces the record of a full one."""
    found = devices_to_record(seen, recorded)

    for one in seen:
        known = recorded.get(one.path)
        if one.exists and one.is_empty is False:
            assert Device(one.device, non_empty=True) == found[one.path]
        elif known is not None:
            assert known == found[one.path]


def test_that_nothing_is_there_is_recorded_where_that_may_be() -> None:
    """So that it means no alarm later; of what cannot be read nothing is known."""
    nothing = {"/data": Device(1, non_empty=False)}
    assert nothing == devices_to_record([EMPTY], HELD, may_be_empty=True)
    assert nothing == devices_to_record([MISSING], HELD, may_be_empty=True)
    assert {} == devices_to_record([UNREADABLE], HELD, may_be_empty=True)
    assert {} == devices_to_record([EMPTY], {})


def test_a_look_tells_empty_from_full_and_missing(tmp_path: Path) -> None:
    """A missing path has the device of what is above it; our own litter is no contents."""
    device = tmp_path.stat().st_dev
    for name in ("empty", "full", "ours"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "ours" / ".backrest-restore-0").mkdir()
    (tmp_path / "ours" / "lost+found").mkdir()
    (tmp_path / "link").symlink_to("empty")

    names = ("empty", "full", "ours", "link", "full/file", "gone/deep", "full/file/x")
    found = {name: observe(str(tmp_path / name)) for name in names}
    seen = {name: (one.exists, one.is_empty, one.device == device) for name, one in found.items()}

    assert {
        "empty": (True, True, True),
        "full": (True, False, True),
        "ours": (True, True, True),
        "link": (True, False, True),
        "full/file": (True, True, True),
        "gone/deep": (False, True, True),
        "full/file/x": (False, True, True),
    } == seen
    assert PathState("a\0b", exists=True, is_empty=None, device=0) == observe("a\0b")


@dataclass
class Repository:
    """An engine that knows snapshots only: ids and how many files each holds."""

    held: Sequence[tuple[str, int | None]] = ()
    holding: frozenset[str] = frozenset()
    error: EngineError | None = None
    asked: int = 0

    def snapshots(self, _plan: RunPlan | None, _instance: str) -> tuple[Snapshot, ...]:
        """List them, oldest first."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return tuple(
            Snapshot(name, MADE + timedelta(days=day), ("/data", "/other"), files_processed=files)
            for day, (name, files) in enumerate(self.held)
        )

    def holds_file(self, snapshot: Snapshot) -> bool:
        """Look into one that nobody counted."""
        return snapshot.id in self.holding


@dataclass
class World:
    """One plan, its journal and its repository."""

    journal: Journal
    path: Path
    repository: Repository = field(default_factory=Repository)
    containers: "Machine | None" = None
    instance: str = "here"

    @property
    def plan(self) -> RunPlan:
        """The plan."""
        return RunPlan("web", "store", (str(self.path),))

    def emptiness(self, *, at: float = 7.0, **choice: object) -> EmptySourceGuard:
        """Look after the plan, at a moment."""
        wanted = EmptySourceOptions(**choice)  # type: ignore[arg-type]
        engines = MadeEngines(lambda _: self.repository)
        document = ExecutedDocument(only_config(Config(self.instance, (), (self.plan,))))
        return EmptySourceGuard(
            self.journal, engines, document, self.containers, wanted, now=lambda: at
        )

    def empty(self) -> None:
        """Lose everything."""
        for entry in self.path.iterdir():
            entry.unlink()


@dataclass
class Machine:
    """Containers that are only listed."""

    present: tuple[Container, ...] = ()
    error: DockerError | None = None
    address: str = "unix:///made-up.sock"

    def all(self) -> tuple[Container, ...]:
        """List them."""
        if self.error is not None:
            raise self.error
        return self.present

    def data_root(self) -> str:
        """Return the engine's folder."""
        return "/var/lib/docker"

    def stop(self, container: str, seconds: int = 10) -> None:
        """Nothing here is stopped."""
        raise AssertionError(container, seconds)

    def start(self, container: str) -> bool:
        """Nor started."""
        raise AssertionError(container)

    def find(self, name: str) -> Container | None:
        """Nor looked for."""
        raise AssertionError(name)

    def goes_when_stopped(self, container: str) -> bool:
        """Nor removed."""
        raise AssertionError(container)

    def state(self, container: str) -> ContainerState | None:
        """Nor judged."""
        raise AssertionError(container)

    def now(self) -> float:
        """Nor timed."""
        raise AssertionError


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a plan that holds one file and was backed up."""
    with Journal(tmp_path / "state" / "journal.sqlite") as journal:
        made = World(journal, tmp_path / "data")
        made.path.mkdir()
        (made.path / "file").write_text("something")
        made.emptiness().remember(made.plan, has_saved=True)
        yield made


def test_a_plan_that_may_be_empty_is_not_restored(world: World) -> None:
    """Somebody has said so, for good or until it holds files again."""
    world.empty()
    world.repository.held = (("full", 3),)

    on_purpose = world.emptiness(everything=True, on_purpose=frozenset({"web"}))
    assert (EmptySourceAction.NORMAL, None) == (on_purpose.refill(world.plan)[0].action, None)
    world.journal.findings.accept_empty("web", 7.0)
    decision, ended = world.emptiness(everything=True).refill(world.plan)

    assert (EmptySourceAction.NORMAL, None) == (decision.action, ended)
    world.journal.findings.end_acceptance("web")
    decision, _ = world.emptiness(everything=True).refill(world.plan)
    assert EmptySourceAction.ALARM is decision.action


def test_nothing_is_restored_unwanted(world: World) -> None:
    """Off by default, on for all or by name, off again on purpose."""
    assert not EmptySourceOptions().wants("web")
    assert EmptySourceOptions(everything=True).wants("web")
    assert EmptySourceOptions(plans=frozenset({"web"})).wants("web")
    assert not EmptySourceOptions(everything=True, on_purpose=frozenset({"web"})).wants("web")
    assert not EmptySourceOptions().is_active
    world.empty()

    decision, ended = world.emptiness().refill(world.plan)

    assert (EmptySourceAction.NORMAL, None, 0) == (decision.action, ended, world.repository.asked)


def test_a_plan_that_holds_something_is_not_restored(world: World) -> None:
    """Nor is the repository asked."""
    decision, ended = world.emptiness(everything=True).refill(world.plan)

    assert (EmptySourceAction.NORMAL, None, 0) == (decision.action, ended, world.repository.asked)


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_dump_that_is_removed_after_each_backup_is_not_restored(
    world: World, is_folder: bool
) -> None:
    """That the folder is empty between backups, or the file is not there, is nobody's loss."""
    plan = world.plan if is_folder else RunPlan("web", "store", (f"{world.path}/file",))
    world.empty()
    world.repository.held = (("full", 1),)
    emptiness = world.emptiness(everything=True)

    emptiness.remember(plan, has_saved=True)
    assert (EmptySourceAction.NORMAL, None) == (emptiness.refill(plan)[0].action, None)
    (world.path / "file").write_text("data")
    emptiness.remember(plan, has_saved=True)
    world.empty()
    emptiness.remember(plan, has_saved=False)
    assert EmptySourceAction.ALARM is emptiness.refill(plan)[0].action


def test_an_empty_repository_is_no_failure(world: World) -> None:
    """A new service is empty before its first backup."""
    world.empty()

    decision, ended = world.emptiness(everything=True).refill(world.plan)

    assert (EmptySourceAction.NORMAL, None) == (decision.action, ended)
    assert "no snapshot holds anything" in decision.reason


def test_a_repository_that_cannot_be_asked_is_a_failure(world: World) -> None:
    """What should have been restored must not be backed up as nothing."""
    world.empty()
    world.repository.error = EngineError(FailureClass.NETWORK, "no route")

    decision, ended = world.emptiness(everything=True).refill(world.plan)

    assert EmptySourceAction.ALARM is decision.action
    assert ended is not None
    assert (RunOutcome.FAILED, FailureClass.NETWORK, 7.0) == (
        ended.outcome,
        ended.failure,
        ended.at,
    )


def test_a_container_at_work_keeps_the_plan_from_being_restored(world: World) -> None:
    """It is named; what cannot be listed is as bad."""
    world.empty()
    world.repository.held = (("full", 3),)
    user = Container("1" * 64, "web-1", mounts=(Mount("bind", str(world.path), "/data"),))
    world.containers = Machine((user,))

    decision, ended = world.emptiness(everything=True).refill(world.plan)

    assert f"{world.path} is empty, but held data at an earlier backup, and web-1" in (
        decision.reason
    )
    assert ended is not None
    assert FailureClass.SOURCE_MISSING is ended.failure
    world.containers = Machine(error=DockerError("no answer"))
    decision, _ = world.emptiness(everything=True, may_stop=True).refill(world.plan)
    assert "no answer" in decision.reason


def test_a_snapshot_of_other_paths_is_not_restored(world: World) -> None:
    """It would bring back what the plan does not speak of any more."""
    world.empty()
    world.repository.held = (("full", 3),)

    decision, ended = world.emptiness(everything=True).refill(world.plan)

    assert "the snapshot full is of other paths" == decision.reason
    assert ended is not None


def test_an_emptied_plan_is_restored_from_the_latest_that_holds_a_file(world: World) -> None:
    """Folders and links alone are nothing; by what was counted, else by what is held."""
    world.repository.held = (("full", None), ("void", None), ("zero", 0))
    world.repository.holding = frozenset({"full"})

    latest = world.emptiness()._find_latest(world.plan)

    assert latest.snapshot is not None
    assert ("full", "2 newer snapshots hold no file (zero, void)") == (
        latest.snapshot.id,
        latest.passed_over,
    )


def test_where_only_snapshots_of_the_future_hold_a_file_nothing_is_saved_over_them(
    world: World,
) -> None:
    """Which one is meant has to be said by a person."""
    world.empty()
    world.repository.held = (("full", 3),)

    decision, ended = world.emptiness(at=YEAR_BEFORE, everything=True).refill(world.plan)

    assert EmptySourceAction.ALARM is decision.action
    assert "1 snapshot is ahead of the clock (full)" in decision.reason
    assert ended is not None
    assert RunOutcome.FAILED is ended.outcome
