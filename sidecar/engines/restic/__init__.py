"""Restic behind the interface of the engines."""

from sidecar.engines.restic.engine import OnMissing, ResticEngine
from sidecar.engines.restic.locks import Host
from sidecar.engines.restic.program import CommandTimeouts

__all__ = [
    "CommandTimeouts",
    "Host",
    "OnMissing",
    "ResticEngine",
]
