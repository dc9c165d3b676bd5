"""Names of workloads on the command line: completed and resolved from files alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from sidecar.backrest.workloads import WorkloadRecord, render_workloads
from sidecar.cli.commands.main import cli as sidecar_cli
from sidecar.cli.names import name_files, read_names, resolve_name, shown_names
from sidecar.cli.runner.main import cli as runner_cli
from sidecar.lib.errors import UsageError

DB, WEB = "backrest_sidecar_media_db", "backrest_sidecar_media_web"


def write_document(path: Path, repo: str, *plans: Any) -> None:
    """Write as much of a document as names are read from."""
    path.write_text(json.dumps({"repos": [{"id": repo}], "plans": [{"id": one} for one in plans]}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two documents, and the names of two workloads."""
    write_document(tmp_path / "config.json", "store", DB, "by-hand", "odd\nid", 7)
    write_document(tmp_path / "runner.json", "nas", WEB)
    records = [
        WorkloadRecord("media/db", "db", "media", containers=("postgres",), plan=DB),
        WorkloadRecord("media/web", "web", "media", plan=WEB),
    ]
    write_names(tmp_path / ".sidecar", records)
    return tmp_path


def write_names(state: Path, records: list[WorkloadRecord]) -> None:
    """Write the names where the sidecar does."""
    state.mkdir()
    (state / "workloads.json").write_bytes(render_workloads(records))


def completed(
    program: click.Group, words: list[str], start: str, environ: Mapping[str, str] | None = None
) -> list[str]:
    """Return what a shell offers after these words and what was typed."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environ or {}).items():
            patch.setenv(name, value)
        shell = ShellComplete(program, {}, "program", "_PROGRAM_COMPLETE")
        return [item.value for item in shell.get_completions(words, start)]


@pytest.mark.parametrize("command", ["run", "backup", "snapshots", "restore", "verify"])
def test_the_runner_completes_names(folder: Path, command: str) -> None:
    """Of both documents; nobody sees an id that has a name, nor one that a shell would not take."""
    config = ["--config", str(folder / "config.json")]

    assert ["by-hand", "media/db", "media/web"] == completed(runner_cli, [command, *config], "")
    assert ["postgres"] == completed(runner_cli, [command, *config], "p")


def test_the_runner_completes_repositories_where_they_are_meant(folder: Path) -> None:
    """Beside plans in `history`, alone in the upkeep."""
    environ = {"BACKREST_RUNNER_CONFIG": str(folder / "config.json")}

    assert ["nas", "store"] == completed(runner_cli, ["check"], "", environ)
    assert ["media/db", "media/web"] == completed(runner_cli, ["history"], "m", environ)
    assert ["store"] == completed(runner_cli, ["history"], "s", environ)


def test_the_sidecar_completes_names(folder: Path) -> None:
    """Also where it remembers things elsewhere."""
    config = ["--config", str(folder / "config.json")]
    write_names(folder / "state", [WorkloadRecord("shop/db", "db", "shop", plan=DB)])
    elsewhere = ["--state-dir", str(folder / "state")]

    assert ["media/db", "media/web"] == completed(sidecar_cli, ["backup", *config], "med")
    assert ["shop/db"] == completed(sidecar_cli, ["backup", *config, *elsewhere], "shop")


def test_the_sidecar_completes_names_for_flags_too(folder: Path) -> None:
    """A plan that is to be taken over is called by the name of its owner, which is gone."""
    config = ["--config", str(folder / "config.json")]

    assert ["media/db"] == completed(sidecar_cli, ["reconcile", *config, "--take-over"], "media/d")
    assert ["media/db"] == completed(sidecar_cli, ["schedule", *config], "media/d")


def test_the_runner_is_told_where_the_sidecar_remembers_things(folder: Path) -> None:
    """Its own --state-dir is another."""
    write_names(folder / "state", [WorkloadRecord("shop/db", "db", "shop", plan=DB)])
    environ = {
        "BACKREST_RUNNER_CONFIG": str(folder / "config.json"),
        "BACKREST_RUNNER_SIDECAR_DIR": str(folder / "state"),
    }

    assert ["shop/db"] == completed(runner_cli, ["backup"], "shop", environ)


def test_without_documents_nothing_is_completed(tmp_path: Path) -> None:
    """It is no error: the shell goes on."""
    config = ["--config", str(tmp_path / "config.json")]

    assert [] == completed(runner_cli, ["backup", *config], "")
    assert [] == completed(runner_cli, ["check", *config], "")


def test_without_names_plans_are_known_by_their_ids(folder: Path) -> None:
    """The file may be lost, or be anything at all."""
    (folder / ".sidecar" / "workloads.json").write_bytes(b"[" * 100_000)
    names = read_names(name_files(folder / "config.json", None, None))

    assert DB == resolve_name(DB, names)
    with pytest.raises(UsageError) as caught:
        resolve_name("media/db", names)
    assert f"did you mean {DB}?" == caught.value.hint


@pytest.mark.parametrize("content", [b"", b"[]", b'{"plans": {}}', b'{"plans": [1]}', b"\xff"])
def test_a_document_of_any_content_is_no_failure(folder: Path, content: bytes) -> None:
    """The names of the other one are known; whoever needs it tells what is wrong."""
    (folder / "config.json").write_bytes(content)
    names = read_names(name_files(folder / "config.json", None, None))

    assert {WEB: "media/web"} == shown_names(names)


def test_a_name_is_taken_for_an_id_where_no_document_can_be_read(tmp_path: Path) -> None:
    """A daemon may still know it."""
    names = read_names(name_files(tmp_path / "config.json", None, None))

    assert ("media/db", {}) == (resolve_name("media/db", names), shown_names(names))
