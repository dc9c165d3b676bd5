"""The daemon's story: whatever happens in whatever order, when things calm down all is well.

One machine for each way of applying. The world is a fake engine and a fake Backrest, our
side is the real daemon without its threads, and the time is the story's own.
"""

import gc
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sidecar.backrest.document import parse_document
from sidecar.backrest.operations import Status
from sidecar.docker.answers import parse_containers
from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.planner.diff import OWNED_KEYS
from sidecar.planner.propose import DesiredState, Planner, Proposal, propose
from sidecar.reconciler.apply.by_api import scheduled_plans
from sidecar.reconciler.recorder import history_of
from sidecar.reconciler.settings import ApplyVia
from tests.fakes.fake_backrest import Fault, Json
from tests.property.story_host import PREFIX, RUNNER, Host, foreign, normal, owned
from tests.property.story_ours import POINTS, Fate, Killed, Ours, under

LABELS: dict[str, dict[str, str]] = {
    "none": {},
    "plain": {"enable": "true"},
    "nightly": {"enable": "true", "schedule": "15 3 * * *", "keep": "last=3"},
    "often": {"enable": "true", "schedule": "every 6h"},
    "off": {"enable": "false"},
    "stopped": {"enable": "true", "hooks.template": "stop-start"},
    "wrong": {"enable": "true", "schedule": "15 25 * * *"},
    "forgetful": {"enable": "true", "hooks.template": "stop-start", "keep": "daily=0"},
}
# The last two want the same id.
NAMES = ("web", "db", "cache", "my-app", "my_app")
INTERFERENCES = ("before exchange", "after exchange", "before SetConfig", "after GetConfig")
DISABLED = {"disabled": True}
_CALM_SECONDS = 2.5 * 3600.0
_WEEK = 8 * 86_400.0
_MOST_ACTS = 20_000

names = st.sampled_from(NAMES)
kinds = st.sampled_from((*LABELS, "plain", "nightly", "stopped"))
edits: st.SearchStrategy[Json] = st.sampled_from(
    (
        {"schedule": {"cron": "7 7 * * *"}},
        {"schedule": DISABLED},
        {"paths": ["/else"]},
        {"skipIfUnchanged": True},
        {"retention": {"policyKeepAll": True}},
    )
)


