"""The hook scripts in a real shell, with a `docker` that only says what it was asked.

Its clock stands still but for `sleep`, which lets it go on at once.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.docker.markers import read_markers
from sidecar.docker.stopped import NotedStop, StopVerb
from sidecar.planner.scripts import (
    render_quiesce,
    render_resume,
    render_scale_down,
    render_scale_up,
)

ID = "ab" * 32
AT = 1_772_625_000
"""When the clock of the scripts begins, 2026-03-04T11:50:00Z."""
_DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
if [ "$(date)" -ge "$ENDS" ]; then status=$STATUS ended=$ENDED; else status=running ended=then; fi
case "$*" in
  *"--filter id="*) echo {id} ;;
  "ps --all --no-trunc"*) echo {id} "$status" ;;
  "ps "*) ;;
  "start "*|"service scale"*) eval "${{MEANWHILE:-}}" ;;
  "service ls"*) printf '%s %s\\n' {id} "$SERVICE" ;;
  "service inspect"*) echo "$REPLICAS" ;;
  "inspect"*Status*) echo "$ended $status" ;;
  "inspect"*AutoRemove*) echo "false $LIMIT" ;;
  "inspect"*) echo "$ended" ;;
esac
"""


_DATE = """#!/bin/sh
cat "$CLOCK"
"""
_SLEEP = """#!/bin/sh
echo $(($(cat "$CLOCK") + $1)) >"$CLOCK"
"""


class Shell:
    """Runs scripts beside a document, as the runner would."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self.config.mkdir()
        (self.config / "config.json").write_text("{}")
        self.markers = self.config / ".quiesced"
        self.calls = folder / "calls"
        self.clock = folder / "clock"
        self.clock.write_text(f"{AT}\n")
        self.said = ""
        tools = folder / "bin"
        tools.mkdir()
        for name, text in (
            ("docker", _DOCKER.format(id=ID)),
            ("date", _DATE),
            ("sleep", _SLEEP),
        ):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"

    def mark(self, *lines: str, name: str = "web") -> None:
        """Leave the marker of a script that died."""
        self.markers.mkdir(exist_ok=True)
        text = "\n".join(("plan=p", f"container={ID}", "state=running", *lines, ""))
        (self.markers / name).write_text(text)

    @property
    def waited(self) -> int:
        """The seconds that scripts have slept."""
        return int(self.clock.read_text()) - AT

    def run(
        self,
        script: str,
        world: Mapping[str, str] | None = None,
        *,
        service: str = "",
        replicas: int = 2,
    ) -> int:
        """Give a script to a shell; return its exit status.

        `world`: the container runs until `ENDS` (unix seconds); after that it is in the state
        `STATUS` and its last end is `ENDED`; `LIMIT` is its StopTimeout. `MEANWHILE` is done while
        it is started or scaled.
        """
        environment = {
            "PATH": self.path,
            "BACKREST_CONFIG": str(self.config / "config.json"),
            "CALLS": str(self.calls),
            "SERVICE": service,
            "REPLICAS": str(replicas),
            "CLOCK": str(self.clock),
            "ENDS": str(AT + 10**6),
            "STATUS": "exited",
            "ENDED": "then",
            "LIMIT": "",
            **(world or {}),
        }
        text = script.replace('{{"{{"}}', "{{")
        done = subprocess.run(
            ["sh"],
            input=text,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    def acted(self) -> list[str]:
        """The calls that stop, start or scale something."""
        if not self.calls.exists():
            return []
        verbs = ("stop ", "start ", "pause ", "unpause ", "service scale ")
        return [line for line in self.calls.read_text().splitlines() if line.startswith(verbs)]

    def files(self) -> list[str]:
        """The names below the directory of the markers."""
        return sorted(path.name for path in self.markers.iterdir())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell with its own document."""
    return Shell(tmp_path)


SCRIPTS = {
    "stop": lambda name: render_quiesce(name, "p", "stop"),
    "start": lambda name: render_resume(name, "start"),
    "scale-down": lambda name: render_scale_down(name, "p"),
    "scale-up": render_scale_up,
}


@pytest.mark.parametrize("name", ["../config.json", "a/b", ".new@web", ""])
@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_name_that_is_a_path_is_refused(shell: Shell, kind: str, name: str) -> None:
    """Nothing is stopped, and the document stays."""
    shell.markers.mkdir()
    assert shell.run(SCRIPTS[kind](name), service=name) == 1
    assert shell.acted() == []
    assert shell.files() == []
    assert (shell.config / "config.json").read_text() == "{}"


