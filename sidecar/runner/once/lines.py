"""What a program says in pieces, as whole lines without secrets."""

from collections.abc import Callable, Iterable

from sidecar.engines.restic.masking import Masking

_MOST = 1 << 16
# Of values whose names do not give them away, those that may be secrets: no switch, no path.
_SHORTEST = 8
_SECRET_NAMES = ("PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "WEBHOOK")
_PLAIN_NAMES = ("RESTIC_REPOSITORY",)


class Lines:
    """Hands on line by line what `take` is given; `finish` hands on what has no end."""

    def __init__(self, masking: Masking, say: Callable[[str], None]) -> None:
        self._masking = masking
        self._say = say
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Take what was said next."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._hand_on(line)
        if len(self._rest) > _MOST:
            self.finish()

    def finish(self) -> None:
        """Hand on the rest."""
        if self._rest:
            self._hand_on(self._rest)
        self._rest = b""

    def _hand_on(self, line: bytes) -> None:
        self._say(self._masking.mask(line.decode("utf-8", "replace").rstrip("\r")))


def masking_of_variables(variables: Iterable[tuple[str, str]]) -> Masking:
    """Know the secrets among variables: by their names, else all that is no word or path."""
    return Masking(others=[value for name, value in variables if _is_secret(name, value)])


def _is_secret(name: str, value: str) -> bool:
    if name.startswith(_PLAIN_NAMES):
        return False
    if any(word in name.upper() for word in _SECRET_NAMES):
        return True
    return len(value) >= _SHORTEST and not value.startswith("/")
