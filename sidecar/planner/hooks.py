"""Hook labels → ordered hooks: notifications, exec commands, the template, snapshot commands.

START hooks come first, in this order too; the other notifications come last. What a template
stopped is started again before anything else runs after the snapshot.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sidecar.backrest.plan import Condition, Hook, OnError
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import TEMPLATES
from sidecar.labels.spec import LabelSpec
from sidecar.lib.text import SpecInvalid, closest, quoted
from sidecar.planner.dumps import DUMP_TEMPLATES, render_dump
from sidecar.planner.notifications import SecretMissing, parse_notification, render_notification
from sidecar.planner.scripts import (
    escape_template,
    render_exec,
    render_quiesce,
    render_refusal,
    render_resume,
    render_scale_down,
    render_scale_up,
)
from sidecar.planner.workload import NAME, Workload, start_order

_START = (Condition.SNAPSHOT_START,)
# A halted START hook gives no END: what starts a container again runs on both.
_AFTER = (Condition.SNAPSHOT_END, Condition.SNAPSHOT_ERROR)
_PAUSE = "pause-unpause"
_STOPS = ("stop-start", "quiesce-stop-start")
_SIMPLE = "simple-stop-start"
_ON_ERROR = {
    "ignore": OnError.IGNORE,
    "cancel": OnError.CANCEL,
    "fatal": OnError.FATAL,
    "retry-1m": OnError.RETRY_1_MINUTE,
    "retry-10m": OnError.RETRY_10_MINUTES,
    "retry-backoff": OnError.RETRY_BACKOFF,
}
_LATER_SNAPSHOT_LABELS = (
    ("snapshot-end", Condition.SNAPSHOT_END),
    ("snapshot-success", Condition.SNAPSHOT_SUCCESS),
    ("snapshot-error", Condition.SNAPSHOT_ERROR),
    ("snapshot-warning", Condition.SNAPSHOT_WARNING),
    ("snapshot-skipped", Condition.SNAPSHOT_SKIPPED),
)
_SHORT_COMMAND = 60
_NODE_ID = 25
_SELF = re.compile(r"\$\{SELF\}|\$SELF(?![A-Za-z0-9_])")
# Possessive: whoever writes a label chooses its text, and none may take long to read.
_NAMELESS = re.compile(
    r"\bdocker\s++(?:container\s++)?(?:stop|start)"
    r"(?:\s++(?>(?:-t|--time|-s|--signal|--timeout)[ =][^\s;&|)#]+|-[^\s;&|)#]+))*+"
    r"(?:\s++(?:\"\"|''))*+\s*+(?=$|[;&|)#\n])"
)


@dataclass(frozen=True, slots=True)
class PlannedHooks:
    """The hooks of one workload in Backrest's order, and the problems with its hook labels."""

    hooks: tuple[Hook, ...]
    problems: tuple[Problem, ...]


_NO_HOOKS = PlannedHooks((), ())


