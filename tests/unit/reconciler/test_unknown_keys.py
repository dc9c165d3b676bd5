"""Keys that the schema of the document does not name."""

from typing import Any

import pytest

from sidecar.backrest.messages import CONFIG, MessageType
from sidecar.reconciler.unknown_keys import UnknownKey, _find, find_unknown_keys

Json = dict[str, Any]
PLAN: Json = {"id": "p", "repo": "r", "paths": ["/a"], "retention": {"policyKeepLastN": 3}}


def whole(**more: object) -> Json:
    """Make a document."""
    return {"version": 6, "repos": [{"id": "r", "uri": "/r"}], "plans": [PLAN], **more}


@pytest.mark.parametrize(
    ("document", "path", "meant"),
    [
        (whole(plan=[]), "plan", "plans"),
        (whole(frobnicate={"x": 1}), "frobnicate", ""),
        (whole(plans=[PLAN, PLAN | {"backupFlags": []}]), "plans[1].backupFlags", "backup_flags"),
        (
            whole(plans=[PLAN | {"retention": {"policyTimeBucketed": {"dialy": 7}}}]),
            "plans[0].retention.policyTimeBucketed.dialy",
            "daily",
        ),
        (
            whole(plans=[PLAN | {"hooks": [{"actionCommand": {"comand": "x"}}]}]),
            "plans[0].hooks[0].actionCommand.comand",
            "command",
        ),
        (
            whole(repos=[{"prunePolicy": {"schedule": {"max_frequency_days": 1}}}]),
            "repos[0].prunePolicy.schedule.max_frequency_days",
            "maxFrequencyDays",
        ),
        (whole(**{"a\nb": 1}), "'a\\nb'", ""),
    ],
)
def test_a_key_is_told_with_its_path_and_what_is_meant(
    document: Json, path: str, meant: str
) -> None:
    """Wherever in the document it stands, and on one line."""
    assert ((UnknownKey(path, meant),), False) == find_unknown_keys(document)


@pytest.mark.parametrize(
    "document",
    [
        whole(),
        whole(sync=None, auth={"users": [{"name": "me", "passwordBcrypt": "x"}]}),
        # Other names that Backrest reads; what stands below is not looked at.
        whole(multihost={}, repos=[{"prune_policy": {"schedul": 1}, "auto_unlock": True}]),
        # What the rules have a word about.
        whole(plans={"id": "p"}, **{"[extension]": 1}),
        whole(plans=["p", 1, None], repos=7),
    ],
)
def test_what_backrest_reads_or_the_rules_refuse_is_not_told(document: Json) -> None:
    """One fault is told in one place."""
    assert ((), False) == find_unknown_keys(document)


def test_no_more_than_ten_are_listed() -> None:
    """That there are more is said."""
    listed, has_more = find_unknown_keys(whole(plans=[PLAN | {"x": 1}] * 5_000))
    assert (10, "plans[9].x", True) == (len(listed), listed[-1].path, has_more)


def every_key(message: MessageType, **more: object) -> Json:
    """Make an object with every field that Backrest knows, and more in each of its objects."""
    found: Json = {}
    for field in message.fields.values():
        value: object = every_key(field.message, **more) if field.message else "x"
        found[field.name] = [value] if field.repeated else value
    return found | more


def count_objects(value: Any) -> int:
    """Count the objects in a value."""
    if isinstance(value, dict):
        return 1 + sum(map(count_objects, value.values()))
    return sum(map(count_objects, value)) if isinstance(value, list) else 0


def test_the_schema_names_every_key_that_backrest_knows() -> None:
    """None of them is told by mistake, and one that is not known is told in each object."""
    assert ((), False) == find_unknown_keys(every_key(CONFIG))
    document = every_key(CONFIG, xyzzy=1)
    assert count_objects(document) == len(list(_find(document)))
