"""Checks of Backrest: its container, its API, and its repositories.

The container has to be there, see the paths of the plans and read our document. The API
has to serve the same document. What runs as Backrest may also be the bundled runner.
"""

import posixpath
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.document import parse_document
from sidecar.backrest.messages import REPO, value_of
from sidecar.backrest.rules import is_active
from sidecar.lib.errors import InventoryError
from sidecar.lib.text import counted
from sidecar.planner.host_path import is_under, normal_path
from sidecar.reconciler.apply.container import find_backrest
from sidecar.reconciler.doctor.check import (
    SECONDS,
    CheckContext,
    Found,
    NotChecked,
    find_mount,
    host_path,
    needed,
)
from sidecar.reconciler.doctor.docker import require_containers
from sidecar.reconciler.doctor.hooks import scripts_of
from sidecar.reconciler.state import Memory
from sidecar.reconciler.waits import WaitFinder
from sidecar.service.check_result import CheckResult, failed, passed, warned

_TITLE_LABEL = "org.opencontainers.image.title"
_OURS = "backrest-runner"
_VERSION_LABEL = "org.opencontainers.image.version"
_OLDEST = (1, 13)
# Each path is a call of its own; beyond so many the mounts have to be enough.
_MOST_ASKED = 200
_NO_URL = "no --backrest-url is given"
_NOT_SERVED = "Backrest does not serve its configuration"


def check_found(context: CheckContext) -> CheckResult | Found:
    """Look for the container that --backrest-container names."""
    require_containers(context)
    name = context.settings.policy.runner_container
    backrest = find_backrest(context.connection, name)
    if backrest is not None:
        result = passed(f"the container {name} is there")
        return Found(result, replace(context.facts, backrest=backrest))
    hint = "name Backrest's container with --backrest-container"
    if context.settings.runner_named:
        return failed(f"there is no container {name}", f"start it, or {hint}")
    return warned(
        f"there is no container {name}, so nobody can tell what Backrest sees",
        f"{hint}; if it runs without Docker, all is well",
    )


def check_running(context: CheckContext) -> CheckResult:
    """Check that the container runs: backups happen only then."""
    backrest = context.backrest
    if backrest.is_running:
        return passed(f"{backrest.name} runs")
    return failed(f"{backrest.name} does not run, so nothing is backed up", "start it")


def check_not_us(context: CheckContext) -> CheckResult:
    """Check that --backrest-container does not name this sidecar."""
    backrest = context.backrest
    if backrest.is_container(context.own_id):
        return failed(
            f"--backrest-container {backrest.name} is this sidecar itself",
            "name Backrest's container",
        )
    return passed(f"{backrest.name} is not this sidecar")


def check_version(context: CheckContext) -> CheckResult:
    """Read Backrest's version from the label that its image carries."""
    backrest = context.backrest
    inventory = needed(context.facts.inventory, "the containers were not listed")
    labels = next((c.labels for c in inventory.containers if c.id == backrest.id), {})
    version = labels.get(_VERSION_LABEL, "")
    if labels.get(_TITLE_LABEL) == _OURS:
        return passed(f"{backrest.name} is the bundled runner{f' {version}' if version else ''}")
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
    """Check that each path of each plan that runs is there in the container."""
    require_containers(context)
    backrest, paths = context.backrest, list(_paths(context))
    absent = _absent(context, paths)
    inside = [one for one in paths if not _is_mounted(context, one.path)]
    if not inside and not absent:
        return passed(f"{backrest.name} sees {counted(len(paths), 'path')} of the plans")
    hint = "mount into it what holds them, or remove the plans"
    lost = absent if absent is not None else inside
    if lost:
        return failed(
            f"{backrest.name} does not see {counted(len(lost), 'path')}: "
            "one that is missing fails its whole plan",
            hint,
            map(str, lost),
        )
    return warned(
        f"{counted(len(inside), 'path')} in no mount of {backrest.name}: "
        "what is saved there is its own, nothing of the host",
        hint,
        map(str, inside),
    )


