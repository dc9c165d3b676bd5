"""The folder of one snapshot: what it holds, and whether it is whole."""

import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sidecar.engines.base import Command, EngineError, Entry, EntryAttributes, FailureClass
from sidecar.engines.rsync import commands as argv
from sidecar.engines.rsync.commands import Keeping, RsyncAccess
from sidecar.engines.rsync.interpret import interpret_remote
from sidecar.engines.rsync.output import parse_counts, parse_entry, parse_item
from sidecar.engines.rsync.program import RsyncProgram, was_ended
from sidecar.engines.rsync.record import Record
from sidecar.engines.rsync.walk import walk_attributes, walk_entries
from sidecar.lib.process import Completed
from sidecar.lib.text import counted

# Some entries could not be read, or are not there any more.
_ENTRIES_FAILED = (23, 24)


def adopted_root(paths: Sequence[str]) -> str:
    """Return what a snapshot is a copy of that another tool has made of a plan's paths."""
    return paths[0] if len(paths) == 1 else "/"


class SnapshotTree:
    """The absolute path `folder` of a snapshot, which is a copy of `root`.

    `faked`: owners and modes lie in attributes. All methods raise EngineError.
    """

    def __init__(
        self, access: RsyncAccess, program: RsyncProgram, folder: str, root: str, *, faked: bool
    ) -> None:
        self.folder = folder
        self.root = root
        self._access = access
        self._program = program
        self._keeping = Keeping(faked=faked)
        # This machine does not see it, or not as it was.
        self._is_listed = faked or bool(access.address.host)

    def inner(self, path: str) -> str | None:
        """Return where an absolute path of the source is in the folder; None: not in it."""
        path = "/" + path.strip("/")
        root = self.root.rstrip("/")
        if path == root or path.startswith(f"{root}/"):
            return path[len(root) :] or "/"
        return "/" if f"{root}/".startswith(path.rstrip("/") + "/") else None

    def leads_out(self, inner: str) -> bool:
        """Return whether the folder or a path in it goes on behind a link: that was not saved.

        Of a folder on another machine it is not known.
        """
        if self._access.address.host:
            return False
        above = (f"{self.folder}{inner[:at]}" for at, sign in enumerate(inner) if sign == "/")
        return any(map(os.path.islink, above))

    def entries(self, path: str) -> Iterator[Entry]:
        """Yield what it holds at and below an absolute path of the source."""
        inner = self.inner(path)
        if inner is None or self.leads_out(inner):
            return iter(())
        found = self._listed(inner) if self._is_listed else self._walked(inner)
        return (replace(one, path=self._outer(one.path)) for one in found)

    def attributes(self, path: str) -> Iterator[EntryAttributes]:
        """Yield what has extended attributes at and below an absolute path of the source."""
        if self._is_listed:
            message = "rsync does not tell the attributes of files that lie elsewhere"
            raise EngineError(FailureClass.UNKNOWN, message)
        inner = self.inner(path)
        if inner is None or self.leads_out(inner):
            return iter(())
        found = walk_attributes(os.fsencode(self.folder), os.fsencode(inner))
        return (replace(one, path=os.fsencode(self._outer(os.fsdecode(one.path)))) for one in found)

    def render_restore(self, paths: Sequence[str], target: str, shown: str) -> Command:
        """Return the command that copies absolute paths of the source to a target.

        The target stands for the root of the snapshot.
        """
        wanted = [inner.strip("/") for path in paths if (inner := self.inner(path)) is not None]
        return argv.render_restore(self._access, self._keeping, self.folder, wanted, target, shown)

    def miscounts(self, record: Record) -> str:
        """Return what it lacks by its record; empty: nothing."""
        if record.files is None:
            return ""
        completed = self._in_empty(
            lambda empty: argv.render_count(self._access, self._keeping, self.folder, empty)
        )
        counts = parse_counts(completed.out)
        if completed.status or counts is None:
            raise interpret_remote(completed, f"snapshot {record.name} cannot be read")
        if counts.files != record.files:
            return f"it holds {counted(counts.files, 'file')} instead of {record.files}"
        if counts.bytes != record.size:
            return f"it holds {counted(counts.bytes, 'byte')} instead of {record.size}"
        return ""

    def altered(self, record: Record) -> list[str]:
        """Return the files that differ from live ones, which themselves have not changed since.

        Nothing is known of files that have changed, or are not there any more.
        """
        found: list[str] = []

        def take(line: bytes) -> None:
            item = parse_item(line)
            if item is not None and item.is_copied:
                live = posixpath.join(self.root, os.fsdecode(item.path))
                if item.is_altered or _is_unchanged_since(live, record.time.timestamp()):
                    found.append(live)

        for path in record.paths:
            inner = self.inner(path)
            if inner is None or not os.path.lexists(path):
                continue
            command = argv.render_compare(
                self._access, self._keeping, self.folder, inner.strip("/"), self.root
            )
            completed = self._program.run(command, on_line=take)
            if was_ended(completed) or completed.status not in (0, *_ENTRIES_FAILED):
                raise interpret_remote(completed, f"snapshot {record.name} cannot be compared")
        return found

    def _walked(self, inner: str) -> Iterator[Entry]:
        found = walk_entries(os.fsencode(self.folder), os.fsencode(inner))
        # The folder itself is not part of what was saved, unless it is a copy of a folder.
        return (one for one in found if one.path != "/" or self.root != "/")

    def _listed(self, inner: str) -> Iterator[Entry]:
        found: list[Entry] = []
        path = inner.strip("/")
        wanted = os.fsencode(path)

        def take(line: bytes) -> None:
            parsed = parse_entry(line)
            if parsed is not None and _is_within(parsed[0], wanted):
                found.append(parsed[1])

        completed = self._in_empty(
            lambda empty: argv.render_listing(
                self._access, self._keeping, self.folder, path, empty
            ),
            take,
        )
        if completed.status and (completed.status not in _ENTRIES_FAILED or found):
            raise interpret_remote(completed, "a snapshot cannot be listed")
        return iter(found)

    def _in_empty(
        self,
        render: Callable[[str], Command],
        on_line: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run a command that needs an empty folder, and writes nothing to it."""
        with tempfile.TemporaryDirectory() as empty:
            return self._program.run(render(empty), on_line=on_line)

    def _outer(self, path: str) -> str:
        """Return the path in the source of what is in the folder."""
        return "/" + f"{self.root.rstrip('/')}/{path.lstrip('/')}".strip("/")


def _is_unchanged_since(path: str, time: float) -> bool:
    try:
        return os.lstat(path).st_ctime < time
    except OSError:
        return False


def _is_within(path: bytes, wanted: bytes) -> bool:
    return not wanted or path == wanted or path.startswith(wanted + b"/")
