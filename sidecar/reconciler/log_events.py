"""The events of the sidecar's log: their levels, and what each name means.

The reference page is made of it, so a new event is documented here.
"""

from collections.abc import Mapping

from sidecar.lib.log import LogEvent

EVENTS: Mapping[str, LogEvent] = {
    "daemon.started": LogEvent("info", "the daemon has begun"),
    "daemon.stopped": LogEvent("info", "the daemon has ended in order"),
    "thread.failed": LogEvent("error", "a part of the daemon broke down: it ends with status 1"),
    "http.failed": LogEvent("error", "a page or a part of the HTTP server broke down"),
    "reconcile.complete": LogEvent(
        "info, debug", "a pass went through; debug if all was as it was"
    ),
    "dry-run.complete": LogEvent("info", "a dry run went through"),
    "reconcile.failed": LogEvent("error", "a pass failed, and nothing was written; told once"),
    "reconcile.recovered": LogEvent("info", "passes go through again"),
    "config.write": LogEvent("info", "the document was written"),
    "plan.rendered": LogEvent("info, debug", "a plan is new or changed; debug if it is as it was"),
    "plan.moved": LogEvent("info", "a plan stands in the other document only, where it belongs"),
    "plan.removed": LogEvent("warn", "an orphan was taken out of the document"),
    "plan.orphaned": LogEvent("warn", "a plan has lost its workload, its grace begins"),
    "plan.orphan-gone": LogEvent("info", "a plan is no orphan any more"),
    "plan.drift": LogEvent("warn", "somebody edited an owned key, it was put back"),
    "plan.contested": LogEvent("warn", "somebody insists on an owned key, it is left alone"),
    "plan.uncontested": LogEvent("info", "an owned key that was left alone is ours again"),
    "plan.first-run": LogEvent(
        "info", "a plan that has never run although its pause is over is run once, by the API"
    ),
    "plan.first-run-failed": LogEvent(
        "warn", "that one run failed or did not begin; it is not asked for again"
    ),
    "orphans.held": LogEvent("warn", "suspiciously many orphans: nothing is done until confirmed"),
    "orphans.released": LogEvent("info", "orphans are few again, or were confirmed"),
    "problem.appeared": LogEvent(
        "error, warn", "a label has a problem; error if it blocks the plan"
    ),
    "problem.gone": LogEvent("info", "a problem was solved"),
    "engine.lost": LogEvent("warn", "the engine does not answer; nothing is written meanwhile"),
    "engine.back": LogEvent("info", "the engine answers again"),
    "events.connected": LogEvent("info", "the engine's events are heard"),
    "events.lost": LogEvent("warn", "the engine's events ended; they are asked for again"),
    "events.deaf": LogEvent(
        "warn", "containers changed without an event; the stream is opened anew"
    ),
    "document.broken": LogEvent("warn", "the document is missing, empty, or none"),
    "document.good": LogEvent("info", "the document can be used again"),
    "document.unwatched": LogEvent("warn", "changes of the document are not told; it is polled"),
    "runner.unknown": LogEvent("warn", "the runner's container was never seen: new plans wait"),
    "runner.known": LogEvent("info", "the runner's mounts are known"),
    "apply.applied": LogEvent("info", "the runner has noticed the document"),
    "apply.failed": LogEvent("warn", "the runner could not be told; it is tried again"),
    "apply.waiting": LogEvent("warn", "the runner is busy for longer than `--apply-wait`"),
    "apply.limited": LogEvent("warn", "enough restarts for this hour; the next waits"),
    "apply.foreign-edit": LogEvent("warn", "the file was edited by hand beside a running Backrest"),
    "apply.refused": LogEvent(
        "error", "the container named as the runner is this sidecar: no restart"
    ),
    "apply.no-runner": LogEvent("warn", "there is no container to restart"),
    "apply.unknown": LogEvent("warn", "the engine does not tell of the runner's container"),
    "apply.api-closed": LogEvent("warn", "Backrest's API does not answer"),
    "apply.refused-login": LogEvent("warn", "Backrest refuses our login: nothing goes by its API"),
    "apply.api-open": LogEvent("info", "Backrest's API answers again"),
    "backrest.restart": LogEvent("info", "Backrest's container is being restarted"),
    "guard.resumed": LogEvent("warn", "what a dead backup had left stopped runs again"),
    "guard.waiting": LogEvent(
        "warn", "what a backup stopped waits for longer than two minutes for what still runs"
    ),
    "guard.failed": LogEvent("warn", "what a dead backup left stopped could not be started"),
    "guard.stale": LogEvent(
        "info", "a marker has done its service and was removed: what it speaks of runs"
    ),
    "guard.discarded": LogEvent(
        "warn", "a marker does not hold any more and was removed; nothing was started"
    ),
    "guard.blind": LogEvent("warn", "whether a backup is in progress cannot be told"),
    "state.lost": LogEvent("warn", "what was remembered cannot be read; it begins anew"),
    "state.not-saved": LogEvent("warn", "what was learned cannot be saved"),
    "workloads.not-saved": LogEvent(
        "warn", "the names of workloads cannot be saved: the runner knows plans by ids only"
    ),
    "pulse.not-saved": LogEvent("warn", "the heartbeat cannot be written"),
    "log.more": LogEvent("warn", "many lines of one kind: so many were left out"),
}
"""All events, those that belong together beside each other."""
