"""Running the hooks of an event set: commands here and now, notifications by the courier."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from sidecar.backrest.plan import OnError
from sidecar.backrest.reading import Repo, RunHook, RunPlan
from sidecar.engines.restic.access import masking_of
from sidecar.lib.duration import render_duration
from sidecar.lib.log import log_event
from sidecar.lib.process import Completed, ProcessRunner
from sidecar.runner.hooks.check import name_plan, name_repo, resolve_hook, split_shebang
from sidecar.runner.job.steps import Facts, HookOutcome
from sidecar.runner.notify.actions import NotifyAction
from sidecar.runner.notify.messages import QueuedMessage
from sidecar.runner.notify.services import Unusable
from sidecar.runner.template import Template, TemplateError, Values

DEFAULT_TIMEOUT = 1800.0
"""Seconds that a hook may take, if nobody says otherwise."""

_MOST_OUTPUT = 1 << 16
_EXCERPT_LINES = 20
_EXCERPT_LINE = 500
_REASON_LINES = 2
_STOPPED = "the runner was asked to end"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Called:
    """A hook that is to run: what it is called, its event, and all that templates may tell."""

    name: str
    hook: RunHook
    values: Values


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a command ended: the reason if it failed, what it said, and whether we stopped it."""

    reason: str = ""
    excerpt: str = ""
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class HookRunner:
    """Runs hooks in order: those of the repository, then those of the plan.

    `runner` runs commands; their environment is its own, and BACKREST_CONFIG, the path of
    `document`. `post` takes notifications. `timeout` is in seconds, None: without end.
    `zone` is where people read the time.
    """

    runner: ProcessRunner
    document: Path
    post: Callable[[QueuedMessage], None]
    timeout: float | None = DEFAULT_TIMEOUT
    zone: tzinfo = field(default=UTC)

    def run(
        self,
        events: Sequence[str],
        repo: Repo,
        plan: RunPlan | None,
        facts: Facts,
        is_stopping: Callable[[], bool],
    ) -> HookOutcome:
        """Run each hook that has one of the events, once, with the first that it has.

        Raises nothing. Only before the work, where all events are START events, a failure
        may halt it, and then the hooks behind it do not run.
        """
        halts = bool(events) and all(event.endswith("_START") for event in events)
        failures: list[str] = []
        for called in self._called(events, repo, plan, facts):
            if halts and is_stopping():
                return HookOutcome(OnError.CANCEL, (*failures, _STOPPED))
            ended = self._run_one(called)
            if ended.reason:
                failures.append(f"{called.name}: {ended.reason}")
            if halts and ended.is_stopped:
                return HookOutcome(OnError.CANCEL, tuple(failures))
            if halts and ended.reason and called.hook.on_error is not OnError.IGNORE:
                return HookOutcome(called.hook.on_error, tuple(failures))
        return HookOutcome(None, tuple(failures))

    def _called(
        self, events: Sequence[str], repo: Repo, plan: RunPlan | None, facts: Facts
    ) -> list[_Called]:
        owners = [(name_repo(repo.id), repo.hooks)]
        if plan is not None:
            owners.append((name_plan(plan.id), plan.hooks))
        found = []
        for owner, hooks in owners:
            for number, hook in enumerate(hooks, 1):
                event = next((one for one in events if one in hook.conditions), "")
                if event:
                    values = self._values(event, repo, plan, facts)
                    found.append(_Called(f"hook {number} of {owner}", hook, values))
        return found

    def _values(self, event: str, repo: Repo, plan: RunPlan | None, facts: Facts) -> Values:
        return Values(
            facts.task,
            repo,
            plan,
            datetime.fromtimestamp(facts.at, self.zone),
            event,
            facts.snapshot,
            facts.stats,
            facts.seconds,
            facts.error,
        )

    def _run_one(self, called: _Called) -> _Ended:
        try:
            what = resolve_hook(called.hook)
            if isinstance(what, NotifyAction):
                self._notify(called, what)
                return _Ended()
            return self._command(called, what)
        except (Unusable, TemplateError) as error:
            return self._unusable(called, error)

    def _unusable(self, called: _Called, error: Unusable | TemplateError) -> _Ended:
        """Fail, unless it would only have told somebody: that was told when it was read."""
        is_command = called.hook.action == "actionCommand"
        log_event(_log, logging.WARNING, "hook.unusable", hook=called.name, reason=error.message)
        return _Ended(f"it cannot be used: {error.message}" if is_command else "")

    def _notify(self, called: _Called, what: NotifyAction) -> None:
        values = called.values
        plan = values.plan
        about = name_repo(values.repo.id) if plan is None else name_plan(plan.id)
        is_start = values.event.endswith("_START")
        to = f"{what.kind} of {called.name}"
        at = values.now.timestamp()
        self.post(QueuedMessage(to, about, what.request(values), at, is_start))

    def _command(self, called: _Called, template: Template) -> _Ended:
        argv, script = split_shebang(template.render(called.values))
        try:
            completed = self.runner.run(
                argv,
                env={"BACKREST_CONFIG": str(self.document.absolute())},
                script=script.encode("utf-8", "surrogateescape"),
                timeout=self.timeout,
                keep=_MOST_OUTPUT,
            )
        except InterruptedError:
            return _Ended(_STOPPED, is_stopped=True)
        except OSError as error:
            return _Ended(f"{argv[0]} cannot be started: {error.strerror}")
        ended = self._judge(called, completed)
        self._log_end(called, completed, ended)
        return ended

    def _judge(self, called: _Called, completed: Completed) -> _Ended:
        lines = _said(completed, called.values)
        excerpt = "\n".join(lines)
        if completed.stopped:
            return _Ended(_STOPPED, excerpt, is_stopped=True)
        if completed.timed_out:
            limit = render_duration(self.timeout or 0.0)
            return _Ended(f"it took longer than {limit} and was ended", excerpt)
        if not completed.status:
            return _Ended(excerpt=excerpt)
        how = f"exit code {completed.status}"
        if completed.status < 0:
            how = f"ended by signal {-completed.status}"
        last = " / ".join(lines[-_REASON_LINES:])
        return _Ended(f"{how}: {last}" if last else how, excerpt)

    def _log_end(self, called: _Called, completed: Completed, ended: _Ended) -> None:
        level = logging.WARNING if ended.reason else logging.INFO
        fields = {"on": called.values.event, "status": completed.status}
        log_event(
            _log,
            level,
            "hook.ended",
            hook=called.name,
            seconds=round(completed.seconds, 3),
            output=ended.excerpt,
            **fields,
        )


def _said(completed: Completed, values: Values) -> list[str]:
    """Return the last lines that a command said, the repository's secrets masked in them.

    What it said of errors comes last. A line that may be cut is left out before anything is
    masked: half of a secret is not found.
    """
    mask = masking_of(values.repo, None, values.plan).mask
    lines: list[str] = []
    for said in (completed.out, completed.err):
        whole = said.partition(b"\n")[2] if len(said) >= _MOST_OUTPUT else said
        text = mask(whole.decode("utf-8", "replace"))
        lines += [line.rstrip()[:_EXCERPT_LINE] for line in text.splitlines() if line.strip()]
    return lines[-_EXCERPT_LINES:]
