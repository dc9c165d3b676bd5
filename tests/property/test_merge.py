"""Laws of the merge: what is not ours keeps every byte, whatever the document looks like."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.backrest.document import Document, PlanEdit, merge_plans
from sidecar.backrest.jsontext import decode, members
from sidecar.backrest.plan import Plan, Retention, Schedule

OWN = "own_"
KEYS = ("paths", "excludes", "schedule", "retention", "hooks", "backup_flags")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.0-9eE]+|true|false|null|[][{}:,]')

law = settings(max_examples=100, deadline=None)

spaces = st.sampled_from(("", "", " ", "  ", "\n", "\n\t", "\r\n  ", " \n\n"))
numbers = st.sampled_from(("0", "-0", "1.0", "1e3", "12345678901234567890123", "-1.50E-7", "7"))
# Every character as itself or escaped, so that one text has many spellings.
pieces = (
    "a",
    "B",
    " ",
    "ä",
    "😀",
    "\u2028",
    "'",
    "/",
    "\\/",
    '\\"',
    "\\\\",
    "\\n",
    "\\u00e4",
    "\\ud83d\\ude00",
)
strings = st.lists(st.sampled_from(pieces), max_size=4).map(lambda parts: f'"{"".join(parts)}"')
scalars = st.one_of(numbers, strings, st.sampled_from(("true", "false", "null")))


def _enclosed(brackets: str, parts: list[tuple[str, str, str]], inside: str) -> str:
    texts = [f"{before}{item}{after}" for before, item, after in parts]
    return f"{brackets[0]}{','.join(texts) if texts else inside}{brackets[1]}"


def arrays(items: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[str]:
    """Array texts of item texts, with any space between."""
    parts = st.lists(st.tuples(spaces, items, spaces), max_size=most)
    return st.builds(_enclosed, st.just("[]"), parts, spaces)


def objects(pairs: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[str]:
    """Object texts of `"key": value` texts, with any space between."""
    parts = st.lists(st.tuples(spaces, pairs, spaces), max_size=most)
    return st.builds(_enclosed, st.just("{}"), parts, spaces)


def pairs(keys: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of one member."""
    return st.builds(lambda *parts: "".join(parts), keys, spaces, st.just(":"), spaces, values)


flat = arrays(scalars) | objects(pairs(strings, scalars))
values = scalars | flat | arrays(flat, most=2) | objects(pairs(strings, flat), most=2)
foreign_keys = strings.filter(lambda text: json.loads(text) not in {"id", "plans", "modno", *KEYS})


@st.composite
def plan_texts(draw: st.DrawFn, plan_id: str) -> str:
    """The text of one plan: its id, keys of ours and unknown ones, in any order."""
    found = [draw(pairs(st.just('"id"'), st.just(json.dumps(plan_id))))]
    found += [
        draw(pairs(st.just(f'"{key}"'), values)) for key in draw(st.sets(st.sampled_from(KEYS)))
    ]
    found += draw(st.lists(pairs(foreign_keys, values), max_size=2))
    ordered = draw(st.permutations(found))
    return _enclosed("{}", [(draw(spaces), item, draw(spaces)) for item in ordered], "")


@dataclass(frozen=True)
class Written:
    """A document's text, and the texts of its foreign plans and foreign members in order."""

    text: str
    foreign_plans: tuple[str, ...]
    foreign_members: tuple[str, ...]
    own: frozenset[str]


@st.composite
def written_documents(draw: st.DrawFn) -> Written:
    """Documents with any members around the plans, plans of anyone's, and a modno or none."""
    ids = draw(st.lists(st.sampled_from(("a", "own_1", "own_2", "own_3", "p", "z")), unique=True))
    plans = [(plan_id, draw(plan_texts(plan_id))) for plan_id in ids]
    junk = draw(st.lists(scalars, max_size=1))
    listed = [*(text for _, text in plans), *junk]
    array = _enclosed("[]", [(draw(spaces), item, draw(spaces)) for item in listed], draw(spaces))
    others = draw(st.lists(pairs(foreign_keys, values), max_size=3))
    modno = draw(
        st.lists(pairs(st.just('"modno"'), numbers | strings | st.just("null")), max_size=1)
    )
    kept = draw(st.booleans())
    parts = [(draw(pairs(st.just('"plans"'), st.just(array))), False)] if kept or listed else []
    parts += [(text, True) for text in others] + [(text, False) for text in modno]
    ordered = draw(st.permutations(parts))
    root = _enclosed(
        "{}", [(draw(spaces), text, draw(spaces)) for text, _ in ordered], draw(spaces)
    )
    return Written(
        f"{draw(spaces)}{root}{draw(spaces)}",
        tuple(text for plan_id, text in plans if not plan_id.startswith(OWN)),
        tuple(text for text, foreign in ordered if foreign),
        frozenset(plan_id for plan_id in ids if plan_id.startswith(OWN)),
    )


