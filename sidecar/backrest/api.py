"""Call Backrest's HTTP API: documents in, documents and operations out, ApiError on failure.

No foreign text stands in an error: what Backrest refuses it quotes, secrets and all.
"""

import json
import os
import re
import struct
from base64 import b64decode
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Required

import requests
from pydantic import TypeAdapter, ValidationError
from requests.auth import HTTPBasicAuth

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict
from urllib3.exceptions import HTTPError

from sidecar.backrest.operations import Operation, parse_operations
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.lib.threads import Closable

_ADDRESS = re.compile(r"https?://[^/@?#\s]+(?:/[^@?#\s]*)?")
_CONNECT_SECONDS = 5.0
_JSON = {"Content-Type": "application/json"}
_STREAMED = {"Content-Type": "application/connect+json"}
_FRAME = struct.Struct(">BI")
_END_OF_STREAM = 2
_LOG_LIMIT = 64 * 1024
_FAILURES = (requests.RequestException, HTTPError, OSError)
# What a proxy answers for a Backrest that it cannot reach.
_GATEWAY = frozenset({502, 503, 504})


class ApiTrouble(StrEnum):
    """Why a call failed, as far as callers do something else about it."""

    UNREACHABLE = "unreachable"
    """No answer, or none in time: whether the call had an effect is not known."""
    REFUSED_LOGIN = "refused-login"
    """Backrest does not accept our user name or password."""
    STALE = "stale"
    """The configuration was saved by someone else since it was read."""
    INVALID = "invalid"
    """Backrest does not accept what was sent."""
    OTHER = "other"
    """Anything else, also another program at that address."""


