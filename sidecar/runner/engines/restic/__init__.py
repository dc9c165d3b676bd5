"""Restic behind the interface of the engines."""

from sidecar.runner.engines.restic.engine import OnMissing, ResticEngine
from sidecar.runner.engines.restic.locks import Host
from sidecar.runner.engines.restic.program import Limits

__all__ = ["Host", "Limits", "OnMissing", "ResticEngine"]
