"""Which files of a snapshot are verified, and how sizes are written."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engines.base import Entry
from sidecar.lib.errors import UsageError
from sidecar.runner.verify.sample import SampleLimits, Sampler, parse_size, size_of

LIMITS = SampleLimits(count=2, least=10, most=100)


def sample(sizes: Sequence[int], limits: SampleLimits = LIMITS, seed: int = 0) -> list[int]:
    """Let chance choose among files of these sizes; give the sizes of those chosen."""
    sampler = Sampler(limits, random.Random(seed))  # noqa: S311 - no secret is made
    for number, size in enumerate(sizes):
        sampler.add(Entry(f"/{number:03}", "file", size))
    sampler.add(Entry("/folder", "dir", 50))
    sampler.add(Entry("/link", "symlink", 50))
    return [size_of(entry) for entry in sampler.chosen()]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5, 20, 200, 30, 0], [20, 30]),
        ([5, 20, 200], [5, 20]),
        ([5, 6, 200], [5, 6]),
        ([0, 5], [0, 5]),
        ([0, 5, 6], [5, 6]),
        ([300, 200, 400], [200]),
        ([10, 100], [10, 100]),
        ([], []),
    ],
)
def test_files_of_the_wanted_size_come_first(sizes: list[int], expected: list[int]) -> None:
    """Then smaller ones, then empty ones; if there is nothing else, the smallest of the large."""
    assert expected == sample(sizes)


def test_the_same_seed_chooses_the_same_files() -> None:
    """And chance has every file chosen some time."""
    sizes = list(range(20, 90))

    assert sample(sizes, seed=7) == sample(sizes, seed=7)
    assert len({size for seed in range(600) for size in sample(sizes, seed=seed)}) == len(sizes)


def test_names_that_are_no_utf8_are_counted() -> None:
    """Whatever of the path is none; folders and links do not count."""
    sampler = Sampler(LIMITS, random.Random(0))  # noqa: S311 - no secret is made
    for path, kind in (("/a\ufffd/b", "file"), ("/\ufffd", "file"), ("/\ufffdd", "dir")):
        sampler.add(Entry(path, kind, 50))
    sampler.add(Entry("/plain", "file", 50))

    assert (2, ["/plain"]) == (sampler.unnamed, [one.path for one in sampler.chosen()])


@given(st.lists(st.integers(0, 200), max_size=40), st.integers(1, 6), st.integers())
def test_as_many_are_chosen_as_can_be(sizes: list[int], count: int, seed: int) -> None:
    """No file twice, none too large unless there is no other, and never too few."""
    limits = SampleLimits(count, 10, 100)

    chosen = sample(sizes, limits, seed)

    fitting = [size for size in sizes if size <= 100]
    assert len(chosen) == (min(count, len(fitting)) if fitting else min(1, len(sizes)))
    wished = sum(10 <= size for size in fitting)
    assert min(count, wished) == sum(10 <= size <= 100 for size in chosen)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("500 B", 500),
        ("20MB", 20_000_000),
        ("20 mb", 20_000_000),
        ("1k", 1000),
        ("1.5GiB", 3 << 29),
        ("2T", 2 * 10**12),
    ],
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    """Decimal or binary, as it is written."""
    assert size == parse_size("--min-size", text)


@pytest.mark.parametrize("text", ["", "MB", "-1", "1 XB", "1ib", "1e9", "1 MB 2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """The flag is named."""
    with pytest.raises(UsageError, match="--min-size"):
        parse_size("--min-size", text)
