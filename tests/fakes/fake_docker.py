"""A fake Docker on a socket of its own: only for faults that a real one cannot be made to show.

It keeps a list of containers, volumes and images, answers the calls that the sidecar
makes, and tells events. What goes wrong is ordered by the test. Whether a real engine
behaves as this one does is not shown here: tests/docker asks a real one.
"""

import json
import re
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from socketserver import BaseServer, TCPServer, ThreadingMixIn, UnixStreamServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
_SECONDS = 10.0
# Where its socket is until somebody listens at it.
_UNHEARD = ".unheard"
_POLL_SECONDS = 0.01
_STATES = {"start": "running", "restart": "running", "unpause": "running", "stop": "exited"}
_EVENTS = {"start": ["start"], "restart": ["die", "start"], "unpause": ["unpause"], "stop": ["die"]}


class Replay(Enum):
    """Which earlier events a new stream begins with."""

    HONEST = auto()
    """Those after `since`, as asked."""
    NOTHING = auto()
    """None, as Docker does that was restarted."""
    EVERYTHING = auto()
    """All that ever were, however old."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A whole answer: its status and JSON body."""

    body: object = None
    status: int = 200


@dataclass(slots=True)
class _Stream:
    """One open event stream: the bytes that it is still to send; None ends it."""

    filters: Mapping[str, Sequence[str]]
    waiting: SimpleQueue[bytes | None] = field(default_factory=SimpleQueue)


