"""The folder of a repository, here or on another machine, with the few operations it needs.

Paths are absolute ones of the machine on which it lies. All operations raise EngineError.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sidecar.backrest.engine_name import EngineName
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.destination import probe_destination
from sidecar.engines.marker import MARKER, create_marker, parse_marker, read_marker, render_marker
from sidecar.engines.rsync.commands import (
    Keeping,
    RsyncAccess,
    quote_words,
    render_flush,
    render_remote,
    render_remove,
)
from sidecar.engines.rsync.interpret import class_of_errno, interpret_remote
from sidecar.engines.rsync.program import RsyncProgram, was_ended
from sidecar.lib.process import Completed
from sidecar.lib.read_file import read_file

_NEW = ".new"
_TRIED = ".probe"
_ID_BYTES = 32
# Records and locks are much smaller; something else has no end.
_LARGEST = 1 << 24
# A shell ends so if there is no such command.
_NOT_FOUND = 127


class Storage(Protocol):
    """What can be done with files of a repository that are not copied."""

    def read_id(self, root: str) -> str:
        """Return the id of the repository in a folder; changes nothing."""
        ...

    def create(self, root: str) -> str:
        """Make a folder a repository, unless it is one; return its id."""
        ...

    def keeps(self, folder: str) -> Keeping:
        """Return what is kept of files in a folder that is there, as far as it can be tried."""
        ...

    def names(self, folders: Sequence[str]) -> Mapping[str, list[str]]:
        """Return what each of the folders holds; one that does not exist is left out."""
        ...

    def read_all(self, folder: str, ending: str) -> list[bytes]:
        """Return the lines of all files of a folder whose names have this ending."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        ...

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Replace a file in one step, so that it is there whole or not at all.

        Its folder is made if it is not there. What need not be `durable` may be lost if the power
        fails before a `flush`.
        """
        ...

    def make(self, folder: str) -> None:
        """Make a folder and those that it lies in, where they are not there."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a folder; nothing of the new name is there."""
        ...

    def point(self, link: str, target: str) -> None:
        """Let a symbolic link lead somewhere, also one that is there.

        Anything else that is there stays as it is.
        """
        ...

    def target(self, link: str) -> str:
        """Return where a symbolic link leads to; empty if it is none."""
        ...

    def exists(self, path: str) -> bool:
        """Return whether something is there, also a link that leads nowhere."""
        ...

    @property
    def is_flushed(self) -> bool:
        """Whether `flush` does something."""
        ...

    def flush(self, folder: str) -> None:
        """Have all that was written to a folder on its disk, which may take minutes."""
        ...

    def remove(self, paths: Sequence[str]) -> None:
        """Delete files, and folders with all that is in them; what is not there is no failure."""
        ...

    def owner(self, path: str) -> int:
        """Return the number of the user to whom something belongs that is there."""
        ...


