"""The demo and the private engine that it may start."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import docker
import pytest

from private_docker import PrivateEngine, answers, run_engine, stop_engine
from world import World

ROOT = Path(__file__).parent.parent.parent
LABEL = "sample-stack.file"
# Of a terminal that is read at one look, what is installed included.
LINES, COLUMNS = 80, 80


def demo(engine: PrivateEngine) -> subprocess.CompletedProcess[str]:
    """Run the demo on an engine that is there already."""
    return subprocess.run(
        [ROOT / "scripts" / "demo"],
        env=os.environ | {"DOCKER_HOST": engine.address},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_writes_plans_backs_them_up_and_leaves_nothing(
    engine: PrivateEngine, docker_client: docker.APIClient
) -> None:
    """It ends well, with a restored file, and the engine is as it was."""
    done = demo(engine)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 new, 0 changed" in done.stdout
    assert "0 new, 0 changed, 3 as they were" in done.stdout
    assert "has the plan of demo-shop-wiki-1" in done.stdout
    for service in ("web", "db", "queue", "wiki"):
        assert f"backup demo-shop/{service}: success" in done.stdout
    assert "receipt.txt came back as it was" in done.stdout
    assert "4 snapshots, 1 verified, 1 folder restored" in done.stdout
    assert "To try next:" in done.stdout
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) <= LINES
    assert [] == [line for line in lines if len(line) > COLUMNS]
    assert docker_client.containers(all=True, filters={"label": LABEL}) == []
    assert not docker_client.volumes(filters={"label": LABEL})["Volumes"]
    for image in ("backrest-sidecar-demo", "backrest-sidecar-demo-wiki"):
        assert docker_client.images(image) == []


def test_the_demo_removes_nothing_that_it_has_not_made(
    engine: PrivateEngine, world: World, docker_client: docker.APIClient
) -> None:
    """Someone else's container of the same name makes it fail, and is left alone."""
    world.volume("demo-shop_www")
    other = world.container("demo-shop-web-1", {}, ["demo-shop_www:/data"])

    done = demo(engine)

    assert done.returncode == 1
    assert [other] == [entry["Id"] for entry in docker_client.containers(all=True)]
    assert [entry["Name"] for entry in docker_client.volumes()["Volumes"]] == ["demo-shop_www"]


def test_a_private_engine_falls_back_to_plain_storage(
    engine: PrivateEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the usual storage fails, the engine comes up with vfs; stopped, it is gone."""
    picky = tmp_path / "dockerd"
    picky.write_text(
        f'#!/bin/sh\ncase "$*" in *vfs*) exec {shutil.which("dockerd")} "$@";; esac\nexit 1\n'
    )
    picky.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    second = run_engine(Path(tempfile.mkdtemp(prefix="eng-", dir="/tmp")))
    try:
        client = docker.APIClient(base_url=second.address, version="auto")
        driver = client.info()["Driver"]
        client.close()
    finally:
        stop_engine(second)

    assert driver == "vfs"
    assert not answers(second.address)
    assert not second.folder.exists()
    assert answers(engine.address)
