"""The events of the runner's log, and what each name means."""

from collections.abc import Mapping

from sidecar.lib.log import LogEvent

EVENTS: Mapping[str, LogEvent] = {
    "daemon.started": LogEvent("info", "the daemon has begun"),
    "daemon.stopped": LogEvent("info", "the daemon has ended in order"),
    "daemon.ends-runs": LogEvent("warn", "it is to end, and runs have not ended within `--grace`"),
    "daemon.leaves-runs": LogEvent("error", "a run could not be brought to its end"),
    "thread.failed": LogEvent("error", "a part of the daemon broke down: it ends with status 1"),
    "http.failed": LogEvent("error", "a page or a part of the HTTP server broke down"),
    "document.loaded": LogEvent("info", "the document is new or has changed, and is executed"),
    "document.refused": LogEvent(
        "error", "a document cannot be used: its last good state is executed, if there is one"
    ),
    "plan.moving": LogEvent(
        "info", "a plan stands in both documents: that of runner.json waits until it is in one"
    ),
    "repository.refused": LogEvent(
        "error", "nothing of a repository is run, and why, by its id or its engine"
    ),
    "document.unwatched": LogEvent("warn", "changes of the document are not told; it is polled"),
    "backrest.unknown": LogEvent("warn", "whether Backrest runs beside it cannot be told"),
    "run.began": LogEvent("info", "something is run now"),
    "run.ended": LogEvent("info, warn, error", "it has ended; the level follows its outcome"),
    "run.waits": LogEvent("warn", "others have locked the repository: nothing is stopped yet"),
    "run.retry": LogEvent("info", "a run that failed is tried again, and when"),
    "run.missed": LogEvent("warn", "fires that no run answers"),
    "run.dropped": LogEvent("error", "a run broke down without an end of its own"),
    "run.interrupted": LogEvent("warn", "a run that died with the runner was put right"),
    "clock.set-back": LogEvent(
        "warn", "records lie ahead of the clock: they count as having been now"
    ),
    "run.not-recorded": LogEvent("error", "the journal does not take what is to be recorded"),
    "hook.ended": LogEvent("info, warn", "a command has ended; warn if it failed"),
    "hook.unusable": LogEvent(
        "error, warn", "a hook cannot be run; error if its plan waits for it"
    ),
    "repository.ready": LogEvent("info", "a repository is there, or was made"),
    "repository.remark": LogEvent(
        "info", "what a repository keeps otherwise than files and retentions say; once a start"
    ),
    "repository.not-created": LogEvent("error", "a repository could not be made"),
    "repository.not-noted": LogEvent(
        "error", "the file that keeps a repository's id is not written"
    ),
    "container.stop": LogEvent("info", "a container is stopped for a restore or `backup-once`"),
    "container.start": LogEvent("info", "it is started again"),
    "container.gone": LogEvent("warn", "it is not there any more, nor another of its name"),
    "container.settle": LogEvent("info", "it may still be about to stop: that is waited for"),
    "container.left": LogEvent(
        "warn", "it stays as it is: somebody else stopped it, or it has no time limit to stop"
    ),
    "container.not-started": LogEvent("error", "it could not be started; that is tried again"),
    "quiesced.unreadable": LogEvent(
        "error", "what hooks have stopped cannot be looked at; that is tried again"
    ),
    "leftover.ended": LogEvent("warn", "programs that a dead runner had left were ended"),
    "snapshot.forged": LogEvent(
        "warn", "a snapshot bears the tags of two plans: it is ignored, and retention left out"
    ),
    "snapshot.ahead": LogEvent(
        "warn", "a snapshot is dated in the future: retention is left out until it is gone"
    ),
    "plan.emptied": LogEvent("warn, error", "the paths of a plan are all empty, and were not"),
    "plan.refill": LogEvent("warn", "a plan whose paths are all empty is restored"),
    "devices.unknown": LogEvent("error", "on which disks a plan lies could not be recorded"),
    "workloads.unreadable": LogEvent(
        "warn", "what the sidecar has written of names cannot be used: plans are known by ids"
    ),
    "restore.differs": LogEvent(
        "warn", "owners, permissions or attributes of what was restored are not as saved"
    ),
    "restore.left": LogEvent("warn", "a folder of a restore could not be removed"),
    "restore.settled": LogEvent("warn", "what an earlier restore left halfway was put right"),
    "notify.sent": LogEvent("debug", "a notification was sent"),
    "notify.failed": LogEvent("warn", "a notification could not be sent; it is tried again"),
    "notify.unusable": LogEvent("error", "an address of --notify-url cannot be used"),
    "notify.dropped": LogEvent("error", "a notification could not be sent, and is given up"),
    "outbox.unreadable": LogEvent("error", "notifications that wait cannot be read"),
    "outbox.unknown": LogEvent("error", "a notification that waits is of another version"),
    "journal.unreadable": LogEvent("error", "the journal cannot be read; nothing is put right"),
    "journal.not-written": LogEvent("error", "the journal cannot be written; told once"),
    "journal.set-aside": LogEvent("error", "the journal is broken: it is kept, a new one begins"),
    "marker.not-written": LogEvent("error", "the file that tells a plan's last end is not written"),
    "pulse.not-saved": LogEvent("warn", "the heartbeat cannot be written"),
}
"""All events of the runner, grouped by subject."""

ONCE: Mapping[str, LogEvent] = {
    "container.retried": LogEvent("warn", "the engine did not answer, it is asked again"),
    "image.pull": LogEvent("info", "the image of `--rcb-image` is fetched"),
    "once.stopping": LogEvent("warn", "it was asked to stop: what runs is ended, then started"),
    "once.not-stopped": LogEvent("error", "the one-shot container could not be ended"),
}
"""Further events of `backrest-sidecar backup-once`."""
