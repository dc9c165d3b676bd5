"""Taking turns with Backrest: the same command lines, the same parent, the same snapshots."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, RunPlan
from sidecar.engines.base import ResultKind
from tests.engines.bench import INSTANCE, PASSWORD, RESTIC, ResticBench, holding_a_lock

KEEP_ONE = Retention(last=1)


def backrest_backup(bench: ResticBench, plan: str, instance: str, parent: str = "") -> str:
    """Back up the source as Backrest does; give the snapshot's id."""
    words = ["--exclude-caches", "--tag", f"plan:{plan}", "--tag", f"created-by:{instance}"]
    words += ["--parent", parent] if parent else []
    bench.run("backup", "--json", str(bench.source), *words)
    return str(raw_snapshots(bench)[-1]["id"])


def raw_snapshots(bench: ResticBench) -> Sequence[dict[str, Any]]:
    """List all snapshots as restic says them, oldest first."""
    found = json.loads(bench.run("snapshots", "--json"))
    return sorted(found, key=lambda snapshot: str(snapshot["time"]))


def test_parent_is_the_plans_last_snapshot_whoever_made_it(restic: ResticBench) -> None:
    """Neither another plan's nor another instance's, though they are newer."""
    restic.write("file", "x")
    backrest_backup(restic, "web", INSTANCE)
    wanted = backrest_backup(restic, "web", INSTANCE)
    backrest_backup(restic, "web2", INSTANCE)
    backrest_backup(restic, "web", "elsewhere")
    done = restic.backup()
    made = raw_snapshots(restic)[-1]

    assert wanted == made["parent"]
    assert ["plan:web", f"created-by:{INSTANCE}"] == made["tags"]
    assert [str(restic.source)] == made["paths"]
    assert done.stats is not None
    assert 1 == done.stats.files_unmodified


def test_backrest_goes_on_where_we_left(restic: ResticBench) -> None:
    """It finds our snapshot by its tags, and nothing is saved twice."""
    restic.write("file", "x" * 1000)
    restic.backup()
    tags = f"plan:web,created-by:{INSTANCE}"
    [ours] = json.loads(restic.run("snapshots", "--json", "--tag", tags))
    theirs = backrest_backup(restic, "web", INSTANCE, ours["id"])

    assert [ours["id"], theirs] == restic.names(restic.plan())


def test_both_forget_the_same(restic: ResticBench) -> None:
    """Exactly the plan's snapshots of this instance, whoever made them."""
    restic.write("file", "x")
    first = backrest_backup(restic, "web", INSTANCE)
    others = [
        backrest_backup(restic, "web2", INSTANCE),
        backrest_backup(restic, "web", "elsewhere"),
        backrest_backup(restic, "web", ""),
    ]
    restic.backup()
    tags = f"plan:web,created-by:{INSTANCE}"
    words = ("forget", "--json", "--keep-last", "1", "--tag", tags, "--group-by", "", "--dry-run")
    [group] = json.loads(restic.run(*words))
    done = restic.restic().forget(restic.plan(), INSTANCE, KEEP_ONE)
    kept = restic.names(restic.plan())

    assert ResultKind.SUCCESS is done.kind
    assert [first] == [snapshot["id"] for snapshot in group["remove"]]
    assert [snapshot["id"] for snapshot in group["keep"]] == kept
    assert [*others, *kept] == restic.names()


@pytest.fixture
def records(restic: ResticBench) -> Callable[[str], list[list[str]]]:
    """Have restic write down its words and variables; give those of all calls of a verb."""
    script = restic.folder / "restic"
    record = restic.folder / "record"
    script.write_text(
        f'#!/bin/sh\nprintf "%s\\0" "$@" "$RESTIC_PASSWORD" "${{RESTIC_PASSWORD_FILE-unset}}" '
        f'"${{RESTIC_PASSWORD_COMMAND-unset}}" "$RESTIC_REPOSITORY" "$EXTRA" >>{record}\n'
        f'printf "\\n" >>{record}\nexec {RESTIC} "$@"\n'
    )
    script.chmod(0o755)
    restic.program = str(script)

    def of(verb: str) -> list[list[str]]:
        calls = [line.split("\0") for line in record.read_text().split("\0\n")]
        return [call for call in calls if call[0] == verb]

    return of


FLAGS = ("--no-cache", "-o 'local.connections=${NUMBER}'")
SPLIT = ["--no-cache", "-o", "local.connections=3"]


def test_command_lines_are_those_of_backrest(
    restic: ResticBench, records: Callable[[str], list[list[str]]]
) -> None:
    """Word for word, in its order; secrets and address in the environment only."""
    where = str(restic.folder / "repo")
    restic.added["NUMBER"] = "3"
    niceness = {"cpu_nice": "CPU_LOW", "io_nice": "IO_IDLE"}
    env = (("EXTRA", "<${NUMBER}>"),)
    engine = restic.restic(restic.repo(flags=FLAGS, env=env, uri="${HOME}/repo", **niceness))
    plan = RunPlan(
        "web",
        "store",
        (str(restic.source),),
        ("*.tmp", "!keep.tmp"),
        ("*.LOG",),
        backup_flags=("--one-file-system --tag 'two words'",),
    )
    parent = backrest_backup(restic, "web", INSTANCE)
    tags = f"plan:web,created-by:{INSTANCE}"
    keep = Retention(last=1, hourly=2, daily=3, weekly=4, monthly=5, yearly=6)
    kinds = {
        engine.capture(plan, INSTANCE, restic.reported.append).kind,
        engine.forget(plan, INSTANCE, keep).kind,
        engine.forget_all(Retention(daily=7)).kind,
        engine.prune(PrunePolicy(max_unused_percent=12.5)).kind,
        engine.check(CheckPolicy(read_data_subset_percent=2.5)).kind,
    }
    with holding_a_lock(restic):
        pass
    kinds.add(engine.unlock().kind)
    keeps = ["--keep-last", "1", "--keep-hourly", "2", "--keep-daily", "3"]
    keeps += ["--keep-weekly", "4", "--keep-monthly", "5", "--keep-yearly", "6"]
    backup = ["--exclude-caches", "--tag", "plan:web", "--tag", f"created-by:{INSTANCE}"]
    backup += ["--exclude", "*.tmp", "--exclude", "!keep.tmp", "--iexclude", "*.LOG"]
    backup += ["--parent", parent, "--one-file-system", "--tag", "two words"]
    variables = [PASSWORD, "", "", where, "<3>"]
    expected = {
        "backup": ["--json", str(restic.source), *SPLIT, *backup],
        "prune": [*SPLIT, "--max-unused", "12.5%"],
        "check": [*SPLIT, "--read-data-subset=2.5000%"],
        "unlock": SPLIT,
    }
    forgets = [
        ["--json", *keeps, *SPLIT, "--tag", tags, "--group-by", ""],
        ["--json", "--keep-daily", "7", *SPLIT, "--group-by", "tags"],
    ]

    assert {ResultKind.SUCCESS} == kinds
    for verb, words in expected.items():
        assert [[verb, *words, *variables]] == records(verb)
    assert [["forget", *words, *variables] for words in forgets] == records("forget")
