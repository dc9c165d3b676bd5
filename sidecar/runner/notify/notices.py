"""Notices: what the runner itself reports of its runs, whatever the hooks of a plan do. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sidecar.engines.base import Stats
from sidecar.lib.text import counted, render_size
from sidecar.runner.journal import RunOutcome
from sidecar.runner.notify.addresses import name_address
from sidecar.runner.notify.messages import (
    AppriseRequest,
    MessageQueue,
    QueuedMessage,
    cut,
    level_of,
)


class NoticeEvent(StrEnum):
    """What people may want to be notified of: the values of --notify-on."""

    ERROR = "error"
    WARNING = "warning"
    SUCCESS = "success"
    START = "start"
    MISSED = "missed"


_EVENTS = {
    RunOutcome.SUCCESS: NoticeEvent.SUCCESS,
    RunOutcome.SKIPPED: NoticeEvent.SUCCESS,
    RunOutcome.WARNING: NoticeEvent.WARNING,
    RunOutcome.CANCELLED: NoticeEvent.WARNING,
    RunOutcome.FAILED: NoticeEvent.ERROR,
    RunOutcome.INTERRUPTED: NoticeEvent.ERROR,
}


def event_of(outcome: RunOutcome) -> NoticeEvent:
    """Return the event that the end of a run is."""
    return _EVENTS[outcome]


@dataclass(frozen=True, slots=True)
class Notice:
    """What is known of a run that began, ended or was missed.

    Attributes:
        event: whether anybody wants to know depends on it.
        what: the kind of the run, for example `backup`.
        about: its subject, for example `plan web`.
        result: how it ended, for example `failed`.
        at: when; all moments are aware.
        reason: why it ended so; holds no secret.
        seconds: how long it took.
    """

    event: NoticeEvent
    what: str
    about: str
    result: str
    at: datetime
    reason: str = ""
    seconds: float | None = None
    stats: Stats | None = None
    snapshot: str = ""
    last_success: datetime | None = None
    next_fire: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunNotifier:
    """Queues the notices of chosen events for every address, each an Apprise URL.

    `host` is how people know this machine; `queue` takes the messages.
    """

    urls: Sequence[str] = field(repr=False)
    events: Collection[NoticeEvent]
    host: str
    queue: MessageQueue

    def announce(self, notice: Notice) -> None:
        """Queue a notice if its event is among the chosen ones; raises nothing."""
        if notice.event not in self.events:
            return
        title, body = render_notice(notice, self.host)
        for number, url in enumerate(self.urls, 1):
            request = AppriseRequest(url, title, body, level=level_of(notice.event))
            is_start = notice.event is NoticeEvent.START
            to = name_address(url, number)
            self.queue.post(
                QueuedMessage(to, notice.about, request, notice.at.timestamp(), is_start)
            )


def render_notice(notice: Notice, host: str) -> tuple[str, str]:
    """Return the title and the text of a notice."""
    title = f"{notice.what} of {notice.about} {notice.result} on {host}"
    return cut(title, 200), cut("\n".join(_lines(notice, host)))


def _lines(notice: Notice, host: str) -> Iterator[str]:
    yield f"{notice.what.capitalize()} of {notice.about}: {notice.result}"
    if notice.reason:
        yield f"Reason: {notice.reason}"
    yield f"Time: {_moment(notice.at)}"
    if notice.seconds is not None:
        yield f"Duration: {_duration(notice.seconds)}"
    if notice.stats is not None:
        yield from _stats_lines(notice.stats)
    if notice.snapshot:
        yield f"Snapshot: {notice.snapshot}"
    if notice.last_success is not None:
        yield f"Last success: {_moment(notice.last_success)}"
    if notice.next_fire is not None:
        yield f"Next: {_moment(notice.next_fire)}"
    yield f"Host: {host}"


def _stats_lines(stats: Stats) -> Iterator[str]:
    yield f"Size: {render_size(stats.bytes_processed)} in {counted(stats.files_processed, 'file')}"
    # The noun belongs to both numbers.
    files = "file" if stats.files_new + stats.files_changed == 1 else "files"
    changes = f"{stats.files_new} new and {stats.files_changed} changed {files}"
    yield f"Added: {render_size(stats.bytes_added)} ({changes})"


def _moment(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def _duration(seconds: float) -> str:
    whole = round(max(0.0, seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
