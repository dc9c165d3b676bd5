"""Verifying and refilling with the real restic."""

import os
import shutil
from pathlib import Path

import pytest

from sidecar.backrest.reading import Config
from sidecar.engines.base import FailureClass
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.empty_source import EmptySourceAction, EmptySourceGuard
from sidecar.runner.journal import Journal, RunOutcome
from sidecar.runner.settings import EmptySourceOptions
from sidecar.runner.union import only_config
from sidecar.runner.verify.sample import SampleLimits
from sidecar.runner.verify.verify import Verification, Verifier
from tests.engines.bench import INSTANCE, ResticBench
from tests.fakes.made_engines import MadeEngines

SMALL = SampleLimits(count=3, least=1000, most=100_000)


@pytest.fixture
def saved(restic: ResticBench) -> ResticBench:
    """Back up files of all sizes."""
    restic.write("small", "small", 0o4755)
    restic.write("a folder/ [odd]*", os.urandom(5000), 0o600)
    restic.write("a folder/second", os.urandom(6000), 0o400)
    restic.write("large", os.urandom(200_000))
    restic.backup()
    return restic


def verify(bench: ResticBench, journal: Journal, tmp_path: Path, seed: int = 1) -> Verification:
    """Verify the plan."""
    verifier = Verifier(bench.engine(), journal, tmp_path / "scratch", SMALL)
    return verifier.verify(bench.plan(), INSTANCE, seed, bench.reported.append)


def test_a_sample_is_the_same(saved: ResticBench, journal: Journal, tmp_path: Path) -> None:
    """Names with signs of patterns, set-id bits and read-only files too."""
    found = verify(saved, journal, tmp_path)

    assert [] == list(found.differences)
    names = ["a folder/ [odd]*", "a folder/second", "small"]
    assert [f"{saved.source}/{name}" for name in names] == sorted(found.same)
    assert saved.names()[0] == journal.findings.verifications()["web"].snapshot


def test_many_files_take_as_few_commands_as_one(
    saved: ResticBench, journal: Journal, tmp_path: Path
) -> None:
    """A restic below 0.17 was asked for a list of each file: two minutes for two hundred."""
    asked = saved.note_commands()
    one = Verifier(saved.engine(), journal, tmp_path / "scratch", SampleLimits(count=1))
    many = Verifier(saved.engine(), journal, tmp_path / "scratch", SampleLimits(count=4))
    found, commands = [], []
    for verifier in (one, many):
        found.append(verifier.verify(saved.plan(), INSTANCE, 1, saved.reported.append))
        commands.append(asked())

    assert [1, 4] == [len(each.same) for each in found]
    assert commands[0] == commands[1]
    assert 1 == commands[1].count("restore")


def test_the_latest_that_holds_a_file_is_verified(
    saved: ResticBench, journal: Journal, tmp_path: Path
) -> None:
    """Not an empty one, nor one of the future; both are told."""
    full = saved.names()[0]
    shutil.rmtree(saved.source)
    saved.source.mkdir()
    saved.backup()
    saved.backup(saved.plan(backup_flags=("--time '2038-01-01 00:00:00'",)))
    _, void, ahead = saved.names()

    found = verify(saved, journal, tmp_path)

    assert (full, True, 3) == (found.snapshot, found.is_good, len(found.changed))
    expected = (
        f"1 newer snapshot holds no file ({void[:8]}); "
        f"1 snapshot is ahead of the clock ({ahead[:8]})"
    )
    assert expected == found.passed_over


def test_what_changed_since_is_told(saved: ResticBench, journal: Journal, tmp_path: Path) -> None:
    """It was restored all the same."""
    (saved.source / "small").write_text("other")
    shutil.rmtree(saved.source / "a folder")

    found = verify(saved, journal, tmp_path)

    assert ((), 3, True) == (found.same, len(found.changed), found.is_good)


