"""Hand rsync the literal list of what a plan leaves out."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sidecar.engines.excludes.walk import Excludes, Fate, Seen, walk
from sidecar.engines.marker import MARKER

_MARKER = b"/" + MARKER.encode()
_WILD = frozenset(b"*?[")
_ESCAPED = (b"\\", b"*", b"?", b"[")


@contextlib.contextmanager
def exclude_file(
    sources: Sequence[str], excludes: Excludes, root: str, own: str = ""
) -> Iterator[str]:
    """Lend the path of a file with patterns for what is left out of a copy of `root`.

    Each of them means one path and what is below it. `own` is the folder of the repository, which
    is left out too, by whatever path a source leads to it; empty: no source can. The path is empty
    if nothing is left out. Raises OSError.
    """
    folder = os.fsencode(own)
    own_excludes = replace(excludes, folders=excludes.folders | ({folder} if own else frozenset()))
    # Where the repository is on this machine, its marker tells of it.
    told = {MARKER.encode()} if own else frozenset()
    seen = walk([os.fsencode(source) for source in sources], own_excludes, told)
    paths = list(_left_out(seen, folder))
    if not paths:
        yield ""
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(render_patterns(paths, os.fsencode(root)))
        file.flush()
        yield file.name


def _left_out(seen: Iterable[Seen], own: bytes) -> Iterator[bytes]:
    for one in seen:
        if one.fate is Fate.LEFT_OUT:
            yield one.path
        # It may be mounted twice, or be reached by a link, so that paths tell nothing.
        if own and one.path.endswith(_MARKER):
            folder = one.path.removesuffix(_MARKER) or b"/"
            if os.path.samestat(os.stat(folder), os.stat(own)):  # noqa: PTH116
                yield folder


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
