"""Names of workloads on the command line, in place of plan ids: completed, resolved and shown.

They are read from files only: the documents say which plans stand, the sidecar's workloads.json
what they are called. Neither Docker nor a daemon is asked, so that completion is quick.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from sidecar.cli.options import Decorator

if TYPE_CHECKING:
    from sidecar.backrest.names import Names

_RUNNER = "runner.json"
_LARGEST_DOCUMENT = 256 << 20


class NameFiles(NamedTuple):
    """The files that names are read from; none of them has to be there."""

    config: Path
    runner: Path
    workloads: Path


def name_files(config: Path, runner: Path | None, state: Path | None) -> NameFiles:
    """Return where names are read from; `state` is the sidecar's directory, if it is named."""
    from sidecar.backrest.workloads import FOLDER, NAME

    state = state or config.parent / FOLDER
    return NameFiles(config, runner or config.parent / _RUNNER, state / NAME)


def names_of(plans: Collection[str], workloads: Path) -> "Names":
    """Return the names of plans that are known by their ids; `workloads` is workloads.json."""
    from sidecar.backrest.names import Names

    return Names(_read_workloads(workloads), plans)


def read_names(files: NameFiles) -> "Names | None":
    """Return the names of the plans that stand; None where no document can be read.

    Whoever needs a document tells what is wrong with it.
    """
    found = [_ids(path, "plans") for path in (files.config, files.runner)]
    if all(ids is None for ids in found):
        return None
    return names_of([one for ids in found for one in ids or ()], files.workloads)


def resolve_name(name: str, names: "Names | None") -> str:
    """Return the id of the plan that a name means; raises UsageError, with what comes near it.

    Where no names could be read it is taken for an id.
    """
    return name if names is None else names.find(name).plan


def shown_names(names: "Names | None") -> Mapping[str, str]:
    """Return what plans are called, by their ids; those that are not in it by the id itself."""
    return {} if names is None else names.shown


def _read_workloads(path: Path) -> tuple[Any, ...]:
    """Return the records of workloads.json; none where it is absent, unreadable or not ours."""
    from sidecar.backrest.workloads import LARGEST, WorkloadsInvalid, parse_workloads
    from sidecar.lib.read_file import read_file

    try:
        return parse_workloads(read_file(path, LARGEST))
    except (OSError, WorkloadsInvalid):
        return ()


def _ids(path: Path, kind: str) -> list[str] | None:
    """Return the ids of the `plans` or `repos` of a document; None where it cannot be read."""
    import json

    from sidecar.lib.read_file import read_file

    try:
        root = json.loads(read_file(path, _LARGEST_DOCUMENT))
    except (OSError, ValueError, RecursionError):
        return None
    listed = root.get(kind) if isinstance(root, dict) else None
    items = listed if isinstance(listed, list) else []
    ids = [item.get("id") for item in items if isinstance(item, dict)]
    return [one for one in ids if isinstance(one, str)]


class _DocumentName(click.types.StringParamType):
    """A name that stands in a document, as an argument that completes it.

    It stays the text that was given: what it means is looked up once the command has its settings.
    `state` is the parameter that says where the sidecar remembers things.
    """

    def __init__(self, state: str, *, plans: bool, repos: bool) -> None:
        self._state = state
        self._has_plans = plans
        self._has_repos = repos

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click gives it
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that begin with what was typed; none where no document can be read."""
        flags = ctx.params
        if (config := flags.get("config")) is None:
            return []
        files = name_files(config, flags.get("runner_config"), flags.get(self._state))
        found: list[str] = []
        if self._has_plans and (names := read_names(files)) is not None:
            found += names.complete(incomplete)
        if self._has_repos:
            repos = [one for path in files[:2] for one in _ids(path, "repos") or ()]
            found += sorted({one for one in repos if one.startswith(incomplete)})
        return [CompletionItem(name) for name in found if name.isprintable()]


def name_argument(
    name: str, metavar: str, *, state: str, repos: bool = False, plans: bool = True, **more: Any
) -> Decorator:
    """Declare an argument that names plans, or repositories, with completion.

    `state` is the name of the parameter that says where the sidecar remembers things.
    """
    kind = _DocumentName(state, plans=plans, repos=repos)
    return click.argument(name, metavar=metavar, type=kind, **more)


def plan_type(state: str) -> click.types.StringParamType:
    """Return the type of a flag that names a plan, with completion; `state` as above."""
    return _DocumentName(state, plans=True, repos=False)
