"""The JSON Schemas for editors: valid themselves, and as strict as the parser where they can be."""

import json
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from sidecar.cli.commands.schema import labels_schema, render_schema
from sidecar.labels.registry import LABELS
from sidecar.labels.spec import parse_labels
from sidecar.lib.errors import UsageError

LABELS_SCHEMA = Draft7Validator(labels_schema("backrest."))


def accepts(labels: Any) -> bool:
    """Return whether the schema accepts the value of a service's `labels`."""
    return bool(LABELS_SCHEMA.is_valid(labels))


def in_both_forms(name: str, value: str) -> bool:
    """Return whether a label is accepted; as a mapping and as a list must be the same."""
    mapping, listed = accepts({name: value}), accepts([f"{name}={value}"])
    assert mapping == listed
    return mapping


def test_both_schemas_are_valid_schemas() -> None:
    """Of the draft that they name."""
    for kind, draft in (("document", Draft202012Validator), ("labels", Draft7Validator)):
        schema = json.loads(render_schema(kind, "backrest."))
        assert draft.META_SCHEMA["$id"] == schema["$schema"]
        draft.check_schema(schema)


def test_document_schema_accepts_a_document_and_refuses_another() -> None:
    """It is the one that the package carries."""
    validator = Draft202012Validator(json.loads(render_schema("document", "backrest.")))
    assert validator.is_valid({"version": 6, "modno": 1, "instance": "nas"})
    assert not validator.is_valid({"version": 1})


def test_every_label_is_described() -> None:
    """The registry is the source, so an editor shows what the reference says."""
    properties = labels_schema("backrest.")["oneOf"][0]["properties"]
    assert [f"backrest.{label.name}" for label in LABELS] == list(properties)
    assert "daily" not in properties["backrest.enable"]["description"]
    assert "true or false (default: not enabled)" == properties["backrest.enable"]["description"]
    assert "base of the plan id" == properties["backrest.id"]["description"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backrest.enable", "true"),
        ("backrest.enable", " YES "),
        ("backrest.enable", "${BACKUP:-true}"),
        ("backrest.enable", "f"),
        ("backrest.schedule", "T 2 * * *"),
        ("backrest.paths.include", "/data,/srv"),
        ("backrest.paths.include.0", "/data"),
        ("backrest.paths.exclude.12", "*.tmp"),
        ("backrest.hooks.template", "stop-start"),
        ("backrest.hooks.on-error", "retry-1m"),
        ("backrest.notify.on", "error"),
        ("backrest.notify.on", "error, 'warning'"),
        ("backrest.notify.on", '["error", "start"]'),
        ("backrest.notify.on", ""),
        ("backrest.notify.on.1", "success"),
        ("backrest.snapshot-start", "docker exec $$SELF sync"),
        ("backrest.keep", "daily=7,weekly=4"),
        ("backrestX.enable", "1"),
        ("traefik.enable", "maybe"),
    ],
)
def test_right_labels_are_accepted(name: str, value: str) -> None:
    """Also with spaces, variables, quotes, and labels of other programs."""
    assert in_both_forms(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backrest.enable", "maybe"),
        ("backrest.enable", ""),
        ("backrest.enabled", "true"),
        ("backrest.enable.0", "true"),
        ("backrest.paths.include.x", "/data"),
        ("backrest.paths.include.01", "/data"),
        ("backrest.plan.x", "1"),
        ("backrest.", "1"),
        ("backrest.hooks.template", "stop"),
        ("backrest.hooks.on-error", "fail"),
        ("backrest.notify.on", "error,never"),
        ("backrest.notify.on.0", "never"),
        ("backrest.quiesce", "2"),
    ],
)
def test_wrong_labels_are_refused(name: str, value: str) -> None:
    """Unknown names under the prefix, and words that are none."""
    assert not in_both_forms(name, value)


@pytest.mark.parametrize("value", [True, False, 1, 0])
def test_enable_may_be_a_yaml_boolean_or_number(value: bool | int) -> None:
    """Compose makes texts of them."""
    assert accepts({"backrest.enable": value})


def test_labels_are_no_text_and_lists_hold_texts() -> None:
    """Anything but a mapping or a list of texts is refused."""
    assert not accepts("backrest.enable=true")
    assert not accepts([{"backrest.enable": "true"}])
    assert not accepts({"backrest.enable": ["true"]})
    assert accepts({"backrest.paths.exclude": None})
    assert accepts(["backrest.quiesce=no", "bare"])


@pytest.mark.parametrize("label", LABELS, ids=lambda label: str(label.name))
def test_choices_that_the_schema_offers_are_parsed(label: Any) -> None:
    """What an editor completes, the parser takes."""
    for choice in label.choices:
        assert in_both_forms(f"backrest.{label.name}", choice)
        _, problems = parse_labels({label.name: choice}, "backrest.")
        assert [] == problems


def test_prefix_is_taken_literally() -> None:
    """A dot in it is a dot, and other prefixes are other programs'."""
    validator = Draft7Validator(json.loads(render_schema("labels", "my.backup/")))
    assert validator.is_valid({"my.backup/enable": "yes", "my_backup/x": "", "backrest.x": ""})
    assert not validator.is_valid({"my.backup/x": ""})


def test_prefix_that_runs_into_the_name_is_refused() -> None:
    """The same rule as for every command."""
    with pytest.raises(UsageError):
        render_schema("labels", "backrest")