class ApiError(SidecarError):
    """A call that failed: `kind` is for programs, the sentence and its hint for people."""

    def __init__(self, kind: ApiTrouble, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind = kind


class _ServedConfig(TypedDict, total=False):
    # Always there in a configuration, and rarely elsewhere.
    version: Required[int]


class _Fault(TypedDict, total=False):
    code: Required[str]


class _Value(TypedDict, total=False):
    value: str


_CONFIG = TypeAdapter(_ServedConfig)
_VALUE = TypeAdapter(_Value)
_FAULT = TypeAdapter(_Fault)


_MEANINGS: dict[str, tuple[ApiTrouble, str, str]] = {
    "failed_precondition": (
        ApiTrouble.STALE,
        "Backrest's configuration was saved by someone else in the meantime",
        "nothing was changed; it is read again",
    ),
    "invalid_argument": (
        ApiTrouble.INVALID,
        "Backrest at {address} does not accept what {name} was sent",
        "nothing was changed; its log tells more",
    ),
    "not_found": (
        ApiTrouble.OTHER,
        "Backrest at {address} does not know what {name} asks for",
        "it may not have loaded the present document yet",
    ),
}
_OTHERWISE = (
    ApiTrouble.OTHER,
    "Backrest at {address} answered {name} with an error ({code})",
    "its log tells more",
)


class BackrestApi(Closable):
    """Calls to the Backrest at `url`, each wait bounded by `timeout` seconds.

    `user` is empty where Backrest's authentication is off.

    Every call raises ApiError. Redirects are not followed and proxies not used, so that
    the password goes nowhere else. Certificates are checked, against REQUESTS_CA_BUNDLE or
    SSL_CERT_FILE where one is set. Not thread-safe: a thread has its own.
    """

    def __init__(
        self, url: str, user: str = "", password: str = "", *, timeout: float = 30.0
    ) -> None:
        if not _ADDRESS.fullmatch(url):
            raise UsageError(
                "--backrest-url is no address of a Backrest that can be used",
                "write http://host:port or https://host, without a user or password in it",
            )
        self.address = url.rstrip("/")
        self._user = user
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
        self._session.verify = bundle or True
        if user:
            self._session.auth = HTTPBasicAuth(user.encode(), password.encode())

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        self._session.close()

    def get_config(self) -> bytes:
        """Get the configuration as Backrest holds it, byte for byte as it is served.

        Keys and password hashes are masked in it, the passwords of repositories are not.
        """
        return self._config("GetConfig", b"{}")

    def set_config(self, content: bytes) -> bytes:
        """Replace the whole configuration: the new one as it is served.

        Sent byte for byte, so what is left out is gone. Raises STALE when its modno is
        not the current one, INVALID when Backrest refuses it.
        """
        return self._config("SetConfig", content)

    def operations(self, since: int = 0) -> list[Operation]:
        """List the operations that were changed at modno `since` or later, by their ids."""
        selector = {"modnoGte": str(since)} if since else {}
        body = json.dumps({"selector": selector}).encode()
        answer = self._call("GetOperations", body, self._timeout)
        try:
            return parse_operations(answer)
        except ValueError:
            raise self._not_backrest("GetOperations") from None

    def backup(self, plan_id: str, timeout: float | None) -> None:
        """Run a plan; returns when it ended without an error, perhaps with a warning.

        `timeout` in seconds bounds the wait, not the run: that goes on after UNREACHABLE.
        OTHER may mean that the run failed; the log of operations says whether it did.
        """
        body = json.dumps({"value": plan_id}).encode()
        self._call("Backup", body, timeout)

    def log(self, ref: str) -> str:
        """Return the last text of what an operation wrote, by `Operation.log`.

        It may hold secrets of those who wrote the hook, whose script stands in it. For a text
        that is gone Backrest gives a sentence that says so.
        """
        body = json.dumps({"ref": ref}).encode()
        # A stream in both directions: each message behind a byte of flags and its length.
        framed = _FRAME.pack(0, len(body)) + body
        content = self._call("GetLogs", framed, self._timeout, _STREAMED)
        try:
            values = [_VALUE.validate_json(part).get("value", "") for part in _messages(content)]
            parts = [b64decode(value) for value in values]
        except (ValueError, struct.error):
            raise self._not_backrest("GetLogs") from None
        return b"".join(parts)[-_LOG_LIMIT:].decode("utf-8", "replace")

    def _config(self, name: str, body: bytes) -> bytes:
        content = self._call(name, body, self._timeout)
        try:
            _CONFIG.validate_json(content, strict=True)
        except ValidationError:
            raise self._not_backrest(name) from None
        return content

    def _call(
        self,
        name: str,
        body: bytes,
        seconds: float | None,
        headers: Mapping[str, str] = _JSON,
    ) -> bytes:
        try:
            response = self._session.post(
                f"{self.address}/v1.Backrest/{name}",
                data=body,
                headers=headers,
                timeout=(_CONNECT_SECONDS, seconds),
                allow_redirects=False,
            )
        except _FAILURES as error:
            # Their texts may quote headers or addresses, hence no cause either.
            raise self._unreachable(name, error) from None
        if response.status_code != 200:
            raise self._refused(name, response.status_code, response.content)
        return response.content

    def _unreachable(self, name: str, error: Exception) -> ApiError:
        # Only a file of certificates that is not there gives an error of no library's own.
        is_foreign = not isinstance(error, requests.RequestException | HTTPError)
        if is_foreign or isinstance(error, requests.exceptions.SSLError):
            return ApiError(
                ApiTrouble.UNREACHABLE,
                f"no TLS connection to {self.address} could be made",
                "correct --backrest-url, or name its authority's certificate by SSL_CERT_FILE",
            )
        if isinstance(error, requests.ReadTimeout):
            return ApiError(
                ApiTrouble.UNREACHABLE,
                f"Backrest at {self.address} did not answer {name} in time",
                "it may be busy; its log tells more",
            )
        return ApiError(
            ApiTrouble.UNREACHABLE,
            f"Backrest at {self.address} cannot be reached for {name}",
            "see whether it runs, and whether --backrest-url leads there",
        )

    def _refused(self, name: str, status: int, content: bytes) -> ApiError:
        if status in {401, 403}:
            return self._refused_login()
        if status in _GATEWAY:
            return self._unreachable(name, requests.ConnectionError())
        code = _code_of(content)
        if not code:
            return self._not_backrest(name)
        if code == "unauthenticated":
            return self._refused_login()
        kind, message, hint = _MEANINGS.get(code, _OTHERWISE)
        return ApiError(kind, message.format(name=name, code=code, address=self.address), hint)

    def _refused_login(self) -> ApiError:
        if not self._user:
            return ApiError(
                ApiTrouble.REFUSED_LOGIN,
                f"Backrest at {self.address} asks for a login, and we have none",
                "set --backrest-user and --backrest-password-file, or their variables",
            )
        return ApiError(
            ApiTrouble.REFUSED_LOGIN,
            f"Backrest at {self.address} refused our user name or password",
            "correct --backrest-user and its password file",
        )

    def _not_backrest(self, name: str) -> ApiError:
        return ApiError(
            ApiTrouble.OTHER,
            f"what answers {name} at {self.address} is no Backrest that we know",
            "correct --backrest-url; it names the address of the web interface",
        )


def _messages(content: bytes) -> Iterator[bytes]:
    """Yield the messages of a stream; raises ValueError for an error at its end."""
    at = 0
    while at < len(content):
        flags, length = _FRAME.unpack_from(content, at)
        at += _FRAME.size
        message = content[at : at + length]
        at += length
        if flags & _END_OF_STREAM:
            if b'"error"' in message:
                raise ValueError
            return
        yield message


def _code_of(content: bytes) -> str:
    """Return the code of an error as Connect writes it, "" if it is none."""
    try:
        code = _FAULT.validate_json(content, strict=True)["code"]
    except ValidationError:
        return ""
    return code if re.fullmatch("[a-z_]{1,40}", code) else ""
