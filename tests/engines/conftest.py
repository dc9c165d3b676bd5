"""A bench for each test, with a repository that exists already or without.

`RESTIC_CURRENT=/path/to/restic` adds a second restic to that of the machine.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.runner.journal import Journal
from tests.engines.bench import Bench, ResticBench, RsyncBench, copy_of, empty_tree, quick_repo

CURRENT = os.environ.get("RESTIC_CURRENT", "")
KINDS: dict[str, Callable[[Path], Bench]] = {"restic": ResticBench.at, "rsync": RsyncBench.at}
TEMPLATES: dict[str, Callable[[Path], Path]] = {"restic": quick_repo, "rsync": empty_tree}
if CURRENT:
    KINDS["restic-current"] = lambda folder: ResticBench.at(folder, CURRENT)
    TEMPLATES["restic-current"] = quick_repo


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make an empty repository of each kind once, which is quickly opened."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = TEMPLATES[kind](tmp_path_factory.mktemp(f"{kind}-template"))
        return made[kind]

    return make


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name each engine in turn."""
    return str(request.param)


@pytest.fixture
def empty_bench(kind: str, tmp_path: Path) -> Bench:
    """Return a bench without a repository."""
    return KINDS[kind](tmp_path / "bench")


@pytest.fixture
def bench(empty_bench: Bench, kind: str, template: Callable[[str], Path]) -> Bench:
    """Return a bench with an empty repository."""
    copy_of(template(kind), empty_bench)
    return empty_bench


@pytest.fixture
def restic(tmp_path: Path, template: Callable[[str], Path]) -> ResticBench:
    """Return a bench for restic with an empty repository."""
    made = ResticBench.at(tmp_path / "bench")
    copy_of(template("restic"), made)
    return made


@pytest.fixture
def rsync(tmp_path: Path, template: Callable[[str], Path]) -> RsyncBench:
    """Return a bench for rsync with an empty repository."""
    made = RsyncBench.at(tmp_path / "bench")
    copy_of(template("rsync"), made)
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    with Journal(tmp_path / "state" / "journal.sqlite") as opened:
        yield opened
