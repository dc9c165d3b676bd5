"""Secret references of notify labels, as they are collected before a pass."""

import pytest

from sidecar.planner.notifications import find_references


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("notify", "slack:env:BACKREST_SECRET_A, discord:https://x/", {"env:BACKREST_SECRET_A"}),
        (
            "notify",
            "'gotify:file:/run/secrets/u@env:BACKREST_SECRET_T'",
            {"file:/run/secrets/u", "env:BACKREST_SECRET_T"},
        ),
        ("notify.1", " slack:file:/run/secrets/a,b ", {"file:/run/secrets/a,b"}),
        ("notify.0", "'slack:env:BACKREST_SECRET_A'", {"env:BACKREST_SECRET_A"}),
        ("notify", "slack:env:BACKREST_SECRET_A, slack:'", set()),
        ("notify.0", "mail:env:BACKREST_SECRET_A", set()),
        ("notify.on", "env:BACKREST_SECRET_A", set()),
        ("snapshot-end", "slack:env:BACKREST_SECRET_A", set()),
        ("nonsense", "slack:env:BACKREST_SECRET_A", set()),
    ],
)
def test_references_are_found(name: str, value: str, expected: set[str]) -> None:
    """Only notify labels refer to secrets; what cannot be parsed refers to none."""
    assert find_references([(name, value)]) == expected


def test_references_of_all_labels_are_collected() -> None:
    """Each reference is named once."""
    labels = [("notify", "slack:env:A"), ("notify.0", "slack:env:A"), ("notify.1", "slack:env:B")]
    assert find_references(labels) == {"env:A", "env:B"}
