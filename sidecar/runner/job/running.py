"""Which plans run, so that nothing which they have stopped is started meanwhile."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sidecar.backrest.reading import RunPlan


class RunningPlans:
    """The plans whose hooks may run now; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: list[RunPlan] = []
        self._sealed: list[str] = []

    @contextmanager
    def running(self, plan: RunPlan | None) -> Iterator[None]:
        """Count a plan as running, for the block; None is what belongs to no plan."""
        plans = [] if plan is None else [plan]
        with self._lock:
            self._plans += plans
        try:
            yield
        finally:
            with self._lock:
                for one in plans:
                    self._plans.remove(one)

    @contextmanager
    def sealing(self, plan: RunPlan | None) -> Iterator[None]:
        """Count a plan as one that has started again what it stopped, for the block."""
        ids = [] if plan is None else [plan.id]
        with self._lock:
            self._sealed += ids
        try:
            yield
        finally:
            with self._lock:
                for one in ids:
                    self._sealed.remove(one)

    def is_sealed(self, plan_id: str) -> bool:
        """Return whether a plan that runs has started again what it stopped."""
        with self._lock:
            return plan_id in self._sealed

    @contextmanager
    def unused(self, plan_id: str, *names: str) -> Iterator[bool]:
        """Let no plan begin, for the block; False if one runs that counts on what is stopped.

        That is the plan which stopped it, and any whose hooks speak of one of the containers
        `names`: a START hook leaves what it finds stopped.
        """
        with self._lock:
            yield not any(_counts_on(plan, plan_id, names) for plan in self._plans)


def _counts_on(plan: RunPlan, plan_id: str, names: Iterable[str]) -> bool:
    text = "\n".join(hook.settings.get("command", "") for hook in plan.hooks)
    return plan.id == plan_id or any(name in text for name in names)
