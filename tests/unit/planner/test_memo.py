"""Memos save work and change nothing else."""

from sidecar.backrest.jsontext import decode
from sidecar.backrest.rules import CheckedPlans, check_document
from sidecar.planner.memo import ItemMemo, Memo


def recall(memo: Memo[str], key: str, value: object, made: list[str]) -> str:
    """Ask a memo for what comes of a value, and note when it is made."""

    def make() -> str:
        made.append(key)
        return f"{key}={value}"

    return memo.recall(key, (value,), make)


def test_equal_inputs_are_computed_once() -> None:
    """Other inputs for the same key are made anew, and then remembered instead."""
    memo, made = Memo[str](), list[str]()
    answers = [recall(memo, "a", value, made) for value in ([1], [1], [2], [2])]

    assert ["a=[1]", "a=[1]", "a=[2]", "a=[2]"] == answers
    assert ["a", "a"] == made


def test_what_passes_no_longer_ask_for_is_forgotten() -> None:
    """When it is most of what is remembered: a memory does not grow with what is gone."""
    memo, made = Memo[str](), list[str]()
    for key in "abcde":
        recall(memo, key, 1, made)
    memo.begin_pass()
    recall(memo, "a", 1, made)
    memo.begin_pass()
    recall(memo, "a", 1, made)

    assert [*"abcde", "a"] == made


PLAN = '{"id": "%s", "repo": "r1", "paths": ["/a"]}'
REPO = '{"id": "%s", "uri": "/r", "password": "-", "autoInitialize": true}'


def test_known_plans_are_not_trusted_in_another_context() -> None:
    """Without their repository they are wrong, and two of one id are, whoever was first."""
    checked = CheckedPlans()
    root = decode(f'{{"version": 6, "repos": [{REPO % "r1"}], "plans": [{PLAN % "a"}]}}')
    assert [] == check_document(root, checked=checked) == check_document(root, checked=checked)

    root["repos"] = [decode(REPO % "other")]
    assert ["/plans/0/repo"] == [f.pointer for f in check_document(root, checked=checked)]
    root["repos"] = [decode(REPO % "r1")]
    root["plans"] = [*root["plans"], decode(PLAN % "a")]
    assert ["/plans/1/id"] == [f.pointer for f in check_document(root, checked=checked)]


def test_a_fault_counts_all_plans() -> None:
    """Also when the others are known: the pointer is that of the whole document."""
    checked = CheckedPlans()
    root = decode(f'{{"version": 6, "repos": [{REPO % "r1"}], "plans": [{PLAN % "a"}]}}')
    assert [] == check_document(root, checked=checked)
    root["plans"] = [*root["plans"], decode('{"id": "b", "repo": "r1"}')]

    assert ["/plans/1"] == [f.pointer for f in check_document(root, checked=checked)]


def test_documents_of_any_shape_are_checked() -> None:
    """No list of plans, no plans, repeated keys: remembering changes no verdict."""
    checked = CheckedPlans()
    for text in (
        '{"plans": 7}',
        '{"plans": null}',
        "{}",
        '{"plans": [], "plans": []}',
        '{"repos": 7}',
        '{"repos": true}',
        '{"repos": [{"id": []}]}',
        '{"plans": [{"id": {}}, 1]}',
    ):
        root = decode(text)
        assert check_document(root) == check_document(root, checked=checked)


def test_things_are_remembered_by_identity() -> None:
    """An equal one is another one; those that are gone are forgotten in time."""
    made: list[tuple[int, ...]] = []

    def total(thing: tuple[int, ...]) -> int:
        made.append(thing)
        return sum(thing)

    memo = ItemMemo(total)
    one, equal, *others = [(n,) for n in (1, 1, 2, 3, 4)]
    assert [1, 1, 1] == memo.recall_all([one, one, equal])
    assert [one, equal] == made
    assert [2, 3, 4] == memo.recall_all(others)
    assert [2] == memo.recall_all(others[:1])
    assert [2, 3, 4, 2] == [thing[0] for thing in made[2:]]
