"""Restic behind the interface of the engines, run exactly as Backrest runs it.

`commands` builds command lines, `program` runs them, `interpret` reads how they ended, and the
engine puts these together. Exported are the engine, what makes engines, their options, and what
finds out what a restic can do.
"""

from sidecar.engines.restic.engine import ResticEngine, ResticEngines
from sidecar.engines.restic.options import ResticOptions
from sidecar.engines.restic.program import find_restic
from sidecar.engines.restic.recent import RecentSnapshots

__all__ = [
    "RecentSnapshots",
    "ResticEngine",
    "ResticEngines",
    "ResticOptions",
    "find_restic",
]
