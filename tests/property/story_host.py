"""The machine of the daemon's story: an engine, a Backrest in a container, and its people.

Whatever happens here is done by others than us; time passes only when the story says so.
"""

import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sidecar.backrest.document import parse_document
from sidecar.backrest.messages import CONFIG
from sidecar.backrest.operations import Status
from sidecar.backrest.rules import check_document, check_version
from sidecar.lib.errors import DocumentError
from sidecar.planner.ids import sanitize
from tests.fakes.fake_backrest import FakeBackrest, Json, _Dropped, _normal
from tests.fakes.fake_docker import FakeDocker, _Answer

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()
PREFIX = "backrest_sidecar_"
RUNNER = "backrest"
AUTH = {"users": [{"name": "admin", "passwordBcrypt": "JDJhJDEw"}]}
DOCUMENT: Json = {
    "x-note": {"by hand": 1.50},
    "modno": 3,
    "version": 6,
    "instance": "here",
    "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64, "password": "secret", "x-repo": True}],
    "plans": [{"id": "mine", "repo": "r", "paths": ["/m"], "schedule": {"cron": "0 3 * * *"}}],
    "auth": AUTH,
}
_RUN_SECONDS = 40.0


@dataclass
class Clock:
    """Time that passes only on request: `wall` in unix seconds, `monotonic` since some moment."""

    wall: float = START
    monotonic: float = 1000.0

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.monotonic += seconds


class StoryBackrest(FakeBackrest):
    """A Backrest that can also be asked what is at work in it.

    `on_run` is told of each backup that begins: its plan, and when it was due. With `dies` it dies
    `before` or `after` it writes its document, and answers nobody any more: `has_died`.
    """

    def __init__(self, config: Path, *, now: Callable[[], float]) -> None:
        super().__init__(config, now=now)
        self.on_run: Callable[[str, float], None] = lambda *_: None
        self.dies = ""
        self.has_died = False

    def answer(self, name: str, body: bytes, login: str) -> bytes | None:
        """Answer one call, unless it has died."""
        if self.has_died:
            raise _Dropped
        return super().answer(name, body, login)

    def _write(self) -> None:
        for moment in ("before", "after"):
            if self.dies == moment:
                self.dies, self.has_died = "", True
                raise _Dropped
            if moment == "before":
                super()._write()

    def kill(self) -> None:
        """Stop at once; the next start is that of another process."""
        super().kill()
        self.has_died = False

    def waiting(self) -> list[tuple[str, float]]:
        """Return what is in the queue: the plans, and when they are due."""
        with self._changed:
            found = [entry.json for entry in self._waiting()]
            return [(one["planId"], int(one["unixTimeStartMs"]) / 1000) for one in found]

    def _run(self, entry: Any) -> None:
        self.on_run(entry.json["planId"], int(entry.json["unixTimeStartMs"]) / 1000)
        super()._run(entry)

    def running(self) -> list[Json]:
        """Return the operations in progress."""
        with self._changed:
            return [dict(entry.json) for entry in self._running()]

    def add_repo(self, name: str) -> None:
        """Add a repository as AddRepo does: saved, and modno stays."""
        with self._changed:
            repo = {"id": name, "uri": f"/{name}", "guid": "b" * 64}
            self._cached["repos"] = sorted([*self._cached["repos"], repo], key=lambda r: r["id"])
            self._write()
            self._applied["repos"] = self._cached["repos"]

    def plans(self) -> list[str]:
        """Name the plans that it could run now."""
        with self._changed:
            return [plan["id"] for plan in self._applied.get("plans", [])]

    def commands_of(self, plan_id: str) -> list[str]:
        """Return the commands of a plan's hooks, as it would run them."""
        with self._changed:
            plans = self._applied.get("plans", [])
            hooks: list[Json] = [
                hook for plan in plans if plan["id"] == plan_id for hook in plan.get("hooks", [])
            ]
            return [hook.get("actionCommand", {}).get("command", "") for hook in hooks]

    def pending(self) -> set[str]:
        """Name the plans with a backup in the queue or at work."""
        with self._changed:
            at_work = [*self._waiting(), *self._running()]
            return {entry.json["planId"] for entry in at_work if "operationBackup" in entry.json}