NEW = Plan("own_new", "r1", ("/new",), Schedule(), Retention(last=1))
new_plans = st.lists(
    st.builds(
        lambda *of: Plan(of[0], "r1", tuple(of[1]), of[2], Retention(last=3)),
        st.sampled_from(("own_0", "own_1x", "own_4", "own_ö")),
        st.lists(st.text(max_size=5), min_size=1, max_size=2),
        st.sampled_from((Schedule(), Schedule(cron="0 2 * * *"))),
    ),
    max_size=3,
    unique_by=lambda plan: plan.id,
)


@st.composite
def merges(draw: st.DrawFn) -> tuple[Written, list[Plan], list[PlanEdit]]:
    """A document, the plans to add and the edits of those of ours that stand in it."""
    written = draw(written_documents())
    edited = sorted(draw(st.sets(st.sampled_from(sorted(written.own))))) if written.own else []
    edits = []
    for plan_id in edited:
        touched = sorted(draw(st.sets(st.sampled_from(KEYS), min_size=1)))
        gone = draw(st.sets(st.sampled_from(touched)))
        settings_ = {
            key: draw(st.sampled_from((["/x"], {"disabled": True})))
            for key in touched
            if key not in gone
        }
        edits.append(PlanEdit(plan_id, settings_, tuple(sorted(gone))))
    return written, draw(new_plans), edits


def stand_in_order(texts: Iterable[str], whole: str) -> bool:
    """Return whether all texts occur in `whole`, one behind the other."""
    position = 0
    for text in texts:
        position = whole.find(text, position)
        if position < 0:
            return False
        position += len(text)
    return True


def tree(text: str) -> Any:
    """Decode JSON with the order of keys, repeated keys and the spelling of numbers."""
    return json.loads(
        text, parse_int=lambda n: f"#{n}", parse_float=lambda n: f"#{n}", object_pairs_hook=tuple
    )


def as_tree(value: Any) -> Any:
    """Return a plain value the form of `tree`."""
    return tree(json.dumps(value))


@law
@given(merges())
def test_foreign_text_stands_as_it_was(merge: tuple[Written, list[Plan], list[PlanEdit]]) -> None:
    """Foreign plans and members keep every character and their order."""
    written, added, edits = merge
    after = merge_plans(Document(written.text), added, edits).text
    assert stand_in_order(written.foreign_plans, after)
    assert stand_in_order(written.foreign_members, after)


@law
@given(merges(), st.booleans())
def test_what_is_known_after_a_merge_is_what_the_text_says(
    merge: tuple[Written, list[Plan], list[PlanEdit]], served: bool
) -> None:
    """Root and layout that follow the edits are those of the text decoded anew; twice in a row."""
    written, added, edits = merge
    after = merge_plans(Document(written.text), added[:1], edits, served=served)
    after = merge_plans(after, added[1:], edits, served=served)
    anew = Document(after.text)
    assert spelled(after.root) == spelled(anew.root)
    assert after.layout == anew.layout
    assert after.view == anew.view


def spelled(value: Any) -> Any:
    """Give decoded JSON with types and repeated keys, to compare."""
    if isinstance(value, dict):
        return {key: spelled(item) for key, item in value.items()}, getattr(value, "repeated", None)
    return [spelled(item) for item in value] if isinstance(value, list) else (type(value), value)


