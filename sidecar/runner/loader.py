"""Read the two documents: the last good state of each is executed, a bad one is logged."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sidecar.backrest.document import parse_document
from sidecar.backrest.engine_name import RUNNABLE
from sidecar.backrest.reading import Config, Repo, read_config
from sidecar.backrest.rules import check_document, check_version
from sidecar.engines.access import expand
from sidecar.lib.errors import DocumentError, SidecarError, StoreError
from sidecar.lib.log import log_event
from sidecar.lib.read_file import read_file
from sidecar.runner.union import (
    DocumentChoice,
    DocumentFiles,
    DocumentName,
    DocumentNotice,
    Documents,
    NoticeReason,
    unite,
)

# More than any document has; a device or a pipe has no end.
_LIMIT = 256 * 1024 * 1024
_FLAGS = {DocumentName.CONFIG: "--config", DocumentName.RUNNER: "--runner-config"}
_log = logging.getLogger(__name__)


class MissingDocument(StoreError):
    """There is no file."""


@dataclass(frozen=True, slots=True)
class DocumentTrouble:
    """What is wrong with a file as it is now.

    `has_good` tells whether it had a good state before, which is executed.
    """

    name: DocumentName
    sentence: str
    has_good: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """The documents that are executed, and what is wrong with the files as they are now.

    `documents` holds the last good state of each, None as long as there was none; there are no
    `troubles` while the files are what is executed. `version` counts good states.
    """

    documents: Documents | None = None
    troubles: tuple[DocumentTrouble, ...] = ()
    version: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the files are what is executed."""
        return self.documents is not None and not self.troubles


class Loader:
    """Reads the two documents when `refresh` is called, and parses what has changed.

    `${NAME}` in the addresses of repositories is taken from `environ`. `today` gives the date from
    which schedules must fire some day. Where it `is_quiet` what united documents refuse is not
    logged: the caller shows it. Used by one thread.
    """

    def __init__(
        self,
        files: DocumentFiles,
        environ: Mapping[str, str],
        today: Callable[[], date] = date.today,
        *,
        is_quiet: bool = False,
    ) -> None:
        self._is_quiet = is_quiet
        self._choice = files.choice
        self._environ = environ
        self._config = _File(DocumentName.CONFIG, files.config, today)
        self._runner = _File(DocumentName.RUNNER, files.runner, today)
        self._told: frozenset[DocumentNotice] = frozenset()
        self.loaded = Loaded()

    @property
    def errors(self) -> tuple[SidecarError, ...]:
        """What is wrong with the files, as exceptions."""
        return tuple(one.error for one in (self._config, self._runner) if one.error is not None)

    def refresh(self) -> Loaded:
        """Read the files again, and log what is new; never raises for what is in them."""
        before = self.loaded.version
        loaded = self.read()
        self.log_troubles()
        if loaded.version != before:
            for one in (self._config, self._runner):
                one.log_loaded()
        return loaded

    def log_troubles(self) -> None:
        """Log what is wrong with the files, each fault once."""
        for one in (self._config, self._runner):
            one.log_trouble()

    def read(self) -> Loaded:
        """Read the files again; never raises for what is in them, and logs no fault of a file."""
        config, runner, before = self._config, self._runner, self.loaded
        is_new = [one.refresh() for one in (config, runner)]
        # A file that was there and is gone may be on a disk that is not mounted.
        if isinstance(runner.error, MissingDocument) and runner.good is None:
            if self._choice is DocumentChoice.ALL:
                runner.error = None
        elif isinstance(config.error, MissingDocument) and config.good is None:
            config.error = config.overlooked()
        documents, version = before.documents, before.version
        if any(is_new):
            documents, version = self._unite(), version + 1
        self.loaded = Loaded(documents, tuple(self._troubles()), version)
        return self.loaded

    def _unite(self) -> Documents:
        united = unite(
            self._config.good, self._runner.good, self._choice, self._address_of, RUNNABLE
        )
        for notice in united.notices:
            if notice not in self._told and not self._is_quiet:
                _log_notice(notice)
        self._told = frozenset(united.notices)
        return united

    def _address_of(self, repo: Repo) -> str:
        return expand(repo.uri, self._environ)

    def _troubles(self) -> Iterator[DocumentTrouble]:
        for one in (self._config, self._runner):
            if one.error is not None:
                yield DocumentTrouble(one.name, str(one.error), one.good is not None)


