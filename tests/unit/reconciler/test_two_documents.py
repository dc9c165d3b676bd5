"""Passes over config.json and the runner's document beside it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.cli.output.changes import render_outcome_diff, render_outcome_json
from sidecar.cli.output.plan_table import render_table
from sidecar.cli.output.status import notes_json, render_notes
from sidecar.docker.models import Inventory
from sidecar.lib.errors import DocumentError, StoreError, UsageError
from sidecar.planner.lifecycle import Orphans
from sidecar.reconciler import reconcile
from sidecar.reconciler.backup import resolve_plan
from sidecar.reconciler.lint import lint_once
from sidecar.reconciler.reconcile import Reconciler, read_plans
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import InventorySource, Lifetime
from sidecar.reconciler.status import gather_status
from sidecar.reconciler.store.read import Stored
from sidecar.reconciler.store.replace import Replacement, Store
from tests.fakes.two_documents import (
    DISABLED,
    LOCAL,
    NAS,
    NIGHTLY,
    NOW,
    PLAN,
    TwoDocuments,
    inventory,
    plans_in,
    problems,
    write,
)

STANDING = {"id": PLAN, "repo": "local", "paths": ["/data0"], "schedule": NIGHTLY, "x": [1.5, "y"]}
AWAY = {**STANDING, "repo": "nas"}


@pytest.fixture
def both(tmp_path: Path) -> TwoDocuments:
    """Both documents, without a plan."""
    documents = TwoDocuments(tmp_path)
    documents.write()
    return documents


def test_a_plan_is_written_where_its_repository_stands(both: TwoDocuments) -> None:
    """The other document is not touched for it, nor is a moved plan told."""
    outcome = both.run(inventory("local", "nas"))

    assert {PLAN} == plans_in(both.config).keys()
    assert {f"{PLAN}1"} == plans_in(both.runner).keys()
    assert (str(both.runner), str(both.config)) == outcome.written
    assert [PLAN, f"{PLAN}1"] == [plan.id for plan in outcome.proposal.all_changes.added]
    assert [] == problems(outcome)
    assert () == both.run(inventory("local", "nas")).written


def test_a_change_of_the_runners_document_alone_leaves_the_other_alone(both: TwoDocuments) -> None:
    """So Backrest is not told of it, and nothing waits to be loaded."""
    before = both.config.read_bytes()
    outcome = both.run(inventory("nas"))

    assert (str(both.runner),) == outcome.written
    assert before == both.config.read_bytes()
    assert 0.0 == both.memory.state.written_at


def test_without_config_json_the_runners_document_is_enough(both: TwoDocuments) -> None:
    """It is not made either: that is Backrest's, or `init`'s."""
    both.config.unlink()
    outcome = both.reconciler().run(both.settings, inventory("nas"), NOW)

    assert {PLAN} == plans_in(both.runner).keys()
    assert (str(both.runner),) == outcome.written
    assert not both.config.exists()


def test_a_config_json_that_is_not_named_is_not_passed_over(both: TwoDocuments) -> None:
    """The file is called otherwise by default; all plans would go to the runner's document."""
    settings = replace(both.settings, config=both.config.with_name("backrest.config.json"))
    reconciler = Reconciler(settings, {}, PassRecorder(both.memory))
    with pytest.raises(StoreError, match=r"backrest\.config\.json does not exist"):
        reconciler.run(settings, inventory("nas"), NOW)


def test_without_both_the_missing_document_is_config_json(tmp_path: Path) -> None:
    """What it is that is missing is said as ever."""
    both = TwoDocuments(tmp_path)
    with pytest.raises(StoreError, match=r"config\.json does not exist"):
        both.reconciler().run(both.settings, inventory("nas"), NOW)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", r"runner\.json: the document is not JSON"),
        ('{"version": 7}', r"runner\.json: version 7 is newer"),
        ('{"version": 6, "plans": {"a": 1}}', r"runner\.json: `plans` is no list"),
        ('{"version": 6, "repos": [{"id": "x"}]}', r"runner\.json: .*would refuse"),
        (
            '{"version": 6, "repos": [{"id": "local", "uri": "dar:/x", "autoInitialize": true}]}',
            r"runner\.json: the repository 'local' stands in config\.json too",
        ),
    ],
)
def test_a_runners_document_that_cannot_be_used_voids_the_pass(
    both: TwoDocuments, text: str, fault: str
) -> None:
    """Else its plans would fall back to another repository; nothing is written."""
    both.runner.write_text(text)
    before = both.config.read_bytes()
    with pytest.raises(DocumentError, match=fault):
        both.run(inventory("local"))

    assert before == both.config.read_bytes()
    assert text == both.runner.read_text()


