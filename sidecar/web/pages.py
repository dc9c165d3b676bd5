"""The pages of a daemon, on the address that its operator names."""

from collections.abc import Callable
from http import HTTPStatus

from sidecar.lib.closing import Closable
from sidecar.lib.errors import UsageError
from sidecar.web.server import Page, Server, page_of


class StatusPages(Closable):
    """Serves pages on `listen`, a host and a port, until it is closed.

    `answer` gives the page of a path, None for one that does not exist; it is called in many
    threads. Raises UsageError where it cannot listen.
    """

    def __init__(self, listen: tuple[str, int], answer: Callable[[str], Page | None]) -> None:
        host, port = listen
        try:
            self._server = Server(host, port, answer)
        except OSError as error:
            raise UsageError(
                f"--listen: cannot listen on port {port} of {host or 'all addresses'}: "
                f"{error.strerror or error}",
                "choose an address of this machine and a free port",
            ) from None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.port

    def close(self) -> None:
        """End all that serves, within a second."""
        self._server.close()


def page_of_reasons(reasons: tuple[str, ...], well: str) -> Page:
    """Give a page of all that is wrong, or of `well` where nothing is."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return page_of(status, "\n".join(reasons) or well)
