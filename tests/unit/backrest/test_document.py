"""The document: reading it, and writing where the golden cases and laws do not reach."""

import pytest

from sidecar.backrest.document import Document, PlanEdit, merge_plans, parse_document
from sidecar.backrest.jsontext import NotJson, Object, decode
from sidecar.backrest.plan import Plan, Retention, Schedule
from sidecar.lib.errors import DocumentError

PLAN = Plan("own_a", "r", ("/a",), Schedule(), Retention(last=1))
PLAN_TEXT = '{"id":"own_a","repo":"r","paths":["/a"],"schedule":{"disabled":true},"retention":{"policyKeepLastN":1}}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the document is empty"),
        (b" \n", "the document is empty"),
        (b'{"a": 1\n\n !}', "not JSON: line 3, column 2: "),
        (b'{"a": 1} x', "not JSON: line 1, column 10: text follows"),
        (b'{"NaN":\n  [1, NaN]}', "line 2, column 7: NaN is not JSON"),
        (b'{"a": -Infinity}', "line 1, column 7: -Infinity is not JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b"null", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"a":\n"\xc3\xa4\xff"}', "not UTF-8: line 2, column 3: byte 0xff"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, message: str) -> None:
    """Bytes that are no JSON object are refused, with the place and what to do instead."""
    with pytest.raises(DocumentError, match=r"config\.json\.bak") as refusal:
        parse_document(content)
    assert message in refusal.value.message


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b'\xef\xbb\xbf{"a": 1}', "UTF-8"),
        ('\ufeff{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        ('\ufeff{"a": 1}'.encode("utf-16-be"), "UTF-16"),
    ],
)
def test_a_byte_order_mark_is_named(content: bytes, encoding: str) -> None:
    """Editors do not show it, so it is named, and how to save the file without it."""
    with pytest.raises(DocumentError, match=r"without a byte order mark") as refusal:
        parse_document(content)
    shown = f"the document is not JSON: it begins with a byte order mark (BOM, {encoding})"
    assert shown == refusal.value.message


def test_a_document_keeps_its_text() -> None:
    """Reading changes nothing: the text is that of the bytes."""
    text = '{ "ä" : 1.0,"b":[ ] }\n'
    assert parse_document(text.encode()).text == text


def test_a_key_given_twice_is_remembered() -> None:
    """Objects know which of their keys are repeated; the last value counts."""
    found = decode('{"b": 1, "a": 2, "b": 3, "a": 4, "c": 5}')
    assert isinstance(found, Object)
    assert (found.repeated, found["b"]) == (("a", "b"), "3")


def test_not_json_tells_where() -> None:
    """The exception carries the offset in characters."""
    with pytest.raises(NotJson) as error:
        decode('{"ä": tru}')
    assert error.value.position == 6


def test_plans_that_cannot_be_ours_are_passed_over() -> None:
    """Elements without a usable id are no plans of anyone's; of repeated ids the first counts."""
    document = Document('{"plans": [1, {"id": 2}, {"id": "a", "n": 1}, {"id": "a", "n": 2}, null]}')
    assert document.plans == {"a": {"id": "a", "n": "1"}}


def test_odd_plans_and_repos_have_a_view() -> None:
    """Values of a wrong type count as absent; what is broken is the rules' business."""
    text = '{"plans": [{"id": "a", "paths": "x", "repo": 1}, {"id": "b", "paths": ["/x", 1, ""]}], "repos": 3}'
    view = Document(text).view
    assert [(plan.id, plan.repo, plan.paths) for plan in view.plans] == [
        ("a", "", ()),
        ("b", "", ("/x",)),
    ]
    assert view.repos == ()


def test_repositories_without_an_id_have_no_view() -> None:
    """Only repositories that a plan could name are seen."""
    view = Document('{"repos": [1, {"id": ""}, {"id": 2}, {"id": "r", "forgetPolicy": 1}]}').view
    assert [repo.id for repo in view.repos] == ["r"]


def test_nothing_to_write_gives_the_document_itself() -> None:
    """Without additions and edits nothing is counted up."""
    document = Document('{"modno": 1}')
    assert merge_plans(document, (), ()) is document


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"plans":[]}', '{"plans":[%s],"modno":1}'),
        ('{"plans":[ ],"modno":2147483647}', '{"plans":[%s],"modno":1}'),
        ('{"plans":[{"id":"z"}],"modno":1}', '{"plans":[%s,{"id":"z"}],"modno":2}'),
        ('{"plans":[{"id":"a"} ],"modno":"x"}', '{"plans":[{"id":"a"},%s ],"modno":1}'),
        ('{"plans":[{"id":"z"},{"id":"a"}]}', '{"plans":[%s,{"id":"z"},{"id":"a"}],"modno":1}'),
        ('{"plans":[{"id":"b"},{"id":"a"}]}', '{"plans":[{"id":"b"},{"id":"a"},%s],"modno":1}'),
    ],
)
def test_where_a_new_plan_goes(before: str, after: str) -> None:
    """Before the first greater id, else at the end, with the document's own spacing."""
    assert merge_plans(Document(before), [PLAN], ()).text == after % PLAN_TEXT


def test_an_empty_document_is_laid_out_like_backrest_s() -> None:
    """Where there is no layout to follow it is indented by two spaces."""
    merged = merge_plans(Document("{}"), [PLAN], ())
    assert merged.text.startswith('{\n  "modno": 1,\n  "plans": [\n    {\n      "id": "own_a"')


def test_all_new_plans_stand_in_order() -> None:
    """Several new plans are sorted among themselves, wherever they go."""
    plans = [
        Plan(name, "r", ("/a",), Schedule(), Retention(last=1))
        for name in ("own_c", "own_a", "own_b")
    ]
    merged = merge_plans(Document('{"plans": [{"id": "own_aa"}]}'), plans, ())
    assert list(merged.plans) == ["own_a", "own_aa", "own_b", "own_c"]


def test_tabs_are_kept() -> None:
    """A document that is indented with tabs stays so, at every depth."""
    merged = merge_plans(Document('{\n\t"plans": []\n}'), [PLAN], ())
    assert merged.text == (
        '{\n\t"plans": [\n\t\t{\n\t\t\t"id": "own_a",\n\t\t\t"repo": "r",\n\t\t\t"paths": [\n\t\t\t\t"/a"\n\t\t\t],\n'
        '\t\t\t"schedule": {\n\t\t\t\t"disabled": true\n\t\t\t},\n\t\t\t"retention": {\n\t\t\t\t"policyKeepLastN": 1\n'
        '\t\t\t}\n\t\t}\n\t],\n\t"modno": 1\n}'
    )


def test_an_edit_of_a_plan_that_is_not_there_does_nothing_to_others() -> None:
    """Edits are found by id; the first of a repeated id is edited."""
    document = Document('{"plans":[{"id":"a","x":1},{"id":"a","x":1}],"modno":1}')
    merged = merge_plans(document, (), [PlanEdit("a", {}, ("x",)), PlanEdit("b", {"x": 1}, ())])
    assert merged.text == '{"plans":[{"id":"a"},{"id":"a","x":1}],"modno":2}'
