"""A process that makes one pass over a plan without or with its workload, to be killed anywhere.

usage: one_ageing_pass.py gone|back CONFIG

The plan is an orphan past its grace (gone), or its workload has returned (back).
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from sidecar.docker.models import Container, Inventory, Mount
from sidecar.lib.clocks import Clocks
from sidecar.reconciler.reconcile import Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import Lifetime, ReconcilerSettings
from sidecar.reconciler.state import Memory

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
WEB = Container(
    "1" * 64, "web", labels={"backrest.enable": "true"}, mounts=(Mount("bind", "/data", "/data"),)
)


def run_pass(action: str, config: Path) -> None:
    """Make the pass."""
    settings = ReconcilerSettings(config, lifetime=Lifetime(grace=0.0))
    recorder = PassRecorder(
        Memory(settings.state_directory), is_applied=True, clocks=Clocks(wall=lambda: 1e9)
    )
    inventory = Inventory((WEB,) if action == "back" else ())
    Reconciler(settings, {}, recorder).run(settings, inventory, NOW)


if __name__ == "__main__":
    run_pass(sys.argv[1], Path(sys.argv[2]))