def test_names_that_are_no_utf8_are_left_out(
    restic: ResticBench, journal: Journal, tmp_path: Path
) -> None:
    """Restic shows them as other names, by which it finds nothing; the rest is verified."""
    restic.write("plain", os.urandom(5000))
    odd = os.fsdecode(b"odd\xff")
    restic.write(odd, os.urandom(5000))
    restic.write(f"{odd} folder/within", os.urandom(5000))
    restic.backup()

    found = verify(restic, journal, tmp_path)

    assert ([f"{restic.source}/plain"], (), 2, True) == (
        list(found.same),
        found.differences,
        found.unnamed,
        found.is_good,
    )
    (run,) = journal.runs.list()
    assert run.ended is not None
    assert (RunOutcome.SUCCESS, "left out: 2 files with a name that is no UTF-8") == (
        run.ended.outcome,
        run.ended.excerpt.splitlines()[-1],
    )


def test_a_snapshot_of_such_names_only_is_no_good(
    restic: ResticBench, journal: Journal, tmp_path: Path
) -> None:
    """Nothing was compared, which is a warning."""
    restic.write(os.fsdecode(b"odd\xff"), "odd")
    restic.backup()

    found = verify(restic, journal, tmp_path)

    assert (1, (), False) == (found.unnamed, found.differences, found.is_good)
    assert "holds no file that can be compared" in found.note


def test_a_damaged_repository_is_found_out(
    saved: ResticBench, journal: Journal, tmp_path: Path
) -> None:
    """That is what it is for."""
    packs = [one for one in (saved.folder / "repo" / "data").rglob("*") if one.is_file()]
    pack = max(packs, key=lambda one: one.stat().st_size)
    pack.chmod(0o600)
    pack.write_bytes(b"\0" * pack.stat().st_size)

    found = verify(saved, journal, tmp_path)

    assert not found.is_good
    assert found.failure is not None
    assert {} == journal.findings.verifications()


def test_a_wrong_password_is_found_out(
    saved: ResticBench, journal: Journal, tmp_path: Path
) -> None:
    """With its class."""
    engine = saved.engine(password="wrong")

    found = Verifier(engine, journal, tmp_path / "scratch").verify(
        saved.plan(), INSTANCE, 1, saved.reported.append
    )

    assert FailureClass.WRONG_PASSWORD is found.failure


def guard_of(bench: ResticBench, journal: Journal, options: EmptySourceOptions) -> EmptySourceGuard:
    """Return what notices that plans of the bench's one repository are empty."""
    engines, document = (
        MadeEngines(lambda _: bench.engine()),
        ExecutedDocument(only_config(Config(INSTANCE))),
    )
    return EmptySourceGuard(journal, engines, document, None, options)


def test_a_plan_that_lost_everything_is_restored(saved: ResticBench, journal: Journal) -> None:
    """From the newest snapshot that holds something, as it was; then it is not empty any more."""
    emptiness = guard_of(saved, journal, EmptySourceOptions(everything=True))
    emptiness.remember(saved.plan(), has_saved=True)
    before = {one: one.stat().st_mode for one in saved.source.rglob("*")}
    shutil.rmtree(saved.source)
    saved.source.mkdir()
    saved.backup()

    decision, ended = emptiness.refill(saved.plan())

    assert EmptySourceAction.RESTORE is decision.action
    assert ended is not None
    assert (RunOutcome.SUCCESS, saved.names()[0]) == (ended.outcome, ended.snapshot)
    assert before == {one: one.stat().st_mode for one in saved.source.rglob("*")}
    assert (EmptySourceAction.NORMAL, None) == (emptiness.refill(saved.plan())[0].action, None)


def test_a_missing_folder_is_restored_where_it_was(saved: ResticBench, journal: Journal) -> None:
    """If the disk is the one of the last backup."""
    emptiness = guard_of(saved, journal, EmptySourceOptions(plans=frozenset({"web"})))
    emptiness.remember(saved.plan(), has_saved=True)
    shutil.rmtree(saved.source)

    decision, _ = emptiness.refill(saved.plan())

    assert EmptySourceAction.RESTORE is decision.action
    assert "small" == (saved.source / "small").read_text()


def test_a_new_plan_of_an_empty_repository_is_backed_up(
    restic: ResticBench, journal: Journal
) -> None:
    """Nothing is restored, and nothing fails."""
    emptiness = guard_of(restic, journal, EmptySourceOptions(everything=True))

    decision, ended = emptiness.refill(restic.plan())

    assert (EmptySourceAction.NORMAL, None) == (decision.action, ended)
    restic.backup()
    assert (EmptySourceAction.NORMAL, None) == (emptiness.refill(restic.plan())[0].action, None)
