"""What a backup leaves on the disk as long as it runs, for the next start if it is killed."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import RootModel, ValidationError

from sidecar.lib.errors import StoreError
from sidecar.lib.write_file import write_small

FILE = "backup-once.json"


@dataclass(frozen=True, slots=True)
class Begun:
    """When it began, in unix seconds of the engine's clock; `shot`: what its container is called.

    `shot` is empty where it makes none.
    """

    at: float
    shot: str


_BYTES = RootModel[Begun]


def write_begun(state: Path, begun: Begun) -> None:
    """Write it durably, before anything is stopped. Raises StoreError: stop nothing then."""
    try:
        write_small(state, FILE, _BYTES(begun).model_dump_json().encode(), durable=True)
    except OSError as error:
        raise StoreError(
            f"{state / FILE} cannot be written: {error.strerror}",
            "free space there, or name another folder by --runner-state-dir",
        ) from None


def read_begun(state: Path) -> Begun | None:
    """Read it; None if there is none, or none that can be read."""
    try:
        return _BYTES.model_validate_json((state / FILE).read_bytes()).root
    except (OSError, ValidationError):
        return None


def remove_begun(state: Path) -> None:
    """Forget it: nothing is left to be put right."""
    (state / FILE).unlink(missing_ok=True)
