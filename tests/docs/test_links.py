"""Links lead to files and headings that exist, and every page can be reached."""

from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, page_name, pages
from tests.docs.links import find_dead_links, links_to_pages

# Where a reader begins; GitHub itself links to the others of these.
ENTRANCES = ("README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the project, and where an anchor is given to a heading of it."""
    assert [] == list(find_dead_links(page, ROOT))


def test_every_page_can_be_reached() -> None:
    """By links, beginning with the README."""
    reached = {ROOT / name for name in ENTRANCES if (ROOT / name).exists()}
    waiting = list(reached)
    while waiting:
        found = links_to_pages(waiting.pop()) - reached
        reached |= found
        waiting += [page for page in found if page.exists()]

    assert [] == [page_name(page) for page in pages() if page not in reached]
