"""Attacks: what people who may write labels, images, documents or tags try against others.

Each test is an attack with the real program that would be its victim, restic or Docker, and asserts
on what is the case afterwards: nothing ran, nothing foreign was read, deleted or forgotten, and the
one who looks is told. One file for each way in; SECURITY.md names the test beside each promise. What
needs a Docker engine is in tests/docker/test_attack_images.py, beside the others that need one.
"""

from pathlib import Path

import pytest

from sidecar.runner.journal import Journal
from tests.engines.bench import ResticBench, copy_of, quick_repo


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one empty repository that is quickly opened."""
    return quick_repo(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def bench(tmp_path: Path, repository: Path) -> ResticBench:
    """Return a bench with data of its own, and a repository that the attacker shares."""
    made = ResticBench.at(tmp_path / "bench")
    copy_of(repository, made)
    made.write("mine", "mine")
    (made.folder / "foreign").mkdir()
    (made.folder / "foreign" / "theirs").write_text("theirs")
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Return a journal that lives as long as the test."""
    return Journal(tmp_path / "state" / "journal.sqlite")
