"""Plan ids: what the golden cases cannot name."""

from hashlib import blake2b

import pytest

from sidecar.planner.ids import PREFIX, sanitize, suffixed_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ab-1", "ab_1"),
        ("__a__b__", "a__b"),
        ("İ", "i"),
        ("-._", ""),
        ("", ""),
        ("ＡＢ", ""),
        ("x\ny", "x_y"),
    ],
)
def test_sanitize(text: str, expected: str) -> None:
    """Lower case, one `_` for each other character, none at either end."""
    assert sanitize(text) == expected


def test_the_suffix_is_the_beginning_of_the_key_s_hash() -> None:
    """Six hex digits of BLAKE2b with 512 bits, unkeyed, over the UTF-8 of the natural key."""
    expected = blake2b("demo/wéb".encode(), digest_size=64).hexdigest()[:6]
    assert suffixed_id("p_demo_web", "demo/wéb") == f"p_demo_web_{expected}"


@pytest.mark.parametrize(
    ("prefix", "valid"),
    [
        ("a_", True),
        ("backrest_sidecar_", True),
        ("0__", True),
        ("a", False),
        ("_a_", False),
        ("A_", False),
        ("a-_", False),
        ("_", False),
        ("", False),
        ("ä_", False),
        ("a_\n", False),
    ],
)
def test_prefixes(prefix: str, valid: bool) -> None:
    """A prefix begins with a letter or digit, ends with `_` and has lower case only."""
    assert bool(PREFIX.fullmatch(prefix)) == valid
