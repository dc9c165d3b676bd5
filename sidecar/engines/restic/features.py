"""Know what each version of restic can do; each program is asked for its version once."""

import os
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sidecar.engines.base import Capabilities

Version = tuple[int, int, int]

_VERSION = re.compile(r'(?:^restic |"version":\s*")v?(\d+)\.(\d+)(?:\.(\d+))?', re.MULTILINE)


class Feature(StrEnum):
    """What only some versions of restic can do."""

    INIT_JSON = "init --json"
    FULL_ID = "the whole id of the new snapshot in backup --json"
    SPARSE = "restore --sparse"
    RETRY_LOCK = "--retry-lock"
    SFTP_ARGS = "-o sftp.args"
    SUBFOLDER = "restore SNAPSHOT:FOLDER"
    RESTORE_PROGRESS = "restore --json"
    SKIP_IF_UNCHANGED = "backup --skip-if-unchanged"
    EXIT_CODES = "exit codes 10, 11 and 130"
    EXIT_WRONG_PASSWORD = "exit code 12"  # noqa: S105 - the name of a feature
    RESTORE_OVERWRITE = "restore --overwrite"
    RESTORE_DELETE = "restore --delete"
    RESTORE_DRY_RUN = "restore --dry-run"
    SNAPSHOT_SUMMARY = "sizes in snapshots --json"
    VERSION_JSON = "version --json"
    EXIT_ERROR_JSON = "errors at exit as JSON"
    CHECK_JSON = "check --json"
    FORGET_EXIT_CODE = "forget: exit code 3 if a snapshot could not be removed"
    PRUNE_JSON = "prune --json"
    KEEPS_OLDEST = "forget: the oldest is kept while a rule of time is not full"
    ATTRIBUTE_ERRORS = "restore: an extended attribute that cannot be set is an error"


SINCE: dict[Feature, Version] = {
    Feature.INIT_JSON: (0, 15, 0),
    Feature.FULL_ID: (0, 15, 0),
    Feature.SPARSE: (0, 15, 0),
    Feature.RETRY_LOCK: (0, 16, 0),
    Feature.SFTP_ARGS: (0, 16, 1),
    Feature.SUBFOLDER: (0, 16, 0),
    Feature.RESTORE_PROGRESS: (0, 16, 0),
    Feature.KEEPS_OLDEST: (0, 16, 0),
    Feature.SKIP_IF_UNCHANGED: (0, 17, 0),
    Feature.EXIT_CODES: (0, 17, 0),
    Feature.EXIT_WRONG_PASSWORD: (0, 17, 1),
    Feature.RESTORE_OVERWRITE: (0, 17, 0),
    Feature.RESTORE_DELETE: (0, 17, 0),
    Feature.RESTORE_DRY_RUN: (0, 17, 0),
    Feature.SNAPSHOT_SUMMARY: (0, 17, 0),
    Feature.VERSION_JSON: (0, 17, 0),
    Feature.EXIT_ERROR_JSON: (0, 18, 0),
    Feature.CHECK_JSON: (0, 18, 0),
    # 0.14 passes over them in silence; in between nobody looked.
    Feature.ATTRIBUTE_ERRORS: (0, 18, 1),
    Feature.FORGET_EXIT_CODE: (0, 19, 0),
    Feature.PRUNE_JSON: (0, 19, 0),
}


@dataclass(frozen=True, slots=True)
class Features:
    """What a restic of this version can do; one of an unknown version has no feature."""

    version: Version = (0, 0, 0)

    def has(self, feature: Feature) -> bool:
        """Return whether it has the feature."""
        return self.version >= SINCE[feature]

    def capabilities(self) -> Capabilities:
        """Return what an engine with this restic can do."""
        return Capabilities(
            hard_links=True,
            sparse=self.has(Feature.SPARSE),
            xattrs=True,
            acls=True,
            time_resolution=1e-9,
            encryption=True,
            progress=True,
            unlock=True,
            prune=True,
            mount=True,
        )

    def __str__(self) -> str:
        return "restic " + ".".join(map(str, self.version)) if any(self.version) else "this restic"


def parse_features(output: bytes) -> Features:
    """Read the output of `restic version`, which is JSON from restic 0.17 on."""
    found = _VERSION.search(output.decode(errors="replace"))
    if found is None:
        return Features()
    major, minor, patch = (int(number or 0) for number in found.groups())
    return Features((major, minor, patch))


class FeatureMemo:
    """Asks each program once, and again when it was replaced. Safe for threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], Features] = {}
        self._lock = threading.Lock()

    def features(self, program: str, path: str | None, ask: Callable[[], bytes]) -> Features:
        """Return the features of `program`, which is looked up in the search path `path`.

        `ask` runs `restic version` and returns its output.
        """
        identity = _identity(program, path)
        with self._lock:
            known = self._known.get(identity) if identity else None
        if known is None:
            known = parse_features(ask())
            with self._lock:
                if identity and any(known.version):
                    self._known[identity] = known
        return known


def _identity(program: str, path: str | None) -> tuple[str, int, int] | None:
    found = shutil.which(program, path=path)
    if found is None:
        return None
    status = os.stat(found)  # noqa: PTH116 - of what it leads to
    return os.path.realpath(found), status.st_mtime_ns, status.st_ino
