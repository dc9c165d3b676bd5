"""Interpret how a restic has ended: exit code and output → result. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sidecar.engines.base import (
    CommandResult,
    FailureClass,
    ResultKind,
    Stats,
    failed,
)
from sidecar.engines.masking import Masking
from sidecar.engines.restic.failures import classify, is_not_removed, render_reason
from sidecar.engines.restic.listing import parse_forgotten
from sidecar.engines.restic.messages import ResticOutput, Unread, number_of, parse_output
from sidecar.engines.restic.unrestored import parse_unrestored
from sidecar.lib.process import Completed
from sidecar.lib.text import counted

Mask = Callable[[str], str]

_PARTIAL = 3
_LAST_LINES = 20
_LONGEST_LINE = 500
# Our names of the counts → restic's.
_COUNTS = {
    "files_new": "files_new",
    "files_changed": "files_changed",
    "files_unmodified": "files_unmodified",
    "files_processed": "total_files_processed",
    "bytes_added": "data_added",
    "bytes_processed": "total_bytes_processed",
    "dirs_new": "dirs_new",
    "dirs_changed": "dirs_changed",
    "dirs_unmodified": "dirs_unmodified",
    "data_blobs": "data_blobs",
    "tree_blobs": "tree_blobs",
}


class Verb(StrEnum):
    """What restic was asked to do, as far as exit codes differ in meaning."""

    BACKUP = "backup"
    FORGET = "forget"
    RESTORE = "restore"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FinishedCommand:
    """A restic that ended, and what masks its output.

    `patience`: the seconds without progress after which it was ended; 0: no limit. `gave_up`: its
    line because of which it was ended before that; empty if it was not.
    """

    completed: Completed
    masking: Masking
    patience: float = 0.0
    gave_up: str = ""


def interpret(verb: Verb, ending: FinishedCommand) -> CommandResult:
    """Return the result of a restic that ended.

    RETRY means that a lock was in the way. A backup that succeeded without a snapshot found
    nothing new. Before restic 0.15 `snapshot` is the first eight digits of the id.
    """
    completed, mask = ending.completed, ending.masking.mask
    output = parse_output(completed.out, completed.err)
    judged = _restored(completed, mask) if verb is Verb.RESTORE else None
    return replace(judged or _judge(verb, output, ending), excerpt=_excerpt(output, mask))


def _judge(verb: Verb, output: ResticOutput, ending: FinishedCommand) -> CommandResult:
    completed, mask = ending.completed, ending.masking.mask
    if completed.status == 0 and verb is Verb.FORGET:
        return _forgotten(output, completed, mask)
    if completed.status == 0 and verb is not Verb.BACKUP:
        return CommandResult(ResultKind.SUCCESS)
    if completed.status == 0 or (
        completed.status == _PARTIAL and verb is Verb.BACKUP and output.summary is not None
    ):
        return _saved(output, mask, is_partial=completed.status == _PARTIAL)
    if completed.stopped:
        return failed(FailureClass.INTERRUPTED, "restic was interrupted: the runner stops")
    if completed.timed_out:
        return _overdue(output, ending)
    return _ended(output, completed.status, mask)


def _forgotten(output: ResticOutput, completed: Completed, mask: Mask) -> CommandResult:
    """Return the result of a forget that ended with 0, also where nothing could be removed."""
    if is_not_removed(output.lines):
        return _ended(output, completed.status, mask)
    listed = parse_forgotten(completed.out)
    return CommandResult(ResultKind.SUCCESS, forged=tuple(one for one in listed if one.is_forged))


def _saved(output: ResticOutput, mask: Mask, *, is_partial: bool) -> CommandResult:
    summary = output.summary or {}
    done = CommandResult(
        ResultKind.SUCCESS, snapshot=str(summary.get("snapshot_id", "")), stats=_stats(summary)
    )
    if not is_partial and not output.unread:
        return done
    failure, reason = render_unread(output.unread, mask)
    return replace(done, kind=ResultKind.WARNING, failure=failure, reason=reason)


def _restored(completed: Completed, mask: Mask) -> CommandResult | None:
    """Return the result of a restore that wrote all contents, and could not give all the rest."""
    was_ended = completed.stopped or completed.timed_out
    found = () if completed.status == 0 or was_ended else parse_unrestored(completed.err)
    if not found:
        return None
    lacking = counted(len(found), "entry", "entries")
    reason = f"{lacking} not as saved: {mask(found[0].message)}"
    return CommandResult(ResultKind.WARNING, FailureClass.PERMISSION, reason, unrestored=found)


def render_unread(unread: Sequence[Unread], mask: Mask) -> tuple[FailureClass, str]:
    """Return the class and a sentence for files of the source that are not in the snapshot."""
    if not unread:
        return FailureClass.UNKNOWN, "not all files could be read"
    failure = _class_of_source(one.message for one in unread)
    if failure is FailureClass.DAMAGED:
        return failure, render_reason(failure, next(filter(_is_damage, _messages(unread))), mask)
    what = "one file or folder" if len(unread) == 1 else f"{len(unread)} files or folders"
    return failure, f"{what} could not be read: {mask(next(_messages(unread)))}"


def _messages(unread: Iterable[Unread]) -> Iterator[str]:
    for one in unread:
        yield one.message if one.item in one.message else f"{one.item}: {one.message}"


def _is_damage(message: str) -> bool:
    """Whether it is the repository that could not be read, as restic says of a parent's folder."""
    return "repository could be damaged" in message


