"""Build rsync's and ssh's command lines. Pure."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecar.engines.base import Command
from sidecar.engines.rsync.address import Address

# Messages of the C library in English, and times of listings in one zone.
_PLAIN = {"LC_ALL": "C", "TZ": "UTC"}
_ITEM = "@ %i %l %n"
_TOLD = ("--info=progress2", "--stats", "--no-human-readable", f"--out-format={_ITEM}")
_ENTRY = "@ %i %B %U %G %l %M %n"
_SECOND = 1.0
OWN = "repo:/"
"""Begins a word of somebody's command line that is a path in the repository."""
# Whoever is not there to answer is not asked for a password.
_BATCH = "-oBatchMode=yes"
_SSH = ("ssh", _BATCH)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What of the entries' properties is kept in a repository.

    Attributes:
        owners: their owners and groups.
        acls: their access control lists.
        xattrs: their extended attributes.
        hard_links: which names are of one file.
        symlinks: symbolic links at all.
        devices: device nodes and other special files.
        modes: permissions.
        case: that names which differ in upper and lower case only are two.
        sparse: holes.
        time_resolution: of the times of files, in seconds.
        faked: owners, modes and device nodes are kept in extended attributes.
    """

    owners: bool = True
    acls: bool = True
    xattrs: bool = True
    hard_links: bool = True
    symlinks: bool = True
    devices: bool = True
    modes: bool = True
    case: bool = True
    sparse: bool = True
    time_resolution: float = 1e-9
    faked: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that keep all this."""
        letters = (
            "a" + "H" * self.hard_links + "A" * self.acls + "X" * self.xattrs + "S" * self.sparse
        )
        without = (
            ("--no-owner", self.owners),
            ("--no-group", self.owners),
            ("--no-links", self.symlinks),
            ("--no-devices", self.devices),
            ("--no-specials", self.devices),
            ("--no-perms", self.modes),
        )
        less = [flag for flag, is_kept in without if not is_kept]
        return (f"-{letters}", "--numeric-ids", f"--modify-window={self._window}", *less)

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not kept, in words."""
        words = (
            ("hard links", self.hard_links),
            ("symbolic links", self.symlinks),
            ("special files", self.devices),
            ("permissions", self.modes),
            ("owners", self.owners),
            ("extended attributes", self.xattrs),
            ("access control lists", self.acls),
            ("difference of upper and lower case", self.case),
            ("holes", self.sparse),
            ("times", math.isfinite(self.time_resolution)),
        )
        return tuple(word for word, is_kept in words if not is_kept)

    @property
    def _window(self) -> int:
        """Seconds by which equal times may differ; -1: not by the least fraction.

        rsync's own rule is 0, that seconds are the same: a file that has changed twice within one
        is taken as unchanged then.
        """
        if self.time_resolution < _SECOND:
            return -1
        return math.ceil(self.time_resolution) - 1 if math.isfinite(self.time_resolution) else 0


@dataclass(frozen=True, slots=True)
class RsyncAccess:
    """How rsync is run for a repository.

    Attributes:
        address: where it lies.
        program: rsync's name or path.
        prefix: the words before it.
        ssh: the words that start ssh.
        bandwidth: the value of --bwlimit; empty: no limit.
        env: additions to the environment.
        is_root: whether this process is root.
    """

    address: Address
    program: str = "rsync"
    prefix: tuple[str, ...] = ()
    ssh: tuple[str, ...] = _SSH
    bandwidth: str = ""
    env: dict[str, str] = field(default_factory=dict, repr=False)
    is_root: bool = True


def ssh_words(own: Sequence[str]) -> tuple[str, ...]:
    """Return the words that start ssh: those of the repository's flags, or the usual ones."""
    return (*own, _BATCH) if own else _SSH


@dataclass(frozen=True, slots=True)
class CopyJob:
    """What a backup copies.

    Attributes:
        sources: absolute paths, which are copied in full.
        root: a folder, of which instead only what is in it is copied; `/`: the paths in full.
        keeping: what is kept of properties.
        link_from: an absolute folder with an earlier copy, whose unchanged files are linked.
        exclude_file: the path of a file of patterns that each end with NUL.
        shown: the plan, for logs.
    """

    sources: tuple[str, ...]
    root: str = "/"
    keeping: Keeping = field(default_factory=Keeping)
    link_from: str = ""
    exclude_file: str = ""
    shown: str = ""


def render_backup(
    access: RsyncAccess, job: CopyJob, target: str, *, is_dry: bool = False
) -> Command:
    """Copy into an empty folder; a dry run needs none."""
    # rsync splits the lines of that file at NUL only if it has read -0 before.
    excludes = ["-0", f"--exclude-from={job.exclude_file}"] if job.exclude_file else []
    is_whole = job.root == "/"
    words = [
        *job.keeping.flags,
        *(["--relative"] if is_whole else []),
        *(["--remote-option=--fake-super"] if job.keeping.faked else []),
        *([f"--link-dest={job.link_from}"] if job.link_from else []),
        *excludes,
        *(["--dry-run"] if is_dry else []),
        *_TOLD,
    ]
    given = job.sources if is_whole else [f"{job.root}/"]
    return _rsync(access, words, [*given, access.address.at(f"{target}/")], f"backup {job.shown}")


