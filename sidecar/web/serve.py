"""What a daemon shows to others while it runs: pages over TCP, and the runner's control socket.

The daemons know nothing of it: the command line hands them these functions.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from sidecar.reconciler.report import ReconcilerReport
from sidecar.runner.control import ControlApi
from sidecar.runner.settings import RunnerSettings
from sidecar.web.control import ControlServer
from sidecar.web.messages import answer_request

# What makes the pages is imported only for who wants pages: it costs memory and time.


@contextmanager
def serve_reconciler(listen: tuple[str, int], report: ReconcilerReport) -> Iterator[None]:
    """Serve the sidecar's pages on a host and a port; raises UsageError if it cannot."""
    from sidecar.web.sidecar import ReconcilerPages  # noqa: PLC0415 - see above

    with ReconcilerPages(listen, report):
        yield


@contextmanager
def serve_runner(settings: RunnerSettings, api: ControlApi) -> Iterator[None]:
    """Serve the control socket, and pages where an address is given.

    Raises OSError if it cannot listen on the socket, UsageError if not on the address.
    """
    with ExitStack() as stack:
        answer = partial(answer_request, api)
        stack.enter_context(ControlServer(settings.state_directory, answer))
        if settings.listen is not None:
            from sidecar.web.runner import RunnerPages  # noqa: PLC0415 - see above

            stack.enter_context(RunnerPages(settings.listen, api.status))
        yield