def _class_of_source(messages: Iterable[str]) -> FailureClass:
    text = " ".join(messages)
    if _is_damage(text):
        return FailureClass.DAMAGED
    for words, failure in (
        ("does not exist", FailureClass.SOURCE_MISSING),
        ("permission denied", FailureClass.PERMISSION),
        ("no such file", FailureClass.SOURCE_CHANGED),
    ):
        if words in text:
            return failure
    return FailureClass.UNKNOWN


def _overdue(output: ResticOutput, ending: FinishedCommand) -> CommandResult:
    """Return the result of a restic that was ended because nothing moved, or would have."""
    patience = 0.0 if ending.gave_up else ending.patience
    failure, line = classify(0, [ending.gave_up] if ending.gave_up else reversed(output.lines))
    if failure is FailureClass.UNKNOWN:
        failure, line = FailureClass.TIMEOUT, ending.gave_up
    waited = f"nothing moved for {counted(round(patience), 'second')}" if patience else ""
    reason = render_reason(failure, line, ending.masking.mask)
    return failed(failure, f"{reason}; {waited}" if waited else reason)


def _ended(output: ResticOutput, status: int, mask: Mask) -> CommandResult:
    if status < 0 and not output.fatal:
        return failed(FailureClass.INTERRUPTED, f"restic was ended by signal {-status}")
    messages = [
        output.fatal,
        *(f"{one.item}: {one.message}" for one in output.unread),
        *output.lines,
    ]
    failure, line = classify(status, messages)
    if failure is FailureClass.UNKNOWN and not line:
        return failed(failure, render_reason(failure, f"exit code {status}"))
    kind = ResultKind.RETRY if failure is FailureClass.LOCKED else ResultKind.FAILED
    return CommandResult(kind, failure, render_reason(failure, line, mask))


def _stats(summary: Mapping[str, Any]) -> Stats | None:
    if not summary:
        return None
    counts = {ours: int(number_of(summary, theirs)) for ours, theirs in _COUNTS.items()}
    # Where --skip-if-unchanged saved nothing, restic notes no end: it took minus 292 years then.
    return Stats(seconds=max(0.0, number_of(summary, "total_duration")), **counts)


def _excerpt(output: ResticOutput, mask: Mask) -> str:
    """Return the last lines, masked before they are cut: half a secret would not be found."""
    lines = (*output.shown, *output.lines)[-_LAST_LINES:]
    return "\n".join(mask(line)[:_LONGEST_LINE] for line in lines)
