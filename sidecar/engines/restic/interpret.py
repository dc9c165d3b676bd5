"""What a finished restic means. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sidecar.engines.base import FailureClass, Interpreted, ResultKind, Stats, failed
from sidecar.engines.restic.access import Masking
from sidecar.engines.restic.failures import classify, render_reason
from sidecar.engines.restic.messages import ResticOutput, Unread, number_of, parse_said
from sidecar.lib.process import Completed

_PARTIAL = 3
_LAST_LINES = 20
_LONGEST_LINE = 500
# Our names of what is counted, and restic's.
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
    """What a restic was asked to do, as far as its end means different things."""

    BACKUP = "backup"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FinishedCommand:
    """A finished restic, whose secrets, and for how long it was silent if it was ended for that."""

    completed: Completed
    masking: Masking
    patience: float = 0.0


def interpret(verb: Verb, ending: FinishedCommand) -> Interpreted:
    """Judge it. RETRY means a lock; a backup that succeeded without a snapshot saved nothing new.

    In restic before 0.15 `snapshot` is the first eight digits of the id.
    """
    completed, mask = ending.completed, ending.masking.mask
    said = parse_said(completed.out, completed.err)
    judged = _judge(verb, said, completed, ending.patience)
    return replace(judged, reason=mask(judged.reason), excerpt=_excerpt(said, mask))


def _judge(verb: Verb, said: ResticOutput, completed: Completed, patience: float) -> Interpreted:
    if completed.status == 0 and verb is not Verb.BACKUP:
        return Interpreted(ResultKind.SUCCESS)
    if completed.status == 0 or (
        completed.status == _PARTIAL and verb is Verb.BACKUP and said.summary is not None
    ):
        return _saved(said, is_partial=completed.status == _PARTIAL)
    if completed.stopped:
        return failed(FailureClass.INTERRUPTED, "restic was interrupted: the runner stops")
    return _silent(said, patience) if completed.timed_out else _ended(said, completed.status)


def _saved(said: ResticOutput, *, is_partial: bool) -> Interpreted:
    summary = said.summary or {}
    done = Interpreted(
        ResultKind.SUCCESS, snapshot=str(summary.get("snapshot_id", "")), stats=_stats(summary)
    )
    if not is_partial and not said.unread:
        return done
    failure, reason = render_unread(said.unread)
    return replace(done, verdict=ResultKind.WARNING, failure=failure, reason=reason)


def render_unread(unread: Sequence[Unread]) -> tuple[FailureClass, str]:
    """Say what of the source is not in the snapshot."""
    if not unread:
        return FailureClass.UNKNOWN, "not all files could be read"
    failure = _class_of_source(one.message for one in unread)
    what = "one file or folder" if len(unread) == 1 else f"{len(unread)} files or folders"
    first = unread[0]
    said = first.message if first.item in first.message else f"{first.item}: {first.message}"
    return failure, f"{what} could not be read: {said}"


def _class_of_source(messages: Iterable[str]) -> FailureClass:
    said = " ".join(messages)
    for words, failure in (
        ("does not exist", FailureClass.SOURCE_MISSING),
        ("permission denied", FailureClass.PERMISSION),
        ("no such file", FailureClass.SOURCE_CHANGED),
    ):
        if words in said:
            return failure
    return FailureClass.UNKNOWN


def _silent(said: ResticOutput, patience: float) -> Interpreted:
    failure, line = classify(0, reversed(said.lines))
    if failure is FailureClass.UNKNOWN:
        failure, line = FailureClass.TIMEOUT, ""
    waited = f"nothing moved for {patience:.0f} seconds" if patience else ""
    reason = render_reason(failure, line)
    return failed(failure, f"{reason}; {waited}" if waited else reason)


def _ended(said: ResticOutput, status: int) -> Interpreted:
    if status < 0 and not said.fatal:
        return failed(FailureClass.INTERRUPTED, f"restic was ended by signal {-status}")
    telling = [said.fatal, *(f"{one.item}: {one.message}" for one in said.unread), *said.lines]
    failure, line = classify(status, telling)
    if failure is FailureClass.UNKNOWN and not line:
        line = f"exit code {status}"
    verdict = ResultKind.RETRY if failure is FailureClass.LOCKED else ResultKind.FAILED
    return Interpreted(verdict, failure, render_reason(failure, line))


def _stats(summary: Mapping[str, Any]) -> Stats | None:
    if not summary:
        return None
    counts = {ours: int(number_of(summary, theirs)) for ours, theirs in _COUNTS.items()}
    return Stats(seconds=number_of(summary, "total_duration"), **counts)


def _excerpt(said: ResticOutput, mask: Callable[[str], str]) -> str:
    """Return the last lines; a secret must not be cut in two before it is masked."""
    lines = (*said.shown, *said.lines)[-_LAST_LINES:]
    return "\n".join(mask(line)[:_LONGEST_LINE] for line in lines)
