"""The tree in tiers of one plan, also one that another tool has made, with the real rsync."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy
from sidecar.engines.base import EngineError, FailureClass, ResultKind
from tests.engines.bench import INSTANCE, RsyncBench, save

BERLIN = ZoneInfo("Europe/Berlin")
# A Sunday.
START = datetime(2026, 11, 1, 3, 10, tzinfo=BERLIN)


@pytest.fixture
def flat(rsync: RsyncBench) -> RsyncBench:
    """Return a bench whose repository is flat."""
    rsync.flags = ("--flat",)
    rsync.zone = BERLIN
    return rsync


def tiers(bench: RsyncBench) -> dict[str, list[str]]:
    """Return the names of the snapshots in each tier that has some."""
    found = {
        tier: sorted(one.name for one in (bench.store / tier).glob("????-*") if one.is_dir())
        for tier in ("daily", "weekly", "monthly", "yearly")
    }
    return {tier: names for tier, names in found.items() if names}


def run_daily(bench: RsyncBench, days: int, keep: Retention) -> None:
    """Back up and forget, day by day."""
    for day in range(days):
        at = (START + timedelta(days=day)).timestamp()
        bench.now = lambda at=at: at  # type: ignore[misc]
        bench.write("file", f"day {day}")
        bench.backup()
        done = bench.engine().forget(bench.plan(), INSTANCE, keep)
        assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)


def save_as_before(bench: RsyncBench, name: str, *more: str) -> None:
    """Make a snapshot of that name as the other tool does, with linked copies in more tiers."""
    store = bench.store
    (store / "daily" / name).mkdir(parents=True)
    link = [f"--link-dest={store}/latest"] if (store / "latest").exists() else []
    words = ["rsync", "-aH", "--delete", *link, f"{bench.source}/", f"{store}/daily/{name}/"]
    subprocess.run(words, check=True)
    subprocess.run(["ln", "-sfn", f"daily/{name}", store / "latest"], check=True)
    for tier in more:
        (store / tier).mkdir(exist_ok=True)
        subprocess.run(["cp", "-al", store / "daily" / name, store / tier / name], check=True)


def test_a_flat_snapshot_is_a_copy_of_the_folder(flat: RsyncBench) -> None:
    """With nothing above it, as people have scripts for; it restores to where it came from."""
    flat.write("deep/file", "hello")
    name = flat.backup().snapshot
    [snapshot] = flat.engine().snapshots(flat.plan(), INSTANCE)
    target = flat.folder / "out"
    done = flat.engine().restore(snapshot, (), target, flat.reported.append)
    paths = [one.path for one in flat.engine().entries(snapshot, f"{flat.source}/deep")]

    assert "hello" == (flat.store / "latest" / "deep" / "file").read_text()
    assert {"daily": [name]} == tiers(flat)
    assert f"daily/{name}" == str((flat.store / "latest").readlink())
    assert ResultKind.SUCCESS is done.kind
    assert "hello" == (target / str(flat.source)[1:] / "deep" / "file").read_text()
    assert [f"{flat.source}/deep", f"{flat.source}/deep/file"] == paths


def test_a_snapshot_moves_to_the_tier_that_still_wants_it(flat: RsyncBench) -> None:
    """No copy is made, and nothing is missed where a day was."""
    run_daily(flat, 40, Retention(daily=3, weekly=2, monthly=2))

    # The month that has ended keeps its last day, the weeks their Sundays.
    assert {
        "daily": ["2026-12-08_03-10-00", "2026-12-09_03-10-00", "2026-12-10_03-10-00"],
        "weekly": ["2026-12-06_03-10-00"],
        "monthly": ["2026-11-30_03-10-00"],
    } == tiers(flat)
    assert 5 == len(flat.names(flat.plan()))
    assert ResultKind.SUCCESS is flat.engine().check(CheckPolicy()).kind
    records = sorted(one.parent.name for one in flat.store.glob("*/*.json"))
    assert ["daily"] * 3 + ["monthly", "weekly"] == records


def test_snapshots_of_the_other_tool_are_listed_restored_and_retained(flat: RsyncBench) -> None:
    """Those that it has copied into several tiers are one each."""
    flat.write("file", "old")
    for name, more in (
        ("2026-10-04_04-00-00", ("weekly", "monthly")),
        ("2026-10-05_04-00-00", ()),
        ("2026-10-06_04-00-00", ()),
    ):
        save_as_before(flat, name, *more)
    flat.now = START.timestamp
    flat.write("new", "x")
    before = flat.engine().snapshots(flat.plan(), INSTANCE)
    done = flat.engine().restore(before[0], (), flat.folder / "out", flat.reported.append)
    made = flat.backup().snapshot
    same = (flat.store / "daily" / made / "file", flat.store / "daily" / "2026-10-06_04-00-00/file")
    flat.engine().forget(flat.plan(), INSTANCE, Retention(daily=2, weekly=3, monthly=3))

    assert ["2026-10-04_04-00-00", "2026-10-05_04-00-00", "2026-10-06_04-00-00"] == [
        one.id for one in before
    ]
    assert datetime(2026, 10, 4, 2, 0, tzinfo=UTC) == before[0].time
    assert ((str(flat.source),), ResultKind.SUCCESS) == (before[0].paths, done.kind)
    assert "old" == (flat.folder / "out" / str(flat.source)[1:] / "file").read_text()
    assert same[0].samefile(same[1])
    assert {
        "daily": ["2026-10-06_04-00-00", made],
        "weekly": ["2026-10-04_04-00-00"],
    } == tiers(flat)


def test_a_tree_of_the_other_tool_needs_the_flag(rsync: RsyncBench) -> None:
    """Else new snapshots would lie beside it, and the old ones would be lost from sight."""
    save_as_before(rsync, "2026-10-04_04-00-00")
    for file in rsync.store.glob(".backrest*"):
        file.unlink()

    with pytest.raises(EngineError) as caught:
        rsync.engine().initialise()
    rsync.flags = ("--flat",)

    assert "--flat" in str(caught.value)
    assert rsync.engine().initialise()
    assert 1 == len(rsync.names())


def test_a_flat_tree_is_that_of_one_plan(flat: RsyncBench) -> None:
    """Two would delete each other's snapshots."""
    flat.backup()
    other = flat.plan("shop")
    done = save(flat.engine(), other, flat.reported.append)
    forgotten = flat.engine().forget(other, INSTANCE, Retention(last=1))

    assert ResultKind.FAILED is done.kind is forgotten.kind
    assert "web" in done.reason
    assert [] == flat.names(other)


