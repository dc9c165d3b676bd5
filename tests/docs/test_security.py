"""SECURITY.md names the test that proves a promise: it has to be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text())


def test_some_tests_are_named() -> None:
    """Else the next test would say nothing."""
    assert len(NAMED) > 9


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_test_that_is_named_is_there(file: str, name: str) -> None:
    """By its file, and where one is named by its function."""
    text = (ROOT / file).read_text()
    assert f"def {name or 'test_'}" in text
