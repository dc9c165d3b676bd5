"""Runs backrest-runner, and is killed at the renaming of the given number.

python one_restore.py NUMBER COMMAND...
"""

import os
import signal
import sys
from typing import Any

from sidecar.cli.runner.main import run_cli

_left = int(sys.argv[1])
_renamings = {name: getattr(os, name) for name in ("rename", "replace")}


def _killed_at_last(name: str) -> Any:
    def move(*args: Any, **kwargs: Any) -> None:
        global _left  # noqa: PLW0603 - counted over all renamings of the process
        _left -= 1
        if _left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        _renamings[name](*args, **kwargs)

    return move


for _name in _renamings:
    setattr(os, _name, _killed_at_last(_name))
sys.exit(run_cli(sys.argv[2:]))
