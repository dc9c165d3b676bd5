"""The command line that restores services, for whoever may start containers: the sidecar may not.

The runner restores, or a companion beside Backrest: they have the programs, the mounts and the
secrets. Where Backrest is alone, a container of the runner's image is started that has its mounts,
and in which the data of the services can be written, for as long as that takes.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidecar import __version__
from sidecar.backrest.names import Names
from sidecar.backrest.workloads import NAME
from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.run_line import ContainerTemplate, render_run
from sidecar.lib.errors import UsageError
from sidecar.reconciler.reconcile import read_plans
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.workloads_file import read_workloads

IMAGE = f"ghcr.io/backrest-sidecar/backrest-runner:{__version__}"
"""The image that restores where there is no runner: it reads what this version has written."""

_PROGRAM = "backrest-runner"
_USUAL_NAMES = ("backrest-companion", _PROGRAM)
_RESTORED = "/restored"
_ON_HOST = '"$PWD/restored:/restored"'


@dataclass(frozen=True, slots=True)
class RestoreLine:
    """A line of shell that restores; `secrets` are variables that have to be set where it runs."""

    line: str
    secrets: tuple[str, ...] = ()


def find_restore_line(
    settings: ReconcilerSettings, names: Sequence[str], words: Sequence[str]
) -> RestoreLine:
    """Return the line that restores the services `names`; `words` are further arguments of it.

    Raises UsageError for a name that means nothing, or where there is neither a runner nor
    Backrest; DockerError, StoreError.
    """
    paths = _paths_of(settings, names)
    arguments = ("restore", *names, *words)
    with Containers(DockerClient(settings.source.docker_sock)) as docker:
        found = _templates(docker, (settings.policy.runner_container, *_USUAL_NAMES))
    runner = next((one for one in found if one.runs(_PROGRAM)), None)
    if runner is not None:
        line = ["docker", "exec", "--interactive", "--tty", runner.container.name, _PROGRAM]
        return RestoreLine(shlex.join([*line, *arguments]))
    if not found:
        raise UsageError(
            f"no container {settings.policy.runner_container} runs, nor a runner",
            "start it, or name it by --backrest-container",
        )
    return _line_beside(found[0], paths, arguments)


def _line_beside(
    backrest: ContainerTemplate, paths: Iterable[str], arguments: Sequence[str]
) -> RestoreLine:
    try:
        argv = render_run(
            backrest,
            paths,
            (*arguments, "--documents", "runner"),
            image=IMAGE,
            on_terminal=True,
        )
    except ValueError as error:
        raise UsageError(f"{error} cannot be mounted: its name has a colon") from None
    line = shlex.join(argv)
    if not any(one.destination == _RESTORED for one in backrest.container.mounts):
        line = line.replace(" --volume ", f" --volume {_ON_HOST} --volume ", 1)
    secrets = tuple(name for name in backrest.variables if name not in backrest.plain)
    return RestoreLine(line, secrets)


def _paths_of(settings: ReconcilerSettings, names: Iterable[str]) -> tuple[str, ...]:
    """Return where data of the plans that are named lies, as Backrest sees it. Raises UsageError.

    Of mounts those as a whole: Docker follows a link that a container has put within one.
    """
    plans = read_plans(settings)
    known = Names(read_workloads(settings.state_directory / NAME), list(plans))
    paths: list[str] = []
    for name in names:
        for one in known.find_all(name):
            listed = plans[one.plan].get("paths")
            held = [path for path in listed if isinstance(path, str)] if listed else []
            paths += held if one.workload is None else map(one.workload.around, held)
    return tuple(paths)


def _templates(docker: Containers, names: Iterable[str]) -> tuple[ContainerTemplate, ...]:
    """Return the containers of these names that run, each once."""
    running = [name for name in dict.fromkeys(names) if docker.is_running(name)]
    return tuple(one for name in running if (one := docker.template(name)) is not None)
