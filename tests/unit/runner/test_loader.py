"""The document as the runner has it: the last good one wins, and a bad one is told once."""

import json
import logging
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sidecar.lib.errors import DocumentError, StoreError
from sidecar.runner.loader import Loader, load

GOOD: dict[str, Any] = {"modno": 1, "version": 6, "instance": "here"}


def write(path: Path, **fields: Any) -> None:
    """Write a document."""
    path.write_text(json.dumps({**GOOD, **fields}))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the document is."""
    return tmp_path / "config.json"


@pytest.fixture
def loader(config: Path) -> Loader:
    """What reads it."""
    return Loader(config, lambda: date(2026, 5, 1))


def plan(name: str) -> dict[str, Any]:
    """Return a plan that may be in a document."""
    return {"id": name, "repo": "store", "paths": ["/data"], "schedule": {"cron": "0 2 * * *"}}


REPO = {"id": "store", "uri": "/backups", "password": "x", "autoInitialize": True}


def test_a_good_document_is_executed(config: Path, loader: Loader) -> None:
    """From the first look at it."""
    write(config, repos=[REPO], plans=[plan("web")])
    loaded = loader.refresh()
    assert loaded.config is not None
    assert (["web"], "", 1) == ([p.id for p in loaded.config.plans], loaded.trouble, loaded.version)


def test_a_document_that_has_not_changed_is_not_read_again(config: Path, loader: Loader) -> None:
    """The very same config says that nothing is new."""
    write(config)
    first = loader.refresh()
    assert first.config is loader.refresh().config
    assert 1 == loader.loaded.version


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"{", "config.json"),
        (b"{}", "version"),
        (b'{"version": 6, "plans": [{"id": "web", "repo": "none"}]}', "plans"),
    ],
)
def test_the_last_good_document_wins(
    config: Path, loader: Loader, content: bytes, words: str
) -> None:
    """What is wrong with the present one is told in a sentence that names the file."""
    write(config, repos=[REPO], plans=[plan("web")])
    good = loader.refresh().config
    config.write_bytes(content)
    loaded = loader.refresh()
    assert (good, 1) == (loaded.config, loaded.version)
    assert str(config) in loaded.trouble
    assert words in loaded.trouble


def test_a_bad_document_is_told_once(
    config: Path, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is looked at; another fault is told again."""
    caplog.set_level(logging.INFO)
    for content in (b"{", b"{", b"{}"):
        config.write_bytes(content)
        loader.refresh()
        loader.refresh()
    assert ["document.refused"] * 2 == [record.message for record in caplog.records]
    assert "none" == vars(caplog.records[0])["fields"]["executed"]


def test_what_was_good_before_is_good_again(config: Path, loader: Loader) -> None:
    """Also if it is the same as it was."""
    write(config)
    loader.refresh()
    config.unlink()
    assert "no document" in loader.refresh().trouble
    write(config)
    assert ("", 2) == (loader.refresh().trouble, loader.loaded.version)


def test_a_document_that_is_not_there_yet_is_waited_for(config: Path, loader: Loader) -> None:
    """There is nothing to execute until then."""
    assert loader.refresh().config is None
    assert "no document" in loader.loaded.trouble
    write(config)
    assert loader.refresh().config is not None


def test_what_is_no_file_is_not_read(config: Path) -> None:
    """A pipe would hold the runner up for ever."""
    config.mkdir()
    with pytest.raises(StoreError, match="it is a directory, not a file"):
        load(config)


def test_a_document_of_no_end_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take all the memory there is."""
    write(config)
    monkeypatch.setattr("sidecar.runner.loader._LIMIT", 8)
    with pytest.raises(StoreError, match="larger than"):
        load(config)


def test_what_cannot_be_read_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's words."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(config)
    monkeypatch.setattr("sidecar.runner.loader.read_file", refuse)
    with pytest.raises(StoreError, match="cannot be read: Permission denied"):
        load(config)


def test_several_faults_are_counted(config: Path) -> None:
    """The first is told in full."""
    write(config, plans=[plan("web"), plan("db")])
    with pytest.raises(DocumentError, match="and 1 more"):
        load(config)
