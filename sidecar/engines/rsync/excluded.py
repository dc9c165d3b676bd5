"""Hand rsync the literal list of what a plan leaves out."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sidecar.engines.excludes.walk import Excludes, Fate, walk

_WILD = frozenset(b"*?[")
_ESCAPED = (b"\\", b"*", b"?", b"[")


@contextlib.contextmanager
def exclude_file(
    sources: Sequence[str], excludes: Excludes, root: str, own: Sequence[str] = ()
) -> Iterator[str]:
    """Lend the path of a file with patterns for what is left out of a copy of `root`.

    Each of them means one path and what is below it; `own` are folders that are left out besides.
    The path is empty if nothing is left out. Raises OSError.
    """
    wanted = replace(excludes, folders=frozenset(map(os.fsencode, own)))
    seen = walk([os.fsencode(source) for source in sources], wanted)
    paths = [one.path for one in seen if one.fate is Fate.LEFT_OUT]
    if not paths:
        yield ""
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(render_patterns(paths, os.fsencode(root)))
        file.flush()
        yield file.name


def render_patterns(paths: Iterable[bytes], root: bytes) -> bytes:
    """Return patterns that mean exactly these absolute paths, each ended by NUL.

    They begin at `root`, and what is not below it is passed over. A backslash takes away the
    meaning of a sign only in a pattern that has some.
    """
    above = root.rstrip(b"/") + b"/"
    inner = (path[len(above) - 1 :] for path in paths if path.startswith(above))
    return b"".join(_escape(path) + b"\0" for path in inner)


def _escape(path: bytes) -> bytes:
    if _WILD.isdisjoint(path):
        return path
    for sign in _ESCAPED:
        path = path.replace(sign, b"\\" + sign)
    return path
