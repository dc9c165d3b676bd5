"""Each page goes as it is told: its files are written, its commands run, what they print is so."""

from pathlib import Path

import pytest

from sidecar.cli.commands.main import run_cli
from tests.docs.blocks import ROOT, Block, blocks_of, page_name, pages
from tests.docs.story import begin_story, told_blocks


def told_pages() -> list[Path]:
    """The pages that have anything to run without an engine."""
    return [page for page in pages() if list(_told(page))]


def _told(page: Path) -> list[Block]:
    languages = ("console", "yaml")
    blocks = told_blocks(blocks_of(page), engine=False)
    return [block for block in blocks if block.file or block.language in languages]


@pytest.mark.parametrize("page", told_pages(), ids=page_name)
def test_a_page_goes_as_it_is_told(page: Path, tmp_path: Path) -> None:
    """From top to bottom in one folder, which is empty at first."""
    story = begin_story(tmp_path / "story")
    for block in _told(page):
        story.tell(block)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.dry-run.yaml"])
def test_our_own_compose_files_are_clean(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What we hand out passes our own lint, also its strict form."""
    arguments = ["lint", "--strict", "--config", str(ROOT / "none"), "--compose", str(ROOT / name)]
    assert 0 == run_cli(arguments), capsys.readouterr().out


def test_the_pages_have_stories() -> None:
    """An empty list would pass without having looked at anything."""
    assert {"README.md"} <= set(map(page_name, told_pages()))
