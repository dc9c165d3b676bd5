"""Hook labels → ordered Hooks: START hooks first (exec, template, snapshot-start)."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidecar.backrest.plan import Condition, Hook, OnError
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem
from sidecar.labels.spec import LabelSpec
from sidecar.lib.spec_error import SpecInvalid
from sidecar.planner.hook_scope import AFTER, START, HookScope, command_hook
from sidecar.planner.notifications import SecretMissing, parse_notification, render_notification
from sidecar.planner.scripts import escape_template
from sidecar.planner.templates import resolve_template
from sidecar.planner.workload import Workload

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
_SHORT = 60
_SELF = re.compile(r"\$\{SELF\}|\$SELF(?![A-Za-z0-9_])")
_NAMELESS = re.compile(
    r"\bdocker\s+(?:container\s+)?(?:stop|start)"
    r"(?:\s+(?:(?:-t|--time|-s|--signal|--timeout)[ =]\S+|-\S+))*"
    r"(?:\s+(?:\"\"|''))*\s*(?=$|[;&|)#\n])"
)


@dataclass(frozen=True, slots=True)
class HookResult:
    """The hooks of one workload in Backrest's order, and the problems on the way."""

    hooks: tuple[Hook, ...]
    problems: tuple[Problem, ...]


_NO_HOOKS = HookResult((), ())


def resolve_hooks(workload: Workload, spec: LabelSpec, plan_id: str, policy: Policy) -> HookResult:
    """Turn the hook labels of one workload into hooks; problems carry no workload yet."""
    if not spec.asks_for_hooks:
        return _NO_HOOKS
    scope = HookScope(workload, spec, plan_id, policy)
    before, after = _exec_hooks(scope)
    template_start, template_end = resolve_template(scope)
    start, later = _snapshot_hooks(scope)
    notifications = _notify_hooks(scope)
    # What was stopped is started again before anything else runs: it serves people.
    hooks = (*before, *template_start, *start, *template_end, *later, *after, *notifications)
    return HookResult(hooks, tuple(scope.problems))


def _exec_hooks(scope: HookScope) -> tuple[list[Hook], list[Hook]]:
    """Commands that run inside the labelled container."""
    before = _exec(scope, "exec.start", scope.spec.exec_start, START, _user_on_error(scope))
    return before, _exec(scope, "exec.end", scope.spec.exec_end, AFTER, OnError.IGNORE)


def _user_on_error(scope: HookScope) -> OnError:
    return _ON_ERROR[scope.spec.on_error]


def _exec(
    scope: HookScope,
    label: str,
    commands: Sequence[str] | None,
    conditions: tuple[Condition, ...],
    on_error: OnError,
) -> list[Hook]:
    if not commands or scope.is_forbidden(label, HookPolicy.ALL):
        return []
    name = scope.workload.speaker(label)
    return [
        command_hook(
            scope.exec_script(name, _with_self(text, name), f"exec `{_short(text)}`"),
            conditions,
            on_error,
        )
        for text in commands
    ]


def _short(command: str) -> str:
    """The beginning of a command, by which people know it."""
    words = " ".join(command.split())
    return words if len(words) <= _SHORT else f"{words[: _SHORT - 1]}…"


def _with_self(command: str, name: str) -> str:
    return _SELF.sub(lambda _: escape_template(shlex.quote(name)), command)


def _snapshot_hooks(scope: HookScope) -> tuple[list[Hook], list[Hook]]:
    """The user's own commands, verbatim: they are the runner's templates."""
    start = _snapshot(scope, "snapshot-start", Condition.SNAPSHOT_START, _user_on_error(scope))
    later = [
        hook
        for label, condition in _LATER_SNAPSHOT_LABELS
        for hook in _snapshot(scope, label, condition, OnError.IGNORE)
    ]
    return start, later


def _snapshot(scope: HookScope, label: str, condition: Condition, on_error: OnError) -> list[Hook]:
    commands = getattr(scope.spec, label.replace("-", "_"))
    if not commands or scope.is_forbidden(label, HookPolicy.ALL):
        return []
    name = scope.workload.speaker(label)
    for command in commands:
        _check_nameless(scope, command, label)
    return [command_hook(_with_self(text, name), (condition,), on_error) for text in commands]


def _check_nameless(scope: HookScope, command: str, label: str) -> None:
    if "docker" in command and _NAMELESS.search(command):
        scope.tell(
            "hook.self-empty",
            "a docker stop or start names no container",
            "in a Compose file write $$SELF, because Compose itself replaces $SELF",
            label,
        )


def _notify_hooks(scope: HookScope) -> list[Hook]:
    """Notifications, which never fail a backup."""
    items = scope.spec.notify
    if not items or scope.is_forbidden("notify", HookPolicy.TEMPLATES):
        return []
    events = scope.spec.notify_on or ("error",)
    return [hook for item in items for hook in _notify(scope, item, events)]


def _notify(scope: HookScope, item: str, events: Iterable[str]) -> list[Hook]:
    if scope.has_template_mark("notify", item):
        return []
    try:
        notification = parse_notification(item)
    except SpecInvalid as error:
        label = f"{scope.policy.label_prefix}notify"
        scope.tell("label.invalid", f"{label}: {error.message}", error.hint, "notify")
        return []
    if notification.has_literal:
        scope.tell(
            "secret.literal",
            f"a {notification.kind} item holds its address or token in the label itself",
            "write file:/run/secrets/NAME or env:BACKREST_SECRET_NAME instead",
            "notify",
        )
    try:
        return [render_notification(notification, events, scope.policy.secrets)]
    except SecretMissing as missing:
        scope.tell(
            "secret.missing",
            f"{missing} is not there, empty, no URL, or not below the secrets directory",
            "mount it into the sidecar below --secrets-dir, or set BACKREST_SECRET_NAME",
            "notify",
        )
        return []
