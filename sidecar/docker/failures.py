"""Say what a failing call to Docker means, so that people can act on it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from sidecar.lib.errors import InventoryError


class DockerError(InventoryError):
    """Docker could not be asked, or did not do what it was asked for."""


class NoDocker(DockerError):
    """There is no socket of Docker at that address."""


class RequestRefused(DockerError):
    """Docker, or a proxy before it, answered with a status other than success."""

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


class StreamSilent(DockerError):
    """Nothing came for as long as silence was allowed."""


NOT_DOCKER = "something else than a Docker engine may listen at that address"
"""The hint of an error about an answer that no engine gives."""

# More causes than these are never chained.
_MAX_CAUSES = 30

_SPEAKS_TLS = "the engine at {address} speaks TLS, and was spoken to in plain text"
_SET_TLS = "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder of its certificates"
# What a server that speaks TLS sends to one that does not: an alert's first two bytes.
_ALERT = r"\x15\x03|\\x15\\x03"
_TOLD_BY_GO = "HTTP request to an HTTPS server"
_PLAIN_ANSWERS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}


def explain_failure(error: BaseException, address: str, call: str) -> DockerError:
    """Return what the client library raised during `call` as one sentence and a hint.

    `call` is the method and the path, such as `GET /version`.
    """
    chain = list(_causes(error))
    if (mistaken := _mistaken_tls(chain, address)) is not None:
        return mistaken
    for kinds, message, hint in _meanings():
        for cause in chain:
            if isinstance(cause, kinds):
                reason = getattr(cause, "verify_message", "")
                words = {"address": address, "call": call, "reason": reason}
                kind = NoDocker if isinstance(cause, FileNotFoundError) else DockerError
                return kind(message.format(**words), hint)
    return DockerError(f"the Docker engine at {address} failed on {call}: {_line(str(error))}")


def explain_status(status: int, body: bytes, address: str, call: str) -> RequestRefused:
    """Return what an HTTP status other than success means for the caller."""
    text = _told(body)
    if status in {401, 403}:
        only = "; only reading containers, volumes, images and the version is needed"
        return RequestRefused(
            f"{call} was refused with status {status} by {address}",
            f"a socket proxy in between must allow {call}{only if call.startswith('GET') else ''}",
            status,
        )
    if status == 400 and _TOLD_BY_GO in text:
        return RequestRefused(_SPEAKS_TLS.format(address=address), _SET_TLS, status)
    if status == 400 and "version" in text:
        return RequestRefused(
            f"the Docker engine at {address} speaks another API version: {_line(text)}",
            "update the engine or the sidecar",
            status,
        )
    return RequestRefused(
        f"the Docker engine at {address} answered {call} with status {status}: {_line(text)}",
        "its own log tells more",
        status,
    )


def _meanings() -> tuple[tuple[tuple[type[BaseException], ...], str, str], ...]:
    """Return what errors mean: kinds, a sentence, a hint; the first that fits counts.

    The client library's own errors, of which most are timeouts by their class, come with the cause
    that says more.
    """
    # Imported where something has failed: who only names these errors needs no client of Docker.
    import socket  # noqa: PLC0415
    import ssl  # noqa: PLC0415

    from requests import Timeout  # noqa: PLC0415
    from urllib3.exceptions import TimeoutError as PoolTimeout  # noqa: PLC0415

    return (
        (
            (FileNotFoundError,),
            "there is no Docker socket at {address}",
            (
                "start Docker, mount its socket into this container, or name another with "
                "--docker-sock"
            ),
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
            (ssl.SSLCertVerificationError,),
            "the certificate of the engine at {address} is not trusted: {reason}",
            "the ca.pem in DOCKER_CERT_PATH must have signed it, and it must name the host",
        ),
        (
            (ssl.SSLError,),
            "no TLS connection to {address} could be made",
            "see DOCKER_TLS_VERIFY and the certificates in DOCKER_CERT_PATH",
        ),
        (
            (Timeout, PoolTimeout, TimeoutError),
            "the Docker engine at {address} did not answer {call} in time",
            "nothing is changed before it answers; see whether `docker ps` does",
        ),
    )


def _told(body: bytes) -> str:
    """Return the words of a refusal: an engine wraps them in JSON, a proxy does not."""
    text = body.decode("utf-8", "replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _mistaken_tls(chain: list[BaseException], address: str) -> DockerError | None:
    """Return what to say where one side speaks TLS and the other does not; None if both do."""
    import ssl  # noqa: PLC0415 - as above
    from http.client import BadStatusLine, RemoteDisconnected  # noqa: PLC0415

    from docker.errors import APIError  # noqa: PLC0415

    for cause in chain:
        if isinstance(cause, ssl.SSLError) and cause.reason in _PLAIN_ANSWERS:
            return DockerError(
                f"the engine at {address} speaks plain text there, and was spoken to by TLS",
                "name its port for TLS, usually 2376; for plain text write tcp:// and unset "
                "DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
            )
        is_alert = isinstance(cause, BadStatusLine) and re.search(_ALERT, str(cause))
        if is_alert or (isinstance(cause, APIError) and _TOLD_BY_GO in str(cause)):
            return DockerError(_SPEAKS_TLS.format(address=address), _SET_TLS)
        if isinstance(cause, RemoteDisconnected | ConnectionResetError) and address.startswith(
            ("tcp://", "http://")
        ):
            return DockerError(
                f"what listens at {address} hung up without an answer",
                f"if that port speaks TLS, {_SET_TLS}; else see the engine's own log",
            )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything it was raised from, wherever its library put that."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_CAUSES:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            inner = (cause.__cause__, cause.__context__, getattr(cause, "reason", None))
            waiting.extend((*inner, *cause.args))


def _line(text: str) -> str:
    """Return a foreign message on one line, at most 200 characters of it."""
    return re.sub(r"\s+", " ", text).strip()[:200] or "no further words"
