"""Our reading of Compose files against Docker Compose 2 itself, and against PyYAML's versions.

Compose is asked by `config`; containers, labels, mounts and volumes have to be the same, or
both refuse. `tests/property/compose_files.py` makes the files that nobody has written.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import blocks_of, pages
from tests.docs.reading import is_compose, parse_block
from tests.property.compose_files import make_sample
from tests.property.compose_oracle import (
    ROOT,
    Made,
    Refused,
    ask_compose,
    ask_other_yaml,
    read_without,
    write_sample,
)

HOME = {"PATH": os.defpath, "HOME": "/home/ann"}
FILES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*compose*.yaml", "testdata/**/*.yaml")
    for path in ROOT.glob(pattern)
)
EXAMPLES = {
    block.place: block.text
    for page in pages()
    for block in blocks_of(page)
    if is_compose(parse_block(block))
}
# A file that overrides another is refused alone, and read by us: the image decides nothing here.
WITHOUT_IMAGE = "has neither an image nor a build context specified"
# What only Compose can resolve, and how it looks in a file.
NEEDS = {
    "a second document in one file": r"(?m)^---$",
    "`extends`": r"\bextends:",
    "`include`": r"(?m)^include:",
    "`label_file`": r"\blabel_file:",
    "the tag `!override`": r"!override\b",
    "the tag `!reset`": r"!reset\b",
}
BLOCK = 50
BLOCKS = 6


def agrees(text: str, theirs: Made | Refused, ours: Made | Refused) -> bool:
    """Whether both readers agree, or ours says truly that the file needs Compose."""
    if not isinstance(ours, Refused):
        return ours == theirs or (isinstance(theirs, Refused) and WITHOUT_IMAGE in theirs.why)
    needed = re.search(r"line \d+: (.*) needs Docker Compose$", ours.why)
    if needed:
        return re.search(NEEDS[needed[1]], text) is not None
    return isinstance(theirs, Refused)


@pytest.mark.parametrize("profiles", ["", "*"])
@pytest.mark.parametrize("name", FILES)
def test_files_of_the_repository_are_read_as_compose_reads_them(name: str, profiles: str) -> None:
    """Those that people paste, the stacks, and the examples of the tests."""
    file, environment = ROOT / name, {**HOME, "COMPOSE_PROFILES": profiles}

    theirs, ours = ask_compose([file], environment), read_without([file], environment)

    assert agrees(file.read_text(), theirs, ours), (theirs, ours)


@pytest.mark.parametrize("place", EXAMPLES)
def test_examples_of_the_pages_are_read_as_compose_reads_them(place: str, tmp_path: Path) -> None:
    """What a page shows is what a reader runs."""
    file = tmp_path / "compose.yaml"
    file.write_text(EXAMPLES[place])

    theirs, ours = ask_compose([file], HOME), read_without([file], HOME)

    assert agrees(EXAMPLES[place], theirs, ours), (theirs, ours)


def test_the_files_were_found() -> None:
    """Each stack, the files at the top, and pages with examples."""
    assert len(FILES) >= 77
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("block", range(BLOCKS))
def test_generated_files_are_read_as_compose_reads_them(block: int, tmp_path: Path) -> None:
    """Many forms in one file: merges, variables, `.env`, mounts, labels, profiles, names."""
    numbers = range(block * BLOCK, (block + 1) * BLOCK)
    folders = {
        number: write_sample(make_sample(number), tmp_path / str(number)) for number in numbers
    }

    def compare(number: int) -> tuple[Made | Refused, Made | Refused]:
        file, environment = folders[number], make_sample(number).environment | HOME
        return ask_compose([file], environment), read_without([file], environment)

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(numbers, pool.map(compare, numbers), strict=True))

    differing = {
        number: (make_sample(number), *both)
        for number, both in answers.items()
        if not agrees(make_sample(number).text, *both)
    }
    assert differing == {}
    # Most are no mistakes: two refusals prove little.
    assert sum(isinstance(theirs, Made) for theirs, _ in answers.values()) >= BLOCK // 2


def test_another_pyyaml_reads_the_same(tmp_path: Path) -> None:
    """6.0.4 merges otherwise than 6.0.3 where a merged mapping merges; we merge ourselves."""
    samples = {number: make_sample(number) for number in range(2 * BLOCK)}
    files = {
        number: write_sample(sample, tmp_path / str(number)) for number, sample in samples.items()
    }
    environments = {number: sample.environment | HOME for number, sample in samples.items()}

    version, others = ask_other_yaml(files, environments)

    assert version != yaml.__version__
    ours = {number: read_without([file], environments[number]) for number, file in files.items()}
    assert {number: repr(one) for number, one in ours.items()} == others
