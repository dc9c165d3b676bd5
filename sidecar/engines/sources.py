"""The paths of a plan that a backup reads, and those that are not there."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import CommandResult, EngineError, FailureClass, ResultKind
from sidecar.engines.options import OnMissing


@dataclass(frozen=True, slots=True)
class Sources:
    """The paths of a plan: those that can be read, and those that do not exist."""

    paths: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def warn(self, done: CommandResult) -> CommandResult:
        """Return how a backup of the paths ended, with a warning of those that do not exist."""
        if not self.missing or done.kind not in (ResultKind.SUCCESS, ResultKind.WARNING):
            return done
        reason = "; ".join(filter(None, (_render_missing(self.missing), done.reason)))
        return replace(
            done, kind=ResultKind.WARNING, failure=FailureClass.SOURCE_MISSING, reason=reason
        )


def find_sources(plan: RunPlan, on_missing: OnMissing) -> Sources:
    """Find out which paths of a plan exist.

    Raises EngineError if one does not and that is no warning, or if none does.
    """
    missing = tuple(path for path in plan.paths if not _exists(path))
    paths = tuple(path for path in plan.paths if path not in missing)
    if missing and (on_missing is OnMissing.FAIL or not paths):
        hint = "→ mount it, or take it out of the plan"
        raise EngineError(FailureClass.SOURCE_MISSING, f"{_render_missing(missing)} {hint}")
    return Sources(paths, missing)


def _exists(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - a path as the program is given it
    except (OSError, ValueError):
        return False
    return True


def _render_missing(missing: Sequence[str]) -> str:
    which = "this path does not exist" if len(missing) == 1 else "these paths do not exist"
    return f"{which}: {', '.join(missing)}"
