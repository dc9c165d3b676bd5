"""Run the hooks of an event: commands at once, notifications through the delivery queue."""

import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from sidecar.backrest.plan import OnError
from sidecar.backrest.reading import RunHook
from sidecar.engines.masking import masking_of
from sidecar.lib.duration import render_duration
from sidecar.lib.log import log_event
from sidecar.lib.process import ChildOptions, Completed, ProcessRunner
from sidecar.runner.hooks.check import name_plan, name_repo, resolve_hook, split_shebang
from sidecar.runner.job.events import HookFacts, HookOutcome
from sidecar.runner.notify.actions import NotifyAction
from sidecar.runner.notify.messages import MessageQueue, QueuedMessage
from sidecar.runner.notify.services import Unusable
from sidecar.runner.settings import HOOK_TIMEOUT
from sidecar.runner.template import Template, TemplateError, Values

COMMAND = "actionCommand"
"""The action of hooks that are commands; all others are notifications."""

_MOST_OUTPUT = 1 << 16
_EXCERPT_LINES = 20
_EXCERPT_LINE = 500
_REASON_LINES = 2
_STOPPED = "the runner was asked to end"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _HookCall:
    """A hook that is to run: its name in messages, and the values of its event for templates."""

    name: str
    hook: RunHook
    values: Values


