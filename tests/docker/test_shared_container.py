"""Two plans whose hooks stop one container, in two repositories, are due at the same time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest

from hook_shell import NAME, Hooks, state_of, wait_until
from private_docker import PrivateEngine
from world import World

_SECONDS = 60.0
_BEFORE, _AFTER = ["CONDITION_SNAPSHOT_START"], ["CONDITION_SNAPSHOT_END"]


def hook(command: str, conditions: list[str]) -> dict[str, Any]:
    """Return a command in the document."""
    return {"conditions": conditions, "actionCommand": {"command": command}}


def write_document(folder: Path, stop: str, start: str) -> None:
    """Write a plan that saves at once, and one that saves until the other has ended."""
    (folder / "data").mkdir()
    (folder / "data" / "file").write_text("precious")
    # Where they take turns, the other has ended before or begins later: then nobody waits long.
    wait = f"for i in 1 2 3 4 5 6; do if [ -e {folder}/ended ]; then break; fi; sleep 0.5; done"
    look = "docker inspect --format '{{\"{{\"}}.State.Status}}' " + f"{NAME} >>{folder}/seen"
    quick = [hook(stop, _BEFORE), hook(start, _AFTER), hook(f"echo >{folder}/ended", _AFTER)]
    slow = [hook(stop, _BEFORE), hook(wait, _BEFORE), hook(look, _AFTER), hook(start, _AFTER)]
    repos, plans = [], []
    for name, hooks in (("quick", quick), ("slow", slow)):
        address = str(folder / f"repo-{name}")
        repos.append({"id": name, "uri": address, "password": "x", "autoInitialize": True})
        plan = {"id": name, "repo": name, "paths": [str(folder / "data")], "hooks": hooks}
        plans.append({**plan, "schedule": {"cron": "0 3 1 1 *"}})
    document = {"modno": 1, "version": 6, "instance": "here", "repos": repos, "plans": plans}
    (folder / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "words",
    [("sidecar", "backup-once"), ("sidecar.runner", "daemon", "--backup-on-start")],
    ids=["backup-once", "daemon"],
)
def test_plans_that_stop_one_container_take_turns(
    words: tuple[str, ...],
    world: World,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """The end of the quick one does not start it while the slow one still saves."""
    web = world.container(NAME, {}, running=True, stop_timeout=1)
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    escaped = [script.replace("{{", '{{"{{"}}') for script in hooks.scripts]
    write_document(tmp_path, *escaped)
    command = [sys.executable, "-m", *words, "--config", str(tmp_path / "config.json")]
    command += ["--docker-sock", engine.address]
    environ = {**os.environ, **hooks.environment, "HOME": str(tmp_path)}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process,
    ):
        wait_until((tmp_path / "seen").exists, "the end of the slow plan")
        if "daemon" in words:
            process.send_signal(signal.SIGTERM)
        assert process.wait(_SECONDS) == 0, (tmp_path / "log").read_text()
    assert "exited\n" == (tmp_path / "seen").read_text()
    assert "running" == state_of(docker_client, web)
    assert not hooks.marker.exists()
