"""The hook scripts in a real shell, with a `docker` that only says what it was asked."""

import os
import subprocess
from pathlib import Path

import pytest

from sidecar.planner.scripts import (
    render_quiesce,
    render_resume,
    render_scale_down,
    render_scale_up,
)
from sidecar.reconciler.resume.markers import read_markers

ID = "ab" * 32
_DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
  *"--filter id="*) echo {id} ;;
  "ps --all --no-trunc"*) echo {id} running ;;
  "ps "*) ;;
  "service ls"*) printf '%s %s\\n' {id} "$SERVICE" ;;
  "service inspect"*) echo "$REPLICAS" ;;
  "inspect"*Status*) echo then exited ;;
  "inspect"*) echo then ;;
esac
"""


class Shell:
    """Runs scripts beside a document, as the runner would."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self.config.mkdir()
        (self.config / "config.json").write_text("{}")
        self.markers = self.config / ".quiesced"
        self.calls = folder / "calls"
        tool = folder / "bin" / "docker"
        tool.parent.mkdir()
        tool.write_text(_DOCKER.format(id=ID))
        tool.chmod(0o755)
        self.path = f"{tool.parent}:{os.environ['PATH']}"

    def run(self, script: str, *, service: str = "", replicas: int = 2) -> int:
        """Give a script to a shell; return its exit status."""
        environment = {
            "PATH": self.path,
            "BACKREST_CONFIG": str(self.config / "config.json"),
            "CALLS": str(self.calls),
            "SERVICE": service,
            "REPLICAS": str(replicas),
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
        assert shell.run(render_resume(name, "start")) == 0
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
