"""A container of its own for a restore where this one can only read what it restores.

The Compose files mount the data read-only into the runner, so that no mistake in a hook can
damage it. A restore gets a container that lives as long as it does, and in which the mounts that
hold what is restored, and no others, can be written.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from sidecar.docker.endpoint import UNIX, parse_address
from sidecar.docker.failures import DockerError
from sidecar.docker.run_line import render_run
from sidecar.runner.parts import open_docker
from sidecar.runner.restore.group import RestoreGroup
from sidecar.runner.restore.users import OwnContainer
from sidecar.runner.settings import RunnerSettings

MARK = "BACKREST_RESTORE_CONTAINER"
"""The variable of a container that was made for a restore: it makes no other one."""


def find_command(
    settings: RunnerSettings, environ: Mapping[str, str], group: RestoreGroup, words: Sequence[str]
) -> tuple[str, ...]:
    """Return the command line that restores in another container; empty: there is none.

    `words` are the arguments of the command, which that container gets as they are. One is possible
    within a container, where there are Docker's socket and its client.
    """
    if not group.unwritable or environ.get(MARK) or shutil.which("docker") is None:
        return ()
    own = OwnContainer.detect().id
    try:
        with open_docker(settings, environ) as docker:
            # Behind an address of the network is a proxy as a rule, which lets none be made.
            is_possible = docker is not None and own and docker.address.startswith(UNIX)
            template = docker.template(own) if docker is not None and is_possible else None
        if template is None:
            return ()
        is_on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return render_run(
            template,
            group.unwritable,
            ("restore", *words),
            on_terminal=is_on_terminal,
            more={MARK: "1"},
        )
    except (DockerError, ValueError):
        return ()


def execute(
    settings: RunnerSettings, environ: Mapping[str, str], command: tuple[str, ...]
) -> NoReturn:
    """Become that command: signals, the terminal and the exit status are its own."""
    given = settings.neighbour.docker_sock
    address = {"DOCKER_HOST": parse_address(given)} if given else {}
    os.execvpe(command[0], command, {**environ, **address})  # noqa: S606 - a program, no shell
