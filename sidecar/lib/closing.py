"""What is closed when its `with` block ends, and the thread that lives so long."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Closable(ABC):
    """Has `close()`; a `with` block calls it, whatever happens."""

    @abstractmethod
    def close(self) -> None:
        """End it; once more changes nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Worker(Closable):
    """A thread of that name, which runs `_run` until `close()`; `with` also starts it."""

    def __init__(self, name: str) -> None:
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._interrupt()
        if self._thread.is_alive():
            self._thread.join(self._patience)

    @property
    def _patience(self) -> float | None:
        """Seconds that `close` waits for the thread; None: until it has ended."""
        return None

    def _interrupt(self) -> None:
        """Call off what the thread waits for."""

    @abstractmethod
    def _run(self) -> None:
        """Work until `_closing` is set."""