class _File:
    """One document: its last good state, and what is wrong with the file as it is now."""

    def __init__(self, name: DocumentName, path: Path, today: Callable[[], date]) -> None:
        self.name = name
        self.good: Config | None = None
        self.error: SidecarError | None = None
        self._path = path
        self._today = today
        self._content: bytes | None = None
        self._logged = ""
        self._logged_state: Config | None = None

    def refresh(self) -> bool:
        """Read it again; return whether there is another good state."""
        try:
            content = read_bytes(self._path, _FLAGS[self.name])
            is_new = content != self._content
            if is_new:
                self.good = parse_config(content, self._path, self._today())
                self._content = content
        except SidecarError as error:
            # What is bad now may be what was good before: then it has to be read again.
            self._content, self.error = None, error
            return False
        self.error = None
        return is_new

    def overlooked(self) -> SidecarError | None:
        """Return that there is a config.json beside it, which --config does not name."""
        usual = self._path.with_name(DocumentName.CONFIG.value)
        if usual == self._path or not usual.is_file():
            return None
        message = f"there is no document at {self._path}, but one at {usual}"
        return StoreError(message, f"write --config {usual}")

    def log_trouble(self) -> None:
        """Log what is wrong with it, once."""
        error = self.error
        trouble = "" if error is None else str(error)
        if error is not None and trouble != self._logged:
            kept = "none" if self.good is None else "the last good document"
            log_event(
                _log,
                logging.ERROR,
                "document.refused",
                reason=error.message,
                hint=error.hint,
                executed=kept,
            )
        self._logged = trouble

    def log_loaded(self) -> None:
        """Log its last good state, once."""
        if (config := self.good) is not None and config is not self._logged_state:
            self._logged_state = config
            counts = {"plans": len(config.plans), "repos": len(config.repos)}
            log_event(_log, logging.INFO, "document.loaded", config=str(self._path), **counts)


def _log_notice(notice: DocumentNotice) -> None:
    fields = {"reason": notice.message, "hint": notice.hint}
    if notice.reason is NoticeReason.MOVING:
        log_event(_log, logging.INFO, "plan.moving", plan=notice.about, **fields)
    else:
        code = notice.reason.value
        log_event(_log, logging.ERROR, "repository.refused", repo=notice.about, code=code, **fields)


def load(files: DocumentFiles, environ: Mapping[str, str]) -> Documents:
    """Read the documents once; raises StoreError or DocumentError if there is none to execute.

    What is wrong with one of them beside a good one is logged.
    """
    loader = Loader(files, environ)
    found = loader.read().documents
    if found is None:
        raise loader.errors[0]
    loader.log_troubles()
    return found


def load_whole(files: DocumentFiles, environ: Mapping[str, str]) -> Documents:
    """Read the documents once; raises StoreError or DocumentError if one is bad."""
    loader = Loader(files, environ)
    found = loader.read().documents
    if loader.errors:
        raise loader.errors[0]
    assert found is not None  # noqa: S101 - else there was an error
    return found


def read_bytes(path: Path, flag: str = "--config") -> bytes:
    """Read the file that `flag` names; raises StoreError, MissingDocument if there is none."""
    try:
        content = read_file(path, _LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise StoreError(f"{path} is a link that leads to no file") from None
        raise MissingDocument(
            f"there is no document at {path}",
            f"name it by {flag}, or create one by backrest-sidecar init",
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