@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("form", ["file", "folder", "link", "pipe"])
def test_what_is_no_marker_of_ours_stays(shell: Shell, kind: str, form: str) -> None:
    """It is neither overwritten nor removed, and nothing is stopped."""
    shell.markers.mkdir()
    target = shell.config / "config.json"
    place = shell.markers / (".service@web" if "scale" in kind else "web")
    if form == "file":
        place.write_text('{"repos": []}\n')
    elif form == "folder":
        place.mkdir()
    elif form == "link":
        place.symlink_to(target)
    else:
        os.mkfifo(place)
    before = os.lstat(place)
    assert shell.run(SCRIPTS[kind]("web"), service="web", replicas=0 if "up" in kind else 2) == 1
    assert shell.acted() == []
    assert os.lstat(place).st_ino == before.st_ino
    assert target.read_text() == "{}"


def test_containers_whose_names_look_like_a_marker_in_the_making(shell: Shell) -> None:
    """`web` and `web.new` both stand in their own markers, and both are started again."""
    for name in ("web", "web.new"):
        assert shell.run(render_quiesce(name, "p", "stop")) == 0
    assert shell.files() == ["web", "web.new"]
    for name in ("web.new", "web"):
        assert shell.run(render_resume(name, "start"), {"ENDS": "0"}) == 0
    assert shell.files() == []
    assert len(shell.acted()) == 4


def test_a_service_and_a_container_of_one_name(shell: Shell) -> None:
    """Each has its own marker."""
    assert shell.run(render_quiesce("web", "p", "stop")) == 0
    assert shell.run(render_scale_down("web", "q"), service="web") == 0
    assert shell.files() == [".service@web", "web"]
    kinds = {marker.plan: marker.is_of_service for marker in read_markers(shell.markers)}
    assert kinds == {"p": False, "q": True}
    assert shell.run(render_scale_up("web"), service="web", replicas=0) == 0
    assert shell.files() == ["web"]
    assert shell.acted()[-1] == f"service scale --detach=true {ID}=2"


def test_the_marker_that_an_older_version_wrote_for_a_service(shell: Shell) -> None:
    """It has the service's bare name; the new script scales back by it."""
    shell.markers.mkdir()
    older = shell.markers / "web"
    older.write_text(f"plan=p\ncontainer={ID}\nstate=scaled\nreplicas=3\n")
    assert shell.run(render_scale_up("web"), service="web", replicas=0) == 0
    assert shell.acted() == [f"service scale --detach=true {ID}=3"]
    assert shell.files() == []


def test_an_empty_marker_is_overwritten(shell: Shell) -> None:
    """A torn one tells nothing that could be lost."""
    shell.markers.mkdir()
    (shell.markers / "web").write_text("")
    assert shell.run(render_quiesce("web", "p", "stop")) == 0
    assert f"container={ID}" in (shell.markers / "web").read_text()


def test_a_marker_is_written_before_its_command_and_finished_after_it(shell: Shell) -> None:
    """It says when that was and how long the container has."""
    assert shell.run(render_quiesce("web", "p", "stop"), {"LIMIT": "4"}) == 0
    assert shell.run(render_quiesce("db", "p", "stop")) == 0
    assert shell.run(render_quiesce("app", "p", "pause"), {"LIMIT": "4"}) == 0
    assert shell.run(render_scale_down("svc", "p"), service="svc") == 0
    stops = {marker.name: marker.stop for marker in read_markers(shell.markers)}
    assert stops == {
        "web": NotedStop(StopVerb.STOP, AT, 4, "then"),
        "db": NotedStop(StopVerb.STOP, AT, 10, "then"),
        "app": NotedStop(StopVerb.PAUSE, AT, 0, "then"),
        "svc": NotedStop(StopVerb.SCALE, AT, 0, str(AT), 2),
    }


STOP, PAUSE = ("verb=stop", f"at={AT}", "timeout=4"), ("verb=pause", f"at={AT}", "timeout=0")
FIVE = "2026-03-04T11:50:05.5Z"
RUNS: dict[str, str] = {}
STOPS = {"ENDS": str(AT + 5), "ENDED": FIVE}
STOPPED = {"ENDS": "0", "ENDED": FIVE}


