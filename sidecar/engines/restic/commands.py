"""The command lines, in the order of words in which Backrest writes them. Pure.

What which version of restic can do; a program is asked for its version once.
"""

import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, RunPlan
from sidecar.engines.base import Command
from sidecar.engines.restic.access import RepositoryAccess, split_flag

Version = tuple[int, int, int]

_VERSION = re.compile(r'(?:^restic |"version":\s*")v?(\d+)\.(\d+)(?:\.(\d+))?', re.MULTILINE)


class Feature(StrEnum):
    """What not every restic can do."""

    INIT_JSON = "init --json"
    FULL_ID = "the whole id of the new snapshot in backup --json"
    SPARSE = "restore --sparse"
    RETRY_LOCK = "--retry-lock"
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


SINCE: dict[Feature, Version] = {
    Feature.INIT_JSON: (0, 15, 0),
    Feature.FULL_ID: (0, 15, 0),
    Feature.SPARSE: (0, 15, 0),
    Feature.RETRY_LOCK: (0, 16, 0),
    Feature.SUBFOLDER: (0, 16, 0),
    Feature.RESTORE_PROGRESS: (0, 16, 0),
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
    Feature.FORGET_EXIT_CODE: (0, 19, 0),
    Feature.PRUNE_JSON: (0, 19, 0),
}


@dataclass(frozen=True, slots=True)
class Features:
    """What a restic of that version can do; a version that nobody can read can do nothing new."""

    version: Version = (0, 0, 0)

    def has(self, feature: Feature) -> bool:
        """Tell whether it can."""
        return self.version >= SINCE[feature]

    def __str__(self) -> str:
        return "restic " + ".".join(map(str, self.version)) if any(self.version) else "this restic"


def parse_features(said: bytes) -> Features:
    """Read what `restic version` says, as JSON or not."""
    found = _VERSION.search(said.decode(errors="replace"))
    if found is None:
        return Features()
    major, minor, patch = (int(number or 0) for number in found.groups())
    return Features((major, minor, patch))


class FeatureMemo:
    """Asks each program once, and again when it was replaced."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], Features] = {}
        self._lock = threading.Lock()

    def features(self, program: str, path: str | None, ask: Callable[[], bytes]) -> Features:
        """Return what the program found in `path` can do; `ask` runs `restic version`."""
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


_OFTEN = {"RESTIC_PROGRESS_FPS": "2"}
# What is said for people only: enough to see that something moves.
_SELDOM = {"RESTIC_PROGRESS_FPS": "0.1"}
_KEEPS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in "\\*?[]"})
_SKIP = "--skip-if-unchanged"


def plan_tags(plan_id: str, instance: str) -> tuple[str, str]:
    """Return the two tags by which the snapshots of a plan are known."""
    return f"plan:{plan_id}", f"created-by:{instance}"


def render_backup(
    access: RepositoryAccess,
    plan: RunPlan,
    paths: Sequence[str],
    instance: str,
    parent: str,
    features: Features,
) -> Command:
    """Back up `paths`, which may be fewer than the plan's; `parent` may be empty.

    Raises EngineError for flags that no shell could split.
    """
    tags = [word for tag in plan_tags(plan.id, instance) for word in ("--tag", tag)]
    excludes = [word for pattern in plan.excludes for word in ("--exclude", pattern)]
    iexcludes = [word for pattern in plan.iexcludes for word in ("--iexclude", pattern)]
    own = [word for entry in plan.backup_flags for word in split_flag(entry)]
    after = ["--exclude-caches", *tags, *excludes, *iexcludes]
    after += ["--parent", parent] if parent else []
    after += [word for word in own if word != _SKIP or features.has(Feature.SKIP_IF_UNCHANGED)]
    return _command(access, ["backup", "--json", *paths], after, _OFTEN, f"plan {plan.id}")


def is_weakened(plan: RunPlan, features: Features) -> bool:
    """Tell whether `render_backup` leaves out a flag of the plan, which that restic lacks."""
    asked = any(_SKIP in split_flag(entry) for entry in plan.backup_flags)
    return asked and not features.has(Feature.SKIP_IF_UNCHANGED)


def render_snapshots(access: RepositoryAccess, tags: Sequence[str]) -> Command:
    """List the snapshots that bear all the tags."""
    wanted = ["--tag", ",".join(tags)] if tags else []
    return _command(access, ["snapshots", "--json"], ["--no-lock", *wanted])


def render_forget(access: RepositoryAccess, keep: Retention, tags: Sequence[str]) -> Command:
    """Delete the records of a plan's snapshots beyond `keep`; the plan's tags are given."""
    after = ["--tag", ",".join(tags), "--group-by", ""]
    return _command(access, ["forget", "--json", *keep_flags(keep)], after, shown=tags[0])


def render_forget_all(access: RepositoryAccess, keep: Retention) -> Command:
    """Do so for each set of tags apart."""
    return _command(access, ["forget", "--json", *keep_flags(keep)], ["--group-by", "tags"])


def keep_flags(keep: Retention) -> tuple[str, ...]:
    """Return the flags; none if nothing would be kept."""
    counts = [(name, getattr(keep, name)) for name in _KEEPS]
    return tuple(word for name, count in counts if count for word in (f"--keep-{name}", str(count)))


def render_prune(access: RepositoryAccess, policy: PrunePolicy) -> Command:
    """Free what no snapshot uses; bytes win over the share."""
    most = f"{policy.max_unused_bytes}B"
    if not policy.max_unused_bytes:
        most = f"{policy.max_unused_percent:.15g}%"
    return _command(access, ["prune"], ["--max-unused", most], _SELDOM)


def render_check(access: RepositoryAccess, policy: CheckPolicy) -> Command:
    """Check the structure and, where the policy says so, a share of the data."""
    share = 0.0 if policy.structure_only else policy.read_data_subset_percent
    after = [f"--read-data-subset={share:.4f}%"] if share > 0 else []
    return _command(access, ["check"], after, _SELDOM)


def render_unlock(access: RepositoryAccess) -> Command:
    """Remove stale locks."""
    return _command(access, ["unlock"])


def render_init(access: RepositoryAccess) -> Command:
    """Create the repository."""
    return _command(access, ["init", "--json"])


def render_config(access: RepositoryAccess) -> Command:
    """Show the repository's own settings; it takes no lock, so it changes nothing."""
    return _command(access, ["cat", "config"], ["--no-lock"])


