"""What the runner's daemon serves while it runs: its control socket, and pages if wanted.

The command line passes `serve_runner` to the daemon, which knows nothing of this package.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from sidecar.lib.errors import UsageError
from sidecar.runner.control import ON_DEMAND, ControlApi
from sidecar.runner.due import JobKind
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.status import status_json
from sidecar.web.control import ControlServer
from sidecar.web.messages import Message, render_event


@contextmanager
def serve_runner(settings: RunnerSettings, api: ControlApi) -> Iterator[None]:
    """Serve the control socket, and pages if an address is given.

    Raises OSError if it cannot listen on the socket, UsageError if not on the address.
    """
    with ExitStack() as stack:
        answer = partial(answer_request, api)
        stack.enter_context(ControlServer(settings.state_directory, answer))
        if settings.listen is not None:
            # Only who wants pages pays the memory of what makes them.
            from sidecar.web.runner import RunnerPages  # noqa: PLC0415

            pages = RunnerPages(settings.listen, api.status, settings.allowed_hosts)
            stack.enter_context(pages)
        yield


def answer_request(api: ControlApi, request: Message) -> Iterator[Message]:
    """Yield the answers to a request of the control socket.

    Raises UsageError for one that is none of ours, SidecarError if it cannot be met.
    """
    action, subject = request.get("do"), request.get("of")
    if action == "status":
        yield {"status": status_json(api.status.collect()), "last": True}
    elif isinstance(subject, str) and action in ON_DEMAND:
        accept_empty = action == JobKind.BACKUP and request.get("accept_empty") is True
        events = api.run(JobKind(action), subject, accept_empty=accept_empty)
        yield from map(render_event, events)
    else:
        raise UsageError("that cannot be asked", "the daemon may be of another version")
