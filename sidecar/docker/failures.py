"""Say what a failing call to Docker means, so that people can act on it."""

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from docker.errors import DockerException
from requests import RequestException, Timeout
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as PoolTimeout

from sidecar.lib.errors import InventoryError

FAILURES = (DockerException, RequestException, HTTPError, OSError)
"""What a call may raise: the client library lets other libraries' exceptions through."""

# More causes than these are never chained; the bound only guards against a ring.
_MAX_CAUSES = 30

_TIMEOUTS = (Timeout, PoolTimeout, TimeoutError)
_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    (
        (FileNotFoundError,),
        "there is no Docker socket at {address}",
        "start it, mount its socket into this container, or name one with --docker-sock",
    ),
    (
        (PermissionError,),
        "opening the Docker socket at {address} is not permitted",
        "run as root, or as a member of the group that owns the socket",
    ),
    (
        (ConnectionRefusedError,),
        "nothing listens at {address}",
        "start the engine, or name another with --docker-sock or DOCKER_HOST",
    ),
    (
        (socket.gaierror,),
        "the host name in {address} cannot be resolved",
        "correct --docker-sock or DOCKER_HOST",
    ),
    (
        (ssl.SSLError,),
        "no TLS connection to {address} could be made",
        "see DOCKER_TLS_VERIFY and the certificates in DOCKER_CERT_PATH",
    ),
    # The library derives a connection that was refused from one that took too long.
    (
        (NewConnectionError,),
        "no connection to {address} could be made",
        "see whether this machine reaches it, or correct --docker-sock or DOCKER_HOST",
    ),
    (
        _TIMEOUTS,
        "the Docker engine at {address} did not answer {call} in time",
        "nothing is changed before it answers; see whether `docker ps` does",
    ),
)


def explain_failure(error: BaseException, address: str, call: str) -> InventoryError:
    """Return what the client library raised during `call` as one sentence and a hint.

    `call` is the method and the path, such as `GET /version`.
    """
    chain = list(_causes(error))
    for kinds, message, hint in _MEANINGS:
        if any(isinstance(cause, kinds) for cause in chain):
            return InventoryError(message.format(address=address, call=call), hint)
    return InventoryError(f"the Docker engine at {address} failed on {call}: {_line(str(error))}")


def explain_status(status: int, text: str, address: str, call: str) -> InventoryError:
    """Return what an HTTP status other than success means for the pass; `text` is the body."""
    if status in {401, 403}:
        return InventoryError(
            f"{call} was refused with status {status} by {address}",
            f"a socket proxy in between must allow {call}; "
            "only reading containers, volumes, images and the version is needed",
        )
    if status == 400 and "version" in text:
        return InventoryError(
            f"the Docker engine at {address} speaks another API version: {_line(text)}",
            "update the engine or the sidecar",
        )
    return InventoryError(
        f"the Docker engine at {address} answered {call} with status {status}: {_line(text)}",
        "its own log tells more",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything it was raised from, wherever its library put that."""
    waiting: list[Any] = [error]
    for _ in range(_MAX_CAUSES):
        if not waiting:
            return
        cause = waiting.pop(0)
        if isinstance(cause, BaseException):
            yield cause
            inner = (cause.__cause__, cause.__context__, getattr(cause, "reason", None))
            waiting.extend((*inner, *cause.args))


def _line(text: str) -> str:
    """Return a foreign message on one line, at most 200 characters of it."""
    return re.sub(r"\s+", " ", text).strip()[:200] or "no further words"
