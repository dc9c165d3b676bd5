"""The Makefile: thin, and true to the scripts that it names."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def test_each_target_is_told_at_the_top_and_made_of_nothing() -> None:
    """No target is a file, so each is run whenever it is asked for."""
    targets = re.findall(r"^([a-z]+):(.*)$", MAKEFILE, re.MULTILINE)
    assert [(name, "") for name in ("build", "test", "demo", "compose")] == targets
    names = [name for name, _ in targets]
    assert names == re.findall(r"^#   make (\w+) ", MAKEFILE, re.MULTILINE)
    assert f".PHONY: {' '.join(names)}\n" in MAKEFILE


def test_what_it_runs_is_there() -> None:
    """Scripts that can be run, every target of the Dockerfile, and Compose's own file."""
    lines = re.findall(r"^\t(.+)$", MAKEFILE, re.MULTILINE)
    scripts = [ROOT / line for line in lines if line.startswith("scripts/")]
    assert ["test", "demo"] == [script.name for script in scripts]
    assert all(os.access(script, os.X_OK) for script in scripts)
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    built = [found[1] for line in lines if (found := re.search(r"--target (\S+)", line))]
    assert built == [name for name in stages if name in {"sidecar", "runner", "runner-all"}]
    assert "docker compose up --detach" in lines
    assert (ROOT / "compose.yaml").exists()
