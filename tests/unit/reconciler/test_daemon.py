"""The daemon as a whole, in this process: what ends it besides a signal."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from sidecar.reconciler import daemon
from sidecar.reconciler.daemon import ReconcilerDaemon
from sidecar.reconciler.settings import InventorySource, ReconcilerSettings


class Failing:
    """A part whose thread ends by an error."""

    is_connected = False

    def __init__(self, *_: object, **__: object) -> None:
        self._thread = threading.Thread(target=self._fail, name="events")

    def _fail(self) -> None:
        raise RuntimeError("backrest.notify=discord:https://MARK")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.join()


def test_a_thread_that_fails_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says where, not what: whoever supervises it starts it anew, instead of it limping on."""
    monkeypatch.setattr(daemon, "EventStream", Failing)
    hook = threading.excepthook
    settings = ReconcilerSettings(
        tmp_path / "config.json", source=InventorySource(docker_sock=str(tmp_path / "none.sock"))
    )

    assert not ReconcilerDaemon(settings, {}).run()

    (failed,) = [record for record in caplog.records if record.message == "thread.failed"]
    fields = vars(failed)["fields"]
    assert ("events", "RuntimeError") == (fields["thread"], fields["reason"])
    assert "MARK" not in caplog.text + str(fields)
    assert hook is threading.excepthook
    assert not (tmp_path / ".sidecar" / "heartbeat.json").exists()
