"""A fake of Backrest: its document, its HTTP API and its queue, without any backup.

It is for tests that need a Backrest which saves, dies and misbehaves at a moment of their
choosing; nothing of the real one is in it. It keeps to what was seen of the real one: the
document is cached at the start and written as Backrest writes it, SetConfig compares modno
with the cached one, the queue is made anew after each save, one operation runs at a time.
Left out: restic, the older versions of the document, copies of old documents.
"""

import base64
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from sidecar.backrest.document import parse_document
from sidecar.backrest.messages import CONFIG, FieldKind, MessageField, MessageType
from sidecar.backrest.operations import Status
from sidecar.backrest.rules import check_document
from sidecar.lib.errors import DocumentError
from sidecar.schedule.fires import backrest_fires
from sidecar.schedule.parse import schedule_of

Json = dict[str, Any]
_MASK = "********"
# The key pair of RFC 8032 whose seed is all zeros.
_IDENTITY = {
    "keyId": "ed25519.E545QOZLVJFyIIjZoNdBYo_IJuCUddNBp4Cs3jxLgHA",
    "ed25519priv": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "ed25519pub": "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik",
}
HOOK_SCRIPT = "curl --header 'Authorization: s3cret' http://127.0.0.1:9/"
"""What a hook that failed was to run, as it stands in its log."""
_YEARS = timedelta(days=5 * 366)
_HTTP = {"unauthenticated": 401, "not_found": 404, "unknown": 500}


class Fault(Enum):
    """What can be ordered to go wrong with a call."""

    SERVER_ERROR = auto()
    """Answers 500 in plain text, as a crash or a proxy would."""
    HANG = auto()
    """Answers nothing until the fake is stopped."""
    DROP = auto()
    """Closes the connection and does nothing."""
    DROP_ANSWER = auto()
    """Does what was asked (a backup: begins), and closes the connection without an answer."""
    REFUSE_LOGIN = auto()
    """Answers 401."""
    UNAPPLIED = auto()
    """Saves what SetConfig brings, but goes on with the queue and the plans of before."""


@dataclass
class _Entry:
    """One operation: its JSON, whether its task was queued once only, its queue's number."""

    json: Json
    once: bool
    queue: int
    ended: bool = False


@dataclass
class _Faults:
    """Faults that wait for their call, in order."""

    ordered: list[tuple[Fault, str]] = field(default_factory=list)

    def take(self, call: str) -> Fault | None:
        for index, (fault, wanted) in enumerate(self.ordered):
            if wanted in {"", call}:
                del self.ordered[index]
                return fault
        return None


