"""Restoring a plan's data to where it lives, or elsewhere."""

from sidecar.runner.restore.choose import (
    LATEST,
    Piece,
    RestoreError,
    Wish,
    parse_moment,
    parse_path_map,
)
from sidecar.runner.restore.places import How, Standing, Step
from sidecar.runner.restore.restore import Prepared, Restorer

__all__ = [
    "LATEST",
    "How",
    "Piece",
    "Prepared",
    "RestoreError",
    "Restorer",
    "Standing",
    "Step",
    "Wish",
    "parse_moment",
    "parse_path_map",
]
