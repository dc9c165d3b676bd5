"""The daemon as a whole, in this process: what ends it besides a signal."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from sidecar.backrest.operations import Status
from sidecar.reconciler import daemon
from sidecar.reconciler.daemon import ReconcilerDaemon
from sidecar.reconciler.init import render_document
from sidecar.reconciler.reconcile import reconcile_now
from sidecar.reconciler.settings import BackrestLogin, InventorySource, ReconcilerSettings
from sidecar.reconciler.state import FirstRun, Memory
from tests.fakes.fake_backrest import FakeBackrest
from tests.fakes.fake_docker import FakeDocker


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


def test_the_daemon_has_a_plan_run_for_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--apply` too: it only needs the address of Backrest."""
    config = tmp_path / "config.json"
    config.write_bytes(render_document("/repository", "none", "default", "new"))
    with FakeDocker() as docker:
        labels = {"backrest.enable": "true", "backrest.schedule": "every 2d"}
        mount = {"Type": "bind", "Source": "/srv/web", "Destination": "/data"}
        docker.add("web", labels, mounts=[mount])
        source = InventorySource(docker_sock=docker.address)
        settings = ReconcilerSettings(config, source=source)
        reconcile_now(settings, datetime.now(UTC), {}, dry_run=False)
        long_ago = FirstRun(time.time() - 3 * 86400)
        Memory(settings.state_directory).change(first_runs={"backrest_sidecar_web": long_ago})
        with FakeBackrest(config) as fake:

            class EndingAfterTheRun(Failing):
                def _fail(self) -> None:
                    fake.wait_for(Status.IN_PROGRESS, "backrest_sidecar_web", 20.0)
                    fake.finish("backrest_sidecar_web")
                    super()._fail()

            monkeypatch.setattr(daemon, "EventStream", EndingAfterTheRun)
            asking = ReconcilerSettings(config, source=source, access=BackrestLogin(fake.url))
            assert not ReconcilerDaemon(asking, {}).run()
            assert 1 == fake.asked.count("Backup")