class _Refusal(Exception):
    """An error as Connect answers it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class _Dropped(Exception):
    """The connection ends without an answer."""


class FakeBackrest:
    """Runs between `start` and `kill`, or as a context manager.

    `listen` is where: the host, and a port, 0 for one of its own. `now` gives unix seconds;
    schedules are read in UTC. `user` and `password` are what is accepted while the
    document's `auth` asks for a login. `asked` lists the calls by name, `hurt` what was done
    to us while an operation was in progress.
    """

    def __init__(
        self,
        config: Path,
        *,
        now: Callable[[], float] = time.time,
        user: str = "admin",
        password: str = "swordfish",  # noqa: S107 - made up
        listen: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.config = config
        self.asked: list[str] = []
        self.hurt: list[str] = []
        self.backups_end: tuple[Status, str] | None = None
        """How every backup ends at once; None: they run until `finish`."""
        self.hook_logs: dict[str, str] = {}
        """What hooks wrote, by the names under which GetLogs gives it out.

        The script stands before it, and a note of Backrest's behind.
        """
        self._now = now
        self._login = f"{user}:{password}"
        self._faults = _Faults()
        self._changed = threading.Condition()
        self._cached: Json = {}
        self._applied: Json = {}
        self._log: dict[int, _Entry] = {}
        self._last_id = self._last_modno = self._queue = 0
        self._host, self._port = listen
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """The address, the same after every start."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def cached(self) -> Json:
        """A copy of the configuration that it holds in memory."""
        with self._changed:
            return deepcopy(self._cached)

    @property
    def is_running(self) -> bool:
        """Whether it was started and not killed since."""
        return self._server is not None

    def start(self) -> None:
        """Read the document, clean the log up, fill the queue and serve.

        Raises ValueError where Backrest would exit. A missing file gives an empty document.
        """
        document = _load(self.config)
        with self._changed:
            self._cached = _normal(CONFIG, document)
            if not self._cached.get("instance") and self._scheduled():
                raise ValueError("Backrest exits: instance_id is required")
            if not self._cached.get("sync", {}).get("identity"):
                self._cached.setdefault("sync", {})["identity"] = dict(_IDENTITY)
                if self.config.exists():
                    self._write()
            self._clean_log()
            self._fill_queue()
        self._server = ThreadingHTTPServer((self._host, self._port), _handler_of(self))
        self._server.daemon_threads = False
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def kill(self) -> None:
        """Stop at once, as a killed process: open calls break off, the log stays as it is."""
        with self._changed:
            server, thread, self._server = self._server, self._thread, None
            self._changed.notify_all()
        if server is not None and thread is not None:
            server.shutdown()
            server.server_close()
            thread.join()

    def restart(self) -> None:
        """Stop and start as the engine does it on somebody's word: that hurts what runs."""
        self._note_hurt("restart")
        self.kill()
        self.start()

    def order(self, fault: Fault, call: str = "", times: int = 1) -> None:
        """Let the next calls of that name (of any, if none is given) go wrong."""
        with self._changed:
            self._faults.ordered += [(fault, call)] * times

    def open_tab(self) -> Json:
        """Load the configuration as the web interface does; it may go stale then."""
        with self._changed:
            return _masked(self._cached)

    def save_tab(self, tab: Json, change: Callable[[Json], object]) -> bool:
        """Save a tab after a change; False: its modno was stale. Raises on a broken change."""
        change(tab)
        try:
            with self._changed:
                self._set_config(json.dumps(tab).encode())
        except _Refusal as refusal:
            if refusal.code == "failed_precondition":
                return False
            raise
        return True

    def save_from_ui(self, change: Callable[[Json], object]) -> None:
        """Load, change and save in one go, as someone does in a fresh tab."""
        with self._changed:
            assert self.save_tab(self.open_tab(), change)

    def begin(self, plan_id: str, kind: str = "operationBackup") -> int:
        """Put an operation in progress, a backup's scheduled one if there is one: its id."""
        with self._changed:
            waiting = [e for e in self._waiting(plan_id) if not e.once]
            if kind == "operationBackup" and waiting:
                entry = waiting[0]
            else:
                entry = self._add(plan_id, self._now(), once=True, kind=kind)
            self._run(entry)
            return int(entry.json["id"])

    def in_progress(self) -> list[str]:
        """Name the plans whose operation is in progress."""
        with self._changed:
            return [entry.json["planId"] for entry in self._running()]

    def finish(
        self, plan_id: str, status: Status = Status.SUCCESS, message: str = "", snapshot: str = ""
    ) -> None:
        """End the plan's operation in progress; what waits in the queue is begun."""
        with self._changed:
            entry = next(e for e in self._running() if e.json["planId"] == plan_id)
            self._end(entry, status, message, snapshot)

    def fail_hook(self, plan_id: str, message: str, ref: str) -> None:
        """Log a hook of the plan's operation in progress that failed; `ref` names its log."""
        with self._changed:
            parent = next(e for e in self._running() if e.json["planId"] == plan_id)
            entry = self._add(plan_id, self._now(), once=True, kind="operationRunHook")
            condition, name = "CONDITION_SNAPSHOT_START", f"command hook plan/{plan_id}/hook/0"
            hook = {"parentOp": parent.json["id"], "name": name, "condition": condition}
            entry.json |= {"operationRunHook": hook, "logref": ref}
            told = f"{message}\n\nrunning {name} triggered by {condition}"
            self._mark(entry, Status.ERROR, told, self._now())
            entry.ended = True

    def cancel(self, operation_id: int) -> None:
        """Cancel an operation as its user does in the web interface."""
        with self._changed:
            entry = self._log[operation_id]
            if entry.json["status"] == Status.IN_PROGRESS:
                self._end(entry, Status.USER_CANCELLED, "cancelled by user request", "")
            else:
                # A call that waits for it is never answered.
                self._mark(entry, Status.USER_CANCELLED, end=self._now())
                if not entry.once:
                    self._schedule(entry.json["planId"])

    def begin_due(self) -> None:
        """Begin what is due by now, unless something is in progress."""
        with self._changed:
            self._begin_next()

    def wait_for(self, status: Status, plan_id: str, seconds: float = 10.0) -> None:
        """Wait until the plan has an operation in that status."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(
                    e.json["status"] == status and e.json["planId"] == plan_id
                    for e in self._log.values()
                ),
                seconds,
            )

    # What the calls do; each is made with the lock held.

    def answer(self, name: str, body: bytes, login: str) -> bytes | None:
        """Answer one call; None: there is no such call. Raises what the server turns into HTTP."""
        with self._changed:
            self.asked.append(name)
            fault = self._faults.take(name)
            calls = {
                "GetConfig": lambda: _masked(self._cached),
                "SetConfig": lambda: self._set_config_for_program(body),
                "GetOperations": lambda: self._get_operations(_request(body)),
                "Backup": lambda: self._backup(_request(body), fault),
            }
            self._fail_early(fault, login)
            if name == "GetLogs":
                return self._get_logs(body)
            if name not in calls:
                return None
            if fault is Fault.UNAPPLIED:
                answer = self._set_config(body, is_applied=False)
            else:
                _request(body)
                answer = calls[name]()
            if fault is Fault.DROP_ANSWER:
                raise _Dropped
            return json.dumps(answer).encode()

    def _fail_early(self, fault: Fault | None, login: str) -> None:
        if fault is Fault.HANG:
            self._wait_until(lambda: False)
        if fault is Fault.DROP:
            raise _Dropped
        if fault is Fault.SERVER_ERROR:
            raise RuntimeError
        auth = self._cached.get("auth")
        is_open = auth is None or auth.get("disabled", False)
        if fault is Fault.REFUSE_LOGIN or not (is_open or login == self._login):
            raise _Refusal("unauthenticated", "")

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        # Whoever kills us waits for this thread, so no second life can begin meanwhile.
        self._changed.wait_for(lambda: condition() or self._server is None)
        if self._server is None:
            raise _Dropped

    def _set_config_for_program(self, body: bytes) -> Json:
        self._note_hurt("SetConfig")
        return self._set_config(body)

    def _set_config(self, body: bytes, *, is_applied: bool = True) -> Json:
        given = _request(body)
        if given.get("modno", 0) != self._cached.get("modno", 0):
            raise _Refusal("failed_precondition", "config modno mismatch, reload and try again")
        # One without an instance id is saved, and Backrest ends at its next start.
        named = {**given, "instance": given.get("instance") or "unnamed"}
        faults = check_document(parse_document(json.dumps(named).encode()).root, served=True)
        if faults:
            raise _Refusal("invalid_argument", f"validation error: {faults[0].message}")
        self._cached = _normal(CONFIG, _unmasked(given, self._cached))
        self._cached["modno"] = self._cached.get("modno", 0) + 1
        self._write()
        if is_applied:
            self._fill_queue()
        return _masked(self._cached)

    def _get_operations(self, asked: Json) -> Json:
        if "selector" not in asked:
            raise _Refusal("unknown", "empty selector")
        since = int(asked["selector"].get("modnoGte", "0"))
        listed = [e.json for _, e in sorted(self._log.items()) if int(e.json["modno"]) >= since]
        return {"operations": listed} if listed else {}

    def _get_logs(self, body: bytes) -> bytes:
        """Answer as a stream: each message behind a byte of flags and its length."""
        wanted = json.loads(body[5:])["ref"]
        text = f"file associated with log {wanted} not found, it may have expired."
        if wanted in self.hook_logs:
            wrote = "".join(f"[output] {line}\n" for line in self.hook_logs[wanted].splitlines())
            text = f"[script] [sh]\n[script] {HOOK_SCRIPT}\n{wrote}[tasklog] error\ttask failed\n"
        value = base64.b64encode(text.encode()).decode()
        messages = [(0, json.dumps({"value": value}).encode()), (2, b"{}")]
        return b"".join(bytes([f]) + len(m).to_bytes(4, "big") + m for f, m in messages)

    def _backup(self, asked: Json, fault: Fault | None) -> Json:
        plan_id = asked.get("value", "")
        if plan_id not in (plan["id"] for plan in self._applied.get("plans", [])):
            raise _Refusal("not_found", f'get plan "{plan_id}": plan not found')
        entry = self._add(plan_id, self._now(), once=True)
        self._begin_next()
        if self.backups_end and entry.json["status"] == Status.IN_PROGRESS:
            self._end(entry, *self.backups_end, "")
        if fault is Fault.DROP_ANSWER:
            raise _Dropped
        self._wait_until(lambda: entry.ended)
        if entry.json["status"] not in {Status.SUCCESS, Status.WARNING}:
            raise _Refusal("unknown", entry.json.get("displayMessage", ""))
        return {}

    # The queue and the log.

    def _fill_queue(self) -> None:
        """Forget what waits, and queue the next run of each scheduled plan."""
        for entry in list(self._waiting()):
            del self._log[int(entry.json["id"])]
        self._queue += 1
        self._applied = deepcopy(self._cached)
        for plan_id in self._scheduled() if self._cached.get("instance") else ():
            self._schedule(plan_id)
        self._changed.notify_all()

    def _scheduled(self) -> list[str]:
        plans = self._cached.get("plans", [])
        return [plan["id"] for plan in plans if schedule_of(plan.get("schedule", {})) is not None]

    def _schedule(self, plan_id: str) -> None:
        plans = self._applied.get("plans", [])
        schedules = (plan.get("schedule", {}) for plan in plans if plan["id"] == plan_id)
        raw: Json = next(schedules, {})
        start = datetime.fromtimestamp(self._now(), UTC)
        if (schedule := schedule_of(raw)) is not None:
            for fire in backrest_fires(schedule, start, start + _YEARS, 1):
                self._add(plan_id, fire.timestamp(), once=False)

    def _add(
        self, plan_id: str, start: float, *, once: bool, kind: str = "operationBackup"
    ) -> _Entry:
        self._last_id += 1
        plans = self._applied.get("plans", [])
        repo = next((plan["repo"] for plan in plans if plan["id"] == plan_id), "")
        shown = {"id": str(self._last_id), "repoId": repo, "planId": plan_id}
        shown |= {"instanceId": self._applied.get("instance", ""), kind: {}}
        shown["unixTimeStartMs"] = str(int(start * 1000))
        entry = self._log[self._last_id] = _Entry(shown, once, self._queue)
        self._mark(entry, Status.PENDING)
        return entry

    def _mark(self, entry: _Entry, status: Status, message: str = "", end: float = 0.0) -> None:
        self._last_modno += 1
        entry.json |= {"status": status.value, "modno": str(self._last_modno)}
        if message:
            entry.json["displayMessage"] = message
        if end:
            entry.json["unixTimeEndMs"] = str(int(end * 1000))
        self._changed.notify_all()

    def _run(self, entry: _Entry) -> None:
        entry.json["unixTimeStartMs"] = str(int(self._now() * 1000))
        self._mark(entry, Status.IN_PROGRESS)

    def _end(self, entry: _Entry, status: Status, message: str, snapshot: str) -> None:
        if snapshot:
            entry.json["snapshotId"] = snapshot
        if status in {Status.SUCCESS, Status.WARNING} and "operationBackup" in entry.json:
            summary = {"totalFilesProcessed": "3", "totalBytesProcessed": "4096"}
            entry.json["operationBackup"] = {"lastStatus": {"summary": summary}}
        self._mark(entry, status, message, self._now())
        entry.ended = True
        # What was queued before the last save of the document is not queued again.
        if not entry.once and entry.queue == self._queue:
            self._schedule(entry.json["planId"])
        self._begin_next()

    def _begin_next(self) -> None:
        due = [e for e in self._waiting() if int(e.json["unixTimeStartMs"]) <= self._now() * 1000]
        if due and not list(self._running()):
            self._run(due[0])

    def _running(self) -> Iterator[_Entry]:
        return (e for e in self._log.values() if e.json["status"] == Status.IN_PROGRESS)

    def _waiting(self, plan_id: str = "") -> Iterator[_Entry]:
        """What is queued, in order; one that ended and is pending all the same is not."""
        pending = (e for e in self._log.values() if e.json["status"] == Status.PENDING)
        waiting = (e for e in pending if not e.ended)
        return (e for e in waiting if plan_id in {"", e.json["planId"]})

    def _clean_log(self) -> None:
        # What was deleted in the last life may have had higher numbers: they are given out again.
        self._last_id = max(self._log, default=0)
        self._last_modno = max((int(e.json["modno"]) for e in self._log.values()), default=0)
        for key, entry in list(self._log.items()):
            if entry.json["status"] == Status.IN_PROGRESS:
                message = "Operation was incomplete when orchestrator was restarted."
                self._mark(entry, Status.ERROR, message)
                entry.json["unixTimeEndMs"] = entry.json["unixTimeStartMs"]
            elif not Status(entry.json["status"]).has_ended or "CANC" in entry.json["status"]:
                del self._log[key]

    def _note_hurt(self, what: str) -> None:
        with self._changed:
            plans = sorted(entry.json["planId"] for entry in self._running())
            self.hurt += [f"{what} during an operation of {plan}" for plan in plans]

    def _write(self) -> None:
        part = self.config.with_name(f".{self.config.name}.fake")
        part.touch(mode=0o600)
        part.write_text(json.dumps(self._cached, indent=2))
        os.replace(part, self.config)  # noqa: PTH105 - as one step, spelt out


def _load(path: Path) -> Json:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"version": 6}
    if not isinstance(document, dict) or document.get("version", 0) < 2:
        raise ValueError("Backrest exits: no document of a version that it can load")
    return document


def _request(body: bytes) -> Json:
    """Decode what a call brings: a JSON object, and never nothing."""
    try:
        parse_document(body)
    except DocumentError as error:
        raise _Refusal("invalid_argument", f"unmarshal message: {error}") from None
    found: Json = json.loads(body)
    return found


def _normal(message: MessageType, value: Mapping[str, Any]) -> Json:
    """Return an object as Backrest writes it: no unknown fields, no zeros, some lists sorted."""
    normal: Json = {}
    for spelling, known in message.fields.items():
        item = value.get(spelling)
        if item is not None:
            new = _normal_item(known, item)
            if new or known.oneof or (known.kind is FieldKind.MESSAGE and not known.repeated):
                normal[known.name] = new
    for key in ("repos", "plans"):
        normal[key] = sorted(normal.get(key, []), key=lambda entry: str(entry.get("id", "")))
    for key in ("env", "paths"):
        normal[key] = sorted(normal.get(key, []))
    return {key: item for key, item in normal.items() if item != []}


def _normal_item(known: MessageField, item: Any) -> Any:
    if known.message is not None:
        message = known.message
        return [_normal(message, i) for i in item] if known.repeated else _normal(message, item)
    if known.kind is FieldKind.ENUM:
        names = known.names
        found = [names.get(i, i) for i in (item if known.repeated else [item])]
        found = [i for i in found if i in names.values()]
        return found if known.repeated else next((i for i in found if i != names[0]), "")
    return item


def _masked(config: Json) -> Json:
    masked = deepcopy(config)
    identity = masked.get("sync", {}).get("identity")
    if identity:
        masked["sync"]["identity"] = {"keyId": identity["keyId"]}
    for user in masked.get("auth", {}).get("users", []):
        user["passwordBcrypt"] = _MASK
    return masked


def _unmasked(given: Json, cached: Json) -> Json:
    """Put back what `_masked` took away, as far as it is still asked for."""
    full = deepcopy(given)
    if full.get("sync", {}).get("identity") is not None:
        own = cached.get("sync", {}).get("identity", {})
        full["sync"]["identity"] = {**own, **full["sync"]["identity"]}
    users = {user["name"]: user for user in cached.get("auth", {}).get("users", [])}
    for user in full.get("auth", {}).get("users", []):
        if user["passwordBcrypt"] == _MASK and user["name"] in users:
            user.update(users[user["name"]])
    return full


def _handler_of(fake: FakeBackrest) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        """One call, one connection: no thread waits for a second call."""

        def do_GET(self) -> None:
            """Show the web interface, as whoever looks whether it lives will ask."""
            self._answer(200, "text/html", b"<!DOCTYPE html><title>Backrest</title>")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            name = self.path.removeprefix("/v1.Backrest/")
            with _breaking_off(self):
                self._answer(*_response(fake, name, body, self.headers.get("Authorization", "")))

        def _answer(self, status: int, form: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", form)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    return Answering


def _response(fake: FakeBackrest, name: str, body: bytes, header: str) -> tuple[int, str, bytes]:
    login = base64.b64decode(header.removeprefix("Basic ")).decode() if header else ""
    try:
        answer = fake.answer(name, body, login)
    except RuntimeError:
        return 500, "text/plain", b"Internal Server Error"
    except _Refusal as refusal:
        if refusal.code == "unauthenticated":
            return 401, "text/plain", b"Unauthorized (No Authorization Header)\n"
        told = json.dumps({"code": refusal.code, "message": refusal.message})
        return _HTTP.get(refusal.code, 400), "application/json", told.encode()
    if answer is None:
        return 404, "text/plain", b"404 page not found\n"
    return 200, "application/json", answer


@contextmanager
def _breaking_off(answering: BaseHTTPRequestHandler) -> Iterator[None]:
    """Close the connection where the answer fails to come; the caller may be gone too."""
    try:
        yield
    except _Dropped:
        with suppress(OSError):
            answering.connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        answering.close_connection = True
