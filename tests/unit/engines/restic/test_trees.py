"""Extended attributes, found in the records of a snapshot's folders."""

import base64
import json
from typing import Any

import pytest

from sidecar.engines.base import EngineError, EntryAttributes
from sidecar.engines.restic.trees import find_attributes, unquote

BLUE = [{"name": "user.colour", "value": base64.b64encode(b"blue").decode()}]


def record(*nodes: dict[str, Any]) -> bytes:
    """Write the record of a folder."""
    return json.dumps({"nodes": list(nodes)}).encode()


TREES = {
    "root": record({"name": "data", "subtree": "data", "extended_attributes": BLUE}),
    "data": record(
        {"name": "deep", "subtree": "deep"},
        {"name": "odd\\xff\\n", "extended_attributes": [{"name": "user.none", "value": None}]},
        {"name": "plain", "extended_attributes": None},
        {"name": "other", "subtree": "other"},
    ),
    "deep": record({"name": "x", "extended_attributes": [*BLUE, *BLUE]}),
    "other": record({"name": "y", "extended_attributes": BLUE}),
}


def found(path: str, trees: dict[str, bytes] | None = None) -> list[EntryAttributes]:
    """Return what is found at and below a path."""
    held = trees or TREES
    return list(find_attributes(b'{"tree": "root"}', path, held.__getitem__))


def test_all_that_has_attributes_is_found() -> None:
    """In names of any bytes, and with empty values."""
    colour = {"user.colour": b"blue"}
    expected = [
        EntryAttributes(b"/data", colour),
        EntryAttributes(b"/data/odd\xff\n", {"user.none": b""}),
        EntryAttributes(b"/data/other/y", colour),
        EntryAttributes(b"/data/deep/x", colour),
    ]

    assert expected == found("/data") == found("/")


def test_only_what_is_at_and_below_the_path_is_found() -> None:
    """Records of other folders are not even read."""
    trees = {name: tree for name, tree in TREES.items() if name != "other"}

    assert [b"/data/deep/x"] == [one.path for one in found("/data/deep", trees)]
    assert [b"/data/other/y"] == [one.path for one in found("/data/other/y")]
    assert [] == found("/data/none")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", b"plain"),
        (r"a\"b\\c", b'a"b\\c'),
        (r"\a\b\f\n\r\t\v", b"\a\b\f\n\r\t\v"),
        (r"\x00\xff\101", b"\x00\xffA"),
        (r"\u00e9\U0001f600\ud800", "é😀".encode() + b"\xed\xa0\x80"),
        ("é", "é".encode()),
    ],
)
def test_names_are_read_as_go_writes_them(name: str, expected: bytes) -> None:
    """Whatever bytes they have."""
    assert expected == unquote(name)


@pytest.mark.parametrize(
    "tree",
    [
        b"",
        b"[]",
        b'{"nodes": 5}',
        b'{"nodes": [5]}',
        b'{"nodes": [{"name": "a", "extended_attributes": [5]}]}',
        b'{"nodes": [{"name": "a", "extended_attributes": [{"name": "user.a", "value": "!"}]}]}',
        b"{" + b"[" * 100_000,
    ],
)
def test_a_record_that_cannot_be_read_is_an_error(tree: bytes) -> None:
    """It may be of a restic that does not exist yet."""
    with pytest.raises(EngineError, match="record of a folder"):
        found("/", {"root": tree})
