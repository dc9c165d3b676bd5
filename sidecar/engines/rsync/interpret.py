"""Interpret how rsync, or ssh, has ended: exit code and messages → result. Pure."""

import errno
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sidecar.engines.base import (
    CommandResult,
    EngineError,
    FailureClass,
    ResultKind,
    Unrestored,
    failed,
)
from sidecar.engines.rsync.output import unescape
from sidecar.lib.process import Completed
from sidecar.lib.text import counted

Mask = Callable[[str], str]

_PARTIAL, _VANISHED, _SIGNALLED = 23, 24, 20
_SSH_FAILED, _NOT_FOUND = 255, 127
_MOST_NAMED = 3
_LAST_LINES = 20
_LONGEST = 500

# `rsync: [sender] send_files failed to open "/data/x": Permission denied (13)`; rsync before 3.2
# does not say which side it is.
_MESSAGE = re.compile(
    rb"rsync: (?:\[(?P<side>\w+)\] )?(?P<words>.*?)(?:: (?P<cause>[^:]*) \((?P<errno>\d+)\))?",
    re.DOTALL,
)
_GONE = re.compile(rb'file has vanished: "(?P<path>.*)"', re.DOTALL)
_QUOTED = re.compile(rb'"(?P<path>.*)"', re.DOTALL)
_ATTRIBUTE = re.compile(rb'lsetxattr\("(?P<path>.*)","(?P<attribute>[^"]*)"\)', re.DOTALL)
_PROPERTIES = re.compile(
    rb"chown |failed to set (?:permissions|times) on |set_acl|sys_acl_|rsync_xal_|chmod |"
    rb"failed to write xattr |mknod |failed to read xattr |get_acl|get_xattr_data"
)
_BY_ERRNO = {
    errno.ENOSPC: FailureClass.DISK_FULL,
    errno.EDQUOT: FailureClass.DISK_FULL,
    errno.EFBIG: FailureClass.DISK_FULL,
    errno.EACCES: FailureClass.PERMISSION,
    errno.EPERM: FailureClass.PERMISSION,
    errno.EROFS: FailureClass.PERMISSION,
    errno.EIO: FailureClass.DAMAGED,
    errno.EUCLEAN: FailureClass.DAMAGED,
    errno.ENOENT: FailureClass.SOURCE_CHANGED,
    errno.ETIMEDOUT: FailureClass.TIMEOUT,
    errno.ESTALE: FailureClass.NETWORK,
    errno.ENOTCONN: FailureClass.NETWORK,
    errno.ECONNRESET: FailureClass.NETWORK,
}
_BY_STATUS = {
    _SSH_FAILED: FailureClass.NETWORK,
    _NOT_FOUND: FailureClass.NO_PROGRAM,
    _SIGNALLED: FailureClass.INTERRUPTED,
    10: FailureClass.NETWORK,
    12: FailureClass.NETWORK,
    30: FailureClass.TIMEOUT,
    35: FailureClass.TIMEOUT,
}
# The first class whose words are in a line wins.
_WORDS = (
    (
        FailureClass.AUTH,
        (
            "host key verification failed|too many authentication failures"
            r"|permission denied \((?:publickey|password|keyboard|gssapi)"
        ),
    ),
    (FailureClass.DISK_FULL, "no space left on device|disk quota exceeded|file too large"),
    (FailureClass.TIMEOUT, "timed out|timeout"),
    (
        FailureClass.NETWORK,
        (
            "could not resolve|connection (?:refused|reset|closed)|no route to host|unreachable"
            "|broken pipe|temporary failure in name|lost connection|stale file handle"
        ),
    ),
    (FailureClass.NO_PROGRAM, r"rsync: (?:command )?not found|rsync: No such file"),
    (FailureClass.PERMISSION, "permission denied|operation not permitted|read-only file system"),
    (FailureClass.DAMAGED, "input/output error|structure needs cleaning"),
)
_PATTERNS = tuple((failure, re.compile(words, re.IGNORECASE)) for failure, words in _WORDS)
_SENTENCES = {
    FailureClass.AUTH: "the other machine does not let us in",
    FailureClass.NETWORK: "the other machine cannot be reached",
    FailureClass.DISK_FULL: "there is no space left",
    FailureClass.PERMISSION: "something may not be read or written",
    FailureClass.TIMEOUT: "it took too long",
    FailureClass.DAMAGED: "a disk or file system is damaged",
    FailureClass.NO_PROGRAM: "rsync cannot be started",
    FailureClass.INTERRUPTED: "rsync was interrupted",
}
_HOST_KEY = "the host key of the server is not one that is known"
_HOST_KEY_WORDS = "host key verification failed"


