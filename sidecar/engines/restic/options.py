"""How restic is run: beyond what all engines have, which one, and what its engines share."""

from dataclasses import dataclass, field

from sidecar.engines.options import EngineOptions
from sidecar.engines.restic.recent import RecentSnapshots


@dataclass(frozen=True, slots=True)
class ResticOptions(EngineOptions):
    """How restic is run for all repositories.

    Attributes:
        restic: its name or path.
        recent: what engines that share these options share of what they have asked.
    """

    restic: str = "restic"
    recent: RecentSnapshots = field(default_factory=RecentSnapshots)
