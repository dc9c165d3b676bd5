"""What flags of a backup mean for engines other than restic; how words are read is tested there."""

import pytest

from sidecar.backrest.backup_flags import ExcludeFlags, FolderTag, split_backup_flags
from sidecar.lib.text import SpecInvalid


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ExcludeFlags()),
        ("-e a --exclude=b --iexclude C", ExcludeFlags(("a", "b"), ("C",))),
        (
            "--exclude-file f --iexclude-file=g --exclude-file h",
            ExcludeFlags(exclude_files=("f", "h"), iexclude_files=("g",)),
        ),
        (
            "--exclude-if-present a --exclude-if-present a: --exclude-if-present b:c:d",
            ExcludeFlags(tags=(FolderTag("a"), FolderTag("b", b"c:d"))),
        ),
        ("--exclude-caches", ExcludeFlags()),
        ("--exclude-caches=false", ExcludeFlags(cache_tags=False)),
        ("--exclude-caches=F --exclude-caches", ExcludeFlags()),
        ("-x", ExcludeFlags(one_file_system=True)),
        ("--one-file-system=true -x=0", ExcludeFlags()),
        ("--exclude-larger-than 5 --exclude-larger-than=+010", ExcludeFlags(largest=10)),
        ("--exclude-larger-than 3b", ExcludeFlags(largest=3)),
        ("--exclude-larger-than 3K", ExcludeFlags(largest=3 << 10)),
        ("--exclude-larger-than 3m", ExcludeFlags(largest=3 << 20)),
        ("--exclude-larger-than 3G", ExcludeFlags(largest=3 << 30)),
        ("--exclude-larger-than 3t", ExcludeFlags(largest=3 << 40)),
        ("--exclude-larger-than 0", ExcludeFlags(largest=0)),
        ("--exclude-larger-than=", ExcludeFlags()),
    ],
)
def test_flags_that_exclude_mean_the_same_for_every_engine(
    words: str, expected: ExcludeFlags
) -> None:
    """Of switches and sizes the last counts."""
    assert (expected, ()) == split_backup_flags(words.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--tag a -e x --tag=b --force", ("--tag", "--force")),
        ("-vvx extra", ("--verbose", "a word that is no flag")),
        (
            "-z --exclude",
            ("the shorthand '-z', which is none of a backup", "--exclude without its value"),
        ),
        ("--exclude-everything=secret", ("--exclude-everything",)),
    ],
)
def test_other_flags_are_named_without_their_values(words: str, expected: tuple[str, ...]) -> None:
    """Each once: they are restic's alone."""
    assert expected == split_backup_flags(words.split()).others


@pytest.mark.parametrize(
    "word",
    [
        "--exclude-larger-than=-1",
        "--exclude-larger-than=1.5k",
        "--exclude-larger-than=5kb",
        "--exclude-larger-than=5KiB",
        "--exclude-larger-than=1_0",
        "--exclude-larger-than=9999999t",
        "--exclude-larger-than=k",
        "--exclude-larger-than=\u0663",
        "--exclude-if-present=",
        "--exclude-if-present=:x",
        "--exclude-caches=maybe",
        "--one-file-system=",
    ],
)
def test_values_that_restic_refuses_are_refused(word: str) -> None:
    """The message names the flag."""
    with pytest.raises(SpecInvalid, match=word.partition("=")[0]):
        split_backup_flags([word])