class Story(RuleBasedStateMachine):
    """The machine; `via` is the way of applying."""

    via = ApplyVia.RESTART

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="story-"))
        self.host = Host(self.folder)
        self.clock = self.host.clock
        self.fate = Fate()
        self._ends = ExitStack()
        self._ends.enter_context(under(self.fate))
        self.ours: Ours | None = None
        self.tabs: list[Json] = []
        self.is_schedule_lost = False
        self.disabled_by_user: set[str] = set()
        self._see()
        self._begin_ours()

    def teardown(self) -> None:
        """Let things calm down, see whether all is well, and end everything."""
        try:
            self._calm_down()
        finally:
            self.fate.withdraw()
            if self.ours is not None:
                self.ours.close()
            self._ends.close()
            self.host.close()
            shutil.rmtree(self.folder)

    @initialize(
        some=st.dictionaries(names, kinds, min_size=1, max_size=4),
        seconds=st.sampled_from((0.0, 60.0)),
    )
    def begin(self, some: dict[str, str], seconds: float) -> None:
        """Begin with some containers, perhaps with plans that Backrest knows already."""
        for name, kind in some.items():
            self.create(name, kind, heard=True)
        self._advance(seconds)

    # Containers come, change and go.

    @rule(name=names, kind=kinds, heard=st.sampled_from((True, True, True, False)))
    def create(self, name: str, kind: str, heard: bool) -> None:
        """Create a container, or make it anew with other labels."""
        labels = {f"backrest.{key}": value for key, value in LABELS[kind].items()}
        self.host.put(name, labels, heard=heard)

    @rule(some=st.sampled_from((*((name,) for name in NAMES), NAMES)))
    def remove(self, some: tuple[str, ...]) -> None:
        """Remove a container, or all of them."""
        for name in some:
            self.host.drop(name)

    # People at the web interface.

    @rule(number=st.integers(0, 2), minute=st.integers(0, 59))
    def save_plan(self, number: int, minute: int) -> None:
        """Save a plan of theirs."""
        plan: Json = {"id": f"theirs{number}", "repo": "r", "paths": [f"/t{number}"]}
        plan["schedule"] = {"cron": f"{minute} 4 * * *"}
        self._save(lambda tab: _put_plan(tab, plan))

    @rule(data=st.data(), prefix=st.sampled_from(("", PREFIX)))
    def delete_plan(self, data: st.DataObject, prefix: str) -> None:
        """Delete any plan, theirs or ours."""
        plan_id = self._draw_plan(data, prefix)
        self._save(lambda tab: _drop_plan(tab, plan_id))

    @rule(data=st.data(), edit=edits, times=st.sampled_from((1, 1, 1, 4)))
    def edit_plan(self, data: st.DataObject, edit: Json, times: int) -> None:
        """Change keys of a plan of ours, which are ours or not; and perhaps insist on it."""
        plan_id = self._draw_plan(data, PREFIX)
        if edit.get("schedule") == DISABLED:
            self.disabled_by_user.add(plan_id)
        for _ in range(times):
            self._save(lambda tab: _edit_plan(tab, plan_id, **edit))
            self._advance(0.0 if times == 1 else 40.0)

    @rule()
    def open_tab(self) -> None:
        """Open a tab, to save from it later."""
        if self.host.backrest.is_running:
            self.tabs.append(self.host.backrest.open_tab())

    @precondition(lambda self: self.tabs)
    @rule()
    def save_tab(self) -> None:
        """Save from a tab, which may be stale."""
        plan = {"id": "tabbed", "repo": "r", "paths": ["/tabbed"]}
        tab = self.tabs.pop()
        if self.host.backrest.is_running:
            self.host.backrest.save_tab(tab, lambda config: _put_plan(config, plan))
            self._others()

    @rule(number=st.integers(0, 2))
    def add_repo(self, number: int) -> None:
        """Add a repository, which leaves modno as it is."""
        known = {repo["id"] for repo in self.host.backrest.cached["repos"]}
        if self.host.backrest.is_running and f"repo{number}" not in known:
            self.host.backrest.add_repo(f"repo{number}")
            self._others()

    # Backrest at work, and its ends.

    @rule(data=st.data(), is_slow=st.booleans())
    def run_backup(self, data: st.DataObject, is_slow: bool) -> None:
        """Begin a run by hand, which may take long."""
        if self.host.backrest.is_running and (plans := self.host.backrest.plans()):
            self.host.is_slow = is_slow
            self.host.begin(data.draw(st.sampled_from(plans)))

    @precondition(lambda self: self.host.is_slow)
    @rule(status=st.sampled_from((Status.SUCCESS, Status.ERROR)))
    def end_backup(self, status: Status) -> None:
        """End what is in progress."""
        self.host.is_slow = False
        if self.host.backrest.is_running:
            self.host.finish(status)

    @rule(what=st.sampled_from(("stop", "restart", "recreate")))
    def end_backrest(self, what: str) -> None:
        """Kill Backrest, busy or not; it may start again at once, or somebody may do it later."""
        if what == "recreate":
            self.host.recreate_runner()
        self.host.stop_backrest()
        if what == "restart":
            self.host.start_backrest()
        self._others()

    @precondition(lambda self: not self.host.backrest.is_running)
    @rule()
    def start_backrest(self) -> None:
        """Start Backrest."""
        self.host.start_backrest()
        self._others()

    @rule(number=st.integers(0, 9))
    def edit_file(self, number: int) -> None:
        """Edit the file by hand; Backrest notices when it starts the next time."""
        plan = {"id": "by-hand", "repo": "r", "paths": [f"/h{number}"], "x-more": [number]}
        self.host.edit_file(lambda document: _put_plan(document, plan))
        self._others()

    @precondition(lambda self: self.via is not ApplyVia.RESTART)
    @rule(fault=st.sampled_from((Fault.REFUSE_LOGIN, Fault.SERVER_ERROR, Fault.DROP, None)))
    def break_api(self, fault: Fault | None) -> None:
        """Let all calls go wrong for a while, or well again."""
        self.host.backrest._faults.ordered.clear()
        if fault is not None:
            self.host.backrest.order(fault, times=200)

    @precondition(lambda self: self.via is not ApplyVia.RESTART)
    @rule(fault=st.sampled_from((Fault.UNAPPLIED, Fault.DROP_ANSWER, Fault.DROP)))
    def break_save(self, fault: Fault) -> None:
        """Let our next save go wrong."""
        self.host.backrest.order(fault, "SetConfig")

    # The engine, the disk, and ourselves.

    @rule(status=st.sampled_from((0, 500, 429)), start=st.sampled_from(("", "/volumes", "/info")))
    def lose_engine(self, status: int, start: str) -> None:
        """Let the engine be gone, or refuse some or all calls."""
        if status:
            self.host.engine.refusals[start] = status
        else:
            self.host.lose_engine()

    @precondition(lambda self: self.host.engine.refusals or not self.host.is_engine_up)
    @rule()
    def regain_engine(self) -> None:
        """Let the engine be there."""
        self.host.regain_engine()

    @rule(full=st.sampled_from(((), ("document",), ("document", "state"), ("state",))))
    def fill_disk(self, full: tuple[str, ...]) -> None:
        """Let there be no room, or room again."""
        self.fate.full = set(full)

    @rule(
        is_state_lost=st.sampled_from((False, False, True)),
        seconds=st.sampled_from((0.0, 0.0, 600.0)),
    )
    def end_ours(self, is_state_lost: bool, seconds: float) -> None:
        """Kill our process while it waits, and start it again; its state may be lost."""
        self._kill_ours()
        if is_state_lost:
            shutil.rmtree(self.folder / ".sidecar", ignore_errors=True)
            self.is_schedule_lost = True
        self._advance(seconds)
        self._begin_ours()

    @rule(point=st.sampled_from(POINTS), left=st.integers(0, 3), name=names, kind=kinds)
    def doom(self, point: str, left: int, name: str, kind: str) -> None:
        """Have our process killed in the middle of what it does about a container."""
        self.fate.order(point, None, left)
        self.create(name, kind, heard=True)
        self._advance(30.0)
        self.fate.withdraw()

    @rule(point=st.sampled_from(INTERFERENCES), number=st.integers(0, 2), name=names, kind=kinds)
    def interfere(self, point: str, number: int, name: str, kind: str) -> None:
        """Have somebody save in the middle of what we do about a container."""
        plan = {"id": f"between{number}", "repo": "r", "paths": ["/between"]}
        self.fate.order(point, lambda: self._save(lambda tab: _put_plan(tab, plan)))
        self.create(name, kind, heard=True)
        self._advance(30.0)
        self.fate.withdraw()

    # Time.

    @rule(seconds=st.sampled_from((1.0, 6.0, 12.0, 30.0, 30.0, 60.0, 150.0, 600.0, _WEEK)))
    def wait(self, seconds: float) -> None:
        """Let time pass; whoever looks after our process starts it again."""
        if self.ours is None:
            self._begin_ours()
        if seconds < _WEEK:
            self._advance(seconds)
            return
        for _ in range(8):
            # The machine sleeps the most of the days.
            self.clock.pass_by(86_370.0)
            self._advance(30.0)

    # What the rules are made of.

    def _draw_plan(self, data: st.DataObject, prefix: str = "") -> str:
        plans = sorted(plan["id"] for plan in self.host.backrest.cached.get("plans", []))
        fitting = [plan_id for plan_id in plans if plan_id.startswith(prefix)]
        return str(data.draw(st.sampled_from(fitting or ["nobody"])))

    def _save(self, change: Callable[[Json], object]) -> None:
        self.host.save_in_ui(change)
        self._others()

    def _others(self) -> None:
        """Take what others did to the document for right."""
        self.host.stamp()
        self._see()

    def _see(self) -> None:
        self.seen = self.host.saved()
        self.file = self.host.file()
        self.cached = self.host.backrest.cached

    def _begin_ours(self) -> None:
        self.fate.is_dead = False
        try:
            self.ours = Ours(self.host, self.via, self.fate)
        except Killed:
            self.fate.is_dead = False

    def _kill_ours(self) -> None:
        if self.ours is not None:
            self.ours.close()
            self.ours = None

    def _advance(self, seconds: float) -> None:
        """Let time pass, and everybody do what they have to do in it."""
        end = self.clock.monotonic + seconds
        for _ in range(_MOST_ACTS):
            self.host.tick()
            now = self.clock.monotonic
            if self.ours is not None and self.ours.next_due() <= now:
                self._act()
                continue
            if now >= end:
                return
            due = end if self.ours is None else min(end, self.ours.next_due())
            self.clock.pass_by(min(due - now, 10.0))
        pytest.fail("there is no end of what is due")

    def _act(self) -> None:
        """Let us do one thing, and see that it took nothing away."""
        assert self.ours is not None
        restarts, asked = self.host.restarts, len(self.host.backrest.asked)
        memory = self.ours.memory.state
        disabled = {*memory.disabled, *memory.enabling}
        try:
            self.ours.act()
        except Killed:
            self.ours.close()
            self.ours = None
        assert [] == self.host.backrest.hurt
        self.host.stamp()
        if self.seen == self.host.saved():
            return
        has_saved = "SetConfig" in self.host.backrest.asked[asked:]
        self._check(
            has_saved=has_saved, has_restarted=self.host.restarts > restarts, disabled=disabled
        )
        self._see()

    def _check(self, *, has_saved: bool, has_restarted: bool, disabled: set[str]) -> None:
        file, cached = self.host.file(), self.host.backrest.cached
        if has_saved:
            assert normal(foreign(self.file)) == normal(foreign(file))
        else:
            assert json.dumps(foreign(self.file)) == json.dumps(foreign(file))
        if has_restarted:
            assert normal(foreign(file)) == normal(foreign(cached))
        else:
            assert normal(foreign(self.cached)) == normal(foreign(cached))
        # A save writes what Backrest had, and a restart reads what was in the file.
        of_file = self.cached if has_saved else self.file
        of_cached = self.file if has_restarted else self.cached
        self._check_plans(owned(of_file), owned(file), disabled)
        self._check_plans(owned(of_cached), owned(cached), disabled)

    def _check_plans(
        self, before: dict[str, Json], after: dict[str, Json], disabled: set[str]
    ) -> None:
        assert before.keys() <= after.keys()
        changed = [plan_id for plan_id in before if before[plan_id] != after[plan_id]]
        rendered = self._wished() if changed else None
        for plan_id in changed:
            was, now = normal({"plans": [before[plan_id]]}), normal({"plans": [after[plan_id]]})
            _expect_same(was["plans"][0], now["plans"][0], without=OWNED_KEYS)
            if rendered is None:
                continue
            asked = {plan.id: plan.labelled for plan in rendered.plans}
            is_theirs = plan_id in asked and "schedule" not in asked[plan_id]
            if is_theirs and plan_id not in disabled:
                assert was["plans"][0].get("schedule") == now["plans"][0].get("schedule")

    def _wished(self) -> Any:
        good = self.ours.last_pass.good if self.ours is not None else None
        return good and Planner().propose(self.host.config.read_bytes(), good.desired).rendered

    # The end of the story.

    def _calm_down(self) -> None:
        self.fate.withdraw()
        self.fate.full.clear()
        self.host.regain_engine()
        self.host.is_slow = False
        self.host.backrest._faults.ordered.clear()
        if self.via is ApplyVia.API and normal(foreign(self.file)) != normal(foreign(self.cached)):
            # Nobody but its people can make Backrest read what they wrote by hand.
            self.host.stop_backrest()
        self.host.start_backrest()
        self._others()
        if self.ours is None:
            self._begin_ours()
        for _ in range(int(_CALM_SECONDS / 60)):
            self._advance(60.0)
            if not self._unrest():
                break
        assert [] == self._unrest()
        self._stays_calm()

    def _stays_calm(self) -> None:
        restarts, content = self.host.restarts, self.host.config.read_bytes()
        self._advance(120.0)
        assert [] == self._unrest()
        assert restarts == self.host.restarts
        assert content == self.host.config.read_bytes()

    def _unrest(self) -> list[str]:
        """List what is not yet as it should be."""
        found = []
        cached = parse_document(json.dumps(self.host.backrest.cached).encode())
        for where, content in (
            ("Backrest", cached.content),
            ("the file", self.host.config.read_bytes()),
        ):
            changes = self._proposal(content).changes
            if not changes.is_empty:
                found.append(f"{where} has not: {[p.id for p in changes.added]} {changes.edits}")
        file = owned(self.host.file())
        for plan_id, plan in owned(self.host.backrest.cached).items():
            if file.get(plan_id, {}).get("schedule") == DISABLED != plan.get("schedule"):
                found.append(f"{plan_id} is disabled in the file only")
        if self.via is ApplyVia.RESTART and self._restart_is_due():
            found.append("Backrest is to be restarted")
        missing = scheduled_plans(cached, PREFIX) - self.host.backrest.pending()
        found += [f"{plan} is not scheduled" for plan in sorted(missing)]
        if not self.host.backrest.running():
            found += self._stopped()
            found += [str(path) for path in (self.folder / ".quiesced").glob("*")]
        if not self.host.backrest.is_running:
            found.append("Backrest does not run")
        found += self._wrongly_disabled(cached)
        return found

    def _restart_is_due(self) -> bool:
        runner = self.host.engine.named(RUNNER)
        assert runner is not None
        written_at = self.ours.memory.state.written_at if self.ours is not None else 0.0
        return written_at >= self.host.engine.moments[runner][0]

    def _stopped(self) -> list[str]:
        """Name the containers that do not run, although their labels ask for them to be resumed."""
        return [
            f"{one['Names']} is {one['State']}"
            for one in self.host.engine.containers.values()
            if one["State"] != "running" and one["Labels"].get("backrest.hooks.template")
        ]

    def _wrongly_disabled(self, cached: Any) -> list[str]:
        if self.is_schedule_lost:
            return []
        wished = self._proposal(self.host.config.read_bytes()).rendered.plans
        plans = {plan.id for plan in wished} - self.disabled_by_user
        return [
            f"{key} is disabled"
            for key in plans
            if cached.plans.get(key, {}).get("schedule") == DISABLED
        ]

    def _proposal(self, content: bytes) -> Proposal:
        engine, now = self.host.engine, datetime.fromtimestamp(self.clock.wall, UTC)
        listed = json.dumps(engine.answer("GET", "/containers/json", {}).body).encode()
        containers = parse_containers(listed, "the story")
        mounts = next(c.mounts for c in containers if c.name == "backrest")
        inventory = Inventory(containers)
        history = None
        if self.ours is not None:
            history = history_of(self.ours.memory.state, self.ours.settings.lifetime, {})
        document = parse_document(content)
        return propose(
            document, DesiredState(inventory, Policy(), now, runner_mounts=mounts, history=history)
        )