def check_links(context: CheckContext) -> CheckResult:
    """Check that no path of a plan is a symbolic link there: it alone would be saved."""
    require_containers(context)
    backrest, paths = context.backrest, list(_paths(context))
    if not backrest.is_running:
        raise NotChecked(f"{backrest.name} does not run")
    if len(paths) > _MOST_ASKED:
        raise NotChecked(f"that would be {counted(len(paths), 'question')}")
    try:
        targets = {one: context.docker.link_target(backrest.id, one.path) for one in paths}
    except InventoryError:
        raise NotChecked(f"what is in {backrest.name} cannot be asked") from None
    saved = [one for one in paths if not targets[one]]
    linked = [
        f"{one} leads to {target}"
        for one, target in targets.items()
        if target
        and not any(is_under(target, other.path) for other in saved if other.plan == one.plan)
    ]
    if not linked:
        return passed(f"no path of a plan is a symbolic link in {backrest.name}")
    return failed(
        f"{backrest.name} would save {counted(len(linked), 'symbolic link')}, "
        "and nothing of what lies behind",
        "name what they lead to instead, by label as paths.include=host:/path",
        linked,
    )


def _paths(context: CheckContext) -> Iterator[_Path]:
    for plan_id, plan in context.document.plans.items():
        listed = plan.get("paths")
        if isinstance(listed, list) and not _is_disabled(plan):
            yield from (_Path(plan_id, path) for path in listed if type(path) is str and path)


def _is_disabled(plan: dict[str, Any]) -> bool:
    """Return whether a plan never runs, as that of a workload that is gone."""
    schedule = plan.get("schedule")
    return isinstance(schedule, dict) and bool(schedule) and not is_active(schedule)


def _is_mounted(context: CheckContext, path: str) -> bool:
    """Return whether a path lies in a mount, or has one below it."""
    mounts, root = context.backrest.mounts, normal_path(path)
    below = any(is_under(normal_path(mount.destination), root) for mount in mounts)
    return below or find_mount(mounts, path) is not None


def _absent(context: CheckContext, paths: list[_Path]) -> list[_Path] | None:
    """Return the paths that the container lacks; None if it cannot be asked for all of them."""
    exists, backrest = context.docker.archive_exists, context.backrest
    if not backrest.is_running or len(paths) > _MOST_ASKED:
        return None
    with suppress(InventoryError):
        return [one for one in paths if not exists(backrest.id, one.path)]
    return None


def check_config(context: CheckContext) -> CheckResult:
    """Check that Backrest reads the document that we write, by both containers' mounts."""
    backrest = context.backrest
    theirs = backrest.environment.get("BACKREST_CONFIG", "")
    if not theirs:
        return _check_unset_config(context)
    if not theirs.startswith("/"):
        return failed(f"BACKREST_CONFIG={theirs} is not absolute", "start it with /")
    ours = str(context.settings.config)
    their_file = host_path(backrest.mounts, theirs)
    if their_file is None or host_path(backrest.mounts, posixpath.dirname(theirs)) is None:
        return failed(
            f"{backrest.name} reads {theirs}, which lies in the container itself",
            f"mount the same directory as here at {posixpath.dirname(theirs)} there",
        )
    our_file = _our_host_path(context)
    if _resolved(context, their_file) == our_file:
        return passed(f"{backrest.name} reads the document that is {ours} here")
    return failed(
        f"{backrest.name} reads {their_file} of the host, and we write {our_file}",
        "mount the same directory in both, and name the same file "
        "by BACKREST_CONFIG there and --config here",
    )


def _check_unset_config(context: CheckContext) -> CheckResult:
    scripts = [script for script in scripts_of(context) if script.writes_marker]
    if not scripts:
        raise NotChecked("BACKREST_CONFIG is not set there, and no hook needs it")
    return failed(
        "BACKREST_CONFIG is not set in the runner, so hooks that stop or pause fail the backup",
        "set BACKREST_CONFIG there to the path of config.json, as in /config/config.json",
        sorted({script.owner for script in scripts}),
    )


def _our_host_path(context: CheckContext) -> str:
    """Return where our document is on Docker's host; raises NotChecked if that is not known."""
    config = str(_plain(context.settings.config))
    if not context.connection.address.startswith("unix://") and not context.own_id:
        raise NotChecked("the engine may be on another machine than this one")
    if not context.is_contained:
        return config
    own = find_backrest(context.connection, context.own_id) if context.own_id else None
    if own is None:
        raise NotChecked("the engine does not know the container that we run in")
    found = host_path(own.mounts, config)
    if found is None:
        raise NotChecked(f"{config} lies in no mount of our own container")
    return found


