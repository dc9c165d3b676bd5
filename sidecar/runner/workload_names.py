"""Read which workloads the plans are of, from what the sidecar has written."""

import logging
from pathlib import Path

from sidecar.backrest.workloads import (
    LARGEST,
    WorkloadRecord,
    WorkloadsInvalid,
    parse_workloads,
)
from sidecar.lib.log import log_event
from sidecar.lib.read_file import read_file

_log = logging.getLogger(__name__)


def read_workloads(file: Path) -> tuple[WorkloadRecord, ...]:
    """Return the workloads that the sidecar has written; without its file there are none.

    A file that cannot be used is logged: then plans are known by their ids.
    """
    try:
        return parse_workloads(read_file(file, LARGEST))
    except FileNotFoundError:
        return ()
    except (OSError, WorkloadsInvalid) as error:
        log_event(_log, logging.WARNING, "workloads.unreadable", file=str(file), reason=str(error))
        return ()
