"""Whether Backrest has let go of a plan, by its container and by what we remember."""

import json
import os
from pathlib import Path

import pytest

from sidecar.lib.errors import InventoryError
from sidecar.planner.documents import NO_RUNNER, Placement
from sidecar.reconciler.apply import container
from sidecar.reconciler.apply.container import BackrestContainer, is_bundled_runner
from sidecar.reconciler.runner_document import has_let_go
from sidecar.reconciler.settings import BackrestLogin, ReconcilerSettings
from sidecar.reconciler.state import State
from tests.fakes.fake_backrest import FakeBackrest

STARTED = 1_000.0
DAEMON = ("tini", "--", "backrest-runner", "daemon")


def backrest(*, is_running: bool = True, command: tuple[str, ...] = ()) -> BackrestContainer:
    """Return Backrest's container."""
    return BackrestContainer("1" * 64, "backrest", is_running, STARTED, command=command)


@pytest.mark.parametrize(
    ("found", "written_at", "has"),
    [
        (None, STARTED + 1, True),
        (backrest(is_running=False), STARTED + 1, True),
        (backrest(command=DAEMON), STARTED + 1, True),
        (backrest(), STARTED - 1, True),
        (backrest(), STARTED + 1, False),
        (backrest(), 0.0, False),
        (InventoryError("no answer"), STARTED - 1, False),
    ],
)
def test_backrest_has_let_go_once_it_has_read_the_document(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: BackrestContainer | InventoryError | None,
    written_at: float,
    *,
    has: bool,
) -> None:
    """One that does not run holds nothing; where nothing is remembered, the file's time counts."""
    config = tmp_path / "config.json"
    config.touch()
    os.utime(config, (STARTED + 5, STARTED + 5))

    def find(*_: object) -> BackrestContainer | None:
        if isinstance(found, InventoryError):
            raise found
        return found

    monkeypatch.setattr(container, "find_backrest", find)
    settings = ReconcilerSettings(config)

    assert has is has_let_go(settings, State(written_at=written_at), NO_RUNNER, STARTED + 9)


def test_without_a_document_nothing_is_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There is nothing that Backrest could have read."""
    monkeypatch.setattr(container, "find_backrest", lambda *_: backrest())

    assert has_let_go(ReconcilerSettings(tmp_path / "config.json"), State(), NO_RUNNER, STARTED + 9)


@pytest.mark.parametrize(
    ("command", "is_ours"),
    [
        (("/usr/bin/backrest-runner", "daemon"), True),
        (DAEMON, True),
        (("/backrest",), False),
        (("backrest-runner", "run"), False),
        ((), False),
    ],
)
def test_the_bundled_runner_is_told_by_its_command(
    command: tuple[str, ...], *, is_ours: bool
) -> None:
    """It may stand behind an init."""
    assert is_ours is is_bundled_runner(backrest(command=command))


OUT = Placement(leaving=frozenset({"p"}), awaited=frozenset({"p"}))
BACK = Placement(arriving=frozenset({"p"}), awaited=frozenset({"p"}))
ACTIVE = {"id": "p", "repo": "r", "paths": ["/d"], "schedule": {"cron": "0 3 * * *"}}
OFF = {**ACTIVE, "schedule": {"disabled": True}}


@pytest.mark.parametrize(
    ("placement", "plans", "has"),
    [
        (OUT, [ACTIVE], False),
        (OUT, [OFF], True),
        (OUT, [], True),
        (BACK, [], False),
        (BACK, [ACTIVE], True),
    ],
)
def test_where_backrest_tells_what_it_has_loaded_that_counts(
    tmp_path: Path, placement: Placement, plans: list[dict[str, object]], *, has: bool
) -> None:
    """It may run outside of Docker, or have saved the document itself."""
    config = tmp_path / "config.json"
    repo = {"id": "r", "uri": "/r", "guid": "a" * 64}
    document = {"version": 6, "instance": "here", "repos": [repo], "plans": plans}
    config.write_text(json.dumps({"modno": 1, **document, "auth": {"disabled": True}}))
    fake = FakeBackrest(config, now=lambda: STARTED)
    fake.start()
    try:
        settings = ReconcilerSettings(config, access=BackrestLogin(fake.url))
        assert has is has_let_go(settings, State(), placement, STARTED + 9)
    finally:
        fake.kill()


def test_where_an_address_is_named_and_nobody_answers_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That there is no container does not tell then that Backrest does not run."""
    monkeypatch.setattr(container, "find_backrest", lambda *_: None)
    access = BackrestLogin("http://127.0.0.1:1")
    settings = ReconcilerSettings(tmp_path / "config.json", access=access)

    assert not has_let_go(settings, State(), OUT, STARTED + 9)