@law
@given(merges())
def test_only_what_was_asked_for_changes(merge: tuple[Written, list[Plan], list[PlanEdit]]) -> None:
    """The result means what the document meant, with exactly these additions and edits."""
    written, added, edits = merge
    before, after = tree(written.text), tree(merge_plans(Document(written.text), added, edits).text)
    if not added and not edits:
        assert after == before
        return
    assert without(after, "modno", "plans") == without(before, "modno", "plans")
    names = {plan.id for plan in added}
    found = [
        plan for plan in dict(after)["plans"] if not (has_id(plan) and dict(plan)["id"] in names)
    ]
    by_id = {edit.id: edit for edit in edits}
    assert [body(plan) for plan in found] == [
        edited(plan, by_id) for plan in dict(before).get("plans", [])
    ]
    assert {dict(plan)["id"]: plan for plan in dict(after)["plans"] if plan not in found} == {
        plan.id: as_tree(plan.to_json()) for plan in added
    }


def has_id(plan: Any) -> bool:
    """Return whether an element of the plans is an object with an id."""
    return isinstance(plan, tuple) and "id" in dict(plan)


def without(pairs_: Any, *names: str) -> Any:
    """Take members out of an object."""
    return tuple(pair for pair in pairs_ if pair[0] not in names)


def body(plan: Any) -> Any:
    """A plan's foreign members in order, and ours by name."""
    if not has_id(plan):
        return plan
    return without(plan, *KEYS), {key: value for key, value in plan if key in KEYS}


def edited(plan: Any, edits: dict[str, PlanEdit]) -> Any:
    """What `body` shall give for a plan after its edit, if there is one."""
    if not has_id(plan) or (edit := edits.get(dict(plan)["id"])) is None:
        return body(plan)
    foreign, ours = body(plan)
    changed = ours | {key: as_tree(value) for key, value in edit.settings.items()}
    return foreign, {key: value for key, value in changed.items() if key not in edit.removals}


@law
@given(merges())
def test_taking_our_plans_out_again_gives_the_tokens_back(
    merge: tuple[Written, list[Plan], list[PlanEdit]],
) -> None:
    """Without our new plans and the modno the result has the tokens that the document had."""
    written, added, _ = merge
    after = merge_plans(Document(written.text), added, ()).text
    start = after.index("{")
    known = {plan.id for plan in added}
    assert tokens(after, start, known) == tokens(written.text, written.text.index("{"), known)


def tokens(text: str, start: int, known: set[str]) -> list[list[str]]:
    """The tokens of each member of the root, and of each plan; `known` plans and modno left out."""
    found: list[list[str]] = []
    for member in members(text, start):
        if member.key == "plans" and isinstance(member.value, list):
            found += [
                TOKEN.findall(text[plan.start : plan.end])
                for plan in members(text, member.start)
                if not (isinstance(plan.value, dict) and plan.value["id"] in known)
            ]
        elif member.key != "modno":
            found.append(TOKEN.findall(text[member.key_start : member.end]))
    return found


@law
@given(
    spaces,
    numbers | strings | st.sampled_from(("null", "2147483647", "[1]", "true")),
    st.booleans(),
)
def test_modno_counts_up(space: str, modno: str, known: bool) -> None:
    """Each write counts `modno` up by one; an absent or unusable one, and the largest, become 1."""
    text = f'{{{space}"modno"{space}:{modno},"a":1}}' if known else f'{{{space}"a":1}}'
    written = {"0": 0, "-0": 0, "1.0": 1, "1e3": 1000, "7": 7}
    after = dict(tree(merge_plans(Document(text), [NEW], ()).text))
    assert after["modno"] == f"#{(written.get(modno, 0) if known else 0) + 1}"
    assert after["a"] == "#1"


@law
@given(st.lists(st.sampled_from("abmnopz"), unique=True), spaces, new_plans)
def test_new_plans_are_sorted_in(ids: list[str], space: str, added: list[Plan]) -> None:
    """Where the ids were sorted they are so afterwards."""
    listed = f",{space}".join(f'{{"id":"{plan_id}"}}' for plan_id in sorted(ids))
    before = Document(f'{{"plans":{space}[{space}{listed}{space}]}}')
    after = list(merge_plans(before, added, ()).plans)
    assert after == sorted([*ids, *(plan.id for plan in added)])


@law
@given(values)
def test_decoding_agrees_with_the_standard_library(text: str) -> None:
    """Our decoding sees what any other sees, numbers aside, which keep their spelling."""
    assert json.loads(json.dumps(decode(text))) == json.loads(text, parse_int=str, parse_float=str)
