"""What the benchmark works on: a tree of files, repositories, documents."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, compiled

PLAN, REPO, INSTANCE = "bench", "store", "bench"
_PASSWORD = "bench"  # noqa: S105 - of a repository that lives for minutes
_FOLDERS = 200
# Schedules stay this far from now, so that a daemon at rest has nothing to do.
_HOURS_AHEAD, _HOURS = 2, 20


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder of ours, the restic that everybody uses, and maybe another to compare it with."""

    folder: Path
    restic: str
    other: str = ""
    cache: str = "cache"
    """The folder of the cache within ours."""

    @property
    def tree(self) -> Path:
        """The files that are backed up."""
        return self.folder / "tree"

    @property
    def environment(self) -> dict[str, str]:
        """What restic and the runner are started with: the same cache, no other settings."""
        names = ("BACKREST", "RESTIC", "DOCKER")
        environ = compiled(self.folder / "compiled")
        kept = {key: value for key, value in environ.items() if not key.startswith(names)}
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        own = {"XDG_CACHE_HOME": str(self.folder / self.cache), "RESTIC_PASSWORD": _PASSWORD}
        return kept | own | {"PYTHONPATH": paths}

    def write_tree(self, files: int, size: int) -> None:
        """Write files of `size` random bytes each, the same in each run."""
        source = random.Random(7)  # noqa: S311 - no secret
        for number in range(files):
            folder = self.tree / str(number % _FOLDERS)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(number)).write_bytes(source.randbytes(size))

    def make_repository(self, name: str) -> Path:
        """Initialise a repository."""
        place = self.folder / name
        self.run_restic(place, "init")
        return place

    def copy_repository(self, repository: Path, name: str) -> Path:
        """Copy a repository as it is; the copy needs a cache of its own, for both have one id.

        Its key takes as long as the other's: that of a second `init` may take half as long again,
        because restic measures the machine each time.
        """
        return Path(shutil.copytree(repository, self.folder / name))

    def run_restic(self, repository: Path, *arguments: str) -> str:
        """Run restic, and give what it said; raises CalledProcessError if it fails."""
        command = [self.restic, "--repo", str(repository), *arguments]
        done = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    def write_document(self, name: str, repository: Path, plans: Sequence[dict[str, Any]]) -> Path:
        """Write a document with one repository into a folder of its own; give its path."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        guid = json.loads(self.run_restic(repository, "cat", "config"))["id"]
        repo = {"id": REPO, "uri": str(repository), "password": _PASSWORD, "guid": guid}
        root = {"modno": 1, "version": 6, "instance": INSTANCE, "repos": [repo]}
        config = folder / "config.json"
        config.write_text(json.dumps({**root, "plans": list(plans), "auth": {"disabled": True}}))
        return config


def plan_of(name: str, path: Path, hour: int = 0, minute: int = 0) -> dict[str, Any]:
    """Make a plan that is due once a day, and keeps everything."""
    return {
        "id": name,
        "repo": REPO,
        "paths": [str(path)],
        "schedule": {"cron": f"{minute} {hour} * * *", "clock": "CLOCK_LOCAL"},
    }


def many_plans(count: int, path: Path) -> list[dict[str, Any]]:
    """Make plans of which none is due within the next hour; most have a cron of their own."""
    first = datetime.now().astimezone().hour + _HOURS_AHEAD
    return [
        plan_of(f"plan-{number}", path, (first + number // 60 % _HOURS) % 24, number % 60)
        for number in range(count)
    ]


def heartbeat(config: Path) -> Mapping[str, Any] | None:
    """Read the heartbeat of the daemon beside a document; None while there is none."""
    try:
        found: Mapping[str, Any] = json.loads(
            (config.parent / ".runner" / "heartbeat.json").read_bytes()
        )
    except FileNotFoundError:
        return None
    return found
