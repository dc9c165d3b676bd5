"""The runner's document beside config.json: used if it is there, and never opened by Backrest.

Where config.json is absent and this one is not, config.json counts as a document without
repositories, of which nothing is ever written: then the bundled runner runs all plans.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidecar.backrest.document import Document, parse_document
from sidecar.backrest.rules import VERSION
from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.planner.documents import Placement
from sidecar.planner.lifecycle import is_disabled
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import State
from sidecar.reconciler.store.read import Stored, naming
from sidecar.reconciler.store.replace import Replacement, Store

NO_CONFIG = f'{{"version": {VERSION}}}'.encode()
"""What an absent config.json counts as, where there is a runner's document."""


def is_absent(path: Path) -> bool:
    """Return whether the directory of a document is there, and nothing has the document's name."""
    return not os.path.lexists(path) and path.parent.is_dir()


def is_without_config(config: Path) -> bool:
    """Return whether there is no config.json, where there is a runner's document.

    One that lies beside it under its usual name was only not named by --config.
    """
    usual = config.with_name("config.json")
    return is_absent(config) and (usual == config or is_absent(usual))


@dataclass(frozen=True, slots=True)
class RunnerVersion:
    """One state of the runner's document: the bytes as they were stored, and decoded."""

    stored: Stored
    document: Document


class RunnerFile:
    """Reads and replaces the runner's document; `config` is the store of config.json.

    For one thread.
    """

    def __init__(self, settings: ReconcilerSettings, config: Store | None = None) -> None:
        self.store = Store(settings.runner_document, settings.config_mode, beside=config)
        self._config = settings.config
        self._known: tuple[Document, ...] = ()

    def read(self) -> RunnerVersion | None:
        """Read it; None where there is none.

        Raises StoreError or DocumentError, naming the file: the pass is void then, for its plans
        must not fall back to another repository.
        """
        folder = self.store.path.parent
        if is_absent(self.store.path) or not (folder.is_dir() or folder != self._config.parent):
            # That there is no folder at all is told of config.json.
            return None
        stored = self.store.read()
        document = next((one for one in self._known if one.content == stored.content), None)
        if document is None:
            with naming(self.store.path):
                document = parse_document(stored.content)
        self._known = (document,)
        return RunnerVersion(stored, document)

    def replace(self, base: RunnerVersion, document: Document) -> Replacement:
        """Write a document in place of the one that was read; raises StoreError."""
        self._known = (base.document, document)
        return self.store.replace(base.stored, document.content)


def read_runner_document(settings: ReconcilerSettings) -> Document | None:
    """Read the runner's document once; None where there is none. Raises SidecarError."""
    version = RunnerFile(settings).read()
    return None if version is None else version.document


def has_let_go(
    settings: ReconcilerSettings, state: State, placement: Placement, now: float
) -> bool:
    """Return whether Backrest has loaded what config.json says of the plans that move.

    By its API, else by when its container has started; `now` is in unix seconds. One that does
    not run holds nothing, and the bundled runner reads config.json by itself.
    """
    # Imported where a plan moves, as below: most passes ask nobody.
    from sidecar.docker.client import DockerClient  # noqa: PLC0415
    from sidecar.reconciler.apply.by_restart import has_read  # noqa: PLC0415
    from sidecar.reconciler.apply.container import (  # noqa: PLC0415
        find_backrest,
        is_bundled_runner,
    )

    if settings.access.url and (served := _served(settings)) is not None:
        leaving = placement.awaited & placement.leaving
        held = [served.plans[plan_id] for plan_id in leaving if plan_id in served.plans]
        return all(map(is_disabled, held)) and placement.arriving <= served.plans.keys()
    name = settings.policy.runner_container
    with DockerClient(settings.source.docker_sock) as connection:
        try:
            backrest = find_backrest(connection, name)
        except InventoryError:
            return False
    if backrest is None:
        # Where an address is named, Backrest may run outside of Docker.
        return not settings.access.url
    if not backrest.is_running or is_bundled_runner(backrest):
        return True
    written_at = state.written_at
    if not written_at:
        # What was remembered is lost: the time of the file is the latest that it can be.
        written_at = settings.config.stat().st_mtime if settings.config.exists() else 0.0
    return has_read(backrest, written_at, now)


def _served(settings: ReconcilerSettings) -> Document | None:
    """Return what Backrest has loaded; None where it does not tell."""
    from sidecar.backrest.api import BackrestApi  # noqa: PLC0415
    from sidecar.reconciler.apply.context import PROBE_SECONDS  # noqa: PLC0415

    access = settings.access
    with (
        suppress(SidecarError),
        BackrestApi(access.url, access.user, access.password, timeout=PROBE_SECONDS) as api,
    ):
        return parse_document(api.get_config())
    return None