def render_restore(
    access: RsyncAccess,
    keeping: Keeping,
    folder: str,
    paths: Sequence[str],
    target: str,
    shown: str,
) -> Command:
    """Copy paths of a snapshot's folder, which begin with no slash, below a target."""
    words = [
        *keeping.flags,
        "--relative",
        *_faked_source(access, keeping),
        *_TOLD,
    ]
    ends = [*_sources(access, folder, paths), f"{target}/"]
    return _rsync(access, words, ends, f"restore {shown}")


def render_listing(
    access: RsyncAccess,
    keeping: Keeping,
    folder: str,
    path: str,
    empty: str,
    *,
    is_deep: bool = True,
) -> Command:
    """List a path of a snapshot's folder and what is below it; `empty` is an empty folder.

    Unless `is_deep` only the path, and if a slash is at its end what lies directly in it.
    """
    words = [*keeping.flags, "--relative", *_faked_source(access, keeping)]
    words += [] if is_deep else ["--no-recursive", "--dirs"]
    words += ["--dry-run", f"--out-format={_ENTRY}"]
    return _rsync(access, words, [*_sources(access, folder, [path]), f"{empty}/"], "list")


def render_count(access: RsyncAccess, keeping: Keeping, folder: str, empty: str) -> Command:
    """Count what is in a snapshot's folder, and the sizes; `empty` is an empty folder."""
    words = ["-a", *_faked_source(access, keeping), "--dry-run", "--stats", "--no-human-readable"]
    return _rsync(access, words, [access.address.at(f"{folder}/"), f"{empty}/"], "count")


def render_compare(
    access: RsyncAccess, keeping: Keeping, folder: str, path: str, target: str
) -> Command:
    """Compare a path of a snapshot's folder with what is below a target now, by the contents.

    What is not there now is passed over; nothing is written.
    """
    words = [*keeping.flags, "--relative", *_faked_source(access, keeping)]
    words += ["--dry-run", "--checksum", "--existing", f"--out-format={_ITEM}"]
    ends = [*_sources(access, folder, [path]), f"{target.rstrip('/')}/"]
    return _rsync(access, words, ends, "compare")


def render_remove(access: RsyncAccess, paths: Sequence[str]) -> Command:
    """Delete absolute paths of this machine, and what is below them."""
    return Command((*access.prefix, "rm", "-rf", "--", *paths), dict(_PLAIN), "rm")


def render_flush(access: RsyncAccess, folder: str) -> Command:
    """Have all that was written to the file system of a folder of this machine on its disk."""
    return Command((*access.prefix, "sync", "-f", folder), dict(_PLAIN), "sync")


def render_usage(access: RsyncAccess, folders: Sequence[str]) -> Command:
    """Count what absolute folders of this machine take on their disk, each file once."""
    words = ("du", "--summarize", "--total", "--block-size=1", "--", *folders)
    return Command((*access.prefix, *words), dict(_PLAIN), "du")


def render_own(access: RsyncAccess, root: str, words: Sequence[str]) -> Command:
    """Run what somebody else has thought of; a word `repo:/path` is that path in the repository."""
    own = [_in_repository(access, root, word) for word in words]
    remote = ["-s", f"--rsh={quote_words(*access.ssh)}"] if access.address.host else []
    return Command((*access.prefix, access.program, *remote, *own), dict(access.env), "rsync")


def _in_repository(access: RsyncAccess, root: str, word: str) -> str:
    scheme, found, path = word.partition(OWN)
    return access.address.at(f"{root}/{path}") if found and not scheme else word


def render_remote(access: RsyncAccess, script: str, shown: str) -> Command:
    """Run a line of a shell on the other machine."""
    argv = (*access.prefix, *access.ssh, access.address.ssh_host, script)
    return Command(argv, {**access.env, **_PLAIN}, f"ssh {shown}")


def quote_words(*words: str) -> str:
    """Return words as a shell reads them."""
    return " ".join(map(shlex.quote, words))


def _faked_source(access: RsyncAccess, keeping: Keeping) -> tuple[str, ...]:
    if not keeping.faked:
        return ()
    if access.address.host:
        return ("--remote-option=--fake-super",)
    # Of a copy within one machine both sides would fake.
    back = "--super" if access.is_root else "--no-super"
    return ("--fake-super", f"--remote-option={back}")


def _sources(access: RsyncAccess, folder: str, paths: Sequence[str]) -> list[str]:
    # What stands before `/./` is not part of the copied path.
    return [access.address.at(f"{folder}/./{path}") for path in paths]


def _rsync(access: RsyncAccess, words: Sequence[str], ends: Sequence[str], shown: str) -> Command:
    remote = []
    if access.address.host:
        # No shell of the other side reads the paths. Older ones know it by this letter alone.
        remote = ["-s", f"--rsh={quote_words(*access.ssh)}"]
    limit = [f"--bwlimit={access.bandwidth}"] if access.bandwidth else []
    argv = (*access.prefix, access.program, *words, *remote, *limit, "--", *ends)
    return Command(argv, {**access.env, **_PLAIN}, f"rsync {shown}")
