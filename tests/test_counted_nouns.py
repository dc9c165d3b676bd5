"""A number and a noun in a message agree: `1 file`, not `1 files`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.backrest.plan import Schedule
from sidecar.lib.text import counted
from sidecar.schedule.describe import describe_schedule

SOURCES = sorted((Path(__file__).parents[1] / "sidecar").rglob("*.py"))
_NUMBER = re.compile(r"len\(|(?:^|[._])(?:count|number|total|size|hours|minutes|files\w*|plans)$")
_PLURAL = re.compile(r" (?:[a-z-]+ (?:or|and) )?(?:[a-z-]+ )?[a-z]{2,}[^s\W]s\b")
# Numbers that are never one here, by the beginning of their message.
_MANY = {
    "labels/spec.py": "the list has ",
    "runner/restore/choose.py": "",
}


def _uncounted(tree: ast.AST) -> Iterator[ast.JoinedStr]:
    """Yield the texts in which a plural stands behind a number that may be one."""
    guarded = {
        id(part)
        for choice in ast.walk(tree)
        if isinstance(choice, ast.IfExp)
        and re.search(r" (?:==|>) [01]\b", ast.unparse(choice.test))
        for part in ast.walk(choice)
    }
    for text in ast.walk(tree):
        if not isinstance(text, ast.JoinedStr) or id(text) in guarded:
            continue
        for number, words in zip(text.values, text.values[1:], strict=False):
            if isinstance(number, ast.FormattedValue) and isinstance(words, ast.Constant):
                shown = ast.unparse(number.value)
                if _NUMBER.search(shown) and _PLURAL.match(str(words.value)):
                    yield text


def _is_never_one(source: Path, text: ast.JoinedStr) -> bool:
    begin = next((many for name, many in _MANY.items() if source.as_posix().endswith(name)), None)
    first = text.values[0]
    return begin is not None and (not begin or getattr(first, "value", "") == begin)


def test_the_search_finds_a_wrong_singular() -> None:
    """What was wrong until now, and what is right."""
    wrong = ["f'{len(x)} files'", "f'has {held.st_size} bytes'", "f'{done.count} new and old runs'"]
    right = ["f'{len(x)} of it'", "f'{x} files'", "'one' if len(x) == 1 else f'{len(x)} files'"]
    assert [1, 1, 1] == [len(list(_uncounted(ast.parse(text)))) for text in wrong]
    assert [0, 0, 0] == [len(list(_uncounted(ast.parse(text)))) for text in right]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_numbers_and_nouns_agree(source: Path) -> None:
    """By `counted`, or because the number is never one."""
    found = _uncounted(ast.parse(source.read_text()))
    assert [] == [ast.unparse(text) for text in found if not _is_never_one(source, text)]


def test_one_is_one_and_all_else_is_many() -> None:
    """None is many too, as in `0 files`."""
    assert ["0 files", "1 file", "2 files"] == [counted(number, "file") for number in range(3)]
    assert ["1 repository", "2 repositories"] == [
        counted(number, "repository", "repositories") for number in (1, 2)
    ]
    assert "every hour after the last run" == describe_schedule(Schedule(every_hours=1))
