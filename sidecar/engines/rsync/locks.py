"""Lock the snapshots of a plan: a file in the repository that names who works on them.

Whoever wants them writes a lock of his own first and looks at the others then, so that of two who
come at once at least one sees the other. A lock that is held is renewed; one that was not for
half an hour, or whose holder has certainly ended, is in nobody's way.
"""

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sidecar.engines.base import EngineError, FailureClass, HeldLock
from sidecar.engines.locking import Locking, is_left_over
from sidecar.engines.rsync.layout import LOCKS
from sidecar.engines.rsync.storage import Storage
from sidecar.lib.process import Child, child_of

_OLD = 30 * 60.0
_RENEWED = 5 * 60.0
_ENDING = ".json"
# The ids of the locks that this process holds: it may live on without one that it has left.
_OURS: set[str] = set()


@dataclass(frozen=True, slots=True)
class PlanLock:
    """A lock in a repository: who holds it, and the plan whose snapshots it is for."""

    held: HeldLock
    plan: str
    boot: str
    namespace: str

    def to_json(self) -> bytes:
        """Return the content of its file."""
        held = self.held
        plain = {
            "id": held.id,
            "plan": self.plan,
            "hostname": held.hostname,
            "pid": held.pid,
            "boot": self.boot,
            "namespace": self.namespace,
            "time": held.time,
        }
        return json.dumps(plain).encode() + b"\n"


def parse_plan_lock(line: bytes) -> PlanLock | None:
    """Parse the content of a lock's file; None if it is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        plain = json.loads(line)
        held = HeldLock(
            str(plain["id"]), str(plain["hostname"]), int(plain["pid"]), float(plain["time"])
        )
        texts = (str(plain[name]) for name in ("plan", "boot", "namespace"))
        return PlanLock(held, *texts)
    return None


class PlanLocks:
    """The locks of a repository, whose folder is `root`.

    `locking` tells what is known of holders; `repo` is the repository's name in it.
    """

    def __init__(self, storage: Storage, root: str, locking: Locking, repo: str) -> None:
        self._storage = storage
        self._folder = f"{root}/{LOCKS}"
        self._locking = locking
        self._repo = repo

    def listed(self) -> tuple[PlanLock, ...]:
        """Return the locks, oldest first. Raises EngineError."""
        lines = self._storage.read_all(self._folder, _ENDING)
        found = [lock for line in lines if (lock := parse_plan_lock(line)) is not None]
        return tuple(sorted(found, key=lambda lock: lock.held.time))

    def remove_left(self) -> None:
        """Remove the locks that nobody holds any more. Raises EngineError."""
        self._remove(lock for lock in self.listed() if self._is_left(lock))

    @contextlib.contextmanager
    def holding(
        self,
        plan: str,
        *,
        frees_space: bool = False,
        make_room: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Hold the lock of a plan's snapshots for the block.

        If the disk is full, what `frees_space` goes on without a lock of its own, and `make_room`
        is called once where nobody else has the plan. Raises EngineError if somebody else has it.
        """
        own = self._make(plan)
        _OURS.add(own.held.id)
        self._note()
        try:
            try:
                self._write(own)
            except EngineError as error:
                is_full = error.failure is FailureClass.DISK_FULL
                if not is_full or not (frees_space or make_room):
                    raise
                if make_room is not None:
                    self._refuse_others(own)
                    make_room()
                    self._write(own)
            self._refuse_others(own)
            with self._renewing(own):
                yield
        finally:
            _OURS.discard(own.held.id)
            with contextlib.suppress(EngineError):
                self._storage.remove([self._path(own)])

    def _refuse_others(self, own: PlanLock) -> None:
        others = [one for one in self.listed() if one.held.id != own.held.id]
        left = [one for one in others if self._is_left(one)]
        self._remove(left)
        for other in others:
            if other not in left and other.plan == own.plan:
                message = f"the repository is locked by {other.held}"
                raise EngineError(FailureClass.LOCKED, message)

    def _remove(self, locks: Iterable[PlanLock]) -> None:
        self._storage.remove([self._path(lock) for lock in locks])

    def _is_left(self, lock: PlanLock) -> bool:
        host = self._locking.host
        is_here = all((host.boot, host.namespace)) and (lock.boot, lock.namespace) == (
            host.boot,
            host.namespace,
        )
        if is_here and lock.held.pid == os.getpid():
            return lock.held.id not in _OURS
        if is_here:
            return not host.ran(lock.held.pid, lock.held.time)
        if is_left_over(lock.held, host, self._locking.holders(self._repo)):
            return True
        return host.now() - lock.held.time > _OLD

    def _make(self, plan: str) -> PlanLock:
        host = self._locking.host
        held = HeldLock(secrets.token_hex(16), host.name, os.getpid(), host.now())
        return PlanLock(held, plan, host.boot, host.namespace)

    def _note(self) -> None:
        """Let it be known that this process may hold a lock, should it die with it."""
        if self._locking.records is not None:
            self._locking.records.note(self._repo, _ourselves())

    def _write(self, lock: PlanLock) -> None:
        # Who holds it does not survive a loss of power either.
        self._storage.write(self._path(lock), lock.to_json(), durable=False)

    def _path(self, lock: PlanLock) -> str:
        return f"{self._folder}/{lock.held.id}{_ENDING}"

    @contextlib.contextmanager
    def _renewing(self, own: PlanLock) -> Iterator[None]:
        ending = threading.Event()

        def renew() -> None:
            while not ending.wait(_RENEWED):
                held = HeldLock(
                    own.held.id, own.held.hostname, own.held.pid, self._locking.host.now()
                )
                # If it fails now, there are more times to come.
                with contextlib.suppress(EngineError):
                    self._write(PlanLock(held, own.plan, own.boot, own.namespace))

        thread = threading.Thread(target=renew, name="renews a lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


def _ourselves() -> Child:
    return child_of(os.getpid())
