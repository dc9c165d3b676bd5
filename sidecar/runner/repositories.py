"""Create repositories where the document asks for it, and never one that existed before.

A repository whose disk is not mounted looks like one that never was. Created anew, it would take
all further backups, while the old snapshots seem to be gone. So one is created only where
nothing tells of a past: no id in the journal or in the file beside it, no run that used it, no
marker of its plans, no journal that was set aside.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from sidecar.backrest.engine_name import EngineName, engine_of
from sidecar.backrest.reading import Config, Repo
from sidecar.engines.access import expand
from sidecar.engines.base import (
    CommandResult,
    EngineError,
    Engines,
    FailureClass,
    ResultKind,
    Upkeep,
    failed,
)
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.lib.read_file import read_file
from sidecar.lib.write_file import write_small
from sidecar.runner.addresses import lock_keys, plain_address
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job
from sidecar.runner.job.markers import success_marker
from sidecar.runner.journal import Journal, list_set_aside

FILE = "repositories.json"
"""The file in the state folder that holds the ids of repositories by names and by addresses."""

_MOST_BYTES = 1 << 22
_log = logging.getLogger(__name__)


class KnownRepositories:
    """The repositories that were ever seen: their ids, and other traces of them.

    Ids are kept in the journal and in a file beside it, for the journal may be lost or damaged; in
    the file also by the address, of which a hash is kept: it may hold a secret, and names change.
    `document` is the one that is executed. Safe for threads.
    """

    def __init__(self, journal: Journal, document: ExecutedDocument) -> None:
        self._journal = journal
        self._file = journal.path.parent / FILE
        self._document = document
        self._lock = threading.Lock()

    def guid(self, repo: str) -> str:
        """Return the id that a repository was seen to have; empty if none is known."""
        try:
            found = self._journal.findings.guid(repo)
        except SidecarError:
            found = ""
        return found or (self._read() or {}).get(repo, "")

    def trace_of(self, repo: Repo) -> str:
        """Return what tells that a repository existed before, in words; empty: nothing does.

        Raises JournalError: then it may have existed.
        """
        kept = self._read()
        if guid := self._journal.findings.guid(repo.id) or (kept or {}).get(repo.id):
            return f"its id was {guid[:8]}"
        if kept is None:
            return f"{self._file} cannot be read, and may know it"
        # A version before this one kept it as it was spelled.
        if guid := kept.get(_place_of(repo)) or kept.get(_hash_of(repo.uri)):
            return f"the id at its address was {guid[:8]}"
        if self._journal.findings.has_used(repo.id):
            return "the journal has runs that used it"
        if aside := list_set_aside(self._journal.path):
            return f"{aside[0]} is a journal that was set aside, and may know it"
        return self._trace_of_plans(repo)

    def remember(self, repo: Repo, guid: str) -> None:
        """Keep the id of a repository; what cannot be written is logged."""
        with self._lock:
            self._journal.findings.set_guid(repo.id, guid)
            kept = self._read()
            known = {**(kept or {}), repo.id: guid, _place_of(repo): guid}
            if kept is None or kept == known:
                return
            content = json.dumps(known, indent=1, sort_keys=True)
            try:
                write_small(self._file.parent, FILE, content.encode(), durable=True)
            except OSError as error:
                file, reason = str(self._file), str(error.strerror)
                log_event(
                    _log,
                    logging.ERROR,
                    "repository.not-noted",
                    repo=repo.id,
                    file=file,
                    reason=reason,
                )

    def _trace_of_plans(self, repo: Repo) -> str:
        """Return which plan has a marker of a success that the journal knows nothing of.

        A plan that it does know saved to another repository, and moves to this one.
        """
        past = self._journal.past.history().past
        saved = {job.subject for job, known in past.items() if known.last_success is not None}
        for plan in self._document.config.plans:
            marker = success_marker(self._file.parent, plan.id)
            if plan.repo == repo.id and plan.id not in saved and marker.exists():
                return f"{marker} tells that {plan.id} was saved before"
        return ""

    def _read(self) -> dict[str, str] | None:
        """Return the ids that the file holds; None if it is there and cannot be read."""
        try:
            found = json.loads(read_file(self._file, _MOST_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            return None
        return found if _is_text_to_text(found) else None


def _place_of(repo: Repo) -> str:
    return _hash_of(plain_address(repo.uri))


def _hash_of(address: str) -> str:
    """Return what an address is called in the file: no name begins so."""
    return f"/at/{hashlib.sha256(address.encode(errors='replace')).hexdigest()}"


def _is_text_to_text(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(guid, str) for guid in found.values())


class RepositoryKeys:
    """What tells the repositories of the executed document from others, for jobs on them.

    The ids that are known count as of when the document was first asked about; `${NAME}` in
    addresses is taken from `environ`. Safe for threads.
    """

    def __init__(
        self, document: ExecutedDocument, known: KnownRepositories, environ: Mapping[str, str]
    ) -> None:
        self._document = document
        self._known = known
        self._environ = environ
        self._keys: tuple[Config | None, Mapping[str, frozenset[str]]] = (None, {})

    def of(self, job: Job) -> frozenset[str]:
        """Return the keys of a job's repository: two that share one are the same repository."""
        config, (of, keys) = self._document.config, self._keys
        if of is not config:
            keys = {
                repo.id: lock_keys(repo, self._known.guid(repo.id), self._environ)
                for repo in config.repos
            }
            self._keys = config, keys
        return keys.get(job.repo) or frozenset({f"named {job.repo}"})