class LocalStorage:
    """A repository on this machine."""

    def __init__(self, access: RsyncAccess, program: RsyncProgram) -> None:
        self._access = access
        self._program = program

    def read_id(self, root: str) -> str:
        """Return the id of the repository in a folder; changes nothing."""
        return read_marker(Path(root), EngineName.RSYNC)

    def create(self, root: str) -> str:
        """Make a folder a repository, unless it is one; return its id."""
        return create_marker(Path(root), EngineName.RSYNC)

    def keeps(self, folder: str) -> Keeping:
        """Return what is kept of files in a folder that is there, as far as it can be tried."""
        found = probe_destination(Path(folder))
        if not found.renames:
            message = "the file system of the repository loses what is in a folder that is renamed"
            raise EngineError(FailureClass.UNKNOWN, message, "use another file system")
        return Keeping(
            owners=found.owners is not False,
            acls=found.acls,
            xattrs=found.xattrs,
            hard_links=found.hard_links,
            symlinks=found.symlinks,
            devices=found.special_files,
            modes=found.modes,
            case=found.case,
            sparse=found.sparse,
            time_resolution=found.time_resolution,
        )

    def names(self, folders: Sequence[str]) -> Mapping[str, list[str]]:
        """Return what each of the folders holds; one that does not exist is left out."""
        found = {}
        for folder in folders:
            with as_engine_errors(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found[folder] = sorted(os.listdir(folder))
        return found

    def read_all(self, folder: str, ending: str) -> list[bytes]:
        """Return the lines of all files of a folder whose names have this ending."""
        names = self.names([folder]).get(folder, [])
        contents = (self.read(f"{folder}/{name}") for name in names if name.endswith(ending))
        return [line for content in contents for line in (content or b"").splitlines()]

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        with as_engine_errors(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return read_file(Path(path), _LARGEST)
        return None

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Replace a file in one step, so that it is there whole or not at all."""
        part = f"{path}{_NEW}"
        with as_engine_errors():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            try:
                with Path(part).open("wb") as file:
                    file.write(content)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                Path(part).replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    Path(part).unlink()
                raise

    def make(self, folder: str) -> None:
        """Make a folder and those that it lies in, where they are not there."""
        with as_engine_errors():
            Path(folder).mkdir(parents=True, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        """Rename a folder; nothing of the new name is there."""
        with as_engine_errors():
            Path(old).rename(new)

    def point(self, link: str, target: str) -> None:
        """Let a symbolic link lead somewhere, also one that is there."""
        part = Path(f"{link}{_NEW}")
        if self.exists(link) and not self.target(link):
            return
        with as_engine_errors():
            part.unlink(missing_ok=True)
            part.symlink_to(target)
            part.replace(link)

    def target(self, link: str) -> str:
        """Return where a symbolic link leads to; empty if it is none."""
        try:
            return os.readlink(link)  # noqa: PTH115 - as it is written
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        """Return whether something is there, also a link that leads nowhere."""
        return os.path.lexists(path)

    @property
    def is_flushed(self) -> bool:
        """Whether `flush` does something."""
        return True

    def flush(self, folder: str) -> None:
        """Have all that was written to a folder on its disk, which may take minutes."""
        done = self._program.run(render_flush(self._access, folder))
        if done.status:
            raise interpret_remote(done, "what was copied could not be written to the disk")

    def remove(self, paths: Sequence[str]) -> None:
        """Delete files, and folders with all that is in them; what is not there is no failure."""
        folders = []
        for path in paths:
            with as_engine_errors(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    _allow_removal(path)
                    folders.append(path)
                else:
                    os.unlink(path)  # noqa: PTH108
        if folders:
            # A program, as it can be ended: there may be millions of files.
            done = self._program.run(render_remove(self._access, folders))
            if done.status:
                raise interpret_remote(done, "something could not be deleted")

    def owner(self, path: str) -> int:
        """Return the number of the user to whom something belongs that is there."""
        with as_engine_errors():
            status = Path(path).lstat()
        return status.st_uid


class SshStorage:
    """A repository on another machine, of which only mkdir, mv, ln, rm, ls and cat are run."""

    def __init__(self, access: RsyncAccess, program: RsyncProgram) -> None:
        self._access = access
        self._program = program

    def read_id(self, root: str) -> str:
        """Return the id of the repository in a folder; changes nothing."""
        content = self.read(f"{root}/{MARKER}")
        if content is None:
            message = "there is no repository in its folder"
            hint = "is the disk mounted? A new repository has to be initialised"
            raise EngineError(FailureClass.REPO_NOT_FOUND, message, hint)
        return parse_marker(content, EngineName.RSYNC)

    def create(self, root: str) -> str:
        """Make a folder a repository, unless it is one; return its id."""
        self.make(root)
        if not self.exists(f"{root}/{MARKER}"):
            made = render_marker(EngineName.RSYNC, secrets.token_hex(_ID_BYTES))
            self.write(f"{root}/{MARKER}", made)
        return self.read_id(root)

    def keeps(self, folder: str) -> Keeping:
        """Return what is kept of files in a folder that is there: whether there are hard links."""
        one, other = (quote_words(f"{folder}/{_TRIED}{end}") for end in ("", _NEW))
        script = f"cat /dev/null > {one} && ln -- {one} {other} && rm -f -- {one} {other}"
        can_link = self._run(script, "ln", is_told=False).status == 0
        if not can_link:
            self.remove([f"{folder}/{_TRIED}"])
        return Keeping(hard_links=can_link)

    def names(self, folders: Sequence[str]) -> Mapping[str, list[str]]:
        """Return what each of the folders holds; one that does not exist is left out."""
        if not folders:
            return {}
        # One that is named with a slash at its end is shown with what it holds, also if alone.
        wanted = quote_words(*(f"{folder}/" for folder in folders))
        done = self._seen(f"ls -1A -- {wanted} /dev/null", "ls")
        found: dict[str, list[str]] = {}
        known = {f"{folder}/:": folder for folder in folders}
        names: list[str] = []
        for line in os.fsdecode(done.out).split("\n"):
            if line in known:
                names = found.setdefault(known[line], [])
            elif line:
                names.append(line)
        return found

    def read_all(self, folder: str, ending: str) -> list[bytes]:
        """Return the lines of all files of a folder whose names have this ending."""
        script = f"cat -- {quote_words(folder)}/*{quote_words(ending)}"
        return self._seen(script, "cat").out.splitlines()

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        done = self._seen(f"cat -- {quote_words(path)}", "cat")
        return done.out if done.status == 0 else None

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Replace a file in one step, so that it is there whole or not at all."""
        del durable
        part, whole = quote_words(f"{path}{_NEW}"), quote_words(path)
        folder = quote_words(path.rpartition("/")[0])
        script = f"mkdir -p -- {folder} && cat > {part} && mv -f -- {part} {whole}"
        self._run(script, "write", content)

    def make(self, folder: str) -> None:
        """Make a folder and those that it lies in, where they are not there."""
        self._run(f"mkdir -p -- {quote_words(folder)}", "mkdir")

    def rename(self, old: str, new: str) -> None:
        """Rename a folder; nothing of the new name is there."""
        self._run(f"mv -- {quote_words(old, new)}", "mv")

    def point(self, link: str, target: str) -> None:
        """Let a symbolic link lead somewhere, also one that is there."""
        if self.target(link) or not self.exists(link):
            self._run(f"ln -sfn -- {quote_words(target, link)}", "ln")

    def target(self, link: str) -> str:
        """Return where a symbolic link leads to; empty if it is none."""
        done = self._run(f"ls -ld -- {quote_words(link)}", "ls", is_told=False)
        _, arrow, target = os.fsdecode(done.out).rstrip("\n").rpartition(" -> ")
        return target if arrow else ""

    def exists(self, path: str) -> bool:
        """Return whether something is there, also a link that leads nowhere."""
        return self._seen(f"ls -d -- {quote_words(path)}", "ls").status == 0

    @property
    def is_flushed(self) -> bool:
        """Whether `flush` does something: the other machine writes to its disk by itself."""
        return False

    def flush(self, folder: str) -> None:
        """Do nothing."""

    def remove(self, paths: Sequence[str]) -> None:
        """Delete files, and folders with all that is in them; what is not there is no failure."""
        if paths:
            self._run(f"rm -rf -- {quote_words(*paths)}", "rm")

    def owner(self, path: str) -> int:
        """Return the number of the user to whom something belongs that is there."""
        done = self._run(f"ls -ldn -- {quote_words(path)}", "ls")
        fields = done.out.split()
        try:
            return int(fields[2])
        except (IndexError, ValueError) as error:
            message = "the other machine does not tell to whom a folder belongs"
            raise EngineError(FailureClass.UNKNOWN, message) from error

    def _seen(self, script: str, shown: str) -> Completed:
        """Run what looks at files; that one is not there is its only failure that is not told."""
        done = self._run(script, shown, is_told=False)
        # ssh itself may say more, as a greeting.
        if done.status == _NOT_FOUND or any(map(_is_refusal, done.err.splitlines())):
            raise interpret_remote(done, f"{shown} has failed on the other machine")
        return done

    def _run(
        self, script: str, shown: str, content: bytes = b"", *, is_told: bool = True
    ) -> Completed:
        """Run a line of a shell; that ssh itself fails is always told."""
        command = render_remote(self._access, script, shown)
        done = self._program.run(command, script=content, is_short=shown != "rm")
        if was_ended(done) or done.status not in ((0,) if is_told else range(1 << 7)):
            raise interpret_remote(done, f"{shown} has failed on the other machine")
        return done


@contextlib.contextmanager
def as_engine_errors() -> Iterator[None]:
    """Raise an OSError of the block as an EngineError."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename
        message = error.strerror or str(error)
        if name is not None:
            message = f"{os.fsdecode(name)}: {message}"
        raise EngineError(class_of_errno(error.errno), message) from error


def _is_refusal(line: bytes) -> bool:
    is_absence = b"No such file" in line or b"Not a directory" in line
    return line.startswith((b"ls: ", b"cat: ")) and not is_absence


def _allow_removal(path: str) -> None:
    """Let its owner, if he is not root, delete what is in folders that nobody may write to."""
    if os.geteuid() == 0:
        return
    for folder, folders, _ in os.walk(path):
        for name in folders:
            inner = os.path.join(folder, name)  # noqa: PTH118
            if not os.path.islink(inner):  # noqa: PTH114
                with contextlib.suppress(OSError):
                    os.chmod(inner, 0o700)  # noqa: PTH101
