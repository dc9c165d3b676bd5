"""The literal list of what a plan leaves out, as rsync reads it."""

from sidecar.engines.rsync.excluded import render_patterns


def test_a_pattern_means_one_path() -> None:
    """Signs that mean something stand for themselves; a backslash does so by itself."""
    paths = [b"/data/plain", b"/data/a*b?[c]\\d", b"/data/back\\slash", b"/data/\n\xff"]

    assert (
        b"/data/plain\0/data/a\\*b\\?\\[c]\\\\d\0/data/back\\slash\0/data/\n\xff\0"
    ) == render_patterns(paths, b"/")


def test_patterns_begin_at_the_folder_that_is_copied() -> None:
    """What is not in it cannot be meant."""
    assert b"/x\0/y/z\0" == render_patterns(
        [b"/data/x", b"/data/y/z", b"/database", b"/e"], b"/data"
    )
