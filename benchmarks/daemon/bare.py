"""The bare chain, a process of its own: event, one list call, one file. None of our code.

    python -m benchmarks.daemon.bare ADDRESS LABEL DOCUMENT TARGET

It listens for containers with LABEL, by a filter of the same form as the daemon's. For each
event it lists that container by its id, and replaces TARGET, fsync'd, by a file of the size
that DOCUMENT has at that moment and that begins with the container's name. Each minute it
lists all containers. It runs until it is killed.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

from benchmarks.daemon.docker_http import DockerHttp, render_filters

_ACTIONS = ["create", "start", "die", "destroy", "rename", "update"]
_INTERVAL = 60.0


def main(address: str, label: str, document: str, target: str) -> None:
    """Follow the events."""
    threading.Thread(target=_list_all, args=(address,), daemon=True).start()
    stream, listing = DockerHttp(address, timeout=86_400), DockerHttp(address)
    listing.ask("GET", "/version")
    wanted = render_filters(type=["container"], event=_ACTIONS, label=[label])
    for line in stream.lines(f"/events?{wanted}"):
        one = render_filters(id=[json.loads(line)["Actor"]["ID"]])
        found = listing.ask("GET", f"/containers/json?all=1&{one}")
        if found:
            _replace(Path(target), found[0]["Names"][0].encode(), Path(document).stat().st_size)


def _list_all(address: str) -> None:
    docker = DockerHttp(address)
    while True:
        docker.ask("GET", "/containers/json?all=1")
        time.sleep(_INTERVAL)


def _replace(target: Path, begin: bytes, size: int) -> None:
    part = target.with_suffix(".part")
    with part.open("wb") as file:
        file.write(begin.ljust(size))
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)


if __name__ == "__main__":
    main(*sys.argv[1:5])
