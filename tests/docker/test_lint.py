"""`lint` and `schedule` on a real engine: what only the engine can tell."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from private_docker import PrivateEngine
from sample_stack import compose_labels
from sidecar.cli.commands.main import run_cli
from world import IMAGE, World

CONFIG = str(Path(__file__).parents[2] / "testdata" / "lint" / "config.json")


def included(paths: str, service: str = "web", number: int = 1) -> dict[str, str]:
    """The labels of a service whose paths are named."""
    ours = {"backrest.enable": "true", "backrest.paths.include": paths}
    return ours | compose_labels("shop", service, number)


def lint(
    capsys: pytest.CaptureFixture[str], engine: PrivateEngine, *flags: str
) -> tuple[int, dict[str, Any]]:
    """Run `lint` on the engine; give the status and the report."""
    command = ["lint", "--docker-sock", engine.address, "--config", CONFIG, "--format", "json"]
    status = run_cli([*command, *flags])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture
def runner(world: World) -> Iterator[str]:
    """A container that tells a time zone, as the runner's does; give its name."""
    made = world.client.create_container(
        IMAGE, name="lint-runner", environment={"TZ": "Asia/Tokyo"}
    )
    yield "lint-runner"
    world.client.remove_container(made["Id"], force=True)


def test_path_that_no_container_has_is_found(
    capsys: pytest.CaptureFixture[str], engine: PrivateEngine, world: World
) -> None:
    """Also of a container that does not run; a path that is there is no finding."""
    world.container(
        "lint-web", included("/data,/data/gone"), [f"{world.volume('lint-data')}:/data"]
    )
    status, report = lint(capsys, engine)
    assert 0 == status
    assert [("lint.path-absent", "lint-web", "warning")] == [
        (one["reason"], one["container"], one["severity"]) for one in report["problems"]
    ]
    assert "/data/gone does not exist in lint-web" in report["problems"][0]["message"]
    assert 3 == lint(capsys, engine, "--strict")[0]


def test_path_that_one_replica_has_is_enough(
    capsys: pytest.CaptureFixture[str], engine: PrivateEngine, world: World, tmp_path: Path
) -> None:
    """A workload's paths are those of all its containers."""
    (tmp_path / "sub").mkdir()
    (other := tmp_path / "other").mkdir()
    world.container("lint-web-1", included("/data/sub"), [f"{other}:/data"])
    world.container("lint-web-2", included("/data/sub", number=2), [f"{tmp_path}:/data"])
    assert "lint.path-absent" not in [one["reason"] for one in lint(capsys, engine)[1]["problems"]]


def test_saved_answers_lint_alike(
    capsys: pytest.CaptureFixture[str], engine: PrivateEngine, world: World, tmp_path: Path
) -> None:
    """`--save-inventory` keeps, for its owner alone, what `--inventory` reads."""
    world.container("lint-web", included("/data"), [f"{world.volume('lint-data')}:/data"])
    saved = tmp_path / "inventory.json"
    _, report = lint(capsys, engine, "--save-inventory", str(saved))
    assert 0o600 == stat.S_IMODE(saved.stat().st_mode)
    command = ["lint", "--inventory", str(saved), "--config", CONFIG, "--format", "json"]
    assert 0 == run_cli(command)
    assert report == json.loads(capsys.readouterr().out)


def test_inventory_that_cannot_be_saved_fails(
    capsys: pytest.CaptureFixture[str], engine: PrivateEngine, tmp_path: Path
) -> None:
    """Asked for and not done is a failure."""
    command = ["lint", "--docker-sock", engine.address, "--save-inventory", str(tmp_path)]
    assert 1 == run_cli(command)
    assert f"--save-inventory {tmp_path} cannot be written" in capsys.readouterr().err


def test_zone_is_that_of_the_runner(
    capsys: pytest.CaptureFixture[str], engine: PrivateEngine, runner: str
) -> None:
    """The runner's container tells its TZ; another name tells none."""
    command = ["schedule", "--config", CONFIG, "--docker-sock", engine.address]
    assert 0 == run_cli([*command, "--backrest-container", runner])
    assert f"time zone Asia/Tokyo (TZ of the container {runner})" in capsys.readouterr().out
    assert 0 == run_cli([*command, "--backrest-container", "nobody"])
    assert "this machine's, because no container nobody tells a TZ" in capsys.readouterr().out
