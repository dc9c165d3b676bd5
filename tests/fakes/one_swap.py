"""Moves restored data into a folder, and is killed at the renaming of the given number.

    python one_swap.py ROOM NUMBER

What was restored stands in ROOM.new; exit 0 if there were not so many renamings.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from sidecar.runner.restore.staging import is_ours, open_staging

_rename = os.rename


def main() -> None:
    """Swap, counting renamings."""
    receiver, last = Path(sys.argv[1]), int(sys.argv[2])
    left = last

    def rename(*args: Any, **kwargs: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        _rename(*args, **kwargs)

    with open_staging(receiver) as staging:
        shutil.copytree(receiver.with_suffix(".new"), staging.tree / "data", symlinks=True)
        os.rename = rename
        staging.take_folder("/data")
        staging.swap([name for name in os.listdir(receiver) if not is_ours(name)])


main()
