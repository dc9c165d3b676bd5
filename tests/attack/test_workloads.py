"""workloads.json of a stranger: whoever has the sidecar's folder writes what the runner reads."""

import json
import os
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from sidecar.cli.runner.main import cli, run_cli

PLAN = "backrest_sidecar_web"
TEXTS = [
    "\x1b[2J",
    "::add-mask::x",
    "x\n::error::y",
    "##[error]x",
    "\u202eseldom",
    "\ud800",
    "$(id)",
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document with one plan."""
    repo = {"id": "store", "uri": str(tmp_path / "repo"), "password": "-", "autoInitialize": True}
    plan = {"id": PLAN, "repo": "store", "paths": ["/d"], "schedule": {"disabled": True}}
    root = {"version": 6, "instance": "here", "repos": [repo], "plans": [plan]}
    (tmp_path / "config.json").write_text(json.dumps(root))
    return tmp_path / "config.json"


def plant(config: Path, content: bytes) -> Path:
    """Write what the sidecar would not."""
    state = config.parent / ".sidecar"
    state.mkdir(exist_ok=True)
    (state / "workloads.json").write_bytes(content)
    return state / "workloads.json"


def named(*names: str, plan: str = PLAN) -> bytes:
    """Return records in which a text stands wherever one may stand."""
    records = [
        {
            **dict.fromkeys(
                ("name", "service", "project", "group", "document", "repository"), name
            ),
            "aliases": [name],
            "containers": [name],
            "plan": plan,
            "mounts": [dict.fromkeys(("path", "host", "seen", "kind", "volume", "why"), name)],
            "problems": [dict.fromkeys(("reason", "severity", "message", "hint"), name)],
        }
        for name in names
    ]
    return json.dumps({"version": 1, "workloads": records}).encode()


def shown(capsys: pytest.CaptureFixture[str], config: Path, *words: str) -> tuple[int, str]:
    """Run a command; return its status, and all that it wrote."""
    status = run_cli([*words, "--config", str(config)])
    return status, "\n".join(capsys.readouterr())


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "words",
    [("plans",), ("history",), ("backup", "nothing"), ("snapshots", "nothing")],
    ids=" ".join,
)
def test_no_name_is_obeyed_by_what_shows_it(
    config: Path, capsys: pytest.CaptureFixture[str], text: str, words: tuple[str, ...]
) -> None:
    """Neither by a terminal nor by the log of a workflow."""
    plant(config, named(text))
    _, out = shown(capsys, config, *words)

    for line in out.replace("\r", "\n").split("\n"):
        assert not line.strip().startswith("::")
        assert ("##[" in line, line.isprintable()) == (False, True)
    if words == ("plans",):
        # It was read, and stands in place of the id.
        assert PLAN not in out


def test_a_name_means_only_plans_that_stand(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever plan it is said to be of, and no id of a plan is ever taken over by a name."""
    plant(config, named("media/db", plan="elsewhere"))
    status, out = shown(capsys, config, "backup", "media/db")
    assert (1, True) == (status, "media/db is in no plan" in out)

    plant(config, named(PLAN, plan="elsewhere"))
    assert PLAN in shown(capsys, config, "plans")[1]


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "endless", "deep", "broken"])
def test_a_file_of_any_kind_costs_nothing_but_the_names(
    config: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """It is never waited for, nor read without an end, and plans are known by their ids."""
    file = plant(config, b"[" * 100_000 if kind == "deep" else b"{")
    if kind not in {"deep", "broken"}:
        file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    if kind == "device":
        file.symlink_to("/dev/zero")
    if kind == "folder":
        file.mkdir()
    if kind == "endless":
        with file.open("wb") as written:
            written.truncate(1 << 40)
    status, out = shown(capsys, config, "plans")

    assert (0, True) == (status, PLAN in out)


@pytest.mark.parametrize("text", TEXTS)
def test_no_name_breaks_the_line_that_a_shell_completes(config: Path, text: str) -> None:
    """Each candidate is a line for the shell; what is not printable is none."""
    plant(config, named(text, "media/db"))
    shell = ShellComplete(cli, {}, "backrest-runner", "_COMPLETE")
    found = shell.get_completions(["backup", "--config", str(config)], "")

    assert found
    assert all(item.value.isprintable() for item in found)
