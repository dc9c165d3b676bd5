"""Names that people and stored files rely on change on purpose only."""

import json
from typing import Any

import pytest

import public_names

RECORDED: dict[str, Any] = json.loads(public_names.FILE.read_text())
FOUND = public_names.collect()


@pytest.mark.parametrize("kind", sorted({*RECORDED, *FOUND}))
def test_public_names_are_those_on_record(kind: str) -> None:
    """A change of one is a decision: `scripts/lib/public_names.py --write` records it."""
    assert FOUND.get(kind)
    assert RECORDED.get(kind) == FOUND[kind]
