"""The matcher of exclude patterns decides as restic does.

These are some sets of patterns. For a long run, see tests/engines/generated_excludes.py:

    python -m tests.engines.generated_excludes 10000 restic another/restic
"""

from pathlib import Path

import pytest

from sidecar.engines.excludes.matcher import ExcludeMatcher
from tests.engines.bench import RESTIC
from tests.engines.generated_excludes import ResticOracle, compare_many, shown

# Letters of Unicode 14, of which the restic of Debian 12 is older.
_VITHKUQI = {chr(code) for code in range(0x10570, 0x105BD)}
_NEW = {*"\u2c2f\u2c5f\ua7c0\ua7c1\ua7d0\ua7d1\ua7d6\ua7d7\ua7d8\ua7d9", *_VITHKUQI}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> ResticOracle:
    """Return a restic that says what it would take."""
    return ResticOracle(RESTIC, tmp_path_factory.mktemp("oracle"))


def test_generated_patterns_leave_out_what_restic_leaves_out(
    oracle: ResticOracle, tmp_path: Path
) -> None:
    """Trees with all kinds of names, and patterns of which most match something."""
    counted = compare_many(oracle, tmp_path, range(1000, 1150))
    assert 150 == counted.sets
    assert counted.refused + counted.refused_by_us < 15 < counted.left_out < counted.decided


def test_letters_are_lowered_as_restic_lowers_them(oracle: ResticOracle, tmp_path: Path) -> None:
    """Every letter with two cases, but for those that an older restic does not know yet."""
    signs = [chr(code) for code in range(128, 0x110000) if not 0xD800 <= code < 0xE000]
    cased = [one for one in signs if one not in _NEW and {one} != {one.lower(), one.upper()}]
    names = {f"{number:05}{sign}" for number, sign in enumerate(cased)}
    for name in names:
        (tmp_path / name).touch()
    patterns = tuple(f"*{sign}" for sign in {sign.lower() for sign in cased})
    place = ExcludeMatcher(iexcludes=patterns).place(bytes(tmp_path))
    ours = {name for name in names if not place.leaves_out(name.encode())}
    (tmp_path / "patterns").write_text("\n".join(patterns))
    theirs = oracle.taken([f"--iexclude-file={tmp_path / 'patterns'}"], bytes(tmp_path))
    assert theirs is not None
    found = {Path(path).name for path in theirs if path.startswith(shown(bytes(tmp_path)) + "/")}
    assert ours == found - {"patterns"}