class StoryEngine(FakeDocker):
    """An engine with a clock, on which Backrest is the container `backrest`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.moments: dict[str, tuple[float, float]] = {}
        self.on_runner: Callable[[str], None] = lambda _: None
        self.acts: list[tuple[str, str]] = []
        self.work: Callable[[], list[str]] = list

    def set_state(self, identity: str, state: str, *actions: str) -> None:
        """Change a container's state, and note when."""
        started, finished = self.moments.get(identity, (0.0, 0.0))
        if state == "running":
            started = self.clock.wall
            finished = finished or (self.clock.wall if "restart" in actions else 0.0)
        else:
            finished = self.clock.wall
        self.moments[identity] = (started, finished)
        super().set_state(identity, state, *actions)

    def named(self, name: str) -> str | None:
        """Return the id of the container with that name."""
        found = (key for key, one in self.containers.items() if one["Names"] == [f"/{name}"])
        return next(found, None)

    def answer(self, method: str, path: str, filters: Mapping[str, Sequence[str]]) -> _Answer:
        """Answer, with the times of containers and with Backrest as one of them."""
        parts = path.strip("/").split("/")
        if parts[0] != "containers" or len(parts) != 3:
            return super().answer(method, path, filters)
        identity = self.named(parts[1]) or parts[1]
        if identity not in self.containers:
            return _Answer({"message": "no such container"}, 404)
        if method == "POST":
            return self._act(identity, parts[2])
        if parts[2] == "top":
            rows = [[line] for line in ["/backrest", *self.work()]]
            return _Answer({"Titles": ["CMD"], "Processes": rows})
        found = super().answer(method, path, filters)
        self._date(found.body, identity)
        return found

    def _act(self, identity: str, what: str) -> _Answer:
        name = self.containers[identity]["Names"][0][1:]
        self.acts.append((name, what))
        if name == RUNNER:
            self.on_runner(what)
        else:
            self.set_state(identity, {"stop": "exited"}.get(what, "running"), what)
        return _Answer(status=204)

    def _date(self, body: Any, identity: str) -> None:
        started, finished = self.moments.get(identity, (0.0, 0.0))
        body["State"] |= {"StartedAt": _written(started), "FinishedAt": _written(finished)}
        body["Config"]["Env"] = ["TZ=UTC"]


def _written(moment: float) -> str:
    if not moment:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(moment, UTC).isoformat()


