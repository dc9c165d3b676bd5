"""What the runner's daemon serves: its pages, on an address and on the control socket; jobs there.

The pages show no secret, see `sidecar.runner.status`. Whoever can reach the address may read them,
so by default there is none, and nothing can be changed by it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from sidecar.engines.base import BackupType
from sidecar.runner.control import ON_DEMAND, ControlApi, SubmittedJob
from sidecar.runner.due import JobKind
from sidecar.runner.job.progress import Event, RunFinished
from sidecar.runner.report import RunnerReport
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.status import status_json
from sidecar.service.health import HealthAspect
from sidecar.web.app import HostNames, build_app, health_page, json_page, page_routes, read_json
from sidecar.web.host import HttpHost, Listener
from sidecar.web.messages import JOBS, Message, render_event
from sidecar.web.protocol import Bounds
from sidecar.web.sockets import CONTROL, listen_in_folder, listen_on_address

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

JOB = {
    "type": "object",
    "properties": {
        "kind": {"enum": sorted(kind.value for kind in ON_DEMAND)},
        "of": {"type": "string"},
        "accept_empty": {"type": "boolean"},
        "type": {"enum": [one.value for one in BackupType]},
    },
    "required": ["kind", "of"],
    "additionalProperties": False,
}
"""What `POST /jobs` takes, as a JSON Schema."""
_CONTROL_BOUNDS = Bounds(clients=32)
# Without progress an event is sent so often; sending it also shows whether the client is gone.
_REPEAT_SECONDS = 15.0


@contextmanager
def serve_runner(settings: RunnerSettings, api: ControlApi) -> Iterator[HttpHost]:
    """Serve pages and jobs on the control socket, and pages on an address if one is given.

    Raises SidecarError if it cannot listen on the socket, UsageError if not on the address.
    """
    pages = runner_pages(api.status)
    jobs = Route(JOBS, JobsEndpoint(api), methods=["POST"])
    with ExitStack() as stack:
        control = stack.enter_context(listen_in_folder(settings.state_directory))
        stack.callback((settings.state_directory / CONTROL).unlink, missing_ok=True)
        listeners = [Listener(control, build_app([*pages, jobs]), _CONTROL_BOUNDS)]
        if settings.listen is not None:
            address = stack.enter_context(listen_on_address(*settings.listen))
            names = HostNames(settings.listen[0], settings.allowed_hosts)
            listeners.insert(0, Listener(address, build_app(pages, names)))
        yield stack.enter_context(HttpHost(listeners))


def runner_pages(status: RunnerReport) -> list[BaseRoute]:
    """Return the routes of the pages."""
    pages = {
        "/healthz": lambda: health_page(status.health().sentences, "all is well"),
        # A restart helps where this one fails, and nowhere else.
        "/livez": lambda: health_page(status.health().against(HealthAspect.ALIVE), "alive"),
        "/readyz": lambda: health_page(status.health().against(HealthAspect.READY), "ready"),
        "/metrics": lambda: _metrics(status),
        "/status": lambda: json_page(status_json(status.snapshot())),
    }
    return page_routes(pages)


def _metrics(status: RunnerReport) -> Response:
    # Only who is asked for metrics pays the memory of what writes them.
    from sidecar.runner.metrics import METRICS  # noqa: PLC0415
    from sidecar.service.metrics import MEDIA_TYPE, render_metrics  # noqa: PLC0415

    return Response(render_metrics(METRICS, status.snapshot()), media_type=MEDIA_TYPE)


class JobsEndpoint:
    """Runs the job that a request names, and answers with its events, each a line of JSON."""

    def __init__(self, api: ControlApi) -> None:
        self._api = api

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        asked = await read_json(Request(scope, receive), JOB)
        kind = JobKind(asked["kind"])
        accept_empty = kind is JobKind.BACKUP and asked.get("accept_empty", False)
        wanted = BackupType(asked["type"]) if "type" in asked else None
        events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(event: Event) -> None:
            # Of a run that outlives the daemon's other parts nobody needs to know.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(events.put_nowait, event)

        with ExitStack() as stack:
            run = self._api.run(kind, asked["of"], put, accept_empty=accept_empty, wanted=wanted)
            submitted = await asyncio.to_thread(stack.enter_context, run)
            lines = self._lines(submitted, events)
            await StreamingResponse(lines, media_type="application/x-ndjson")(scope, receive, send)

    async def _lines(
        self, submitted: SubmittedJob, events: "asyncio.Queue[Event]"
    ) -> AsyncIterator[bytes]:
        yield _line({"state": submitted.admission.value})
        while True:
            try:
                async with asyncio.timeout(_REPEAT_SECONDS):
                    event = await events.get()
            except TimeoutError:
                yield _line({"state": self._api.phase(submitted.job).value})
                continue
            yield _line(render_event(event))
            if isinstance(event, RunFinished):
                return


def _line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
