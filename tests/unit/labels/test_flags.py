"""backup-flags beyond what the golden cases show: every reader reads the same in what we write."""

import random
import shlex

import pytest

from sidecar.labels.flags import judge_flags, split_words
from sidecar.labels.policy import HookPolicy
from sidecar.lib.text import SpecInvalid
from tests.fakes import google_shlex, restic_flags

PIECES = (
    *("--tag", "--exclude", "--one-file-system", "--exclude-caches", "--password-command"),
    *("-x", "-v", "-vv", "-H", "-xHname", "-H=a", "-v=2", "-", "--", "---x", "--=", "-z", "-xvv"),
    *(
        "=",
        " ",
        "  ",
        "#",
        "#x",
        "'",
        '"',
        "\\",
        "$",
        "`",
        "a",
        "b c",
        ",",
        "plan:x",
        "\u00a0",
        "é",
    ),
    *("\u2028", "--tag=", "--tag=#recycle", "--exclude=--x", "{{", ";", "&", "|", "*", "\t"),
)


def test_a_flag_longer_than_any_system_takes_is_refused() -> None:
    """One label could hold up a pass."""
    assert split_words("--tag " + "x" * 16_000) == ["--tag", "x" * 16_000]
    with pytest.raises(SpecInvalid, match="longer than 16384"):
        split_words("x" * 16_385)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("--tag #x", ["--tag", "#x"]),
        ("\"a b\"c'd e'", ["a bc" + "d e"]),
        (r'"\"\\\$\`\n" \x', ['"\\$`\\n', "x"]),
        ("'' \"\"", ["", ""]),
        ("a\tb\nc", ["a", "b", "c"]),
        ("  ", []),
    ],
)
def test_words_are_those_of_a_shell(item: str, words: list[str]) -> None:
    """But `#` begins no comment."""
    assert split_words(item) == words


@pytest.mark.parametrize(
    "item", ["'a", '"a', "a\\", "--tag=\x00", "--tag=\x1b[1m", "'a\tb'", "\x85", "a\ud800"]
)
def test_what_no_argument_should_hold_cannot_be_split(item: str) -> None:
    """Unclosed quotes, control characters and lone surrogates."""
    with pytest.raises(SpecInvalid):
        split_words(item)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (("-vv",), ("--verbose=2",)),
        (("-v",), ("--verbose",)),
        (("-v=3",), ("--verbose=3",)),
        (("-vv=3",), ("--verbose=3",)),
        (("-xvvf",), ("--one-file-system", "--verbose=2", "--force")),
        (("-Hname",), ("--host=name",)),
        (("-H=name",), ("--host=name",)),
        (("-H=",), ("--host==",)),
        (("-xH", "name"), ("--one-file-system", "--host=name")),
        (("-x=false",), ("--one-file-system=false",)),
        (("--tag=",), ("--tag=",)),
        (("--tag ''",), ("--tag=",)),
        (("--tag #recycle",), ("--tag='#recycle'",)),
        (("--tag it\\'s",), ("--tag='it'\"'\"'s'",)),
        (("--exclude=--x",), ("--exclude=--x",)),
    ],
)
def test_flags_are_written_in_one_form(items: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Shorthands become long, and a value stands behind `=`."""
    assert judge_flags(items, HookPolicy.ALL) == (expected, (), False)


@pytest.mark.parametrize(
    "items",
    [
        ("--",),
        ("-",),
        ("---x",),
        ("--=x",),
        ("extra",),
        ("-z",),
        ("-xz",),
        ("--exclude-caches extra",),
        ("--tag",),
        ("--tag", "--", "x"),
        ("-v=",),
        ("-xx=",),
    ],
)
def test_what_is_no_flag_is_refused(items: tuple[str, ...]) -> None:
    """Under the widest policy too."""
    assert judge_flags(items, HookPolicy.ALL).refused


@pytest.mark.parametrize("policy", HookPolicy)
@pytest.mark.parametrize(
    "value", ["plan:x", "a, plan:x", "\u00a0plan:x", "created-by:x", "a,\u2003created-by:", "plan:"]
)
def test_no_tag_claims_a_snapshot_for_a_plan(value: str, policy: HookPolicy) -> None:
    """Restic trims each part, and finds the snapshots of a plan by its tags."""
    judged = judge_flags((f"--tag='{value}'",), policy)

    assert (judged.items, judged.needs_all) == ((), False)
    assert judged.refused


def test_every_reader_reads_the_same_in_what_we_write() -> None:
    """Backrest splits by google/shlex, people's tools by a shell's rules; restic reads flags."""
    chance = random.Random(11)  # noqa: S311  # not for secrets: the same strings each time
    kept = 0
    for _ in range(6_000):
        words = [
            "".join(chance.choices(PIECES, k=chance.randint(1, 4)))
            for _ in range(chance.randint(1, 3))
        ]
        try:
            judged = judge_flags(tuple(words), HookPolicy.ALL)
        except SpecInvalid:
            continue
        kept += len(judged.items)
        split = [google_shlex.split(item) for item in judged.items]
        assert split == [shlex.split(item) for item in judged.items]
        assert [len(item or ()) for item in split] == [1] * len(split)
        flags, others = restic_flags.parse([word for item in split for word in item or ()])
        assert others == []
        again = judge_flags(judged.items, HookPolicy.ALL)
        assert again.items == judged.items
        assert len(flags) == len(judged.items)
        if not judged.refused:
            written = restic_flags.parse([part for word in words for part in split_words(word)])
            assert _without_level(written[0]) == _without_level(flags)
    assert kept > 1_000


def _without_level(flags: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Leave out how much restic tells: `-vv` is one flag in our form, and two in restic's."""
    return [flag for flag in flags if flag[0] != "--verbose"]
