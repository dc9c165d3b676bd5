"""`schema` as people call it."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from sidecar.cli.commands.main import run_cli

DATA = Path(__file__).parents[2] / "testdata" / "lint"


def read_schema(capsys: pytest.CaptureFixture[str], *arguments: str) -> Draft202012Validator:
    """Run `schema` and give a validator of what it prints."""
    assert 0 == run_cli(["schema", *arguments])
    return Draft202012Validator(json.loads(capsys.readouterr().out))


def test_document_schema_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """It accepts a document and what `init` makes."""
    validator = read_schema(capsys)
    assert validator.is_valid(json.loads((DATA / "config.json").read_text()))
    assert not validator.is_valid({"version": 6, "repos": [{"id": "x"}]})
    assert validator.schema == read_schema(capsys, "document").schema


def test_labels_schema_finds_the_wrong_service(capsys: pytest.CaptureFixture[str]) -> None:
    """An editor underlines what `lint` would find."""
    validator = read_schema(capsys, "labels")
    services = yaml.safe_load((DATA / "compose.yaml").read_text())["services"]
    found = {name: validator.is_valid(service["labels"]) for name, service in services.items()}
    assert {"web": True, "db": False, "wiki": True} == found


@pytest.mark.parametrize("arguments", [["plans"], ["labels", "--label-prefix", "backrest"]])
def test_wrong_arguments_are_status_1(arguments: list[str]) -> None:
    """There are two schemas, and a prefix ends before the name."""
    assert 1 == run_cli(["schema", *arguments])