@dataclass
class Host:
    """The machine, and what its people do on it."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    is_slow: bool = False
    """Whether operations go on until somebody ends them."""

    def __post_init__(self) -> None:
        self.config = self.folder / "config.json"
        self.config.write_text(json.dumps(DOCUMENT))
        self.config.chmod(0o600)
        self.engine = StoryEngine(self.clock)
        self.backrest = StoryBackrest(self.config, now=lambda: self.clock.wall)
        self.engine.on_runner = self._act_on_runner
        self.engine.work = lambda: ["restic backup" for _ in self.backrest.running()]
        self.on_hint: Callable[[str | None], None] = lambda _: None
        self.on_saved: Callable[[], None] = lambda: None
        self.is_engine_up = True
        self.is_hurt_forgiven = False
        self.restarts = 0
        self._hooked: dict[str, float] = {}
        self._stamped: tuple[int, ...] = ()
        self.engine.appear()
        self._add_runner()
        self.backrest.start()
        self.stamp()

    def close(self) -> None:
        """End everything."""
        self.backrest.kill()
        self.engine.vanish()
        shutil.rmtree(self.engine.folder)

    # Containers.

    def put(self, name: str, labels: Mapping[str, str], *, heard: bool = True) -> None:
        """Create the container, in place of the one of that name."""
        self.drop(name, heard=heard)
        mount = {"Type": "bind", "Source": f"/srv/{name}", "Destination": "/data"}
        identity = self.engine.add(name, labels, mounts=[mount], quiet=True)
        self.engine.moments[identity] = (self.clock.wall, 0.0)
        self._hint(identity, labels, heard=heard)

    def drop(self, name: str, *, heard: bool = True) -> None:
        """Remove the container of that name, if there is one."""
        if (identity := self.engine.named(name)) is not None:
            labels = self.engine.containers[identity]["Labels"]
            self.engine.remove(identity, quiet=True)
            self._hint(identity, labels, heard=heard)

    def _hint(self, identity: str, labels: Mapping[str, str], *, heard: bool) -> None:
        if heard and self.is_engine_up and "backrest.enable" in labels:
            self.on_hint(identity)

    def lose_engine(self) -> None:
        """Let the engine be gone, with its event stream."""
        if self.is_engine_up:
            self.engine.vanish()
            self.is_engine_up = False
            self.on_hint(None)

    def regain_engine(self) -> None:
        """Let the engine be there, in good health."""
        self.engine.refusals.clear()
        if not self.is_engine_up:
            self.engine.appear()
            self.is_engine_up = True
            self.on_hint(None)

    # The runner's container and Backrest in it.

    def _add_runner(self) -> None:
        mount = {"Type": "bind", "Source": "/srv", "Destination": "/srv"}
        identity = self.engine.add(RUNNER, mounts=[mount], quiet=True)
        self.engine.moments[identity] = (self.clock.wall, 0.0)

    def recreate_runner(self) -> None:
        """Make the runner's container anew, as an upgrade does."""
        self.stop_backrest()
        self.drop(RUNNER)
        self._add_runner()
        self.start_backrest()

    def _act_on_runner(self, what: str) -> None:
        """Do to the runner what the engine is told to do by us."""
        assert what in {"restart", "start"}
        self.restarts += what == "restart"
        self._hooked.clear()
        if what == "restart" and self.backrest.is_running:
            self.backrest.restart()
        elif not self.backrest.is_running:
            self.backrest.start()
        self._set_runner("running", what)

    def _set_runner(self, state: str, *actions: str) -> None:
        identity = self.engine.named(RUNNER)
        assert identity is not None
        self.engine.set_state(identity, state, *actions)

    def stop_backrest(self) -> None:
        """Kill Backrest: what ran is lost, what was stopped stays stopped."""
        if self.backrest.is_running:
            self._hooked.clear()
            self.backrest.kill()
            self._set_runner("exited")

    def start_backrest(self) -> None:
        """Start Backrest again, unless it runs."""
        if not self.backrest.is_running:
            self.backrest.start()
            self._set_runner("running")
            self.stamp()

    # Operations and their hooks.

    def begin(self, plan_id: str) -> None:
        """Begin a run now, as someone who presses its button."""
        if not self.backrest.running() and plan_id in self.backrest.plans():
            self.backrest.begin(plan_id)
            self.tick()

    def finish(self, status: Status = Status.SUCCESS) -> None:
        """End what is in progress."""
        for operation in self.backrest.running():
            self._end_hooks(operation["planId"])
            self._hooked.pop(operation["id"], None)
            self.backrest.finish(operation["planId"], status)

    def next_event(self) -> float:
        """Tell when Backrest has something to do, in unix seconds; never: infinity."""
        if not self.backrest.is_running:
            return math.inf
        if running := self.backrest.running():
            ends = (self._hooked.get(one["id"], -math.inf) + _RUN_SECONDS for one in running)
            end = min(ends) + 0.001
            return math.inf if self.is_slow and end > 0 else end
        return min((due for _, due in self.backrest.waiting()), default=math.inf)

    def tick(self) -> None:
        """Let Backrest do what is due by now."""
        if not self.backrest.is_running:
            return
        self.backrest.begin_due()
        for operation in self.backrest.running():
            if operation["id"] not in self._hooked:
                self._hooked[operation["id"]] = self.clock.wall
                self._start_hooks(operation["planId"])
            elif (
                not self.is_slow and self.clock.wall - self._hooked[operation["id"]] > _RUN_SECONDS
            ):
                self.finish()
        self.stamp()

    def _stoppable(self, plan_id: str) -> list[str]:
        """The containers that the plan's hooks stop, by the scripts' own words."""
        scripts = [text for text in self.backrest.commands_of(plan_id) if ".quiesced" in text]
        names = {name for text in scripts for name in re.findall("(?m)^name=(.+)$", text)}
        return sorted(shlex.split(name)[0] for name in names)

    def _start_hooks(self, plan_id: str) -> None:
        for name in self._stoppable(plan_id):
            identity = self.engine.named(name)
            if identity is None or self.engine.containers[identity]["State"] != "running":
                continue
            self.engine.set_state(identity, "exited")
            marker = self.folder / ".quiesced" / name
            marker.parent.mkdir(exist_ok=True)
            finished = _written(self.engine.moments[identity][1])
            marker.write_text(
                f"plan={plan_id}\ncontainer={identity}\nstate=running\nfinished={finished}\n"
            )
            os.utime(marker, (self.clock.wall, self.clock.wall))

    def _end_hooks(self, plan_id: str) -> None:
        for name in self._stoppable(plan_id):
            marker = self.folder / ".quiesced" / name
            if not marker.exists():
                continue
            said = dict(line.split("=", 1) for line in marker.read_text().splitlines())
            identity = said["container"]
            stopped = _written(self.engine.moments.get(identity, (0.0, 0.0))[1])
            if identity == self.engine.named(name) and said["finished"] == stopped:
                self.engine.set_state(identity, "running")
            marker.unlink()

    # The document.

    def stamp(self) -> None:
        """Return the file the time of our clock, when it has been saved since the last time."""
        status = self.config.stat()
        if (status.st_ino, status.st_mtime_ns) != self._stamped:
            moment = int(self.clock.wall * 1e9)
            os.utime(self.config, ns=(moment, moment))
            status = self.config.stat()
            self._stamped = (status.st_ino, status.st_mtime_ns)
            self.on_saved()

    def save_in_ui(self, change: Callable[[Json], object]) -> None:
        """Change the configuration in a fresh tab; the queue is made anew."""
        if self.backrest.is_running:
            self.backrest.save_from_ui(change)
            self.stamp()

    def edit_file(self, change: Callable[[Json], object]) -> None:
        """Change the file by hand."""
        document = json.loads(self.config.read_bytes())
        change(document)
        part = self.folder / "by-hand.json"
        part.write_text(json.dumps(document, indent=1))
        part.chmod(0o600)
        part.replace(self.config)
        self.stamp()

    def saved(self) -> tuple[object, ...]:
        """Return what differs when the file, or what Backrest holds, was replaced."""
        return (*self._stamped, self.restarts, id(self.backrest._cached))

    def file(self) -> Json:
        """Decode the file; fails where Backrest would not load it."""
        content = self.config.read_bytes()
        try:
            document = parse_document(content)
        except DocumentError as error:
            raise AssertionError(f"the file is broken: {error}") from error
        today = datetime.fromtimestamp(self.clock.wall, UTC).date()
        assert check_version(document.root) is None
        assert [] == check_document(document.root, today)
        found: Json = json.loads(content)
        return found


def foreign(document: Json) -> Json:
    """Return all of a document that is not ours to change."""
    plans = [plan for plan in document.get("plans", []) if not plan["id"].startswith(PREFIX)]
    return {**{k: v for k, v in document.items() if k != "modno"}, "plans": plans}


def normal(document: Json) -> Json:
    """Return a document as Backrest writes it."""
    return _normal(CONFIG, document)


def owned(document: Json) -> dict[str, Json]:
    """Return the plans that are ours, by id."""
    plans = document.get("plans", [])
    return {plan["id"]: plan for plan in plans if plan["id"].startswith(PREFIX)}


def plan_id_of(name: str) -> str:
    """Return the id that a lone container's plan has if nobody else wants it."""
    return PREFIX + sanitize(name)