def test_a_moved_plan_takes_along_what_is_not_ours(both: TwoDocuments) -> None:
    """It is added there, disabled here, and removed here once Backrest has let go of it."""
    both.write(STANDING)
    moving = inventory("nas")
    both.run(moving)
    assert STANDING == plans_in(both.config)[PLAN]
    outcome = both.run(moving)

    assert {**AWAY, "retention": plans_in(both.runner)[PLAN].get("retention")} == {
        "retention": None,
        **plans_in(both.runner)[PLAN],
    }
    assert {**STANDING, "schedule": DISABLED} == plans_in(both.config)[PLAN]
    assert {PLAN: NIGHTLY} == both.memory.state.disabled
    [told] = problems(outcome)
    assert "from config.json to the runner's document to nas" in told.message
    assert () == both.run(moving).written
    assert (True, True) == both.places

    both.restart_backrest()
    outcome = both.run(moving)

    assert (False, True) == both.places
    assert [] == problems(outcome)
    assert {PLAN: ("local",)} == both.memory.state.former
    assert {} == both.memory.state.disabled
    assert () == outcome.proposal.all_changes.removed


def test_a_plan_comes_back_from_the_runners_document(both: TwoDocuments) -> None:
    """It stands here first; there it is removed once Backrest has read it."""
    both.write(runners=(AWAY,))
    moving = inventory("local")
    outcome = both.run(moving)

    assert STANDING == plans_in(both.config)[PLAN]
    [told] = problems(outcome)
    assert "from the runner's document to config.json to local" in told.message
    assert () == both.run(moving).written

    both.restart_backrest()
    both.run(moving)

    assert (True, False) == both.places
    assert {PLAN: ("nas",)} == both.memory.state.former


@pytest.mark.parametrize("forgets", [False, True])
def test_a_label_that_is_changed_back_enables_the_plan_again(
    both: TwoDocuments, forgets: bool
) -> None:
    """Also where nothing is remembered: the other document has the schedule."""
    both.write(STANDING)
    both.run(inventory("nas"))
    both.run(inventory("nas"))
    assert DISABLED == plans_in(both.config)[PLAN]["schedule"]
    if forgets:
        (both.settings.state_directory / "state.json").unlink()
    both.settle(inventory("local"))

    assert (True, False) == both.places
    assert STANDING == plans_in(both.config)[PLAN]


def test_a_runners_document_that_vanishes_ends_the_move(both: TwoDocuments) -> None:
    """Its repository is not known any more, and Backrest runs the plan again."""
    both.write(STANDING)
    both.run(inventory("nas"))
    both.run(inventory("nas"))
    both.runner.unlink()
    outcome = both.run(inventory("nas"))

    assert ["repo.missing"] == [found.reason for found in outcome.proposal.rendered.problems]
    assert STANDING == plans_in(both.config)[PLAN]


def test_a_mistake_in_a_label_does_not_stop_a_move_that_backrest_knows_of(
    both: TwoDocuments,
) -> None:
    """Here it is disabled already, so nobody would run it."""
    both.write(STANDING)
    both.run(inventory("nas"))
    both.run(inventory("nas"))
    both.settle(inventory("nas", **{"backrest.keep": "what"}))

    assert (False, True) == both.places
    assert NIGHTLY == plans_in(both.runner)[PLAN]["schedule"]


def test_a_plan_in_both_that_labels_do_not_decide_stays_in_both(both: TwoDocuments) -> None:
    """Nobody can tell where it belongs: config.json's counts."""
    both.write(STANDING, runners=(AWAY,))
    outcome = both.settle(inventory("nas", **{"backrest.keep": "what"}))

    assert (True, True) == both.places
    assert ["backrest"] == [*both.runners_of()]
    assert [PLAN] == [found.workload and PLAN for found in problems(outcome)]


def test_a_disabled_plan_moves_with_the_schedule_that_it_had(both: TwoDocuments) -> None:
    """Its workload was away for longer than the grace, and comes back with another label."""
    both.lifetime = Lifetime(grace=0.0)
    both.write(STANDING)
    both.settle(Inventory())
    assert DISABLED == plans_in(both.config)[PLAN]["schedule"]
    both.settle(inventory("nas"))

    assert (False, True) == both.places
    assert NIGHTLY == plans_in(both.runner)[PLAN]["schedule"]


