"""How the programs of engines are started, and what is told if they cannot be."""

import os
from pathlib import Path

import pytest

from sidecar.engines.base import Command, EngineError, FailureClass
from sidecar.engines.program import CommandRunner
from sidecar.lib.process import Child, ChildOptions, ProcessRunner, SilenceTimeout

PATIENCE = SilenceTimeout(None)


@pytest.fixture
def runner() -> ProcessRunner:
    """Return what starts programs."""
    return ProcessRunner({"PATH": os.environ["PATH"]})


def test_each_child_is_told_before_it_works(runner: ProcessRunner) -> None:
    """To who asked for this one first, then to who is told of all; variables are added."""
    told: list[tuple[str, Child]] = []
    commands = CommandRunner("sh", runner, lambda child: told.append(("all", child)))
    command = Command(("sh", "-c", "cat; echo $SECRET"), {"SECRET": "s"})
    options = ChildOptions(on_start=lambda child: told.append(("one", child)))
    done = commands.run(command, PATIENCE, script=b"in ", options=options)

    assert b"in s\n" == done.out
    assert ["one", "all"] == [whom for whom, _ in told]
    assert 1 == len({child for _, child in told})


def test_a_program_that_is_not_there_is_named(runner: ProcessRunner, tmp_path: Path) -> None:
    """With what to do about it; one that must not be run is another matter."""
    plain = tmp_path / "plain"
    plain.write_text("")
    commands = CommandRunner("rsync", runner)
    with pytest.raises(EngineError) as absent:
        commands.run(Command(("/nowhere/rsync",)), PATIENCE)
    with pytest.raises(EngineError) as refused:
        commands.run(Command((str(plain),)), PATIENCE)

    assert {FailureClass.NO_PROGRAM} == {absent.value.failure, refused.value.failure}
    assert "/nowhere/rsync cannot be started" in absent.value.message
    assert "install rsync" in absent.value.hint
    assert "" == refused.value.hint


def test_nothing_is_started_once_the_runner_stops(runner: ProcessRunner) -> None:
    """That is no fault of the program."""
    runner.stop_all()
    with pytest.raises(EngineError) as caught:
        CommandRunner("rsync", runner).run(Command(("true",)), PATIENCE)

    assert FailureClass.INTERRUPTED is caught.value.failure
