"""`lint` as people call it: on Compose files and saved inventories, with and without a document."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.commands.main import run_cli

DATA = Path(__file__).parents[2] / "testdata" / "lint"
COMPOSE, INVENTORY = str(DATA / "compose.yaml"), str(DATA / "inventory.json")
CONFIG = str(DATA / "config.json")


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without a document, and no Docker Compose on the PATH."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("BACKREST_CONFIG", "BACKREST_SECRET_HOOK", "COMPOSE_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)


def lint_json(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    """Run `lint --format json`; give the status and the object."""
    status = run_cli(["lint", "--format", "json", *flags])
    return status, json.loads(capsys.readouterr().out)


def problems(report: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Tell workload, reason and line of each problem."""
    return [(one["workload"], one["reason"], one["line"]) for one in report["problems"]]


def test_compose_file_without_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    """As in a pre-commit hook: what is wrong and where, but nothing about repositories."""
    status, report = lint_json(capsys, "--compose", COMPOSE)
    assert 3 == status
    assert report["document"] is False
    assert [
        ("shop/db", "label.unknown", 16),
        ("shop/db", "lint.not-enabled", 16),
        ("shop/db", "lint.swarm-only", 19),
        ("shop/web", "keep.invalid", 9),
    ] == problems(report)
    assert {COMPOSE} == {one["file"] for one in report["problems"]}


def test_a_compose_file_may_be_named_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """As people try it first, and as a hook for pre-commit names files."""
    by_flag = lint_json(capsys, "--compose", COMPOSE)

    assert by_flag == lint_json(capsys, COMPOSE)
    assert 3 == run_cli(["lint", COMPOSE, "--output", "json"])
    assert by_flag[1] == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("each", [(), ("--each",)])
