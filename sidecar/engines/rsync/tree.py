"""The folder of one snapshot: what it holds, and whether it is whole."""

import io
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sidecar.engines.base import (
    Command,
    EngineError,
    Entry,
    EntryAttributes,
    FailureClass,
    PieceTaker,
    check_regular,
)
from sidecar.engines.line_buffer import complete_lines
from sidecar.engines.program import LineTaker
from sidecar.engines.rsync import commands as argv
from sidecar.engines.rsync.commands import Keeping, RsyncAccess
from sidecar.engines.rsync.interpret import interpret_remote
from sidecar.engines.rsync.output import parse_counts, parse_entry, parse_item
from sidecar.engines.rsync.program import RsyncProgram, was_ended
from sidecar.engines.rsync.record import Record
from sidecar.engines.rsync.storage import as_engine_errors
from sidecar.engines.rsync.walk import walk_attributes, walk_entries
from sidecar.lib.process import Completed
from sidecar.lib.text import counted

_PIECE = 1 << 18
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

    def entries(self, path: str, *, is_deep: bool = True) -> Iterator[Entry]:
        """Yield what it holds at and below an absolute path of the source.

        Unless `is_deep` only what lies directly in the path.
        """
        inner = self.inner(path)
        if inner is None or self.leads_out(inner):
            return iter(())
        look = self._listed if self._is_listed else self._walked
        return (replace(one, path=self._outer(one.path)) for one in look(inner, is_deep=is_deep))

    @property
    def time_resolution(self) -> float:
        """How exactly `entries` tell times, in seconds."""
        return 1.0 if self._is_listed else 1e-6

    def read(self, path: str, take: PieceTaker) -> None:
        """Read the content of a regular file at an absolute path of the source."""
        check_regular(path, next(self.entries(path, is_deep=False), None))
        place = f"{self.folder}{self.inner(path)}"
        if not self._access.address.host:
            with as_engine_errors():
                descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
            with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
                while piece := _read(file):
                    take(piece)
            return
        command = argv.render_remote(self._access, f"cat -- {argv.quote_words(place)}", "cat")
        completed = self._program.run(command, on_piece=take)
        if completed.status or was_ended(completed):
            raise interpret_remote(completed, f"{path} cannot be read")

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

    def _walked(self, inner: str, *, is_deep: bool) -> Iterator[Entry]:
        found = walk_entries(os.fsencode(self.folder), os.fsencode(inner), is_deep=is_deep)
        # The folder itself is not part of what was saved, unless it is a copy of a folder.
        return (one for one in found if one.path != "/" or self.root != "/")

    def _listed(self, inner: str, *, is_deep: bool) -> Iterator[Entry]:
        path = inner.strip("/")
        if is_deep or not path:
            return self._list(path, is_deep=is_deep)
        # With a slash at its end a link would be followed.
        itself = list(self._list(path, is_deep=False))
        is_folder = any(one.kind == "dir" for one in itself)
        return self._list(f"{path}/", is_deep=False) if is_folder else iter(itself)

    def _list(self, path: str, *, is_deep: bool) -> Iterator[Entry]:
        """Yield what rsync lists of a path.

        Unless `is_deep`, of a folder that is itself, or with a slash at the end what is in it too.
        """
        wanted = os.fsencode(path.rstrip("/"))

        def render(empty: str) -> Command:
            return argv.render_listing(
                self._access, self._keeping, self.folder, path, empty, is_deep=is_deep
            )

        def run(add: LineTaker) -> None:
            count = 0

            def take(line: bytes) -> None:
                nonlocal count
                parsed = parse_entry(line)
                if parsed is not None and _is_within(parsed[0], wanted):
                    count += 1
                    add(line)

            completed = self._in_empty(render, take)
            if completed.status and (completed.status not in _ENTRIES_FAILED or count):
                raise interpret_remote(completed, "a snapshot cannot be listed")

        lines = complete_lines(run)
        return (found[1] for line in lines if (found := parse_entry(line)) is not None)

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


def _read(file: io.FileIO) -> bytes | None:
    with as_engine_errors():
        return file.read(_PIECE)


def _is_unchanged_since(path: str, time: float) -> bool:
    try:
        return os.lstat(path).st_ctime < time
    except OSError:
        return False


def _is_within(path: bytes, wanted: bytes) -> bool:
    return not wanted or path == wanted or path.startswith(wanted + b"/")
