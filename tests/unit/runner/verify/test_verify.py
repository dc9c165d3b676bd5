"""What is compared of a snapshot, and what counts as a difference."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import (
    Capabilities,
    CommandResult,
    Engine,
    EngineError,
    Entry,
    FailureClass,
    Report,
    ResultKind,
    Snapshot,
    failed,
)
from sidecar.lib.files import open_directory, try_lock
from sidecar.runner.journal import Journal, RunOutcome
from sidecar.runner.rights import Capability, Rights
from sidecar.runner.verify.sample import SampleLimits
from sidecar.runner.verify.verify import Machine, Verification, Verifier
from tests.fakes.scripted_docker import ABLE

ROOT = Rights(0, frozenset({0}), frozenset(Capability))
LIMITS = SampleLimits(count=2, least=10, most=100)
ID = "0123456789abcdef"


@dataclass
class Vault:
    """An engine that holds copies of files; `spoil` is done to what it restores."""

    folder: Path
    held: dict[str, Entry] = field(default_factory=dict)
    spoil: Callable[[Path], None] = lambda _: None
    answer: CommandResult = field(default_factory=lambda: CommandResult(ResultKind.SUCCESS))
    error: EngineError | None = None
    restored: list[str] = field(default_factory=list)
    newer: tuple[Snapshot, ...] = ()
    able: Capabilities = ABLE

    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        return self.able

    def save(self, path: Path) -> None:
        """Take a copy of a file."""
        held = path.lstat()
        entry = Entry(str(path), "file", held.st_size, held.st_mode & 0o7777, held.st_mtime)
        self.held[str(path)] = entry
        copy = self.folder / str(path).lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)

    def snapshots(self, _plan: RunPlan | None, _instance: str) -> tuple[Snapshot, ...]:
        """List one, if anything was saved."""
        if self.error is not None:
            raise self.error
        when = datetime(2024, 1, 1, tzinfo=UTC)
        saved = (Snapshot(ID, when, ("/",)),) if self.held else ()
        return (*saved, *self.newer)

    def entries(self, _snapshot: Snapshot, _path: str) -> Iterator[Entry]:
        """List all that was saved."""
        return iter(self.held.values())

    def holds_file(self, snapshot: Snapshot) -> bool:
        """Return whether anything that was saved is a file; the empty snapshot holds none."""
        return snapshot.id == ID and any(one.kind == "file" for one in self.held.values())

    def restore(
        self, _snapshot: Snapshot, includes: Sequence[str], target: Path, _report: Report
    ) -> CommandResult:
        """Copy it to the target."""
        for path in includes:
            self.restored.append(path)
            there = target / path.lstrip("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.folder / path.lstrip("/"), there)
            self.spoil(there)
        return self.answer


@dataclass
class Bench:
    """A plan with a few files, all of them saved."""

    folder: Path
    vault: Vault
    journal: Journal
    free: int = 1 << 40
    rights: Rights = ROOT

    @property
    def scratch(self) -> Path:
        """Where samples are restored."""
        return self.folder / "scratch"

    def verify(self, seed: int = 1) -> Verification:
        """Verify the plan."""
        engine: Engine = self.vault  # type: ignore[assignment]
        verifier = Verifier(
            engine,
            self.journal,
            self.scratch,
            LIMITS,
            now=lambda: 50.0,
            machine=Machine(lambda _: self.free, lambda: self.rights),
        )
        return verifier.verify(RunPlan("web", "store"), "here", seed, lambda _: None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Save two files."""
    vault = Vault(tmp_path / "vault")
    for name in ("one", "two"):
        file = tmp_path / "data" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{name} of a few")
        file.chmod(0o640)
        vault.save(file)
    with Journal(tmp_path / "state" / "journal.sqlite") as journal:
        yield Bench(tmp_path, vault, journal)


