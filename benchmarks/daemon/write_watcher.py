"""Watch a file by inotify: when a text appears in it, and how often it is replaced."""

import ctypes
import os
import select
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_MOVED_TO, _CLOSE_WRITE = 0x80, 0x08
_HEAD = struct.Struct("iIII")
_BUFFER = 65536
_LIBRARY = ctypes.CDLL(None, use_errno=True)


class WriteWatcher:
    """Watches one file by inotify in a thread: each rename onto its name is a write.

    Times are seconds of `time.perf_counter`, taken before the file is read.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._wanted = b""
        self._seen_at: float | None = None
        self._last = time.perf_counter()
        self._writes = 0
        self._notify = _watch(file.parent)
        self._ending, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run, name="write-watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        os.close(self._end)
        self._thread.join()
        os.close(self._ending)
        os.close(self._notify)

    @property
    def writes(self) -> int:
        """How often the file was replaced since the beginning."""
        return self._writes

    @property
    def calm(self) -> float:
        """Seconds since the last write, or since the beginning."""
        return time.perf_counter() - self._last

    def want(self, text: bytes) -> None:
        """Look for this text in each content from now on."""
        with self._changed:
            self._wanted, self._seen_at = text, None

    def wait(self, seconds: float) -> float:
        """Wait for what is wanted; return when it was first seen. Raises RuntimeError."""
        with self._changed:
            self._changed.wait_for(lambda: self._seen_at is not None, seconds)
            if self._seen_at is None:
                raise RuntimeError(f"{self._wanted!r} never came into {self._file.name}")
            return self._seen_at

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._notify, select.POLLIN)
        poll.register(self._ending, select.POLLIN)
        while self._ending not in [found for found, _ in poll.poll()]:
            told = os.read(self._notify, _BUFFER)
            now = time.perf_counter()
            if count := _names(told).count(self._file.name.encode()):
                self._note(now, count)

    def _note(self, now: float, count: int) -> None:
        content = self._file.read_bytes()
        with self._changed:
            self._writes += count
            self._last = now
            if self._wanted and self._wanted in content and self._seen_at is None:
                self._seen_at = now
            self._changed.notify_all()


def _watch(directory: Path) -> int:
    descriptor: int = _LIBRARY.inotify_init1(os.O_CLOEXEC)
    mask = _MOVED_TO | _CLOSE_WRITE
    if descriptor < 0 or _LIBRARY.inotify_add_watch(descriptor, bytes(directory), mask) < 0:
        raise OSError(ctypes.get_errno(), f"{directory} cannot be watched")
    return descriptor


def _names(told: bytes) -> list[bytes]:
    """The names in what inotify told, in order."""
    names: list[bytes] = []
    at = 0
    while at < len(told):
        length = _HEAD.unpack_from(told, at)[3]
        at += _HEAD.size + length
        names.append(told[at - length : at].rstrip(b"\0"))
    return names
