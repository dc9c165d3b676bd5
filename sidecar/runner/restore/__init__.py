"""Restoring a plan's data to where it lives, or elsewhere."""

from sidecar.runner.restore.choose import (
    LATEST,
    RestoreError,
    RestoreItem,
    RestoreRequest,
    parse_moment,
    parse_path_map,
)
from sidecar.runner.restore.places import ExistingTarget, How, Step
from sidecar.runner.restore.restore import RestorePlan, Restorer

__all__ = [
    "LATEST",
    "ExistingTarget",
    "How",
    "RestoreError",
    "RestoreItem",
    "RestorePlan",
    "RestoreRequest",
    "Restorer",
    "Step",
    "parse_moment",
    "parse_path_map",
]
