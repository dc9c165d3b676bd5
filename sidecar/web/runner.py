"""The runner's pages: /healthz, /readyz, /metrics and /status.

They show no secret, see `sidecar.runner.status`. Whoever can reach the address may read them,
so by default there is none.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus

from sidecar.runner.metrics import METRICS
from sidecar.runner.status import status_json
from sidecar.runner.status_collector import StatusCollector
from sidecar.service.health import HealthAspect
from sidecar.service.metrics import MEDIA_TYPE, render_metrics
from sidecar.web.server import Page, StatusPages, health_page


class RunnerPages(StatusPages):
    """Serves the pages on `listen`, a host and a port, until it is closed.

    `allowed` are further names by which clients may call this machine.
    Raises UsageError if it cannot listen.
    """

    def __init__(
        self, listen: tuple[str, int], status: StatusCollector, allowed: Iterable[str] = ()
    ) -> None:
        self._status = status
        super().__init__(listen, self._page, allowed)

    def _page(self, path: str) -> Page | None:
        if path == "/healthz":
            return health_page(self._status.health().sentences, "all is well")
        if path == "/readyz":
            return health_page(self._status.health().against(HealthAspect.READY), "ready")
        if path == "/metrics":
            metrics = render_metrics(METRICS, self._status.collect())
            return Page(HTTPStatus.OK, metrics, MEDIA_TYPE)
        if path == "/status":
            text = json.dumps(status_json(self._status.collect()), indent=2)
            return Page(HTTPStatus.OK, f"{text}\n".encode(), "application/json")
        return None