def test_keys_that_backrest_ignores_are_told_once(
    each: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the document as their file; they fail a lint only with --strict."""
    document = json.loads(Path(CONFIG).read_text("utf-8"))
    document["plans"][0]["retention"]["policyKeepLatsN"] = 4
    config = tmp_path / "config.json"
    config.write_text(json.dumps(document))
    compose = tmp_path / "compose.yaml"
    compose.write_text("name: shop\nservices: {web: {image: web}}\n")

    flags = ("--compose", str(compose), "--config", str(config), *each)
    status, report = lint_json(capsys, *flags)
    assert (0, [("", "lint.unknown-key", 0)]) == (status, problems(report))
    (told,) = report["problems"]
    assert (str(config), "did you mean policyKeepLastN?") == (told["file"], told["hint"])
    assert told["message"].startswith("plans[0].retention.policyKeepLatsN is not known")
    assert 3 == lint_json(capsys, *flags, "--strict")[0]


def test_labels_in_the_wrong_place_are_found_with_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that backs up nothing says so, and why."""
    file = tmp_path / "compose.yaml"
    file.write_text(
        """name: shop
services:
  web:
    build:
      context: .
      labels:
        - backrest.enable=true
    annotations: {backrest.enable: "true"}
    environment:
      backrest.keep: all
      OTHER: x
volumes:
  data:
    labels: {backrest.enable: "true"}
"""
    )
    status, report = lint_json(capsys, "--compose", str(file))
    assert 0 == status
    assert [
        ("services.web.annotations", "lint.misplaced", 8),
        ("services.web.build.labels", "lint.misplaced", 7),
        ("services.web.environment", "lint.misplaced", 10),
        ("volumes.data.labels", "lint.misplaced", 14),
    ] == problems(report)
    run_cli(["lint", "--compose", str(file)])
    assert 'write `backrest.enable: "true"`' in capsys.readouterr().out
    run_cli(["reconcile", "--dry-run", "--compose", str(file), "--config", CONFIG])
    assert 'write `backrest.enable: "true"`' in capsys.readouterr().out


def test_prefix_with_a_slip_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise nobody would ever hear that the service is not backed up."""
    file = tmp_path / "compose.yaml"
    file.write_text(
        "name: shop\nservices:\n  web:\n    image: x\n    labels:\n      backrset.enable: 1\n"
    )
    _, report = lint_json(capsys, "--compose", str(file))
    assert [("shop/web", "label.prefix-typo", 6)] == problems(report)


def test_missing_document_is_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody should take silence for a check."""
    run_cli(["lint", "--compose", COMPOSE])
    captured = capsys.readouterr()
    assert "so repositories and secrets are not checked" in captured.err
    assert "Without a document" in captured.out


def test_compose_file_against_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    """With a document its repositories count, and so does what it backs up already."""
    status, report = lint_json(capsys, "--compose", COMPOSE, "--config", CONFIG)
    assert 3 == status
    assert ("shop/web", "repo.missing", 7) in problems(report)
    assert ("shop/wiki", "secret.missing", 27) in problems(report)
    held = {one["destination"]: (one["plan"], one["reason"]) for one in report["coverage"]}
    assert {
        "/data": ("", "no plan: repo.missing, keep.invalid"),
        "/var/run/docker.sock": ("", "a socket holds no data"),
        "/var/lib/db": ("by-hand", ""),
        "/wiki": ("backrest_sidecar_shop_wiki", ""),
    } == held


def test_document_is_not_touched(tmp_path: Path) -> None:
    """A lint looks only."""
    config = tmp_path / "config.json"
    config.write_bytes(Path(CONFIG).read_bytes())
    before = config.stat().st_mtime_ns
    run_cli(["lint", "--inventory", INVENTORY, "--config", str(config)])
    assert before == config.stat().st_mtime_ns
    assert [config] == list(tmp_path.iterdir())


def test_warnings_fail_a_strict_lint_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A label without `enable` is a warning."""
    assert 0 == run_cli(["lint", "--inventory", INVENTORY, "--config", CONFIG])
    shown = capsys.readouterr().out
    assert (
        "lint.not-enabled [shop-mail-1 backrest.schedule] shop/mail has labels but no backrest.enable"
        in shown
    )
    assert "✓ /data (volume)" in shown
    assert 3 == run_cli(["lint", "--strict", "--inventory", INVENTORY, "--config", CONFIG])


def test_other_prefix_means_other_labels(capsys: pytest.CaptureFixture[str]) -> None:
    """Under another prefix nothing here is ours."""
    flags = ("--inventory", INVENTORY, "--config", CONFIG, "--label-prefix", "backup.")
    status, report = lint_json(capsys, "--strict", *flags)
    assert (0, []) == (status, report["problems"])
    assert {"not labelled", ""} == {one["reason"] for one in report["coverage"]}


def test_annotations_name_file_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A workflow shows them beside the change."""
    assert 3 == run_cli(["lint", "--format", "github", "--compose", COMPOSE])
    lines = capsys.readouterr().out.splitlines()
    place = COMPOSE.replace(":", "%3A").replace(",", "%2C")
    assert f"::error file={place},line=9,title=keep.invalid shop/web::" in lines[-1]


def test_annotations_are_named_from_the_workspace_of_a_workflow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner tells in a variable where the repository is."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(DATA.parent))
    run_cli(["lint", "--format", "github", "--compose", COMPOSE])
    assert "::error file=lint/compose.yaml,line=9," in capsys.readouterr().out


def stack(folder: str, label: str = "backrest.enable") -> str:
    """Write a Compose file of one service with one label into a folder; give its name."""
    path = Path(folder) / "compose.yaml"
    path.parent.mkdir(exist_ok=True)
    lines = ("services:", "  app:", "    image: example/app", "    labels:")
    path.write_text("\n".join([*lines, f'      {label}: "true"', ""]))
    return str(path)


def test_each_file_is_a_project_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Services of the same name in two stacks are two workloads, and need no merging."""
    files = [stack("wiki", "backrest.enabled"), stack("blog")]
    status, report = lint_json(capsys, "--each", *files)
    assert 3 == status
    assert [
        ("wiki/app", "label.unknown", "wiki/compose.yaml", 5),
        ("wiki/app", "lint.not-enabled", "wiki/compose.yaml", 5),
        ("blog/app", "paths.empty", "blog/compose.yaml", 2),
    ] == [(one["workload"], one["reason"], one["file"], one["line"]) for one in report["problems"]]


def test_each_takes_the_files_after_compose_too(capsys: pytest.CaptureFixture[str]) -> None:
    """As `--compose` takes them without it."""
    files = [stack("wiki"), stack("blog")]
    _, plain = lint_json(capsys, "--each", *files)
    _, flagged = lint_json(capsys, "--each", "--compose", *files)
    assert plain == flagged
    assert 2 == len(plain["problems"])


def test_a_file_that_cannot_be_read_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a finding among the others, and the missing document is reported once."""
    Path("torn.yaml").write_text("services: [\n")
    status = run_cli(["lint", "--each", "gone.yaml", "torn.yaml", stack("blog")])
    captured = capsys.readouterr()
    assert 3 == status
    assert "lint.unreadable gone.yaml cannot be read: No such file" in captured.out
    assert "lint.unreadable torn.yaml, line 2 is no valid YAML" in captured.out
    assert "paths.empty [blog-app-1" in captured.out
    assert 1 == captured.err.count("there is no document")


def test_each_looks_at_files_against_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them against the same one."""
    status, report = lint_json(capsys, "--each", COMPOSE, "--config", CONFIG)
    assert (3, True) == (status, report["document"])
    assert ("shop/web", "repo.missing", 7) in problems(report)


@pytest.mark.parametrize("files", [[], ["-"], ["--compose", "-", "a.yaml"]])
def test_each_without_names_of_files_is_refused(
    capsys: pytest.CaptureFixture[str], files: list[str]
) -> None:
    """It would ask the engine, or read a text that has no folder."""
    assert 1 == run_cli(["lint", "--each", *files])
    assert "--each takes the names of Compose files" in capsys.readouterr().err


def test_clean_lint_prints_no_annotation(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even an empty line."""
    flags = ["--inventory", INVENTORY, "--config", CONFIG, "--label-prefix", "backup."]
    assert 0 == run_cli(["lint", "--format", "github", *flags])
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "the document is not JSON"), ('{"version": 5}', "version 5 is older than 6")],
)
def test_unusable_document_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, message: str
) -> None:
    """A document that is there but wrong is not the same as none."""
    (tmp_path / "bad.json").write_text(content)
    assert 1 == run_cli(["lint", "--inventory", INVENTORY, "--config", "bad.json"])
    assert message in capsys.readouterr().err


def test_document_below_a_file_is_none() -> None:
    """A path that cannot exist is as good as one that does not."""
    assert 0 == run_cli(["lint", "--inventory", INVENTORY, "--config", f"{CONFIG}/config.json"])


def test_unreadable_place_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that the system refuses is no missing document."""
    assert 1 == run_cli(["lint", "--inventory", INVENTORY, "--config", "x" * 300])
    assert "File name too long" in capsys.readouterr().err


def test_unreadable_inventory_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown is never the same as clean."""
    assert 1 == run_cli(["lint", "--inventory", "gone.json", "--config", CONFIG])
    assert "gone.json cannot be read" in capsys.readouterr().err


def test_program_exits_with_the_status(tmp_path: Path) -> None:
    """Run as a program of its own, as a hook runs it."""
    command = [sys.executable, "-m", "sidecar", "lint", "--inventory", INVENTORY, "--strict"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--config", CONFIG],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"},
    )
    assert 3 == done.returncode
    assert "lint.not-enabled" in done.stdout
    assert "" == done.stderr