@dataclass(slots=True)
class _HookScope:
    """One workload whose hooks are being resolved; `problems` name no workload yet."""

    workload: Workload
    spec: LabelSpec
    plan_id: str
    policy: Policy
    problems: list[Problem] = field(default_factory=list)

    def exec_script(self, name: str, command: str, what: str) -> str:
        """Wrap a command so that it runs in a container; `what` is for people."""
        user = self.spec.exec_user or ""
        if user and self.is_forbidden("exec.user", HookPolicy.ALL):
            user = ""
        return render_exec(
            name,
            command,
            what=what,
            user=user,
            swarm_service=self.workload.swarm_service,
        )

    def is_forbidden(self, label: str, needed: HookPolicy) -> bool:
        """Return whether the hook policy is narrower than what a label needs, and report it."""
        policy = self.policy.hook_policy
        if policy is HookPolicy.ALL or policy is needed:
            return False
        self.report(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} is not allowed under --hook-policy {policy}",
            f"remove the label, or run the sidecar with --hook-policy {needed}",
            label,
        )
        return True

    def is_misnamed(self, label: str, *names: str) -> bool:
        """Return whether a hook would use a name that is none of Docker's, and report it.

        Names become file names of markers and arguments of `docker`.
        """
        found = [name for name in (*names, self.workload.swarm_service) if name or name in names]
        wrong = next((name for name in found if not NAME.fullmatch(name)), None)
        if wrong is None:
            return False
        self.report(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} would use the name {quoted(wrong)}, "
            "which is none that Docker gives",
            "use only letters, digits, `_`, `.` and `-` in names of containers, services, "
            "stacks and projects, the first a letter or digit",
            label,
        )
        return True

    def has_template_mark(self, label: str, value: str) -> bool:
        """Return whether a value that the policy does not trust holds a template, and report it."""
        if self.policy.hook_policy is HookPolicy.ALL or "{{" not in value:
            return False
        self.report(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} holds {{{{, which the runner would execute",
            "write it without {{, or run the sidecar with --hook-policy all",
            label,
        )
        return True

    def report(self, reason: str, message: str, hint: str, label: str) -> None:
        """Keep a problem with a label, which is named without its prefix."""
        self.problems.append(
            problem_of(
                reason,
                message,
                hint,
                container=self.workload.carrier(label),
                label=self.policy.label_prefix + label,
            )
        )


def resolve_hooks(
    workload: Workload, spec: LabelSpec, plan_id: str, policy: Policy
) -> PlannedHooks:
    """Turn the hook labels of one workload into hooks; problems carry no workload yet."""
    if not spec.asks_for_hooks:
        return _NO_HOOKS
    scope = _HookScope(workload, spec, plan_id, policy)
    before, after = _exec_hooks(scope)
    template_start, template_end = _template_hooks(scope)
    start, later = _snapshot_hooks(scope)
    notifications = _notify_hooks(scope)
    # A notification may take its time: it comes before anything is stopped. What was stopped
    # is started again before anything else runs: it serves people.
    first, last = _split_notifications(notifications, apart=bool(template_end))
    hooks = (*first, *before, *template_start, *start, *template_end, *later, *after, *last)
    return PlannedHooks(hooks, tuple(scope.problems))


def _split_notifications(hooks: Iterable[Hook], *, apart: bool) -> tuple[list[Hook], list[Hook]]:
    """Return the notifications at START, and the others.

    One at START and other events is one hook, unless `apart`: then it becomes two, so that
    nothing that is still stopped waits for it.
    """
    first: list[Hook] = []
    last: list[Hook] = []
    for hook in hooks:
        others = tuple(item for item in hook.conditions if item is not Condition.SNAPSHOT_START)
        if len(others) == len(hook.conditions):
            last.append(hook)
        elif apart and others:
            first.append(replace(hook, conditions=_START))
            last.append(replace(hook, conditions=others))
        else:
            first.append(hook)
    return first, last


def _exec_hooks(scope: _HookScope) -> tuple[list[Hook], list[Hook]]:
    """Return the hooks that run commands inside the labelled container: before and after."""
    before = _exec(scope, "exec.start", scope.spec.exec_start, _START, _user_on_error(scope))
    return before, _exec(scope, "exec.end", scope.spec.exec_end, _AFTER, OnError.IGNORE)


def _user_on_error(scope: _HookScope) -> OnError:
    return _ON_ERROR[scope.spec.on_error]


def _exec(
    scope: _HookScope,
    label: str,
    commands: Sequence[str] | None,
    conditions: tuple[Condition, ...],
    on_error: OnError,
) -> list[Hook]:
    if not commands or scope.is_forbidden(label, HookPolicy.ALL):
        return []
    name = scope.workload.carrier(label)
    if scope.is_misnamed(label, name):
        return []
    return [
        _command_hook(
            scope.exec_script(name, _with_self(text, name), f"exec `{_short(text)}`"),
            conditions,
            on_error,
        )
        for text in commands
    ]


def _short(command: str) -> str:
    """Return the beginning of a command, by which people recognise it."""
    words = " ".join(command.split())
    return words if len(words) <= _SHORT_COMMAND else f"{words[: _SHORT_COMMAND - 1]}…"


def _with_self(command: str, name: str) -> str:
    return _SELF.sub(lambda _: escape_template(shlex.quote(name)), command)


def _template_hooks(scope: _HookScope) -> tuple[list[Hook], list[Hook]]:
    """Return the hooks of `hooks.template`: those before the snapshot and those after."""
    template = scope.spec.template
    if template is None or template == "none":
        return [], []
    if template not in TEMPLATES:
        scope.report(
            "hook.template-unknown",
            f"{quoted(template)} is no template",
            f"{_did_you_mean(template)}write one of {', '.join(TEMPLATES)}",
            "hooks.template",
        )
        return [], []
    if scope.is_forbidden("hooks.template", HookPolicy.TEMPLATES):
        return [], []
    if template in DUMP_TEMPLATES:
        return _dump_hooks(scope, template), []
    if _stop_is_off(scope, template) or scope.is_misnamed("hooks.template", *scope.workload.names):
        return [], []
    return _stop_hooks(scope, template)


def _did_you_mean(template: str) -> str:
    # A dump of another database is never meant, however alike the rest of the name is.
    name = template.strip().lower().replace("_", "-").removesuffix("dump").rstrip("-")
    if name.startswith(("pg", "maria")):
        meant = "postgres-dump" if name.startswith("pg") else "mariadb-dump"
    elif name and template.lower().endswith("dump"):
        dumps = {known.removesuffix("-dump"): known for known in sorted(DUMP_TEMPLATES)}
        meant = dumps.get(closest(name, dumps), "")
    else:
        meant = closest(template, TEMPLATES)
    return f"did you mean {meant}? Else " if meant else ""


def _stop_is_off(scope: _HookScope, template: str) -> bool:
    own = (scope.policy.runner_container, scope.policy.own_container_id)
    for container in scope.workload.containers:
        if container.name in own or container.id in own:
            scope.report(
                "hook.forbidden",
                f"{template} would stop {container.name}, which runs the backups",
                "use hooks.template=none here",
                "hooks.template",
            )
            return True
    explicit = scope.spec.snapshot_start or scope.spec.snapshot_end
    if explicit and scope.policy.hook_policy is HookPolicy.ALL:
        scope.report(
            "hook.template-off",
            f"{template} is switched off by the snapshot-start and snapshot-end labels",
            "remove one or the other",
            "hooks.template",
        )
        return True
    return False


def _stop_hooks(scope: _HookScope, template: str) -> tuple[list[Hook], list[Hook]]:
    if template == "swarm-scale":
        return _scale_hooks(scope)
    if scope.workload.swarm_service and template != _PAUSE:
        scope.report(
            "label.invalid",
            f"{template} cannot quiesce a Swarm service: Swarm replaces a stopped task at once",
            "write swarm-scale or pause-unpause",
            "hooks.template",
        )
        return [], []
    ordered = start_order(scope.workload)
    going = frozenset() if template == _PAUSE else _report_going(scope, template)
    stops = [_stop_script(scope, template, name, going) for name in reversed(ordered)]
    starts = [_start_script(template, name) for name in ordered]
    return (
        [_command_hook(script, _START, OnError.FATAL) for script in stops],
        [_command_hook(script, _AFTER) for script in starts],
    )


def _report_going(scope: _HookScope, template: str) -> frozenset[str]:
    """Report containers that a stop would remove (`--rm`), and return their names."""
    going = [one.name for one in scope.workload.containers if one.goes_when_stopped]
    for name in going:
        scope.report(
            "hook.auto-remove",
            f"{template} would remove {name} with all that is written in it: it was started "
            "with --rm, so its backups fail before they stop it",
            "start it without --rm, or write hooks.template=pause-unpause",
            "hooks.template",
        )
    return frozenset(going)


def _stop_script(scope: _HookScope, template: str, name: str, going: frozenset[str]) -> str:
    if template in _STOPS:
        return render_quiesce(name, scope.plan_id, "stop")
    if template == _PAUSE:
        return render_quiesce(name, scope.plan_id, "pause")
    if name in going:
        return render_refusal(name)
    return escape_template(f"docker stop {shlex.quote(name)}")


def _start_script(template: str, name: str) -> str:
    if template in _STOPS:
        return render_resume(name, "start")
    if template == _PAUSE:
        return render_resume(name, "unpause")
    return escape_template(f"docker start {shlex.quote(name)}")


def _scale_hooks(scope: _HookScope) -> tuple[list[Hook], list[Hook]]:
    service = scope.workload.swarm_service
    if not service:
        scope.report(
            "label.invalid",
            "swarm-scale needs a Swarm service, and this is none",
            "write stop-start",
            "hooks.template",
        )
        return [], []
    if _is_global(scope.workload):
        scope.report(
            "label.invalid",
            f"{service} is a global service: it has no number of replicas to scale",
            "write pause-unpause",
            "hooks.template",
        )
        return [], []
    down = render_scale_down(service, scope.plan_id)
    return (
        [_command_hook(down, _START, OnError.FATAL)],
        [_command_hook(render_scale_up(service), _AFTER)],
    )


def _is_global(workload: Workload) -> bool:
    """Return whether a Swarm service runs one task on each node.

    Its tasks are called after their node, `SERVICE.NODE.TASK`, the others after their number.
    """
    for container in workload.containers:
        name = container.labels.get("com.docker.swarm.task.name", container.name)
        slot = name.removeprefix(f"{workload.swarm_service}.").partition(".")[0]
        node = container.labels.get("com.docker.swarm.node.id", "")
        if slot == node or (slot != name and len(slot) == _NODE_ID and not slot.isdigit()):
            return True
    return False


def _dump_hooks(scope: _HookScope, template: str) -> list[Hook]:
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
    name = scope.workload.carrier("hooks.template")
    if scope.is_misnamed("hooks.template", name):
        return []
    command = render_dump(template, *values.values())
    return [_command_hook(scope.exec_script(name, command, template), _START, OnError.FATAL)]


def _dump_is_possible(scope: _HookScope, template: str, values: dict[str, str]) -> bool:
    needed = ["dump.path"]
    if template == "sqlite-backup":
        needed.append("dump.database")
    for label in needed:
        if not values[label].startswith("/"):
            what = "an absolute path in the container"
            scope.report("label.invalid", f"{template} needs {label}", f"set it to {what}", label)
            return False
    if values["dump.database"].startswith("-"):
        scope.report(
            "label.invalid", "a database cannot begin with -", "rename it", "dump.database"
        )
        return False
    if template == "sqlite-backup" and set(values["dump.path"]) & set("'\"\\"):
        scope.report(
            "label.invalid",
            "SQLite cannot write to a path with quotes",
            "rename it",
            "dump.path",
        )
        return False
    return True


def _snapshot_hooks(scope: _HookScope) -> tuple[list[Hook], list[Hook]]:
    """Return the hooks of the user's own commands, verbatim: the runner renders their templates."""
    start = _snapshot(scope, "snapshot-start", Condition.SNAPSHOT_START, _user_on_error(scope))
    later = [
        hook
        for label, condition in _LATER_SNAPSHOT_LABELS
        for hook in _snapshot(scope, label, condition, OnError.IGNORE)
    ]
    return start, later


def _snapshot(scope: _HookScope, label: str, condition: Condition, on_error: OnError) -> list[Hook]:
    commands = getattr(scope.spec, label.replace("-", "_"))
    if not commands or scope.is_forbidden(label, HookPolicy.ALL):
        return []
    name = scope.workload.carrier(label)
    if any(_SELF.search(text) for text in commands) and scope.is_misnamed(label, name):
        commands = [text for text in commands if not _SELF.search(text)]
    for command in commands:
        _check_nameless(scope, command, label)
    return [_command_hook(_with_self(text, name), (condition,), on_error) for text in commands]


def _check_nameless(scope: _HookScope, command: str, label: str) -> None:
    if "docker" in command and _NAMELESS.search(command):
        scope.report(
            "hook.self-empty",
            "a docker stop or start names no container",
            "in a Compose file write $$SELF, because Compose itself replaces $SELF",
            label,
        )


def _notify_hooks(scope: _HookScope) -> list[Hook]:
    """Return the hooks of notifications, which never fail a backup."""
    items = scope.spec.notify
    if not items or scope.is_forbidden("notify", HookPolicy.TEMPLATES):
        return []
    events = scope.spec.notify_on or ("error",)
    return [hook for item in items for hook in _notify(scope, item, events)]


def _notify(scope: _HookScope, item: str, events: Iterable[str]) -> list[Hook]:
    if scope.has_template_mark("notify", item):
        return []
    try:
        notification = parse_notification(item)
    except SpecInvalid as error:
        label = f"{scope.policy.label_prefix}notify"
        scope.report("label.invalid", f"{label}: {error.message}", error.hint, "notify")
        return []
    if notification.has_literal:
        scope.report(
            "secret.literal",
            f"a {notification.kind} item holds its address or token in the label itself",
            "write file:/run/secrets/NAME or env:BACKREST_SECRET_NAME instead",
            "notify",
        )
    try:
        return [render_notification(notification, events, scope.policy.secrets)]
    except SecretMissing as missing:
        scope.report(
            "secret.missing",
            f"{missing} is not there, empty, no URL, or not below the secrets directory",
            "mount it into the sidecar below --secrets-dir, or set BACKREST_SECRET_NAME",
            "notify",
        )
        return []


def _command_hook(
    command: str, conditions: tuple[Condition, ...], on_error: OnError = OnError.IGNORE
) -> Hook:
    """Return a hook that the runner gives to its shell."""
    return Hook(conditions, "actionCommand", {"command": command}, on_error)