def test_several_paths_stand_in_full_also_in_a_flat_tree(flat: RsyncBench) -> None:
    """There is no one folder that it could be a copy of."""
    more = flat.folder / "more"
    more.mkdir()
    flat.write("file", "x")
    (more / "file").write_text("y")
    plan = flat.plan("web", flat.source, more)
    name = flat.backup(plan).snapshot
    tree = flat.store / "daily" / name

    assert "xy" == "".join(
        (tree / str(one)[1:] / "file").read_text() for one in (flat.source, more)
    )
    assert (
        FailureClass.SOURCE_MISSING
        is flat.engine()
        .restore(
            flat.engine().snapshots(plan, INSTANCE)[0],
            ["/absent"],
            Path("/nowhere"),
            lambda _: None,
        )
        .failure
    )


def test_the_kept_names_are_those_of_the_offset_then(flat: RsyncBench) -> None:
    """Over the night on which the clocks are set back each day keeps its own."""
    at = datetime(2026, 10, 24, 23, 30, tzinfo=BERLIN)
    for hours in (0, 1, 24, 25, 26):
        moment = at.timestamp() + hours * 3600
        flat.now = lambda moment=moment: moment  # type: ignore[misc]
        flat.backup()
    flat.engine().forget(flat.plan(), INSTANCE, Retention(daily=2))

    assert ["2026-10-25_23-30-00", "2026-10-26_00-30-00"] == tiers(flat)["daily"]
    assert os.path.lexists(flat.store / "latest")
