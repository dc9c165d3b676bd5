"""scripts/dry-run-docker: a preview from a container, on an engine where nothing else runs."""

import os
import shutil
import subprocess
from pathlib import Path

import docker
import pytest

from private_docker import PrivateEngine
from stack_world import PLAN, ROOT, image_of

# The image is built from the Dockerfile first.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def dry_run(
    stack_client: docker.APIClient, networked_engine: PrivateEngine, tmp_path: Path
) -> dict[str, str]:
    """Return the variables of scripts/dry-run-docker; its build only takes the image."""
    image = image_of("compose.yaml", "sidecar")
    build = tmp_path / "build"
    build.mkdir()
    # This engine reaches no package index, so the image that was built from here is taken.
    (build / "Dockerfile").write_text(f"FROM {image}\n")
    override = tmp_path / "override.yaml"
    override.write_text(f"services: {{sidecar: {{build: {build}}}}}\n")
    assert stack_client.images("busybox")
    return {
        "COMPOSE_FILE": f"{ROOT / 'compose.dry-run.yaml'}:{override}",
        "DOCKER_HOST": networked_engine.address,
        "DOCKER_SOCK": str(networked_engine.socket),
        "DOCKER_ROOT": str(networked_engine.data_root),
    }


def preview(
    variables: dict[str, str], folder: Path, *flags: str
) -> subprocess.CompletedProcess[str]:
    """Run scripts/dry-run-docker."""
    return subprocess.run(
        [ROOT / "scripts" / "dry-run-docker", *flags],
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_dry_run_in_a_container_previews_the_demo_workloads(
    dry_run: dict[str, str], tmp_path: Path, stack_client: docker.APIClient
) -> None:
    """The sample document stays as it is, and nothing is left on the engine."""
    sample = ROOT / "testdata" / "example-sidecar.config.json"
    before = sample.read_bytes()

    done = preview(dry_run, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    for service in ("web", "db", "queue"):
        assert f"demo-shop/{service}  plan {PLAN}demo_shop_{service} (new)" in done.stdout
    assert "3 new, 0 changed" in done.stdout
    assert "Nothing was written." in done.stdout
    assert before == sample.read_bytes()
    of_the_demo = {"label": "com.docker.compose.project=demo-shop"}
    assert [] == stack_client.containers(all=True, filters=of_the_demo)
    assert not stack_client.volumes(filters=of_the_demo)["Volumes"]


def test_the_dry_run_takes_the_callers_document_and_project(
    dry_run: dict[str, str], tmp_path: Path
) -> None:
    """CONFIG_DIR is seen from where the caller stands."""
    (tmp_path / "mine").mkdir()
    shutil.copy(ROOT / "testdata" / "example-sidecar.config.json", tmp_path / "mine" / "my.json")
    own = {"CONFIG_DIR": "mine", "CONFIG_FILE": "my.json", "PROJECT_NAME": "other"}

    done = preview({**dry_run, **own}, tmp_path, "--output", "json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f'"{PLAN}other_web"' in done.stdout
    assert '"/etc/backrest/my.json"' in done.stdout
