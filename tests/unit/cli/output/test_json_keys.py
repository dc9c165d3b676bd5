"""The keys of what commands write as JSON."""

import ast
import re
from pathlib import Path

import sidecar.cli

ROOT = Path(sidecar.cli.__file__).parent
CAMEL = re.compile(r"[a-z0-9][A-Z]")
# JSON Schema has keys of its own.
OTHERS = {ROOT / "commands" / "schema.py"}


def test_keys_are_snake_case_everywhere() -> None:
    """One form in both programs; only a document's own keys are as Backrest has them."""
    keys = [
        key.value
        for file in sorted({*ROOT.rglob("*.py")} - OTHERS)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    ]

    assert {"next_run", "last_outcome", "runner_config"} <= set(keys)
    assert [] == [key for key in keys if CAMEL.search(key)]
