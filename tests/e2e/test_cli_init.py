"""`init` as people call it, and what comes after it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli.commands.main import run_cli

INVENTORY = str(Path(__file__).parents[2] / "testdata" / "lint" / "inventory.json")


def test_document_is_ready_for_the_next_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`reconcile` writes its plans into what `init` made, without a word about repositories."""
    config = str(tmp_path / "config.json")
    assert 0 == run_cli(["init", "--repo", "/backups", "--generate-password", "--config", config])
    captured = capsys.readouterr()
    assert "authentication is open" in captured.err
    password = json.loads(Path(config).read_text())["repos"][0]["password"]
    assert password not in captured.out + captured.err
    flags = ["--config", config, "--inventory", INVENTORY, "--output", "json"]
    assert 0 == run_cli(["reconcile", *flags])
    outcome = json.loads(capsys.readouterr().out)
    assert (["backrest_sidecar_shop_web"], []) == (outcome["added"], outcome["problems"])
    assert 2 == json.loads(Path(config).read_text())["modno"]


@pytest.mark.parametrize("named", [[], ["--runner-config", "other.json"]])
def test_a_repository_of_another_engine_needs_no_document_of_backrest(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    named: list[str],
) -> None:
    """`reconcile` writes its plans into what `init` made, and makes no config.json."""
    monkeypatch.chdir(tmp_path)
    runner = tmp_path / (named[-1] if named else "runner.json")
    flags = ["--config", "config.json", *named]
    assert 0 == run_cli(["init", "--repo", "rsync:/backups", *flags])
    capsys.readouterr()
    flags += ["--inventory", INVENTORY]
    assert 0 == run_cli(["reconcile", *flags, "--dry-run"])
    assert f"{runner.name} would be written: 1 new" in capsys.readouterr().out
    assert 0 == run_cli(["reconcile", *flags, "--output", "json"])
    captured = capsys.readouterr()
    outcome = json.loads(captured.out)

    assert (["backrest_sidecar_shop_web"], []) == (outcome["added"], outcome["problems"])
    assert "restart" not in captured.err
    assert [runner.name] == [path.name for path in tmp_path.iterdir()]
    assert 2 == json.loads(runner.read_text())["modno"]
    assert 0 == run_cli(["schedule", *flags[:-2], "--output", "json", "--timezone", "UTC"])
    assert "backrest_sidecar_shop_web" in capsys.readouterr().out


def test_one_document_is_not_both(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The two need files of their own."""
    config = str(tmp_path / "config.json")
    flags = ["--config", config, "--runner-config", config, "--inventory", INVENTORY]

    assert 1 == run_cli(["reconcile", *flags])
    assert "--runner-config names the document of --config" in capsys.readouterr().err


def test_second_init_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It fails, or with --if-absent succeeds; the bytes stay."""
    config = tmp_path / "config.json"
    flags = ["--repo", "/b", "--generate-password", "--config", str(config), "--instance", "nas"]
    assert 0 == run_cli(["init", *flags])
    before = config.read_bytes()
    assert 1 == run_cli(["init", *flags])
    assert "is there already" in capsys.readouterr().err
    assert 0 == run_cli(["init", "--if-absent", *flags])
    captured = capsys.readouterr()
    assert ("", f"{config} is there already and stays as it is.\n") == (captured.err, captured.out)
    assert before == config.read_bytes()


@pytest.mark.parametrize(
    "flags",
    [["--repo", "/b"], ["--generate-password"], ["--repo", "/b", "--password-file", "gone"]],
)
def test_flags_that_do_not_suffice_are_status_1(tmp_path: Path, flags: list[str]) -> None:
    """No repository, no password: no document."""
    config = tmp_path / "config.json"
    assert 1 == run_cli(["init", "--config", str(config), *flags])
    assert [] == list(tmp_path.iterdir())


def test_program_makes_a_document_from_a_password_file(tmp_path: Path) -> None:
    """Run as a program of its own, as a container's first start runs it."""
    (tmp_path / "pw").write_text("correct horse\n")
    command = [sys.executable, "-m", "sidecar", "init", "--repo", "s3:host/bucket"]
    done = subprocess.run(
        [*command, "--password-file", "pw", "--repo-id", "offsite", "--config", "c.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (0, True) == (done.returncode, "authentication is open" in done.stderr)
    (repo,) = json.loads((tmp_path / "c.json").read_text())["repos"]
    assert ("offsite", "s3:host/bucket", "correct horse") == (
        repo["id"],
        repo["uri"],
        repo["password"],
    )
