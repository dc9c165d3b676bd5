"""What this process may give to files: its user, its groups and its capabilities.

Only what restoring files needs is known here. A process of root in a container has the
capabilities that the container was granted, and no other.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Capability(StrEnum):
    """A right of root's, by the name under which Docker grants it."""

    DAC_OVERRIDE = "DAC_OVERRIDE"
    CHOWN = "CHOWN"
    FOWNER = "FOWNER"
    FSETID = "FSETID"
    SETFCAP = "SETFCAP"
    MKNOD = "MKNOD"
    SYS_ADMIN = "SYS_ADMIN"


# Their numbers in the kernel.
_BITS = {
    Capability.CHOWN: 0,
    Capability.DAC_OVERRIDE: 1,
    Capability.FOWNER: 3,
    Capability.FSETID: 4,
    Capability.SYS_ADMIN: 21,
    Capability.MKNOD: 27,
    Capability.SETFCAP: 31,
}
GRANTABLE = frozenset(Capability) - {Capability.SYS_ADMIN}
"""What a container that restores may be granted: SYS_ADMIN is nearly all of root's rights."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The user of this process, its groups, and its capabilities."""

    user: int
    groups: frozenset[int]
    capabilities: frozenset[Capability]

    @classmethod
    def read(cls, status: Path = Path("/proc/self/status")) -> "Rights":
        """Read them from the kernel's file. Raises OSError."""
        return parse_rights(status.read_text(encoding="ascii", errors="replace"))

    @property
    def is_kept_out(self) -> bool:
        """Whether this is a root that may not open what belongs to others."""
        return self.is_root and Capability.DAC_OVERRIDE not in self.capabilities

    @property
    def is_root(self) -> bool:
        """Whether this is root, who may be granted what is missing."""
        return self.user == 0


def parse_rights(status: str) -> Rights:
    """Parse `/proc/PID/status`; what is not in it is missing."""
    fields = {
        name: value.split()
        for name, _, value in (line.partition(":") for line in status.splitlines())
    }
    # The second number of a user or a group is the effective one.
    user, group = (int(fields.get(name, ["0", "-1"])[1]) for name in ("Uid", "Gid"))
    held = int((fields.get("CapEff") or ["0"])[0], 16)
    return Rights(
        user,
        frozenset({group, *map(int, fields.get("Groups", ()))}),
        frozenset(one for one, bit in _BITS.items() if held >> bit & 1),
    )
