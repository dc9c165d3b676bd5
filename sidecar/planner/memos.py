"""All that passes of one kind remember, step by step."""

from dataclasses import dataclass, field
from typing import Any

from sidecar.backrest.rules import Checked
from sidecar.planner.memo import Memo
from sidecar.planner.workload import WorkloadMemos


@dataclass(frozen=True, slots=True)
class Memos:
    """The memory of one kind of pass; not thread-safe."""

    workloads: WorkloadMemos = field(default_factory=WorkloadMemos)
    drafts: Memo[Any] = field(default_factory=Memo)
    plans: Memo[Any] = field(default_factory=Memo)
    edits: Memo[Any] = field(default_factory=Memo)
    checked: Checked = field(default_factory=Checked)

    def begin_pass(self) -> None:
        """Forget what the last pass did not ask for."""
        for memo in (self.workloads, self.drafts, self.plans, self.edits):
            memo.begin_pass()