def test_what_is_the_same_is_verified(bench: Bench) -> None:
    """It is recorded with the run, the seed, and the files; nothing is left in the scratch."""
    found = bench.verify()

    assert found.is_good
    assert sorted(bench.vault.held) == sorted(found.same)
    assert (50.0, ID) == (
        bench.journal.findings.verifications()["web"].at,
        bench.journal.findings.verifications()["web"].snapshot,
    )
    (run,) = bench.journal.runs.list("web")
    assert run.ended is not None
    assert (RunOutcome.SUCCESS, ID) == (run.ended.outcome, run.ended.snapshot)
    assert "seed 1" in run.ended.excerpt
    assert f"same: {bench.folder}/data/one" in run.ended.excerpt
    assert [] == list((bench.scratch / "verify").iterdir())


def test_times_are_compared_as_exactly_as_the_engine_keeps_them(bench: Bench) -> None:
    """Else every file of an engine that keeps whole seconds would seem to have changed."""
    coarse = {path: replace(one, mtime=1e9) for path, one in bench.vault.held.items()}
    bench.vault.held = coarse
    for path in coarse:
        os.utime(path, (1e9, 1e9 + 0.5))
        os.utime(bench.vault.folder / path.lstrip("/"), (1e9, 1e9 + 0.5))
    exact = bench.verify()
    bench.vault.able = replace(ABLE, time_resolution=1.0)
    fitting = bench.verify()

    assert sorted(coarse) == sorted(exact.changed)
    assert sorted(coarse) == sorted(fitting.same)


def test_what_an_engine_does_not_tell_of_a_file_is_not_compared(bench: Bench) -> None:
    """Nor can the live file be known to be the same one then."""
    told = {path: Entry(path, "file") for path in bench.vault.held}
    bench.vault.held = told

    assert sorted(told) == sorted(bench.verify().changed)


def one_byte(path: Path) -> None:
    """Change one byte, and nothing else that can be seen."""
    held = path.stat()
    content = path.read_bytes()
    path.write_bytes(b"!" + content[1:])
    os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))


def longer(path: Path) -> None:
    """Add a byte."""
    path.write_bytes(path.read_bytes() + b"!")


def to_link(path: Path) -> None:
    """Put a link in its place, to the very content."""
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (one_byte, "its content is another than that of the live file"),
        (longer, "has 13 bytes instead of 12"),
        (Path.unlink, "was not restored"),
        (lambda path: path.chmod(0o600), "other permissions: 0600 instead of 0640"),
        (lambda path: os.utime(path, (1, 1)), "other modification times"),
        (to_link, "is no regular file"),
    ],
)
def test_what_is_different_is_told(bench: Bench, spoil: Callable[[Path], None], words: str) -> None:
    """Content, size, mode, time, kind; and it is not recorded as verified."""
    bench.vault.spoil = spoil

    found = bench.verify()

    assert not found.is_good
    assert 2 == len(found.differences)
    assert f"{bench.folder}/data/one: {words}" in found.differences[0]
    assert {} == bench.journal.findings.verifications()
    (run,) = bench.journal.runs.list("web")
    assert run.ended is not None
    assert (RunOutcome.FAILED, FailureClass.DAMAGED) == (run.ended.outcome, run.ended.failure)
    assert words in run.ended.reason


@pytest.mark.parametrize("change", [longer, Path.unlink, to_link, os.utime])
def test_what_has_changed_since_is_no_difference(
    bench: Bench, change: Callable[[Path], None]
) -> None:
    """It is only told: the restored file is as the snapshot says."""
    one = bench.folder / "data" / "one"
    change(one)

    found = bench.verify()

    assert found.is_good
    assert ((str(one),), (str(one.with_name("two")),)) == (found.changed, found.same)


def test_a_live_file_that_looks_unchanged_but_is_not_is_a_difference(bench: Bench) -> None:
    """A disk that rots, or a tool that hides what it does: somebody should look."""
    one_byte(bench.folder / "data" / "one")

    found = bench.verify()

    assert "which looks unchanged" in found.differences[0]


