"""Whether Backrest's API answers us: then Backrest is the only writer of its document."""

import logging
import threading
from collections.abc import Callable

from sidecar.backrest.api_api import ApiError, BackrestApi
from sidecar.lib.log import log_event

_log = logging.getLogger(__name__)

_FRESH_SECONDS = 3.0


class Door:
    """Knocks at the API, and remembers the answer for a few seconds; thread-safe.

    `api` is used by this alone and has a short timeout; None: there is none, ever.
    """

    def __init__(self, api: BackrestApi | None, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._is_open = False
        self._asked: float | None = None
        self._told: str | None = None

    def is_open(self) -> bool:
        """Tell whether the API answers with our credentials; may take its timeout."""
        if self._api is None:
            return False
        with self._lock:
            now = self._clock()
            if self._asked is None or now - self._asked >= _FRESH_SECONDS:
                self._is_open = self._knock(self._api)
                # An answer that took long is fresh all the same.
                self._asked = self._clock()
            return self._is_open

    def shut(self) -> None:
        """Take note that a call just failed."""
        with self._lock:
            self._is_open, self._asked = False, self._clock()

    def _knock(self, api: BackrestApi) -> bool:
        try:
            api.get_config()
        except ApiError as error:
            self._tell(error.kind, error.message)
            return False
        self._tell("", "")
        return True

    def _tell(self, kind: str, reason: str) -> None:
        if kind == self._told:
            return
        if kind:
            log_event(_log, logging.WARNING, "apply.api-closed", kind=kind, reason=reason)
        elif self._told is not None:
            log_event(_log, logging.INFO, "apply.api-open")
        self._told = kind
