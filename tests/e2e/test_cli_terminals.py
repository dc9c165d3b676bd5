"""Both programs where the terminal is not UTF-8, is none, or is the log of a workflow."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}


def run(module: str, *words: str, **environ: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program as a process of its own, in so much of an environment."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, env=given, capture_output=True, check=False, timeout=60)


@pytest.fixture
def compose(tmp_path: Path) -> Path:
    """A project whose service is called as a command, and has a mount."""
    labels = {"backrest.enable": "true", "backrest.shedule": "x → y"}
    service = {"image": "x", "labels": labels, "volumes": ["/srv/dätä:/data"]}
    file = tmp_path / "compose.json"
    file.write_text(json.dumps({"name": "p", "services": {"web": service}}))
    return file


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A document with a plan whose number no float holds, and a name that is a command."""
    plan = '{"id": "::add-mask::x", "repo": "r", "paths": ["/ü"], "x": 1E400, '
    plan += '"schedule": {"maxFrequencyDays": 2147483647}}'
    mine = '{"id": "backrest_sidecar_p_web", "repo": "r", "paths": ["/srv"], "y": -1E999}'
    repo = '{"id": "r", "uri": "/r", "guid": "%s", "password": "x"}' % ("a" * 64)
    file = tmp_path / "config.json"
    file.write_text(
        f'{{"modno": 1, "version": 6, "instance": "i", "repos": [{repo}], "plans": [{plan}, {mine}]}}'
    )
    return file


@pytest.mark.parametrize("environ", [PLAIN, LATIN, {}], ids=["C", "latin-1", "utf-8"])
@pytest.mark.parametrize("form", ["table", "json", "diff"])
def test_no_locale_ends_a_preview(
    compose: Path, document: Path, environ: Mapping[str, str], form: str
) -> None:
    """Arrows and dashes have a plain form, and JSON stays JSON for every document."""
    words = ("--dry-run", "--output", form, "--config", str(document), "--compose", str(compose))
    done = run("sidecar", "reconcile", *words, **environ)
    out = done.stdout.decode("latin-1" if environ is LATIN else "utf-8")

    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 3)
    if environ and form == "table":
        assert "/data -> /srv/d" in out
    if form == "json":
        read = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert "-1E999" == next(plan for plan in read["plans"])["y"]


@pytest.mark.parametrize("environ", [PLAIN, LATIN, {}], ids=["C", "latin-1", "utf-8"])
def test_no_locale_ends_the_runner(document: Path, environ: Mapping[str, str]) -> None:
    """Its tables have dashes, its errors arrows; a foreign name begins no command."""
    plans = run("sidecar.runner", "plans", "--config", str(document), **environ)
    wrong = run("sidecar.runner", "snapshots", "nö", "--config", str(document), **environ)

    assert 0 == plans.returncode
    assert b"add-mask" in plans.stdout
    assert not any(line.strip().startswith(b"::") for line in plans.stdout.splitlines())
    assert (1, True) == (wrong.returncode, b"Error: " in wrong.stderr)
    assert b"Traceback" not in plans.stderr + wrong.stderr


@pytest.mark.parametrize(
    ("environ", "is_coloured"),
    [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False), ({}, False)],
)
def test_colours_follow_the_variables(
    compose: Path, document: Path, environ: Mapping[str, str], is_coloured: bool
) -> None:
    """A pipe has none unless they are forced."""
    words = ("--dry-run", "--config", str(document), "--compose", str(compose))
    done = run("sidecar", "reconcile", *words, **environ)

    assert is_coloured is (b"\x1b[" in done.stdout)


def on_terminal(width: int, module: str, *words: str, **environ: str) -> list[str]:
    """Run a program on a terminal of that width and return the lines that it shows."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", **environ}
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    child = subprocess.Popen([sys.executable, "-m", module, *words], env=given, stdout=slave)
    os.close(slave)
    shown = b""
    with os.fdopen(master, "rb", 0) as stream:
        while True:
            try:
                shown += stream.read(65536)
            except OSError:
                # How Linux tells that nobody writes any more.
                break
    assert 0 == child.wait(60)
    return shown.decode().split("\r\n")[:-1]


@pytest.mark.parametrize(
    ("environ", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
@pytest.mark.parametrize("width", [60])
@pytest.mark.parametrize(
    ("module", "command"), [("sidecar.runner", "plans"), ("sidecar", "schedule")]
)
def test_a_table_fits_the_terminal(
    document: Path,
    module: str,
    command: str,
    width: int,
    environ: Mapping[str, str],
    is_coloured: bool,
) -> None:
    """Whatever the ids; with colours unless they are not wanted."""
    words = (command, "--config", str(document), "--output", "table")
    lines = on_terminal(width, module, *words, **environ)
    text = "\n".join(lines)

    assert max(len(click.unstyle(line)) for line in lines) <= width
    assert "backrest_sidecar_p_web" in text
    assert (command == "plans" and is_coloured) is ("\x1b[" in text)


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_disk_that_is_full_is_told(document: Path, form: str) -> None:
    """In a sentence, and not as a success: what was written is cut off."""
    words = ("status", "--output", form, "--config", str(document))
    command = [sys.executable, "-m", "sidecar.runner", *words]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, env=environ, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
        silent = subprocess.run(command, env=environ, stdout=full, stderr=full, check=False)
    told = "Error: the output cannot be written: No space left on device"
    assert (1, told) == (done.returncode, done.stderr.decode().splitlines()[0])
    assert b"Traceback" not in done.stderr
    assert 1 == silent.returncode


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_nowhere(document: Path, closed: str) -> None:
    """A command of cron or of a daemon has some; no file that is opened may take their place."""
    command = f'"$0" -m sidecar.runner status --config "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(document)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (3, b"") == (done.returncode, done.stderr)
    assert bool(done.stdout) == (">&-" not in closed.split())
