"""Work on a repository of rsync's, and be killed before the n-th change to it.

Run as `python -m tests.engines.killed_rsync FOLDER backup|forget NUMBER`, where the folder is that of
a bench; ends with 0 if the work was done before as many changes were made.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.plan import Retention
from sidecar.engines.rsync.storage import LocalStorage
from tests.engines.bench import INSTANCE, RsyncBench

_CHANGES = ("write", "make", "rename", "point", "remove", "flush")


def main(folder: str, work: str, number: str) -> None:
    """Do the work."""
    left = int(number)

    def dying(change: Callable[..., None]) -> Callable[..., None]:
        def run(*words: Any, **settings: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            change(*words, **settings)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name in _CHANGES:
            patch.setattr(LocalStorage, name, dying(getattr(LocalStorage, name)))
        bench = RsyncBench.again(Path(folder))
        if work == "backup":
            bench.backup()
        else:
            done = bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1))
            assert "" == done.reason


if __name__ == "__main__":
    main(*sys.argv[1:])
