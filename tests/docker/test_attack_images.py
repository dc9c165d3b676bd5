"""What an image may do: its labels on a real engine, under each hook policy, and without the image."""

import json
from pathlib import Path
from typing import Any

import pytest

from private_docker import PrivateEngine
from sample_stack import import_image
from sidecar.cli.commands.main import run_cli
from world import World

POLICIES = ["all", "templates", "none"]
SERVICE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
LABELS = {
    **SERVICE,
    "com.docker.compose.oneoff": "False",
    "backrest.enable": "true",
    "backrest.id": "shop_db",
    "backrest.group": "db",
    "backrest.repo": "other",
    "backrest.keep": "last=1",
    "backrest.schedule": "off",
    "backrest.paths.include": "/data, host:/etc, volume:theirs, /proc",
    "backrest.paths.exclude": "/data/x, *",
    "backrest.snapshot-start": "touch EVIL",
    "backrest.snapshot-end.0": "touch EVIL",
    "backrest.exec.start": "touch EVIL",
    "backrest.exec.user": "EVIL",
    "backrest.hooks.template": "stop-start",
    "backrest.notify": "shoutrrr:generic://EVIL/x",
    "backrest.backup-flags": "--password-command=EVIL",
    "backrest.dump.path": "/data/EVIL",
    "backrest.quiesce": "true",
}


@pytest.fixture
def crowd(world: World) -> World:
    """Make a victim, and two containers of the attacker's image, one that its user labelled."""
    image = world.image("evil", LABELS)
    own = {**SERVICE, "com.docker.compose.config-hash": "h", "backrest.enable": "true"}
    world.volume("theirs")
    world.container("shop-db-1", own, ["theirs:/data"], running=True)
    world.container("evil-1", {}, ["mine:/data"], image=image)
    world.container("evil-2", {"backrest.enable": "yes"}, ["mine:/data"], image=image)
    return world


def document(folder: Path) -> Path:
    """Write a document with two repositories."""
    file = folder / "config.json"
    repos = [
        {"id": name, "uri": f"/{name}", "guid": name[0] * 64, "password": "x"}
        for name in ("store", "other")
    ]
    root = {"modno": 1, "version": 6, "instance": "i", "repos": repos, "plans": []}
    file.write_text(json.dumps(root))
    return file


def reconcile(engine: PrivateEngine, config: Path, policy: str) -> dict[str, dict[str, Any]]:
    """Make one pass as the program does; return the plans by what follows the prefix."""
    run_cli(
        [
            *("reconcile", "--docker-sock", engine.address, "--config", str(config)),
            *("--hook-policy", policy, "--default-repo", "store"),
        ]
    )
    plans = json.loads(config.read_text())["plans"]
    return {plan["id"].removeprefix("backrest_sidecar_"): plan for plan in plans}


@pytest.mark.parametrize("policy", POLICIES)
def test_an_image_decides_nothing_but_paths_of_its_own(
    crowd: World, engine: PrivateEngine, tmp_path: Path, policy: str
) -> None:
    """Neither while it is there nor once it was removed, known or not known before."""
    known, unknown = tmp_path / "known", tmp_path / "unknown"
    for folder in (known, unknown):
        folder.mkdir()
    seen = [reconcile(engine, document(known), policy)]
    crowd.client.remove_image("evil", force=True)
    seen.append(reconcile(engine, known / "config.json", policy))
    seen.append(reconcile(engine, document(unknown), policy))
    import_image(crowd.client, "evil")  # its world removes it
    for plans in seen:
        victim = plans["shop_db"]
        assert "EVIL" not in json.dumps(plans)
        [path] = victim["paths"]
        assert path.endswith("/volumes/theirs/_data")
        assert "store" == victim["repo"]
        assert {"store"} == {plan["repo"] for plan in plans.values()}
        assert plans.keys() <= {"shop_db", "evil_2"}
        for plan in plans.values():
            assert "disabled" not in plan["schedule"]
            assert not plan.get("backup_flags")
            assert not plan.get("hooks")
            assert "*" not in plan.get("excludes", [])
            assert not [path for path in plan["paths"] if "/etc" in path or "/proc" in path]