def test_a_moved_plan_without_a_schedule_comes_back_without(both: TwoDocuments) -> None:
    """A person may have removed it: then neither move gives it one."""
    plain = {key: value for key, value in STANDING.items() if key != "schedule"}
    both.write(plain)
    both.run(inventory("nas"))
    both.run(inventory("nas"))
    (both.settings.state_directory / "state.json").unlink()
    both.settle(inventory("local"))

    assert plain == plans_in(both.config)[PLAN]


@pytest.mark.parametrize("action", [Orphans.DISABLE, Orphans.REMOVE])
def test_orphans_are_counted_over_both(both: TwoDocuments, action: Orphans) -> None:
    """One of two in each document would be no accident, and two of two are one."""
    both.lifetime = Lifetime(orphans=action, grace=0.0)
    there = {**AWAY, "id": f"{PLAN}1", "paths": ["/data1"]}
    both.write(STANDING, runners=(there,))
    outcome = both.run(Inventory())

    assert (PLAN, f"{PLAN}1") == outcome.ageing.held
    assert () == outcome.written

    outcome = both.run(inventory("local"))

    assert () == outcome.ageing.held
    assert (str(both.runner),) == outcome.written
    expected = {} if action is Orphans.REMOVE else {f"{PLAN}1": {**there, "schedule": DISABLED}}
    assert expected == plans_in(both.runner)
    assert [action is Orphans.DISABLE] == [f"{PLAN}1" in both.memory.state.disabled]

    both.settle(inventory("local", "nas"))

    assert NIGHTLY == plans_in(both.runner)[f"{PLAN}1"].get("schedule") or action is Orphans.REMOVE


