"""The command's end of the control socket: ask the daemon for its status, or to run a job."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from sidecar.engines.base import BackupType
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import JobKind
from sidecar.web.messages import JOBS, Message
from sidecar.web.sockets import connect_to_folder

_OTHER = "see its log; it may be of another version"


def ask_status(directory: Path, seconds: float | None = None) -> Message:
    """Return the status of the daemon of a state folder, the object of its page `/status`.

    Raises NoDaemon if nobody listens, SidecarError if it does not answer.
    """
    with _answer(directory, "GET", "/status", None, seconds) as answer:
        return _parse(answer.read())


def run_job(
    directory: Path,
    kind: JobKind,
    subject: str,
    *,
    accept_empty: bool = False,
    wanted: BackupType | None = None,
    seconds: float | None = None,
) -> Generator[Message]:
    """Have the daemon of a state folder run a job, and yield its events, see `messages`.

    Each may take so many `seconds`; None: as long as it takes. Raises NoDaemon if nobody listens,
    SidecarError for what the daemon answers as an error, or if it hangs up before the last event.
    """
    asked, hint = {"kind": kind.value, "of": subject, "accept_empty": accept_empty}, _OTHER
    if wanted is not None:
        asked["type"] = wanted.value
    with _answer(directory, "POST", JOBS, asked, seconds) as answer:
        while line := answer.readline():
            event, hint = _parse(line), "see its log"
            yield event
            if event.get("last"):
                return
    raise SidecarError("the daemon hung up", hint)


class _Connection(HTTPConnection):
    """A connection to the control socket of a state folder."""

    def __init__(self, directory: Path, seconds: float | None) -> None:
        super().__init__("localhost", timeout=seconds)
        self._directory = directory

    def connect(self) -> None:
        """Connect; raises NoDaemon."""
        self.sock = connect_to_folder(self._directory, self.timeout)


@contextmanager
def _answer(
    directory: Path, method: str, path: str, body: Message | None, seconds: float | None
) -> Iterator[HTTPResponse]:
    connection = _Connection(directory, seconds)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        # It has the socket to itself as soon as it says that this is the last one.
        with connection.getresponse() as answer:
            if answer.status != HTTPStatus.OK:
                raise _error_of(answer)
            yield answer
    except (OSError, HTTPException) as error:
        raise SidecarError("the daemon hung up", _OTHER) from error
    finally:
        connection.close()


def _error_of(answer: HTTPResponse) -> SidecarError:
    text = answer.read()
    if answer.getheader("Content-Type") == "application/json":
        told = _parse(text)
        return SidecarError(str(told.get("error", "")), str(told.get("hint", "")))
    words = text.decode(errors="replace").strip() or answer.reason
    is_busy = answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    hint = "ask again when other commands have ended" if is_busy else _OTHER
    return SidecarError(f"the daemon answers with status {answer.status}: {words}", hint)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SidecarError("the daemon answers otherwise than expected", _OTHER)
    return found