@dataclass(frozen=True, slots=True)
class _HookResult:
    """How a hook ended: why it failed, its last output, and whether the runner stopped it."""

    reason: str = ""
    excerpt: str = ""
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class HookRunner:
    """Runs hooks in order: those of the repository, then those of the plan.

    Attributes:
        runner: runs commands; to its environment comes BACKREST_CONFIG.
        document: the path that BACKREST_CONFIG holds.
        queue: takes notifications.
        timeout: seconds that a command may take; None: for ever.
        zone: the time zone of times in templates.
    """

    runner: ProcessRunner
    document: Path
    queue: MessageQueue
    timeout: float | None = HOOK_TIMEOUT
    zone: tzinfo = field(default=UTC)

    def run(
        self,
        events: Sequence[str],
        facts: HookFacts,
        stopping: threading.Event,
        *,
        notifies: bool = True,
        ran: Collection[str] = (),
    ) -> HookOutcome:
        """Run each hook that has one of the events, once, with the first that it has.

        Without `notifies` only commands; commands that have one of the events `ran` are left out.
        Raises nothing. Only a failure in START events may halt
        the run; then the hooks behind it do not run.
        """
        halts = bool(events) and all(event.endswith("_START") for event in events)
        failures: list[str] = []
        for call in self._calls(events, facts):
            is_command = call.hook.action == COMMAND
            if not (is_command or notifies):
                continue
            if is_command and not call.hook.conditions.isdisjoint(ran):
                continue
            if halts and stopping.is_set():
                return HookOutcome(OnError.CANCEL, (*failures, _STOPPED))
            result = self._run_one(call)
            if result.reason:
                failures.append(f"{call.name}: {result.reason}")
            if halts and result.is_stopped:
                return HookOutcome(OnError.CANCEL, tuple(failures))
            if halts and result.reason and call.hook.on_error is not OnError.IGNORE:
                return HookOutcome(call.hook.on_error, tuple(failures))
        return HookOutcome(None, tuple(failures))

    def _calls(self, events: Sequence[str], facts: HookFacts) -> list[_HookCall]:
        owners = [(name_repo(facts.repo.id), facts.repo.hooks)]
        if facts.plan is not None:
            owners.append((name_plan(facts.plan.id), facts.plan.hooks))
        found = []
        for owner, hooks in owners:
            for number, hook in enumerate(hooks, 1):
                event = next((one for one in events if one in hook.conditions), "")
                if event:
                    values = self._values(event, facts)
                    found.append(_HookCall(f"hook {number} of {owner}", hook, values))
        return found

    def _values(self, event: str, facts: HookFacts) -> Values:
        return Values(
            facts.task,
            facts.repo,
            facts.plan,
            datetime.fromtimestamp(facts.at, self.zone),
            event,
            facts.snapshot,
            facts.stats,
            facts.seconds,
            facts.error,
        )

    def _run_one(self, call: _HookCall) -> _HookResult:
        try:
            what = resolve_hook(call.hook)
            if isinstance(what, NotifyAction):
                self._notify(call, what)
                return _HookResult()
            return self._command(call, what)
        except (Unusable, TemplateError) as error:
            return self._unusable(call, error)

    def _unusable(self, call: _HookCall, error: Unusable | TemplateError) -> _HookResult:
        """Fail if it is a command; a bad notification was logged when the document was read."""
        is_command = call.hook.action == "actionCommand"
        log_event(_log, logging.WARNING, "hook.unusable", hook=call.name, reason=error.message)
        return _HookResult(f"it cannot be used: {error.message}" if is_command else "")

    def _notify(self, call: _HookCall, what: NotifyAction) -> None:
        values = call.values
        plan = values.plan
        about = name_repo(values.repo.id) if plan is None else name_plan(plan.id)
        is_start = values.event.endswith("_START")
        to = f"{what.kind} of {call.name}"
        at = values.now.timestamp()
        self.queue.post(QueuedMessage(to, about, what.request(values), at, is_start))

    def _command(self, call: _HookCall, template: Template) -> _HookResult:
        argv, script = split_shebang(template.render(call.values))
        try:
            completed = self.runner.run(
                argv,
                env={"BACKREST_CONFIG": str(self.document.absolute())},
                script=script.encode("utf-8", "surrogateescape"),
                timeout=self.timeout,
                options=ChildOptions(keep=_MOST_OUTPUT),
            )
        except InterruptedError:
            return _HookResult(_STOPPED, is_stopped=True)
        except OSError as error:
            return _HookResult(f"{argv[0]} cannot be started: {error.strerror}")
        result = self._judge(call, completed)
        self._log_end(call, completed, result)
        return result

    def _judge(self, call: _HookCall, completed: Completed) -> _HookResult:
        lines = _last_lines(completed, call.values)
        excerpt = "\n".join(lines)
        if completed.stopped:
            return _HookResult(_STOPPED, excerpt, is_stopped=True)
        if completed.timed_out:
            limit = render_duration(self.timeout or 0.0)
            return _HookResult(f"it took longer than {limit} and was ended", excerpt)
        if not completed.status:
            return _HookResult(excerpt=excerpt)
        how = f"exit code {completed.status}"
        if completed.status < 0:
            how = f"ended by signal {-completed.status}"
        last = " / ".join(lines[-_REASON_LINES:])
        return _HookResult(f"{how}: {last}" if last else how, excerpt)

    def _log_end(self, call: _HookCall, completed: Completed, result: _HookResult) -> None:
        level = logging.WARNING if result.reason else logging.INFO
        fields = {"on": call.values.event, "status": completed.status}
        log_event(
            _log,
            level,
            "hook.ended",
            hook=call.name,
            seconds=round(completed.seconds, 3),
            output=result.excerpt,
            **fields,
        )


def _last_lines(completed: Completed, values: Values) -> list[str]:
    """Return the last lines of a command's output, the repository's secrets masked.

    Standard error comes last. A line that may be cut is left out before anything is masked:
    half of a secret would not be found.
    """
    mask = masking_of(values.repo, None, values.plan).mask
    lines: list[str] = []
    for stream in (completed.out, completed.err):
        whole = stream.partition(b"\n")[2] if len(stream) >= _MOST_OUTPUT else stream
        text = mask(whole.decode("utf-8", "replace"))
        lines += [line.rstrip()[:_EXCERPT_LINE] for line in text.splitlines() if line.strip()]
    return lines[-_EXCERPT_LINES:]