def _expect_same(was: Json, now: Json, *, without: tuple[str, ...]) -> None:
    one, other = ({k: v for k, v in plan.items() if k not in without} for plan in (was, now))
    assert one == other


def _put_plan(document: Json, plan: Json) -> None:
    _drop_plan(document, plan["id"])
    document["plans"] = [*document.get("plans", []), plan]


def _drop_plan(document: Json, plan_id: str) -> None:
    document["plans"] = [plan for plan in document.get("plans", []) if plan["id"] != plan_id]


def _edit_plan(document: Json, plan_id: str, **keys: Any) -> None:
    for plan in document.get("plans", []):
        if plan["id"] == plan_id:
            plan.update(keys)


class RestartStory(Story):
    """The runner reads the document because it is restarted."""

    via = ApplyVia.RESTART


class ApiStory(Story):
    """Backrest is the only writer while it answers."""

    via = ApplyVia.API


class AutoStory(Story):
    """By the API if that answers, else by a restart."""

    via = ApplyVia.AUTO


# The client library leaves a unix socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("story", [RestartStory, ApiStory, AutoStory])
def test_when_things_calm_down_all_is_well(story: type[Story]) -> None:
    """In any order: nothing foreign is lost, no backup is hurt, and in the end all is applied."""
    run = settings(max_examples=20, stateful_step_count=30)
    run_state_machine_as_test(story, settings=run)
    gc.collect()
