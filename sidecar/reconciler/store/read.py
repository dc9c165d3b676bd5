"""Read the document's file, whole and consistently, by its name in an open directory.

What goes wrong becomes a StoreError that says what to do about it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from sidecar.backrest.document import LARGEST
from sidecar.lib import files as atomic
from sidecar.lib.errors import DocumentError, StoreError
from sidecar.lib.read_file import kind_of

_READS = 20
_MOST_KNOWN = 3
_LINKS = 8

_NAME_THE_FILE = "give the path of Backrest's config.json"
# The capabilities that root needs to read and replace the file of another owner.
_OF_ROOT = "DAC_OVERRIDE, CHOWN and FOWNER"


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What distinguishes one saved state of a file from another; `digest` by `DigestCache`.

    The digest is empty for something that is no readable regular file.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    digest: str


class DigestCache:
    """Remembers the digests (BLAKE2b of 32 bytes, in hex) of the last few contents.

    Comparing a content with one that is known costs a tenth of digesting it.
    """

    def __init__(self) -> None:
        self._digests: list[tuple[bytes, str]] = []

    def digest(self, content: bytes) -> str:
        """Return the digest of a content, and remember both."""
        for known, digest in self._digests:
            if known == content:
                return digest
        digest = blake2b(content, digest_size=32).hexdigest()
        self._digests = [(content, digest), *self._digests[: _MOST_KNOWN - 1]]
        return digest


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a file and the identity of the state they were read from."""

    content: bytes
    identity: FileIdentity


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A name in an open directory; `path` is the same file, for messages."""

    directory: int
    name: str
    path: Path
    known: DigestCache = field(default_factory=DigestCache, compare=False, repr=False)

    def load(self) -> Stored:
        """Read the file whole and consistently; raises StoreError."""
        with explained(self.path, "read"):
            return read_entry(self.directory, self.name, self.path, self.known)

    def identity(self, name: str = "") -> FileIdentity | None:
        """Return the identity of `name` (the document by default), None if nothing is there."""
        name = name or self.name
        try:
            return read_entry(self.directory, name, self.path, self.known).identity
        except FileNotFoundError:
            return None
        except (OSError, StoreError):
            return self._identity_unread(name)

    def _identity_unread(self, name: str) -> FileIdentity | None:
        try:
            return _identity(os.lstat(name, dir_fd=self.directory), "")
        except FileNotFoundError:
            return None


def find_document_file(
    directory: int, path: Path, known: DigestCache | None = None
) -> DocumentFile:
    """Follow links from `path` to the name to read and replace, within the same directory.

    Raises StoreError for a link that leaves the directory, because a file there cannot
    be replaced together with what stands here, and for links in a circle.
    """
    name = path.name
    if not name:
        raise StoreError(f"{path} is a directory, not a file", _NAME_THE_FILE)
    with explained(path, "read"):
        for _ in range(_LINKS):
            if not _is_link(directory, name):
                return DocumentFile(directory, name, path.parent / name, known or DigestCache())
            name = _next_name(directory, os.readlink(name, dir_fd=directory), path)
    raise StoreError(f"{path} is a link in a circle", "put a plain file in its place")


def read_entry(directory: int, name: str, path: Path, known: DigestCache) -> Stored:
    """Read one file while nobody writes to it; raises OSError, or StoreError for no document."""
    # Checked before it is opened: opening a device can have an effect.
    _refuse_other_kinds(os.lstat(name, dir_fd=directory), path)
    descriptor = atomic.open_present(directory, name)
    try:
        return _read_steadily(descriptor, path, known)
    finally:
        os.close(descriptor)


def hint_for(owner: str) -> str:
    """Return how to be allowed what only `owner`, in words, and a root with all rights may do."""
    if os.geteuid() == 0:
        # In a container that dropped its capabilities root is a user like any other.
        return f"give this root the capabilities {_OF_ROOT}, or run as {owner}"
    return f"run as {owner}, or as root"


@contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Turn an OSError of the body into a StoreError that says what to do about it."""
    try:
        yield
    except OSError as error:
        raise _explain(error, path, verb) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in the DocumentErrors of the body."""
    try:
        yield
    except DocumentError as error:
        raise type(error)(f"{path}: {error.message}", error.hint) from None


def _read_steadily(descriptor: int, path: Path, known: DigestCache) -> Stored:
    for _ in range(_READS):
        before = os.fstat(descriptor)
        _refuse_other_kinds(before, path)
        os.lseek(descriptor, 0, os.SEEK_SET)
        content = atomic.read_all(descriptor, LARGEST)
        found = _identity(os.fstat(descriptor), known.digest(content))
        if found == _identity(before, found.digest) and found.size == len(content):
            return Stored(content, found)
    raise StoreError(
        f"{path} keeps changing while it is read", "try again when the other program has finished"
    )


def _refuse_other_kinds(status: os.stat_result, path: Path) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise StoreError(
            f"{path} is a directory, not a file",
            "Docker makes one when a file to mount does not exist: "
            "remove it and mount the directory that holds the file",
        )
    if kind != stat.S_IFREG:
        what = "a link" if kind == stat.S_IFLNK else kind_of(status.st_mode)
        raise StoreError(f"{path} is {what}, not a file", "put a plain file in its place")
    if status.st_size > LARGEST:
        raise StoreError(
            f"{path} is larger than {LARGEST >> 20} MiB, too large for a Backrest config",
            _NAME_THE_FILE,
        )


def _identity(status: os.stat_result, digest: str) -> FileIdentity:
    return FileIdentity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, digest)


def _is_link(directory: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode)
    except FileNotFoundError:
        return False


def _next_name(directory: int, target: str, path: Path) -> str:
    parent, name = os.path.split(target)
    if name in ("", ".", "..") or not _is_directory(directory, parent or "."):
        raise StoreError(
            f"{path} is a link that leaves its directory, to {target}",
            "give the path of the file itself",
        )
    return name


def _is_directory(directory: int, other: str) -> bool:
    try:
        found = os.stat(other, dir_fd=directory)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(directory))


def _explain(error: OSError, path: Path, verb: str) -> StoreError:
    match error.errno:
        case errno.ENOENT:
            return StoreError(
                f"{path} does not exist", "start Backrest once or run `backrest-sidecar init`"
            )
        case errno.EROFS:
            return StoreError(
                f"{path.parent} is read-only",
                "mount the directory of the file, not the file alone, and without `:ro`",
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StoreError(
                f"no space is left to write {path}, it stays as it was", "free some space"
            )
        case errno.EACCES | errno.EPERM:
            # Who creates or replaces a file writes to its directory.
            which = path.parent if verb in {"create", "replace"} else path
            return StoreError(
                f"no permission to {verb} {path} as user {os.geteuid()}",
                hint_for(f"the owner of {which}"),
            )
        case errno.EBUSY:
            return StoreError(
                f"{path} is mounted as a single file, so it cannot be replaced",
                "mount the directory that holds it instead",
            )
    return StoreError(f"cannot {verb} {path}: {error.strerror or error}")
