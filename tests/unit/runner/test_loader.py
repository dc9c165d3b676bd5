"""The document as the runner has it: the last good one wins, and a bad one is told once."""

import json
import logging
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sidecar.lib.errors import DocumentError, StoreError
from sidecar.runner.loader import Loaded, Loader, load, load_whole
from sidecar.runner.union import DocumentChoice, DocumentFiles, DocumentName

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
    return Loader(files(config), {}, lambda: date(2026, 5, 1))


def files(config: Path) -> DocumentFiles:
    """Return where both documents are."""
    return DocumentFiles(config, config.parent / "runner.json")


def plans_of(loaded: Loaded) -> list[str] | None:
    """Return the ids of the plans that are executed; None: there is no document."""
    documents = loaded.documents
    return None if documents is None else [plan.id for plan in documents.executed.plans]


def trouble(loaded: Loaded) -> str:
    """Return all that is wrong with the files."""
    return "; ".join(one.sentence for one in loaded.troubles)


def plan(name: str) -> dict[str, Any]:
    """Return a plan that may be in a document."""
    return {"id": name, "repo": "store", "paths": ["/data"], "schedule": {"cron": "0 2 * * *"}}


REPO = {"id": "store", "uri": "/backups", "password": "x", "autoInitialize": True}


def test_a_good_document_is_executed(config: Path, loader: Loader) -> None:
    """From the first look at it."""
    write(config, repos=[REPO], plans=[plan("web")])
    loaded = loader.refresh()
    assert (["web"], "", 1) == (plans_of(loaded), trouble(loaded), loaded.version)


def test_a_document_that_has_not_changed_is_not_read_again(config: Path, loader: Loader) -> None:
    """The very same config says that nothing is new."""
    write(config)
    first = loader.refresh()
    assert first.documents is loader.refresh().documents
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
    good = loader.refresh().documents
    config.write_bytes(content)
    loaded = loader.refresh()
    assert (good, 1) == (loaded.documents, loaded.version)
    assert str(config) in trouble(loaded)
    assert words in trouble(loaded)


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
    assert "no document" in trouble(loader.refresh())
    write(config)
    assert ("", 2) == (trouble(loader.refresh()), loader.loaded.version)


def test_a_document_that_is_not_there_yet_is_waited_for(config: Path, loader: Loader) -> None:
    """There is nothing to execute until then."""
    assert loader.refresh().documents is None
    assert "no document" in trouble(loader.loaded)
    write(config)
    assert loader.refresh().documents is not None


def test_what_is_no_file_is_not_read(config: Path) -> None:
    """A pipe would hold the runner up for ever."""
    config.mkdir()
    with pytest.raises(StoreError, match="it is a directory, not a file"):
        load(files(config), {})


def test_a_document_of_no_end_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take all the memory there is."""
    write(config)
    monkeypatch.setattr("sidecar.runner.loader._LIMIT", 8)
    with pytest.raises(StoreError, match="larger than"):
        load(files(config), {})


def test_what_cannot_be_read_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's words."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(config)
    monkeypatch.setattr("sidecar.runner.loader.read_file", refuse)
    with pytest.raises(StoreError, match="cannot be read: Permission denied"):
        load(files(config), {})


def test_several_faults_are_counted(config: Path) -> None:
    """The first is told in full."""
    write(config, plans=[plan("web"), plan("db")])
    with pytest.raises(DocumentError, match="and 1 more"):
        load(files(config), {})


def both(config: Path, choice: DocumentChoice = DocumentChoice.ALL) -> tuple[Loader, Path]:
    """Return what reads both documents, and where the runner's own is."""
    runner = config.with_name("runner.json")
    return Loader(DocumentFiles(config, runner, choice), {}, lambda: date(2026, 5, 1)), runner


DISK = {**REPO, "id": "disk", "uri": "/disk"}
MAIL = {**plan("mail"), "repo": "disk"}


def test_the_runners_own_document_is_used_if_it_is_there(config: Path) -> None:
    """It may come at any time."""
    loader, runner = both(config)
    write(config, repos=[REPO], plans=[plan("web")])
    assert ["web"] == plans_of(loader.refresh())
    write(runner, repos=[DISK], plans=[MAIL])
    assert (["web", "mail"], 2) == (plans_of(loader.refresh()), loader.loaded.version)
    assert loader.loaded.is_good


def test_backrests_document_may_be_absent_where_the_runners_is_there(config: Path) -> None:
    """Backrest may not be used at all."""
    loader, runner = both(config)
    write(runner, repos=[DISK], plans=[MAIL])
    loaded = loader.refresh()
    assert (["mail"], "") == (plans_of(loaded), trouble(loaded))


def test_a_document_that_is_not_named_is_not_passed_over(config: Path, tmp_path: Path) -> None:
    """It is called otherwise by default: its plans would be forgotten in silence."""
    write(config, repos=[REPO], plans=[plan("web")])
    write(tmp_path / "runner.json", repos=[DISK], plans=[MAIL])
    loaded = Loader(files(tmp_path / "backrest.config.json"), {}).refresh()

    assert ["mail"] == plans_of(loaded)
    assert f"but one at {config} (write --config {config})" in trouble(loaded)


