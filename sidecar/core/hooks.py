"""Hook labels → ordered Hooks: START hooks first (exec, template, snapshot-start)."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sidecar.core.dumps import DUMP_TEMPLATES, render_dump
from sidecar.core.labels import TEMPLATES
from sidecar.core.notify import SecretMissing, parse_notification, render_notification
from sidecar.core.order import start_order
from sidecar.core.policy import HookPolicy, Policy
from sidecar.core.scripts import (
    render_exec,
    render_quiesce,
    render_resume,
    render_scale_down,
    render_scale_up,
)
from sidecar.core.spec import LabelSpec
from sidecar.core.spec_error import SpecInvalid, quoted
from sidecar.core.workload import Workload
from sidecar.model.plan import Condition, Hook, OnError
from sidecar.model.problem import Problem, problem_of

_ON_ERROR = {
    "ignore": OnError.IGNORE,
    "cancel": OnError.CANCEL,
    "fatal": OnError.FATAL,
    "retry-1m": OnError.RETRY_1_MINUTE,
    "retry-10m": OnError.RETRY_10_MINUTES,
    "retry-backoff": OnError.RETRY_BACKOFF,
}
# A halted START hook gives no END: what starts a container again runs on both.
_AFTER = (Condition.SNAPSHOT_END, Condition.SNAPSHOT_ERROR)
_START = (Condition.SNAPSHOT_START,)
_LATER_SNAPSHOT_LABELS = (
    ("snapshot-end", Condition.SNAPSHOT_END),
    ("snapshot-success", Condition.SNAPSHOT_SUCCESS),
    ("snapshot-error", Condition.SNAPSHOT_ERROR),
    ("snapshot-warning", Condition.SNAPSHOT_WARNING),
    ("snapshot-skipped", Condition.SNAPSHOT_SKIPPED),
)
_PAUSE = "pause-unpause"
_STOPS = ("stop-start", "quiesce-stop-start")
_SELF = re.compile(r"\$\{SELF\}|\$SELF(?![A-Za-z0-9_])")
_NAMELESS = re.compile(
    r"\bdocker\s+(?:container\s+)?(?:stop|start)"
    r"(?:\s+(?:(?:-t|--time|-s|--signal|--timeout)[ =]\S+|-\S+))*\s*(?=$|[;&|)#\n])"
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
    build = _Build(workload, spec, plan_id, policy)
    before, after = build.exec_hooks()
    template_start, template_end = build.template_hooks()
    start, later = build.snapshot_hooks()
    notifications = build.notify_hooks()
    # What was stopped is started again before anything else runs: it serves people.
    hooks = (*before, *template_start, *start, *template_end, *later, *after, *notifications)
    return HookResult(hooks, tuple(build.problems))


def command_hook(
    command: str, conditions: tuple[Condition, ...], on_error: OnError = OnError.IGNORE
) -> Hook:
    """Make a hook that the runner gives to its shell."""
    return Hook(conditions, "actionCommand", {"command": command}, on_error)


@dataclass(slots=True)
class _Build:
    """The state of turning one workload's labels into hooks."""

    workload: Workload
    spec: LabelSpec
    plan_id: str
    policy: Policy
    problems: list[Problem] = field(default_factory=list)

    def exec_hooks(self) -> tuple[list[Hook], list[Hook]]:
        """Commands that run inside the labelled container."""
        before = self._exec("exec.start", self.spec.exec_start, _START, self._user_on_error)
        return before, self._exec("exec.end", self.spec.exec_end, _AFTER, OnError.IGNORE)

    @property
    def _user_on_error(self) -> OnError:
        return _ON_ERROR[self.spec.on_error]

    def _exec(
        self,
        label: str,
        commands: Sequence[str] | None,
        conditions: tuple[Condition, ...],
        on_error: OnError,
    ) -> list[Hook]:
        if not commands or self._is_forbidden(label, HookPolicy.ALL):
            return []
        name = self.workload.speaker(label)
        return [
            command_hook(self._exec_script(name, self._with_self(text, name)), conditions, on_error)
            for text in commands
        ]

    def _exec_script(self, name: str, command: str, what: str = "exec hook") -> str:
        return render_exec(
            name,
            command,
            what=what,
            user=self.spec.exec_user or "",
            swarm_service=self.workload.swarm_service,
        )

    @staticmethod
    def _with_self(command: str, name: str) -> str:
        return _SELF.sub(lambda _: shlex.quote(name), command)

    def snapshot_hooks(self) -> tuple[list[Hook], list[Hook]]:
        """The user's own commands, verbatim: they are the runner's templates."""
        start = self._snapshot("snapshot-start", Condition.SNAPSHOT_START, self._user_on_error)
        later = [
            hook
            for label, condition in _LATER_SNAPSHOT_LABELS
            for hook in self._snapshot(label, condition, OnError.IGNORE)
        ]
        return start, later

    def _snapshot(self, label: str, condition: Condition, on_error: OnError) -> list[Hook]:
        commands = getattr(self.spec, label.replace("-", "_"))
        if not commands or self._is_forbidden(label, HookPolicy.ALL):
            return []
        name = self.workload.speaker(label)
        for command in commands:
            self._check_nameless(command, label)
        return [
            command_hook(self._with_self(text, name), (condition,), on_error) for text in commands
        ]

    def _check_nameless(self, command: str, label: str) -> None:
        if "docker" in command and _NAMELESS.search(command):
            self._problem(
                "hook.self-empty",
                "a docker stop or start names no container",
                "in a Compose file write $$SELF, because Compose itself replaces $SELF",
                label,
            )

    def notify_hooks(self) -> list[Hook]:
        """Notifications, which never fail a backup."""
        items = self.spec.notify
        if not items or self._is_forbidden("notify", HookPolicy.TEMPLATES):
            return []
        events = self.spec.notify_on or ("error",)
        return [hook for item in items for hook in self._notify(item, events)]

    def _notify(self, item: str, events: Iterable[str]) -> list[Hook]:
        if self._has_template_mark("notify", item):
            return []
        try:
            notification = parse_notification(item)
        except SpecInvalid as error:
            label = f"{self.policy.label_prefix}notify"
            self._problem("label.invalid", f"{label}: {error.message}", error.hint, "notify")
            return []
        if notification.has_literal:
            self._problem(
                "secret.literal",
                f"a {notification.kind} item holds its address or token in the label itself",
                "write file:/run/secrets/NAME or env:BACKREST_SECRET_NAME instead",
                "notify",
            )
        try:
            return [render_notification(notification, events, self.policy.secrets)]
        except SecretMissing as missing:
            self._problem(
                "secret.missing",
                f"{missing} is not there, empty, no URL, or not below the secrets directory",
                "mount it into the sidecar below --secrets-dir, or set BACKREST_SECRET_NAME",
                "notify",
            )
            return []

    def template_hooks(self) -> tuple[list[Hook], list[Hook]]:
        """The hooks of `hooks.template`: those before the snapshot and those after."""
        template = self.spec.template
        if template is None or template == "none":
            return [], []
        if template not in TEMPLATES:
            self._problem(
                "hook.template-unknown",
                f"{quoted(template)} is no template",
                f"write one of {', '.join(TEMPLATES)}",
                "hooks.template",
            )
            return [], []
        if self._is_forbidden("hooks.template", HookPolicy.TEMPLATES):
            return [], []
        if template in DUMP_TEMPLATES:
            return self._dump_hooks(template), []
        if self._stop_is_off(template):
            return [], []
        return self._stop_hooks(template)

    def _stop_is_off(self, template: str) -> bool:
        own = (self.policy.runner_container, self.policy.own_container_id)
        for container in self.workload.containers:
            if container.name in own or container.id in own:
                self._problem(
                    "hook.forbidden",
                    f"{template} would stop {container.name}, which runs the backups",
                    "use hooks.template=none here",
                    "hooks.template",
                )
                return True
        explicit = self.spec.snapshot_start or self.spec.snapshot_end
        if explicit and self.policy.hook_policy is HookPolicy.ALL:
            self._problem(
                "hook.template-off",
                f"{template} is switched off by the snapshot-start and snapshot-end labels",
                "remove one or the other",
                "hooks.template",
            )
            return True
        return False

    def _stop_hooks(self, template: str) -> tuple[list[Hook], list[Hook]]:
        if template == "swarm-scale":
            return self._scale_hooks()
        if self.workload.swarm_service and template != _PAUSE:
            self._problem(
                "label.invalid",
                f"{template} cannot quiesce a Swarm service: Swarm replaces a stopped task at once",
                "write swarm-scale or pause-unpause",
                "hooks.template",
            )
            return [], []
        ordered = start_order(self.workload)
        stops = [self._stop_script(template, name) for name in reversed(ordered)]
        starts = [self._start_script(template, name) for name in ordered]
        return (
            [command_hook(script, _START, OnError.FATAL) for script in stops],
            [command_hook(script, _AFTER) for script in starts],
        )

    def _stop_script(self, template: str, name: str) -> str:
        if template in _STOPS:
            return render_quiesce(name, self.plan_id, "stop")
        if template == _PAUSE:
            return render_quiesce(name, self.plan_id, "pause")
        return f"docker stop {shlex.quote(name)}"

    @staticmethod
    def _start_script(template: str, name: str) -> str:
        if template in _STOPS:
            return render_resume(name, "start")
        if template == _PAUSE:
            return render_resume(name, "unpause")
        return f"docker start {shlex.quote(name)}"

    def _scale_hooks(self) -> tuple[list[Hook], list[Hook]]:
        service = self.workload.swarm_service
        if not service:
            self._problem(
                "label.invalid",
                "swarm-scale needs a Swarm service, and this is none",
                "write stop-start",
                "hooks.template",
            )
            return [], []
        down = render_scale_down(service, self.plan_id)
        return (
            [command_hook(down, _START, OnError.FATAL)],
            [command_hook(render_scale_up(service), _AFTER)],
        )

    def _dump_hooks(self, template: str) -> list[Hook]:
        spec = self.spec
        values = {
            "dump.path": spec.dump_path or "",
            "dump.user": spec.dump_user or "",
            "dump.database": spec.dump_database or "",
        }
        if any(self._has_template_mark(label, value) for label, value in values.items()):
            return []
        if not self._dump_is_possible(template, values):
            return []
        name = self.workload.speaker("hooks.template")
        command = render_dump(template, *values.values())
        return [command_hook(self._exec_script(name, command, template), _START, OnError.FATAL)]

    def _dump_is_possible(self, template: str, values: dict[str, str]) -> bool:
        needed = ["dump.path"]
        if template == "sqlite-backup":
            needed.append("dump.database")
        for label in needed:
            if not values[label].startswith("/"):
                what = "an absolute path in the container"
                self._problem(
                    "label.invalid", f"{template} needs {label}", f"set it to {what}", label
                )
                return False
        if template == "sqlite-backup" and set(values["dump.path"]) & set("'\"\\"):
            self._problem(
                "label.invalid",
                "SQLite cannot write to a path with quotes",
                "rename it",
                "dump.path",
            )
            return False
        return True

    def _is_forbidden(self, label: str, needed: HookPolicy) -> bool:
        """Whether the hook policy is narrower than what a label needs; if so, tell."""
        policy = self.policy.hook_policy
        if policy is HookPolicy.ALL or policy is needed:
            return False
        self._problem(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} is not allowed under --hook-policy {policy}",
            f"remove the label, or run the sidecar with --hook-policy {needed}",
            label,
        )
        return True

    def _has_template_mark(self, label: str, value: str) -> bool:
        if self.policy.hook_policy is HookPolicy.ALL or "{{" not in value:
            return False
        self._problem(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} holds {{{{, which the runner would execute",
            "write it without {{, or run the sidecar with --hook-policy all",
            label,
        )
        return True

    def _problem(self, reason: str, message: str, hint: str, label: str) -> None:
        self.problems.append(
            problem_of(
                reason,
                message,
                hint,
                container=self.workload.speaker(label),
                label=self.policy.label_prefix + label,
            )
        )
