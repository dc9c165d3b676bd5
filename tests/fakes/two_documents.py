"""A config.json and a runner's document in one folder, and passes of a sidecar over both."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.problem import Problem
from sidecar.lib.clocks import Clocks
from sidecar.reconciler import reconcile
from sidecar.reconciler.reconcile import PassOutcome, Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import Lifetime, ReconcilerSettings
from sidecar.reconciler.state import Memory

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
PLAN = "backrest_sidecar_web"
NIGHTLY = {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}
DISABLED = {"disabled": True}
LOCAL = {"id": "local", "uri": "/local", "password": "-", "autoInitialize": True}
NAS = {"id": "nas", "uri": "rsync:/nas", "autoInitialize": True}


def inventory(*repos: str, **labels: str) -> Inventory:
    """Return a container for each repository: `web` for the first, then `web1` and so on."""
    return Inventory(
        tuple(
            Container(
                f"{index + 1:064}",
                f"web{index or ''}",
                labels={"backrest.enable": "true", "backrest.repo": repo, **labels},
                mounts=(Mount("bind", f"/data{index}", f"/data{index}"),),
            )
            for index, repo in enumerate(repos)
        )
    )


def write(path: Path, repos: list[dict[str, Any]], plans: list[dict[str, Any]]) -> None:
    """Write a document, as a person does."""
    document = {"modno": 1, "version": 6, "instance": "here", "repos": repos, "plans": plans}
    path.write_text(json.dumps(document, indent=2))


def plans_in(path: Path) -> dict[str, dict[str, Any]]:
    """Return the plans of a document by id."""
    return {plan["id"]: plan for plan in json.loads(path.read_bytes()).get("plans", [])}


@dataclass
class TwoDocuments:
    """The folder; `loaded` is what Backrest has read of config.json: it reads when it is told."""

    folder: Path
    lifetime: Lifetime = field(default_factory=Lifetime)
    loaded: bytes = b""

    @property
    def config(self) -> Path:
        """Backrest's document."""
        return self.folder / "config.json"

    @property
    def runner(self) -> Path:
        """The runner's document."""
        return self.folder / "runner.json"

    @property
    def settings(self) -> ReconcilerSettings:
        """What the operator decides."""
        return ReconcilerSettings(self.config, lifetime=self.lifetime)

    @property
    def memory(self) -> Memory:
        """What is remembered."""
        return Memory(self.settings.state_directory)

    def write(self, *plans: dict[str, Any], runners: tuple[dict[str, Any], ...] = ()) -> None:
        """Write both documents; Backrest has read its own."""
        write(self.config, [LOCAL], list(plans))
        write(self.runner, [NAS], list(runners))
        self.restart_backrest()

    def restart_backrest(self) -> None:
        """Have Backrest read its document."""
        self.loaded = self.config.read_bytes()

    def reconciler(self) -> Reconciler:
        """Return a reconciler that has just started."""
        clocks = Clocks(wall=NOW.timestamp)
        return Reconciler(self.settings, {}, PassRecorder(self.memory, clocks=clocks))

    def run(self, found: Inventory) -> PassOutcome:
        """Make one pass in a process of its own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                reconcile, "has_let_go", lambda *_: self.loaded == self.config.read_bytes()
            )
            return self.reconciler().run(self.settings, found, NOW)

    def settle(self, found: Inventory) -> PassOutcome:
        """Make passes, and let Backrest read what was written, until nothing changes any more."""
        for _ in range(9):
            self.restart_backrest()
            outcome = self.run(found)
            if not outcome.written:
                return outcome
        raise AssertionError("the passes do not come to an end")

    @property
    def places(self) -> tuple[bool, bool]:
        """Whether the plan stands in config.json, and whether in the runner's document."""
        return PLAN in plans_in(self.config), PLAN in plans_in(self.runner)

    def runners_of(self, plan_id: str = PLAN) -> set[str]:
        """Return who runs a plan by itself now: Backrest, and the runner beside it."""
        here = {plan["id"]: plan for plan in json.loads(self.loaded).get("plans", [])}
        runners = (
            {"backrest"} if here.get(plan_id, {}).get("schedule", DISABLED) != DISABLED else set()
        )
        # Of an id in both documents that of config.json counts.
        there = plans_in(self.runner).get(plan_id, {}).get("schedule", DISABLED)
        if plan_id not in plans_in(self.config) and there != DISABLED:
            runners.add("runner")
        return runners


def problems(outcome: PassOutcome, reason: str = "plan.moving") -> list[Problem]:
    """Return the problems of one reason."""
    return [found for found in outcome.proposal.rendered.problems if found.reason == reason]
