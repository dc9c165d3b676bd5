"""Read the document for the runner: the last good one is executed, a bad one is logged."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sidecar.backrest.document import parse_document
from sidecar.backrest.reading import Config, read_config
from sidecar.backrest.rules import check_document, check_version
from sidecar.lib.errors import DocumentError, SidecarError, StoreError
from sidecar.lib.log import log_event
from sidecar.lib.read_file import read_file

# More than any document has; a device or a pipe has no end.
_LIMIT = 256 * 1024 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The document that is executed, and what is wrong with the file as it is now.

    `config` is the last good document, None as long as there was none; `trouble` is one
    sentence, empty while the file is what is executed. `version` counts good documents.
    """

    config: Config | None = None
    trouble: str = ""
    version: int = 0


class Loader:
    """Reads the document at `path` when `refresh` is called, and parses it if it has changed.

    `today` gives the date from which schedules must fire some day. Used by one thread.
    """

    def __init__(self, path: Path, today: Callable[[], date] = date.today) -> None:
        self._path = path
        self._today = today
        self._content: bytes | None = None
        self.loaded = Loaded()

    def refresh(self) -> Loaded:
        """Read the file again; never raises for what is in it."""
        try:
            content = read_bytes(self._path)
            if content != self._content:
                self._take(content)
        except SidecarError as error:
            self._refuse(str(error))
        return self.loaded

    def _take(self, content: bytes) -> None:
        config = parse_config(content, self._path, self._today())
        self._content = content
        self.loaded = Loaded(config, "", self.loaded.version + 1)
        counts = {"plans": len(config.plans), "repos": len(config.repos)}
        log_event(_log, logging.INFO, "document.loaded", config=str(self._path), **counts)

    def _refuse(self, trouble: str) -> None:
        # What is bad now may be what was good before: then it has to be read again.
        self._content = None
        if trouble != self.loaded.trouble:
            kept = "the last good document" if self.loaded.config else "none"
            log_event(_log, logging.ERROR, "document.refused", reason=trouble, executed=kept)
        self.loaded = Loaded(self.loaded.config, trouble, self.loaded.version)


def load(path: Path) -> Config:
    """Read a document once; raises StoreError or DocumentError, naming the file."""
    return parse_config(read_bytes(path), path, date.today())  # noqa: DTZ011 - the local day


def read_bytes(path: Path) -> bytes:
    """Read the file; raises StoreError."""
    try:
        content = read_file(path, _LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"there is no document at {path}",
            "name it by --config, or create one by backrest-sidecar init",
        ) from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > _LIMIT:
        raise StoreError(f"{path} is larger than {_LIMIT >> 20} MiB")
    return content


def parse_config(content: bytes, path: Path, today: date) -> Config:
    """Parse and check a document; raises DocumentError naming the file and what is wrong."""
    try:
        document = parse_document(content)
        version = check_version(document.root)
        # One repository that is of no use to restic is no reason to run no other.
        faults = [version] if version else check_document(document.root, today, any_engine=True)
    except DocumentError as error:
        raise DocumentError(f"{path}: {error.message}", error.hint) from None
    if faults:
        first = faults[0]
        more = f", and {len(faults) - 1} more" if faults[1:] else ""
        raise DocumentError(
            f"{path}: {first.pointer or 'document'}: {first.message}{more}", first.hint
        )
    return read_config(document.root)
