"""Edits on JSON text, member by member."""

from typing import Any

import pytest

from sidecar.backrest.edit import (
    Edit,
    Style,
    apply_edits,
    edit_object,
    insert_items,
    render_json,
    style_of,
)
from sidecar.backrest.jsontext import members


def edited(text: str, settings: dict[str, Any], *removals: str) -> str:
    """Apply settings and removals to the object that the text is."""
    return apply_edits(text, edit_object(text, 0, settings, removals, style_of(text)))


@pytest.mark.parametrize(
    ("removals", "expected"),
    [
        (("a",), '{ "b": 2 ,\n "c":3 }'),
        (("b",), '{ "a" :1 ,\n "c":3 }'),
        (("c",), '{ "a" :1, "b": 2 }'),
        (("a", "b"), '{ "c":3 }'),
        (("b", "c"), '{ "a" :1 }'),
        (("a", "c"), '{ "b": 2 }'),
        (("a", "b", "c"), "{  }"),
        (("d",), '{ "a" :1, "b": 2 ,\n "c":3 }'),
    ],
)
def test_a_removal_takes_the_comma_with_it(removals: tuple[str, ...], expected: str) -> None:
    """Whichever members go, the rest stays valid JSON with its spacing."""
    assert edited('{ "a" :1, "b": 2 ,\n "c":3 }', {}, *removals) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1,"n":5}', '{"a":1,"n":9}'),
        ('{"n":5,"a":1,"n":6}', '{"n":9,"a":1}'),
        ('{"a":1}', '{"a":1,"n":9}'),
        ('{"x":1}', '{"n":9}'),
        ('{"x":1,"a":2}', '{"a":2,"n":9}'),
        ('{"a":2,"x":1}', '{"a":2,"n":9}'),
        ('{\n  "a": 1\n}', '{\n  "a": 1,\n  "n": 9\n}'),
    ],
)
def test_setting_a_key(text: str, expected: str) -> None:
    """A key is set where it stands, else behind the last member that stays; doubles go."""
    assert edited(text, {"n": 9}, "x") == expected


def test_keys_with_escapes_are_the_keys_they_mean() -> None:
    """A key is found by its meaning, whatever its spelling."""
    assert edited('{"\\u006e": 1}', {"n": 2}) == '{"\\u006e": 2}'


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("{}", "  "),
        ("{ \n }", "  "),
        ('{"a":1}', None),
        ('{ "a":1}', None),
        ('{\n    "a": 1}', "    "),
        ('\n{\r\n\t"a": 1}', "\t"),
        ('{\n"a":1}', ""),
    ],
)
def test_the_style_is_that_of_the_first_member(text: str, unit: str | None) -> None:
    """One step of indentation is what stands before the first member."""
    assert style_of(text) == Style(unit)


@pytest.mark.parametrize("unit", ["", " ", "  ", "\t", " \t"])
def test_values_are_written_at_their_depth(unit: str) -> None:
    """Each level is one step further in; empty lists and objects stay on their line."""
    text = render_json({"a": [1, {}], "b": True, "c": 'ä\n"  \u2028'}, Style(unit, 2))
    inner, item = "\n" + unit * 3, "\n" + unit * 4
    assert text == (
        f'{{{inner}"a": [{item}1,{item}{{}}{inner}],{inner}"b": true,{inner}"c": "ä\\n\\"  \u2028"\n{unit * 2}}}'
    )


@pytest.mark.parametrize(
    ("text", "items", "expected"),
    [
        ("[]", [(0, 1), (0, 2)], "[1,2]"),
        ("[ ]", [(0, 1)], "[1]"),
        ("[5]", [(0, 1), (0, 2), (1, 6)], "[1,2,5,6]"),
        ("[5 , 7]", [(1, 6), (2, 8), (2, 9)], "[5 , 6,7,8,9]"),
    ],
)
def test_items_are_inserted_before_their_index(
    text: str, items: list[tuple[int, Any]], expected: str
) -> None:
    """Items go before the element of their index or behind the last, in the order given."""
    assert (
        apply_edits(text, insert_items(text, 0, members(text, 0), items, Style(None))) == expected
    )


def test_edits_are_applied_in_any_order() -> None:
    """Where edits stand in the list does not matter, only where they stand in the text."""
    edits = [Edit(4, 5, ""), Edit(0, 1, "A"), Edit(2, 2, "-")]
    assert apply_edits("abcdef", edits) == apply_edits("abcdef", edits[::-1]) == "Ab-cdf"