def render_list_locks(access: RepositoryAccess) -> Command:
    """List the ids of the locks."""
    return _command(access, ["list", "locks"], ["--no-lock"])


def render_lock(access: RepositoryAccess, lock: str) -> Command:
    """Show one lock."""
    return _command(access, ["cat", "lock", lock], ["--no-lock"])


def render_entries(access: RepositoryAccess, snapshot: str, path: str) -> Command:
    """List all that a snapshot holds at and below a path."""
    below = [] if path == "/" else ["--recursive"]
    wanted = [] if path == "/" else [path]
    return _command(access, ["ls", "--json", snapshot, *wanted], ["--no-lock", *below])


def render_look(access: RepositoryAccess, snapshot: str, paths: Sequence[str]) -> Command:
    """List paths of a snapshot themselves, and what lies directly in them."""
    return _command(access, ["ls", "--json", snapshot, *paths], ["--no-lock"])


def render_restore(
    access: RepositoryAccess,
    snapshot: str,
    includes: Sequence[str],
    target: str,
    *,
    is_sparse: bool = False,
) -> Command:
    """Restore absolute paths below a target; `/` among them is all there is.

    `is_sparse`: what is full of zeros takes no room again.
    """
    wanted = () if "/" in includes else includes
    flags = [word for path in wanted for word in ("--include", path.translate(_SPECIAL))]
    head = ["restore", "--json", *(["--sparse"] if is_sparse else []), snapshot]
    return _command(access, head, ["--target", target, *flags], _OFTEN, snapshot[:8])


def render_version(access: RepositoryAccess) -> Command:
    """Ask for the version; a restic that knows no JSON says it in plain words."""
    return Command((access.program, "version", "--json"), shown="restic version")


def _command(
    access: RepositoryAccess,
    head: Sequence[str],
    after: Sequence[str] = (),
    env: dict[str, str] | None = None,
    shown: str = "",
) -> Command:
    argv = (*access.prefix, access.program, *head, *access.flags, *after)
    verb = " ".join(word for word in head[:2] if word.isalpha())
    return Command(argv, {**access.env, **(env or {})}, f"restic {verb} {shown}".rstrip())
