"""The app behind every listener: its routes, what it refuses, and how it says that.

Pages are rendered in a few threads of their own: they may wait for a disk. An answer never shows
what a client has sent, and a failure is told to the log only.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sidecar.lib.address import is_any, is_literal, is_loopback, normal_host, parse_host
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.lib.log import log_event
from sidecar.lib.threads import places_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

MOST_BODY = 64 * 1024
_MOST_TOLD = 300
_log = logging.getLogger(__name__)


def build_app(routes: Sequence[BaseRoute], names: "HostNames | None" = None) -> Starlette:
    """Return an app of these routes; with `names` it answers only clients that call it so."""
    app = Starlette(
        routes=routes,
        middleware=[Middleware(_RequestCheck, names=names)],
        exception_handlers={
            HTTPException: _refuse,
            ClientDisconnect: _give_up,
            SidecarError: _explain,
            Exception: _fail,
        },
    )
    # `/status/` is no page, and no other place either.
    app.router.redirect_slashes = False
    return app


def page_routes(pages: Mapping[str, Callable[[], Response]]) -> list[BaseRoute]:
    """Return the routes of pages by their paths, each rendered in a thread that may wait."""

    def answer_by(render: Callable[[], Response]) -> Callable[["Request"], Awaitable[Response]]:
        async def answer(_: "Request") -> Response:
            return await asyncio.to_thread(render)

        return answer

    return [Route(path, answer_by(render)) for path, render in pages.items()]


def text_page(status: HTTPStatus, text: str = "") -> Response:
    """Return a page of a line of text, by default the phrase of its status."""
    return PlainTextResponse(f"{text or status.phrase}\n", status)


def health_page(reasons: Sequence[str], well: str) -> Response:
    """Return a page of all that is wrong, status 503; of the text `well` if nothing is."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return text_page(status, "\n".join(reasons) or well)


def json_page(value: Mapping[str, Any]) -> Response:
    """Return a page of JSON that people can read."""
    return Response(f"{json.dumps(value, indent=2)}\n", media_type="application/json")


async def read_json(request: "Request", schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request: an object as the schema has it.

    Raises HTTPException: status 413 for more than 64 KiB, 400 with the place for what is no such
    object.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return await asyncio.to_thread(_parse, bytes(body), schema)


def _parse(body: bytes, schema: Mapping[str, Any]) -> dict[str, Any]:
    # Two megabytes, and only who is asked to do something needs it.
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    try:
        found: dict[str, Any] = json.loads(body)
        # What is just not too deep to be read may be too deep to be checked.
        wrong = best_match(Draft202012Validator(schema).iter_errors(found))
        if wrong is None:
            return found
        # Most begin with what was sent.
        told = wrong.message.removeprefix(repr(wrong.instance)).strip()
    except (ValueError, RecursionError):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None
    place = "/".join(map(str, wrong.absolute_path)) or "the body"
    raise HTTPException(HTTPStatus.BAD_REQUEST, f"{place}: {told}"[:_MOST_TOLD])


class HostNames:
    """The names by which clients may call this machine.

    Else the page of a stranger, whose name comes to point at this machine (DNS rebinding), could
    read ours in the browser of somebody who may reach it. Meant are names of the loopback, the host
    itself, where that means all addresses any address (which no name can be made to), and
    `allowed`. Only browsers are sure to say a name.
    """

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        self._is_any = is_any(host)
        self._hosts = frozenset(map(normal_host, (host, *allowed))) - {""}

    def has(self, text: str) -> bool:
        """Return whether a Host header is meant."""
        host = parse_host(text)
        if host in self._hosts or is_loopback(host):
            return True
        return self._is_any and is_literal(host)


class _RequestCheck:
    """Refuses what is meant for another host, or can be read in two ways."""

    def __init__(self, app: "ASGIApp", names: HostNames | None) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host")
        answer: ASGIApp = self._app
        has_two_lengths = b"transfer-encoding" in headers and b"content-length" in headers
        if has_two_lengths or not scope["http_version"].startswith("1."):
            answer = text_page(HTTPStatus.BAD_REQUEST)
        elif self._names and host is not None and not self._names.has(host.decode("latin-1")):
            answer = text_page(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this host name is not allowed: start with --allowed-host NAME",
            )
        await answer(scope, receive, send)


async def _refuse(_: "Request", error: Any) -> Response:
    """Answer an HTTPException: by a text for people, by JSON where a body was wrong."""
    status = HTTPStatus(error.status_code)
    if error.detail != status.phrase:
        return JSONResponse({"error": error.detail, "hint": ""}, status)
    answer = text_page(status)
    if allowed := (error.headers or {}).get("Allow"):
        answer.headers["Allow"] = ", ".join(sorted(allowed.split(", ")))
    return answer


async def _explain(_: "Request", error: Any) -> Response:
    """Answer a SidecarError: status 422 for what was asked wrongly, else 503."""
    is_usage = isinstance(error, UsageError)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if is_usage else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"error": error.message, "hint": error.hint}, status)


async def _give_up(_: "Request", __: Exception) -> Response:
    """Answer a client that left before its request was whole: by what nobody gets."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _fail(_: "Request", error: Exception) -> Response:
    log_failure(error)
    return text_page(HTTPStatus.INTERNAL_SERVER_ERROR)


def log_failure(error: BaseException) -> None:
    """Log what must not happen, and where; not its text, which might be a secret."""
    what, where = type(error).__name__, places_of(error.__traceback__)
    log_event(_log, logging.ERROR, "http.failed", reason=what, at=where)
