"""Keep the lines of a listing until it is complete: in memory, then on disk."""

import tempfile
from collections.abc import Callable, Iterator
from typing import IO

_IN_MEMORY = 1 << 22


def complete_lines(run: Callable[[Callable[[bytes], None]], None]) -> Iterator[bytes]:
    """Run what passes lines on, without their newlines; return them once it has ended well.

    They are kept in memory up to 4 MiB, then in a file that nobody else sees.
    """
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
    try:
        run(lambda line: _add(file, line))
    except BaseException:
        file.close()
        raise
    return _lines(file)


def _add(file: IO[bytes], line: bytes) -> None:
    file.write(line)
    file.write(b"\n")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        for line in file:
            yield line[:-1]