class FakeDocker:
    """A Docker that runs from `with` on, in threads that end with it.

    `port` -1: on a unix socket; 0: on a port of its own of the loopback, with `secure` by
    TLS. `containers` are entries of Docker's list by id, `volumes` entries by name,
    `images` their labels by id; the methods that change them also tell an event, unless
    `quiet`. `calls` counts requests by method and path without version and question.
    """

    def __init__(self, *, port: int = -1, secure: ssl.SSLContext | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fake-", dir="/tmp"))
        self.identity = "FAKE:ENGINE"
        self.api_version = "1.41"
        self.components = ["Engine", "containerd"]
        self.containers: dict[str, Json] = {}
        self.volumes: dict[str, Json] = {}
        self.images: dict[str, dict[str, str]] = {"sha256:01": {}}
        self.services: dict[str, dict[str, str]] | None = None
        """Labels of Swarm services by name; None: this node is no manager."""
        self.calls: Counter[str] = Counter()
        self.asked: list[str] = []
        self.replay = Replay.HONEST
        self.refusals: dict[str, int] = {}
        """Status to answer with, by the beginning of the path; "" refuses everything."""
        self.refusal_text = "refused as ordered"
        self.processes = [["1", "sleep infinity"]]
        """What runs in each container: numbers and command lines."""
        self._port = port
        self._secure = secure
        self._ids = count(1)
        self._history: list[Json] = []
        self._streams: list[_Stream] = []
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_gone = False
        self._server: BaseServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.appear()
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()
        shutil.rmtree(self.folder)

    @property
    def place(self) -> Path:
        """The unix socket on which it answers."""
        return self.folder / "docker.sock"

    @property
    def address(self) -> str:
        """Where it answers, as `DOCKER_HOST` spells it."""
        return f"unix://{self.place}" if self._port < 0 else f"tcp://127.0.0.1:{self._port}"

    def appear(self) -> None:
        """Come back after `vanish`, at the same place and with what it held, but no history."""
        self._history.clear()
        self._is_gone = False
        answering = type("Answering", (_Answering,), {"engine": self})
        if self._port < 0:
            self._server = _UnixServer(f"{self.place}{_UNHEARD}", answering)
        else:
            self._server = _TcpServer(("127.0.0.1", self._port), answering)
            self._port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="fake-engine"
        )
        self._thread.start()

    def vanish(self) -> None:
        """Be gone: no socket, no connection."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self.resume()
        self._is_gone = True
        self.drop()
        self._server.server_close()
        self._server = self._thread = None
        self.place.unlink(missing_ok=True)

    # What it holds.

    def add(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        image: str = "sha256:01",
        mounts: Sequence[Json] = (),
        state: str = "running",
        quiet: bool = False,
    ) -> str:
        """Create a container, and start it if it shall be running; return its id."""
        number = next(self._ids)
        identity = f"{number:064x}"
        self.containers[identity] = {
            "Id": identity,
            "Names": [f"/{name}"],
            "ImageID": image,
            "Created": 1_700_000_000 + number,
            "Labels": dict(labels or {}),
            "State": state,
            "Mounts": list(mounts),
        }
        self.tell(
            identity, *(["create", "start"] if state == "running" else ["create"]), quiet=quiet
        )
        return identity

    def rename(self, identity: str, name: str, *, quiet: bool = False) -> None:
        """Return a container another name."""
        self.containers[identity] = {**self.containers[identity], "Names": [f"/{name}"]}
        self.tell(identity, "rename", quiet=quiet)

    def set_state(self, identity: str, state: str, *actions: str) -> None:
        """Change a container's state, told by these events."""
        self.containers[identity] = {**self.containers[identity], "State": state}
        self.tell(identity, *actions)

    def remove(self, identity: str, *, quiet: bool = False) -> None:
        """Remove a container, running or not."""
        gone = self.containers.pop(identity)
        for action in ["destroy"] if gone["State"] != "running" else ["die", "destroy"]:
            self._happen(gone, action, quiet=quiet)

    def add_volume(self, name: str, **options: str) -> None:
        """Create a volume with its driver's options."""
        place = f"/var/lib/docker/volumes/{name}/_data"
        self.volumes[name] = {
            "Name": name,
            "Driver": "local",
            "Mountpoint": place,
            "Options": options,
        }

    def tell(self, identity: str, *actions: str, quiet: bool = False) -> None:
        """Let something have happened to a container that is there."""
        for action in actions:
            self._happen(self.containers[identity], action, quiet=quiet)

    def _happen(self, container: Json, action: str, *, quiet: bool) -> None:
        attributes = {**container["Labels"], "name": container["Names"][0][1:]}
        now = time.time_ns()
        event = {
            "status": action,
            "id": container["Id"],
            "Type": "container",
            "Action": action,
            "Actor": {"ID": container["Id"], "Attributes": attributes},
            "time": now // 10**9,
            "timeNano": now,
        }
        if not quiet:
            with self._changed:
                self._history.append(event)
                for stream in self._streams:
                    if _passes(event, stream.filters):
                        stream.waiting.put(_line(event))

    # What goes wrong.

    def stall(self) -> None:
        """Take calls and say nothing, until `resume`; open streams say nothing either."""
        self._flowing.clear()

    def resume(self) -> None:
        """Go on after `stall`."""
        self._flowing.set()

    def drop(self) -> None:
        """Cut all connections, in the middle of whatever they are at."""
        with self._changed:
            for connection in self._connections:
                with suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.end_streams()

    def send(self, content: bytes) -> None:
        """Put these bytes as one chunk into every open event stream."""
        with self._changed:
            for stream in self._streams:
                stream.waiting.put(content)

    def end_streams(self) -> None:
        """End every open event stream in good order."""
        with self._changed:
            for stream in self._streams:
                stream.waiting.put(None)

    # What tests ask.

    @property
    def open_streams(self) -> int:
        """How many event streams are open, as far as Docker has noticed."""
        return len(self._streams)

    def wait_for_calls(self, call: str, number: int) -> None:
        """Wait until there were so many calls, such as `GET /events`."""
        self._wait(lambda: self.calls[call] >= number, f"{number} of {call}")

    def wait_for_streams(self, number: int = 1) -> None:
        """Wait until so many event streams are open."""
        self._wait(lambda: self.open_streams == number, f"{number} open streams")

    def wait_for_connections(self, number: int = 1) -> None:
        """Wait until so many connections are taken."""
        self._wait(lambda: len(self._connections) >= number, f"{number} connections")

    @property
    def open_connections(self) -> int:
        """How many connections are open, as far as Docker has noticed."""
        return len(self._connections)

    def wait_for_no_connections(self) -> None:
        """Wait until no connection is open."""
        self._wait(lambda: not self._connections, "no connection")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, _SECONDS), f"{what} did not come to be"

    # What the threads that answer ask.

    def begin(self, connection: socket.socket) -> None:
        """Take a new connection."""
        with self._changed:
            self._connections.add(connection)
            self._changed.notify_all()

    def end(self, connection: socket.socket) -> None:
        """Close a connection."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()
        connection.close()

    def secured(self, connection: socket.socket) -> socket.socket:
        """Return the connection to speak over."""
        self._flowing.wait()
        if self._secure is None:
            return connection
        secured = self._secure.wrap_socket(connection, server_side=True)
        self.begin(secured)
        return secured

    def count_call(self, method: str, path: str, whole: str) -> None:
        """Count a call before it is answered, which a stalled engine never does."""
        with self._changed:
            self.calls[f"{method} {path}"] += 1
            self.asked.append(whole)
            self._changed.notify_all()
        self._flowing.wait()

    def refusal(self, path: str) -> int:
        """Tell with which status a call is refused, 0 if it is not."""
        refused = [code for start, code in self.refusals.items() if path.startswith(start)]
        return refused[0] if refused else 0

    def subscribe(self, filters: Mapping[str, Sequence[str]], since: float) -> _Stream:
        """Open a stream, which begins with what `replay` says."""
        earliest = {Replay.HONEST: since, Replay.EVERYTHING: 0.0, Replay.NOTHING: float("inf")}
        stream = _Stream(filters)
        with self._changed:
            for event in self._history:
                if event["timeNano"] / 1e9 >= earliest[self.replay] and _passes(event, filters):
                    stream.waiting.put(_line(event))
            self._streams.append(stream)
            if self._is_gone:
                # Its connection was taken before, and nobody would end it any more.
                stream.waiting.put(None)
            self._changed.notify_all()
        return stream

    def unsubscribe(self, stream: _Stream) -> None:
        """Close a stream."""
        with self._changed:
            self._streams.remove(stream)
            self._changed.notify_all()

    def next_piece(self, stream: _Stream) -> bytes | None:
        """Wait for what the stream is to send."""
        piece = stream.waiting.get()
        self._flowing.wait()
        return piece

    def answer(self, method: str, path: str, filters: Mapping[str, Sequence[str]]) -> _Answer:
        """Answer a call other than for events."""
        match path.strip("/").split("/"):
            case ["containers", "json"]:
                listed = self._newest_first()
                return _Answer([entry for entry in listed if _is_wanted(entry, filters)])
            case ["containers", name, what]:
                return self._of_container(method, unquote(name), what)
            case ["volumes", name]:
                return _found(self.volumes.get(unquote(name)))
            case ["services"]:
                return self._of_services()
            case ["images", name, "json"]:
                labels = self.images.get(unquote(name))
                return _found(
                    None if labels is None else {"Config": {"Labels": labels}, "Id": name}
                )
        return _found(self._plain().get(path))

    def _plain(self) -> dict[str, Json]:
        return {
            "/version": {
                "Version": "fake",
                "ApiVersion": self.api_version,
                "Components": [{"Name": name} for name in self.components],
            },
            "/info": {"ID": self.identity},
            "/volumes": {"Volumes": list(self.volumes.values())},
        }

    def _of_services(self) -> _Answer:
        if self.services is None:
            return _Answer({"message": "This node is not a swarm manager."}, 503)
        specs = [{"Name": name, "Labels": own} for name, own in self.services.items()]
        return _Answer([{"Spec": spec} for spec in specs])

    def _newest_first(self) -> list[Json]:
        return sorted(self.containers.values(), key=lambda entry: -entry["Created"])

    def _of_container(self, method: str, name: str, what: str) -> _Answer:
        named = [
            entry
            for entry in list(self.containers.values())
            if entry["Id"].startswith(name) or f"/{name}" in entry["Names"]
        ]
        if not named:
            return _found(None)
        if method == "GET":
            top = {"Titles": ["PID", "CMD"], "Processes": self.processes}
            return _Answer(top if what == "top" else _inspected(named[0]))
        self.set_state(named[0]["Id"], _STATES[what], *_EVENTS[what])
        return _Answer(status=204)


def _found(entry: object) -> _Answer:
    return _Answer({"message": "no such thing"}, 404) if entry is None else _Answer(entry)


def _inspected(entry: Json) -> Json:
    """What is told of one container, from what is told of it in the list."""
    state = {"Status": entry["State"], "Running": entry["State"] in {"running", "paused"}}
    return {
        "Id": entry["Id"],
        "Name": entry["Names"][0],
        "Image": entry["ImageID"],
        "State": {**state, "Paused": entry["State"] == "paused"},
        "Config": {"Labels": entry["Labels"], "Env": []},
        "Mounts": entry["Mounts"],
    }


def _is_wanted(entry: Json, filters: Mapping[str, Sequence[str]]) -> bool:
    ids = filters.get("id")
    return (not ids or entry["Id"].startswith(tuple(ids))) and _has_labels(entry["Labels"], filters)


def _passes(event: Json, filters: Mapping[str, Sequence[str]]) -> bool:
    return (
        event["Type"] in filters.get("type", [event["Type"]])
        and event["Action"].split(":")[0] in filters.get("event", [event["Action"]])
        and _has_labels(event["Actor"]["Attributes"], filters)
    )


def _has_labels(labels: Mapping[str, str], filters: Mapping[str, Sequence[str]]) -> bool:
    wanted = [label.partition("=") for label in filters.get("label", ())]
    return all(name in labels and (not eq or labels[name] == value) for name, eq, value in wanted)


def _line(event: Json) -> bytes:
    return json.dumps(event).encode() + b"\n"


class _Server(ThreadingMixIn):
    """Threads that are waited for; a connection that broke is what the test ordered."""

    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what went wrong, unless it is the connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[misc]


class _UnixServer(_Server, UnixStreamServer):
    request_queue_size = 128

    def server_activate(self) -> None:
        """Have a socket at the place only when it answers, as an engine that systemd listens for."""
        super().server_activate()
        place = str(self.server_address).removesuffix(_UNHEARD)
        Path(f"{place}{_UNHEARD}").rename(place)


class _TcpServer(_Server, TCPServer):
    allow_reuse_address = True


class _Answering(BaseHTTPRequestHandler):
    """Answers for `engine`, which the class made for it names."""

    engine: FakeDocker
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.plain = self.request
        self.engine.begin(self.plain)
        self.request = self.engine.secured(self.plain)
        super().setup()

    def handle(self) -> None:
        # A connection that is cut is what the test ordered, or how its client ends.
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.engine.end(self.request)
        self.engine.end(self.plain)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        path = urlsplit(self.path).path
        self.engine.count_call("HEAD", path, self.path)
        self.send_response(self.engine.refusal(path) or (200 if path == "/_ping" else 404))
        self.send_header("Api-Version", self.engine.api_version)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing: the test knows what it asked for."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = re.sub(r"^/v1\.\d+/", "/", parts.path)
        self.engine.count_call(self.command, path, self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        filters = json.loads(query.get("filters", "{}"))
        if refused := self.engine.refusal(path):
            self._send(_Answer({"message": self.engine.refusal_text}, refused))
        elif path == "/events":
            self._stream(filters, float(query.get("since", "inf")))
        else:
            self._send(self.engine.answer(self.command, path, filters))

    def _send(self, answer: _Answer) -> None:
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, filters: Mapping[str, Sequence[str]], since: float) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        stream = self.engine.subscribe(filters, since)
        try:
            while (piece := self.engine.next_piece(stream)) is not None:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        finally:
            self.engine.unsubscribe(stream)
