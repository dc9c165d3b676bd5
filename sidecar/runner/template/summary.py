"""What `.Summary` says: the event in a few lines. Pure."""

from collections.abc import Iterator

from sidecar.engines.base import Stats
from sidecar.runner.template.go import format_size, format_time, show_float
from sidecar.runner.template.values import Values, event_name

_AFTER = frozenset(
    {"CONDITION_SNAPSHOT_END", "CONDITION_SNAPSHOT_WARNING", "CONDITION_SNAPSHOT_SUCCESS"}
)


def summarise(values: Values) -> str:
    """Say what happened; several lines, the last of them ended too."""
    return "".join(f"{line}\n" for line in _lines(values))


def _lines(values: Values) -> Iterator[str]:
    yield f"{values.task}: {event_name(values.event)}"
    yield f"Time: {format_time(values.now)}"
    yield f"Repository: {values.repo.id}"
    if values.plan is not None:
        yield f"Plan: {values.plan.id}"
    if values.event == "CONDITION_SNAPSHOT_START":
        yield from (f"Path: {path}" for path in values.known_plan.paths)
    if values.snapshot:
        yield f"Snapshot: {values.snapshot}"
    if values.error:
        yield f"Error: {values.error}"
    elif values.stats is not None and values.event in _AFTER:
        yield from _counted(values.stats)


def _counted(stats: Stats) -> Iterator[str]:
    yield f"Added: {format_size(stats.bytes_added)}"
    yield f"Processed: {format_size(stats.bytes_processed)} in {stats.files_processed} files"
    yield _told("Files", stats.files_new, stats.files_changed, stats.files_unmodified)
    yield _told("Folders", stats.dirs_new, stats.dirs_changed, stats.dirs_unmodified)
    yield f"Blobs: {stats.data_blobs} of data, {stats.tree_blobs} of folders"
    yield f"Duration: {show_float(stats.seconds)} s"


def _told(what: str, new: int, changed: int, unmodified: int) -> str:
    return f"{what}: {new} new, {changed} changed, {unmodified} unmodified"
