"""Checks of the runner's container: there, seeing what it shall save, reading our document.

Checks of Backrest's API, and of the repositories that it and the document know.
"""

import posixpath
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.document import parse_document
from sidecar.backrest.messages import REPO, value_of
from sidecar.backrest.rules import is_active
from sidecar.lib.errors import InventoryError
from sidecar.planner.host_path import is_under, normal_path
from sidecar.reconciler.apply.container import find_runner
from sidecar.reconciler.doctor.check import (
    SECONDS,
    CheckContext,
    CheckResult,
    NotChecked,
    counted,
    failed,
    find_mount,
    host_path,
    needed,
    passed,
    warned,
)
from sidecar.reconciler.doctor.docker import require_containers
from sidecar.reconciler.doctor.hooks import scripts_of

_TITLE_LABEL = "org.opencontainers.image.title"
_OURS = "backrest-runner"
_VERSION_LABEL = "org.opencontainers.image.version"
_OLDEST = (1, 13)
# Each is a question of its own; beyond so many the mounts have to be enough.
_MOST_ASKED = 200


def check_found(context: CheckContext) -> CheckResult:
    """Inspect the container of that name."""
    require_containers(context)
    name = context.settings.policy.runner_container
    context.memory.runner = find_runner(context.connection, name)
    if context.memory.runner is not None:
        return passed(f"the container {name} is there")
    hint = "name Backrest's container with --backrest-container"
    if context.settings.runner_named:
        return failed(f"there is no container {name}", f"start it, or {hint}")
    return warned(
        f"there is no container {name}, so nobody can tell what Backrest sees",
        f"{hint}; if it runs without Docker, all is well",
    )


def check_running(context: CheckContext) -> CheckResult:
    """See whether it runs: backups happen only then."""
    runner = context.runner
    if runner.is_running:
        return passed(f"{runner.name} runs")
    return failed(f"{runner.name} does not run, so nothing is backed up", "start it")


def check_not_us(context: CheckContext) -> CheckResult:
    """See whether we were told that we are the runner."""
    runner = context.runner
    if runner.is_container(context.own_id):
        return failed(
            f"--backrest-container {runner.name} is this sidecar itself",
            "name Backrest's container",
        )
    return passed(f"{runner.name} is not this sidecar")


