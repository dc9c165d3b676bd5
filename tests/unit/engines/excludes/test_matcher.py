"""What patterns leave out; each row was seen with restic 0.14 and 0.18."""

import pytest

from sidecar.engines.excludes.matcher import ExcludeMatcher
from sidecar.lib.text import SpecInvalid


def is_taken(path: str, excludes: tuple[str, ...], iexcludes: tuple[str, ...] = ()) -> bool:
    """Return whether a walk from `/data` on comes to a path below it, and takes it."""
    place = ExcludeMatcher(excludes, iexcludes).place(b"/data")
    for name in path.encode(errors="surrogateescape").split(b"/"):
        below = place.below(name)
        assert place.leaves_out(name) == below.is_left_out
        if place.is_left_out or below.is_left_out:
            return False
        place = below
    return True


@pytest.mark.parametrize(
    ("pattern", "taken", "left_out"),
    [
        ("b", "a", "b"),
        ("b", "ab", "a/b/c"),
        ("/b", "b", ""),
        ("/data/b", "c/data/b", "b"),
        ("a/c", "a/b/c", "x/a/c"),
        ("*", "", "a"),
        ("*.tmp", "a.tmp.x", "x/.tmp"),
        ("a*", "ba", "a"),
        ("a*b*c", "abbd", "aXbc"),
        ("a*b*", "ac", "acb"),
        ("a/*/c", "a/c", "a/b/c"),
        ("a/**/c", "x/c", "a/c"),
        ("a/**/c", "a/b", "a/x/y/c"),
        ("/**/c", "a", "a/b/c"),
        ("a**c", "a/c", "abc"),
        ("/data/a/**/b/**", "a/x/b", "a/x/b/c"),
        ("**/data/**/b/**", "", "b/x"),
        ("data/**/**/**", "", "a"),
        ("b/**", "a", "b"),
        ("**", "", "a"),
        ("./b/../c//", "b", "c"),
        ("/data/b/", "c", "b"),
        ("", "a", ""),
        ("?", "ab", "€"),
        ("/data/*??", "é", "€"),
        ("[a-c]", "d", "b"),
        ("[c-a]", "b", ""),
        ("[^a-c]", "b", "d"),
        ("[!a]", "b", "!"),
        (r"[\]]", "a", "]"),
        ("[à-\uffff]", "a", "é"),
        ("[\u0400-\U00020000]", "é", "\ue000"),
        ("[\ufffd]", "a", "\udcff"),
        ("[^\ufffd]", "\udcff", "a"),
        ("[^a]", "a", "\udcc3"),
        (r"\*", "a", "*"),
        (r"\!a", "a", "!a"),
        ("]", "a", "]"),
        ("a\n", "a", "a\n"),
    ],
)
def test_one_pattern(pattern: str, taken: str, left_out: str) -> None:
    """What it leaves out, and what lies near."""
    if taken:
        assert is_taken(taken, (pattern,))
    if left_out:
        assert not is_taken(left_out, (pattern,))


@pytest.mark.parametrize("pattern", ["/", "/**", "data", "/data"])
def test_a_pattern_may_leave_out_all(pattern: str) -> None:
    """Then the path itself is left out, and a backup has nothing to save."""
    assert ExcludeMatcher((pattern,)).place(b"/data").is_left_out


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (("*.log", "!keep.log"), "keep.log", True),
        (("!keep.log", "*.log"), "keep.log", False),
        (("a", "!a/b"), "a/b", False),
        (("a/*", "!a/b"), "a/b/c", True),
        (("a/*", "!a/b"), "a/x", False),
        (("a/*", "!a/b", "x"), "a/b/x", False),
        (("/data/*", "!a", "c"), "a/b", True),
        (("/data/*", "!/data/a", "!!b"), "!b", True),
    ],
)
def test_the_last_pattern_counts(patterns: tuple[str, ...], path: str, expected: bool) -> None:
    """But nothing is taken back from within a folder that is left out."""
    assert expected == is_taken(path, patterns)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("B", "b", False),
        ("*.TMP", "x.Tmp", False),
        ("[A-z]", "Q", False),
        ("É*", "éa", False),
        ("İ", "I", False),
        ("σ", "Σ", False),
        ("\ufffdä", "\udcffÄ", False),
        ("a\ufffd", "a\udcff", False),
        ("[\ufffd]", "\udcff", False),
        ("ß", "ẞ", False),
        ("ss", "ß", True),
    ],
)
def test_patterns_may_ignore_case(pattern: str, path: str, expected: bool) -> None:
    """Letters count, not what they are written like."""
    assert expected == is_taken(path, (), (pattern,))


def test_what_ignores_case_takes_back_only_its_own() -> None:
    """Both lists are asked."""
    assert not is_taken("a.log", ("*.log",), ("!A.LOG",))
    assert is_taken("b", ("*.log",), ("*.TMP", "!B.tmp"))
    assert not is_taken("a.tmp", ("*.log",), ("*.TMP", "!B.tmp"))
    assert is_taken("B.TMP", ("*.log",), ("*.TMP", "!B.tmp"))


@pytest.mark.parametrize(
    "pattern",
    [
        "[",
        "a[",
        "[]",
        "[]a]",
        "[^]",
        "[a-]",
        "[-a]",
        "[a",
        "a\\",
        "[\\",
        "[a-\\",
        "x/[a/b]",
        "*[",
        "\ud800",
    ],
)
def test_patterns_that_restic_refuses_are_refused(pattern: str) -> None:
    """The message shows the pattern."""
    for given in ({"excludes": [pattern]}, {"iexcludes": [f"!{pattern}"]}):
        with pytest.raises(SpecInvalid, match="restic cannot read the pattern"):
            ExcludeMatcher(**given)


def test_folders_in_which_patterns_have_come_differently_far_are_forgotten() -> None:
    """The memory does not grow with the tree."""
    patterns = [f"/data/{number}/x" for number in range(1500)]
    place = ExcludeMatcher(patterns).place(b"/data")
    assert all(place.below(b"%d" % number).leaves_out(b"x") for number in range(1500))
    assert place.below(b"0").leaves_out(b"x")


def test_patterns_that_would_take_long_are_refused_or_quick() -> None:
    """Whoever writes a label must not make a backup take long."""
    with pytest.raises(SpecInvalid, match=r"more than 16 parts that are \*\*"):
        ExcludeMatcher(["**/" * 17 + "a"])
    patterns = ["**/" * 16 + "a", "/" + "**/*/" * 16 + "a", "?" * 1000, "*a" * 1000 + "b"]
    place = ExcludeMatcher(patterns).place(b"/b" * 50)
    assert place.leaves_out(b"a")
    assert not place.leaves_out(b"a" * 255)
