"""The parts of a service's address, in which case matters everywhere. Pure."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from sidecar.runner.notify.services import Unusable

_ON = frozenset({"yes", "true", "1", "y", "on"})
_OFF = frozenset({"no", "false", "0", "n", "off"})
_HOST = re.compile(r"(?P<host>[^:\[\]]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}")


@dataclass(frozen=True, slots=True)
class Parts:
    """An address, taken apart and decoded; what is not there is empty."""

    scheme: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    host: str = field(repr=False)
    port: str = field(repr=False)
    path: tuple[str, ...] = field(repr=False)
    query: tuple[tuple[str, str], ...] = field(repr=False)
    fragment: str = field(repr=False)
    raw_path: str = field(repr=False)

    def need(self, name: str) -> str:
        """Give the user, the password or the host. Raises Unusable if it is empty."""
        found = {"user": self.user, "password": self.password, "host": self.host}[name]
        if not found:
            raise Unusable(f"a {self.scheme} address lacks a part: there is no {name} in it")
        return found

    def need_path(self) -> tuple[str, ...]:
        """Give the parts of the path, of which there is one at least. Raises Unusable."""
        if not self.path:
            raise Unusable(f"a {self.scheme} address has nothing behind its host")
        return self.path

    def option(self, name: str) -> str:
        """Give an option of the query; case does not matter in its name."""
        return next((value for key, value in self.query if key.lower() == name), "")

    def is_on(self, name: str) -> bool:
        """Whether an option says yes."""
        return self.option(name).lower() in _ON

    def is_off(self, name: str) -> bool:
        """Whether an option says no."""
        return self.option(name).lower() in _OFF

    def number(self, name: str, default: int) -> int:
        """Give an option that is a whole number. Raises Unusable."""
        text = self.option(name)
        try:
            return int(text) if text else default
        except ValueError:
            raise Unusable(f"{name} of a {self.scheme} address is no number") from None

    def named(self, **names: str) -> dict[str, str]:
        """Give the options that are there, under the names that the service has for them."""
        return {theirs: value for ours, theirs in names.items() if (value := self.option(ours))}

    def web(self, path: str, *, is_plain: bool | None = None) -> str:
        """Give the http(s) address of a path at this host. Raises Unusable."""
        plain = self.is_on("disabletls") if is_plain is None else is_plain
        port = f":{self.port}" if self.port else ""
        return f"{'http' if plain else 'https'}://{self.need('host')}{port}{path}"


def read_parts(address: str) -> Parts:
    """Take an address apart. Raises Unusable, which does not show it."""
    try:
        split = urlsplit(address.strip())
        query = tuple(parse_qsl(split.query, keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise Unusable("a shoutrrr address is no address") from None
    scheme = split.scheme.lower()
    if not _SCHEME.fullmatch(scheme) or not address.strip()[len(scheme) :].startswith("://"):
        raise Unusable("a shoutrrr address names no service", "write SERVICE://...")
    login, _, place = split.netloc.rpartition("@")
    found = _HOST.fullmatch(place)
    if found is None:
        raise Unusable(f"a {scheme} address has no host, or no port, that could be one")
    user, _, password = login.partition(":")
    path = tuple(unquote(part) for part in split.path.split("/") if part)
    return Parts(
        scheme,
        unquote(user),
        unquote(password),
        unquote(found["host"]),
        found["port"] or "",
        path,
        query,
        unquote(split.fragment),
        split.path,
    )