def test_a_file_that_changes_under_our_eyes_has_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at once more before anybody is alarmed."""
    one = bench.folder / "data" / "one"
    read = Path.open

    def write_first(path: Path, *args: object) -> object:
        if path == one:
            monkeypatch.undo()
            one.write_text("another")
        return read(path, *args)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", write_first)
    found = bench.verify()

    assert (str(one),) == found.changed
    assert found.is_good


def test_a_restore_that_fails_is_a_failure(bench: Bench) -> None:
    """With its class, whatever of it is there."""
    bench.vault.answer = failed(FailureClass.DAMAGED, "a pack is gone")

    found = bench.verify()

    assert (FailureClass.DAMAGED, False) == (found.failure, found.is_good)
    assert "a pack is gone" in found.differences[0]


def test_a_repository_out_of_reach_is_a_failure(bench: Bench) -> None:
    """Nothing was verified."""
    bench.vault.error = EngineError(FailureClass.NETWORK, "no route")

    assert FailureClass.NETWORK is bench.verify().failure


def test_a_plan_without_a_snapshot_is_not_verified(bench: Bench) -> None:
    """Nobody could restore it."""
    bench.vault.held.clear()

    found = bench.verify()

    assert ("web has no snapshot",) == found.differences


def test_a_snapshot_without_a_file_is_neither_good_nor_bad(bench: Bench) -> None:
    """It is told, and not recorded as verified."""
    bench.vault.held = {"/data": Entry("/data", "dir")}

    found = bench.verify()

    assert (False, (), None) == (found.is_good, found.differences, found.failure)
    assert "there is nothing to compare: 1 snapshot holds no file (01234567)" == found.note
    (run,) = bench.journal.runs.list("web")
    assert run.ended is not None
    assert RunOutcome.WARNING is run.ended.outcome
    assert {} == bench.journal.findings.verifications()


def test_a_newer_snapshot_without_a_file_is_passed_over(bench: Bench) -> None:
    """What was saved before is verified; that it is not the newest makes it a warning."""
    when = datetime(2024, 1, 2, tzinfo=UTC)
    bench.vault.newer = (Snapshot("f" * 16, when, ("/",)),)

    found = bench.verify()

    assert (ID, True) == (found.snapshot, found.is_good)
    assert "1 newer snapshot holds no file (ffffffff)" == found.passed_over
    (run,) = bench.journal.runs.list("web")
    assert run.ended is not None
    assert (RunOutcome.WARNING, found.passed_over) == (run.ended.outcome, run.ended.reason)


def test_the_disk_is_never_filled(bench: Bench) -> None:
    """What has no space is left out; if nothing has, that is a failure."""
    bench.free = (64 << 20) + 20

    found = bench.verify()
    bench.free = (64 << 20) + 5
    nothing = bench.verify()

    assert (1, True) == (len(found.same), found.is_good)
    assert FailureClass.DISK_FULL is nothing.failure
    assert 1 == len(bench.vault.restored)


def test_what_an_earlier_verification_left_is_removed(bench: Bench) -> None:
    """Read-only folders too; links are not followed."""
    left = bench.scratch / "verify" / "left" / "deep"
    left.mkdir(parents=True)
    (left / "file").touch()
    (left / "link").symlink_to(bench.folder / "data")
    left.chmod(0o500)
    left.parent.chmod(0o500)
    (bench.scratch / "verify" / "link").symlink_to(bench.folder / "data")

    assert bench.verify().is_good
    assert ([], 2) == (
        list((bench.scratch / "verify").iterdir()),
        len(list((bench.folder / "data").iterdir())),
    )


def test_two_verifications_do_not_meet(bench: Bench) -> None:
    """The second would empty the first one's folder."""
    place = bench.scratch / "verify"
    place.mkdir(parents=True)
    (place / "others").touch()
    held = open_directory(place)
    try:
        assert try_lock(held)
        found = bench.verify()
    finally:
        os.close(held)

    assert "another verification is at work here" in found.differences[0]
    assert (place / "others").exists()


def test_an_interrupted_verification_is_recorded(bench: Bench) -> None:
    """As cancelled, and the scratch is empty."""

    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    bench.vault.spoil = interrupt

    with pytest.raises(KeyboardInterrupt):
        bench.verify()

    (run,) = bench.journal.runs.list("web")
    assert run.ended is not None
    assert RunOutcome.CANCELLED is run.ended.outcome
    assert [] == list((bench.scratch / "verify").iterdir())
