"""Tell which containers the hooks of a plan or repository stop, start or run a command in. Pure.

Two runs whose hooks have a container in common must not be under way at the same time: the first
to end would start it while the other still saves. Our scripts name theirs in their head, and
commands like `docker stop web` are read. What other commands do, as those that take the name from
a variable or call Compose, cannot be known.
"""

import re
from collections.abc import Iterable, Iterator

from sidecar.backrest.reading import RunHook
from sidecar.runner.hooks.check import COMMAND

_OUR_NAME = re.compile(r"\A# [^\n]*\nset -eu\nname=([A-Za-z0-9_.-]+)\n", re.ASCII)
_DOCKER = re.compile(
    r"\bdocker[ \t]+(?:container[ \t]+)?(?:stop|start|restart|kill|pause|unpause)\b([^\n;&|#]*)"
)
_OPTION = re.compile(r"(?:-t|--time|--timeout|-s|--signal)[ \t=]+[^\s]+|-[^\s]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


def containers_of(hooks: Iterable[RunHook]) -> frozenset[str]:
    """Return the names of the containers and Swarm services that commands are known to touch."""
    commands = (hook.settings.get("command", "") for hook in hooks if hook.action == COMMAND)
    return frozenset(name for command in commands for name in _names(command))


def _names(command: str) -> Iterator[str]:
    if (ours := _OUR_NAME.match(command)) is not None:
        yield ours[1]
        return
    for found in _DOCKER.finditer(command):
        words = (word.strip("\"'") for word in _OPTION.sub(" ", found[1]).split())
        yield from (word for word in words if _NAME.fullmatch(word))
