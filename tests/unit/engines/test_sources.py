"""What a backup reads where paths of its plan are not there."""

from pathlib import Path

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import CommandResult, EngineError, FailureClass, ResultKind, failed
from sidecar.engines.options import OnMissing
from sidecar.engines.sources import Sources, find_sources

DONE = CommandResult(ResultKind.SUCCESS, snapshot="s")


def plan(*paths: Path | str) -> RunPlan:
    """Return a plan of these paths."""
    return RunPlan("web", "store", tuple(map(str, paths)))


def test_what_is_there_is_read(tmp_path: Path) -> None:
    """In the order of the plan; nothing is to be warned of."""
    found = find_sources(plan(tmp_path, "/"), OnMissing.FAIL)

    assert Sources((str(tmp_path), "/")) == found
    assert DONE == found.warn(DONE)


@pytest.mark.parametrize("missing", ["/absent", "/null\0byte"])
def test_a_path_that_is_not_there_fails_or_is_told(tmp_path: Path, missing: str) -> None:
    """As it was asked for; a failure stays what it is."""
    with pytest.raises(EngineError) as caught:
        find_sources(plan(tmp_path, missing), OnMissing.FAIL)
    found = find_sources(plan(tmp_path, missing), OnMissing.WARN)
    warned = found.warn(CommandResult(ResultKind.WARNING, None, "one file", "s"))

    assert FailureClass.SOURCE_MISSING is caught.value.failure
    assert f"this path does not exist: {missing} → mount it" in str(caught.value)
    assert Sources((str(tmp_path),), (missing,)) == found
    assert (ResultKind.WARNING, FailureClass.SOURCE_MISSING) == (warned.kind, warned.failure)
    assert f"this path does not exist: {missing}; one file" == warned.reason
    assert failed(FailureClass.NETWORK, "away") == found.warn(failed(FailureClass.NETWORK, "away"))


@pytest.mark.parametrize("on_missing", OnMissing)
def test_without_any_path_nothing_is_saved(on_missing: OnMissing) -> None:
    """A snapshot of nothing would look like a good one."""
    with pytest.raises(EngineError) as caught:
        find_sources(plan("/absent", "/gone"), on_missing)

    assert "these paths do not exist: /absent, /gone" in str(caught.value)
