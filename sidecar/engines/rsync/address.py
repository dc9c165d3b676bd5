"""Read the address of a repository of rsync's. Pure."""

import posixpath
import re
from dataclasses import dataclass

from sidecar.engines.base import EngineError, FailureClass

SCHEME = "rsync:"
_USER = r"(?:(?P<user>[^\s@:/\[\]-][^\s@:/\[\]]*)@)?"
_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s@:/\[\]-][^\s@:/\[\]]*)"
_REMOTE = re.compile(rf"{_USER}{_HOST}:(?P<folder>/.*)", re.DOTALL)
_SECOND_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FORMS = "write rsync:/folder, or rsync:user@host:/folder for one that is reached over ssh"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a repository lies.

    `host` is `user@host` or `host` as rsync spells it, empty for this machine; `folder` is an
    absolute path there.
    """

    host: str
    folder: str

    @property
    def ssh_host(self) -> str:
        """The host as ssh spells it: without the brackets of an IPv6 address."""
        return self.host.replace("[", "").replace("]", "")

    def at(self, path: str) -> str:
        """Return an absolute path of its machine as rsync is given it."""
        return f"{self.host}:{path}" if self.host else path


def parse_address(uri: str) -> Address:
    """Return the address in `rsync:/folder` or `rsync:user@host:/folder`. Raises EngineError."""
    rest = uri.removeprefix(SCHEME)
    if rest.startswith("//"):
        message = "a server that speaks rsync's own protocol can keep no snapshots"
        raise EngineError(FailureClass.UNKNOWN, message, _FORMS)
    if _SECOND_SCHEME.match(rest):
        message = "the address of the repository has two schemes"
        raise EngineError(FailureClass.UNKNOWN, message, _FORMS)
    found = _REMOTE.fullmatch(rest)
    host, folder = "", rest
    if found is not None and not rest.startswith("/"):
        host = f"{found['user']}@{found['host']}" if found["user"] else found["host"]
        folder = found["folder"]
    if not folder.startswith("/") or "\0" in folder:
        message = "the address of the repository names no absolute path"
        raise EngineError(FailureClass.UNKNOWN, message, _FORMS)
    folder = "/" + posixpath.normpath(folder).lstrip("/")
    if folder == "/":
        message = "the address of the repository is the root of a file system"
        raise EngineError(FailureClass.UNKNOWN, message, "name a folder of its own")
    return Address(host, folder)
