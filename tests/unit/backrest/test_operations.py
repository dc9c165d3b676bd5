"""What Backrest's log of operations says, and whether it is busy."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecar.backrest.operations import (
    Operation,
    Status,
    failed_hooks,
    is_busy,
    output_of_hook,
    parse_operations,
    pending_plans,
)

NOW = 1_800_000_000.0
RUN = Operation(7, 9, "a", "r", Status.IN_PROGRESS, "backup", NOW - 60)
WAITING = replace(RUN, status=Status.PENDING, start=NOW + 3600)


def parsed(**fields: Any) -> Operation:
    """Parse an answer with one operation that has these fields too."""
    entry = {"id": "7", "modno": "9", **fields}
    return parse_operations(json.dumps({"operations": [entry]}).encode())[0]


def test_operation_is_read_with_times_in_seconds() -> None:
    """Numbers come as strings, times in milliseconds; what we do not know is passed over."""
    given = parsed(
        flowId="3",
        planId="a",
        repoId="r",
        repoGuid="x",
        status="STATUS_WARNING",
        unixTimeStartMs="1795244415658",
        unixTimeEndMs="1795244415670",
        displayMessage="Partial backup",
        snapshotId="abc",
        operationBackup={"errors": [{"item": "/x"}]},
    )
    expected = Operation(
        id=7,
        modno=9,
        plan_id="a",
        repo_id="r",
        status=Status.WARNING,
        kind="backup",
        start=1795244415.658,
        end=1795244415.670,
        snapshot_id="abc",
        message="Partial backup",
    )
    assert expected == given


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({}, (None, None)),
        ({"lastStatus": {}}, (None, None)),
        ({"lastStatus": {"status": {"percentDone": 0.5}}}, (None, None)),
        ({"lastStatus": {"summary": {}}}, (0, 0)),
        (
            {
                "lastStatus": {
                    "summary": {
                        "totalFilesProcessed": "3",
                        "totalBytesProcessed": "4096",
                        "snapshotId": "abc",
                    }
                }
            },
            (3, 4096),
        ),
    ],
)
def test_backup_tells_what_it_has_read(
    progress: dict[str, object], expected: tuple[int | None, int | None]
) -> None:
    """Backrest leaves out what is 0; without a summary nobody has counted."""
    given = parsed(operationBackup=progress)
    assert expected == (given.files, given.size)


def test_empty_log_is_an_empty_list() -> None:
    """Backrest leaves an empty list out."""
    assert [] == parse_operations(b"{}")


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("operationBackup", "backup"),
        ("operationIndexSnapshot", "indexSnapshot"),
        ("operationForget", "forget"),
        ("operationPrune", "prune"),
        ("operationRestore", "restore"),
        ("operationStats", "stats"),
        ("operationRunHook", "runHook"),
        ("operationCheck", "check"),
        ("operationRunCommand", "runCommand"),
        ("operationNewlyInvented", ""),
    ],
)
def test_kind_is_told_by_the_field_that_is_there(field: str, kind: str) -> None:
    """An operation of a kind that we do not know has none."""
    assert kind == parsed(**{field: {}}).kind


@pytest.mark.parametrize("status", ["STATUS_OF_TOMORROW", 42, "STATUS_UNKNOWN"])
def test_unknown_status_is_read_as_unknown(status: object) -> None:
    """A newer Backrest may have more of them."""
    assert Status.UNKNOWN is parsed(status=status).status


def test_dry_run_and_foreign_operation_are_no_backups_of_ours() -> None:
    """Neither tells when a plan was last saved."""
    assert parsed(operationBackup={}).is_backup
    assert not parsed(operationBackup={"dryRun": True}).is_backup
    assert not parsed(operationBackup={}, originalInstanceKeyid="k").is_backup
    assert not parsed(operationCheck={}).is_backup


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"operations": {}}',
        b'{"operations": [{}]}',
        b'{"operations": [{"id": 7}]}',
        b'{"operations": [{"id": "seven"}]}',
        b'{"operations": [{"id": "7", "unixTimeStartMs": "soon"}]}',
        b'{"operations": [{"id": "7", "displayMessage": null}]}',
        b"<html>",
    ],
)
def test_anything_else_is_no_log(data: bytes) -> None:
    """An answer of another shape is an error, never an empty list."""
    with pytest.raises(ValueError):
        parse_operations(data)


@pytest.mark.parametrize(
    "kind", ["backup", "prune", "check", "forget", "runHook", "stats", "indexSnapshot", ""]
)
def test_anything_in_progress_is_busy(kind: str) -> None:
    """What is killed in a prune or a check hurts too."""
    assert is_busy([WAITING, replace(RUN, kind=kind)], NOW)


def test_operation_of_another_instance_does_not_count() -> None:
    """It runs elsewhere; here is only a copy of what is known about it."""
    foreign = [
        replace(operation, is_foreign=True, start=NOW + 5)
        for operation in (RUN, WAITING, replace(RUN, status=Status.UNKNOWN))
    ]
    assert not is_busy(foreign, NOW)
    assert frozenset() == pending_plans(foreign)


@pytest.mark.parametrize(
    ("due", "busy"),
    [(119.0, True), (120.0, True), (121.0, False), (0.0, True), (-3600.0, True), (-90000.0, False)],
)
def test_what_is_due_soon_is_busy(due: float, busy: bool) -> None:
    """Overdue runs wait for another one or for another try; after a day they are forgotten."""
    assert busy == is_busy([replace(WAITING, start=NOW + due)], NOW)


def test_margin_is_the_callers() -> None:
    """A caller who is quick may ask for less."""
    soon = [replace(WAITING, start=NOW + 30)]
    assert is_busy(soon, NOW, margin=30.0)
    assert not is_busy(soon, NOW, margin=29.0)


def test_failed_run_that_lost_its_place_in_the_queue_is_not_waiting() -> None:
    """It is pending for ever: its next try was forgotten when the configuration was saved."""
    forgotten = replace(WAITING, start=NOW - 60, end=NOW - 30)
    assert not is_busy([forgotten], NOW)
    assert frozenset() == pending_plans([forgotten])


@pytest.mark.parametrize("status", [status for status in Status if status.has_ended])
def test_what_has_ended_is_not_busy(status: Status) -> None:
    """Also without a time: a cancelled one may have none."""
    assert not is_busy([replace(RUN, status=status)], NOW)


def test_unknown_status_is_busy_unless_it_has_an_end() -> None:
    """What we cannot read might be running."""
    unknown = replace(RUN, status=Status.UNKNOWN)
    assert is_busy([unknown], NOW)
    assert not is_busy([replace(unknown, end=NOW - 1)], NOW)


def test_nothing_at_all_is_idle() -> None:
    """A new Backrest has no operations."""
    assert not is_busy([], NOW)


def test_pending_plans_are_those_with_a_waiting_backup() -> None:
    """A pending check or a run in progress is no pending backup."""
    log = [
        WAITING,
        replace(WAITING, plan_id="b"),
        replace(RUN, plan_id="c"),
        replace(WAITING, plan_id="d", kind="check"),
        replace(WAITING, plan_id="e", status=Status.ERROR),
    ]
    assert frozenset({"a", "b"}) == pending_plans(log)


def test_hooks_tell_their_run_and_their_log() -> None:
    """Where Backrest writes them; any other spelling of the run is none."""
    hook = {"parentOp": "5", "name": "plan/x/hook/0", "outputLogref": "log"}
    given = parsed(operationRunHook=hook)
    assert ("runHook", 5, "log") == (given.kind, given.parent, given.log)
    assert (0, "other") == (
        parsed(operationRunHook={"parentOp": "x"}).parent,
        parsed(logref="other", operationRunHook={}).log,
    )


def test_failed_hooks_are_those_of_the_run() -> None:
    """By the run that they name, else by plan and time."""
    run = replace(RUN, status=Status.ERROR, end=NOW)
    hook = replace(RUN, id=8, kind="runHook", status=Status.ERROR, start=NOW - 30)
    theirs = [
        replace(hook, id=9, status=Status.SUCCESS),
        replace(hook, id=10, plan_id="b"),
        replace(hook, id=11, start=NOW + 30),
        replace(hook, id=6),
        replace(hook, id=12, is_foreign=True),
        replace(hook, id=13, parent=99),
    ]
    ours = replace(hook, id=14, parent=7, start=NOW + 30)
    assert [hook, ours] == failed_hooks([hook, *theirs, ours, run], run)


def test_output_of_a_hook_is_what_it_wrote() -> None:
    """Neither its script nor a note of Backrest's; a line that only looks like one stays."""
    log = (
        "[script] [sh]\n[script] echo secret\n[output] one\n[output] [script] two\n[output] \n"
        "[tasklog] 03:24:35.529Z\terror\ttask failed\n"
    )
    assert "one\n[script] two\n" == output_of_hook(log)
    assert "" == output_of_hook("file associated with log x not found, it may have expired.")
