"""SECURITY.md names the test that proves a promise: it has to be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", TEXT)
CASES = re.findall(r"`(testdata/cases/[\w*.-]+)`", TEXT)
BOUNDARIES = re.findall(r"\n\n(\*\*[^*]+\*\*.*?)(?=\n\n\*\*|\n\n## )", TEXT, re.DOTALL)


def test_some_tests_are_named() -> None:
    """Else the next test would say nothing."""
    assert len(NAMED) > 40
    assert len(CASES) > 4
    assert len(BOUNDARIES) > 8


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_test_that_is_named_is_there(file: str, name: str) -> None:
    """By its file, and where one is named by its function."""
    text = (ROOT / file).read_text()
    assert re.search(rf"^def {name}\(" if name else r"^def test_", text, re.MULTILINE)


@pytest.mark.parametrize("pattern", CASES)
def test_each_case_that_is_named_is_there(pattern: str) -> None:
    """A pattern may name several."""
    assert list(ROOT.glob(pattern))


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda text: text.split("**")[1])
def test_each_boundary_has_its_proof(boundary: str) -> None:
    """What is promised of labels, images, secrets and so on is shown by a test or a case."""
    assert re.search(r"`(?:tests|testdata)/", boundary)
