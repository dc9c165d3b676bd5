"""A process that makes one pass in which a plan moves, to be killed anywhere.

usage: one_moving_pass.py REPOSITORY FOLDER

The container's label asks for REPOSITORY. Backrest has read all that stands in config.json.
"""

import sys
from pathlib import Path

from tests.fakes.two_documents import TwoDocuments, inventory


def run_pass(repo: str, folder: Path) -> None:
    """Make the pass."""
    both = TwoDocuments(folder)
    both.restart_backrest()
    both.run(inventory(repo))


if __name__ == "__main__":
    run_pass(sys.argv[1], Path(sys.argv[2]))
