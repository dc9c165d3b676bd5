"""Sending one request by HTTP or Apprise, in the process that is made for it (see `sender`).

Libraries put addresses, and so tokens, into what they raise and log. Of that only the fixed
sentences below leave the process.
"""

import contextlib
import importlib
import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from sidecar.runner.notify.addresses import ENCODING
from sidecar.runner.notify.messages import AppriseRequest, Failure, HttpRequest, Request

SECONDS = 10.0
"""How long each wait for a server may be."""
_NO_APPRISE = "Apprise is not installed, which this address needs: install backrest-sidecar[runner]"

_MOST_REDIRECTS = 3
_MOVED = frozenset({301, 302, 307, 308})
_SEEN = 303
_OVERLOADED = frozenset({408, 425, 429})
_NOT_UNDERSTOOD = f"Apprise does not understand this address: {ENCODING}"
_FAILURES = (requests.RequestException, HTTPError, OSError, ValueError)
_NETWORK = (
    (re.compile(r"timed? ?out", re.IGNORECASE), "it did not answer in time"),
    (re.compile(r"refused", re.IGNORECASE), "the connection was refused"),
    (
        re.compile(r"not known|resolution|resolve|No address", re.IGNORECASE),
        "its name is not known",
    ),
    (re.compile(r"certificate|SSL|TLS", re.IGNORECASE), "no secure connection could be made"),
    (re.compile(r"closed|reset|disconnect|EOF", re.IGNORECASE), "the connection broke off"),
)
_STATUS = re.compile(r"\berror=([3-5][0-9]{2})")
_LOGIN = re.compile(r"authenti|credential|\b(?:401|403|535)\b", re.IGNORECASE)


def send_request(request: Request) -> Failure | None:
    """Send it; None if that succeeded. Raises nothing."""
    if isinstance(request, HttpRequest):
        return _post(request)
    return _by_apprise(request)


def check_addresses(urls: Sequence[str]) -> list[str]:
    """Return for each Apprise URL what is wrong with it; empty: nothing."""
    apprise = _apprise()
    if apprise is None:
        return [_NO_APPRISE] * len(urls)
    with _caught():
        found = [apprise.Apprise.instantiate(url, suppress_exceptions=True) for url in urls]
    return ["" if plugin else _NOT_UNDERSTOOD for plugin in found]


def _post(request: HttpRequest) -> Failure | None:
    url = request.url
    try:
        with requests.Session() as session:
            for _ in range(_MOST_REDIRECTS):
                status, moved = _ask(session, request, url)
                if not moved:
                    return _failure_of_status(status)
                if urlsplit(url).scheme == "https" and urlsplit(moved).scheme != "https":
                    return Failure("it leads to an address that is not secure", is_final=True)
                url = moved
    except _FAILURES as error:
        return Failure(_network_reason(str(error)) or "it could not be reached", is_down=True)
    return Failure("it leads from one address to another", is_final=True)


def _ask(session: requests.Session, request: HttpRequest, url: str) -> tuple[int, str]:
    """Send it to an address; return the status, and the address of a redirect or nothing."""
    headers = {name: value.encode() for name, value in request.headers}
    with session.request(
        request.method,
        url,
        data=request.body.encode("utf-8", "replace"),
        headers={"Content-Type": request.content_type, "User-Agent": "backrest-runner", **headers},
        timeout=SECONDS,
        allow_redirects=False,
        verify=_authorities(),
        # The answer's body is of no interest, and may have no end.
        stream=True,
    ) as answer:
        place = answer.headers.get("Location", "")
        return answer.status_code, urljoin(url, place) if answer.status_code in _MOVED else ""


def _authorities() -> str | bool:
    """Return the file of the authorities that are trusted; True: those of the system."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True


def _failure_of_status(status: int) -> Failure | None:
    if 200 <= status < 300 or status == _SEEN:
        return None
    is_down = status >= 500 or status in _OVERLOADED
    # Refused or not known: it is the address or the message that is wrong.
    return Failure(f"it answered {status}", is_down, is_final=400 <= status < 500 and not is_down)


def _network_reason(text: str) -> str:
    """Return the sentence for the network failure that a text names; empty: it names none."""
    return next((reason for pattern, reason in _NETWORK if pattern.search(text)), "")


def _by_apprise(request: AppriseRequest) -> Failure | None:
    apprise = _apprise()
    if apprise is None:
        return Failure(_NO_APPRISE, is_final=True)
    failure = _notify(apprise, request, request.url)
    if failure is not None and request.second:
        failure = _notify(apprise, request, request.second)
    return failure


def _notify(apprise: Any, request: AppriseRequest, url: str) -> Failure | None:
    asset = apprise.AppriseAsset(
        app_id="backrest-runner",
        app_desc="backrest-runner",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
    )
    with _caught() as log:
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if not plugin:
            return Failure(_NOT_UNDERSTOOD, is_final=True)
        if plugin.verify_certificate:
            # A file of authorities is what requests takes here too.
            plugin.verify_certificate = _authorities()
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, SECONDS)
        plugin.socket_read_timeout = min(plugin.socket_read_timeout, SECONDS)
        if "overflow=" not in url:
            plugin.overflow_mode = "truncate"
        sender = apprise.Apprise(asset=asset)
        sender.add(plugin)
        is_sent = sender.notify(
            body=request.body,
            title=request.title,
            notify_type=request.level,
            body_format=request.form,
        )
    return None if is_sent else _failure_of_log(log.getvalue())


def _failure_of_log(text: str) -> Failure:
    if _LOGIN.search(text):
        return Failure("the login was refused")
    found = _STATUS.search(text)
    if found and (failure := _failure_of_status(int(found[1]))):
        return failure
    reason = _network_reason(text)
    return Failure(reason or "it did not take the message", is_down=bool(reason))


def _apprise() -> ModuleType | None:
    try:
        return importlib.import_module("apprise")
    except ImportError:
        return None


@contextlib.contextmanager
def _caught() -> Iterator[io.StringIO]:
    """Catch what Apprise logs, so that it reaches nobody else."""
    log = io.StringIO()
    logger = logging.getLogger("apprise")
    listener = logging.StreamHandler(log)
    was, logger.propagate = logger.propagate, False
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        logger.removeHandler(listener)
        logger.propagate = was
        logger.setLevel(level)
