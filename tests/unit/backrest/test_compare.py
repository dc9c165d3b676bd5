"""Whether the file and what Backrest serves differ in anything foreign."""

import json
from typing import Any

import pytest

from sidecar.backrest.compare import differs
from sidecar.backrest.document import parse_document


def differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two documents differ."""
    first, second = (parse_document(json.dumps(document).encode()) for document in (one, other))
    return differs(first, second, "x_")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(10, 10.0, False), ("10", 10, False), (10, 11, True), ("many", "many", False), ([1], 1, True)],
)
def test_spellings_of_a_percentage_are_one_number(one: Any, other: Any, expected: bool) -> None:
    """Backrest writes numbers in its own spelling; what is no number is compared as it is."""
    first, second = (
        {"repos": [{"id": "r", "prunePolicy": {"maxUnusedPercent": percent}}]}
        for percent in (one, other)
    )
    assert differ(first, second) is expected
