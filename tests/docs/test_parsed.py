"""Every block of every page can be read by what it is for, also those that cannot run here."""

import re
from pathlib import Path

import pytest
import yaml

from sidecar.backrest.engine_options import ENGINE_OPTIONS
from tests.docs.blocks import ROOT, Block, blocks_of, page_name, pages, prose_of
from tests.docs.reading import (
    PROGRAMS,
    Program,
    check_call,
    check_services,
    check_shell,
    command_lines,
    is_compose,
    known_flags,
    known_variables,
    load_yaml,
    our_calls,
    parse_block,
)

BLOCKS = [block for page in pages() for block in blocks_of(page)]
OUR_VARIABLE = r"\bBACKREST_(?:SIDECAR|RUNNER)_\w+"
# Flags of other programs of which the prose speaks.
FOREIGN_FLAGS = {
    *("--exclude-larger-than", "--exclude-if-present", "--exclude-caches", "--one-file-system"),
    *("--skip-if-unchanged", "--tag", "--read-concurrency", "--compression"),
    "--include",  # of restic's restore
    "--fake-super",  # of rsync
    *("--rm", "--user", "--engine", "--image"),  # of docker run, and of our own benchmarks
}
# Those of engines stand in a repository of a document.
ENGINE_FLAGS = {option.name for options in ENGINE_OPTIONS.values() for option in options}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(block.place))
def test_a_block_can_be_read(block: Block) -> None:
    """YAML, JSON, TOML and INI load, shell is sound, and no language is unknown."""
    tree = parse_block(block)
    for line in command_lines(block):
        check_shell(line)
        for program in PROGRAMS:
            for arguments in our_calls(line, program):
                check_call(arguments, program)
    if is_compose(tree):
        check_services(tree)


def test_compose_files_call_us_rightly() -> None:
    """Commands, health checks and variables of our services exist."""
    for file in sorted(ROOT.glob("compose*.yaml")):
        tree = load_yaml(file.read_text())
        assert is_compose(tree), file
        check_services(tree)


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_prose_names_flags_and_variables_that_exist(page: Path) -> None:
    """In code within a line: `--flag`, variables with our prefixes, whole commands of ours."""
    spans = re.findall(r"`([^`\n]+)`", prose_of(page.read_text()))
    flags = {span.split()[0].partition("=")[0] for span in spans if re.match(r"--\w", span)}
    variables = {name for span in spans for name in re.findall(OUR_VARIABLE, span)}
    assert set() == flags - known_flags() - FOREIGN_FLAGS - ENGINE_FLAGS
    assert set() == variables - known_variables()
    for span in spans:
        for program in PROGRAMS:
            if span.startswith(f"{program.name} "):
                check_named(span.split()[1:], program)


def check_named(words: list[str], program: Program) -> None:
    """A command in a sentence: its name and flags exist, values may be left out.

    What follows `--` is another program's.
    """
    check_call([words[0], "--help"], program)
    words = words[: words.index("--")] if "--" in words else words
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known_flags(), words


def test_files_named_in_prose_exist() -> None:
    """Paths below the folders of the project, in code within a line."""
    for page in pages():
        for span in re.findall(r"`([^`\n]+)`", prose_of(page.read_text())):
            if re.fullmatch(r"(?:scripts|docs|testdata|sidecar|benchmarks|tests)/[\w./-]+", span):
                assert (ROOT / span).exists(), f"{page_name(page)}: {span}"


def test_yaml_is_read_as_strictly_as_compose_does() -> None:
    """A key given twice is refused, Compose's own tags are not."""
    assert {"a": [1], "b": None} == load_yaml("a: !override [1]\nb: !reset null\n")
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: 1\na: 2\n")
