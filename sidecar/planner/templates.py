"""hooks.template → the hooks before the snapshot and those after it."""

import shlex

from sidecar.backrest.plan import Hook, OnError
from sidecar.labels.policy import HookPolicy
from sidecar.labels.registry import TEMPLATES
from sidecar.lib.spec_error import quoted
from sidecar.planner.dumps import DUMP_TEMPLATES, render_dump
from sidecar.planner.hook_scope import AFTER, START, HookScope, command_hook
from sidecar.planner.order import start_order
from sidecar.planner.scripts import (
    escape_template,
    render_quiesce,
    render_resume,
    render_scale_down,
    render_scale_up,
)

_PAUSE = "pause-unpause"
_STOPS = ("stop-start", "quiesce-stop-start")


def resolve_template(scope: HookScope) -> tuple[list[Hook], list[Hook]]:
    """The hooks of `hooks.template`: those before the snapshot and those after."""
    template = scope.spec.template
    if template is None or template == "none":
        return [], []
    if template not in TEMPLATES:
        scope.tell(
            "hook.template-unknown",
            f"{quoted(template)} is no template",
            f"write one of {', '.join(TEMPLATES)}",
            "hooks.template",
        )
        return [], []
    if scope.is_forbidden("hooks.template", HookPolicy.TEMPLATES):
        return [], []
    if template in DUMP_TEMPLATES:
        return _dump_hooks(scope, template), []
    if _stop_is_off(scope, template):
        return [], []
    return _stop_hooks(scope, template)


def _stop_is_off(scope: HookScope, template: str) -> bool:
    own = (scope.policy.runner_container, scope.policy.own_container_id)
    for container in scope.workload.containers:
        if container.name in own or container.id in own:
            scope.tell(
                "hook.forbidden",
                f"{template} would stop {container.name}, which runs the backups",
                "use hooks.template=none here",
                "hooks.template",
            )
            return True
    explicit = scope.spec.snapshot_start or scope.spec.snapshot_end
    if explicit and scope.policy.hook_policy is HookPolicy.ALL:
        scope.tell(
            "hook.template-off",
            f"{template} is switched off by the snapshot-start and snapshot-end labels",
            "remove one or the other",
            "hooks.template",
        )
        return True
    return False


def _stop_hooks(scope: HookScope, template: str) -> tuple[list[Hook], list[Hook]]:
    if template == "swarm-scale":
        return _scale_hooks(scope)
    if scope.workload.swarm_service and template != _PAUSE:
        scope.tell(
            "label.invalid",
            f"{template} cannot quiesce a Swarm service: Swarm replaces a stopped task at once",
            "write swarm-scale or pause-unpause",
            "hooks.template",
        )
        return [], []
    ordered = start_order(scope.workload)
    stops = [_stop_script(scope, template, name) for name in reversed(ordered)]
    starts = [_start_script(template, name) for name in ordered]
    return (
        [command_hook(script, START, OnError.FATAL) for script in stops],
        [command_hook(script, AFTER) for script in starts],
    )


def _stop_script(scope: HookScope, template: str, name: str) -> str:
    if template in _STOPS:
        return render_quiesce(name, scope.plan_id, "stop")
    if template == _PAUSE:
        return render_quiesce(name, scope.plan_id, "pause")
    return escape_template(f"docker stop {shlex.quote(name)}")


def _start_script(template: str, name: str) -> str:
    if template in _STOPS:
        return render_resume(name, "start")
    if template == _PAUSE:
        return render_resume(name, "unpause")
    return escape_template(f"docker start {shlex.quote(name)}")


def _scale_hooks(scope: HookScope) -> tuple[list[Hook], list[Hook]]:
    service = scope.workload.swarm_service
    if not service:
        scope.tell(
            "label.invalid",
            "swarm-scale needs a Swarm service, and this is none",
            "write stop-start",
            "hooks.template",
        )
        return [], []
    down = render_scale_down(service, scope.plan_id)
    return (
        [command_hook(down, START, OnError.FATAL)],
        [command_hook(render_scale_up(service), AFTER)],
    )


def _dump_hooks(scope: HookScope, template: str) -> list[Hook]:
    spec = scope.spec
    values = {
        "dump.path": spec.dump_path or "",
        "dump.user": spec.dump_user or "",
        "dump.database": spec.dump_database or "",
    }
    if any(scope.has_template_mark(label, value) for label, value in values.items()):
        return []
    if not _dump_is_possible(scope, template, values):
        return []
    name = scope.workload.speaker("hooks.template")
    command = render_dump(template, *values.values())
    return [command_hook(scope.exec_script(name, command, template), START, OnError.FATAL)]


def _dump_is_possible(scope: HookScope, template: str, values: dict[str, str]) -> bool:
    needed = ["dump.path"]
    if template == "sqlite-backup":
        needed.append("dump.database")
    for label in needed:
        if not values[label].startswith("/"):
            what = "an absolute path in the container"
            scope.tell("label.invalid", f"{template} needs {label}", f"set it to {what}", label)
            return False
    if values["dump.database"].startswith("-"):
        scope.tell("label.invalid", "a database cannot begin with -", "rename it", "dump.database")
        return False
    if template == "sqlite-backup" and set(values["dump.path"]) & set("'\"\\"):
        scope.tell(
            "label.invalid",
            "SQLite cannot write to a path with quotes",
            "rename it",
            "dump.path",
        )
        return False
    return True
