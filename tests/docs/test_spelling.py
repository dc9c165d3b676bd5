"""Spelling, of what people read: the pages, the program's own words, its comments."""

import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT

READ = (
    *(
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "Dockerfile",
        "pyproject.toml",
    ),
    *("docs", "sidecar", "scripts", ".github", ".pre-commit-hooks.yaml", ".pre-commit-config.yaml"),
    *sorted(path.name for path in ROOT.glob("compose*.yaml")),
)
# What codespell takes for a slip, and why it is none.
IGNORED = {"offen": "a name: offen/docker-volume-backup"}


def misspelt(*paths: Path) -> list[str]:
    """Run codespell over files and folders; give one line for each word."""
    words = ["--ignore-words-list", ",".join(IGNORED)]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *words, "--check-hidden", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 65), done.stderr
    return done.stdout.splitlines()


def test_everything_is_spelt_rightly() -> None:
    """Tests and their data are left out: they misspell on purpose."""
    assert [] == misspelt(*(ROOT / name for name in READ if (ROOT / name).exists()))


def test_a_misspelt_word_is_found(tmp_path: Path) -> None:
    """Where the dictionary is missing, nothing would ever be found."""
    page = tmp_path / "page.md"
    page.write_text("We " + "recieve" + " it.\n")

    assert 1 == len(misspelt(page))


def test_ignored_words_still_stand_somewhere() -> None:
    """The list does not outlive what it was made for."""
    files = [ROOT / name for name in READ if (ROOT / name).exists()]
    paths = [path for file in files for path in [file, *file.rglob("*")] if path.is_file()]
    words = " ".join(path.read_text(errors="replace").lower() for path in paths)
    assert [] == [word for word in IGNORED if word not in words]
