"""Build restic's command lines, their words in the order in which Backrest writes them. Pure."""

from collections.abc import Sequence

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, RunPlan
from sidecar.engines.access import split_flag
from sidecar.engines.base import Command
from sidecar.engines.restic.access import ResticAccess
from sidecar.engines.restic.features import Feature, Features
from sidecar.lib.text import short_id

_OFTEN = {"RESTIC_PROGRESS_FPS": "2"}
# For output that nobody parses: enough to see that something moves.
_SELDOM = {"RESTIC_PROGRESS_FPS": "0.1"}
_KEEP_RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in "\\*?[]"})
_SKIP = "--skip-if-unchanged"


def plan_tags(plan_id: str, instance: str) -> tuple[str, str]:
    """Return the two tags that mark the snapshots of a plan: `plan:web`, `created-by:nas`."""
    return f"plan:{plan_id}", f"created-by:{instance}"


def render_backup(
    access: ResticAccess,
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
    own = _own_words(plan)
    after = ["--exclude-caches", *tags, *excludes, *iexcludes]
    after += ["--parent", parent] if parent else []
    after += [word for word in own if word != _SKIP or features.has(Feature.SKIP_IF_UNCHANGED)]
    return _command(access, ["backup", "--json", *paths], after, _OFTEN, f"plan {plan.id}")


def is_weakened(plan: RunPlan, features: Features) -> bool:
    """Return whether `render_backup` leaves out a flag of the plan that this restic lacks."""
    return _SKIP in _own_words(plan) and not features.has(Feature.SKIP_IF_UNCHANGED)


def skips_unchanged(plan: RunPlan, features: Features) -> bool:
    """Return whether the plan saves nothing where nothing has changed since its parent."""
    return _SKIP in _own_words(plan) and features.has(Feature.SKIP_IF_UNCHANGED)


def sets_tags(access: ResticAccess, plan: RunPlan) -> bool:
    """Return whether flags of the document give the plan's snapshots further tags."""
    return any(word.startswith("--tag") for word in (*access.flags, *_own_words(plan)))


def _own_words(plan: RunPlan) -> list[str]:
    return [word for entry in plan.backup_flags for word in split_flag(entry)]


def split_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags as restic stores them: it separates them at commas."""
    return tuple(tag.strip() for tag in ",".join(tags).split(","))


def render_snapshots(access: ResticAccess, tags: Sequence[str]) -> Command:
    """List the snapshots that have all of the tags."""
    wanted = ["--tag", ",".join(tags)] if tags else []
    return _command(access, ["snapshots", "--json"], ["--no-lock", *wanted])


def render_forget(access: ResticAccess, keep: Retention, tags: Sequence[str]) -> Command:
    """Delete the records of the snapshots with all of the tags beyond `keep`."""
    after = ["--tag", ",".join(tags), "--group-by", ""]
    return _command(access, ["forget", "--json", *keep_flags(keep)], after, shown=tags[0])


def render_forget_all(access: ResticAccess, keep: Retention) -> Command:
    """Delete the records of snapshots beyond `keep`, for each set of tags separately."""
    return _command(access, ["forget", "--json", *keep_flags(keep)], ["--group-by", "tags"])


def keep_flags(keep: Retention) -> tuple[str, ...]:
    """Return the flags of a retention; none if nothing would be kept."""
    counts = [(name, getattr(keep, name)) for name in _KEEP_RULES]
    return tuple(word for name, count in counts if count for word in (f"--keep-{name}", str(count)))


def render_prune(access: ResticAccess, policy: PrunePolicy) -> Command:
    """Free what no snapshot uses; a limit in bytes wins over one in percent."""
    most = f"{policy.max_unused_bytes}B"
    if not policy.max_unused_bytes:
        most = f"{policy.max_unused_percent:.15g}%"
    return _command(access, ["prune"], ["--max-unused", most], _SELDOM)


def render_check(access: ResticAccess, policy: CheckPolicy) -> Command:
    """Check the structure and, where the policy says so, a share of the data."""
    share = 0.0 if policy.structure_only else policy.read_data_subset_percent
    after = [f"--read-data-subset={share:.4f}%"] if share > 0 else []
    return _command(access, ["check"], after, _SELDOM)


def render_unlock(access: ResticAccess, *, is_all: bool = False) -> Command:
    """Remove stale locks, or all of them."""
    return _command(access, ["unlock"], ["--remove-all"] if is_all else [])


def render_init(access: ResticAccess) -> Command:
    """Create the repository."""
    return _command(access, ["init", "--json"])


def render_config(access: ResticAccess) -> Command:
    """Show the repository's own settings, among them its id; takes no lock."""
    return _command(access, ["cat", "config"], ["--no-lock"])


def render_list_locks(access: ResticAccess) -> Command:
    """List the ids of the locks."""
    return _command(access, ["list", "locks"], ["--no-lock"])


def render_lock(access: ResticAccess, lock: str) -> Command:
    """Show one lock."""
    return _command(access, ["cat", "lock", lock], ["--no-lock"])


def render_entries(access: ResticAccess, snapshot: str, path: str) -> Command:
    """List all that a snapshot holds at and below a path."""
    below = [] if path == "/" else ["--recursive"]
    wanted = [] if path == "/" else [path]
    return _command(access, ["ls", "--json", snapshot, *wanted], ["--no-lock", *below])


def render_paths(access: ResticAccess, snapshot: str, paths: Sequence[str]) -> Command:
    """List paths of a snapshot themselves, and what lies directly in them."""
    return _command(access, ["ls", "--json", snapshot, *paths], ["--no-lock"])


def render_snapshot(access: ResticAccess, snapshot: str) -> Command:
    """Show the record of a snapshot, which names its root folder."""
    return _command(access, ["cat", "snapshot", snapshot], ["--no-lock"])


def render_tree(access: ResticAccess, tree: str) -> Command:
    """Show the record of a folder of a snapshot."""
    return _command(access, ["cat", "blob", tree], ["--no-lock"])


def render_diff(access: ResticAccess, older: str, newer: str) -> Command:
    """List what differs between two snapshots."""
    return _command(access, ["diff", "--json", older, newer], ["--no-lock"])


def render_dump(access: ResticAccess, snapshot: str, path: str) -> Command:
    """Write the content of a file of a snapshot to standard output."""
    return _command(access, ["dump", snapshot, path], ["--no-lock"])


def render_stats(access: ResticAccess, tags: Sequence[str]) -> Command:
    """Count what the snapshots that have all of the tags take in the repository."""
    wanted = ["--tag", ",".join(tags)] if tags else []
    return _command(access, ["stats", "--json"], ["--mode", "raw-data", "--no-lock", *wanted])


def render_mount(access: ResticAccess, folder: str, tags: Sequence[str]) -> Command:
    """Mount the snapshots that have all of the tags."""
    wanted = ["--tag", ",".join(tags)] if tags else []
    return _command(access, ["mount"], ["--no-lock", *wanted, "--", folder])


def render_own(access: ResticAccess, words: Sequence[str]) -> Command:
    """Run what somebody else has thought of: the repository's flags stand before it."""
    argv = (*access.prefix, access.program, *access.flags, *words)
    return Command(argv, dict(access.env), "restic")


def render_restore(
    access: ResticAccess,
    snapshot: str,
    includes: Sequence[str],
    target: str,
    *,
    is_sparse: bool = False,
) -> Command:
    """Restore absolute paths below a target; `/` among them means all.

    `is_sparse` writes blocks of zeros as holes.
    """
    wanted = () if "/" in includes else includes
    flags = [word for path in wanted for word in ("--include", path.translate(_SPECIAL))]
    head = ["restore", "--json", *(["--sparse"] if is_sparse else []), snapshot]
    return _command(access, head, ["--target", target, *flags], _OFTEN, short_id(snapshot))


def render_version(program: str) -> Command:
    """Ask for the version; a restic that knows no JSON answers in plain text."""
    return Command((program, "version", "--json"), shown="restic version")


def _command(
    access: ResticAccess,
    head: Sequence[str],
    after: Sequence[str] = (),
    env: dict[str, str] | None = None,
    shown: str = "",
) -> Command:
    argv = (*access.prefix, access.program, *head, *access.flags, *after)
    verb = " ".join(word for word in head[:2] if word.isalpha())
    return Command(argv, {**access.env, **(env or {})}, f"restic {verb} {shown}".rstrip())
