"""What a stream says: its last bytes, and its lines for somebody."""

from collections.abc import Callable

_LONGEST_LINE = 1 << 20


class Tail:
    """Keeps the last bytes of a stream, and cuts it into lines for somebody."""

    def __init__(self, on_line: Callable[[bytes], None] | None, most: int) -> None:
        self.kept = bytearray()
        self._on_line = on_line
        self._most = most
        self._open = bytearray()
        self._is_too_long = False

    def take(self, piece: bytes) -> None:
        """Take what was read."""
        self.kept += piece
        if len(self.kept) > self._most:
            del self.kept[: -self._most]
        if self._on_line is not None:
            *ends, rest = piece.split(b"\n")
            for end in ends:
                self._lengthen(end)
                self.finish()
            self._lengthen(rest)

    def finish(self) -> None:
        """End the line: hand it on, unless it is empty or was longer than any line is."""
        line, is_too_long = bytes(self._open), self._is_too_long
        self._open.clear()
        self._is_too_long = False
        if self._on_line is not None and line and not is_too_long:
            self._on_line(line)

    def _lengthen(self, piece: bytes) -> None:
        self._is_too_long = self._is_too_long or len(self._open) + len(piece) > _LONGEST_LINE
        if not self._is_too_long:
            self._open += piece