class CopyKind(StrEnum):
    """What rsync was asked to do, as far as exit codes differ in meaning."""

    BACKUP = "backup"
    RESTORE = "restore"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Message:
    """What rsync said about an entry.

    `side` is sender, receiver or generator; `path` is as rsync names it, `cause` the words of the
    C library, `errno` their number, 0 where it says none.
    """

    side: str
    words: bytes
    path: bytes
    cause: str
    errno: int

    @property
    def is_of_properties(self) -> bool:
        """Whether it is about what an entry has beside its content."""
        return _PROPERTIES.match(self.words) is not None

    @property
    def shown(self) -> str:
        """The path and the cause, for people."""
        path = self.path.decode(errors="replace")
        cause = self.cause or self.words.decode(errors="replace")
        return f"{path}: {cause}" if path else cause


def parse_messages(err: bytes) -> tuple[Message, ...]:
    """Return what rsync said about entries."""
    return tuple(
        message for line in err.split(b"\n") if (message := _parse_message(line)) is not None
    )


def _parse_message(line: bytes) -> Message | None:
    if (gone := _GONE.fullmatch(line)) is not None:
        return Message("sender", b"vanished", unescape(gone["path"]), "vanished", errno.ENOENT)
    found = _MESSAGE.fullmatch(line)
    if found is None:
        return None
    words = found["words"]
    quoted = _ATTRIBUTE.search(words) or _QUOTED.search(words)
    cause = (found["cause"] or b"").decode(errors="replace")
    side = (found["side"] or b"").decode()
    path = unescape(quoted["path"]) if quoted else b""
    return Message(side, words, path, cause, int(found["errno"] or 0))


def interpret(
    kind: CopyKind,
    completed: Completed,
    mask: Mask,
    *,
    sources: Sequence[str] = (),
    patience: float = 0.0,
) -> CommandResult:
    """Return the result of an rsync that ended.

    A backup that could not read everything is a warning that names what it could not, as are files
    that vanished meanwhile; `sources` are the paths that it was given. A restore is a warning if
    all contents are there. `patience` are the seconds without output after which it was ended.
    """
    return replace(
        _judge(kind, completed, mask, sources, patience), excerpt=excerpt(completed, mask)
    )


def _judge(
    kind: CopyKind, completed: Completed, mask: Mask, sources: Sequence[str], patience: float
) -> CommandResult:
    if completed.stopped or completed.timed_out or completed.status < 0:
        return _ended_by_others(completed, patience)
    if completed.status == 0:
        return CommandResult(ResultKind.SUCCESS)
    messages = parse_messages(completed.err)
    is_entries = completed.status in {_PARTIAL, _VANISHED}
    if is_entries and kind is CopyKind.BACKUP:
        return _saved(messages, mask, sources) or _ended(completed, mask)
    if is_entries and kind is CopyKind.RESTORE and _is_whole(messages):
        return _restored(messages, mask)
    return _ended(completed, mask)


def _ended_by_others(completed: Completed, patience: float) -> CommandResult:
    if completed.timed_out and not completed.stopped:
        reason = f"it took too long: nothing moved for {counted(round(patience), 'second')}"
        return failed(FailureClass.TIMEOUT, reason)
    why = "the runner stops" if completed.stopped else f"by signal {-completed.status}"
    return failed(FailureClass.INTERRUPTED, f"rsync was interrupted: {why}")


def _saved(messages: Sequence[Message], mask: Mask, sources: Sequence[str]) -> CommandResult | None:
    """Return the warning of a backup that lacks entries; None if it is worth nothing."""
    if any(_is_fatal(one) for one in messages):
        return None
    absent = [one for one in messages if one.words.startswith(b"link_stat")]
    names = {source.encode(errors="surrogateescape") for source in sources}
    if lost := next((one for one in absent if one.path in names), None):
        return failed(FailureClass.SOURCE_MISSING, mask(lost.shown))
    unread = [one for one in messages if not one.is_of_properties]
    if unread:
        what = counted(len(unread), "file or folder", "files or folders")
        reason = f"{what} could not be read: {_name(unread, mask)}"
        return CommandResult(ResultKind.WARNING, _class_of(unread), reason)
    if messages:
        what = counted(len(messages), "property", "properties")
        reason = f"{what} could not be saved: {_name(messages, mask)}"
        return CommandResult(ResultKind.WARNING, _class_of(messages), reason)
    return CommandResult(ResultKind.WARNING, FailureClass.UNKNOWN, "not all files could be read")