def check_version(context: CheckContext) -> CheckResult:
    """Read Backrest's version from the label that its image carries."""
    runner = context.runner
    inventory = needed(context.memory.inventory, "the containers were not listed")
    labels = next((c.labels for c in inventory.containers if c.id == runner.id), {})
    version = labels.get(_VERSION_LABEL, "")
    if labels.get(_TITLE_LABEL) == _OURS:
        return passed(f"{runner.name} is the bundled runner{f' {version}' if version else ''}")
    numbers = version.removeprefix("v").split(".")
    if not all(part.isdecimal() for part in numbers[:2]) or len(numbers) < len(_OLDEST):
        raise NotChecked("its image does not tell")
    if tuple(map(int, numbers[:2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        hint = f"update Backrest to {oldest} or later"
        return failed(f"Backrest {version} cannot read the document's version", hint)
    return passed(f"Backrest {version}")


@dataclass(frozen=True, slots=True)
class _Path:
    plan: str
    path: str

    def __str__(self) -> str:
        return f"plan {self.plan}: {self.path}"


def check_paths(context: CheckContext) -> CheckResult:
    """See whether each path of each plan that runs is there in the runner."""
    require_containers(context)
    runner, paths = context.runner, list(_paths(context))
    absent = _absent(context, paths)
    inside = [one for one in paths if not _is_mounted(context, one.path)]
    if not inside and not absent:
        return passed(f"{runner.name} sees {counted(len(paths), 'path')} of the plans")
    hint = "mount into it what holds them, or remove the plans"
    lost = absent if absent is not None else inside
    if lost:
        return failed(
            f"{runner.name} does not see {counted(len(lost), 'path')}: "
            "one that is missing fails its whole plan",
            hint,
            map(str, lost),
        )
    return warned(
        f"{counted(len(inside), 'path')} in no mount of {runner.name}: "
        "what is saved there is its own, nothing of the host",
        hint,
        map(str, inside),
    )


def _paths(context: CheckContext) -> Iterator[_Path]:
    for plan_id, plan in context.document.plans.items():
        listed = plan.get("paths")
        if isinstance(listed, list) and not _is_disabled(plan):
            yield from (_Path(plan_id, path) for path in listed if type(path) is str and path)


def _is_disabled(plan: dict[str, Any]) -> bool:
    """Return whether nobody expects it to run: a plan of a workload that is gone."""
    schedule = plan.get("schedule")
    return isinstance(schedule, dict) and bool(schedule) and not is_active(schedule)


def _is_mounted(context: CheckContext, path: str) -> bool:
    """Return whether a path lies in a mount, or has one below it."""
    mounts, root = context.runner.mounts, normal_path(path)
    below = any(is_under(normal_path(mount.destination), root) for mount in mounts)
    return below or find_mount(mounts, path) is not None


def _absent(context: CheckContext, paths: list[_Path]) -> list[_Path] | None:
    """Ask the container which paths it lacks; None if it cannot be asked for all of them."""
    exists, runner = context.engine.archive_exists, context.runner
    if not runner.is_running or len(paths) > _MOST_ASKED:
        return None
    with suppress(InventoryError):
        return [one for one in paths if not exists(runner.id, one.path)]
    return None


def check_config(context: CheckContext) -> CheckResult:
    """See whether the runner reads the document that we write, by both containers' mounts."""
    runner = context.runner
    theirs = runner.environment.get("BACKREST_CONFIG", "")
    if not theirs:
        return _unset(context)
    if not theirs.startswith("/"):
        return failed(f"BACKREST_CONFIG={theirs} is not absolute", "start it with /")
    ours = str(context.settings.config)
    their_file = host_path(runner.mounts, theirs)
    if their_file is None or host_path(runner.mounts, posixpath.dirname(theirs)) is None:
        return failed(
            f"{runner.name} reads {theirs}, which lies in the container itself",
            f"mount the same directory as here at {posixpath.dirname(theirs)} there",
        )
    our_file = _our_host_path(context)
    if _resolved(context, their_file) == our_file:
        return passed(f"{runner.name} reads the document that is {ours} here")
    return failed(
        f"{runner.name} reads {their_file} of the host, and we write {our_file}",
        "mount the same directory in both, and name the same file "
        "by BACKREST_CONFIG there and --config here",
    )


def _unset(context: CheckContext) -> CheckResult:
    scripts = [script for script in scripts_of(context) if script.writes_marker]
    if not scripts:
        raise NotChecked("BACKREST_CONFIG is not set there, and no hook needs it")
    return failed(
        "BACKREST_CONFIG is not set in the runner, so hooks that stop or pause fail the backup",
        "set BACKREST_CONFIG there to the path of config.json, as in /config/config.json",
        sorted({script.owner for script in scripts}),
    )


def _our_host_path(context: CheckContext) -> str:
    """Where our document is on the engine's host; raises NotChecked if that cannot be told."""
    config = str(_plain(context.settings.config))
    if not context.connection.address.startswith("unix://") and not context.own_id:
        raise NotChecked("the engine may be on another machine than this one")
    if not context.is_contained:
        return config
    own = find_runner(context.connection, context.own_id) if context.own_id else None
    if own is None:
        raise NotChecked("the engine does not know the container that we run in")
    found = host_path(own.mounts, config)
    if found is None:
        raise NotChecked(f"{config} lies in no mount of our own container")
    return found


def _resolved(context: CheckContext, path: str) -> str:
    """Follow links of the host where we see them."""
    return path if context.is_contained else str(_plain(Path(path)))


def _plain(path: Path) -> Path:
    """Follow the links that lead to a file, but not the file itself."""
    return path.parent.resolve() / path.name


_NO_URL = "no --backrest-url is given"
_NOT_SERVED = "Backrest does not serve its configuration"


def check_reachable(context: CheckContext) -> CheckResult:
    """Ask for the configuration; a refused login is an answer too."""
    if not context.settings.access.url:
        raise NotChecked(_NO_URL)
    with ExitStack() as stack:
        access = context.settings.access
        login = (access.url, access.user, access.password)
        api = stack.enter_context(BackrestApi(*login, timeout=SECONDS))
        try:
            context.memory.served = parse_document(api.get_config())
        except ApiError as error:
            if error.kind is not ApiTrouble.REFUSED_LOGIN:
                return failed(error.message, error.hint)
        context.memory.api = api
        stack.pop_all()
    return passed(f"it answers at {context.settings.access.url}")


def check_login(context: CheckContext) -> CheckResult:
    """See whether the configuration was given out."""
    if not context.settings.access.url:
        raise NotChecked(_NO_URL)
    needed(context.memory.api, _NOT_SERVED)
    user = context.settings.access.user
    if context.memory.served is not None:
        return passed(f"it accepts {user}" if user else "it asks for no login")
    if user:
        return failed(
            f"it refuses the user {user} or that password",
            "correct --backrest-user and its password file",
        )
    return failed(
        "it asks for a login, and we have none",
        "set --backrest-user and --backrest-password-file",
    )


def check_same_document(context: CheckContext) -> CheckResult:
    """Compare who the Backrest that answers and the one of the document say that they are."""
    document = context.document
    served = needed(context.memory.served, _why_not_served(context))
    theirs, ours = served.root.get("instance") or "", document.root.get("instance") or ""
    if theirs == ours:
        return passed(f"it serves the instance {ours or 'without a name'}, as the document")
    return failed(
        f"the instance {theirs or 'without a name'} answers, and the document is of "
        f"{ours or 'one without a name'}",
        "correct --backrest-url or --config: they belong to two Backrests",
    )


def check_repos(context: CheckContext) -> CheckResult:
    """See whether there is somewhere to save to."""
    listed = context.document.root.get("repos")
    repos = [repo for repo in listed if isinstance(repo, dict)] if isinstance(listed, list) else []
    if not repos:
        return failed(
            "the document has no repository",
            "add one in Backrest, or start with `backrest-sidecar init`",
        )
    new = [repo for repo in repos if value_of(repo, REPO, "autoInitialize")[1]]
    said = counted(len(repos), "repository", "repositories")
    more = f", of which Backrest initialises {len(new)} when it starts" if new else ""
    return passed(f"there is {said}{more}" if len(repos) == 1 else f"there are {said}{more}")


def check_repos_known(context: CheckContext) -> CheckResult:
    """See whether Backrest has loaded the repositories that our plans go to."""
    prefix = context.settings.policy.plan_id_prefix
    plans = [plan for plan in context.planned.view.plans if plan.id.startswith(prefix)]
    served = needed(context.memory.served, _why_not_served(context))
    unknown = {plan.repo for plan in plans} - set(served.view.repo_by_id)
    if not unknown:
        return passed(f"Backrest knows the repositories of {counted(len(plans), 'plan')}")
    return failed(
        "Backrest has not loaded repositories that plans of ours go to",
        "restart Backrest, so that it reads the document",
        sorted(unknown),
    )


def _why_not_served(context: CheckContext) -> str:
    return _NOT_SERVED if context.settings.access.url else _NO_URL
