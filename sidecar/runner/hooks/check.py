"""Check the hooks of a document when it is read, and find the jobs that they block. Pure."""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sidecar.backrest.reading import Config, RunHook
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.events import EVENTS
from sidecar.runner.notify.actions import NotifyAction, resolve_notification
from sidecar.runner.notify.services import Unusable
from sidecar.runner.template import Template, TemplateError, parse_template

COMMAND = "actionCommand"
_SHEBANG = "#!"


@dataclass(frozen=True, slots=True)
class HookProblem:
    """A hook that cannot be run: `owner` is `plan web` or `repository nas`.

    `number` counts from one. A command `blocks` the jobs that it belongs to, a notification is
    only left out.
    """

    owner: str
    number: int
    message: str
    hint: str = ""
    blocks: bool = False
    conditions: frozenset[str] = frozenset()

    def __str__(self) -> str:
        text = f"hook {self.number} of {self.owner}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


def name_plan(plan: str) -> str:
    """Return the name of a plan where it may be confused with a repository: `plan web`."""
    return f"plan {plan}"


def name_repo(repo: str) -> str:
    """Return the name of a repository where it may be confused with a plan: `repository nas`."""
    return f"repository {repo}"


def check_hooks(config: Config) -> tuple[HookProblem, ...]:
    """List what is wrong with the hooks of all plans and repositories."""
    owners = [(name_repo(repo.id), repo.hooks) for repo in config.repos]
    owners += [(name_plan(plan.id), plan.hooks) for plan in config.plans]
    return tuple(
        problem
        for owner, hooks in owners
        for number, hook in enumerate(hooks, 1)
        for problem in _check(owner, number, hook)
    )


def find_blocker(problems: Iterable[HookProblem], job: Job) -> HookProblem | None:
    """Return the problem that blocks a job: a command of one of its events."""
    kinds = (JobKind.BACKUP, JobKind.FORGET) if job.kind is JobKind.BACKUP else (job.kind,)
    events = {event for kind in kinds if kind in EVENTS for event in _events(kind)}
    owners = {name_repo(job.repo)}
    if job.kind is JobKind.BACKUP:
        owners.add(name_plan(job.subject))
    return next(
        (one for one in problems if one.blocks and one.owner in owners and one.conditions & events),
        None,
    )


def _events(kind: JobKind) -> Iterator[str]:
    known = EVENTS[kind]
    for group in (known.start, known.success, known.skipped, known.warning, known.failed):
        yield from group
    yield from known.halted


def _check(owner: str, number: int, hook: RunHook) -> Iterator[HookProblem]:
    """Yield what is wrong with a hook; one without events never runs, so nothing is."""
    if not hook.conditions:
        return
    try:
        resolve_hook(hook)
    except SidecarError as error:
        where = f"line {error.line}: " if isinstance(error, TemplateError) else ""
        is_command = hook.action == COMMAND
        yield HookProblem(
            owner, number, where + error.message, error.hint, is_command, hook.conditions
        )


def resolve_hook(hook: RunHook) -> Template | NotifyAction:
    """Return what a hook does: the template of its command, or its notification.

    Raises Unusable or TemplateError.
    """
    if hook.action != COMMAND:
        return resolve_notification(hook)
    template = parse_template(hook.settings.get("command", ""))
    first = template.text.partition("\n")[0]
    if "{{" not in first:
        split_shebang(template.text)
    return template


def split_shebang(script: str) -> tuple[list[str], str]:
    """Split a script into the program of its #! line, `sh` without one, and the text for it.

    Raises Unusable.
    """
    if not script.startswith(_SHEBANG) or len(script) == len(_SHEBANG):
        return ["sh"], script
    first, _, rest = script.removeprefix(_SHEBANG).partition("\n")
    try:
        words = shlex.split(first.strip(" "))
    except ValueError:
        raise Unusable("the quotes in the #! line do not match") from None
    argv = _until_comment(words)
    if not argv:
        raise Unusable("the #! line names no program", "write #!/bin/bash, or leave it out")
    return argv, rest


def _until_comment(words: list[str]) -> list[str]:
    end = next((number for number, word in enumerate(words) if word.startswith("#")), len(words))
    return words[:end]
