"""What a session needs of those who run programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.backrest.plan import OnError
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import Engine, Stats
from sidecar.lib.process import Child

OnStart = Callable[[Child], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What hooks may tell of a run: Backrest's template variables; `seconds` is its duration.

    `at` is now, in unix seconds.
    """

    task: str
    at: float
    seconds: float = 0.0
    snapshot: str = ""
    stats: Stats | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class HookResult:
    """What came of an event set: how a failing hook halts the run, and what failed, in words."""

    halt: OnError | None = None
    failures: tuple[str, ...] = ()


class Hooks(Protocol):
    """What runs the hooks of an event set: each at most once, the repository's first."""

    def run(
        self,
        events: Sequence[str],
        repo: Repo,
        plan: RunPlan | None,
        facts: Facts,
        is_stopping: Callable[[], bool],
    ) -> HookResult:
        """Run them in order until one halts; raises nothing for what a hook does."""
        ...


@dataclass(frozen=True, slots=True)
class Programs:
    """What runs programs: the maker of a repository's engine, told each child, and the hooks."""

    engines: Callable[[Repo, OnStart], Engine]
    hooks: Hooks