def test_one_document_has_to_be_there(config: Path) -> None:
    """A runner of both is told of Backrest's, one of its own alone of that."""
    loader, _ = both(config)
    assert [DocumentName.CONFIG] == [one.name for one in loader.refresh().troubles]
    companion, _ = both(config, DocumentChoice.RUNNER)
    write(config, repos=[REPO], plans=[plan("web")])
    loaded = companion.refresh()
    assert [DocumentName.RUNNER] == [one.name for one in loaded.troubles]
    assert "--runner-config" in trouble(loaded)
    assert [] == plans_of(loaded)


@pytest.mark.parametrize("name", DocumentName)
@pytest.mark.parametrize("bad", [b"{", b"{}", None])
def test_of_a_document_that_goes_bad_the_last_good_one_is_executed_and_the_other_goes_on(
    config: Path, name: DocumentName, bad: bytes | None
) -> None:
    """Also of one that is gone: its disk may not be mounted."""
    loader, runner = both(config)
    write(config, repos=[REPO], plans=[plan("web")])
    write(runner, repos=[DISK], plans=[MAIL])
    loader.refresh()
    broken = config.with_name(name.value)
    if bad is None:
        broken.unlink()
    else:
        broken.write_bytes(bad)
    other, more = (runner, {"repos": [DISK], "plans": [MAIL, {**MAIL, "id": "news"}]})
    if name is DocumentName.RUNNER:
        other, more = config, {"repos": [REPO], "plans": [plan("web"), plan("news")]}
    write(other, **more)
    loaded = loader.refresh()
    assert {"web", "mail", "news"} == set(plans_of(loaded) or ())
    assert [(name, True)] == [(one.name, one.has_good) for one in loaded.troubles]
    assert str(broken) in trouble(loaded)


def test_a_document_that_was_never_good_keeps_the_other_from_nothing(config: Path) -> None:
    """It is told that nothing of it is executed."""
    loader, runner = both(config)
    write(config, repos=[REPO], plans=[plan("web")])
    runner.write_text("{")
    loaded = loader.refresh()
    assert ["web"] == plans_of(loaded)
    assert [(DocumentName.RUNNER, False)] == [(one.name, one.has_good) for one in loaded.troubles]


def test_what_the_documents_say_together_is_logged_once(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A plan that moves, and a repository that is refused, whatever `${NAME}` stands for."""
    caplog.set_level(logging.INFO)
    runner = config.with_name("runner.json")
    loader = Loader(DocumentFiles(config, runner), {"ENGINE": "rsync"}, lambda: date(2026, 5, 1))
    wrong = {**REPO, "id": "wrong", "uri": "${ENGINE}:/x"}
    write(config, repos=[REPO, wrong], plans=[plan("web")])
    write(runner, repos=[DISK], plans=[{**MAIL, "id": "web"}])
    loader.refresh()
    write(config, repos=[REPO, wrong], plans=[plan("web"), plan("db")])
    loader.refresh()
    names = [record.message for record in caplog.records]
    assert 1 == names.count("plan.moving")
    assert 1 == names.count("repository.refused")
    write(config, repos=[REPO, wrong])
    loader.refresh()
    write(config, repos=[REPO, wrong], plans=[plan("web")])
    loader.refresh()
    assert 2 == [record.message for record in caplog.records].count("plan.moving")


def test_a_command_goes_on_with_the_good_one_and_is_told_unless_it_needs_both(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A restore is not held up by the other document; a backup of everything is."""
    _, runner = both(config)
    write(config, repos=[REPO], plans=[plan("web")])
    runner.write_text("{")
    assert ["web"] == [one.id for one in load(files(config), {}).config.plans]
    assert ["document.refused"] == [record.message for record in caplog.records]
    with pytest.raises(DocumentError, match=r"runner\.json"):
        load_whole(files(config), {})
    write(runner, repos=[DISK], plans=[MAIL])
    assert 2 == len(load_whole(files(config), {}).executed.plans)


def test_a_command_with_no_document_raises_it_and_logs_nothing(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the same fault would be told twice."""
    config.unlink(missing_ok=True)
    for one in (load, load_whole):
        with pytest.raises(StoreError, match="there is no document"):
            one(files(config), {})
    assert [] == caplog.records


def test_a_command_that_needs_both_documents_does_not_log_what_it_raises(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the same fault would be told twice."""
    _, runner = both(config)
    write(config, repos=[REPO], plans=[plan("web")])
    runner.write_text("{")
    with pytest.raises(DocumentError):
        load_whole(files(config), {})
    assert [] == caplog.records


def test_what_to_do_about_a_document_is_a_field_of_its_own(
    config: Path, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    """As of every other event."""
    config.unlink(missing_ok=True)
    loader.refresh()
    fields = vars(caplog.records[0])["fields"]
    assert f"there is no document at {config}" == fields["reason"]
    assert fields["hint"].startswith("name it by --config")


def test_only_a_daemon_logs_that_it_has_loaded_a_document(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A command, and a dry run above all, executes what it says itself."""
    caplog.set_level(logging.INFO)
    write(config, repos=[REPO], plans=[plan("web")])
    load_whole(files(config), {})
    assert [] == caplog.records
    loader = Loader(files(config), {})
    for _ in range(2):
        loader.refresh()
    assert ["document.loaded"] == [record.message for record in caplog.records]


def test_a_link_that_leads_nowhere_is_no_absent_document(config: Path) -> None:
    """Its disk may not be mounted: the plans that it holds are not run, and that is told."""
    loader, runner = both(config)
    runner.unlink(missing_ok=True)
    runner.symlink_to("gone")
    loaded = loader.refresh()

    assert not loaded.is_good
    assert f"{runner} is a link that leads to no file" == trouble(loaded)