@pytest.mark.parametrize(
    ("marker", "world", "verb", "acts", "waited"),
    [
        (STOP, RUNS, "start", [], 19),
        (STOP, STOPS, "start", [f"start {ID}"], 5),
        (STOP, STOPPED, "start", [f"start {ID}"], 0),
        (STOP, {**STOPPED, "ENDED": "2026-03-04T12:50:19+01:00"}, "start", [f"start {ID}"], 0),
        (STOP, {**STOPPED, "ENDED": "2026-03-04T11:50:20Z"}, "start", [], 0),
        (STOP, {**STOPPED, "ENDED": "2026-03-04T11:49:59.9Z"}, "start", [], 0),
        (STOP, {**STOPPED, "STATUS": "paused"}, "start", [], 0),
        (PAUSE, {**STOPPED, "STATUS": "paused", "ENDED": "x"}, "unpause", [f"unpause {ID}"], 0),
        (PAUSE, STOPPED, "unpause", [], 0),
        (PAUSE, RUNS, "unpause", [], 15),
        ((*STOP, f"finished={FIVE}"), STOPPED, "start", [f"start {ID}"], 0),
        ((*STOP, "finished=before"), STOPPED, "start", [], 0),
        ((*STOP, f"finished={FIVE}"), RUNS, "start", [], 0),
        ((), STOPPED, "start", [f"start {ID}"], 0),
        ((), RUNS, "start", [], 0),
    ],
)
def test_what_a_dead_script_may_have_stopped_is_waited_for(
    shell: Shell,
    marker: tuple[str, ...],
    world: dict[str, str],
    verb: str,
    acts: list[str],
    waited: int,
) -> None:
    """Stopped by us it starts again; running after its limit and 15 s it was not stopped."""
    shell.mark(*marker)
    assert shell.run(render_resume("web", verb), world) == 0
    assert (shell.acted(), shell.waited, shell.files()) == (acts, waited, [])


@pytest.mark.parametrize("name", ["web", ".service@web"])
def test_what_another_run_has_stopped_again_keeps_its_marker(shell: Shell, name: str) -> None:
    """It runs as soon as it was started, and may be stopped before the script has ended."""
    is_service = name != "web"
    shell.mark("verb=stop", f"at={AT}", "timeout=4", f"finished={FIVE}", "replicas=2", name=name)
    again = f"plan=q\ncontainer={ID}\n"
    world = {**STOPPED, "MEANWHILE": f"printf '{again}' >'{shell.markers / name}'"}
    script = render_scale_up("web") if is_service else render_resume("web", "start")

    assert 0 == shell.run(script, world, service="web", replicas=0)

    assert [f"service scale --detach=true {ID}=2" if is_service else f"start {ID}"] == shell.acted()
    assert again == (shell.markers / name).read_text()


def test_one_without_a_limit_is_waited_for_ten_minutes_and_told(shell: Shell) -> None:
    """After that nobody looks after it any more, which fails the hook."""
    shell.mark("verb=stop", f"at={AT}", "timeout=-1")
    assert shell.run(render_resume("web", "start")) == 1
    assert "has no time limit" in shell.said
    assert (shell.acted(), shell.waited, shell.files()) == ([], 615, [])


@pytest.mark.parametrize(
    ("world", "acts", "waited"), [(STOPS, [], 5), (STOPPED, [], 0), (RUNS, [f"stop {ID}"], 19)]
)
def test_a_stop_that_is_under_way_is_not_given_again(
    shell: Shell, world: dict[str, str], acts: list[str], waited: int
) -> None:
    """The next START waits for it; the marker stays as it is, and END starts by it."""
    shell.mark(*STOP)
    assert shell.run(render_quiesce("web", "q", "stop"), world) == 0
    assert (shell.acted(), shell.waited) == (acts, waited)
    assert shell.run(render_resume("web", "start"), STOPPED) == 0
    assert shell.acted()[len(acts) :] == ([] if acts else [f"start {ID}"])


def test_the_wait_ends_though_the_clock_is_set_back(shell: Shell) -> None:
    """As many rounds as the container has seconds."""
    shell.mark(*STOP)
    shell.clock.write_text(f"{AT - 10**6}\n")
    assert shell.run(render_resume("web", "start")) == 0
    assert shell.waited == 19 - 10**6


@pytest.mark.parametrize(
    ("finished", "replicas", "acts", "waited"),
    [
        ((), 0, [f"service scale --detach=true {ID}=3"], 0),
        ((), 2, [], 15),
        ((f"finished={AT}",), 2, [], 0),
    ],
)
def test_a_service_that_a_dead_script_may_have_scaled(
    shell: Shell, finished: tuple[str, ...], replicas: int, acts: list[str], waited: int
) -> None:
    """It gets the replicas of its marker, once it has none."""
    lines = ("verb=scale", f"at={AT}", "timeout=0", "replicas=3", *finished)
    shell.mark(*lines, name=".service@web")
    assert shell.run(render_scale_up("web"), service="web", replicas=replicas) == 0
    assert (shell.acted(), shell.waited, shell.files()) == (acts, waited, [])


def test_a_service_that_is_gone_fails_the_end(shell: Shell) -> None:
    """What was scaled to none cannot be scaled back."""
    shell.mark("verb=scale", f"at={AT}", "timeout=0", "replicas=3", name=".service@web")
    assert shell.run(render_scale_up("web"), service="other", replicas=0) == 1
    assert (shell.acted(), shell.files()) == ([], [])
