"""Replace a small file of ours in one step.

Imports next to nothing, because `healthcheck`, which runs every few seconds, imports it.
"""

import os
from pathlib import Path


def write_small(directory: Path, name: str, content: bytes, *, durable: bool) -> None:
    """Replace a small file, making its directory; only its owner can read it. Raises OSError.

    `durable` means that it also survives a loss of power.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    part = directory / f".{name}.{os.urandom(4).hex()}.part"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - opened with a mode of its own
            file.write(content)
            file.flush()
            if durable:
                os.fsync(descriptor)
        part.replace(directory / name)
    except OSError:
        part.unlink(missing_ok=True)
        raise
