"""What every kind of hook needs of its workload, and where its problems go."""

from dataclasses import dataclass, field

from sidecar.backrest.plan import Condition, Hook, OnError
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.spec import LabelSpec
from sidecar.planner.scripts import render_exec
from sidecar.planner.workload import Workload

START = (Condition.SNAPSHOT_START,)
# A halted START hook gives no END: what starts a container again runs on both.
AFTER = (Condition.SNAPSHOT_END, Condition.SNAPSHOT_ERROR)


def command_hook(
    command: str, conditions: tuple[Condition, ...], on_error: OnError = OnError.IGNORE
) -> Hook:
    """Make a hook that the runner gives to its shell."""
    return Hook(conditions, "actionCommand", {"command": command}, on_error)


@dataclass(slots=True)
class HookScope:
    """One workload whose hooks are being resolved; `problems` name no workload yet."""

    workload: Workload
    spec: LabelSpec
    plan_id: str
    policy: Policy
    problems: list[Problem] = field(default_factory=list)

    def exec_script(self, name: str, command: str, what: str = "exec hook") -> str:
        """Wrap a command so that it runs in a container; `what` is for people."""
        return render_exec(
            name,
            command,
            what=what,
            user=self.spec.exec_user or "",
            swarm_service=self.workload.swarm_service,
        )

    def is_forbidden(self, label: str, needed: HookPolicy) -> bool:
        """Whether the hook policy is narrower than what a label needs; if so, tell."""
        policy = self.policy.hook_policy
        if policy is HookPolicy.ALL or policy is needed:
            return False
        self.tell(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} is not allowed under --hook-policy {policy}",
            f"remove the label, or run the sidecar with --hook-policy {needed}",
            label,
        )
        return True

    def has_template_mark(self, label: str, value: str) -> bool:
        """Whether a value that the policy does not trust holds a template; if so, tell."""
        if self.policy.hook_policy is HookPolicy.ALL or "{{" not in value:
            return False
        self.tell(
            "hook.forbidden",
            f"{self.policy.label_prefix}{label} holds {{{{, which the runner would execute",
            "write it without {{, or run the sidecar with --hook-policy all",
            label,
        )
        return True

    def tell(self, reason: str, message: str, hint: str, label: str) -> None:
        """Keep a problem with a label, named without its prefix."""
        self.problems.append(
            problem_of(
                reason,
                message,
                hint,
                container=self.workload.speaker(label),
                label=self.policy.label_prefix + label,
            )
        )