class Initialiser:
    """Creates repositories whose document entry asks for it, each once.

    One that does not answer keeps no other from being created. `${NAME}` in their addresses is
    taken from `environ`.
    """

    def __init__(
        self, known: KnownRepositories, engines: Engines, environ: Mapping[str, str] | None = None
    ) -> None:
        self._known = known
        self._engines = engines
        self._environ = environ or {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._done: set[str] = set()

    def ensure(self, repo: Repo | None) -> CommandResult | None:
        """Create a repository if it never existed; return None if there was nothing to do."""
        if repo is None or not repo.auto_initialise:
            return None
        with self._lock:
            # By its address: two entries may name one repository.
            lock = self._locks.setdefault(repo.uri, threading.Lock())
        with lock:
            return None if repo.id in self._done else self._ensure(repo)

    def _ensure(self, repo: Repo) -> CommandResult | None:
        try:
            past = self._known.trace_of(repo)
        except SidecarError:
            # It may have existed: then nothing is created.
            return None
        if past and (guid := self._known.guid(repo.id)):
            # For repositories of a time when there was only the journal.
            self._known.remember(repo, guid)
            self._done.add(repo.id)
            return None
        try:
            name = engine_of(expand(repo.uri, self._environ))
            guid = create_repository(self._engines.make(repo), past, name)
        except EngineError as error:
            reason = str(error)
            log_event(_log, logging.ERROR, "repository.not-created", repo=repo.id, reason=reason)
            return replace(failed(error.failure, reason), excerpt=error.excerpt)
        self._known.remember(repo, guid)
        self._done.add(repo.id)
        log_event(_log, logging.INFO, "repository.ready", repo=repo.id)
        return CommandResult(ResultKind.SUCCESS)


def create_repository(engine: Upkeep, past: str, name: EngineName = EngineName.RESTIC) -> str:
    """Create a repository and return its id. Raises EngineError.

    `past` is what tells that it existed before, in words, empty if nothing does: a repository
    that existed is never created anew, for its disk may not be mounted. `name` is its engine's.
    """
    try:
        return engine.probe() if past else engine.initialise()
    except EngineError as error:
        if not past or error.failure is not FailureClass.REPO_NOT_FOUND:
            raise
        remedy = "a new one needs another folder and another id"
        if name is EngineName.RESTIC:
            remedy = "`restic init` makes a new one"
        reason = f"{error.message}; one was there before ({past}), so none is created: {remedy}"
        raise EngineError(error.failure, reason) from error
