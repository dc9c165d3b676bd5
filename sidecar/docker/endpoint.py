"""Where Docker listens: its address, and the certificates for it.

As the docker client decides it, so that hooks and we speak to the same one: a flag, else
DOCKER_HOST, else the context of DOCKER_CONTEXT or of `docker context use`, else the usual
socket.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.lib.errors import InventoryError, UsageError
from sidecar.lib.read_file import read_file

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
UNIX = "unix://"
"""How the address of a socket begins."""

# Labels of at most 63 letters, also of other alphabets.
_HOST = re.compile(r"(?:(?!-)[\w-]{1,63}\.)*(?!-)[\w-]{1,63}\.?")
_LONGEST_SOCKET = 107
_ADDRESS = re.compile(r"unix:///.+|(?:tcp|https?)://[^/@]+(?:/[^@]*)?")
_FORMS = "write /path/to/docker.sock, unix:///path, tcp://host:port or https://host:port"
_DEFAULT_CONTEXT = "default"
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificates for an engine: paths of PEM files, "" for one that is not used.

    `ca` is whom we trust, "" for the authorities of this machine; `verify` whether the
    engine's certificate is checked at all. `named_by` says what asks for them, for hints.
    """

    ca: str
    cert: str
    key: str
    verify: bool
    named_by: str

    def require(self, address: str) -> None:
        """Raise InventoryError, with what to do, if a file for the engine is not there."""
        for path in filter(None, (self.ca if self.verify else "", self.cert, self.key)):
            if not Path(path).is_file():
                raise InventoryError(
                    f"{self.named_by} asks for TLS to {address}, and there is no file {path}",
                    "put ca.pem, cert.pem and key.pem of the engine into one folder and name it "
                    "in DOCKER_CERT_PATH; unset DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for an "
                    "engine without TLS",
                )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of Docker as `parse_address` gives it; `tls` is None for plain text.

    `https` without certificates has None too: the authorities of this machine are trusted.
    `context` is the name of the docker context that the address is from, else "".
    """

    address: str
    tls: TlsFiles | None = None
    context: str = ""


def find_endpoint(url: str | None, environ: Mapping[str, str] | None = None) -> Endpoint:
    """Return the endpoint of a flag's value, else of DOCKER_HOST, the context, the usual socket.

    Raises UsageError for an address or a context that cannot be used.
    """
    variables = os.environ if environ is None else environ
    named = (url or variables.get("DOCKER_HOST") or "").strip()
    name = "" if named else _context_name(variables)
    if name:
        return _of_context(name, variables)
    address = _checked(named or DEFAULT_ADDRESS)
    return Endpoint(address, _tls_of_variables(variables) if _takes_tls(address) else None)


def parse_address(url: str | None) -> str:
    """Return the address of Docker as `find_endpoint` finds it.

    A bare path such as `/run/docker.sock` is one of a socket. Raises UsageError.
    """
    return find_endpoint(url).address


def _checked(written: str) -> str:
    address = UNIX + written if written.startswith("/") else written
    # A password is shown nowhere, and an address that has one is none.
    shown = re.sub(r"//.*@", "//***@", address)
    if not _ADDRESS.fullmatch(address):
        raise UsageError(f"{shown} is no address of a Docker engine that can be used", _FORMS)
    if not address.startswith(UNIX):
        _check_host(address, shown)
    elif len(os.fsencode(address.removeprefix(UNIX))) > _LONGEST_SOCKET:
        raise UsageError(
            f"{shown} is longer than the {_LONGEST_SOCKET} bytes that a socket's path may have",
            "name a link with a shorter path",
        )
    return address


def _check_host(address: str, shown: str) -> None:
    """Raise UsageError if the host or the port cannot be used; a guessed port is no help."""
    refused = f"{shown} is no address of a Docker engine that can be used"
    usual = "an engine listens on 2375, or on 2376 with TLS"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        message = f"{refused}: its port is no number from 1 to 65535, or its host no name"
        raise UsageError(message, f"write tcp://host:port; {usual}") from None
    if not host:
        raise UsageError(f"{refused}: it names no host", "write tcp://host:port")
    if parts.query or parts.fragment or not (":" in host or _HOST.fullmatch(host)):
        part = "`?` or `#` has no meaning there" if _HOST.fullmatch(host) else "its host is no name"
        raise UsageError(f"{refused}: {part}", f"write {parts.scheme}://host:port; {usual}")
    if not port:
        name = f"[{host}]" if ":" in host else host
        hint = f"write {parts.scheme}://{name}:PORT{parts.path}; {usual}"
        raise UsageError(f"{refused}: it has no port", hint)


def _takes_tls(address: str) -> bool:
    return address.startswith(("tcp://", "https://"))


def _tls_of_variables(variables: Mapping[str, str]) -> TlsFiles | None:
    """Read DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as the client library does."""
    named, verify = variables.get("DOCKER_CERT_PATH"), bool(variables.get("DOCKER_TLS_VERIFY"))
    if not named and not verify:
        return None
    folder = Path(named) if named else _configuration(variables)
    ca, cert, key = (str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    asks = "DOCKER_TLS_VERIFY" if verify else "DOCKER_CERT_PATH"
    return TlsFiles(ca if verify else "", cert, key, verify, asks)


def _configuration(variables: Mapping[str, str]) -> Path:
    """Return the folder in which the docker client keeps what it remembers."""
    if named := variables.get("DOCKER_CONFIG"):
        return Path(named)
    return Path(variables.get("HOME") or Path.home()) / ".docker"


def _context_name(variables: Mapping[str, str]) -> str:
    """Return the name of the context in use; empty for the one that is no file."""
    name = variables.get("DOCKER_CONTEXT") or ""
    if not name:
        try:
            kept = _read_object(_configuration(variables) / "config.json")
        except (OSError, ValueError):
            # The docker client warns and goes on with its usual socket.
            kept = {}
        current = kept.get("currentContext")
        name = current if isinstance(current, str) else ""
    return "" if name == _DEFAULT_CONTEXT else name


def _of_context(name: str, variables: Mapping[str, str]) -> Endpoint:
    folder = _configuration(variables) / "contexts"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    said = "DOCKER_CONTEXT" if variables.get("DOCKER_CONTEXT") else "`docker context use`"
    hint = "see `docker context ls`, or name the engine with --docker-sock or DOCKER_HOST"
    try:
        kept = _read_object(folder / "meta" / digest / "meta.json")
        entry = kept["Endpoints"]["docker"]
        host, skips = entry.get("Host") or DEFAULT_ADDRESS, bool(entry.get("SkipTLSVerify"))
        address = _checked(host.strip())
    except FileNotFoundError:
        message = f"the docker context {name}, chosen by {said}, does not exist"
        raise UsageError(message, hint) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        message = f"the docker context {name}, chosen by {said}, cannot be read"
        raise UsageError(message, hint) from None
    except UsageError as error:
        message = f"the docker context {name}, chosen by {said}, cannot be used: {error.message}"
        raise UsageError(message, hint) from None
    tls = _tls_of_context(name, folder / "tls" / digest / "docker", verify=not skips)
    return Endpoint(address, tls if _takes_tls(address) else None, name)


def _tls_of_context(name: str, folder: Path, *, verify: bool) -> TlsFiles | None:
    """Take what files a context has; none of them and nothing to skip is plain text."""
    ca, cert, key = (
        str(folder / one) if (folder / one).is_file() else ""
        for one in ("ca.pem", "cert.pem", "key.pem")
    )
    if verify and not (ca or cert or key):
        return None
    # A certificate is of use with its key only.
    pair = (cert, key) if cert and key else ("", "")
    return TlsFiles(ca, *pair, verify, f"the docker context {name}")


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a regular file. Raises OSError and ValueError."""
    try:
        found = json.loads(read_file(path, _MOST_BYTES))
    except RecursionError:
        raise ValueError(f"{path} is too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no object")  # noqa: TRY004 - as any other wrong content
    return found
