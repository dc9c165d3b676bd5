"""Laws of the acceptance rules and of the normal form, over mutated documents."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sidecar.backrest.jsontext import NotJson, Numeral, Object, decode
from sidecar.backrest.messages import CONFIG, MessageType
from sidecar.backrest.normal import normalise_plan
from sidecar.backrest.rules import CheckedPlans, check_document, check_version

ROOT = Path(__file__).parents[2]
TEXTS = [path.read_text("utf-8") for path in sorted((ROOT / "testdata/config/valid").glob("*"))]
SCHEMA = json.loads((ROOT / "sidecar" / "backrest" / "config.schema.json").read_text("utf-8"))


def spellings(message: MessageType) -> set[str]:
    """Every key that means something anywhere below the message."""
    inner = (field.message for field in message.fields.values() if field.message)
    return set(message.fields).union(*map(spellings, inner))


@cache
def schema() -> Draft202012Validator:
    """The published schema."""
    return Draft202012Validator(SCHEMA)


KEYS = st.sampled_from(sorted(spellings(CONFIG)))
NUMERALS = st.sampled_from(
    ["0", "1", "-1", "7", "1.0", "1e0", "3.5", "-0", "2147483648", "1e400", "100e-2", "99999999999"]
).map(Numeral)
WORDS = st.sampled_from(
    [
        *("", "a", "local", "_", "_x_", "é", "7", "1.0", " 1", "NaN", "K=V", "x" * 51, "0" * 64),
        *("CLOCK_UTC", "CONDITION_ANY_ERROR", "ON_ERROR_FATAL", "NEW", "repo:x", "*", "_\n"),
        *("0 2 * * *", "*/0 * * * *", "@daily", "0 0 * * 7", "0 0 31 2 *", "*5 * * MON/2 sun"),
    ]
)
LEAVES = st.none() | st.booleans() | NUMERALS | WORDS | st.text(max_size=6)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(KEYS | st.text(max_size=4), inner), max_size=4).map(Object)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.tuples(KEYS, VALUES), max_size=8).map(Object)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key or index) of a tree."""
    if isinstance(value, dict):
        steps: list[Any] = list(value)
    else:
        steps = list(range(len(value))) if isinstance(value, list) else []
    return [(value, step) for step in steps] + [
        place for step in steps for place in places(value[step])
    ]


@st.composite
def documents(draw: st.DrawFn) -> Object:
    """A document that Backrest loads, with up to three changes anywhere."""
    document: Object = deepcopy(decode(draw(st.sampled_from(TEXTS))))
    for _ in range(draw(st.integers(0, 3))):
        if not document:
            break
        holder, step = draw(st.sampled_from(places(document)))
        change = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        if change == "replace":
            holder[step] = draw(VALUES)
        elif change == "remove":
            del holder[step]
            if isinstance(holder, Object):
                holder.repeated = ()
        elif isinstance(holder, list):
            holder.append(deepcopy(holder[step]))
        elif change == "add":
            holder[draw(KEYS)] = draw(VALUES)
        else:
            holder.repeated = (step,)
    return document


def plain(value: Any) -> Any:
    """The tree as the standard decoder gives it: real numbers, plain objects."""
    if isinstance(value, Numeral):
        return float(value) if set(value) & set(".eE") else int(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=400, deadline=None)
@given(documents())
def test_what_the_rules_accept_fits_the_schema(document: Object) -> None:
    """The rules are at least as strict as the schema."""
    if check_version(document) is None and not check_document(document):
        assert [error.message for error in schema().iter_errors(plain(document))] == []


def leads_somewhere(document: Object, pointer: str) -> bool:
    """Return whether the pointer's value exists, or is a retention that ought to."""
    value: Any = document
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        # A key that cannot be printed has a question mark in the pointer.
        if isinstance(value, dict) and ("?" in key or key == "retention"):
            return True
        if isinstance(value, dict) and key not in value:
            return False
        value = value[int(key)] if isinstance(value, list) else value[key]
    return True


@settings(max_examples=300, deadline=None)
@given(documents())
def test_each_fault_points_at_something_that_is_there(document: Object) -> None:
    """A pointer leads to a value, so that an editor can show it."""
    checked = CheckedPlans()
    check_document(document, checked=checked)
    pointers = [fault.pointer for fault in check_document(document, checked=checked)]
    assert pointers == [fault.pointer for fault in check_document(document)]
    assert [one for one in pointers if not leads_somewhere(document, one)] == []


@given(VALUES | OBJECTS)
def test_the_rules_never_raise_on_json(value: Any) -> None:
    """Any decoded JSON has faults or none, nothing else."""
    checked = CheckedPlans()
    assert check_document(value) == check_document(value, checked=checked)
    assert check_document(value) == check_document(value, checked=checked)
    if isinstance(value, dict):
        assert check_version(value) is None or value.get("version") != Numeral("6")


@given(st.text(max_size=60))
def test_the_rules_never_raise_on_text_that_is_json(text: str) -> None:
    """Whatever decodes can be checked."""
    try:
        value = decode(text)
    except NotJson:
        return
    assert check_document(value) == check_document(value, checked=CheckedPlans())


def first_plan(document: Object) -> Any:
    """The first plan of a document, if there is one at all."""
    plans = document.get("plans")
    return plans[0] if isinstance(plans, list) and plans else Object([])


@given(OBJECTS | documents().map(first_plan).filter(lambda plan: isinstance(plan, dict)))
def test_the_normal_form_is_stable_and_never_raises(plan: Any) -> None:
    """What is normal stays so, spelled in text or in Python values."""
    normal = normalise_plan(plan)
    assert normalise_plan(normal) == normal


@given(documents())
def test_a_plan_without_faults_is_normal_under_the_same_rules(document: Object) -> None:
    """Backrest's rewrite of an accepted plan is accepted, too."""
    if check_document(document) or not document.get("plans"):
        return
    rewritten = [normalise_plan(plan) for plan in document["plans"]]
    again = decode(json.dumps({**document, "plans": rewritten}))
    assert check_document(again) == []
