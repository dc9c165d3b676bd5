r"""Markdown pages as the tests see them: fenced blocks with their marks, commands, prose.

The conventions of a page:

- A page is a story. Its blocks run from top to bottom in one scratch folder.
- A block whose first line is `# NAME`, NAME a file with a suffix, becomes that file there.
- In a `console` block a line that begins with `$ ` is a command, continued by ` \`; the
  lines after it are what it prints, or nothing where that does not matter.
- A line `...` stands for any lines, `...` within a line for any text, NEXT RUN for a date.
- Marks stand in a comment on the line above the block, several with commas between them:
  `<!-- engine -->` needs a Docker engine, `<!-- parsed -->` cannot run and is only read,
  `<!-- exit 3 -->` ends with that status (of several commands the last one; of a Compose
  file what `lint` says about it), `<!-- file NAME -->` names the file of a block that cannot
  do so itself, as JSON; `<!-- again -->` repeats each command of the block until it goes as
  told, for a minute.
- A page with an `engine` block is told whole on an engine: what is not marked, too. There the
  folder `backup` has the repository's own Compose files.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOT_OURS = {".git", ".venv", ".cache", ".hypothesis", "node_modules"}
_FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *([^`\s]*) *$")
_MARKS = re.compile(r"^ *<!-- *([^>]*?) *--> *$")
_EXIT = re.compile(r"exit (\d{1,3})")
_FILE = re.compile(r"file ([\w./-]+)")
_NAME = re.compile(r"# ([\w./-]*[\w-]\.[a-z]+|\.env|Dockerfile)")


class PageError(ValueError):
    """A page that does not keep to the conventions; the text says where and why."""


class Where(StrEnum):
    """Where a block runs."""

    ANYWHERE = "anywhere"
    ENGINE = "engine"
    NOWHERE = "parsed"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block: a line of shell, and what it prints."""

    line: int
    text: str
    expected: str = ""
    status: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: `line` is that of its fence, counted from 1."""

    page: str
    line: int
    language: str
    text: str
    where: Where = Where.ANYWHERE
    status: int = 0
    named: str = ""
    again: bool = False

    @property
    def place(self) -> str:
        """Page and line, as people look them up."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The file that the block becomes; empty if it becomes none."""
        if self.named:
            return self.named
        match = _NAME.fullmatch(self.text.partition("\n")[0].rstrip())
        return match[1] if match and self.language not in ("console", "text") else ""

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands of a console block; raises PageError where it has none."""
        found = [
            Command(line, text, expected, again=self.again)
            for line, text, expected in _split_commands(self.text, self.line + 1)
        ]
        if not found or not self.text.startswith("$ "):
            raise PageError(f"{self.place}: a console block begins with a command, `$ `")
        return (*found[:-1], replace(found[-1], status=self.status))


def parse_blocks(text: str, page: str = "page") -> tuple[Block, ...]:
    """Find the fenced blocks of a page; raises PageError for an open fence or unknown marks."""
    return tuple(_blocks(text.splitlines(), page))


def pages() -> tuple[Path, ...]:
    """All Markdown pages of the project."""
    folders = [entry for entry in ROOT.iterdir() if entry.name not in _NOT_OURS]
    found = [entry for entry in folders if entry.is_file() and entry.suffix == ".md"]
    return tuple(sorted([*found, *(ROOT / "docs").rglob("*.md")]))


def page_name(page: Path) -> str:
    """The page's path from the root of the project."""
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> tuple[Block, ...]:
    """Find the blocks of one of our pages."""
    return parse_blocks(page.read_text(encoding="utf-8"), page_name(page))


def prose_of(text: str) -> str:
    """A page without its fenced blocks; their lines stay as empty ones, so numbers hold."""
    kept, fence = [], ""
    for line in text.splitlines():
        match = _FENCE.match(line)
        inside = bool(fence)
        if match and not fence:
            fence = match[2]
        elif fence and line.strip() == fence:
            fence = ""
        kept.append("" if inside or fence else line)
    return "\n".join(kept)


def _blocks(lines: list[str], page: str) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        match = _FENCE.match(lines[number])
        if match is None:
            number += 1
            continue
        indent, fence, language = match.groups()
        end = number + 1
        while end < len(lines) and lines[end].strip() != fence:
            end += 1
        if end == len(lines):
            raise PageError(f"{page}:{number + 1}: the block is never closed")
        text = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end])
        above = lines[number - 1] if number else ""
        yield _marked(Block(page, number + 1, language, text), above)
        number = end + 1


def _marked(block: Block, above: str) -> Block:
    match = _MARKS.match(above)
    for mark in match[1].split(",") if match else ():
        word = mark.strip()
        if number := _EXIT.fullmatch(word):
            block = replace(block, status=int(number[1]))
        elif name := _FILE.fullmatch(word):
            block = replace(block, named=name[1])
        elif word == "again":
            block = replace(block, again=True)
        elif word in (Where.ENGINE, Where.NOWHERE):
            block = replace(block, where=Where(word))
        elif not word.startswith("/"):  # the end of a generated table is no mark
            raise PageError(f"{block.place}: there is no mark {word!r}")
    return block


def _split_commands(text: str, first: int) -> Iterator[tuple[int, str, str]]:
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        last = start
        while lines[last].endswith(" \\") and last + 1 < end:
            last += 1
        words = [line.removesuffix("\\").strip() for line in lines[start : last + 1]]
        expected = "\n".join(lines[last + 1 : end])
        yield first + start, " ".join(words).removeprefix("$ "), expected