def _is_fatal(message: Message) -> bool:
    """Whether the place that is written to is full or broken."""
    failure = _BY_ERRNO.get(message.errno)
    if failure is FailureClass.DISK_FULL or message.errno == errno.EROFS:
        return True
    return message.side in {"receiver", "generator"} and failure is FailureClass.DAMAGED


def _name(messages: Sequence[Message], mask: Mask) -> str:
    named = ", ".join(mask(one.shown) for one in messages[:_MOST_NAMED])
    return f"{named}, ..." if len(messages) > _MOST_NAMED else named


def _class_of(messages: Iterable[Message]) -> FailureClass:
    """Return the class of most weight: that something could not be read before that it vanished."""
    found = [_BY_ERRNO.get(one.errno, FailureClass.UNKNOWN) for one in messages]
    return next((one for one in found if one is not FailureClass.SOURCE_CHANGED), found[0])


def _is_whole(messages: Sequence[Message]) -> bool:
    """Return whether all contents were restored: only properties are spoken of."""
    return bool(messages) and all(one.is_of_properties for one in messages)


def _restored(messages: Sequence[Message], mask: Mask) -> CommandResult:
    found = tuple(
        Unrestored(
            one.path.decode(errors="replace"),
            mask(f"{one.words.decode(errors='replace')}: {one.cause}"),
            _attribute_of(one),
        )
        for one in messages
    )
    reason = (
        f"{counted(len(found), 'property', 'properties')} not as saved: {_name(messages, mask)}"
    )
    return CommandResult(ResultKind.WARNING, FailureClass.PERMISSION, reason, unrestored=found)


def _attribute_of(message: Message) -> str:
    found = _ATTRIBUTE.search(message.words)
    return found["attribute"].decode(errors="replace") if found else ""


def interpret_remote(completed: Completed, what: str) -> EngineError:
    """Return the error of a command for a file of the repository; `what` is a sentence."""
    if completed.stopped:
        return EngineError(FailureClass.INTERRUPTED, "ended: the runner stops")
    if completed.timed_out:
        return EngineError(FailureClass.TIMEOUT, f"{what}: it took too long")
    failure, line = classify(completed)
    sentence = _SENTENCES.get(failure, what)
    return EngineError(failure, _with_detail(sentence, line))


def _ended(completed: Completed, mask: Mask) -> CommandResult:
    failure, line = classify(completed)
    sentence = _SENTENCES.get(failure, f"rsync failed with exit code {completed.status}")
    return failed(failure, mask(_with_detail(sentence, line)))


def _with_detail(sentence: str, line: str) -> str:
    if _HOST_KEY_WORDS in line.lower():
        return _HOST_KEY
    return f"{sentence}: {line}" if line else sentence


def classify(completed: Completed) -> tuple[FailureClass, str]:
    """Return the class of a failure, and the line that shows it; empty if none does."""
    lines = [line.strip() for line in completed.err.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("rsync error: ")]
    for failure, pattern in _PATTERNS:
        for line in lines:
            if pattern.search(line):
                return failure, line[:_LONGEST]
    last = lines[-1][:_LONGEST] if lines else ""
    return _BY_STATUS.get(completed.status, FailureClass.UNKNOWN), last


def class_of_errno(number: int | None) -> FailureClass:
    """Return the class of an error of the C library."""
    found = _BY_ERRNO.get(number or 0, FailureClass.UNKNOWN)
    return FailureClass.REPO_NOT_FOUND if found is FailureClass.SOURCE_CHANGED else found


def excerpt(completed: Completed, mask: Mask) -> str:
    """Return the last lines of the messages, masked before they are cut."""
    lines = [line for line in completed.err.decode(errors="replace").splitlines() if line.strip()]
    return "\n".join(mask(line)[:_LONGEST] for line in lines[-_LAST_LINES:])