def test_the_schedule_of_a_plan_is_kept_when_only_the_other_document_is_written(
    both: TwoDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken from the runner's document is remembered, what was not from config.json is not."""
    both.lifetime = Lifetime(grace=0.0, accept_orphans=True)
    there = {**AWAY, "id": f"{PLAN}1", "paths": ["/data1"]}
    both.write(STANDING, runners=(there,))
    put = Store.replace

    def refuses(store: Store, base: Stored, content: bytes) -> Replacement:
        if store.path == both.config:
            raise StoreError("the disk is full")
        return put(store, base, content)

    monkeypatch.setattr(Store, "replace", refuses)
    with pytest.raises(StoreError, match="full"):
        both.run(Inventory())

    assert {f"{PLAN}1": NIGHTLY} == both.memory.state.disabled
    assert DISABLED == plans_in(both.runner)[f"{PLAN}1"]["schedule"]
    assert NIGHTLY == plans_in(both.config)[PLAN]["schedule"]


def test_a_save_of_the_runners_document_during_a_pass_is_merged(
    both: TwoDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass is made again on what stands there now."""
    put, saves = Store.replace, [1, 2]

    def replace_after_save(store: Store, base: Stored, content: bytes) -> Replacement:
        if store.path == both.runner and saves:
            write(both.runner, [NAS, {**NAS, "id": f"more{saves.pop()}"}], [])
        return put(store, base, content)

    monkeypatch.setattr(Store, "replace", replace_after_save)
    both.run(inventory("nas"))

    assert {PLAN} == plans_in(both.runner).keys()
    assert ["nas", "more1"] == [
        repo["id"] for repo in json.loads(both.runner.read_bytes())["repos"]
    ]


@pytest.mark.parametrize("document", ["config", "runner"])
def test_what_somebody_changes_is_put_back_and_told(both: TwoDocuments, document: str) -> None:
    """In the document that it was changed in, once."""
    found = inventory("local", "nas")
    made = both.reconciler()
    made.run(both.settings, found, NOW)
    path: Path = getattr(both, document)
    edited = json.loads(path.read_bytes())
    edited["plans"][0]["paths"] = ["/other"]
    path.write_text(json.dumps(edited))
    outcome = made.run(both.settings, found, NOW)

    [drift] = outcome.drift
    assert (edited["plans"][0]["id"], "paths") == (drift.plan, drift.key)
    assert () == made.run(both.settings, found, NOW).drift


def test_while_backrest_is_the_writer_only_the_runners_document_is_written(
    both: TwoDocuments,
) -> None:
    """And what Backrest is to load is compared with what stands there now."""
    before = both.config.read_bytes()
    outcome = both.reconciler().run_beside_writer(both.settings, inventory("local", "nas"), NOW)

    assert before == both.config.read_bytes()
    assert {f"{PLAN}1"} == plans_in(both.runner).keys()
    assert (str(both.runner),) == outcome.written
    assert outcome.desired.runner is not None
    assert {f"{PLAN}1"} == outcome.desired.runner.plans.keys()
    again = both.reconciler().run_beside_writer(both.settings, inventory("local", "nas"), NOW)
    assert () == again.written
    assert [PLAN] == [plan.id for plan in again.proposal.changes.added]


def test_beside_a_writer_that_saves_all_the_time_the_pass_gives_up(
    both: TwoDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of attempts is bounded."""
    monkeypatch.setattr(Store, "replace", lambda *_: Replacement.CHANGED)
    with pytest.raises(StoreError, match=r"runner\.json was saved .* 20 attempts"):
        both.reconciler().run_beside_writer(both.settings, inventory("nas"), NOW)


def test_a_move_out_of_the_document_that_backrest_writes_goes_step_by_step(
    both: TwoDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is added here; that Backrest has let go is asked once it has saved that."""
    monkeypatch.setattr(reconcile, "has_let_go", lambda *_: True)
    both.write(STANDING)
    outcome = both.reconciler().run_beside_writer(both.settings, inventory("nas"), NOW)
    assert (True, True) == both.places
    assert frozenset() == outcome.desired.settled

    # What the thread that applies has Backrest save.
    write(both.config, [LOCAL], [{**STANDING, "schedule": DISABLED}])
    outcome = both.reconciler().run_beside_writer(both.settings, inventory("nas"), NOW)

    assert {PLAN} == outcome.desired.settled
    assert (PLAN,) == outcome.proposal.changes.removed


def test_without_docker_a_plan_is_added_and_never_removed(both: TwoDocuments) -> None:
    """A list says nothing about what is gone, and nothing is remembered of it."""
    both.write(STANDING)
    made = both.reconciler()
    made.is_from_docker = False
    made.run(both.settings, inventory("nas"), NOW)
    made.run(both.settings, inventory("nas"), NOW)

    assert (True, True) == both.places
    assert NIGHTLY == plans_in(both.config)[PLAN]["schedule"]


def test_a_preview_shows_both_and_writes_neither(both: TwoDocuments) -> None:
    """As a dry run does."""
    before = (both.config.read_bytes(), both.runner.read_bytes())
    outcome = both.reconciler().preview(both.settings, inventory("local", "nas"), NOW)

    assert outcome.changed
    assert {PLAN, f"{PLAN}1"} == outcome.proposal.plans.keys()
    assert before == (both.config.read_bytes(), both.runner.read_bytes())


def test_another_docker_is_noticed_for_plans_of_the_runners_document_too(
    both: TwoDocuments,
) -> None:
    """Their workloads are missing there as well."""
    both.write(runners=(AWAY,))
    made = both.reconciler()
    made.confirm_docker(both.settings, "one")
    with pytest.raises(Exception, match="another Docker engine"):
        made.confirm_docker(both.settings, "two")


def test_a_plan_of_the_runners_document_can_be_taken_over(both: TwoDocuments) -> None:
    """It is known where it stands."""
    both.write(runners=(AWAY,))

    assert {PLAN} == read_plans(both.settings).keys()
    both.config.unlink()
    assert {PLAN} == read_plans(both.settings).keys()


def test_a_document_of_another_place_is_used(both: TwoDocuments, tmp_path: Path) -> None:
    """As --runner-config names it; one beside config.json is then none."""
    other = tmp_path / "elsewhere" / "other.json"
    other.parent.mkdir()
    both.runner.rename(other)
    settings = replace(both.settings, runner_config=other)
    both.reconciler()
    made = Reconciler(settings, {}, both.reconciler().recorder)
    made.run(settings, inventory("nas"), NOW)

    assert {PLAN} == plans_in(other).keys()


def test_the_state_of_the_backups_is_told_over_both(both: TwoDocuments) -> None:
    """Backrest's log says nothing of what it does not run; what a move has left behind is told."""
    both.write(STANDING)
    both.settle(inventory("nas"))
    outcome = both.settle(inventory("nas", "local"))
    report = gather_status(outcome.proposal, [], outcome.state, NOW)

    moved, here = report.rows
    assert (PLAN, True, True, False, ("local",)) == (
        moved.plan,
        moved.is_written,
        moved.is_runners,
        moved.is_unloaded,
        moved.former,
    )
    assert (False, True, ()) == (here.is_runners, here.is_unloaded, here.former)
    assert "no retention any more in local" in "\n".join(render_notes(report))
    first, second = notes_json(report)["plans"]
    assert (True, ["local"]) == (first["runners_document"], first["former_repositories"])
    assert (False, []) == (second["runners_document"], second["former_repositories"])


def test_without_a_runners_document_the_state_is_as_ever(both: TwoDocuments) -> None:
    """All plans are those of config.json."""
    both.runner.unlink()
    outcome = both.settle(inventory("local"))
    [row] = gather_status(outcome.proposal, [], outcome.state, NOW).rows

    assert (True, False) == (row.is_written, row.is_runners)


def test_what_is_written_is_shown_for_both(both: TwoDocuments) -> None:
    """As a table, as an object, and as one difference after the other."""
    dry = both.reconciler().preview(both.settings, inventory("local", "nas"), NOW)
    table = render_table(dry, NOW)
    assert f"{both.config} and {both.runner} would be written: 2 new" in table
    shown = json.loads(render_outcome_json(dry))
    assert (str(both.runner), [PLAN, f"{PLAN}1"]) == (shown["runner_config"], shown["added"])
    assert [PLAN, f"{PLAN}1"] == [plan["id"] for plan in shown["plans"]]
    diff = render_outcome_diff(dry)
    assert [f"+++ {both.config}", f"+++ {both.runner}"] == [
        line for line in diff.splitlines() if line.startswith("+++")
    ]

    written = both.run(inventory("local", "nas"))
    assert f"{both.runner} and {both.config} are written: 2 new" in render_table(written, NOW)
    alone = both.run(inventory("local", "nas", "nas"))
    assert f"{both.runner} is written: 1 new" in render_table(alone, NOW)
    assert "restart it" not in render_table(alone, NOW)
    rest = both.run(inventory("local", "nas", "nas"))
    assert f"{both.config} and {both.runner} stay as they are" in render_table(rest, NOW)


def test_a_lint_reads_both(both: TwoDocuments, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository of the other is known, and what is wrong in each is told with its file."""
    fixed = {**NAS, "flags": ["--flatt"]}
    others = [{"id": "far", "uri": "rsync+ssh://h/x"}, {"id": "tape", "uri": "dar:/x"}]
    others.append({"id": "any", "uri": "${PLACE}"})
    both.write()
    write(both.runner, [fixed, *({**one, "autoInitialize": True} for one in others)], [])
    odd = {"id": "odd", "uri": "rsync:/x", "guid": "0" * 64}
    write(both.config, [LOCAL, odd], [])
    saved = both.folder / "compose.yaml"
    saved.write_text(
        "services:\n  web:\n    image: x\n    labels: {backrest.enable: 'true', "
        "backrest.repo: nas}\n    volumes: ['data:/data']\nvolumes: {data: {}}\n"
    )
    monkeypatch.delenv("COMPOSE_PROFILES", raising=False)
    settings = replace(both.settings, source=InventorySource(compose=(str(saved),)))
    report = lint_once(settings, NOW, {})

    assert [
        ("repo.not-restic", str(both.config)),
        ("lint.engine-option", str(both.runner)),
        ("repo.no-engine", str(both.runner)),
        ("repo.no-engine", str(both.runner)),
        ("lint.engine-hidden", str(both.runner)),
    ] == [(found.reason, found.file) for found in report.findings]
    assert ["backrest_sidecar_" in one.plan for one in report.coverage] == [True]
    both.config.unlink()
    report = lint_once(settings, NOW, {})
    assert report.has_document
    theirs = ["lint.engine-option", "repo.no-engine", "repo.no-engine", "lint.engine-hidden"]
    assert theirs == [found.reason for found in report.findings]


@pytest.mark.parametrize("name", [PLAN, "web"])
def test_backrest_is_not_asked_to_run_what_is_not_its_own(both: TwoDocuments, name: str) -> None:
    """The program that runs it is named."""
    proposal = both.settle(inventory("nas")).proposal
    with pytest.raises(UsageError, match="stands in the runner's document") as refusal:
        resolve_plan(name, ["mine"], proposal)

    assert f"backrest-runner backup {PLAN}" in refusal.value.hint


def test_what_an_interrupted_write_left_of_either_document_is_put_in_order(
    both: TwoDocuments,
) -> None:
    """At the next pass, also where that writes nothing."""
    for path in (both.config, both.runner):
        (both.folder / f".{path.name}.sidecar-{'0' * 16}.part").touch()
    both.run(Inventory())

    assert {"config.json", "runner.json", ".sidecar"} >= {one.name for one in both.folder.iterdir()}
