"""Hook labels → ordered hooks: notifications, exec commands, the template, snapshot commands.

START hooks come first, in this order too; the other notifications come last. What a template
stopped is started again before anything else runs after the snapshot.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True)
class _HookScope:
    """One workload whose hooks are being resolved; the problems name no workload yet."""

    workload: Workload
    spec: LabelSpec
    plan_id: str
    policy: Policy

    def exec_script(self, name: str, command: str, what: str, user: str) -> str:
        """Wrap a command so that it runs in a container; `what` is for people."""
        service = self.workload.swarm_service
        return render_exec(name, command, what=what, user=user, swarm_service=service)

    def forbidden(self, label: str, needed: HookPolicy) -> Problem | None:
        """Return the problem that the hook policy is narrower than what a label needs."""
        policy = self.policy.hook_policy
        if policy is HookPolicy.ALL or policy is needed:
            return None
        return self.problem(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} is not allowed under --hook-policy {policy}",
            f"remove the label, or run the sidecar with --hook-policy {needed}",
            label,
        )

    def misnamed(self, label: str, *names: str) -> Problem | None:
        """Return the problem that a hook would use a name that is none of Docker's.

        Names become file names of markers and arguments of `docker`.
        """
        found = [name for name in (*names, self.workload.swarm_service) if name or name in names]
        wrong = next((name for name in found if not NAME.fullmatch(name)), None)
        if wrong is None:
            return None
        return self.problem(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} would use the name {quoted(wrong)}, "
            "which is none that Docker gives",
            "use only letters, digits, `_`, `.` and `-` in names of containers, services, "
            "stacks and projects, the first a letter or digit",
            label,
        )

    def template_mark(self, label: str, value: str) -> Problem | None:
        """Return the problem that a value which the policy does not trust holds a template."""
        if self.policy.hook_policy is HookPolicy.ALL or "{{" not in value:
            return None
        return self.problem(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} holds {{{{, which the runner would execute",
            "write it without {{, or run the sidecar with --hook-policy all",
            label,
        )

    def problem(self, reason: str, message: str, hint: str, label: str) -> Problem:
        """Return a problem with a label, which is named without its prefix."""
        container, name = self.workload.carrier(label), self.policy.label_prefix + label
        return problem_of(reason, message, hint, container=container, label=name)


_Found = Iterator[Hook | Problem]


def resolve_hooks(
    workload: Workload, spec: LabelSpec, plan_id: str, policy: Policy
) -> PlannedHooks:
    """Turn the hook labels of one workload into hooks; problems carry no workload yet."""
    if not spec.asks_for_hooks:
        return _NO_HOOKS
    scope = _HookScope(workload, spec, plan_id, policy)
    before, after, problems = _parted(_exec_hooks(scope))
    template_start, template_end, about_template = _parted(_template_hooks(scope))
    start, later, about_commands = _parted(_snapshot_hooks(scope))
    notified = tuple(_notify_hooks(scope))
    problems += (*about_template, *about_commands)
    problems += (one for one in notified if isinstance(one, Problem))
    # A notification may take its time: it comes before anything is stopped. What was stopped
    # is started again before anything else runs: it serves people.
    notifications = [one for one in notified if isinstance(one, Hook)]
    first, last = _split_notifications(notifications, apart=bool(template_end))
    hooks = (*first, *before, *template_start, *start, *template_end, *later, *after, *last)
    return PlannedHooks(hooks, tuple(problems))


def _parted(found: _Found) -> tuple[list[Hook], list[Hook], list[Problem]]:
    """Return the hooks before the snapshot, those after it, and the problems."""
    before: list[Hook] = []
    after: list[Hook] = []
    problems: list[Problem] = []
    for one in found:
        if isinstance(one, Problem):
            problems.append(one)
        else:
            (before if one.conditions == _START else after).append(one)
    return before, after, problems


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


def _exec_hooks(scope: _HookScope) -> _Found:
    """Yield the hooks that run commands inside the labelled container."""
    yield from _exec(scope, "exec.start", scope.spec.exec_start, _START, _user_on_error(scope))
    yield from _exec(scope, "exec.end", scope.spec.exec_end, _AFTER, OnError.IGNORE)


def _user_on_error(scope: _HookScope) -> OnError:
    return _ON_ERROR[scope.spec.on_error]


def _exec(
    scope: _HookScope,
    label: str,
    commands: Sequence[str] | None,
    conditions: tuple[Condition, ...],
    on_error: OnError,
) -> _Found:
    if not commands:
        return
    name = scope.workload.carrier(label)
    if problem := scope.forbidden(label, HookPolicy.ALL) or scope.misnamed(label, name):
        yield problem
        return
    user = scope.spec.exec_user or ""
    for text in commands:
        what = f"exec `{_short(text)}`"
        script = scope.exec_script(name, _with_self(text, name), what, user)
        yield _command_hook(script, conditions, on_error)


def _short(command: str) -> str:
    """Return the beginning of a command, by which people recognise it."""
    words = " ".join(command.split())
    return words if len(words) <= _SHORT_COMMAND else f"{words[: _SHORT_COMMAND - 1]}…"


def _with_self(command: str, name: str) -> str:
    return _SELF.sub(lambda _: escape_template(shlex.quote(name)), command)


def _template_hooks(scope: _HookScope) -> _Found:
    """Yield the hooks of `hooks.template`."""
    template = scope.spec.template
    if template is None or template == "none":
        return
    if template not in TEMPLATES:
        yield scope.problem(
            "hook.template-unknown",
            f"{quoted(template)} is no template",
            f"{_did_you_mean(template)}write one of {', '.join(TEMPLATES)}",
            "hooks.template",
        )
    elif problem := scope.forbidden("hooks.template", HookPolicy.TEMPLATES):
        yield problem
    elif template in DUMP_TEMPLATES:
        yield from _dump_hooks(scope, template)
    elif problem := _no_stop(scope, template) or scope.misnamed(
        "hooks.template", *scope.workload.names
    ):
        yield problem
    else:
        yield from _stop_hooks(scope, template)


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


def _no_stop(scope: _HookScope, template: str) -> Problem | None:
    """Return why nothing is stopped; None if nothing is in the way."""
    own = (scope.policy.runner_container, scope.policy.own_container_id)
    for container in scope.workload.containers:
        if container.name in own or container.id in own:
            return scope.problem(
                "hook.forbidden",
                f"{template} would stop {container.name}, which runs the backups",
                "use hooks.template=none here",
                "hooks.template",
            )
    explicit = scope.spec.snapshot_start or scope.spec.snapshot_end
    if explicit and scope.policy.hook_policy is HookPolicy.ALL:
        return scope.problem(
            "hook.template-off",
            f"{template} is switched off by the snapshot-start and snapshot-end labels",
            "remove one or the other",
            "hooks.template",
        )
    return None


def _stop_hooks(scope: _HookScope, template: str) -> _Found:
    if template == "swarm-scale":
        yield from _scale_hooks(scope)
        return
    if scope.workload.swarm_service and template != _PAUSE:
        yield scope.problem(
            "label.invalid",
            f"{template} cannot quiesce a Swarm service: Swarm replaces a stopped task at once",
            "write swarm-scale or pause-unpause",
            "hooks.template",
        )
        return
    ordered = start_order(scope.workload)
    removed = [one.name for one in scope.workload.containers if one.goes_when_stopped]
    going = [] if template == _PAUSE else removed
    for name in going:
        yield scope.problem(
            "hook.auto-remove",
            f"{template} would remove {name} with all that is written in it: it was started "
            "with --rm, so its backups fail before they stop it",
            "start it without --rm, or write hooks.template=pause-unpause",
            "hooks.template",
        )
    for name in reversed(ordered):
        script = _stop_script(scope, template, name, going)
        yield _command_hook(script, _START, OnError.FATAL)
    for name in ordered:
        yield _command_hook(_start_script(template, name), _AFTER)


def _stop_script(scope: _HookScope, template: str, name: str, going: Sequence[str]) -> str:
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


def _scale_hooks(scope: _HookScope) -> _Found:
    service = scope.workload.swarm_service
    if not service:
        yield scope.problem(
            "label.invalid",
            "swarm-scale needs a Swarm service, and this is none",
            "write stop-start",
            "hooks.template",
        )
    elif _is_global(scope.workload):
        yield scope.problem(
            "label.invalid",
            f"{service} is a global service: it has no number of replicas to scale",
            "write pause-unpause",
            "hooks.template",
        )
    else:
        down = render_scale_down(service, scope.plan_id)
        yield _command_hook(down, _START, OnError.FATAL)
        yield _command_hook(render_scale_up(service), _AFTER)


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


def _dump_hooks(scope: _HookScope, template: str) -> _Found:
    spec = scope.spec
    values = {
        "dump.path": spec.dump_path or "",
        "dump.user": spec.dump_user or "",
        "dump.database": spec.dump_database or "",
    }
    name = scope.workload.carrier("hooks.template")
    marks = (scope.template_mark(label, value) for label, value in values.items())
    if problem := (
        next(filter(None, marks), None)
        or _no_dump(scope, template, values)
        or scope.misnamed("hooks.template", name)
    ):
        yield problem
        return
    user = spec.exec_user or ""
    if user and (problem := scope.forbidden("exec.user", HookPolicy.ALL)):
        yield problem
        user = ""
    script = scope.exec_script(name, render_dump(template, *values.values()), template, user)
    yield _command_hook(script, _START, OnError.FATAL)


def _no_dump(scope: _HookScope, template: str, values: Mapping[str, str]) -> Problem | None:
    """Return why a dump cannot be made of these values; None if nothing is in the way."""
    needed = ["dump.path"]
    if template == "sqlite-backup":
        needed.append("dump.database")
    for label in needed:
        if not values[label].startswith("/"):
            what = "an absolute path in the container"
            hint = f"set it to {what}"
            return scope.problem("label.invalid", f"{template} needs {label}", hint, label)
    if values["dump.database"].startswith("-"):
        message = "a database cannot begin with -"
        return scope.problem("label.invalid", message, "rename it", "dump.database")
    if template == "sqlite-backup" and set(values["dump.path"]) & set("'\"\\"):
        message = "SQLite cannot write to a path with quotes"
        return scope.problem("label.invalid", message, "rename it", "dump.path")
    return None


def _snapshot_hooks(scope: _HookScope) -> _Found:
    """Yield the hooks of the user's own commands, verbatim: the runner renders their templates."""
    start = Condition.SNAPSHOT_START
    yield from _snapshot(scope, "snapshot-start", start, _user_on_error(scope))
    for label, condition in _LATER_SNAPSHOT_LABELS:
        yield from _snapshot(scope, label, condition, OnError.IGNORE)


