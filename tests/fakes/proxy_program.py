"""A stand-in for the socket proxy of compose.socket-proxy.yaml, as a program.

It takes that proxy's flags, one regular expression of whole paths each, and judges by them as
the real one does. What is fake: it lets anybody connect (`-allowfrom` is not read), watches
no socket, and stands for no other behaviour of the real one.
"""

import re
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.fakes.socket_proxy import SocketProxy

_ENGINE = Path("/var/run/docker.sock")
_LISTEN = ("0.0.0.0", 2375)  # noqa: S104 - a container's own network
_RULE = re.compile(r"-allow([A-Z]+)=(.*)")


def parse_rules(flags: Iterable[str]) -> Mapping[str, list[str]]:
    """Give the regular expressions of `-allowMETHOD=EXPRESSION` by method; other flags have none."""
    rules: dict[str, list[str]] = defaultdict(list)
    for found in map(_RULE.fullmatch, flags):
        if found is not None:
            rules[found[1]].append(found[2])
    return dict(rules)


def main() -> None:
    """Stand before the engine until SIGTERM."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with SocketProxy(_ENGINE, allowed=parse_rules(sys.argv[1:]), listen=_LISTEN):
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
