"""Labels and names that want to be commands: of a terminal, or of the log of a GitHub workflow."""

import json
from pathlib import Path

import pytest

from sidecar.cli.commands.main import run_cli

COMMANDS = ["::add-mask::x", "  ::stop-commands::t", "x\n::error::y", "x\r::debug::y", "##[error]x"]
LABELS = ["id", "repo", "schedule", "keep", "paths.include", "notify", "hooks.template", "shedule"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a document whose names are commands too."""
    repo = {"id": "::group::r", "uri": "/r", "guid": "a" * 64, "password": "x"}
    plans = [
        {"id": f"{prefix}::group::p{number}", "repo": "::group::r", "paths": [text]}
        for prefix in ("", "backrest_sidecar_")
        for number, text in enumerate(COMMANDS)
    ]
    file = tmp_path / "config.json"
    whole = {"modno": 1, "version": 6, "instance": "i", "repos": [repo], "plans": plans}
    file.write_text(json.dumps(whole))
    return file


def inventory(folder: Path, text: str) -> Path:
    """Save a list of containers in which that text stands wherever text may stand."""
    listed = []
    for number, label in enumerate(LABELS):
        labels = {"backrest.enable": "true", f"backrest.{label}": text, f"backrest.{text}": "x"}
        mount = {"Type": "bind", "Source": f"/srv/{text}", "Destination": f"/{text}", "RW": True}
        entry = {"Id": f"{number:064x}", "Names": [f"/{text}{number}"], "Image": text}
        listed.append({**entry, "Labels": labels, "Mounts": [mount], "State": "running"})
    file = folder / "list.json"
    file.write_text(json.dumps(listed))
    return file


@pytest.mark.parametrize("text", COMMANDS)
@pytest.mark.parametrize("policy", ["all", "templates", "none"])
@pytest.mark.parametrize(
    "words",
    [("reconcile", "--dry-run"), ("reconcile", "--dry-run", "--output", "diff"), ("lint",)],
    ids=lambda words: words[-1],
)
def test_no_line_of_the_output_is_a_command(
    tmp_path: Path,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    policy: str,
    words: tuple[str, ...],
) -> None:
    """Whatever stands in names, labels, mounts and the document."""
    saved = inventory(tmp_path, text)
    given = ("--config", str(config), "--inventory", str(saved), "--hook-policy", policy)
    run_cli([*words, *given])
    shown = "\n".join(capsys.readouterr())

    assert "backrest" in shown
    for line in shown.replace("\r", "\n").split("\n"):
        assert not line.strip().startswith("::")
        assert "##[" not in line
        assert "\x1b" not in line