def _snapshot(scope: _HookScope, label: str, condition: Condition, on_error: OnError) -> _Found:
    commands = getattr(scope.spec, label.replace("-", "_"))
    if not commands:
        return
    if problem := scope.forbidden(label, HookPolicy.ALL):
        yield problem
        return
    name = scope.workload.carrier(label)
    is_named = any(_SELF.search(text) for text in commands)
    if is_named and (problem := scope.misnamed(label, name)):
        yield problem
        commands = [text for text in commands if not _SELF.search(text)]
    for command in commands:
        if "docker" in command and _NAMELESS.search(command):
            yield scope.problem(
                "hook.self-empty",
                "a docker stop or start names no container",
                "in a Compose file write $$SELF, because Compose itself replaces $SELF",
                label,
            )
        yield _command_hook(_with_self(command, name), (condition,), on_error)


def _notify_hooks(scope: _HookScope) -> _Found:
    """Yield the hooks of notifications, which never fail a backup."""
    items = scope.spec.notify
    if not items:
        return
    if problem := scope.forbidden("notify", HookPolicy.TEMPLATES):
        yield problem
        return
    events = scope.spec.notify_on or ("error",)
    for item in items:
        yield from _notify(scope, item, events)


def _notify(scope: _HookScope, item: str, events: Iterable[str]) -> _Found:
    if problem := scope.template_mark("notify", item):
        yield problem
        return
    try:
        notification = parse_notification(item)
    except SpecInvalid as error:
        label = f"{scope.policy.label_prefix}notify"
        yield scope.problem("label.invalid", f"{label}: {error.message}", error.hint, "notify")
        return
    if notification.has_literal:
        yield scope.problem(
            "secret.literal",
            f"a {notification.kind} item holds its address or token in the label itself",
            "write file:/run/secrets/NAME or env:BACKREST_SECRET_NAME instead",
            "notify",
        )
    try:
        yield render_notification(notification, events, scope.policy.secrets)
    except SecretMissing as missing:
        yield scope.problem(
            "secret.missing",
            f"{missing} is not there, empty, no URL, or not below the secrets directory",
            "mount it into the sidecar below --secrets-dir, or set BACKREST_SECRET_NAME",
            "notify",
        )


def _command_hook(
    command: str, conditions: tuple[Condition, ...], on_error: OnError = OnError.IGNORE
) -> Hook:
    """Return a hook that the runner gives to its shell."""
    return Hook(conditions, "actionCommand", {"command": command}, on_error)