def _resolved(context: CheckContext, path: str) -> str:
    """Return a path of the host with its links followed, where we see them."""
    return path if context.is_contained else str(_plain(Path(path)))


def _plain(path: Path) -> Path:
    """Return a path with the links of its directory followed, but not the file itself."""
    return path.parent.resolve() / path.name


def check_reachable(context: CheckContext) -> CheckResult | Found:
    """Ask for the configuration; a refused login is an answer too."""
    access = context.settings.access
    if not access.url:
        raise NotChecked(_NO_URL)
    api = BackrestApi(access.url, access.user, access.password, timeout=SECONDS)
    facts = replace(context.facts, api=context.connections.enter_context(api))
    try:
        facts = replace(facts, served=parse_document(api.get_config()))
    except ApiError as error:
        if error.kind is not ApiTrouble.REFUSED_LOGIN:
            return failed(error.message, error.hint)
    return Found(passed(f"it answers at {access.url}"), facts)


def check_login(context: CheckContext) -> CheckResult:
    """Check that Backrest accepted our login and served its configuration."""
    if not context.settings.access.url:
        raise NotChecked(_NO_URL)
    needed(context.facts.api, _NOT_SERVED)
    user = context.settings.access.user
    if context.facts.served is not None:
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
    """Compare the instance of the Backrest that answers with that of the document."""
    document = context.document
    served = needed(context.facts.served, _why_not_served(context))
    theirs, ours = served.root.get("instance") or "", document.root.get("instance") or ""
    if theirs == ours:
        return passed(f"it serves the instance {ours or 'without a name'}, as the document")
    return failed(
        f"the instance {theirs or 'without a name'} answers, and the document is of "
        f"{ours or 'one without a name'}",
        "correct --backrest-url or --config: they belong to two Backrests",
    )


def check_loaded(context: CheckContext) -> CheckResult:
    """Check that Backrest has loaded what is wanted; what waits names what it waits for."""
    backrest, facts = context.backrest, context.facts
    waits = list(_waits(context).changes(facts.desired, facts.served))
    if not waits:
        return passed(f"{backrest.name} has loaded what was written")
    wait = waits[0]
    hint = "`daemon --apply` has it loaded, as does a restart of Backrest"
    if wait.because:
        hint = f"it waits for {wait.because}; see whether that goes on, and end it if not"
    return warned(f"{backrest.name} has not loaded a change yet", hint, wait.names)


def check_edits(context: CheckContext) -> CheckResult:
    """Check that the file holds no edit by hand that Backrest has not read."""
    served = needed(context.facts.served, _why_not_served(context))
    if not list(_waits(context).edits(served)):
        return passed("Backrest has read the document as it stands in the file")
    return warned(
        "the document was edited by hand, and Backrest has not read it",
        "restart Backrest; a save in its interface undoes the edit",
    )


def _waits(context: CheckContext) -> WaitFinder:
    memory = Memory(context.settings.state_directory, read_only=True)
    api = context.facts.api if context.facts.served is not None else None
    now = context.now.timestamp()
    return WaitFinder(context.settings, memory.state, context.connection, api, now)


def check_repos(context: CheckContext) -> CheckResult:
    """Check that the document has a repository."""
    listed = context.document.root.get("repos")
    repos = [repo for repo in listed if isinstance(repo, dict)] if isinstance(listed, list) else []
    if not repos and context.facts.runner is not None and context.facts.runner.view.repos:
        return passed("the only repositories are those of backrest-runner's own document")
    if not repos:
        return failed(
            "the document has no repository",
            "add one in Backrest, or start with `backrest-sidecar init`",
        )
    new = [repo for repo in repos if value_of(repo, REPO, "autoInitialize")[1]]
    found = counted(len(repos), "repository", "repositories")
    more = f", of which Backrest initialises {len(new)} when it starts" if new else ""
    return passed(f"there is {found}{more}" if len(repos) == 1 else f"there are {found}{more}")


def check_repos_known(context: CheckContext) -> CheckResult:
    """Check that Backrest has loaded the repositories that our plans go to."""
    prefix = context.settings.policy.plan_id_prefix
    plans = [plan for plan in context.planned.view.plans if plan.id.startswith(prefix)]
    served = needed(context.facts.served, _why_not_served(context))
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
